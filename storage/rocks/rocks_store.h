// The log store on RocksDB: the door to storage/rocks.
//
//   auto store = OpenRocksStore({.directory = "/var/lib/flotilla", .cluster_id = "orders"});
//   if (!store.ok()) LOG(FATAL) << store.status();   // DATA_LOSS, DIRECTORY_LOCKED, ...: the text says what
//   to do
//   (*store)->Submit(task, sink);
//
// The manual (byte formats, what is recovered and what is refused) is storage/README.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "storage/base/limits.h"
#include "storage/base/status.h"
#include "storage/log/log_store.h"

namespace flotilla::storage {

// Whose data it is. Both are text without line breaks.
struct DirectoryIdentity {
  std::string cluster_id;  // empty until the node joins one
  std::string node_uuid;
  bool operator==(const DirectoryIdentity&) const = default;
};

// The numbers are those that were measured; tests shrink them.
struct RocksStoreOptions {
  // Made when missing; its parent exists.
  std::string directory;
  // When set, a directory of another cluster or node is refused, and a new one is marked with them.
  std::string cluster_id;
  std::string node_uuid;

  // Families for logs. Decided when the directory is made; later openings keep what they find.
  uint32_t log_families = limits::kLogFamiliesDefault;
  size_t memtable_bytes = 16 * limits::kMiB;
  // All memtables together.
  size_t write_buffer_bytes = 192 * limits::kMiB;
  size_t block_cache_bytes = 64 * limits::kMiB;
  // Above it RocksDB itself flushes what pins the oldest file, all at once; half of it makes us flush one by
  // one.
  uint64_t wal_bytes_max = limits::kGiB;
  int background_jobs = 2;
  // For the WAL, flush and compaction, where the file system can.
  bool direct_io = true;
  // What has to wait while a batch is being written before the writer's second thread makes the next one. Below, waking it costs
  // more than it saves.
  size_t second_thread_bytes = 256 * limits::kKiB;

  // Entries kept in memory after they were written, all groups together.
  size_t tail_bytes = 64 * limits::kMiB;
  uint64_t disk_reserve_bytes = limits::kDiskReserveBytes;
};

class RocksStore : public LogStore {
 public:
  virtual const DirectoryIdentity& identity() const = 0;
  // For a node that just joined a cluster. DIRECTORY_MISMATCH when it is of another one already. Not
  // concurrently.
  virtual Status SetClusterId(const std::string& cluster_id) = 0;
};

// Destroying the store writes what is queued, completes it, and leaves everything on the disk. Sinks outlive
// it.
Result<std::unique_ptr<RocksStore>> OpenRocksStore(const RocksStoreOptions& options);

}  // namespace flotilla::storage
