#include "server/partition/partition.h"

#include <glog/logging.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace flotilla::partition {

struct Partition::Wake {
  Partition* partition;
  std::weak_ptr<bool> alive;

  void operator()() const {
    if (!alive.expired()) partition->LookAround();
  }
};

struct Partition::CutPlaced {
  Partition* partition;
  std::weak_ptr<bool> alive;
  Offset log_start;
  Result<storage::EntryHeader> header;

  void operator()() const {
    if (!alive.expired()) partition->OnCutPlace(log_start, header);
  }
};

struct Partition::CutPlace {
  Partition* partition;  // not touched here
  std::weak_ptr<bool> alive;
  Offset log_start;
  GroupId group;
  const storage::LogReader* log;
  raft::Executor* executor;

  void operator()() const {
    executor->Post(CutPlaced{.partition = partition, .alive = alive, .log_start = log_start, .header = log->FindOffset(group, log_start)});
  }
};

Partition::Partition(const Surroundings& surroundings, const PartitionOptions& options, const PartitionConfig& config)
    : machine_(options, *this),
      context_{.around = surroundings,
               .handle = GroupHandle(surroundings.host, surroundings.group),
               .options = options,
               .config = config,
               .machine = machine_},
      produce_(context_),
      fetch_(context_),
      alive_(std::make_shared<bool>(true)) {}

Partition::~Partition() {
  alive_.reset();
  produce_.Close(Status(Reason::kOutcomeUnknown, "this node closed the partition; the batch may have been appended"));
  fetch_.Close(Status(Reason::kCancelled, "this node closed the partition; ask another one"));
  for (const auto& [number, call] : std::exchange(trims_, {})) {
    call.sink->OnTrimmed(call.token, Status(Reason::kOutcomeUnknown, "this node closed the partition; trim again"), {});
  }
}

// --- What moved

void Partition::PostWake() {
  if (std::exchange(wake_posted_, true)) return;
  context_.around.executor.Post(Wake{.partition = this, .alive = alive_});
}

void Partition::OnLeadership() {
  leadership_moved_ = true;
  PostWake();
}

void Partition::OnFault() {
  leadership_moved_ = true;
  PostWake();
}

void Partition::LookAround() {
  wake_posted_ = false;
  // Also when it was only this that could not read an entry: others may.
  if (!machine_.fault().ok()) context_.handle.Fail(machine_.fault());
  produce_.Advance();
  const bool leadership_moved = std::exchange(leadership_moved_, false);
  if (leadership_moved) produce_.OnLeadership();
  fetch_.Advance();
  PlaceCut();
  if (leadership_moved && context_.around.leadership != nullptr) {
    context_.around.leadership->OnPartitionLeadership(context_.around.group, machine_.leadership());
  }
}

void Partition::Tick(raft::Tick now) {
  context_.now = now;
  produce_.OnTick();
  fetch_.OnTick();
  if (cut_retry_at_ <= now) {
    cut_retry_at_ = raft::kNever;
    PlaceCut();
    Cut();
  }
}

// --- Trimming

void Partition::Trim(Offset log_start, uint64_t token, TrimSink& sink) {
  if (Status status = context_.MayServe(); !status.ok()) return sink.OnTrimmed(token, status, machine_.log_start());
  if (log_start <= machine_.log_start()) return sink.OnTrimmed(token, {}, machine_.log_start());
  const uint64_t number = next_trim_++;
  trims_.emplace(number, TrimCall{.sink = &sink, .token = token, .log_start = log_start, .term = machine_.leadership().term});
  if (log_start <= machine_.high_watermark()) return ProposeTrim(number);
  // Beyond the end, as far as this replica knows. A leader that was deposed and has not heard of it must not say so.
  if (const Status asked = context_.handle.ReadIndex(number, *this); !asked.ok()) AnswerTrim(number, asked);
}

