// The idempotent batches that a leader has proposed and not yet applied: the next one is judged against
// these, so that several may be on their way. Only the leader has any; when it loses the leadership all are
// forgotten, because nobody knows which of them stay.
//
//   verdict = pending.Judge(applied_state, batch);
//   pending.Add(applied_state, batch, {.index = index, .base_offset = offset});   // it was proposed
//   pending.AppliedTo(index);                                                     // the state has them now
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>

#include "server/partition/producer_state.h"

namespace flotilla::partition {

class PendingBatches {
 public:
  struct Place {
    LogIndex index;
    Offset base_offset;
  };

  // As ProducerState::Judge, as if everything pending were applied. A duplicate of something pending is a
  // duplicate: whether its offset is committed yet is for the caller to see.
  SequenceVerdict Judge(const ProducerState& applied, const SequencedBatch& batch) const {
    return ProducerHistory::Judge(Last(applied, batch.producer.producer_id), batch);
  }
  // The batch was judged new. Indexes grow.
  void Add(const ProducerState& applied, const SequencedBatch& batch, const Place& place);
  void AppliedTo(LogIndex index);
  void Clear();

  size_t batches() const { return order_.size(); }
  size_t producers() const { return by_id_.size(); }

 private:
  struct Producer {
    ProducerHistory history;  // with everything pending
    LogIndex last;            // the newest pending one
  };

  const ProducerHistory* Last(const ProducerState& applied, uint64_t producer_id) const;

  std::unordered_map<uint64_t, Producer> by_id_;
  std::deque<std::pair<LogIndex, uint64_t>> order_;
};

}  // namespace flotilla::partition
