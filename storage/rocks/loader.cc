#include "storage/rocks/loader.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "storage/rocks/reader.h"
#include "storage/rocks/rocks_status.h"
#include "storage/rocks/rows.h"

namespace flotilla::storage {
namespace {

// The rows of one group, as they are found.
struct Rows {
  std::optional<IdentityRow> identity;
  std::optional<HardState> hard_state;
  std::optional<BoundsRow> bounds;
  std::optional<std::vector<TermRun>> terms;
  std::optional<std::vector<LogIndex>> configurations;
  std::optional<SnapshotMeta> snapshot;
  std::optional<uint64_t> reclaim_family;

  bool complete() const { return identity && hard_state && bounds && terms && configurations && snapshot; }
  bool none() const { return !identity && !hard_state && !bounds && !terms && !configurations && !snapshot; }
};

template <typename T>
Status Keep(Result<T> decoded, std::optional<T>* row) {
  if (!decoded.ok()) return decoded.status();
  *row = *std::move(decoded);
  return {};
}

Status TakeRow(RowKind kind, std::string_view key, std::string_view value, Rows* rows) {
  switch (kind) {
    case RowKind::kIdentity: return Keep(DecodeIdentityRow(key, value), &rows->identity);
    case RowKind::kHardState: return Keep(DecodeHardState(key, value), &rows->hard_state);
    case RowKind::kBounds: return Keep(DecodeBounds(key, value), &rows->bounds);
    case RowKind::kTerms: return Keep(DecodeTerms(key, value), &rows->terms);
    case RowKind::kConfigurations: return Keep(DecodeIndexes(key, value), &rows->configurations);
    case RowKind::kSnapshot: return Keep(DecodeSnapshot(key, value), &rows->snapshot);
    case RowKind::kReclaim: return Keep(DecodeNumber(key, value), &rows->reclaim_family);
  }
  return Status(Reason::kCorruptMessage, "meta row: unknown kind");
}

Status CheckTerms(GroupId group, const LogBounds& bounds, const std::vector<TermRun>& terms) {
  const auto climbs = [](const TermRun& a, const TermRun& b) { return a.first < b.first && a.term < b.term; };
  const bool ascending =
      std::adjacent_find(terms.begin(), terms.end(), [&](const auto& a, const auto& b) { return !climbs(a, b); }) == terms.end();
  const bool covers = bounds.empty() ? terms.empty()
                                     : !terms.empty() && terms.front().first == bounds.first_index() &&
                                           terms.back().first <= bounds.last_index() && terms.back().term == bounds.end.last.term;
  if (ascending && covers) return {};
  return GroupLost(group, "its terms do not cover its log");
}

// Reads entries of logs, one iterator per family: making one costs more than a seek.
class EntryProbe {
 public:
  explicit EntryProbe(Engine& engine) : engine_(engine), iterators_(engine.log_families()) {}

  Result<Entry> At(uint32_t family, GroupId group, LogIndex index) {
    std::unique_ptr<rocksdb::Iterator>& iterator = iterators_[family];
    if (iterator == nullptr) iterator.reset(engine_.db().NewIterator(rocksdb::ReadOptions(), engine_.log(family)));
    iterator->Seek(LogKey(group, index));
    const Result<std::string_view> row = CheckPlace(*iterator, group, index);
    if (!row.ok()) return row.status();
    return CheckEntry(group, index, Bytes::Copy(*row));
  }

