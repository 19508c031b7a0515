#include "storage/rocks/rows.h"

#include <limits>

#include "storage/base/coding.h"
#include "storage/base/crc32c.h"

namespace flotilla::storage {
namespace {

constexpr uint8_t kRowVersion = 1;
constexpr char kGroupRowMark = 1;
constexpr size_t kMetaKeyBytes = 10;
constexpr size_t kChecksumBytes = 4;
constexpr size_t kLongerThanKeys = 1024;

std::string Seal(std::string_view key, std::string row) {
  const uint32_t checksum = crc32c::Extend(crc32c::Value(key), row.data(), row.size());
  AppendLittle<uint32_t>(checksum, &row);
  return row;
}

std::string BeginRow() { return std::string(1, static_cast<char>(kRowVersion)); }

Status Damaged(const char* what) { return Status(Reason::kCorruptMessage, std::string("meta row: ") + what); }

// The body of a sound row.
Result<std::string_view> Open(std::string_view key, std::string_view value) {
  if (value.size() < 1 + kChecksumBytes) return Damaged("too short");
  const std::string_view row = value.substr(0, value.size() - kChecksumBytes);
  const auto checksum = GetLittle<uint32_t>(value.data() + row.size());
  if (checksum != crc32c::Extend(crc32c::Value(key), row.data(), row.size())) return Damaged("its checksum is wrong");
  if (static_cast<uint8_t>(row[0]) != kRowVersion) return Damaged("unknown version");
  return row.substr(1);
}

void AppendAnchor(const LogAnchor& anchor, std::string* out) {
  AppendLittle<uint64_t>(anchor.last.term.value(), out);
  AppendLittle<uint64_t>(anchor.last.index.value(), out);
  AppendLittle<uint64_t>(anchor.end_offset.value(), out);
  AppendLittle<int64_t>(anchor.running_max_timestamp_ms, out);
}

LogAnchor TakeAnchor(ByteReader* in) {
  LogAnchor anchor;
  anchor.last.term = Term{in->Little<uint64_t>()};
  anchor.last.index = LogIndex{in->Little<uint64_t>()};
  anchor.end_offset = Offset{in->Little<uint64_t>()};
  anchor.running_max_timestamp_ms = in->Little<int64_t>();
  return anchor;
}

void AppendReplica(const ReplicaId& replica, std::string* out) {
  AppendLittle<uint64_t>(replica.node.value(), out);
  AppendLittle<uint64_t>(replica.incarnation, out);
}

ReplicaId TakeReplica(ByteReader* in) {
  ReplicaId replica;
  replica.node = NodeId{in->Little<uint64_t>()};
  replica.incarnation = in->Little<uint64_t>();
  return replica;
}

// The row that `take` reads from the body, which has to be used up.
template <typename Take>
auto Decode(std::string_view key, std::string_view value, Take take) -> Result<decltype(take(std::declval<ByteReader*>()))> {
  const Result<std::string_view> body = Open(key, value);
  if (!body.ok()) return body.status();
  ByteReader in(*body);
  auto row = take(&in);
  if (!in.ok() || !in.AtEnd()) return Damaged("its length is wrong");
  return row;
}

}  // namespace

std::string GroupPrefix(GroupId group) {
  std::string key;
  AppendBig64(group.value(), &key);
  return key;
}

std::string GroupEnd(GroupId group) { return PrefixEnd(GroupPrefix(group)); }

std::string LogKey(GroupId group, LogIndex index) {
  std::string key;
  key.reserve(kLogKeyBytes);
  AppendBig64(group.value(), &key);
  AppendBig64(index.value(), &key);
  return key;
}

std::optional<LogPlace> ParseLogKey(std::string_view key) {
  if (key.size() != kLogKeyBytes) return std::nullopt;
  return LogPlace{GroupId{GetBig64(key.data())}, LogIndex{GetBig64(key.data() + 8)}};
}

std::string StateKey(GroupId group, std::string_view key) {
  std::string full = GroupPrefix(group);
  full += key;
  return full;
}

std::string PrefixEnd(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xFF) prefix.pop_back();
  // Nothing orders behind all keys of the largest group id: a key that none of them reaches has to do.
  if (prefix.empty()) return std::string(kLongerThanKeys, '\xFF');
  prefix.back() = static_cast<char>(static_cast<uint8_t>(prefix.back()) + 1);
  return prefix;
}

