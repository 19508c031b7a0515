// The reading half of the store. Any thread; holds no lock over the disk and waits for nobody.
#pragma once

#include <rocksdb/db.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "storage/log/log_store.h"
#include "storage/rocks/engine.h"
#include "storage/rocks/group.h"

namespace flotilla::storage {

// The header in the row of that place. DATA_LOSS when the bytes are not that entry's.
Result<EntryHeader> CheckHeader(GroupId group, LogIndex index, std::string_view value);
// The entry in it, checksum and all.
Result<Entry> CheckEntry(GroupId group, LogIndex index, const Bytes& value);
// The value that `iterator` stands at, which must be that of the place. DATA_LOSS: it stands elsewhere, or
// failed.
Result<std::string_view> CheckPlace(const rocksdb::Iterator& iterator, GroupId group, LogIndex index);

class Reader {
 public:
  // Both outlive the reader.
  Reader(Engine& engine, const GroupTable& table) : engine_(engine), table_(table) {}

  Result<GroupState> Load(GroupId group) const;
  Result<GroupIdentity> Identity(GroupId group) const;
  Result<LogBounds> Bounds(GroupId group) const;
  Result<uint64_t> ApproximateBytes(GroupId group) const;
  Result<std::vector<Entry>> Read(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const;
  std::optional<std::vector<Entry>> ReadCached(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const;
  Result<EntryHeader> FindOffset(GroupId group, Offset offset) const;
  Result<std::optional<EntryHeader>> FindTimestamp(GroupId group, int64_t timestamp_ms) const;
  Result<std::optional<Bytes>> GetState(GroupId group, std::string_view key) const;
  Result<std::vector<LogReader::StateRow>> ScanState(GroupId group, std::string_view prefix, std::string_view after,
                                                     size_t bytes_max) const;
  Result<Bytes> ReadSnapshotChunk(GroupId group, uint64_t id, uint32_t number) const;

  uint64_t corruptions() const { return corruptions_.load(std::memory_order_relaxed); }

 private:
  // A group, its bounds, and the database that goes with them.
  struct Scene {
    GroupId id;
    const Group& group;
    LogBounds bounds;
    rocksdb::ReadOptions options;
  };
  using Reached = std::function<bool(const EntryHeader&)>;

  // What `look` makes of a scene that did not change meanwhile.
  template <typename Look>
  auto Consistently(GroupId group, Look look) const -> decltype(look(std::declval<const Scene&>()));

  Result<std::vector<Entry>> ReadFromDisk(const Scene& scene, LogIndex first, LogIndex last, ReadLimits limits) const;
  // The first entry in [first, last] for which `reached` holds; it holds for the last one.
  Result<EntryHeader> Search(const Scene& scene, LogIndex first, LogIndex last, const Reached& reached) const;
  // The first entry of the log with a time of its own at or after.
  Result<std::optional<EntryHeader>> ScanForTimestamp(const Scene& scene, int64_t timestamp_ms) const;
  Result<Bytes> Get(Family family, const Scene& scene, const std::string& key, bool* found) const;

  Engine& engine_;
  const GroupTable& table_;
  mutable std::atomic<uint64_t> corruptions_{0};
};

}  // namespace flotilla::storage
