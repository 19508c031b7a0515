// The log's unit: an entry of one Raft group.
//
// An entry has two coordinates: its Raft index, and the offsets of the records in it, [base_offset, end_offset()).
// Entries that carry no client records (no-op, configuration, trim, control) have record_count 0, so that clients see
// dense offsets. `base_offset` equals the previous entry's end_offset(): a broken chain shows divergence at once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "storage/base/bytes.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"

namespace flotilla::storage {

// Written to disk and sent over the wire: numbers are never reused.
enum class EntryKind : uint8_t {
  kNoop = 1,           // a new leader's first entry
  kData = 2,           // a batch of client records
  kConfiguration = 3,  // the members of the group (payload: raft/core/configuration.h)
  kTrim = 4,           // the log's start moves (payload is the state machine's)
  kControl = 5,        // the state machine's own
};
bool IsEntryKind(uint8_t number);
const char* EntryKindName(EntryKind kind);

// A position of the log by which logs are compared (Raft §5.4.1): later term wins, then larger index.
struct EntryId {
  Term term;
  LogIndex index;
  constexpr auto operator<=>(const EntryId&) const = default;
};
std::ostream& operator<<(std::ostream& out, const EntryId& id);  // "7@3": index 7 of term 3

struct EntryHeader {
  GroupId group;
  LogIndex index;
  Term term;
  EntryKind kind = EntryKind::kNoop;
  Offset base_offset;
  uint32_t record_count = 0;
  // Of the records in this entry; kNoTimestamp when there are none.
  int64_t min_timestamp_ms = kNoTimestamp;
  int64_t max_timestamp_ms = kNoTimestamp;
  // The largest max_timestamp_ms of this entry and all before it, so that a time is found by binary search.
  int64_t running_max_timestamp_ms = kNoTimestamp;
  uint32_t payload_bytes = 0;
  // CRC32C over all fields above and the payload (see EntryChecksum).
  uint32_t checksum = 0;

  EntryId id() const { return {term, index}; }
  Offset end_offset() const { return base_offset + record_count; }
  bool operator==(const EntryHeader&) const = default;
};

struct Entry {
  EntryHeader header;
  Bytes payload;

  EntryId id() const { return header.id(); }
  LogIndex index() const { return header.index; }
  Term term() const { return header.term; }
  // What it counts for in every limit that is in bytes.
  size_t bytes() const { return kEntryOverheadBytes + payload.size(); }
  static constexpr size_t kEntryOverheadBytes = 96;
  bool operator==(const Entry&) const = default;
};

// The place before the first entry of a log: what was trimmed away or replaced by a snapshot, as far as the next
// entries depend on it. A log that was never trimmed starts at {}.
struct LogAnchor {
  EntryId last;       // the last entry that is gone
  Offset end_offset;  // the base_offset of the entry after it
  int64_t running_max_timestamp_ms = kNoTimestamp;
  bool operator==(const LogAnchor&) const = default;
};
// The anchor that stands for everything up to and including `header`.
inline LogAnchor AnchorAfter(const EntryHeader& header) { return {header.id(), header.end_offset(), header.running_max_timestamp_ms}; }

// What is in a log: the entries after start.last.index up to last.index.
struct LogBounds {
  LogAnchor start;
  LogAnchor end;  // as if everything were trimmed
  LogIndex first_index() const { return start.last.index + 1; }
  LogIndex last_index() const { return end.last.index; }
  bool empty() const { return start.last.index == end.last.index; }
  bool operator==(const LogBounds&) const = default;
};

// From `first` on, entries are of `term`, until the next run begins.
struct TermRun {
  LogIndex first;
  Term term;
  bool operator==(const TermRun&) const = default;
};

// --- codec (entry_codec.cc); the grammar stands in storage/README.md

inline constexpr size_t kEncodedHeaderBytes = 80;
// Appends the header's bytes to `out`.
void EncodeEntryHeader(const EntryHeader& header, std::string* out);
// Header and payload. CORRUPT_MESSAGE: too short, unknown version or kind, length mismatch. The payload shares `encoded`.
// Does not verify the checksum.
Result<Entry> DecodeEntry(const Bytes& encoded);
Result<EntryHeader> DecodeEntryHeader(std::string_view encoded);
// What header.checksum has to be.
uint32_t EntryChecksum(const EntryHeader& header, std::string_view payload);
// Sets payload_bytes and checksum.
void SealEntry(Entry* entry);
// CORRUPT_MESSAGE that names group, index and what differs when the checksum or length is not that of the content.
Status VerifyEntry(const Entry& entry);

}  // namespace flotilla::storage
