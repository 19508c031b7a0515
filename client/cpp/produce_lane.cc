#include "client/cpp/produce_lane.h"

#include <algorithm>

namespace flotilla::client {
namespace {

// A refused sequence of the oldest batch can be a race with an election: it is tried again before it counts.
constexpr int kSequenceRefusalsMax = 3;

}  // namespace

bool ProduceLane::HasRoom(MonotonicTime now) const {
  if (needs_identity_) return false;
  if (rewinding_) return outstanding_.empty() && now >= retry_at_ && batches_.empty();
  return sent_ == batches_.size() && sent_ < static_cast<size_t>(options_.in_flight_max);
}

bool ProduceLane::CanSend(MonotonicTime now) const {
  if (needs_identity_ || batches_.empty()) return false;
  if (rewinding_) return outstanding_.empty() && now >= retry_at_;
  return sent_ < batches_.size() && sent_ < static_cast<size_t>(options_.in_flight_max);
}

ProduceBatch* ProduceLane::NextToSend(MonotonicTime now) {
  if (!CanSend(now)) return nullptr;
  if (rewinding_) {
    rewinding_ = false;
    sent_ = 0;
  }
  ProduceBatch& batch = *batches_[sent_++];
  if (batch.base_sequence < 0) {
    batch.identity = identity_;
    batch.base_sequence = next_sequence_;
    next_sequence_ += batch.record_count;
  }
  ++batch.attempts;
  outstanding_.push_back(batch.id);
  return &batch;
}

void ProduceLane::OnAnswer(uint64_t id, const Delivery& answer, MonotonicTime now, std::vector<SettledBatch>* settled) {
  std::erase(outstanding_, id);
  const size_t index = Find(id);
  if (index == batches_.size()) return;
  const Error& error = answer.error;
  if (error.ok()) {
    failures_ = 0;
    return Settle(index, answer, settled);
  }
  batches_[index]->last_error = error;
  if (error.reason() == reasons::kOutOfOrder || error.reason() == reasons::kUnknownProducer) {
    return OnSequenceRefused(index, error, now, settled);
  }
  switch (error.retry()) {
    case Retry::kSafe: return Rewind(error, now);
    case Retry::kIfIdempotent: return OnLost(id, error, /*sent=*/true, now, settled);
    case Retry::kNever: return FailForGood(index, error, settled);
  }
}

void ProduceLane::OnLost(uint64_t id, const Error& error, bool sent, MonotonicTime now, std::vector<SettledBatch>* settled) {
  std::erase(outstanding_, id);
  const size_t index = Find(id);
  if (index == batches_.size()) return;
  ProduceBatch& batch = *batches_[index];
  batch.last_error = error;
  if (!sent) return Rewind(error, now);
  if (!options_.idempotent) {
    return SettleWithError(index,
                           Error(ErrorCode::kUnknown, reasons::kOutcomeUnknown, Retry::kIfIdempotent,
                                 "the batch may or may not be appended; it is not repeated because this producer is "
                                 "not idempotent: " +
                                     error.ToString()),
                           settled);
  }
  batch.maybe_applied = true;
  Rewind(error, now);
}

void ProduceLane::OnSequenceRefused(size_t index, const Error& error, MonotonicTime now, std::vector<SettledBatch>* settled) {
  // Behind one that has failed: it is refused because of that one, and sent again after it.
  if (index > 0 || needs_identity_) return Rewind(error, now);
  ProduceBatch& batch = *batches_.front();
  const bool forgotten = error.reason() == reasons::kUnknownProducer;
  if (!forgotten && failures_ < kSequenceRefusalsMax) return Rewind(error, now);
  // All before it were acknowledged. What was certainly never appended goes on under a new id.
  if (!batch.maybe_applied) {
    rewinding_ = true;
    needs_identity_ = true;
    return;
  }
  FailForGood(index,
              Error(ErrorCode::kUnknown, reasons::kOutcomeUnknown, Retry::kIfIdempotent,
                    "an attempt ended without an answer, and the partition cannot tell any more: " + error.ToString()),
              settled);
}

void ProduceLane::FailForGood(size_t index, const Error& error, std::vector<SettledBatch>* settled) {
  const bool leaves_gap = batches_[index]->base_sequence >= 0 && options_.idempotent;
  SettleWithError(index, error, settled);
  if (!leaves_gap) return;
  rewinding_ = true;
  needs_identity_ = true;
}

void ProduceLane::SetIdentity(ProducerIdentity identity, std::vector<SettledBatch>* settled) {
  for (size_t i = 0; i < batches_.size();) {
    if (batches_[i]->maybe_applied) {
      const Error last = batches_[i]->last_error;
      SettleWithError(i,
                      Error(ErrorCode::kUnknown, reasons::kOutcomeUnknown, Retry::kIfIdempotent,
                            "it may or may not be appended: a batch before it failed for good, and " + last.ToString()),
                      settled);
    } else {
      batches_[i++]->base_sequence = -1;
    }
  }
  identity_ = identity;
  next_sequence_ = 0;
  sent_ = 0;
  rewinding_ = false;
  needs_identity_ = false;
  failures_ = 0;
}

void ProduceLane::Expire(MonotonicTime now, std::vector<SettledBatch>* settled) {
  while (!batches_.empty() && batches_.front()->deadline <= now) {
    const ProduceBatch& batch = *batches_.front();
    const bool on_its_way = std::find(outstanding_.begin(), outstanding_.end(), batch.id) != outstanding_.end();
    const bool unclear = batch.maybe_applied || on_its_way;
    std::string why = unclear ? "not acknowledged in time; it may or may not be appended" : "not sent in time; it is not appended";
    if (!batch.last_error.ok()) why += "; the last attempt ended with " + batch.last_error.ToString();
    FailForGood(0,
                Error(ErrorCode::kDeadlineExceeded, unclear ? reasons::kOutcomeUnknown : reasons::kTimedOut,
                      unclear ? Retry::kIfIdempotent : Retry::kSafe, std::move(why)),
                settled);
  }
}

void ProduceLane::FailAll(const Error& error, std::vector<SettledBatch>* settled) {
  while (!batches_.empty()) SettleWithError(0, error, settled);
  outstanding_.clear();
}

size_t ProduceLane::Find(uint64_t id) const {
  size_t index = 0;
  while (index < batches_.size() && batches_[index]->id != id) ++index;
  return index;
}

void ProduceLane::Settle(size_t index, Delivery delivery, std::vector<SettledBatch>* settled) {
  std::unique_ptr<ProduceBatch> batch = std::move(batches_[index]);
  batches_.erase(batches_.begin() + static_cast<std::ptrdiff_t>(index));
  if (index < sent_) --sent_;
  delivery.partition = options_.partition;
  delivery.record_count = batch->record_count;
  settled->push_back({std::move(batch), std::move(delivery)});
}

void ProduceLane::SettleWithError(size_t index, const Error& error, std::vector<SettledBatch>* settled) {
  Settle(index, Delivery{.error = error}, settled);
}

void ProduceLane::Rewind(const Error& error, MonotonicTime now) {
  if (rewinding_) {
    retry_at_ = std::max(retry_at_, now + error.retry_after());
    return;
  }
  rewinding_ = true;
  const int doublings = std::min(failures_++, 16);
  const Duration pause = std::min(options_.backoff_max, options_.backoff_min * (int64_t{1} << doublings));
  retry_at_ = now + std::max(pause, error.retry_after());
}

}  // namespace flotilla::client