void Partition::OnRead(uint64_t token, const Status& status, LogIndex /*index*/) {
  const auto found = trims_.find(token);
  if (found == trims_.end()) return;
  const bool led = status.ok() && context_.MayServe().ok() && machine_.leadership().term == found->second.term;
  if (!led) {
    return AnswerTrim(token, Status(Reason::kNoLeader, "this replica lost the leadership while it made sure of it; nothing was trimmed"));
  }
  const Offset log_start = found->second.log_start;
  if (log_start <= machine_.high_watermark()) return ProposeTrim(token);
  AnswerTrim(token, Status(Reason::kOffsetOutOfRange, "the log cannot begin at " + std::to_string(log_start.value()) + ", it ends at " +
                                                          std::to_string(machine_.high_watermark().value()) + "; give at most that")
                        .With("offset", log_start.value())
                        .With("log_start_offset", machine_.log_start().value())
                        .With("high_watermark", machine_.high_watermark().value()));
}

void Partition::ProposeTrim(uint64_t number) {
  const raft::Proposal proposal{.kind = storage::EntryKind::kTrim, .payload = EncodeTrim(trims_.at(number).log_start)};
  const Result<LogIndex> index = context_.handle.Propose(proposal, number, *this);
  if (!index.ok()) AnswerTrim(number, index.status());
}

void Partition::OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& /*header*/) { AnswerTrim(token, status); }

void Partition::AnswerTrim(uint64_t number, const Status& status) {
  const auto found = trims_.find(number);
  if (found == trims_.end()) return;
  const TrimCall call = found->second;
  trims_.erase(found);
  call.sink->OnTrimmed(call.token, status, machine_.log_start());
}

void Partition::Forget(TrimSink& sink) {
  std::erase_if(trims_, [&](const auto& row) { return row.second.sink == &sink; });
}

// The logical start has moved; the entries before it may go, on every replica for itself. Which ones: a
// reader finds it out.
void Partition::PlaceCut() {
  const Offset log_start = machine_.log_start();
  if (cut_placing_ || log_start <= cut_for_ || !machine_.fault().ok()) return;
  cut_placing_ = true;
  const Surroundings& around = context_.around;
  around.readers.Post(CutPlace{
      .partition = this, .alive = alive_, .log_start = log_start, .group = around.group, .log = &around.log, .executor = &around.executor});
}

void Partition::OnCutPlace(Offset log_start, const Result<storage::EntryHeader>& header) {
  cut_placing_ = false;
  // At the very end there is no such record yet: all that is applied may go.
  LogIndex anchor = machine_.applied();
  if (header.ok()) {
    anchor = std::min(anchor, header->index - 1);
  } else if (header.status().reason() == Reason::kDataLoss && !context_.handle.alone()) {
    return context_.handle.Fail(header.status());
  } else if (header.status().reason() != Reason::kOffsetOutOfRange || log_start < machine_.high_watermark()) {
    LOG(WARNING) << "the place of a trim was not found group=" << context_.around.group << " log_start=" << log_start
                 << " reason=" << header.status();
    cut_retry_at_ = context_.now + context_.options.cut_retry_ticks;
    return;
  }
  machine_.MoveAnchor(anchor);
  cut_for_ = log_start;
  Cut();
  PlaceCut();  // the start may have moved on meanwhile
}

// Asks for it until it is done: a full disk, an earlier snapshot or a slow follower may be in the way.
void Partition::Cut() {
  if (context_.handle.start() >= machine_.anchor()) return;
  const Status asked = context_.handle.TakeSnapshot();
  VLOG_IF(1, !asked.ok()) << "a log cannot be cut yet group=" << context_.around.group << " reason=" << asked;
  cut_retry_at_ = context_.now + context_.options.cut_retry_ticks;
}

// --- Views

PartitionStatus Partition::status() const {
  return {.leadership = machine_.leadership(),
          .log_start_offset = machine_.log_start(),
          .high_watermark = machine_.high_watermark(),
          .applied = machine_.applied(),
          .anchor = machine_.anchor(),
          .producers = machine_.producers().producers(),
          .checkpoints = machine_.checkpoints(),
          .produce = produce_.counters(),
          .fetch = fetch_.counters(),
          .fault = machine_.fault()};
}

}  // namespace flotilla::partition
