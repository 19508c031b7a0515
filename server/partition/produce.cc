#include "server/partition/produce.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "server/errors/refusal.h"

namespace flotilla::partition {
namespace {

Status OutcomeUnknown(const char* why) {
  return Status(Reason::kOutcomeUnknown, std::string(why) + "; the batch may have been appended: send it again only with a producer id");
}

SequenceVerdict Refused(Status status) { return {.kind = SequenceVerdict::Kind::kRefused, .offset = {}, .status = std::move(status)}; }

SequencedBatch SequenceOf(const ProduceCall& call) {
  return {.producer = call.producer, .count = call.batch.summary.records, .after = call.after};
}

raft::Proposal MakeProposal(ProduceCall call, TimestampType type, int64_t now_ms) {
  const RecordSetSummary& summary = call.batch.summary;
  raft::Proposal proposal{
      .kind = storage::EntryKind::kData, .record_count = summary.records, .min_timestamp_ms = now_ms, .max_timestamp_ms = now_ms};
  if (type == TimestampType::kCreateTime && summary.without_timestamp < summary.records) {
    const bool all = summary.without_timestamp == 0;
    proposal.min_timestamp_ms = all ? summary.min_timestamp_ms : std::min(summary.min_timestamp_ms, now_ms);
    proposal.max_timestamp_ms = all ? summary.latest.timestamp_ms : std::max(summary.latest.timestamp_ms, now_ms);
  }
  proposal.payload = std::move(call.batch.records)
                         .Seal({.codec = call.batch.codec,
                                .timestamp_type = type,
                                .producer = call.producer,
                                .append_timestamp_ms = now_ms,
                                .crc32c = call.batch.crc32c,
                                .uncompressed_bytes = call.batch.uncompressed_bytes});
  return proposal;
}

}  // namespace

// --- Decide

Status ProducePath::CheckLimits(const ProduceCall& call) const {
  const PartitionConfig& config = context_.config;
  const NumberedBytes& largest = call.batch.summary.largest;
  if (largest.bytes > config.record_bytes_max) {
    return Refuse(Refusal::kRecordTooLarge, "record " + std::to_string(largest.record) + " takes " + std::to_string(largest.bytes) +
                                                " bytes; the limit of the topic is " + std::to_string(config.record_bytes_max))
        .With("record", largest.record)
        .With("value", largest.bytes)
        .With("limit", config.record_bytes_max);
  }
  if (call.batch.records.size() > config.batch_bytes_max) {
    return Status(Reason::kLimitExceeded, "a batch of " + std::to_string(call.batch.records.size()) + " bytes; the limit of the topic is " +
                                              std::to_string(config.batch_bytes_max) + "; send fewer records at a time")
        .With("value", call.batch.records.size())
        .With("limit", config.batch_bytes_max);
  }
  return {};
}

Status ProducePath::CheckTimes(const RecordSetSummary& summary, int64_t now_ms) const {
  const int64_t limit = now_ms + context_.config.timestamp_ahead_ms_max;
  if (context_.config.timestamp_type == TimestampType::kAppendTime || summary.latest.timestamp_ms <= limit) return {};
  return Refuse(Refusal::kTimestampOutOfRange,
                "record " + std::to_string(summary.latest.record) + " has the timestamp " + std::to_string(summary.latest.timestamp_ms) +
                    ", more than " + std::to_string(context_.config.timestamp_ahead_ms_max) + " ms ahead of the broker's clock (" +
                    std::to_string(now_ms) + "); is it in milliseconds, and are the clocks right?")
      .With("timestamp_ms", std::to_string(summary.latest.timestamp_ms))
      .With("limit_ms", std::to_string(limit))
      .With("record", summary.latest.record);
}

SequenceVerdict ProducePath::Decide(const ProduceCall& call, int64_t now_ms) const {
  if (Status status = context_.MayServe(); !status.ok()) return Refused(status);
  SequenceVerdict verdict;
  if (call.producer.producer_id != 0) verdict = pending_.Judge(context_.machine.producers(), SequenceOf(call));
  if (verdict.kind != SequenceVerdict::Kind::kNew) return verdict;
  if (Status status = CheckLimits(call); !status.ok()) return Refused(status);
  if (Status status = CheckTimes(call.batch.summary, now_ms); !status.ok()) return Refused(status);
  const Offset end = context_.handle.end().end_offset;
  if (call.expected_next_offset && *call.expected_next_offset != end) {
    return Refused(Refuse(Refusal::kOffsetMismatch, "the batch expects to get offset " +
                                                        std::to_string(call.expected_next_offset->value()) + ", and " +
                                                        std::to_string(end.value()) + " is next; read what came between and decide anew")
                       .With("expected", call.expected_next_offset->value())
                       .With("actual", end.value()));
  }
  return verdict;
}

// --- Do

Status ProducePath::Produce(ProduceCall call, uint64_t token, ProduceSink& sink) {
  ++counters_.calls;
  if (calls_.size() >= context_.options.produce_calls_max) {
    ++counters_.refused;
    return Status(Reason::kOverloaded,
                  std::to_string(calls_.size()) + " produce calls wait in this partition, and that is the limit; " + "try again shortly")
        .With("limit", context_.options.produce_calls_max);
  }
  // The news of a new term may still be on its way to us, and what is pending is of the old one.
  const raft::StateMachine::Leadership& leadership = context_.machine.leadership();
  if (leadership.role == raft::Role::kLeader && leadership.term != pending_term_) OnLeadership();
  const uint64_t number = next_number_++;
  const auto waiting =
      calls_.emplace_hint(calls_.end(), number, Waiting{.sink = &sink, .token = token, .acks = call.acks, .deadline = call.deadline});
  lanes_[&sink].push_back(number);
  counters_.waiting = calls_.size();
  deadline_ = std::min(deadline_, call.deadline);

  const int64_t now_ms = context_.around.clock.WallMillis();
  const SequenceVerdict verdict = Decide(call, now_ms);
  if (verdict.kind == SequenceVerdict::Kind::kRefused) {
    ++counters_.refused;
    RefuseSurely(number, verdict.status);
    return {};
  }
  if (verdict.kind == SequenceVerdict::Kind::kDuplicate) {
    ++counters_.duplicates;
    const uint32_t count = call.batch.summary.records;
    if (call.acks == Acks::kNone) {
      Answer(waiting, {.status = {}, .record_count = count, .deduplicated = true});
      return {};
    }
    waiting->second.answer = {.status = {}, .base_offset = verdict.offset, .record_count = count, .deduplicated = true};
    duplicates_.emplace(verdict.offset + count, number);
    AnswerDuplicates();
    return {};
  }
  const Acks acks = call.acks;
  const Status proposed = Propose(std::move(call), now_ms, number, &waiting->second);
  if (!proposed.ok()) {
    ++counters_.refused;
    Fail(waiting, proposed);
  } else if (acks == Acks::kNone) {
    Answer(waiting, {.status = {}, .record_count = waiting->second.answer.record_count});
  }
  AnswerLeaderAcks();
  return {};
}

Status ProducePath::Propose(ProduceCall call, int64_t now_ms, uint64_t number, Waiting* waiting) {
  GroupHandle& handle = context_.handle;
  const Offset base_offset = handle.end().end_offset;
  const SequencedBatch sequence = SequenceOf(call);
  const Acks acks = call.acks;
  const raft::Proposal proposal = MakeProposal(std::move(call), context_.config.timestamp_type, now_ms);
  const Result<LogIndex> index = handle.Propose(proposal, number, *this);
  if (!index.ok()) return index.status();
  waiting->index = *index;
  waiting->term = context_.machine.leadership().term;
  waiting->answer = {.status = {}, .base_offset = base_offset, .record_count = sequence.count, .append_timestamp_ms = now_ms};
  if (sequence.producer.producer_id != 0) {
    pending_.Add(context_.machine.producers(), sequence, {.index = *index, .base_offset = base_offset});
  }
  if (acks == Acks::kLeader) leader_acks_.emplace_back(*index, number);
  ++counters_.appended_batches;
  counters_.appended_records += sequence.count;
  counters_.appended_bytes += proposal.payload.size();
  return {};
}

void ProducePath::OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& header) {
  const auto call = calls_.find(token);
  if (call == calls_.end() || call->second.answered) return;
  if (!status.ok()) return Fail(call, status);
  CHECK_EQ(header.base_offset, call->second.answer.base_offset);
  Answer(call, call->second.answer);
}

