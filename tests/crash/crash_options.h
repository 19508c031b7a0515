// How both processes open the store: small enough that a second of writing flushes, compacts and changes WAL files. By the number of a
// life, its files are written directly or through the page cache: what one way leaves, the other one finds.
#pragma once

#include <cstdint>
#include <string>

#include "storage/rocks/rocks_store.h"

namespace flotilla::storage {

inline RocksStoreOptions CrashOptions(const std::string& directory, uint64_t life) {
  RocksStoreOptions options;
  options.directory = directory;
  options.log_families = 3;
  options.memtable_bytes = 256 * limits::kKiB;
  options.write_buffer_bytes = 8 * limits::kMiB;
  options.wal_bytes_max = 2 * limits::kMiB;
  options.direct_io = life % 4 != 0;
  options.second_thread_bytes = 1;
  return options;
}

}  // namespace flotilla::storage
