// Which replicas should move next, by itself: off nodes that are being decommissioned, and, when asked for,
// to where the cluster is even. Pure and deterministic; the metadata leader asks every second and proposes
// what comes out.
//
//   MovePlan plan = PlanMoves(image, sizes, {.now_ms = ...});
//   for (const PlannedMove& move : plan.moves) ... RetargetOf(...)
//
// A decommissioning comes before balancing, and what dead nodes had before what living ones have. What is
// planned keeps the rules of placement.h: different nodes, as many racks as there are. Balancing takes a
// replica from a node to one that carries so much less that it still carries less afterwards; it ends when
// there is none such, and then spreads who should lead.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "server/metadata/image.h"

namespace flotilla::metadata {

// About how many bytes the log of a group takes; a group that is not in it counts as empty.
using GroupSizes = std::map<GroupId, uint64_t>;

struct MovePlanOptions {
  // Moves under way at once, in the whole cluster; and per node that receives.
  size_t running_max = 16;
  size_t running_per_node_max = 4;
  // Beyond its bytes every replica costs so much: the many small ones of a node are work, too.
  uint64_t replica_cost_bytes = 16 << 20;
  // Whether balancing may be planned; not while sizes are not known yet.
  bool balances = true;
  // A move that nobody asked for gets another place when its node is dead for so long: a node that only
  // restarts goes on with what it has. By the clocks of metadata leaders, 10 min.
  int64_t now_ms = 0;
  int64_t abandon_after_ms = 10 * 60 * 1000;
};

struct PlannedMove {
  GroupId group;
  NodeId from;
  NodeId to;
  MoveCause cause = MoveCause::kBalance;
  uint64_t bytes = 0;
  bool operator==(const PlannedMove&) const = default;
};
struct PlannedLeader {
  GroupId group;
  NodeId preferred;
  bool operator==(const PlannedLeader&) const = default;
};

struct MovePlan {
  std::vector<PlannedMove> moves;      // in their order; each of another partition
  std::vector<PlannedLeader> leaders;  // preferences that should change: balancing alone, when all moves are done
  // Balancing is over: it has nothing left to begin, now or later, and nothing of it is under way.
  bool even = true;
  // Replicas of decommissioning nodes that have no place to go, for people: "topic/partition: why".
  std::vector<std::string> obstacles;
};

// What may begin now, given what is under way.
MovePlan PlanMoves(const Image& image, const GroupSizes& sizes, const MovePlanOptions& options);
// All that balancing would do until the cluster is even, as if it were asked for, nothing limited it, and
// decommissionings were over; for people. A replica may move more than once.
MovePlan PlanBalance(const Image& image, const GroupSizes& sizes, const MovePlanOptions& options);

}  // namespace flotilla::metadata
