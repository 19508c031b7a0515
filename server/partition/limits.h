// Limits of a partition, each with its reason; what a topic may change stands in config.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/base/limits.h"

namespace flotilla::partition::limits {

using flotilla::limits::kEntryPayloadBytesMax;
using flotilla::limits::kEntryRecordsMax;
using flotilla::limits::kKiB;
using flotilla::limits::kMiB;

// --- Records

// The largest record that a topic may allow. Above about 8 MiB only compressed batches can hold one.
inline constexpr size_t kRecordBytesMax = 32 * kMiB;
inline constexpr size_t kRecordBytesDefault = kMiB;
// Headers of one record: a consumer makes an object of each.
inline constexpr uint32_t kRecordHeadersMax = 1000;
// What a compressed batch may grow to: the memory that one call costs whoever decompresses it.
inline constexpr size_t kUncompressedBytesMax = 32 * kMiB;
// A record's own time may be this far ahead of the broker's clock: further, and retention by time would keep
// it for ever.
inline constexpr int64_t kTimestampAheadMillisDefault = 60 * 60 * 1000;

// --- Idempotent producers

// Producers that one partition remembers. At the limit the one that was silent longest is forgotten.
inline constexpr size_t kProducersMax = 4096;
// A producer that was silent for so long is forgotten, by the append times in the log: longer than anybody
// goes on retrying.
inline constexpr int64_t kProducerIdleMillisMax = 24 * 60 * 60 * 1000;
// But not the last so many that wrote. Append times are the leader's wall clock, and one that is a day ahead for a moment would have
// all of them forgotten that are at work. Some 40 KB.
inline constexpr size_t kProducersKept = 256;
// Runs of batches remembered per producer. A run is as many batches as followed each other in the log without
// another's between them; so this many batches at the least, and any number when a producer is alone.
inline constexpr size_t kRunsPerProducerMax = 16;

// --- Checkpoints: how much of the log a restart reads again

// A checkpoint is written when so much was applied since the last one; a large state waits until writing it
// costs no more than a 32nd of what was applied.
inline constexpr size_t kCheckpointBytes = kMiB;
inline constexpr uint64_t kCheckpointEntries = 4096;
inline constexpr size_t kCheckpointShare = 32;

// --- Calls

// Produce calls of one partition that wait for their answer.
inline constexpr size_t kProduceCallsMax = 64 * 1024;
// Fetches of one partition that wait for records or for the disk.
inline constexpr size_t kFetchCallsMax = 16 * 1024;
// What one fetch returns at most, whatever it asks for; the first batch is returned even if it is larger.
inline constexpr size_t kFetchBytesMax = 8 * kMiB;
// Places of sequential readers that are remembered: offset -> entry.
inline constexpr size_t kReaderPlacesMax = 256;

static_assert(kRunsPerProducerMax >= 5, "five batches in flight are promised");
static_assert(kRecordBytesDefault <= kEntryPayloadBytesMax);
static_assert(kRecordBytesMax <= kUncompressedBytesMax);

}  // namespace flotilla::partition::limits
