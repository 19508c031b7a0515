// Who votes in group 0: up to five nodes, spread over racks; all others learn. Pure; the metadata leader asks
// every second and proposes the change, one at a time.
//
//   watch.Look(log.Learners(), now);
//   raft::MembershipChange change = PlanVoters(image, configuration, watch.sight());
//   if (!change.empty()) log.ChangeMembers(change, ...);
//
// A node that died keeps its vote until it is removed or decommissioned: a seat that is filled by itself
// while its owner is only away would let a cluster shrink to nothing. As many vote as the largest odd number
// up to five that the nodes in use (not being decommissioned, dead ones included) allow. New voters are
// learners that have caught up, on living nodes. A seat that somebody leaves waits for a learner that comes along, not
// for one that lives and stands still: it may be damaged, and the voter that is to go could never go. It waits for a dead
// one where two voters would be left: either one's failure would stop the metadata.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "raft/core/configuration.h"
#include "raft/core/raft_core.h"
#include "server/metadata/image.h"

namespace flotilla::metadata {

// A learner of group 0, as the leader sees it.
struct MetadataLearner {
  NodeId node;
  LogIndex match;
  bool caught_up = false;
};
struct LearnerSight {
  std::set<NodeId> caught_up;
  std::set<NodeId> stuck;  // not caught up, and no nearer for a while
};
// Remembers how learners come along while this node leads.
class LearnerWatch {
 public:
  // A learner that got nothing for so long stands still: 60 s of 50 ms. A snapshot takes less.
  static constexpr raft::Tick kStuckTicks = 1200;

  void Look(const std::vector<MetadataLearner>& learners, raft::Tick now);
  const LearnerSight& sight() const { return sight_; }

 private:
  struct Row {
    LogIndex match;
    raft::Tick moved_at = 0;
  };
  std::map<NodeId, Row> late_;
  LearnerSight sight_;
};

// Learns: living nodes that are in nothing. Promotes, demotes: towards the rule above, replacing and adding
// what is missing in one change, never so that fewer vote than before but for nodes that leave, and those
// only when nobody is about to take the seat; never one more that makes their number even; never so that no
// majority of the voters is alive. Where it makes racks more even, a voter gives its seat to a learner.
// Removes: members whose node is no longer in the image. Empty: all is as it should be, or has to wait.
raft::MembershipChange PlanVoters(const Image& image, const raft::Configuration& configuration, const LearnerSight& learners);

}  // namespace flotilla::metadata
