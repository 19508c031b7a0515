#include "storage/rocks/engine.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/iostats_context.h>
#include <rocksdb/perf_level.h>
#include <rocksdb/table.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <map>

#include "storage/rocks/rocks_status.h"

namespace flotilla::storage {
namespace {

constexpr const char* kFixedFamilies[] = {"default", "meta", "state", "snapshots"};
constexpr const char* kLogFamilyPrefix = "log-";

rocksdb::ColumnFamilyOptions FamilyOptions(const RocksStoreOptions& options, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.block_size = 16 * limits::kKiB;
  table.checksum = rocksdb::kXXH3;

  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = options.memtable_bytes;
  family.max_write_buffer_number = 4;
  family.compression = rocksdb::kNoCompression;  // clients compress
  family.bottommost_compression = rocksdb::kDisableCompressionOption;
  // Keys of a log only grow, so leveled compaction moves files without rewriting them; universal rewrites.
  family.compaction_style = rocksdb::kCompactionStyleLevel;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

bool IsLogFamily(const std::string& name) { return name.starts_with(kLogFamilyPrefix); }

// The families in the order of Family, logs by number. Nothing when one is missing or unknown.
std::optional<std::vector<std::string>> Arrange(const std::vector<std::string>& found) {
  std::vector<std::string> arranged(std::begin(kFixedFamilies), std::end(kFixedFamilies));
  const auto logs = static_cast<uint32_t>(std::count_if(found.begin(), found.end(), IsLogFamily));
  for (uint32_t number = 0; number < logs; ++number) arranged.push_back(LogFamilyName(number));
  if (logs == 0 || !std::is_permutation(arranged.begin(), arranged.end(), found.begin(), found.end())) return std::nullopt;
  return arranged;
}

std::map<std::string, size_t> PlacesOf(uint32_t log_families) {
  std::map<std::string, size_t> places;
  for (const char* name : kFixedFamilies) places.emplace(name, places.size());
  for (uint32_t number = 0; number < log_families; ++number) places.emplace(LogFamilyName(number), kFirstLogFamily + number);
  return places;
}

}  // namespace

std::string LogFamilyName(uint32_t number) { return kLogFamilyPrefix + std::string(number < 10 ? "0" : "") + std::to_string(number); }

rocksdb::DBOptions DatabaseOptions(const RocksStoreOptions& options, const EngineFiles& files) {
  rocksdb::DBOptions database;
  database.env = files.env;
  database.info_log = GlogLoggerForRocks();
  database.info_log_level = database.info_log->GetInfoLogLevel();
  database.max_background_jobs = options.background_jobs;
  database.max_open_files = -1;
  database.max_total_wal_size = options.wal_bytes_max;
  database.bytes_per_sync = limits::kMiB;
  database.recycle_log_file_num = 0;  // a recycled file would hold old batches behind a torn tail
  database.track_and_verify_wals_in_manifest = true;
  // Which damage may be cut away was decided by recovery.h, before the database is opened for writing.
  database.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  database.avoid_unnecessary_blocking_io = true;
  database.enable_pipelined_write = true;  // the writer's two threads: one may sync while the other fills memtables
  // A flush in larger pieces keeps the disk from the WAL, which waits behind each of them (the default halves the ratio of merged
  // commits to a plain file); in smaller ones it falls behind what is written, and memtables fill up.
  database.writable_file_max_buffer_size = 256 * limits::kKiB;
  database.stats_dump_period_sec = 0;
  database.stats_persist_period_sec = 0;
  return database;
}

Result<std::unique_ptr<Engine>> Engine::Open(const RocksStoreOptions& options, const EngineFiles& files, bool may_create,
                                             FailureLatch& latch) {
  std::unique_ptr<Engine> engine(new Engine());
  FLOTILLA_RETURN_IF_ERROR(engine->OpenDatabase(options, files, may_create, latch));
  return engine;
}

Result<std::unique_ptr<Engine>> Engine::OpenReadOnly(const RocksStoreOptions& options, const EngineFiles& files) {
  std::unique_ptr<Engine> engine(new Engine());
  engine->files_ = files;
  rocksdb::DBOptions database = DatabaseOptions(options, files);
  // It would leave cleaning up to a thread, which RocksDB 7.8 asserts that a reader does not have.
  database.avoid_unnecessary_blocking_io = false;
  std::vector<std::string> names;
  const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(database, files.path, &names);
  if (!listed.ok()) return FromOpen(listed, files.path);
  const std::optional<std::vector<std::string>> arranged = Arrange(names);
  if (!arranged) {
    return Status(Reason::kDataLoss, "database " + files.path + " lacks column families or has unknown ones; " + kAfterDataLoss);
  }
  const rocksdb::ColumnFamilyOptions family = FamilyOptions(options, rocksdb::NewLRUCache(options.block_cache_bytes));
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : *arranged) descriptors.emplace_back(name, family);
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = rocksdb::DB::OpenForReadOnly(database, files.path, descriptors, &engine->handles_, &opened);
  if (!status.ok()) return FromOpen(status, files.path);
  engine->db_.reset(opened);
  return engine;
}

Status Engine::OpenDatabase(const RocksStoreOptions& options, const EngineFiles& files, bool may_create, FailureLatch& latch) {
  files_ = files;
  statistics_ = rocksdb::CreateDBStatistics();
  statistics_->set_stats_level(rocksdb::StatsLevel::kExceptTimers);
  rocksdb::DBOptions database = DatabaseOptions(options, files);
  database.create_if_missing = may_create;
  database.statistics = statistics_;
  const auto cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  database.write_buffer_manager = std::make_shared<rocksdb::WriteBufferManager>(options.write_buffer_bytes);
  database.use_direct_io_for_flush_and_compaction = files.direct_io;

  std::vector<std::string> names;
  const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(database, files.path, &names);
  if (!listed.ok() && !may_create) return FromOpen(listed, files.path);
  std::optional<std::vector<std::string>> arranged = Arrange(names);
  if (!arranged && !may_create) {
    return Status(Reason::kDataLoss, "database " + files.path + " lacks column families or has unknown ones; " + kAfterDataLoss);
  }
  const auto log_families = arranged ? static_cast<uint32_t>(arranged->size() - kFirstLogFamily) : options.log_families;
  const rocksdb::ColumnFamilyOptions family_options = FamilyOptions(options, cache);
  pins_ = std::make_unique<WalPins>(kFirstLogFamily + log_families);
  listener_ = std::make_shared<EngineListener>(latch, *pins_, PlacesOf(log_families));
  database.listeners.push_back(listener_);

  // A creation that was interrupted left some of the families: what is there is opened, the rest is made
  // below.
  if (!arranged) arranged = names.empty() ? std::vector<std::string>{"default"} : names;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : *arranged) descriptors.emplace_back(name, family_options);
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(database, files.path, descriptors, &handles_, &opened);
  if (!status.ok()) return FromOpen(status, files.path);
  db_.reset(opened);
  return CreateFamilies(options, log_families);
}