// --- Progress

void ProducePath::Advance() {
  pending_.AppliedTo(context_.machine.applied());
  AnswerDuplicates();
  AnswerLeaderAcks();
}

void ProducePath::AnswerDuplicates() {
  while (!duplicates_.empty() && duplicates_.begin()->first <= context_.machine.high_watermark()) {
    const auto call = calls_.find(duplicates_.begin()->second);
    duplicates_.erase(duplicates_.begin());
    if (call != calls_.end() && !call->second.answered) Answer(call, call->second.answer);
  }
}

void ProducePath::AnswerLeaderAcks() {
  if (leader_acks_.empty()) return;
  const LogIndex stable = context_.handle.stable();
  while (!leader_acks_.empty() && leader_acks_.front().first <= stable) {
    const auto call = calls_.find(leader_acks_.front().second);
    leader_acks_.pop_front();
    if (call != calls_.end() && !call->second.answered) Answer(call, call->second.answer);
  }
}

// Nobody knows what stays of what is pending. The group will tell of proposals in time; duplicates of them
// are not its business.
void ProducePath::OnLeadership() {
  const raft::StateMachine::Leadership& leadership = context_.machine.leadership();
  if (leadership.role == raft::Role::kLeader && leadership.term == pending_term_) return;
  pending_term_ = leadership.role == raft::Role::kLeader ? leadership.term : Term{};
  pending_.Clear();
  leader_acks_.clear();
  std::vector<uint64_t> orphans;
  for (const auto& [watermark, number] : duplicates_) orphans.push_back(number);
  duplicates_.clear();
  for (const uint64_t number : orphans) {
    const auto call = calls_.find(number);
    if (call != calls_.end() && !call->second.answered) {
      ++counters_.outcomes_unknown;
      Fail(call, OutcomeUnknown("the leader lost its place before the first attempt was committed"));
    }
  }
  if (!calls_.empty() && fate_at_ == raft::kNever) fate_at_ = context_.now + context_.options.outcome_ticks;
}

