#include "server/partition/pending_batches.h"

namespace flotilla::partition {

const ProducerHistory* PendingBatches::Last(const ProducerState& applied, uint64_t producer_id) const {
  const auto found = by_id_.find(producer_id);
  return found == by_id_.end() ? applied.Find(producer_id) : &found->second.history;
}

void PendingBatches::Add(const ProducerState& applied, const SequencedBatch& batch, const Place& place) {
  if (!order_.empty()) CHECK_GT(place.index, order_.back().first);
  const uint64_t id = batch.producer.producer_id;
  const ProducerHistory* last = Last(applied, id);
  Producer& producer = by_id_[id];
  if (last == nullptr || last->epoch() != batch.producer.epoch) {
    producer.history = ProducerHistory(batch.producer.epoch, batch.producer.scope);
  } else if (last != &producer.history) {
    producer.history = *last;
  }
  producer.history.Add(batch, place.base_offset, limits::kRunsPerProducerMax);
  producer.last = place.index;
  order_.emplace_back(place.index, id);
}

void PendingBatches::AppliedTo(LogIndex index) {
  while (!order_.empty() && order_.front().first <= index) {
    const auto [applied, id] = order_.front();
    order_.pop_front();
    const auto producer = by_id_.find(id);
    if (producer != by_id_.end() && producer->second.last == applied) by_id_.erase(producer);
  }
}

void PendingBatches::Clear() {
  by_id_.clear();
  order_.clear();
}

}  // namespace flotilla::partition
