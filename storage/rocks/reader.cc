#include "storage/rocks/reader.h"

#include <algorithm>

#include "storage/rocks/rocks_status.h"
#include "storage/rocks/rows.h"

namespace flotilla::storage {
namespace {

Status NoSuchGroup(GroupId group) {
  return Status(Reason::kGroupNotFound, "group " + std::to_string(group.value()) + " does not exist on this node")
      .With("group", group.value());
}

std::string Range(const LogBounds& bounds) {
  return "(" + std::to_string(bounds.start.last.index.value()) + ", " + std::to_string(bounds.last_index().value()) + "]";
}

Status CheckRange(GroupId group, const LogBounds& bounds, LogIndex first, LogIndex last) {
  const std::string which =
      "entries [" + std::to_string(first.value()) + ", " + std::to_string(last.value()) + ") of group " + std::to_string(group.value());
  if (first <= bounds.start.last.index) {
    return Status(Reason::kTrimmed, which + " were asked for, the log holds " + Range(bounds) + "; begin at its start")
        .With("first_index", bounds.first_index().value());
  }
  if (first > last || last > bounds.last_index() + 1) {
    return Status(Reason::kOffsetOutOfRange, which + " were asked for, the log holds " + Range(bounds) + "; wait until they are written")
        .With("last_index", bounds.last_index().value());
  }
  return {};
}

// Rows of one read, side by side in one buffer.
class RowBuffer {
 public:
  void Add(std::string_view row, uint64_t rows_expected, size_t bytes_max) {
    if (sizes_.empty()) buffer_.reserve(std::min<uint64_t>(row.size() * rows_expected, bytes_max + row.size()));
    sizes_.push_back(row.size());
    buffer_.append(row);
  }
  std::vector<Bytes> Split() && {
    const Bytes whole(std::move(buffer_));
    std::vector<Bytes> rows;
    rows.reserve(sizes_.size());
    size_t position = 0;
    for (const size_t size : sizes_) {
      rows.push_back(whole.Slice(position, size));
      position += size;
    }
    return rows;
  }
  size_t rows() const { return sizes_.size(); }

