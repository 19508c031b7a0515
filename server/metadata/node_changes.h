// What operators do with nodes: draining, decommissioning, removal; and what follows by itself.
//
//   Result<Decision> decided = DecideNodeMode({.node = NodeId{3}, .mode = NodeMode::kDraining}, image,
//   context);
//
// Asking for what is so already is OK, without records. All may end in NOT_INITIALIZED and NODE_NOT_FOUND.
#pragma once

#include <vector>

#include "server/metadata/decision.h"

namespace flotilla::metadata {

struct ChangeNodeMode {
  NodeId node;
  NodeMode mode = NodeMode::kActive;
  // Recommission: also a node that is being decommissioned may become active. Undraining it is
  // NODE_DECOMMISSIONING.
  bool recommission = false;
  bool validate_only = false;
};
// Draining: NOT_ENOUGH_NODES when no other node would be left to lead; a node that is being decommissioned is
// drained already. Decommissioning: NOT_ENOUGH_NODES, naming the topics, when fewer nodes would be in use
// than some topic has replicas, or a replica of the node has no living node to go to; QUORUM_AT_RISK, naming
// the partitions, when some of the node have no living majority; LIMIT_EXCEEDED when the others have no room.
// Back to active: moves off the node that are under way because of it are called off in the same batch.
Result<Decision> DecideNodeMode(const ChangeNodeMode& request, const Image& image, const Context& context);

struct RemoveNode {
  NodeId node;
  bool validate_only = false;
};
// NODE_ALIVE. A dead node without replicas is removed at once; one with replicas starts to be decommissioned,
// with the errors of that. Group 0's configuration follows the image by itself (voters.h).
Result<Decision> DecideNodeRemoval(const RemoveNode& request, const Image& image, const Context& context);

// Nodes being decommissioned that have nothing left, neither a replica nor a vote in group 0: they go by
// themselves. By id.
std::vector<Record> RemovalsDue(const Image& image, const std::vector<NodeId>& metadata_voters);

}  // namespace flotilla::metadata