void ProducePath::OnTick() {
  AnswerLeaderAcks();
  if (fate_at_ <= context_.now) {
    fate_at_ = raft::kNever;
    FailWhere([&](const Waiting& call) { return call.index != LogIndex{} && call.term != pending_term_; },
              OutcomeUnknown("the leader lost its place"));
  }
  if (deadline_ <= context_.now) {
    FailWhere([&](const Waiting& call) { return call.deadline <= context_.now; },
              OutcomeUnknown("the time for this call is over and the batch is not committed"));
    deadline_ = raft::kNever;
    for (const auto& [number, call] : calls_) deadline_ = std::min(deadline_, call.deadline);
  }
}

template <typename Condition>
void ProducePath::FailWhere(Condition condition, const Status& status) {
  std::vector<uint64_t> numbers;
  for (const auto& [number, call] : calls_) {
    if (!call.answered && condition(call)) numbers.push_back(number);
  }
  for (const uint64_t number : numbers) {
    const auto call = calls_.find(number);
    if (call == calls_.end() || call->second.answered) continue;
    ++counters_.outcomes_unknown;
    Fail(call, status);
  }
}

void ProducePath::Close(const Status& outcome) {
  pending_.Clear();
  duplicates_.clear();
  leader_acks_.clear();
  FailWhere([](const Waiting&) { return true; }, outcome);
}

// --- Answers

void ProducePath::RefuseSurely(uint64_t number, const Status& refusal) {
  const auto call = calls_.find(number);
  const Refusal kind = RefusalOf(refusal);
  const bool by_log = kind == Refusal::kOutOfOrder || kind == Refusal::kUnknownProducer || kind == Refusal::kOffsetMismatch;
  if (!by_log) return Fail(call, refusal);
  call->second.refusal = refusal;
  call->second.term = context_.machine.leadership().term;
  if (const Status asked = context_.handle.ReadIndex(number, *this); !asked.ok()) Fail(call, asked);
}

void ProducePath::OnRead(uint64_t token, const Status& status, LogIndex /*index*/) {
  const auto call = calls_.find(token);
  if (call == calls_.end() || call->second.answered) return;
  // A read that began on a leader is also released when another one leads by then: OK alone does not say who we are.
  const bool led = context_.MayServe().ok() && context_.machine.leadership().term == call->second.term;
  if (status.ok() && led) return Fail(call, call->second.refusal);
  Fail(call, Status(Reason::kNoLeader, "this replica lost the leadership while it made sure of it; nothing was appended"));
}

void ProducePath::Fail(Calls::iterator call, const Status& status) { Answer(call, {.status = status}); }

void ProducePath::Answer(Calls::iterator call, ProduceResult result) {
  call->second.answer = std::move(result);
  call->second.answered = true;
  Deliver(call->second.sink);
}

void ProducePath::Deliver(ProduceSink* sink) {
  const auto lane = lanes_.find(sink);
  if (lane == lanes_.end()) return;
  std::vector<std::pair<uint64_t, ProduceResult>> answers;
  std::deque<uint64_t>& numbers = lane->second;
  while (!numbers.empty()) {
    const auto call = calls_.find(numbers.front());
    if (!call->second.answered) break;
    answers.emplace_back(call->second.token, std::move(call->second.answer));
    calls_.erase(call);
    numbers.pop_front();
  }
  if (numbers.empty()) lanes_.erase(lane);
  counters_.waiting = calls_.size();
  for (const auto& [token, result] : answers) sink->OnProduced(token, result);
}

void ProducePath::Forget(ProduceSink& sink) {
  const auto lane = lanes_.find(&sink);
  if (lane == lanes_.end()) return;
  for (const uint64_t number : lane->second) calls_.erase(number);
  lanes_.erase(lane);
  counters_.waiting = calls_.size();
}

}  // namespace flotilla::partition
