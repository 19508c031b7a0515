// Who votes in group 0: up to five nodes, spread over racks; all others learn. Pure; the metadata leader asks
// every second and proposes the change, one at a time.
//
//   raft::MembershipChange change = PlanVoters(image, configuration, log.CaughtUpLearners());
//   if (!change.empty()) log.ChangeMembers(change, ...);
//
// A node that died keeps its vote until it is removed or decommissioned: a seat that is filled by itself
// while its owner is only away would let a cluster shrink to nothing. As many vote as the largest odd number
// up to five that the nodes in use (not being decommissioned, dead ones included) allow. New voters are
// learners that have caught up, on living nodes.
#pragma once

#include <set>

#include "raft/core/configuration.h"
#include "server/metadata/image.h"

namespace flotilla::metadata {

// Learns: living nodes that are in nothing. Promotes, demotes: towards the rule above, replacing and adding
// what is missing in one change, never so that fewer vote than before but for nodes that leave, and those
// only when nobody is about to take the seat; never one more that makes their number even; never so that no
// majority of the voters is alive. Where it makes racks more even, a voter gives its seat to a learner.
// Removes: members whose node is no longer in the image. Empty: all is as it should be, or has to wait.
raft::MembershipChange PlanVoters(const Image& image, const raft::Configuration& configuration,
                                  const std::set<NodeId>& caught_up_learners);

}  // namespace flotilla::metadata