 private:
  Engine& engine_;
  std::vector<std::unique_ptr<rocksdb::Iterator>> iterators_;
};

Status CheckEnds(const LoadedGroup& group, EntryProbe* probe) {
  const LogBounds& bounds = group.state.bounds;
  const GroupId id = group.state.group;
  if (bounds.empty()) {
    if (bounds.start == bounds.end) return {};
    return GroupLost(id, "its log is empty but ends elsewhere than it begins");
  }
  const Result<Entry> last = probe->At(group.place.family, id, bounds.last_index());
  if (!last.ok()) return last.status();
  if (AnchorAfter(last->header) != bounds.end) {
    return EntryLost(id, bounds.last_index(), "it is not the last entry that the group's bounds name");
  }
  const Result<Entry> first = probe->At(group.place.family, id, bounds.first_index());
  if (!first.ok()) return first.status();
  if (first->header.base_offset != bounds.start.end_offset || first->term() < bounds.start.last.term) {
    return EntryLost(id, bounds.first_index(), "it does not follow the start that the group's bounds name");
  }
  return {};
}

Result<LoadedGroup> MakeGroup(GroupId id, Rows rows, uint32_t log_families, EntryProbe* probe) {
  if (!rows.complete()) return GroupLost(id, "some of its meta rows are missing");
  if (rows.identity->family >= log_families) return GroupLost(id, "its column family does not exist");
  const LogBounds& bounds = rows.bounds->bounds;
  if (bounds.start.last.index > bounds.last_index() || rows.bounds->reclaimed > bounds.start.last.index) {
    return GroupLost(id, "its bounds contradict each other");
  }
  FLOTILLA_RETURN_IF_ERROR(CheckTerms(id, bounds, *rows.terms));
  LoadedGroup group;
  group.place = {.family = rows.identity->family, .reclaimed = rows.bounds->reclaimed};
  group.state = {.group = id,
                 .identity = std::move(rows.identity->identity),
                 .hard_state = *rows.hard_state,
                 .bounds = bounds,
                 .terms = *std::move(rows.terms),
                 .configurations = {},
                 .snapshot = *std::move(rows.snapshot)};
  FLOTILLA_RETURN_IF_ERROR(CheckEnds(group, probe));
  for (const LogIndex index : *rows.configurations) {
    Result<Entry> entry = probe->At(group.place.family, id, index);
    if (!entry.ok()) return entry.status();
    entry->payload = Bytes::Copy(entry->payload.view());
    group.state.configurations.push_back(*std::move(entry));
  }
  return group;
}

Status TakeNumber(std::string_view key, std::string_view value, LoadedStore* store) {
  if (key == BatchNumberKey()) {
    const Result<BatchRow> batch = DecodeBatch(value);
    if (batch.ok()) store->batch_number = batch->number;
    return batch.status();
  }
  if (key == PoolKey()) {
    const Result<uint64_t> pool = DecodeNumber(key, value);
    if (pool.ok()) store->log_families = *pool;
    return pool.status();
  }
  return Status(Reason::kCorruptMessage, "meta row: unknown key");
}

Status MetaLost(const Status& cause) { return Status(Reason::kDataLoss, std::string(cause.message()) + "; " + kAfterDataLoss); }

}  // namespace

Result<LoadedStore> LoadStore(Engine& engine) {
  LoadedStore store;
  std::map<GroupId, Rows> found;
  const std::unique_ptr<rocksdb::Iterator> row(engine.db().NewIterator(rocksdb::ReadOptions(), engine.family(kMetaFamily)));
  for (row->SeekToFirst(); row->Valid(); row->Next()) {
    const std::string_view key = ToView(row->key());
    const std::optional<MetaPlace> place = ParseMetaKey(key);
    if (!place) {
      if (const Status status = TakeNumber(key, ToView(row->value()), &store); !status.ok()) return MetaLost(status);
      continue;
    }
    const Status status = TakeRow(place->kind, key, ToView(row->value()), &found[place->group]);
    if (!status.ok()) return GroupLost(place->group, std::string(status.message()));
  }
  if (!row->status().ok()) return MetaLost(Status(Reason::kDataLoss, "meta rows: " + row->status().ToString()));

  EntryProbe probe(engine);
  for (auto& [id, rows] : found) {
    if (rows.reclaim_family) {
      if (*rows.reclaim_family >= engine.log_families()) return GroupLost(id, "its column family does not exist");
      store.destroyed[id] = static_cast<uint32_t>(*rows.reclaim_family);
      if (rows.none()) continue;
    }
    Result<LoadedGroup> group = MakeGroup(id, std::move(rows), engine.log_families(), &probe);
    if (!group.ok()) return group.status();
    store.groups.push_back(*std::move(group));
  }
  return store;
}

}  // namespace flotilla::storage
