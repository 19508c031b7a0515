// What the store knows when it opens, from the rows of the meta family, checked against the logs.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "storage/base/status.h"
#include "storage/rocks/engine.h"
#include "storage/rocks/group.h"

namespace flotilla::storage {

struct LoadedGroup {
  GroupState state;
  GroupPlace place;
};

struct LoadedStore {
  uint64_t batch_number = 0;
  uint64_t log_families = 0;              // as written when the pool was made; 0: never written
  std::vector<LoadedGroup> groups;        // ascending by id
  std::map<GroupId, uint32_t> destroyed;  // whose files are yet to be deleted
};

// DATA_LOSS names the group: a row is missing or damaged, or the first or last entry of a log is not what its
// bounds say.
Result<LoadedStore> LoadStore(Engine& engine);

}  // namespace flotilla::storage
