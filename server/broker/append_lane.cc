#include "server/broker/append_lane.h"

#include <utility>

#include "server/broker/partition_reads.h"
#include "server/errors/error_codec.h"
#include "server/errors/refusal.h"

namespace flotilla::broker {
namespace {

bool SameProducer(const partition::ProducerBatch& a, const partition::ProducerBatch& b) {
  return a.producer_id != 0 && a.producer_id == b.producer_id && a.epoch == b.epoch && a.scope == b.scope;
}

// Whether clients that keep the rules send it again.
bool SentAgain(const Status& status) {
  return !status.ok() && (RefusalOf(status) == Refusal::kOutOfOrder || RefusalOf(status) == Refusal::kUnknownProducer ||
                          ToError(status).retry() != v1::RETRY_NEVER);
}

}  // namespace

AppendLane::~AppendLane() {
  for (const Item& item : items_) {
    if (item.attempt != 0) around_.dispatcher.Cancel(item.attempt);
  }
  if (wait_ != 0) around_.waits.Cancel(wait_);
}

void AppendLane::Append(LaneCall call) {
  Item item{.call = std::move(call), .after = {}, .answer = {}};
  // proto/flotilla/v1/produce.proto, "Without a partition": the item before tells the partition what must not be missing. Also when
  // it has failed already: this one may have been on its way before the client heard of it.
  const partition::ProducerBatch& producer = item.call.producer;
  if (failed_ && (!SameProducer(*failed_, producer) || producer.base_sequence <= failed_->base_sequence)) failed_.reset();
  if (producer.scope == partition::SequenceScope::kTopic) {
    if (!items_.empty() && SameProducer(items_.back().call.producer, producer)) {
      item.after = items_.back().call.producer.base_sequence;
    } else if (failed_) {
      item.after = failed_->base_sequence;
    }
  }
  items_.push_back(std::move(item));
  Pump();
}

void AppendLane::Pump() {
  while (!stalled_ && sent_ < kSentMax && next_ - first_ < items_.size()) {
    Item& item = At(next_);
    const uint64_t number = next_++;
    if (item.state == State::kQueued) Send(number, &item);
  }
}

void AppendLane::Send(uint64_t number, Item* item) {
  const LaneCall& call = item->call;
  const Result<GroupId> group = GroupOf(*around_.metadata.image(), partition_);
  if (!group.ok()) {
    item->state = State::kDone;
    // An attempt before the topic went may have been appended.
    item->answer.status = item->maybe_applied ? GivenUp(*item) : group.status();
    return Deliver();
  }
  partition::PreparedBatch batch = call.batch;
  // An attempt on this node leaves its memory to the log: another one needs memory of its own.
  if (item->tried) batch.records = partition::RecordBuffer::CopyOf(call.batch.records.view());
  Attempt attempt{.partition = partition_,
                  .group = *group,
                  .deadline = call.deadline,
                  .caller = &caller_,
                  .require_leader = call.require_leader,
                  .operation = ForwardAppend{.batch = std::move(batch),
                                             .producer = call.producer,
                                             .after = item->after,
                                             .acks = call.acks,
                                             .expected_next_offset = call.expected_next_offset}};
  item->tried = true;
  item->state = State::kSent;
  ++sent_;
  item->attempt = around_.dispatcher.Start(std::move(attempt), number, *this);
}

bool AppendLane::Again(const Item& item, const Status& status) const {
  if (item.call.deadline <= around_.time.now()) return false;
  switch (RefusalOf(status)) {
    case Refusal::kNone: break;
    case Refusal::kOutOfOrder:
    case Refusal::kUnknownProducer:
      // One before it goes again, or is still on its way to who led before: this one was only too early.
      for (const Item& other : items_) {
        if (&other == &item) return false;
        if (other.state != State::kDone && SameProducer(other.call.producer, item.call.producer)) return true;
      }
      return false;
    default: return false;
  }
  switch (status.reason()) {
    case Reason::kNotLeader:
    case Reason::kNoLeader:
    case Reason::kTransferring:
    case Reason::kShuttingDown:
    case Reason::kGroupNotFound: return !item.call.require_leader;
    case Reason::kOutcomeUnknown: return item.call.producer.producer_id != 0;
    default: return false;
  }
}

Status AppendLane::GivenUp(const Item& item) const {
  if (item.maybe_applied) {
    return Status(Reason::kOutcomeUnknown,
                  "the leader was lost after it had the batch, and no other answered in time; send it again with the same sequence");
  }
  const Result<GroupId> group = GroupOf(*around_.metadata.image(), partition_);
  if (!group.ok()) return group.status();
  const Leader leader = item.call.require_leader ? around_.leaders.Of(*group) : Leader{};
  return LeaderIsElsewhere(*around_.metadata.image(), partition_, leader);
}

void AppendLane::OnAttempt(uint64_t number, AttemptAnswer answer) {
  Item& item = At(number);
  item.attempt = 0;
  --sent_;
  if (answer.status.reason() == Reason::kOutcomeUnknown) item.maybe_applied = true;
  if (Again(item, answer.status)) {
    item.state = State::kAgain;
    stalled_ = true;
  } else {
    Finish(&item, std::move(answer));
    Deliver();
  }
  if (stalled_ && sent_ == 0) Resume();
  Pump();
}

void AppendLane::Finish(Item* item, AttemptAnswer answer) {
  item->state = State::kDone;
  item->answer.remote = answer.remote;
  item->answer.epoch = answer.epoch;
  item->answer.status = answer.status;
  if (auto* result = std::get_if<partition::ProduceResult>(&answer.result)) item->answer.result = *result;
  const Reason reason = answer.status.reason();
  const bool leaderless = reason == Reason::kNotLeader || reason == Reason::kNoLeader || reason == Reason::kTransferring ||
                          reason == Reason::kGroupNotFound || reason == Reason::kShuttingDown;
  if (!answer.status.ok() && RefusalOf(answer.status) == Refusal::kNone && (leaderless || item->maybe_applied)) {
    item->answer.status = GivenUp(*item);
  }
}

void AppendLane::Deliver() {
  while (!items_.empty() && items_.front().state == State::kDone) {
    LaneAnswer answer = std::move(items_.front().answer);
    answer.token = items_.front().call.token;
    const partition::ProducerBatch& producer = items_.front().call.producer;
    // Each names the one before it: where the last one is, all are. The first of them may have been appended, and the last one not.
    if (producer.scope == partition::SequenceScope::kTopic && SentAgain(answer.status)) failed_ = producer;
    items_.pop_front();
    ++first_;
    next_ = std::max(next_, first_);
    sink_.OnAppended(answer);
  }
}

// Everything that was on its way has come back.
void AppendLane::Resume() {
  ExpireWaiting();
  raft::Tick deadline = raft::kNever;
  bool waits = false;
  for (const Item& item : items_) {
    if (item.state != State::kAgain) continue;
    waits = true;
    deadline = std::min(deadline, item.call.deadline);
  }
  if (!waits) {
    stalled_ = false;
    next_ = first_;
    return;
  }
  const Result<GroupId> group = GroupOf(*around_.metadata.image(), partition_);
  if (wait_ != 0) around_.waits.Cancel(wait_);
  wait_ = around_.waits.Wait(group.ok() ? *group : kNoGroup, deadline, 0, *this);
}

void AppendLane::OnLeaderAwaited(uint64_t /*token*/) {
  wait_ = 0;
  stalled_ = false;
  ExpireWaiting();
  next_ = first_;
  for (Item& item : items_) {
    if (item.state == State::kAgain) item.state = State::kQueued;
  }
  Pump();
}

// What is not on its way and has no time left is given up.
void AppendLane::ExpireWaiting() {
  for (Item& item : items_) {
    const bool waits = item.state == State::kAgain || item.state == State::kQueued;
    if (!waits || item.call.deadline > around_.time.now()) continue;
    item.state = State::kDone;
    item.answer.status = GivenUp(item);
  }
  Deliver();
}

}  // namespace flotilla::broker
