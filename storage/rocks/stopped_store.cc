#include "storage/rocks/stopped_store.h"

#include <rocksdb/env.h>

#include <utility>

#include "storage/base/crc32c.h"
#include "storage/rocks/data_directory.h"
#include "storage/rocks/engine.h"
#include "storage/rocks/evidence.h"
#include "storage/rocks/group.h"
#include "storage/rocks/loader.h"
#include "storage/rocks/reader.h"
#include "storage/rocks/recovery.h"
#include "storage/rocks/rocks_status.h"

namespace flotilla::storage {
namespace {

constexpr size_t kReadBytes = 4 * limits::kMiB;

class Logs final : public LogReader {
 public:
  Logs(Engine& engine, const GroupTable& table) : table_(table), reader_(engine, table) {}

  std::vector<GroupId> Groups() const override { return table_.Ids(); }
  Result<GroupState> Load(GroupId group) const override { return reader_.Load(group); }
  Result<GroupIdentity> Identity(GroupId group) const override { return reader_.Identity(group); }
  Result<LogBounds> Bounds(GroupId group) const override { return reader_.Bounds(group); }
  Result<uint64_t> ApproximateBytes(GroupId group) const override { return reader_.ApproximateBytes(group); }
  Result<std::vector<Entry>> Read(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const override {
    return reader_.Read(group, first, last, limits);
  }
  std::optional<std::vector<Entry>> ReadCached(GroupId, LogIndex, LogIndex, ReadLimits) const override { return std::nullopt; }
  Result<EntryHeader> FindOffset(GroupId group, Offset offset) const override { return reader_.FindOffset(group, offset); }
  Result<std::optional<EntryHeader>> FindTimestamp(GroupId group, int64_t timestamp_ms) const override {
    return reader_.FindTimestamp(group, timestamp_ms);
  }
  Result<std::optional<Bytes>> GetState(GroupId group, std::string_view key) const override { return reader_.GetState(group, key); }
  Result<std::vector<StateRow>> ScanState(GroupId group, std::string_view prefix, std::string_view after, size_t bytes_max) const override {
    return reader_.ScanState(group, prefix, after, bytes_max);
  }
  Result<Bytes> ReadSnapshotChunk(GroupId group, uint64_t id, uint32_t number) const override {
    return reader_.ReadSnapshotChunk(group, id, number);
  }

 private:
  const GroupTable& table_;
  const Reader reader_;
};

class StoppedStoreImpl final : public StoppedStore {
 public:
  StoppedStoreImpl(std::unique_ptr<DataDirectory> directory, std::unique_ptr<Engine> engine, LoadedStore loaded, uint64_t evidence)
      : directory_(std::move(directory)),
        engine_(std::move(engine)),
        batch_number_(loaded.batch_number),
        evidence_(evidence),
        logs_(*engine_, table_) {
    for (LoadedGroup& group : loaded.groups) {
      const GroupId id = group.state.group;
      table_.Insert(id, std::make_shared<Group>(std::move(group.state), group.place));
    }
  }

  const DirectoryIdentity& identity() const override { return directory_->identity(); }
  const LogReader& logs() const override { return logs_; }
  uint64_t batch_number() const override { return batch_number_; }
  uint64_t evidence() const override { return evidence_; }
  Status CheckTables() const override {
    const rocksdb::Status status = engine_->db().VerifyChecksum();
    return status.ok() ? Status() : FromOpen(status, directory_->database_path());
  }

 private:
  const std::unique_ptr<DataDirectory> directory_;
  const std::unique_ptr<Engine> engine_;
  const uint64_t batch_number_;
  const uint64_t evidence_;
  GroupTable table_;
  Logs logs_;
};

// One group's share of a verification.
class GroupCheck {
 public:
  GroupCheck(const LogReader& logs, GroupId group, Verification* found, const std::function<void(const Verification&)>& progress)
      : logs_(logs), group_(group), found_(*found), progress_(progress) {}

  Status Run() {
    const Result<GroupState> state = logs_.Load(group_);
    if (!state.ok()) return state.status();
    label_ = state->identity.label;
    FLOTILLA_RETURN_IF_ERROR(CheckEntries(state->bounds));
    FLOTILLA_RETURN_IF_ERROR(CheckRows());
    return CheckSnapshot(state->snapshot);
  }
  const std::string& label() const { return label_; }

