#include "storage/rocks/rocks_store.h"

#include <fcntl.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <utility>

#include "storage/rocks/crc_interposition.h"
#include "storage/rocks/data_directory.h"
#include "storage/rocks/engine.h"
#include "storage/rocks/evidence.h"
#include "storage/rocks/group.h"
#include "storage/rocks/janitor.h"
#include "storage/rocks/loader.h"
#include "storage/rocks/reader.h"
#include "storage/rocks/recovery.h"
#include "storage/rocks/rocks_status.h"
#include "storage/rocks/rows.h"
#include "storage/rocks/store_hooks.h"
#include "storage/rocks/wal_file_system.h"
#include "storage/rocks/writer.h"

namespace flotilla::storage {
namespace {

// Below it the interposition is missing or the processor lacks the instruction; the WAL would feel it.
constexpr double kCrcGigabytesPerSecondMin = 5;

class FileSystemSpace final : public FreeSpace {
 public:
  explicit FileSystemSpace(std::string path) : path_(std::move(path)) {}
  uint64_t FreeBytes() override {
    struct statvfs found;
    // Unknown is not full: the write itself will tell.
    if (::statvfs(path_.c_str(), &found) != 0) return UINT64_MAX;
    return uint64_t{found.f_bavail} * found.f_frsize;
  }

 private:
  const std::string path_;
};

// An Env lets only those who derive from it set its clock. An Env of our own would be compiled with the sanitizers, which RocksDB is
// not: false alarms. So this only lends its name.
struct ClockOf : rocksdb::Env {
  static constexpr auto kMember = &ClockOf::system_clock_;
};

// Tried with a file of our own: RocksDB would fail to open the database.
bool DirectIoWorks(const std::string& directory) {
  const std::string path = directory + "/.direct-io";
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_DIRECT | O_CLOEXEC, 0640);
  if (descriptor >= 0) ::close(descriptor);
  ::unlink(path.c_str());
  return descriptor >= 0;
}

std::unique_ptr<rocksdb::Env> MakeEnv(const StoreHooks& hooks, bool direct_io) {
  std::shared_ptr<rocksdb::FileSystem> files = hooks.file_system != nullptr ? hooks.file_system : rocksdb::FileSystem::Default();
  if (direct_io) files = std::make_shared<WalFileSystem>(files);
  std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(files);
  if (hooks.rocks_clock != nullptr) (*env).*ClockOf::kMember = hooks.rocks_clock;
  return env;
}

// Everything below the store's interface, in the order in which it is made.
struct Foundation {
  std::unique_ptr<DataDirectory> directory;
  std::unique_ptr<rocksdb::Env> env;
  FailureLatch latch;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Evidence> evidence;
  LoadedStore loaded;
};

class RocksStoreImpl final : public RocksStore {
 public:
  RocksStoreImpl(std::unique_ptr<Foundation> foundation, const RocksStoreOptions& options, const StoreHooks& hooks)
      : foundation_(std::move(foundation)),
        free_space_(options.directory),
        reader_(*foundation_->engine, table_),
        writer_({.engine = *foundation_->engine,
                 .table = table_,
                 .evidence = *foundation_->evidence,
                 .latch = foundation_->latch,
                 .free_space = hooks.free_space != nullptr ? *hooks.free_space : free_space_,
                 .clock = hooks.clock != nullptr ? *hooks.clock : clock_},
                options, WriterStart(*foundation_)),
        janitor_(*foundation_->engine, options.wal_bytes_max, [this](const ReclaimJob& job) { writer_.Reclaimed(job); }) {
    ScheduleWhatWasLeft();
    for (LoadedGroup& group : foundation_->loaded.groups) {
      const GroupId id = group.state.group;
      table_.Insert(id, std::make_shared<Group>(std::move(group.state), group.place));
    }
    foundation_->loaded = {};
    writer_.Run(janitor_);
  }
  ~RocksStoreImpl() override {
    janitor_.Stop();
    writer_.Stop();
  }

  const DirectoryIdentity& identity() const override { return foundation_->directory->identity(); }
  Status SetClusterId(const std::string& cluster_id) override { return foundation_->directory->SetClusterId(cluster_id); }

  Status Submit(WriteTask task, WriteSink& sink) override { return writer_.Submit(std::move(task), sink); }

