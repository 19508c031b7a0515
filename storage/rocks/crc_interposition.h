// Makes RocksDB compute CRC-32C with the processor's instruction.
//
// Debian's librocksdb has the table version only (1 GB/s, and every byte of the WAL goes through it). The
// library calls rocksdb::crc32c::Extend through its PLT, so a definition in the executable is the one that
// runs: ours does the work at 20 GB/s, which lifts synced appends by 40 %.
#pragma once

#include "storage/base/status.h"

namespace flotilla::storage {

struct CrcCheck {
  bool supplied = false;     // RocksDB calls our version
  bool accelerated = false;  // which uses the processor
  double gigabytes_per_second = 0;
};

// Tries it: STORAGE_FAILED when the values are wrong, which must never write a log. Call it before a database
// is opened; the call is also what makes the linker keep our version.
Result<CrcCheck> CheckCrc();

}  // namespace flotilla::storage