 private:
  Status CheckEntries(const LogBounds& bounds) {
    LogAnchor before = bounds.start;
    for (LogIndex next = bounds.first_index(); next <= bounds.last_index();) {
      const Result<std::vector<Entry>> entries = logs_.Read(group_, next, bounds.last_index() + 1, {.bytes = kReadBytes});
      if (!entries.ok()) return entries.status();
      // Within what was read at once the reader has looked.
      const EntryHeader& first = entries->front().header;
      if (first.base_offset != before.end_offset || first.term < before.last.term) {
        return EntryLost(group_, next, "it does not follow the entry before it");
      }
      for (const Entry& entry : *entries) {
        FLOTILLA_RETURN_IF_ERROR(VerifyEntry(entry));
        found_.bytes += entry.bytes();
      }
      found_.entries += entries->size();
      before = AnchorAfter(entries->back().header);
      next = next + entries->size();
      progress_(found_);
    }
    if (before == bounds.end) return {};
    return EntryLost(group_, bounds.last_index(), "it is not the last entry that the group's bounds name");
  }

  Status CheckRows() {
    std::string after;
    while (true) {
      const Result<std::vector<LogReader::StateRow>> rows = logs_.ScanState(group_, "", after, kReadBytes);
      if (!rows.ok()) return rows.status();
      if (rows->empty()) return {};
      for (const LogReader::StateRow& row : *rows) found_.bytes += row.key.size() + row.value.size();
      found_.rows += rows->size();
      after = rows->back().key;
      progress_(found_);
    }
  }

  Status CheckSnapshot(const SnapshotMeta& snapshot) {
    uint32_t checksum = 0;
    uint64_t bytes = 0;
    for (uint32_t number = 0; number < snapshot.chunks; ++number) {
      const Result<Bytes> chunk = logs_.ReadSnapshotChunk(group_, snapshot.id, number);
      if (!chunk.ok()) return chunk.status();
      checksum = crc32c::Extend(checksum, chunk->data(), chunk->size());
      bytes += chunk->size();
      ++found_.chunks;
    }
    found_.bytes += bytes;
    if (checksum == snapshot.checksum && bytes == snapshot.bytes) return {};
    return GroupLost(group_,
                     "its snapshot has " + std::to_string(bytes) + " bytes of " + std::to_string(snapshot.bytes) + ", or another checksum");
  }

  const LogReader& logs_;
  const GroupId group_;
  Verification& found_;
  const std::function<void(const Verification&)>& progress_;
  std::string label_;
};

}  // namespace

Result<std::unique_ptr<StoppedStore>> StoppedStore::Open(const std::string& path) {
  Result<std::unique_ptr<DataDirectory>> directory = DataDirectory::OpenStopped(path);
  if (!directory.ok()) return directory.status();
  const RocksStoreOptions options{.directory = path};
  const EngineFiles files{.path = (*directory)->database_path(), .env = rocksdb::Env::Default()};
  const std::string& uuid = (*directory)->identity().node_uuid;
  const Result<std::optional<uint64_t>> evidence = Evidence::Read((*directory)->evidence_path(), uuid);
  if (!evidence.ok()) return evidence.status();
  if (!*evidence) {
    return Status(Reason::kDataLoss, (*directory)->evidence_path() + " is missing: what was synced cannot be known");
  }
  const Result<Recoverable> look = LookBeforeOpening(options, files, {.evidence = **evidence, .node_uuid = uuid});
  if (!look.ok()) return look.status();
  Result<std::unique_ptr<Engine>> engine = Engine::OpenReadOnly(options, files);
  if (!engine.ok()) return engine.status();
  Result<LoadedStore> loaded = LoadStore(**engine);
  if (!loaded.ok()) return loaded.status();
  if (loaded->batch_number < look->batch_number) {
    return Status(Reason::kDataLoss, "database " + files.path + ": read up to batch " + std::to_string(loaded->batch_number) + " of " +
                                         std::to_string(look->batch_number) + "; " + kAfterDataLoss);
  }
  return std::unique_ptr<StoppedStore>(
      std::make_unique<StoppedStoreImpl>(*std::move(directory), *std::move(engine), *std::move(loaded), **evidence));
}

Verification Verify(const StoppedStore& store, const std::function<void(const Verification&)>& progress) {
  Verification found;
  for (const GroupId group : store.logs().Groups()) {
    GroupCheck check(store.logs(), group, &found, progress);
    const Status status = check.Run();
    ++found.groups;
    if (!status.ok()) found.findings.push_back({.group = group, .label = check.label(), .status = status});
  }
  if (const Status status = store.CheckTables(); !status.ok()) found.findings.push_back({.group = {}, .label = {}, .status = status});
  return found;
}

}  // namespace flotilla::storage
