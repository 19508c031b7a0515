// The batches of one producer for one partition, from the moment they are complete until they are settled: in which order they
// are sent, how they are numbered, and what follows from each answer. Pure: no clock, no lock, no network.
//
//   lane.Add(std::move(batch));
//   while (ProduceBatch* batch = lane.NextToSend(now)) Send(*batch);
//   ...
//   lane.OnAnswer(id, error, now, &settled);          // then NextToSend again
//
// A batch that fails for now is sent again, unchanged, and so are all behind it, in order, once nothing is on its way any more.
// A batch that fails for good leaves a gap in the sequence. Then the lane goes on under a new producer id: batches that may
// have been applied under the old one cannot be sent again and fail, the others are numbered anew.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/cpp/error.h"
#include "storage/base/bytes.h"
#include "storage/base/clock.h"

namespace flotilla::client {

struct ProducerIdentity {
  int64_t producer_id = 0;  // 0: none, batches are not deduplicated
  int32_t epoch = 0;
  bool operator==(const ProducerIdentity&) const = default;
};

// What became of a batch. Absent offsets are -1.
struct Delivery {
  int32_t partition = 0;
  Error error;
  int64_t base_offset = -1;
  int32_t record_count = 0;
  bool deduplicated = false;
  int64_t append_timestamp_ms = 0;
  // What Send was given for each record, in order; empty when it was given nothing for any.
  std::span<const uint64_t> tags;
};

using RecordCallback = std::function<void(const Error& error, int32_t partition, int64_t offset)>;

struct ProduceBatch {
  uint64_t id = 0;  // unique in the producer
  Bytes records;
  int32_t record_count = 0;
  uint32_t crc32c = 0;
  MonotonicTime deadline;
  std::vector<uint64_t> tags;
  std::vector<std::pair<int32_t, RecordCallback>> callbacks;  // by number of the record

  // Set when it is sent for the first time.
  ProducerIdentity identity;
  int64_t base_sequence = -1;
  bool maybe_applied = false;
  int attempts = 0;
  Error last_error;
};

struct SettledBatch {
  std::unique_ptr<ProduceBatch> batch;
  Delivery delivery;  // without tags
};

struct ProduceLaneOptions {
  int32_t partition = 0;
  bool idempotent = true;
  int in_flight_max = 5;
  Duration backoff_min = std::chrono::milliseconds(20);
  Duration backoff_max = std::chrono::seconds(1);
};

class ProduceLane {
 public:
  ProduceLane(const ProduceLaneOptions& options, ProducerIdentity identity) : options_(options), identity_(identity) {}

  void Add(std::unique_ptr<ProduceBatch> batch) { batches_.push_back(std::move(batch)); }

  // Whether NextToSend has one.
  bool CanSend(MonotonicTime now) const;
  // The next one, which counts as sent from here on. Null: nothing to send, or not now.
  ProduceBatch* NextToSend(MonotonicTime now);
  // Whether a batch that is added now would be sent at once.
  bool HasRoom(MonotonicTime now) const;

  // The broker's answer for a batch that was sent. Unknown ids (settled by Expire) only count as answered.
  void OnAnswer(uint64_t id, const Delivery& answer, MonotonicTime now, std::vector<SettledBatch>* settled);
  // No answer will come. `sent`: some of it may have reached the broker.
  void OnLost(uint64_t id, const Error& error, bool sent, MonotonicTime now, std::vector<SettledBatch>* settled);
  // Fails what is past its deadline.
  void Expire(MonotonicTime now, std::vector<SettledBatch>* settled);
  // Fails everything.
  void FailAll(const Error& error, std::vector<SettledBatch>* settled);

  // The lane stands still until it gets another producer id.
  bool NeedsIdentity() const { return needs_identity_ && outstanding_.empty(); }
  void SetIdentity(ProducerIdentity identity, std::vector<SettledBatch>* settled);

  size_t outstanding() const { return outstanding_.size(); }
  // Complete batches that are not settled.
  size_t unsettled() const { return batches_.size(); }
  // When to ask NextToSend again although nothing was answered. Max: no need.
  MonotonicTime retry_at() const { return rewinding_ && outstanding_.empty() ? retry_at_ : MonotonicTime::max(); }
  MonotonicTime next_deadline() const { return batches_.empty() ? MonotonicTime::max() : batches_.front()->deadline; }

 private:
  size_t Find(uint64_t id) const;
  void Settle(size_t index, Delivery delivery, std::vector<SettledBatch>* settled);
  void SettleWithError(size_t index, const Error& error, std::vector<SettledBatch>* settled);
  // Send again from the first one, when nothing is on its way and some time has passed.
  void Rewind(const Error& error, MonotonicTime now);
  void FailForGood(size_t index, const Error& error, std::vector<SettledBatch>* settled);
  void OnSequenceRefused(size_t index, const Error& error, MonotonicTime now, std::vector<SettledBatch>* settled);

  const ProduceLaneOptions options_;
  ProducerIdentity identity_;
  int64_t next_sequence_ = 0;
  std::deque<std::unique_ptr<ProduceBatch>> batches_;
  size_t sent_ = 0;  // so many of the first were sent since the last rewind
  std::vector<uint64_t> outstanding_;
  bool rewinding_ = false;
  bool needs_identity_ = false;
  int failures_ = 0;  // since the last success
  MonotonicTime retry_at_;
};

}  // namespace flotilla::client