std::string SnapshotPrefix(GroupId group, uint64_t snapshot) {
  std::string key = GroupPrefix(group);
  AppendBig64(snapshot, &key);
  return key;
}

std::string ChunkKey(GroupId group, uint64_t snapshot, uint32_t number) {
  std::string key = SnapshotPrefix(group, snapshot);
  AppendBig32(number, &key);
  return key;
}

std::string_view BatchNumberKey() { return std::string_view("\0batch", 6); }
std::string_view PoolKey() { return std::string_view("\0pool", 5); }
std::string_view GroupRowsBegin() { return std::string_view(&kGroupRowMark, 1); }

std::string MetaKey(GroupId group, RowKind kind) {
  std::string key(1, kGroupRowMark);
  AppendBig64(group.value(), &key);
  key += static_cast<char>(kind);
  return key;
}

std::optional<MetaPlace> ParseMetaKey(std::string_view key) {
  if (key.size() != kMetaKeyBytes || key[0] != kGroupRowMark) return std::nullopt;
  const auto kind = static_cast<uint8_t>(key[9]);
  if (kind < static_cast<uint8_t>(RowKind::kIdentity) || kind > static_cast<uint8_t>(RowKind::kReclaim)) {
    return std::nullopt;
  }
  return MetaPlace{GroupId{GetBig64(key.data() + 1)}, static_cast<RowKind>(kind)};
}

std::string EncodeNumber(std::string_view key, uint64_t number) {
  std::string row = BeginRow();
  AppendLittle<uint64_t>(number, &row);
  return Seal(key, std::move(row));
}

Result<uint64_t> DecodeNumber(std::string_view key, std::string_view value) {
  return Decode(key, value, [](ByteReader* in) { return in->Little<uint64_t>(); });
}

uint32_t NodeMark(std::string_view node_uuid) { return crc32c::Value(node_uuid); }

std::string EncodeBatch(const BatchRow& batch) {
  std::string row = BeginRow();
  AppendLittle<uint64_t>(batch.number, &row);
  AppendLittle<uint32_t>(batch.node_mark, &row);
  return Seal(BatchNumberKey(), std::move(row));
}

Result<BatchRow> DecodeBatch(std::string_view value) {
  return Decode(BatchNumberKey(), value, [](ByteReader* in) {
    BatchRow row;
    row.number = in->Little<uint64_t>();
    row.node_mark = in->Little<uint32_t>();
    return row;
  });
}

std::string EncodeIdentityRow(std::string_view key, const IdentityRow& identity) {
  std::string row = BeginRow();
  AppendLittle<uint32_t>(identity.family, &row);
  AppendReplica(identity.identity.self, &row);
  AppendSized(identity.identity.label, &row);
  return Seal(key, std::move(row));
}

Result<IdentityRow> DecodeIdentityRow(std::string_view key, std::string_view value) {
  return Decode(key, value, [](ByteReader* in) {
    IdentityRow row;
    row.family = in->Little<uint32_t>();
    row.identity.self = TakeReplica(in);
    row.identity.label = std::string(in->TakeSized());
    return row;
  });
}

std::string EncodeHardState(std::string_view key, const HardState& state) {
  std::string row = BeginRow();
  AppendLittle<uint64_t>(state.term.value(), &row);
  AppendReplica(state.voted_for, &row);
  AppendLittle<uint64_t>(state.commit.value(), &row);
  return Seal(key, std::move(row));
}

Result<HardState> DecodeHardState(std::string_view key, std::string_view value) {
  return Decode(key, value, [](ByteReader* in) {
    HardState state;
    state.term = Term{in->Little<uint64_t>()};
    state.voted_for = TakeReplica(in);
    state.commit = LogIndex{in->Little<uint64_t>()};
    return state;
  });
}

