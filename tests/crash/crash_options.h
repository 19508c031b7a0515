// How both processes open the store: small enough that a second of writing flushes, compacts and changes WAL files.
#pragma once

#include <string>

#include "storage/rocks/rocks_store.h"

namespace flotilla::storage {

inline RocksStoreOptions CrashOptions(const std::string& directory) {
  RocksStoreOptions options;
  options.directory = directory;
  options.log_families = 3;
  options.memtable_bytes = 256 * limits::kKiB;
  options.write_buffer_bytes = 8 * limits::kMiB;
  options.wal_bytes_max = 2 * limits::kMiB;
  return options;
}

}  // namespace flotilla::storage
