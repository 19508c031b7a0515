#include "server/broker/dispatcher.h"

#include <glog/logging.h>

#include <charconv>
#include <string>
#include <vector>

#include "server/broker/limits.h"

namespace flotilla::broker {
namespace {

// An answer that the other node gave in time may be so late: beyond it the node is taken for dead.
constexpr raft::Tick kGraceTicks = 20;
constexpr raft::Tick kLookTicks = 10;

uint64_t NumberOf(const Status& status, std::string_view key) {
  const std::optional<std::string> text = status.Detail(key);
  uint64_t number = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), number);
  return number;
}

// Who leads, as a replica that does not says it; nobody: it hears of nobody.
Leader LeaderIn(const Status& refusal) {
  if (refusal.reason() != Reason::kNotLeader) return {};
  return {.node = NodeId{NumberOf(refusal, "leader_node_id")}, .epoch = Term{NumberOf(refusal, "leader_epoch")}};
}

Status Lost(bool append) {
  return append ? Status(Reason::kOutcomeUnknown, "the connection to the leader broke before it answered; the batch may have been appended")
                : Status(Reason::kNoLeader, "the connection to the leader broke before it answered; try again shortly");
}

}  // namespace

Dispatcher::~Dispatcher() {
  around_.replicas.ForEachOpen([this](GroupId, partition::Partition& partition) {
    partition.Forget(static_cast<partition::ProduceSink&>(*this));
    partition.Forget(static_cast<partition::FetchSink&>(*this));
  });
}

uint64_t Dispatcher::Start(Attempt attempt, uint64_t token, AttemptSink& sink) {
  const uint64_t ticket = next_ticket_++;
  Row& row = rows_[ticket];
  row.sink = &sink;
  row.token = token;
  row.group = attempt.group;
  const auto* append = std::get_if<ForwardAppend>(&attempt.operation);
  row.append = append != nullptr;
  row.repeatable = append == nullptr || append->producer.producer_id != 0;
  if (row.append) row.begin = around_.time.clock().Now();
  partition::Partition* here = around_.replicas.Find(attempt.group);
  if (here != nullptr && here->MayServe().ok()) {
    ++counters_.local;
    StartHere(ticket, &row, *here, std::move(attempt));
    return ticket;
  }
  const Leader leader = around_.leaders.Of(attempt.group);
  if (leader.node.value() != 0 && leader.node != around_.self && !attempt.require_leader) {
    ++counters_.forwarded;
    StartThere(ticket, &row, leader, std::move(attempt));
    return ticket;
  }
  Answer(ticket, {.status = here != nullptr && here->MayServe().reason() != Reason::kNotLeader
                                ? here->MayServe()
                                : Status(Reason::kNoLeader, "the partition has no leader at the moment; try again shortly")});
  return ticket;
}

void Dispatcher::StartHere(uint64_t ticket, Row* row, partition::Partition& partition, Attempt attempt) {
  if (auto* append = std::get_if<ForwardAppend>(&attempt.operation)) {
    const Status taken = partition.Produce({.batch = std::move(append->batch),
                                            .producer = append->producer,
                                            .after = append->after,
                                            .acks = append->acks,
                                            .expected_next_offset = append->expected_next_offset,
                                            .deadline = attempt.deadline},
                                           ticket, *this);
    if (!taken.ok()) Answer(ticket, {.status = taken});
    return;
  }
  Result<uint64_t> taken = Status(Reason::kInvalidArgument, "nothing to do");
  if (const auto* fetch = std::get_if<ForwardFetch>(&attempt.operation)) {
    taken = partition.Fetch(
        {.start = fetch->start, .min_bytes = fetch->min_bytes, .max_bytes = fetch->max_bytes, .deadline = around_.time.In(fetch->max_wait)},
        ticket, *this);
  } else {
    taken = partition.Locate(std::get<ForwardLocate>(attempt.operation).position, ticket, *this);
  }
  if (taken.ok()) {
    // It may have been answered already; then the row only waits to be told.
    row->fetch_ticket = *taken;
  } else {
    Answer(ticket, {.status = taken.status()});
  }
}

void Dispatcher::StartThere(uint64_t ticket, Row* row, const Leader& leader, Attempt attempt) {
  const NodeId node = leader.node;
  row->remote = node;
  row->epoch = leader.epoch;
  ForwardRequest request{.id = ticket,
                         .origin = around_.self,
                         .target = node,
                         .principal = attempt.caller == nullptr ? "" : attempt.caller->principal,
                         .client_address = attempt.caller == nullptr ? "" : attempt.caller->address,
                         .timeout = {},
                         .connect_within = limits::kForwardConnectMax,
                         .topic = attempt.partition.topic,
                         .partition = attempt.partition.partition,
                         .operation = ForwardCancel{}};
  if (attempt.deadline != raft::kNever) {
    request.timeout = std::max(around_.time.Until(attempt.deadline), around_.time.tick());
    row->give_up = attempt.deadline + kGraceTicks;
  } else {
    request.timeout = std::chrono::seconds(30);
    row->give_up = around_.time.In(request.timeout) + kGraceTicks;
  }
  std::visit([&request](auto& operation) { request.operation = std::move(operation); }, attempt.operation);
  around_.network.Forward(node, std::move(request));
}

