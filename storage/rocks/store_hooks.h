// For tests only: the store with another file system, clock or idea of free space beneath it.
#pragma once

#include <cstdint>
#include <memory>

#include "storage/base/clock.h"
#include "storage/rocks/rocks_store.h"

namespace rocksdb {
class FileSystem;
class SystemClock;
}  // namespace rocksdb

namespace flotilla::storage {

// How much room a file system has for us. Writer thread only.
class FreeSpace {
 public:
  virtual ~FreeSpace() = default;
  virtual uint64_t FreeBytes() = 0;
};

// Null: the real one. What is given outlives the store.
struct StoreHooks {
  // Everything of the database goes through it. The identity, lock and evidence files do not.
  std::shared_ptr<rocksdb::FileSystem> file_system;
  // What RocksDB takes its time from and sleeps with. Only together with a file system.
  std::shared_ptr<rocksdb::SystemClock> rocks_clock;
  FreeSpace* free_space = nullptr;
  const Clock* clock = nullptr;
};

Result<std::unique_ptr<RocksStore>> OpenRocksStoreWith(const RocksStoreOptions& options, const StoreHooks& hooks);

}  // namespace flotilla::storage
