#include "server/partition/batch.h"

#include <cstring>
#include <string>
#include <utility>

#include "server/errors/refusal.h"
#include "storage/base/coding.h"
#include "storage/base/crc32c.h"

namespace flotilla::partition {
namespace {

constexpr uint8_t kVersion = 1;

// Where each field stands in the 40 bytes.
enum At : size_t {
  kAtVersion = 0,
  kAtCodec = 1,
  kAtAttributes = 2,
  kAtCrc = 4,
  kAtUncompressedBytes = 8,
  kAtEpoch = 12,
  kAtAppendTimestamp = 16,
  kAtProducerId = 24,
  kAtBaseSequence = 32,
};
static_assert(kAtBaseSequence + 8 == kBatchHeaderBytes);

// Bits of the attributes. Bit 3 is for batches of transactions, which do not exist yet.
constexpr uint16_t kAppendTime = 1 << 0;
constexpr uint16_t kScopePartition = 1 << 1;
constexpr uint16_t kScopeTopic = 1 << 2;
constexpr uint16_t kKnownAttributes = kAppendTime | kScopePartition | kScopeTopic;

uint16_t AttributesOf(const BatchHeader& header) {
  uint16_t bits = 0;
  if (header.timestamp_type == TimestampType::kAppendTime) bits |= kAppendTime;
  if (header.producer.scope == SequenceScope::kPartition) bits |= kScopePartition;
  if (header.producer.scope == SequenceScope::kTopic) bits |= kScopeTopic;
  return bits;
}

Status Corrupt(const std::string& what) {
  return Status(Reason::kCorruptMessage, "batch header: " + what + "; these bytes are not a batch of this format");
}

Status CrcMismatch(uint32_t sent, uint32_t found) {
  return Refuse(Refusal::kCrcMismatch, "the records' CRC-32C is " + std::to_string(found) + " and the batch says " + std::to_string(sent) +
                                           "; they changed on their way, send them again")
      .With("expected", sent)
      .With("actual", found);
}

Status WrongCount(uint32_t claimed, uint32_t found) {
  return Refuse(Refusal::kCorruptRecords, "the batch says " + std::to_string(claimed) + " records and holds " + std::to_string(found) +
                                              "; send the right record_count, or none");
}

Status AboveLimit(const std::string& what, size_t value, size_t limit) {
  return Status(Reason::kLimitExceeded, what + " of " + std::to_string(value) + " bytes; the limit is " + std::to_string(limit))
      .With("value", value)
      .With("limit", limit);
}

Status CheckClaims(size_t bytes, const BatchClaims& claims) {
  if (bytes > kBatchRecordsBytesMax) return AboveLimit("a batch", bytes, kBatchRecordsBytesMax);
  if (claims.codec == Codec::kNone) {
    if (claims.uncompressed_bytes == 0) return {};
    return Refuse(Refusal::kCorruptRecords,
                  "uncompressed_bytes is " + std::to_string(claims.uncompressed_bytes) + " in a batch without codec; leave it 0");
  }
  if (claims.record_count == 0) return Refuse(Refusal::kCorruptRecords, "a compressed batch without record_count; set it");
  if (claims.uncompressed_bytes == 0) {
    return Refuse(Refusal::kCorruptRecords, "a compressed batch without uncompressed_bytes; set it");
  }
  if (claims.uncompressed_bytes > limits::kUncompressedBytesMax) {
    return AboveLimit("a compressed batch that would grow to records", claims.uncompressed_bytes, limits::kUncompressedBytesMax);
  }
  return {};
}

Result<RecordSetSummary> WalkCompressed(std::string_view compressed, const BatchClaims& claims, Decompressor& decompressor) {
  const auto records = std::make_unique_for_overwrite<char[]>(claims.uncompressed_bytes);
  FLOTILLA_RETURN_IF_ERROR(decompressor.Decompress(claims.codec, compressed, records.get(), claims.uncompressed_bytes));
  return WalkRecordSet({records.get(), claims.uncompressed_bytes}, {});
}

}  // namespace

void EncodeBatchHeader(const BatchHeader& header, char* out) {
  PutLittle<uint8_t>(kVersion, out + kAtVersion);
  PutLittle<uint8_t>(static_cast<uint8_t>(header.codec), out + kAtCodec);
  PutLittle<uint16_t>(AttributesOf(header), out + kAtAttributes);
  PutLittle<uint32_t>(header.crc32c, out + kAtCrc);
  PutLittle<uint32_t>(header.uncompressed_bytes, out + kAtUncompressedBytes);
  PutLittle<uint32_t>(header.producer.epoch, out + kAtEpoch);
  PutLittle<int64_t>(header.append_timestamp_ms, out + kAtAppendTimestamp);
  PutLittle<uint64_t>(header.producer.producer_id, out + kAtProducerId);
  PutLittle<uint64_t>(header.producer.base_sequence, out + kAtBaseSequence);
}

Result<BatchHeader> DecodeBatchHeader(std::string_view payload) {
  if (payload.size() < kBatchHeaderBytes) {
    return Corrupt(std::to_string(payload.size()) + " bytes, a header takes " + std::to_string(kBatchHeaderBytes));
  }
  const char* at = payload.data();
  const auto version = GetLittle<uint8_t>(at + kAtVersion);
  if (version != kVersion) return Corrupt("version " + std::to_string(version) + ", not " + std::to_string(kVersion));
  const auto codec = GetLittle<uint8_t>(at + kAtCodec);
  if (!IsCodec(codec)) return Corrupt("unknown codec " + std::to_string(codec));
  const auto attributes = GetLittle<uint16_t>(at + kAtAttributes);
  if ((attributes & ~kKnownAttributes) != 0) return Corrupt("unknown attributes " + std::to_string(attributes));
  BatchHeader header;
  header.codec = static_cast<Codec>(codec);
  header.timestamp_type = (attributes & kAppendTime) != 0 ? TimestampType::kAppendTime : TimestampType::kCreateTime;
  header.crc32c = GetLittle<uint32_t>(at + kAtCrc);
  header.uncompressed_bytes = GetLittle<uint32_t>(at + kAtUncompressedBytes);
  header.append_timestamp_ms = GetLittle<int64_t>(at + kAtAppendTimestamp);
  header.producer = {.producer_id = GetLittle<uint64_t>(at + kAtProducerId),
                     .epoch = GetLittle<uint32_t>(at + kAtEpoch),
                     .base_sequence = GetLittle<uint64_t>(at + kAtBaseSequence),
                     .scope = SequenceScope::kNone};
  const int scopes = ((attributes & kScopePartition) != 0) + ((attributes & kScopeTopic) != 0);
  if (scopes != (header.producer.producer_id == 0 ? 0 : 1)) return Corrupt("a sequence scope that does not fit to the producer");
  if (scopes == 1) {
    header.producer.scope = (attributes & kScopeTopic) != 0 ? SequenceScope::kTopic : SequenceScope::kPartition;
  } else if (header.producer != ProducerBatch{}) {
    return Corrupt("a sequence without a producer");
  }
  if ((header.codec == Codec::kNone) != (header.uncompressed_bytes == 0))
    return Corrupt("an uncompressed size that does not fit to the codec");
  return header;
}

RecordBuffer::RecordBuffer(size_t records_bytes)
    : memory_(std::make_shared_for_overwrite<char[]>(kBatchHeaderBytes + records_bytes)), size_(records_bytes) {}

RecordBuffer RecordBuffer::CopyOf(std::string_view records) {
  RecordBuffer buffer(records.size());
  if (!records.empty()) std::memcpy(buffer.data(), records.data(), records.size());
  return buffer;
}

Bytes RecordBuffer::Seal(const BatchHeader& header) && {
  EncodeBatchHeader(header, memory_.get());
  const std::string_view payload(memory_.get(), kBatchHeaderBytes + size_);
  size_ = 0;
  return Bytes(std::move(memory_), payload);
}

Result<PreparedBatch> PrepareBatch(RecordBuffer records, const BatchClaims& claims, Decompressor& decompressor) {
  const std::string_view bytes = records.view();
  FLOTILLA_RETURN_IF_ERROR(CheckClaims(bytes.size(), claims));
  const uint32_t crc = crc32c::Value(bytes);
  if (claims.crc32c && *claims.crc32c != crc) return CrcMismatch(*claims.crc32c, crc);
  Result<RecordSetSummary> summary = claims.codec == Codec::kNone ? WalkRecordSet(bytes, {}) : WalkCompressed(bytes, claims, decompressor);
  if (!summary.ok()) return summary.status();
  if (claims.record_count != 0 && claims.record_count != summary->records) {
    return WrongCount(claims.record_count, summary->records);
  }
  return PreparedBatch{.records = std::move(records),
                       .codec = claims.codec,
                       .crc32c = crc,
                       .uncompressed_bytes = claims.uncompressed_bytes,
                       .summary = *summary};
}

}  // namespace flotilla::partition
