// The bytes of an entry; the grammar stands in storage/README.md.
#include <cstring>
#include <ostream>

#include "storage/base/coding.h"
#include "storage/base/crc32c.h"
#include "storage/base/limits.h"
#include "storage/log/entry.h"

namespace flotilla::storage {
namespace {

constexpr uint8_t kVersion = 1;

// Where each field stands in the 80 bytes.
enum At : size_t {
  kAtVersion = 0,
  kAtKind = 1,
  kAtZero16 = 2,
  kAtChecksum = 4,
  kAtGroup = 8,
  kAtIndex = 16,
  kAtTerm = 24,
  kAtBaseOffset = 32,
  kAtMinTimestamp = 40,
  kAtMaxTimestamp = 48,
  kAtRunningMaxTimestamp = 56,
  kAtRecordCount = 64,
  kAtPayloadBytes = 68,
  kAtZero64 = 72,
};
static_assert(kAtZero64 + 8 == kEncodedHeaderBytes);

void PutHeader(const EntryHeader& header, char* at) {
  PutLittle<uint8_t>(kVersion, at + kAtVersion);
  PutLittle<uint8_t>(static_cast<uint8_t>(header.kind), at + kAtKind);
  PutLittle<uint16_t>(0, at + kAtZero16);
  PutLittle<uint32_t>(header.checksum, at + kAtChecksum);
  PutLittle<uint64_t>(header.group.value(), at + kAtGroup);
  PutLittle<uint64_t>(header.index.value(), at + kAtIndex);
  PutLittle<uint64_t>(header.term.value(), at + kAtTerm);
  PutLittle<uint64_t>(header.base_offset.value(), at + kAtBaseOffset);
  PutLittle<int64_t>(header.min_timestamp_ms, at + kAtMinTimestamp);
  PutLittle<int64_t>(header.max_timestamp_ms, at + kAtMaxTimestamp);
  PutLittle<int64_t>(header.running_max_timestamp_ms, at + kAtRunningMaxTimestamp);
  PutLittle<uint32_t>(header.record_count, at + kAtRecordCount);
  PutLittle<uint32_t>(header.payload_bytes, at + kAtPayloadBytes);
  PutLittle<uint64_t>(0, at + kAtZero64);
}

Status Corrupt(std::string what) {
  return Status(Reason::kCorruptMessage, "log entry: " + std::move(what) + "; these bytes are not an entry of this format");
}

Status CorruptEntry(const EntryHeader& header, const std::string& what) {
  return Status(Reason::kCorruptMessage, "entry " + std::to_string(header.index.value()) + " of group " +
                                             std::to_string(header.group.value()) + ": " + what + "; it was damaged after it was sealed")
      .With("group", header.group.value())
      .With("index", header.index.value());
}

}  // namespace

bool IsEntryKind(uint8_t number) {
  return number >= static_cast<uint8_t>(EntryKind::kNoop) && number <= static_cast<uint8_t>(EntryKind::kControl);
}

const char* EntryKindName(EntryKind kind) {
  switch (kind) {
    case EntryKind::kNoop: return "noop";
    case EntryKind::kData: return "data";
    case EntryKind::kConfiguration: return "configuration";
    case EntryKind::kTrim: return "trim";
    case EntryKind::kControl: return "control";
  }
  return "unknown";
}

std::ostream& operator<<(std::ostream& out, const EntryId& id) { return out << id.index << '@' << id.term; }

void EncodeEntryHeader(const EntryHeader& header, std::string* out) {
  const size_t start = out->size();
  out->resize(start + kEncodedHeaderBytes);
  PutHeader(header, out->data() + start);
}

Result<EntryHeader> DecodeEntryHeader(std::string_view encoded) {
  if (encoded.size() < kEncodedHeaderBytes) {
    return Corrupt(std::to_string(encoded.size()) + " bytes, a header takes " + std::to_string(kEncodedHeaderBytes));
  }
  const char* at = encoded.data();
  const auto version = GetLittle<uint8_t>(at + kAtVersion);
  if (version != kVersion) return Corrupt("version " + std::to_string(version) + ", not " + std::to_string(kVersion));
  const auto kind = GetLittle<uint8_t>(at + kAtKind);
  if (!IsEntryKind(kind)) return Corrupt("unknown kind " + std::to_string(kind));
  if (GetLittle<uint16_t>(at + kAtZero16) != 0 || GetLittle<uint64_t>(at + kAtZero64) != 0) {
    return Corrupt("reserved bytes are not zero");
  }
  EntryHeader header;
  header.kind = static_cast<EntryKind>(kind);
  header.checksum = GetLittle<uint32_t>(at + kAtChecksum);
  header.group = GroupId{GetLittle<uint64_t>(at + kAtGroup)};
  header.index = LogIndex{GetLittle<uint64_t>(at + kAtIndex)};
  header.term = Term{GetLittle<uint64_t>(at + kAtTerm)};
  header.base_offset = Offset{GetLittle<uint64_t>(at + kAtBaseOffset)};
  header.min_timestamp_ms = GetLittle<int64_t>(at + kAtMinTimestamp);
  header.max_timestamp_ms = GetLittle<int64_t>(at + kAtMaxTimestamp);
  header.running_max_timestamp_ms = GetLittle<int64_t>(at + kAtRunningMaxTimestamp);
  header.record_count = GetLittle<uint32_t>(at + kAtRecordCount);
  header.payload_bytes = GetLittle<uint32_t>(at + kAtPayloadBytes);
  return header;
}

Result<Entry> DecodeEntry(const Bytes& encoded) {
  Result<EntryHeader> header = DecodeEntryHeader(encoded.view());
  if (!header.ok()) return header.status();
  const size_t payload_bytes = encoded.size() - kEncodedHeaderBytes;
  if (payload_bytes != header->payload_bytes) {
    return Corrupt(std::to_string(payload_bytes) + " bytes of payload, the header says " + std::to_string(header->payload_bytes));
  }
  return Entry{*header, encoded.Slice(kEncodedHeaderBytes, payload_bytes)};
}

uint32_t EntryChecksum(const EntryHeader& header, std::string_view payload) {
  char bytes[kEncodedHeaderBytes];
  EntryHeader unsealed = header;
  unsealed.checksum = 0;
  PutHeader(unsealed, bytes);
  return crc32c::Extend(crc32c::Extend(0, bytes, sizeof bytes), payload.data(), payload.size());
}

void SealEntry(Entry* entry) {
  CHECK_LE(entry->payload.size(), limits::kEntryPayloadBytesMax);
  entry->header.payload_bytes = static_cast<uint32_t>(entry->payload.size());
  entry->header.checksum = EntryChecksum(entry->header, entry->payload.view());
}

Status VerifyEntry(const Entry& entry) {
  const EntryHeader& header = entry.header;
  if (header.payload_bytes != entry.payload.size()) {
    return CorruptEntry(
        header, std::to_string(entry.payload.size()) + " bytes of payload, the header says " + std::to_string(header.payload_bytes));
  }
  const uint32_t checksum = EntryChecksum(header, entry.payload.view());
  if (header.checksum != checksum) {
    return CorruptEntry(header, "checksum " + std::to_string(checksum) + ", the header says " + std::to_string(header.checksum));
  }
  return {};
}

}  // namespace flotilla::storage