 private:
  std::string buffer_;
  std::vector<size_t> sizes_;
};

size_t EntryBytesOfRow(size_t row_bytes) { return row_bytes - kEncodedHeaderBytes + Entry::kEntryOverheadBytes; }

Status CheckChain(GroupId group, const Entry& before, const Entry& entry) {
  if (entry.header.base_offset == before.header.end_offset() && entry.term() >= before.term()) return {};
  return EntryLost(group, entry.index(),
                   "it does not follow the entry before it (offset " + std::to_string(entry.header.base_offset.value()) + " after " +
                       std::to_string(before.header.end_offset().value()) + ")");
}

}  // namespace

Result<EntryHeader> CheckHeader(GroupId group, LogIndex index, std::string_view value) {
  Result<EntryHeader> header = DecodeEntryHeader(value);
  if (!header.ok()) return EntryLost(group, index, std::string(header.status().message()));
  if (header->group != group || header->index != index) {
    return EntryLost(group, index,
                     "its row holds entry " + std::to_string(header->index.value()) + " of group " + std::to_string(header->group.value()));
  }
  return header;
}

Result<Entry> CheckEntry(GroupId group, LogIndex index, const Bytes& value) {
  const Result<EntryHeader> header = CheckHeader(group, index, value.view());
  if (!header.ok()) return header.status();
  Result<Entry> entry = DecodeEntry(value);
  if (!entry.ok()) return EntryLost(group, index, std::string(entry.status().message()));
  if (const Status sound = VerifyEntry(*entry); !sound.ok()) return EntryLost(group, index, std::string(sound.message()));
  return entry;
}

Result<std::string_view> CheckPlace(const rocksdb::Iterator& iterator, GroupId group, LogIndex index) {
  if (!iterator.Valid()) {
    const rocksdb::Status status = iterator.status();
    return EntryLost(group, index, status.ok() ? "it is missing" : "it cannot be read: " + status.ToString());
  }
  const std::optional<LogPlace> place = ParseLogKey(ToView(iterator.key()));
  if (place != LogPlace{group, index}) return EntryLost(group, index, "it is missing");
  return ToView(iterator.value());
}

template <typename Look>
auto Reader::Consistently(GroupId id, Look look) const -> decltype(look(std::declval<const Scene&>())) {
  while (true) {
    const std::shared_ptr<Group> group = table_.Find(id);
    if (group == nullptr) return NoSuchGroup(id);
    const Group::View view = group->GetView();
    if (!view.exists) continue;  // destroyed after it was found: it is about to leave the table
    Scene scene{id, *group, view.bounds, {}};
    scene.options.snapshot = view.frozen.get();
    auto result = look(scene);
    if (view.frozen == nullptr && group->epoch() != view.epoch) continue;
    if (result.status().reason() == Reason::kDataLoss) corruptions_.fetch_add(1, std::memory_order_relaxed);
    return result;
  }
}

Result<GroupState> Reader::Load(GroupId id) const {
  const std::shared_ptr<Group> group = table_.Find(id);
  std::optional<GroupState> state = group != nullptr ? group->State() : std::nullopt;
  if (!state) return NoSuchGroup(id);
  return *std::move(state);
}

Result<GroupIdentity> Reader::Identity(GroupId id) const {
  Result<GroupState> state = Load(id);
  if (!state.ok()) return state.status();
  return std::move(state->identity);
}

Result<LogBounds> Reader::Bounds(GroupId id) const {
  const std::shared_ptr<Group> group = table_.Find(id);
  if (group == nullptr) return NoSuchGroup(id);
  const Group::View view = group->GetView();
  if (!view.exists) return NoSuchGroup(id);
  return view.bounds;
}

// Of its files a tenth more or less: the margin spares RocksDB a look into their indexes.
Result<uint64_t> Reader::ApproximateBytes(GroupId id) const {
  const std::shared_ptr<Group> group = table_.Find(id);
  if (group == nullptr) return NoSuchGroup(id);
  const Group::View view = group->GetView();
  if (!view.exists) return NoSuchGroup(id);
  const std::string first = LogKey(id, view.bounds.first_index());
  const std::string end = LogKey(id, view.bounds.last_index() + 1);
  const rocksdb::Range range(first, end);
  rocksdb::SizeApproximationOptions options;
  options.include_memtables = true;
  options.files_size_error_margin = 0.1;
  uint64_t bytes = 0;
  const rocksdb::Status status = engine_.db().GetApproximateSizes(options, engine_.log(group->family()), &range, 1, &bytes);
  if (!status.ok())
    return Status(Reason::kStorageFailed, "the size of group " + std::to_string(id.value()) + " is not known: " + status.ToString());
  return bytes;
}

Result<std::vector<Entry>> Reader::Read(GroupId id, LogIndex first, LogIndex last, ReadLimits limits) const {
  return Consistently(id, [&](const Scene& scene) -> Result<std::vector<Entry>> {
    FLOTILLA_RETURN_IF_ERROR(CheckRange(id, scene.bounds, first, last));
    if (first == last) return std::vector<Entry>();
    if (auto cached = scene.group.FromTail(first, last, limits)) return *std::move(cached);
    return ReadFromDisk(scene, first, last, limits);
  });
}

std::optional<std::vector<Entry>> Reader::ReadCached(GroupId id, LogIndex first, LogIndex last, ReadLimits limits) const {
  const std::shared_ptr<Group> group = table_.Find(id);
  if (group == nullptr || first > last) return std::nullopt;
  return group->FromTail(first, last, limits);
}

Result<std::vector<Entry>> Reader::ReadFromDisk(const Scene& scene, LogIndex first, LogIndex last, ReadLimits limits) const {
  const std::string upper = LogKey(scene.id, last);
  const rocksdb::Slice upper_slice = ToSlice(upper);
  rocksdb::ReadOptions options = scene.options;
  options.iterate_upper_bound = &upper_slice;
  options.fill_cache = false;  // readers of old entries come by once
  const std::unique_ptr<rocksdb::Iterator> iterator(engine_.db().NewIterator(options, engine_.log(scene.group.family())));

  const uint64_t count = std::min<uint64_t>(last - first, std::max<size_t>(limits.entries, 1));
  RowBuffer buffer;
  size_t bytes = 0;
  iterator->Seek(LogKey(scene.id, first));
  for (LogIndex index = first; index < first + count; ++index, iterator->Next()) {
    const Result<std::string_view> row = CheckPlace(*iterator, scene.id, index);
    if (!row.ok()) return row.status();
    FLOTILLA_RETURN_IF_ERROR(CheckHeader(scene.id, index, *row).status());
    bytes += EntryBytesOfRow(row->size());
    if (buffer.rows() != 0 && bytes > limits.bytes) break;
    buffer.Add(*row, count, limits.bytes);
  }

  std::vector<Entry> entries;
  entries.reserve(buffer.rows());
  for (const Bytes& row : std::move(buffer).Split()) {
    Result<Entry> entry = CheckEntry(scene.id, first + entries.size(), row);
    if (!entry.ok()) return entry.status();
    if (!entries.empty()) FLOTILLA_RETURN_IF_ERROR(CheckChain(scene.id, entries.back(), *entry));
    entries.push_back(*std::move(entry));
  }
  return entries;
}

Result<EntryHeader> Reader::FindOffset(GroupId id, Offset offset) const {
  return Consistently(id, [&](const Scene& scene) -> Result<EntryHeader> {
    const LogBounds& bounds = scene.bounds;
    if (offset < bounds.start.end_offset || offset >= bounds.end.end_offset) {
      return Status(Reason::kOffsetOutOfRange, "offset " + std::to_string(offset.value()) + " of group " + std::to_string(id.value()) +
                                                   " is outside of [" + std::to_string(bounds.start.end_offset.value()) + ", " +
                                                   std::to_string(bounds.end.end_offset.value()) + ")")
          .With("start_offset", bounds.start.end_offset.value())
          .With("end_offset", bounds.end.end_offset.value());
    }
    const Reached reached = [offset](const EntryHeader& header) { return header.end_offset() > offset; };
    if (const auto cached = scene.group.SearchTail(reached)) return *cached;
    return Search(scene, bounds.first_index(), bounds.last_index(), reached);
  });
}

Result<std::optional<EntryHeader>> Reader::FindTimestamp(GroupId id, int64_t timestamp_ms) const {
  return Consistently(id, [&](const Scene& scene) -> Result<std::optional<EntryHeader>> {
    const LogBounds& bounds = scene.bounds;
    if (bounds.empty() || bounds.end.running_max_timestamp_ms < timestamp_ms) return std::optional<EntryHeader>();
    // The maximum stems from an entry that is gone: it says nothing about those that are here.
    if (bounds.start.running_max_timestamp_ms >= timestamp_ms) return ScanForTimestamp(scene, timestamp_ms);
    const Reached reached = [timestamp_ms](const EntryHeader& header) { return header.running_max_timestamp_ms >= timestamp_ms; };
    if (auto cached = scene.group.SearchTail(reached)) return cached;
    Result<EntryHeader> found = Search(scene, bounds.first_index(), bounds.last_index(), reached);
    if (!found.ok()) return found.status();
    return std::optional(*found);
  });
}

Result<EntryHeader> Reader::Search(const Scene& scene, LogIndex first, LogIndex last, const Reached& reached) const {
  const std::unique_ptr<rocksdb::Iterator> iterator(engine_.db().NewIterator(scene.options, engine_.log(scene.group.family())));
  while (first < last) {
    const LogIndex middle = first + (last - first) / 2;
    iterator->Seek(LogKey(scene.id, middle));
    const Result<std::string_view> row = CheckPlace(*iterator, scene.id, middle);
    if (!row.ok()) return row.status();
    const Result<EntryHeader> header = CheckHeader(scene.id, middle, *row);
    if (!header.ok()) return header.status();
    if (reached(*header)) {
      last = middle;
    } else {
      first = middle + 1;
    }
  }
  iterator->Seek(LogKey(scene.id, first));
  const Result<std::string_view> row = CheckPlace(*iterator, scene.id, first);
  if (!row.ok()) return row.status();
  const Result<Entry> entry = CheckEntry(scene.id, first, Bytes::Static(*row));
  if (!entry.ok()) return entry.status();
  if (!reached(entry->header)) {
    return EntryLost(scene.id, first, "offsets or times in the log do not reach what its bounds say");
  }
  return entry->header;
}

Result<std::optional<EntryHeader>> Reader::ScanForTimestamp(const Scene& scene, int64_t timestamp_ms) const {
  const std::unique_ptr<rocksdb::Iterator> iterator(engine_.db().NewIterator(scene.options, engine_.log(scene.group.family())));
  iterator->Seek(LogKey(scene.id, scene.bounds.first_index()));
  for (LogIndex index = scene.bounds.first_index(); index <= scene.bounds.last_index(); ++index, iterator->Next()) {
    const Result<std::string_view> row = CheckPlace(*iterator, scene.id, index);
    if (!row.ok()) return row.status();
    const Result<EntryHeader> header = CheckHeader(scene.id, index, *row);
    if (!header.ok()) return header.status();
    if (header->max_timestamp_ms < timestamp_ms) continue;
    const Result<Entry> entry = CheckEntry(scene.id, index, Bytes::Static(*row));
    if (!entry.ok()) return entry.status();
    return std::optional(entry->header);
  }
  return std::optional<EntryHeader>();
}

Result<Bytes> Reader::Get(Family family, const Scene& scene, const std::string& key, bool* found) const {
  std::string value;
  const rocksdb::Status status = engine_.db().Get(scene.options, engine_.family(family), key, &value);
  *found = status.ok();
  if (status.ok() || status.IsNotFound()) return Bytes(std::move(value));
  return GroupLost(scene.id, "a row cannot be read: " + status.ToString());
}

Result<std::optional<Bytes>> Reader::GetState(GroupId id, std::string_view key) const {
  return Consistently(id, [&](const Scene& scene) -> Result<std::optional<Bytes>> {
    bool found = false;
    Result<Bytes> value = Get(kStateFamily, scene, StateKey(id, key), &found);
    if (!value.ok()) return value.status();
    if (!found) return std::optional<Bytes>();
    return std::optional(*std::move(value));
  });
}

Result<std::vector<LogReader::StateRow>> Reader::ScanState(GroupId id, std::string_view prefix, std::string_view after,
                                                           size_t bytes_max) const {
  return Consistently(id, [&](const Scene& scene) -> Result<std::vector<LogReader::StateRow>> {
    const std::string upper = PrefixEnd(StateKey(id, prefix));
    const rocksdb::Slice upper_slice = ToSlice(upper);
    rocksdb::ReadOptions options = scene.options;
    options.iterate_upper_bound = &upper_slice;
    const std::unique_ptr<rocksdb::Iterator> iterator(engine_.db().NewIterator(options, engine_.family(kStateFamily)));
    std::vector<LogReader::StateRow> rows;
    size_t bytes = 0;
    for (iterator->Seek(StateKey(id, std::max(prefix, after))); iterator->Valid(); iterator->Next()) {
      const std::string_view key = ToView(iterator->key()).substr(GroupPrefix(id).size());
      if (!after.empty() && key == after) continue;
      bytes += key.size() + iterator->value().size();
      if (!rows.empty() && bytes > bytes_max) break;
      rows.push_back({std::string(key), Bytes::Copy(ToView(iterator->value()))});
    }
    if (!iterator->status().ok()) return GroupLost(id, "rows cannot be read: " + iterator->status().ToString());
    return rows;
  });
}

Result<Bytes> Reader::ReadSnapshotChunk(GroupId id, uint64_t snapshot, uint32_t number) const {
  return Consistently(id, [&](const Scene& scene) -> Result<Bytes> {
    const std::string which = "chunk " + std::to_string(number) + " of snapshot " + std::to_string(snapshot) + " ";
    const std::string key = ChunkKey(id, snapshot, number);
    bool found = false;
    const Result<Bytes> value = Get(kSnapshotsFamily, scene, key, &found);
    if (!value.ok()) return value.status();
    if (!found) return GroupLost(id, which + "is missing");
    const Result<std::string_view> data = DecodeChunk(key, value->view());
    if (!data.ok()) return GroupLost(id, which + "is damaged");
    return value->Slice(value->size() - data->size(), data->size());
  });
}

}  // namespace flotilla::storage
