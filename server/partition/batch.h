// A batch of records: how it gets into the log, what its entry's payload is, and how it gets out again.
//
//   RecordBuffer buffer(size);                                   // any thread: the one place where the
//   records are copied to
//   ... read the records from the network into buffer.data() ...
//   Result<PreparedBatch> batch = PrepareBatch(std::move(buffer), {.codec = Codec::kNone, .crc32c = sent},
//   decompressor);
//   ... the partition decides ...
//   Bytes payload = std::move(batch->records).Seal(header);      // the header goes in front, in place
//
// The payload of a kData entry is a header of 40 bytes and the records as they were sent. Grammar: README.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "server/partition/codec.h"
#include "server/partition/record_set.h"
#include "storage/base/bytes.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"

namespace flotilla::partition {

// Stored, with the numbers of flotilla.v1: never reused.
enum class TimestampType : uint8_t { kCreateTime = 1, kAppendTime = 2 };
enum class SequenceScope : uint8_t { kNone = 0, kPartition = 1, kTopic = 2 };

// Who sent a batch, and which one of his it is.
struct ProducerBatch {
  uint64_t producer_id = 0;  // 0: nobody; then all of it is 0
  uint32_t epoch = 0;
  uint64_t base_sequence = 0;  // of the first record
  SequenceScope scope = SequenceScope::kNone;
  bool operator==(const ProducerBatch&) const = default;
};

struct BatchHeader {
  Codec codec = Codec::kNone;
  TimestampType timestamp_type = TimestampType::kCreateTime;
  ProducerBatch producer;
  // When the leader appended it, by its clock.
  int64_t append_timestamp_ms = 0;
  // CRC32C of the records as stored.
  uint32_t crc32c = 0;
  // Of the RecordSet before compression; 0 when it is not compressed.
  uint32_t uncompressed_bytes = 0;
  bool operator==(const BatchHeader&) const = default;
};

inline constexpr size_t kBatchHeaderBytes = 40;
// What an entry leaves for records.
inline constexpr size_t kBatchRecordsBytesMax = limits::kEntryPayloadBytesMax - kBatchHeaderBytes;

void EncodeBatchHeader(const BatchHeader& header, char* out);
// CORRUPT_MESSAGE: too short, of an unknown version, with unknown attributes, or impossible.
Result<BatchHeader> DecodeBatchHeader(std::string_view payload);
// The records behind the header of a payload that has one.
inline Bytes RecordsOf(const Bytes& payload) { return payload.Slice(kBatchHeaderBytes, payload.size() - kBatchHeaderBytes); }

// Room for records with room for the header before it, in one allocation: what is received into it is never
// copied again. A copy is another handle on the same memory, for reading the records; only one of them is sealed.
class RecordBuffer {
 public:
  // Not initialised.
  explicit RecordBuffer(size_t records_bytes);
  static RecordBuffer CopyOf(std::string_view records);

  char* data() { return memory_.get() + kBatchHeaderBytes; }
  size_t size() const { return size_; }
  std::string_view view() const { return {memory_.get() + kBatchHeaderBytes, size_}; }
  // The records, sharing the memory. Sealing does not touch them.
  Bytes AsBytes() const { return Bytes(memory_, view()); }
  // The payload: the header, and behind it the records. The buffer is gone afterwards.
  Bytes Seal(const BatchHeader& header) &&;

 private:
  std::shared_ptr<char[]> memory_;
  size_t size_;
};

// What the sender of a batch says about it.
struct BatchClaims {
  Codec codec = Codec::kNone;
  std::optional<uint32_t> crc32c = {};
  uint32_t record_count = 0;        // 0: not said; required with a codec
  uint32_t uncompressed_bytes = 0;  // required with a codec
};

// A batch whose bytes are as they should be.
struct PreparedBatch {
  RecordBuffer records;
  Codec codec = Codec::kNone;
  uint32_t crc32c = 0;
  uint32_t uncompressed_bytes = 0;
  RecordSetSummary summary;
};

// Checks the bytes against the claims and the limits that hold for every topic: sizes, CRC, codec, every tag
// and length (of compressed records, too, in memory that is given back), count. Everything that a topic may
// restrict further is left to the partition. Any thread.
Result<PreparedBatch> PrepareBatch(RecordBuffer records, const BatchClaims& claims, Decompressor& decompressor);

}  // namespace flotilla::partition
