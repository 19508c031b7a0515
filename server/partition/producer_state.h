// What a partition knows of its idempotent producers: derived from the log alone, so that every replica and
// every later leader knows the same, and a batch that is sent twice is appended once.
//
//   SequenceVerdict verdict = state.Judge(batch);       // before it is proposed: pure
//   state.Apply(batch, base_offset, append_time);       // when it was committed: on every replica, in the
//   order of the log
//
// How sequences count stands in proto/flotilla/v1/produce.proto: 64 bits, the first record of a producer's
// epoch is 0, and they never wrap. With SequenceScope::kPartition a batch has to begin where the one before
// ended. With kTopic a partition sees a part of a producer's items: numbers grow, with gaps.
//
// Per producer the last runs are remembered. A run is batches that follow each other both in sequence and in
// offset, so all of a producer that writes alone is one run, and the original offset of any of its batches is
// a subtraction away.
//
// A producer is forgotten when by the append times in the log it was silent for ProducerLimits::idle_ms_max
// and producers_kept others wrote since, or when there are more than producers_max: then the one silent for
// longest. The limits are the same on every replica: constants, not configuration.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/partition/batch.h"
#include "server/partition/limits.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"

namespace flotilla::partition {

struct ProducerLimits {
  size_t producers_max = limits::kProducersMax;
  int64_t idle_ms_max = limits::kProducerIdleMillisMax;
  size_t producers_kept = limits::kProducersKept;
  size_t runs_max = limits::kRunsPerProducerMax;
};

// A producer's batch and how many records it has. producer.producer_id is not 0.
struct SequencedBatch {
  ProducerBatch producer;
  uint32_t count = 0;
  // kTopic only: the base sequence of the producer's item before this one that had records for this
  // partition, where the sender knows it. When that one failed this one is out of order.
  std::optional<uint64_t> after = {};

  uint64_t end() const { return producer.base_sequence + count; }
};

struct SequenceVerdict {
  enum class Kind : uint8_t {
    kNew,        // append it
    kDuplicate,  // was appended: `offset` is where
    kRefused,    // `status` says why
  };
  Kind kind = Kind::kNew;
  Offset offset = {};
  Status status = {};
};

// Batches of one epoch of one producer, newest last.
class ProducerHistory {
 public:
  struct Run {
    uint64_t first_sequence = 0;
    Offset base_offset;
    uint64_t count = 0;
    uint64_t end() const { return first_sequence + count; }
    bool operator==(const Run&) const = default;
  };

  ProducerHistory() = default;
  ProducerHistory(uint32_t epoch, SequenceScope scope) : epoch_(epoch), scope_(scope) {}

  uint32_t epoch() const { return epoch_; }
  SequenceScope scope() const { return scope_; }
  // What the next batch begins with, at least.
  uint64_t next_sequence() const { return runs_.empty() ? 0 : runs_.back().end(); }
  const std::vector<Run>& runs() const { return runs_; }
  bool operator==(const ProducerHistory&) const = default;

  // Where a batch that was appended is, when that is remembered.
  std::optional<Offset> Find(const SequencedBatch& batch) const;
  // The batch begins at or after next_sequence().
  void Add(const SequencedBatch& batch, Offset base_offset, size_t runs_max);
  // `batch` against what was seen last (null: nothing of this producer). Of its epoch and scope or not.
  static SequenceVerdict Judge(const ProducerHistory* last, const SequencedBatch& batch);

 private:
  friend class ProducerState;
  uint32_t epoch_ = 0;
  SequenceScope scope_ = SequenceScope::kPartition;
  std::vector<Run> runs_;
};

class ProducerState {
 public:
  explicit ProducerState(const ProducerLimits& limits = {}) : limits_(limits) {}
  // Its index points into its list: it moves and is not copied.
  ProducerState(ProducerState&&) = default;
  ProducerState& operator=(ProducerState&&) = default;

  // Null when the producer is not known (any more).
  const ProducerHistory* Find(uint64_t producer_id) const;
  SequenceVerdict Judge(const SequencedBatch& batch) const { return ProducerHistory::Judge(Find(batch.producer.producer_id), batch); }

  // Time moves on, by the append time of an entry; it never goes back here. Forgets who was silent for too
  // long, but for the last ones.
  void AdvanceTo(int64_t append_timestamp_ms);
  // The batch is in the log at `base_offset`. It is believed: the leader has judged it. AdvanceTo comes
  // before.
  void Apply(const SequencedBatch& batch, Offset base_offset);

  size_t producers() const { return by_id_.size(); }
  int64_t time_ms() const { return time_ms_; }

  // The same bytes on every replica that applied the same entries. Grammar: README.md.
  void EncodeTo(std::string* out) const;
  // What EncodeTo would append, in bytes.
  size_t encoded_bytes() const;
  // CORRUPT_MESSAGE: these bytes are no producer state.
  static Result<ProducerState> Decode(std::string_view bytes, const ProducerLimits& limits = {});

 private:
  struct Producer {
    uint64_t id = 0;
    int64_t last_ms = 0;
    ProducerHistory history;
  };
  using Producers = std::list<Producer>;  // silent for longest first

  void ForgetOldest();

  ProducerLimits limits_;
  int64_t time_ms_ = kNoTimestamp;
  Producers producers_;
  std::unordered_map<uint64_t, Producers::iterator> by_id_;
  size_t runs_ = 0;
};

}  // namespace flotilla::partition