Status Engine::CreateFamilies(const RocksStoreOptions& options, uint32_t log_families) {
  const std::map<std::string, size_t> places = PlacesOf(log_families);
  std::vector<rocksdb::ColumnFamilyHandle*> arranged(places.size(), nullptr);
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    const auto place = places.find(handle->GetName());
    if (place == places.end()) {
      return Status(Reason::kDataLoss,
                    "database " + files_.path + " has the unknown column family " + handle->GetName() + "; " + kAfterDataLoss);
    }
    arranged[place->second] = handle;
  }
  std::vector<std::string> missing;
  for (const auto& [name, place] : places) {
    if (arranged[place] == nullptr) missing.push_back(name);
  }
  if (!missing.empty()) {
    rocksdb::ColumnFamilyDescriptor first;
    CHECK(handles_.front()->GetDescriptor(&first).ok());
    std::vector<rocksdb::ColumnFamilyHandle*> made;
    const rocksdb::Status status = db_->CreateColumnFamilies(first.options, missing, &made);
    handles_.insert(handles_.end(), made.begin(), made.end());
    if (!status.ok()) return FromOpen(status, files_.path);
    for (rocksdb::ColumnFamilyHandle* handle : made) arranged[places.at(handle->GetName())] = handle;
  }
  handles_ = std::move(arranged);
  LOG_IF(WARNING, log_families != options.log_families)
      << "the pool of log families keeps its size families=" << log_families << " asked_for=" << options.log_families;
  return {};
}

Engine::~Engine() {
  if (db_ == nullptr) return;
  // A background job that failed sleeps for a second before it lets go of its family: wait for it before the families go.
  rocksdb::CancelAllBackgroundWork(db_.get(), /*wait=*/true);
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    if (handle != nullptr) db_->DestroyColumnFamilyHandle(handle);
  }
  const rocksdb::Status status = db_->Close();
  LOG_IF(WARNING, !status.ok()) << "closing the database: " << status.ToString();
}

rocksdb::Status Engine::WriteSynced(rocksdb::WriteBatch* batch) {
  rocksdb::WriteOptions options;
  options.sync = true;
  return db_->Write(options, batch);
}

void Engine::MeasureSyncs() { rocksdb::SetPerfLevel(rocksdb::PerfLevel::kEnableTimeExceptForMutex); }

uint64_t Engine::SyncNanosOfThisThread() { return rocksdb::get_iostats_context()->fsync_nanos; }

void Engine::Count(StoreCounters* counters) {
  counters->background_errors = listener_->background_errors();
  counters->stall_micros = statistics_->getTickerCount(rocksdb::STALL_MICROS);
  counters->wal_written_bytes = statistics_->getTickerCount(rocksdb::WAL_FILE_BYTES);
  counters->flushed_bytes = statistics_->getTickerCount(rocksdb::FLUSH_WRITE_BYTES);
  counters->compacted_bytes = statistics_->getTickerCount(rocksdb::COMPACT_WRITE_BYTES);
  counters->wal_bytes = WalBytesOnDisk();
}

uint64_t Engine::WalBytesOnDisk() const {
  std::vector<std::string> children;
  if (!files_.env->GetChildren(files_.path, &children).ok()) return 0;
  uint64_t sum = 0;
  for (const std::string& name : children) {
    uint64_t bytes = 0;
    if (name.ends_with(".log") && files_.env->GetFileSize(files_.path + "/" + name, &bytes).ok()) sum += bytes;
  }
  return sum;
}

}  // namespace flotilla::storage