std::string EncodeBounds(std::string_view key, const BoundsRow& bounds) {
  std::string row = BeginRow();
  AppendAnchor(bounds.bounds.start, &row);
  AppendAnchor(bounds.bounds.end, &row);
  AppendLittle<uint64_t>(bounds.reclaimed.value(), &row);
  return Seal(key, std::move(row));
}

Result<BoundsRow> DecodeBounds(std::string_view key, std::string_view value) {
  return Decode(key, value, [](ByteReader* in) {
    BoundsRow row;
    row.bounds.start = TakeAnchor(in);
    row.bounds.end = TakeAnchor(in);
    row.reclaimed = LogIndex{in->Little<uint64_t>()};
    return row;
  });
}

std::string EncodeTerms(std::string_view key, const std::vector<TermRun>& terms) {
  std::string row = BeginRow();
  for (const TermRun& run : terms) {
    AppendLittle<uint64_t>(run.first.value(), &row);
    AppendLittle<uint64_t>(run.term.value(), &row);
  }
  return Seal(key, std::move(row));
}

Result<std::vector<TermRun>> DecodeTerms(std::string_view key, std::string_view value) {
  return Decode(key, value, [](ByteReader* in) {
    std::vector<TermRun> terms;
    while (in->ok() && !in->AtEnd()) {
      const LogIndex first{in->Little<uint64_t>()};
      terms.push_back({first, Term{in->Little<uint64_t>()}});
    }
    return terms;
  });
}

std::string EncodeIndexes(std::string_view key, const std::vector<LogIndex>& indexes) {
  std::string row = BeginRow();
  for (const LogIndex index : indexes) AppendLittle<uint64_t>(index.value(), &row);
  return Seal(key, std::move(row));
}

Result<std::vector<LogIndex>> DecodeIndexes(std::string_view key, std::string_view value) {
  return Decode(key, value, [](ByteReader* in) {
    std::vector<LogIndex> indexes;
    while (in->ok() && !in->AtEnd()) indexes.push_back(LogIndex{in->Little<uint64_t>()});
    return indexes;
  });
}

std::string EncodeSnapshot(std::string_view key, const SnapshotMeta& snapshot) {
  std::string row = BeginRow();
  AppendAnchor(snapshot.anchor, &row);
  AppendLittle<uint64_t>(snapshot.id, &row);
  AppendLittle<uint64_t>(snapshot.bytes, &row);
  AppendLittle<uint32_t>(snapshot.chunks, &row);
  AppendLittle<uint32_t>(snapshot.checksum, &row);
  AppendSized(snapshot.configuration.view(), &row);
  return Seal(key, std::move(row));
}

Result<SnapshotMeta> DecodeSnapshot(std::string_view key, std::string_view value) {
  return Decode(key, value, [](ByteReader* in) {
    SnapshotMeta snapshot;
    snapshot.anchor = TakeAnchor(in);
    snapshot.id = in->Little<uint64_t>();
    snapshot.bytes = in->Little<uint64_t>();
    snapshot.chunks = in->Little<uint32_t>();
    snapshot.checksum = in->Little<uint32_t>();
    snapshot.configuration = Bytes::Copy(in->TakeSized());
    return snapshot;
  });
}

uint32_t ChunkChecksum(std::string_view key, std::string_view data) { return crc32c::Extend(crc32c::Value(key), data.data(), data.size()); }

Result<std::string_view> DecodeChunk(std::string_view key, std::string_view value) {
  if (value.size() < kChecksumBytes) return Status(Reason::kCorruptMessage, "snapshot chunk: too short");
  const std::string_view data = value.substr(kChecksumBytes);
  if (GetLittle<uint32_t>(value.data()) != ChunkChecksum(key, data)) {
    return Status(Reason::kCorruptMessage, "snapshot chunk: its checksum is wrong");
  }
  return data;
}

}  // namespace flotilla::storage