void Dispatcher::Cancel(uint64_t ticket) {
  const auto found = rows_.find(ticket);
  if (found == rows_.end()) return;
  const Row row = found->second;
  rows_.erase(found);
  if (row.append) return;
  if (row.remote.value() == 0) {
    partition::Partition* here = around_.replicas.Find(row.group);
    if (here != nullptr && row.fetch_ticket != 0) here->CancelFetch(row.fetch_ticket);
    return;
  }
  around_.network.Forward(
      row.remote,
      {.id = ticket, .origin = around_.self, .target = row.remote, .timeout = around_.time.tick(), .operation = ForwardCancel{}});
}

// --- Answers

void Dispatcher::OnProduced(uint64_t ticket, const partition::ProduceResult& result) {
  Answer(ticket, {.status = result.status, .remote = {}, .epoch = {}, .result = result});
}

void Dispatcher::OnFetched(uint64_t ticket, partition::FetchResult result) {
  const Status status = result.status;
  const Term epoch = result.leader_epoch;
  Answer(ticket, {.status = status, .remote = {}, .epoch = epoch, .result = std::move(result)});
}

void Dispatcher::OnForwardAnswer(NodeId from, ForwardAnswer answer) {
  const auto found = rows_.find(answer.id);
  if (found == rows_.end() || found->second.remote != from) return;
  LearnFrom(found->second.group, answer.status, {.node = answer.leader, .epoch = answer.leader_epoch}, from);
  const Term epoch = around_.leaders.Of(found->second.group).epoch;
  Answer(answer.id, {.status = answer.status, .remote = from, .epoch = epoch, .result = std::move(answer.result)});
}

void Dispatcher::OnForwardBroken(NodeId to) {
  std::vector<uint64_t> lost;
  for (const auto& [ticket, row] : rows_) {
    if (row.remote == to) lost.push_back(ticket);
  }
  std::sort(lost.begin(), lost.end());
  counters_.broken += lost.size();
  for (const uint64_t ticket : lost) Answer(ticket, {.status = Lost(rows_.at(ticket).append)});
}

void Dispatcher::OnReplicaClosing(GroupId group) {
  partition::Partition* here = around_.replicas.Find(group);
  if (here == nullptr) return;
  here->Forget(static_cast<partition::ProduceSink&>(*this));
  here->Forget(static_cast<partition::FetchSink&>(*this));
  std::vector<uint64_t> closed;
  for (const auto& [ticket, row] : rows_) {
    if (row.remote.value() == 0 && row.group == group) closed.push_back(ticket);
  }
  std::sort(closed.begin(), closed.end());
  for (const uint64_t ticket : closed) Answer(ticket, {.status = Lost(rows_.at(ticket).append)});
}

void Dispatcher::Tick() {
  if (around_.time.now() < look_at_) return;
  look_at_ = around_.time.now() + kLookTicks;
  std::vector<uint64_t> late;
  for (const auto& [ticket, row] : rows_) {
    if (row.give_up <= around_.time.now() || LedElsewhere(row)) late.push_back(ticket);
  }
  std::sort(late.begin(), late.end());
  for (const uint64_t ticket : late) Answer(ticket, {.status = Lost(rows_.at(ticket).append)});
}

bool Dispatcher::LedElsewhere(const Row& row) const {
  if (row.remote.value() == 0 || !row.repeatable) return false;
  const Leader leader = around_.leaders.Of(row.group);
  return leader.node.value() != 0 && leader.node != row.remote && row.epoch < leader.epoch;
}

void Dispatcher::LearnFrom(GroupId group, const Status& status, const Leader& hint, NodeId from) {
  if (hint.node.value() != 0) around_.leaders.Learn(group, hint);
  if (status.reason() != Reason::kNotLeader) return;
  // It does not lead; who said so is forgotten. Unless our own replica hears it lead at this moment: then it said so of an earlier term,
  // or is about to begin, and our replica would not tell us once more who leads.
  const Leader known = around_.leaders.Of(group);
  const partition::Partition* here = around_.replicas.Find(group);
  if (known.node == from && (here == nullptr || known != LeaderIn(here->MayServe()))) around_.leaders.Lost(group, known.epoch);
}

void Dispatcher::Answer(uint64_t ticket, AttemptAnswer answer) {
  if (answer.remote.value() == 0 && answer.status.reason() == Reason::kNotLeader) {
    const auto found = rows_.find(ticket);
    const Leader leader = LeaderIn(answer.status);
    if (found != rows_.end() && leader.node.value() != 0 && leader.node != around_.self) around_.leaders.Learn(found->second.group, leader);
  }
  answers_.emplace_back(ticket, std::move(answer));
  if (std::exchange(flush_posted_, true)) return;
  around_.executor.Post([this] { Flush(); });
}

void Dispatcher::Flush() {
  flush_posted_ = false;
  std::deque<std::pair<uint64_t, AttemptAnswer>> answers = std::exchange(answers_, {});
  for (auto& [ticket, answer] : answers) {
    const auto found = rows_.find(ticket);
    if (found == rows_.end()) continue;
    const Row row = found->second;
    rows_.erase(found);
    if (row.append && answer.status.ok()) {
      const Duration took = around_.time.clock().Now() - row.begin;
      (row.remote.value() == 0 ? stage_times_.replicate : stage_times_.forward).Add(took);
    }
    row.sink->OnAttempt(row.token, std::move(answer));
  }
}

}  // namespace flotilla::broker
