// Brings the groups that this node leads to the replicas that the metadata asks for: learner, catch up, joint change, settled.
//
// At each tick, for each group that is led here for sure and whose partition is moving (image().moving), one step:
//   1. a member on a node whose wanted replica is another life of it is removed (a rebuild)
//   2. wanted replicas that are no members become learners
//   3. when all wanted learners have caught up: one joint change promotes them and removes everybody who is not wanted
//   4. members that are not wanted go (a cancellation)
//   5. the committed configuration is what is wanted: a read of the group confirms that this node leads in this term, then the
//      metadata leader is told (MembershipService/SettleReplicas), again until the image says so
// Which step is next is decided by a pure function of configuration, partition and progress.
//
// Two rules keep an old leader, or one with an old image, from undoing what is settled:
//   - in a new term nothing is changed before the metadata was brought up to date once (CallBoard::SyncMetadata) since the term began
//   - what is told as settled was confirmed by a read that began after this node's image had the placement epoch
// Executor only.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "raft/core/configuration.h"
#include "raft/node/raft_host.h"
#include "server/broker/member_context.h"
#include "server/metadata/image.h"

namespace flotilla::broker {

// What a leader does next about its members. Pure.
struct MoveStep {
  enum class Kind : uint8_t {
    kWait,    // a change is under way, or learners copy
    kChange,  // propose `change`
    kSettle,  // the group is as wanted
  };
  Kind kind = Kind::kWait;
  raft::MembershipChange change = {};
};
// `committed`: the newest configuration of the log is committed. `caught_up`: learners that may be promoted.
MoveStep NextMoveStep(const metadata::Partition& wanted, const raft::Configuration& configuration, bool committed,
                      const std::set<ReplicaId>& caught_up);

}  // namespace flotilla::broker
