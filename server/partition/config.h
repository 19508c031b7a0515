// What a topic's config says to its partitions, and what the broker says to all of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "raft/core/raft_core.h"
#include "server/partition/batch.h"
#include "server/partition/limits.h"
#include "server/partition/producer_state.h"

namespace flotilla::partition {

// Of the topic; may change while the partition runs. Only the leader looks at it, so replicas may learn of a
// change at different times.
struct PartitionConfig {
  // One record, uncompressed.
  size_t record_bytes_max = limits::kRecordBytesDefault;
  // One batch as sent.
  size_t batch_bytes_max = kBatchRecordsBytesMax;
  TimestampType timestamp_type = TimestampType::kCreateTime;
  int64_t timestamp_ahead_ms_max = limits::kTimestampAheadMillisDefault;
};

// Of the broker; fixed.
struct PartitionOptions {
  ProducerLimits producers;  // the same on every replica, see producer_state.h
  size_t checkpoint_bytes = limits::kCheckpointBytes;
  uint64_t checkpoint_entries = limits::kCheckpointEntries;
  size_t produce_calls_max = limits::kProduceCallsMax;
  size_t fetch_calls_max = limits::kFetchCallsMax;
  // A leader that lost its place waits so long to learn what became of proposals, then answers
  // OUTCOME_UNKNOWN.
  raft::Tick outcome_ticks = 40;
  // A cut of the log that could not be made is tried again after so long.
  raft::Tick cut_retry_ticks = 100;
};

}  // namespace flotilla::partition
