// The node's RocksDB: opened with the settings that were measured, its families by their meaning, its
// numbers.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/statistics.h>
#include <rocksdb/write_batch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/status.h"
#include "storage/rocks/engine_observers.h"
#include "storage/rocks/rocks_store.h"

namespace flotilla::storage {

// A family's place in the pool of all families.
using Family = size_t;
inline constexpr Family kDefaultFamily = 0;
inline constexpr Family kMetaFamily = 1;
inline constexpr Family kStateFamily = 2;
inline constexpr Family kSnapshotsFamily = 3;
inline constexpr Family kFirstLogFamily = 4;

inline rocksdb::Slice ToSlice(std::string_view view) { return {view.data(), view.size()}; }
inline std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// What both a look at the database and its opening need.
struct EngineFiles {
  std::string path;
  rocksdb::Env* env = nullptr;
  bool direct_io = false;  // past the page cache, where that helps
};

// Settings of the database as a whole and of a family.
rocksdb::DBOptions DatabaseOptions(const RocksStoreOptions& options, const EngineFiles& files);
std::string LogFamilyName(uint32_t number);  // "log-07"

class Engine {
 public:
  // Opens the database, and makes it when `may_create`: then families may be missing as well. `latch`
  // outlives the engine.
  static Result<std::unique_ptr<Engine>> Open(const RocksStoreOptions& options, const EngineFiles& files, bool may_create,
                                              FailureLatch& latch);
  // Reads only: nothing on the disk changes, and nothing can be written.
  static Result<std::unique_ptr<Engine>> OpenReadOnly(const RocksStoreOptions& options, const EngineFiles& files);
  ~Engine();

  rocksdb::DB& db() { return *db_; }
  rocksdb::ColumnFamilyHandle* family(Family family) { return handles_[family]; }
  rocksdb::ColumnFamilyHandle* log(uint32_t number) { return handles_[kFirstLogFamily + number]; }
  uint32_t log_families() const { return static_cast<uint32_t>(handles_.size() - kFirstLogFamily); }

  // Writes and syncs. The caller latches a failure.
  rocksdb::Status WriteSynced(rocksdb::WriteBatch* batch);
  // Nanoseconds that this thread spent in fsync since it began. Only threads that called MeasureSyncs count.
  static void MeasureSyncs();
  static uint64_t SyncNanosOfThisThread();

  WalPins& pins() { return *pins_; }
  // Fills in what RocksDB knows.
  void Count(StoreCounters* counters);
  uint64_t WalBytesOnDisk() const;

 private:
  Engine() = default;
  Status OpenDatabase(const RocksStoreOptions& options, const EngineFiles& files, bool may_create, FailureLatch& latch);
  Status CreateFamilies(const RocksStoreOptions& options, uint32_t log_families);

  EngineFiles files_;
  std::shared_ptr<rocksdb::Statistics> statistics_;
  std::unique_ptr<WalPins> pins_;
  std::shared_ptr<EngineListener> listener_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;  // by Family
};

}  // namespace flotilla::storage
