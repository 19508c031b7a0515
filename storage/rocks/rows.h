// Keys and meta rows of the database as bytes; the grammar stands in storage/README.md. Nothing here knows
// RocksDB.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/ids.h"
#include "storage/base/status.h"
#include "storage/log/log_store.h"

namespace flotilla::storage {

// --- Keys

inline constexpr size_t kLogKeyBytes = 16;

std::string GroupPrefix(GroupId group);  // in the families of log, state and snapshots
std::string GroupEnd(GroupId group);     // the first key behind all of the group's
std::string LogKey(GroupId group, LogIndex index);
// Nothing when it is no log key.
struct LogPlace {
  GroupId group;
  LogIndex index;
  bool operator==(const LogPlace&) const = default;
};
std::optional<LogPlace> ParseLogKey(std::string_view key);
std::string StateKey(GroupId group, std::string_view key);
// The first key behind all that start with `prefix`, which is a group's prefix or longer.
std::string PrefixEnd(std::string prefix);
std::string ChunkKey(GroupId group, uint64_t snapshot, uint32_t number);
std::string SnapshotPrefix(GroupId group, uint64_t snapshot);

// --- Meta rows

// The numbers are on the disk.
enum class RowKind : uint8_t {
  kIdentity = 1,
  kHardState = 2,
  kBounds = 3,
  kTerms = 4,
  kConfigurations = 5,
  kSnapshot = 6,
  kReclaim = 7,  // a destroyed group whose files are yet to be deleted
};
inline constexpr RowKind kGroupRows[] = {RowKind::kIdentity, RowKind::kHardState,      RowKind::kBounds,
                                         RowKind::kTerms,    RowKind::kConfigurations, RowKind::kSnapshot};

std::string_view BatchNumberKey();  // the number of the last batch; the first row of every batch
std::string_view PoolKey();         // how many families for logs there are
std::string MetaKey(GroupId group, RowKind kind);
std::string_view GroupRowsBegin();  // keys at or above are MetaKeys
struct MetaPlace {
  GroupId group;
  RowKind kind;
};
std::optional<MetaPlace> ParseMetaKey(std::string_view key);

// Every batch says which node wrote it, so that files of two nodes cannot pass as one's.
struct BatchRow {
  uint64_t number = 0;
  uint32_t node_mark = 0;
  bool operator==(const BatchRow&) const = default;
};
uint32_t NodeMark(std::string_view node_uuid);
struct IdentityRow {
  GroupIdentity identity;
  uint32_t family = 0;
  bool operator==(const IdentityRow&) const = default;
};
struct BoundsRow {
  LogBounds bounds;
  LogIndex reclaimed;  // entries up to here are gone from the disk too
  bool operator==(const BoundsRow&) const = default;
};

// The value of the row at `key`: version, body, and a checksum over the key and both.
std::string EncodeNumber(std::string_view key, uint64_t number);
std::string EncodeBatch(const BatchRow& row);
std::string EncodeIdentityRow(std::string_view key, const IdentityRow& row);
std::string EncodeHardState(std::string_view key, const HardState& row);
std::string EncodeBounds(std::string_view key, const BoundsRow& row);
std::string EncodeTerms(std::string_view key, const std::vector<TermRun>& row);
std::string EncodeIndexes(std::string_view key, const std::vector<LogIndex>& row);
std::string EncodeSnapshot(std::string_view key, const SnapshotMeta& row);

// CORRUPT_MESSAGE: damaged, of another version, or another row's.
Result<uint64_t> DecodeNumber(std::string_view key, std::string_view value);
Result<BatchRow> DecodeBatch(std::string_view value);
Result<IdentityRow> DecodeIdentityRow(std::string_view key, std::string_view value);
Result<HardState> DecodeHardState(std::string_view key, std::string_view value);
Result<BoundsRow> DecodeBounds(std::string_view key, std::string_view value);
Result<std::vector<TermRun>> DecodeTerms(std::string_view key, std::string_view value);
Result<std::vector<LogIndex>> DecodeIndexes(std::string_view key, std::string_view value);
Result<SnapshotMeta> DecodeSnapshot(std::string_view key, std::string_view value);

// --- Snapshot chunks: a checksum over key and data, then the data

uint32_t ChunkChecksum(std::string_view key, std::string_view data);
// The data within `value`.
Result<std::string_view> DecodeChunk(std::string_view key, std::string_view value);

}  // namespace flotilla::storage
