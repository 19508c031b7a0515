// The store of a node that is stopped: read, never written, not even by recovery. No node can start in the directory meanwhile.
//
//   auto store = StoppedStore::Open("/var/lib/flotilla");            // DIRECTORY_LOCKED while a node runs
//   for (GroupId group : (*store)->logs().Groups()) ... (*store)->logs().Read(group, ...)
//   Verification found = Verify(**store, progress);
//
// What recovery would refuse (storage/README.md) is refused here with the same words.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "storage/base/status.h"
#include "storage/log/log_store.h"
#include "storage/rocks/rocks_store.h"

namespace flotilla::storage {

class StoppedStore {
 public:
  static Result<std::unique_ptr<StoppedStore>> Open(const std::string& directory);
  virtual ~StoppedStore() = default;

  virtual const DirectoryIdentity& identity() const = 0;
  virtual const LogReader& logs() const = 0;
  // The last batch that is there, and the last one that is known to have been synced.
  virtual uint64_t batch_number() const = 0;
  virtual uint64_t evidence() const = 0;
  // Reads every block of every table file. DATA_LOSS names the file.
  virtual Status CheckTables() const = 0;
};

// What was read, and what is wrong with it.
struct Verification {
  uint64_t groups = 0;
  uint64_t entries = 0;
  uint64_t bytes = 0;  // of entries, rows and snapshots
  uint64_t rows = 0;   // of state machines
  uint64_t chunks = 0;
  struct Finding {
    GroupId group;      // meaningless when `label` is empty: of the directory as a whole
    std::string label;  // "orders/3"
    Status status;
  };
  std::vector<Finding> findings;
};

// Reads everything: every entry with its checksum and its place in the chain of offsets and terms, every row, every chunk and
// the checksum of its snapshot. Goes on with the next group after damage. `progress` is called every few megabytes.
Verification Verify(const StoppedStore& store, const std::function<void(const Verification&)>& progress);

}  // namespace flotilla::storage
