#include "server/partition/context.h"

#include <string>

namespace flotilla::partition {

Status GroupHandle::Stopped(const Status& why) const {
  if (alone()) return why;
  return Status(Reason::kNoLeader,
                "the replica on this node has stopped, and another one takes its place; try again shortly: " + std::string(why.message()));
}

Status Context::MayServe() const {
  if (!machine.fault().ok()) return handle.Stopped(machine.fault());
  const raft::StateMachine::Leadership& leadership = machine.leadership();
  if (leadership.role == raft::Role::kLeader && leadership.surely) return {};
  if (leadership.role == raft::Role::kLeader) {
    return Status(Reason::kNoLeader, "this replica was just elected and is finding out what is committed; try again shortly");
  }
  if (!leadership.leader.valid()) {
    return Status(Reason::kNoLeader, "the partition has no leader at the moment; try again shortly");
  }
  return Status(Reason::kNotLeader, "node " + std::to_string(leadership.leader.node.value()) + " leads the partition; ask there")
      .With("leader_node_id", leadership.leader.node.value())
      .With("leader_epoch", leadership.term.value());
}

}  // namespace flotilla::partition
