// The way of a batch into the log. Decide (pure: limits, sequence, condition) and propose; then the answer
// comes with the watermark.
//
// Answers to one sink come in the order of its calls, whatever becomes of each. Outcomes are honest:
//   OK                 as safe as asked for, at base_offset; `deduplicated` when an earlier attempt did it
//   a refusal          nothing was appended (server/errors/refusal.h, and LIMIT_EXCEEDED, OVERLOADED, DISK_FULL,
//   TRANSFERRING, NO_LEADER) NOT_LEADER         nothing was appended, or it was taken away again for good:
//   safe to send again OUTCOME_UNKNOWN    maybe; send again only with a producer id
//
// Sinks are called on the group's executor, sometimes before Produce returns; they post and do not call back.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>

#include "raft/node/raft_host.h"
#include "server/partition/batch.h"
#include "server/partition/context.h"
#include "server/partition/pending_batches.h"

namespace flotilla::partition {

enum class Acks : uint8_t {
  kQuorum,  // synced on a majority
  kLeader,  // synced on the leader's disk, or committed: whichever is noticed first; lost if the leader dies
            // before others have it
  kNone,    // nothing: it was accepted and may still be lost. No offset is told
};

struct ProduceCall {
  PreparedBatch batch;
  // producer_id 0: not deduplicated.
  ProducerBatch producer = {};
  // See SequencedBatch::after.
  std::optional<uint64_t> after = {};
  Acks acks = Acks::kQuorum;
  // Append only there. A duplicate is recognised before this is looked at.
  std::optional<Offset> expected_next_offset = {};
  // OUTCOME_UNKNOWN at this tick if nothing is known by then.
  raft::Tick deadline = raft::kNever;
};

struct ProduceResult {
  Status status;
  // With OK, but not for Acks::kNone.
  Offset base_offset = {};
  uint32_t record_count = 0;
  bool deduplicated = false;
  // When the leader appended it; 0 when that is not remembered (deduplicated) or not told (kNone, errors).
  int64_t append_timestamp_ms = 0;
};

class ProduceSink {
 public:
  virtual ~ProduceSink() = default;
  virtual void OnProduced(uint64_t token, const ProduceResult& result) = 0;
};

struct ProduceCounters {
  uint64_t calls = 0;
  uint64_t appended_batches = 0;  // proposed
  uint64_t appended_records = 0;
  uint64_t appended_bytes = 0;
  uint64_t duplicates = 0;
  uint64_t refused = 0;
  uint64_t outcomes_unknown = 0;
  uint64_t waiting = 0;  // now
};

class ProducePath final : public raft::ProposalSink, private raft::ReadSink {
 public:
  explicit ProducePath(Context& context) : context_(context) {}

  // OVERLOADED: too many calls wait; the sink hears nothing of this one.
  Status Produce(ProduceCall call, uint64_t token, ProduceSink& sink);
  // The sink is gone: it is not called any more. What was proposed goes on.
  void Forget(ProduceSink& sink);

  // The machine applied something, or the log's disk moved on.
  void Advance();
  void OnLeadership();
  void OnTick();
  // Answers everybody; before the partition goes away.
  void Close(const Status& outcome);
  const ProduceCounters& counters() const { return counters_; }

  void OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& header) override;

 private:
  struct Waiting {
    ProduceSink* sink;
    uint64_t token;
    Acks acks;
    raft::Tick deadline;
    // Of a proposal; 0: none.
    LogIndex index = {};
    Term term = {};
    ProduceResult answer = {};  // once it is known to be good
    bool answered = false;
    // To be said once it is sure that this replica leads.
    Status refusal = {};
  };
  using Calls = std::map<uint64_t, Waiting>;  // by number, in the order of arrival

  Status CheckLimits(const ProduceCall& call) const;
  Status CheckTimes(const RecordSetSummary& summary, int64_t now_ms) const;
  // What to do with the call; the offset of a duplicate.
  SequenceVerdict Decide(const ProduceCall& call, int64_t now_ms) const;
  Status Propose(ProduceCall call, int64_t now_ms, uint64_t number, Waiting* waiting);

  // Refuses by what this replica has in its log. A leader that was deposed and has not heard of it lacks what the next one has: it
  // makes sure first.
  void RefuseSurely(uint64_t number, const Status& refusal);
  void OnRead(uint64_t token, const Status& status, LogIndex index) override;
  void Answer(Calls::iterator call, ProduceResult result);
  void Fail(Calls::iterator call, const Status& status);
  // Tells `sink` what is answered up to the first of its calls that is not.
  void Deliver(ProduceSink* sink);
  void AnswerDuplicates();
  void AnswerLeaderAcks();
  template <typename Condition>
  void FailWhere(Condition condition, const Status& status);

  Context& context_;
  uint64_t next_number_ = 1;
  Calls calls_;
  std::unordered_map<ProduceSink*, std::deque<uint64_t>> lanes_;
  PendingBatches pending_;
  Term pending_term_;
  std::multimap<Offset, uint64_t> duplicates_;             // by the watermark they wait for
  std::deque<std::pair<LogIndex, uint64_t>> leader_acks_;  // waiting for the leader's disk
  raft::Tick deadline_ = raft::kNever;                     // not later than the first of calls_
  raft::Tick fate_at_ = raft::kNever;                      // then proposals of earlier terms are given up
  ProduceCounters counters_;
};

}  // namespace flotilla::partition
