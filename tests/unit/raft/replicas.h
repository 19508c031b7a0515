// Short names for what the tests of this folder speak of.
#pragma once

#include <initializer_list>
#include <vector>

#include "raft/core/configuration.h"
#include "storage/base/ids.h"
#include "storage/base/random.h"

namespace flotilla::raft {

inline ReplicaId R(uint64_t node, uint64_t incarnation = 0) { return {NodeId{node}, incarnation}; }

inline std::vector<ReplicaId> Rs(std::initializer_list<uint64_t> nodes) {
  std::vector<ReplicaId> ids;
  for (uint64_t node : nodes) ids.push_back(R(node));
  return ids;
}

// Each of the nodes 1..`nodes` with an even chance.
inline std::vector<ReplicaId> RandomReplicas(Random& random, uint64_t nodes) {
  std::vector<ReplicaId> ids;
  for (uint64_t node = 1; node <= nodes; ++node) {
    if (random.OneIn(2)) ids.push_back(R(node));
  }
  return ids;
}

}  // namespace flotilla::raft
