// Which replicas should move next, by itself: off nodes that are being decommissioned, and, when asked for, to where the
// cluster is even. Pure and deterministic; the metadata leader asks every second and proposes what comes out.
//
//   MovePlan plan = PlanMoves(image, sizes, {.running_max = 8});
//   for (const PlannedMove& move : plan.moves) ... RetargetOf(...)
//
// A decommissioning comes before balancing. A move off a dead node is planned as any other. What is planned keeps the rules of
// placement.h: different nodes, as many racks as there are. Balancing ends when no move makes it more even.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "server/metadata/image.h"
#include "server/metadata/records.h"

namespace flotilla::metadata {

// About how many bytes the log of a group takes; a group that is not in it counts as empty.
using GroupSizes = std::map<GroupId, uint64_t>;

struct MovePlanOptions {
  // Moves under way at once, in the whole cluster; and per node that receives.
  size_t running_max = 16;
  size_t running_per_node_max = 4;
  // Beyond its bytes every replica costs so much: the many small ones of a node are work, too.
  uint64_t replica_cost_bytes = 16 << 20;
  uint64_t seed = 0;
};

struct PlannedMove {
  GroupId group;
  NodeId from;
  NodeId to;
  MoveCause cause = MoveCause::kBalance;
  uint64_t bytes = 0;
};
struct PlannedLeader {
  GroupId group;
  NodeId preferred;
};

struct MovePlan {
  std::vector<PlannedMove> moves;      // in their order
  std::vector<PlannedLeader> leaders;  // preferences that should change: balancing alone
  // Replicas of decommissioning nodes that have no place to go, for people: "topic/partition: why".
  std::vector<std::string> obstacles;
};

// What may begin now, given what is under way.
MovePlan PlanMoves(const Image& image, const GroupSizes& sizes, const MovePlanOptions& options);
// Everything there is to do until the cluster is even, as if it were asked for and nothing limited it; for people.
MovePlan PlanBalance(const Image& image, const GroupSizes& sizes, const MovePlanOptions& options);

struct StartBalance {
  uint64_t planned_moves = 0;
  bool validate_only = false;
};
// BALANCE_UNDER_WAY.
struct CancelBalance {};

}  // namespace flotilla::metadata
