// Decides, without changing a byte, whether the database holds everything that was ever synced.
//
// Every batch carries its number, one more than the batch before, and at most one batch is ever written and
// not yet synced. So what may be missing is the last batch, and it may be missing only whole and from the
// end:
//
//   numbers in tables and WAL files     evidence    verdict
//   ... 7 8 9                           <= 9        complete
//   ... 7 8 (9 torn)                    <= 8        complete: 9 was never synced; it is cut when the database
//   is opened
//   ... 7 8 (9 torn)                    9           DATA_LOSS: 9 was synced
//   ... 7 (8 damaged) 9                 any         DATA_LOSS: 9 was written, so 8 was synced
#pragma once

#include <cstdint>
#include <string>

#include "storage/base/status.h"
#include "storage/rocks/engine.h"

namespace flotilla::storage {

struct Recoverable {
  uint64_t batch_number = 0;  // of the last batch; 0: none was written
};

struct Expected {
  uint64_t evidence = 0;  // the last batch that is known to be synced
  std::string node_uuid;  // whose batches they are
};

// Reads manifest, meta tables and all WAL files, read-only. DATA_LOSS names the file, the number that was
// expected and the one that was found. DIRECTORY_MISMATCH: another node wrote it.
Result<Recoverable> LookBeforeOpening(const RocksStoreOptions& options, const EngineFiles& files, const Expected& expected);

}  // namespace flotilla::storage
