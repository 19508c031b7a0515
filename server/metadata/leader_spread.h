// Who should lead, so that every node in use should lead about as many partitions as any other.
//
//   for (const PlannedLeader& change : SpreadLeaders(model)) ...
//
// Where no single change helps a chain of them does: a hands one to b, which hands another one to c. What
// comes out is as even as the places of the replicas allow, with one change for each partition that is
// touched at all.
#pragma once

#include <vector>

#include "server/metadata/cluster_model.h"

namespace flotilla::metadata {

// By group. Looks at partitions that are settled and whose preferred leader is on a node that may lead: what
// a node should lead that is dead or drained goes home to it one day.
std::vector<PlannedLeader> SpreadLeaders(ClusterModel model);

}  // namespace flotilla::metadata