  std::vector<GroupId> Groups() const override { return table_.Ids(); }
  Result<GroupState> Load(GroupId group) const override { return reader_.Load(group); }
  Result<GroupIdentity> Identity(GroupId group) const override { return reader_.Identity(group); }
  Result<LogBounds> Bounds(GroupId group) const override { return reader_.Bounds(group); }
  Result<uint64_t> ApproximateBytes(GroupId group) const override { return reader_.ApproximateBytes(group); }
  Result<std::vector<Entry>> Read(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const override {
    return reader_.Read(group, first, last, limits);
  }
  std::optional<std::vector<Entry>> ReadCached(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const override {
    return reader_.ReadCached(group, first, last, limits);
  }
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

  StoreCounters Counters() const override {
    StoreCounters counters;
    writer_.Count(&counters);
    foundation_->engine->Count(&counters);
    counters.corruptions = reader_.corruptions();
    counters.failed = foundation_->latch.failed();
    return counters;
  }
  SyncCounters Syncs() const override {
    SyncCounters counters;
    writer_.CountSyncs(&counters);
    return counters;
  }
  Status health() const override { return foundation_->latch.status(); }

 private:
  static Writer::Start WriterStart(const Foundation& foundation) {
    const LoadedStore& loaded = foundation.loaded;
    Writer::Start start{.batch_number = loaded.batch_number,
                        .node_mark = NodeMark(foundation.directory->identity().node_uuid),
                        .groups = {},
                        .destroyed = loaded.destroyed};
    for (const LoadedGroup& group : loaded.groups) start.groups.emplace_back(group.state.group, group.place.family);
    return start;
  }
  void ScheduleWhatWasLeft() {
    for (const LoadedGroup& group : foundation_->loaded.groups) {
      const LogIndex start = group.state.bounds.start.last.index;
      if (group.place.reclaimed >= start) continue;
      janitor_.Schedule({.kind = ReclaimJob::Kind::kTrim, .group = group.state.group, .family = group.place.family, .upto = start});
    }
    for (const auto& [group, family] : foundation_->loaded.destroyed) {
      janitor_.Schedule({.kind = ReclaimJob::Kind::kDestroy, .group = group, .family = family, .upto = {}});
    }
  }

  const std::unique_ptr<Foundation> foundation_;
  const SystemClock clock_;
  FileSystemSpace free_space_;
  GroupTable table_;
  Reader reader_;
  Writer writer_;
  Janitor janitor_;
};

Status CheckOptions(const RocksStoreOptions& options) {
  if (options.directory.empty()) return Status(Reason::kInvalidArgument, "the data directory has no name; set it");
  if (options.log_families < 1 || options.log_families > limits::kLogFamiliesMax) {
    return Status(Reason::kInvalidArgument,
                  std::to_string(options.log_families) + " log families; use 1 to " + std::to_string(limits::kLogFamiliesMax));
  }
  if (options.second_thread_bytes == 0) {
    return Status(Reason::kInvalidArgument, "second_thread_bytes is 0; use 1 or more");
  }
  return {};
}

Result<CrcCheck> CheckAndLogCrc() {
  Result<CrcCheck> check = CheckCrc();
  if (!check.ok()) return check;
  const bool fast = check->supplied && check->accelerated && check->gigabytes_per_second >= kCrcGigabytesPerSecondMin;
  LOG(INFO) << "crc32c supplied_to_rocksdb=" << check->supplied << " accelerated=" << check->accelerated
            << " gigabytes_per_second=" << check->gigabytes_per_second;
  LOG_IF(WARNING, !fast) << "crc32c is slow here: synced appends lose up to 40 % of their speed";
  return check;
}

Status CheckCrcOnce() {
  static const Result<CrcCheck> check = CheckAndLogCrc();
  return check.status();
}

// The number that was synced at least. DATA_LOSS: database without evidence, or evidence without database.
Result<uint64_t> ReadEvidence(const DataDirectory& directory, rocksdb::Env& env) {
  const Result<std::optional<uint64_t>> evidence = Evidence::Read(directory.evidence_path(), directory.identity().node_uuid);
  if (!evidence.ok()) return evidence.status();
  const bool has_database = env.FileExists(directory.database_path() + "/CURRENT").ok();
  if (!*evidence && (has_database || PathExists(directory.database_path()))) {
    return Status(Reason::kDataLoss, directory.evidence_path() +
                                         " is missing although a database is there: what was "
                                         "synced cannot be known; restore the file, or empty the data directory and let "
                                         "this node join anew")
        .With("file", directory.evidence_path());
  }
  if (!*evidence) {
    FLOTILLA_RETURN_IF_ERROR(Evidence::Create(directory.evidence_path(), directory.identity().node_uuid));
  }
  const uint64_t number = evidence->value_or(0);
  if (number > 0 && !has_database) {
    return Status(Reason::kDataLoss, "database " + directory.database_path() + " is missing (no CURRENT file) although batch " +
                                         std::to_string(number) + " was synced; " + kAfterDataLoss)
        .With("file", directory.database_path() + "/CURRENT");
  }
  return number;
}

// The first batch: from now on a database without its rows is a loss.
Status WriteFirstBatch(Foundation* foundation) {
  rocksdb::WriteBatch batch;
  rocksdb::ColumnFamilyHandle* meta = foundation->engine->family(kMetaFamily);
  batch.Put(meta, ToSlice(BatchNumberKey()), EncodeBatch({1, NodeMark(foundation->directory->identity().node_uuid)}));
  batch.Put(meta, ToSlice(PoolKey()), EncodeNumber(PoolKey(), foundation->engine->log_families()));
  const rocksdb::Status status = foundation->engine->WriteSynced(&batch);
  if (!status.ok()) return FromWrite(status);
  foundation->loaded.batch_number = 1;
  foundation->loaded.log_families = foundation->engine->log_families();
  return {};
}

Status OpenFoundation(const RocksStoreOptions& options, const StoreHooks& hooks, Foundation* foundation) {
  Result<std::unique_ptr<DataDirectory>> directory =
      DataDirectory::Open(options.directory, {.cluster_id = options.cluster_id, .node_uuid = options.node_uuid});
  if (!directory.ok()) return directory.status();
  foundation->directory = *std::move(directory);
  const DataDirectory& data = *foundation->directory;
  const bool direct_io = options.direct_io && DirectIoWorks(options.directory);
  foundation->env = MakeEnv(hooks, direct_io);
  const EngineFiles files{.path = data.database_path(), .env = foundation->env.get(), .direct_io = direct_io};

  const Result<uint64_t> evidence = ReadEvidence(data, *files.env);
  if (!evidence.ok()) return evidence.status();
  FLOTILLA_RETURN_IF_ERROR(EnsureDirectory(files.path));
  const bool making = *evidence == 0;  // nothing was ever acknowledged
  uint64_t recoverable = 0;
  if (!making) {
    const Result<Recoverable> look = LookBeforeOpening(options, files, {.evidence = *evidence, .node_uuid = data.identity().node_uuid});
    if (!look.ok()) return look.status();
    recoverable = look->batch_number;
  }
  Result<std::unique_ptr<Engine>> engine = Engine::Open(options, files, making, foundation->latch);
  if (!engine.ok()) return engine.status();
  foundation->engine = *std::move(engine);

  Result<LoadedStore> loaded = LoadStore(*foundation->engine);
  if (!loaded.ok()) return loaded.status();
  foundation->loaded = *std::move(loaded);
  if (foundation->loaded.batch_number == 0 && making) FLOTILLA_RETURN_IF_ERROR(WriteFirstBatch(foundation));
  const uint64_t recovered = foundation->loaded.batch_number;
  if (recovered < recoverable || foundation->loaded.log_families != foundation->engine->log_families()) {
    return Status(Reason::kDataLoss, "database " + files.path + ": recovered up to batch " + std::to_string(recovered) + " of " +
                                         std::to_string(recoverable) + " with " + std::to_string(foundation->engine->log_families()) +
                                         " log families of " + std::to_string(foundation->loaded.log_families) + "; " + kAfterDataLoss);
  }

  Result<std::unique_ptr<Evidence>> opened = Evidence::Open(data.evidence_path(), data.identity().node_uuid);
  if (!opened.ok()) return opened.status();
  foundation->evidence = *std::move(opened);
  FLOTILLA_RETURN_IF_ERROR(foundation->evidence->Record(recovered, MonotonicTime{}));
  FLOTILLA_RETURN_IF_ERROR(foundation->evidence->Sync());
  LOG(INFO) << "store open directory=" << options.directory << " node=" << data.identity().node_uuid << " batch=" << recovered
            << " evidence=" << *evidence << " groups=" << foundation->loaded.groups.size();
  return {};
}

}  // namespace

Result<std::unique_ptr<RocksStore>> OpenRocksStoreWith(const RocksStoreOptions& options, const StoreHooks& hooks) {
  FLOTILLA_RETURN_IF_ERROR(CheckOptions(options));
  FLOTILLA_RETURN_IF_ERROR(CheckCrcOnce());
  auto foundation = std::make_unique<Foundation>();
  FLOTILLA_RETURN_IF_ERROR(OpenFoundation(options, hooks, foundation.get()));
  return std::unique_ptr<RocksStore>(std::make_unique<RocksStoreImpl>(std::move(foundation), options, hooks));
}

Result<std::unique_ptr<RocksStore>> OpenRocksStore(const RocksStoreOptions& options) { return OpenRocksStoreWith(options, {}); }

}  // namespace flotilla::storage
