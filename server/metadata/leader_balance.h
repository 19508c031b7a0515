// Leaderships go where they should be. Every node decides for the groups that it leads; nobody has to know
// all of them.
//
//   std::vector<LedGroup> led = ...;                      // all that this node leads now
//   for (const LeaderTransfer& transfer : balancer.Next(*image, led, {.now = now}))
//     host.TransferLeadership(transfer.group, transfer.to);
//
// Home: after a failover or a restart each node hands back, gently, what others should lead: one transfer at
// a time, a pause after each, and only to a replica that has caught up, on a node in use that has lived for a
// while.
//
// Away: a node that is drained or decommissioned, or that is not fit to lead, hands over all that another
// node can lead, as many at once as are good for the others: home if it can be, else to the node with the
// fewest, wherever the replica has caught up. It takes back what it should lead when it is in use again, by
// the others' rule.
//
// One that does not succeed is left alone for a while. The same calls give the same answers.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "raft/core/raft_core.h"
#include "server/metadata/image.h"

namespace flotilla::metadata {

struct LeaderBalanceOptions {
  // A node gets leaderships back when it has lived, and been fit to lead, for so long: 30 s of 50 ms. It has
  // caches to fill and other things to catch up with.
  raft::Tick settle_ticks = 600;
  // Between two transfers that go home: 4 a second.
  raft::Tick pause_ticks = 5;
  // A transfer that is not over by then has failed.
  raft::Tick transfer_ticks = 60;
  // A group whose transfer home failed is left alone for so long: 5 min.
  raft::Tick mute_ticks = 6000;
  // On the way away: so many transfers at once, and 5 s until one that failed is tried again, elsewhere if it
  // can be.
  size_t away_max = 8;
  raft::Tick away_mute_ticks = 100;
};

// A group that this node leads.
struct LedGroup {
  GroupId group;
  // Voters that have, or are about to have, everything.
  std::vector<ReplicaId> caught_up;
};

struct LeaderTransfer {
  GroupId group;
  ReplicaId to;
  bool operator==(const LeaderTransfer&) const = default;
};

struct BalanceMoment {
  raft::Tick now = 0;
  // This node had better lead nothing, for a reason of its own: a sick or full disk.
  bool unfit = false;
};

class LeaderBalancer {
 public:
  LeaderBalancer(NodeId self, const LeaderBalanceOptions& options) : self_(self), options_(options) {}

  // What to begin now. A transfer is over when its group is no longer in `led`.
  std::vector<LeaderTransfer> Next(const Image& image, std::span<const LedGroup> led, const BalanceMoment& moment);

 private:
  struct InFlight {
    ReplicaId to;
    raft::Tick since = 0;
  };
  struct Muted {
    ReplicaId to;  // where it failed to go
    raft::Tick until = 0;
  };

  void ObserveNodes(const Image& image, raft::Tick now);
  void ObserveTransfers(std::span<const LedGroup> led, raft::Tick now);
  std::vector<LeaderTransfer> NextAway(const Image& image, std::span<const LedGroup> led, raft::Tick now);
  std::vector<LeaderTransfer> NextHome(const Image& image, std::span<const LedGroup> led, raft::Tick now);
  void Begin(const LeaderTransfer& transfer, raft::Tick now);
  bool Settled(NodeId node, raft::Tick now) const;
  bool IsMuted(GroupId group, raft::Tick now) const;
  // Where the group should be led, if it can be now.
  std::optional<LeaderTransfer> HomeOf(const LedGroup& led, const Image& image, raft::Tick now) const;
  // Where else it had better be led now.
  std::optional<LeaderTransfer> HeirOf(const LedGroup& led, const Image& image) const;

  const NodeId self_;
  const LeaderBalanceOptions options_;
  bool away_ = false;                        // what it leads is to go, as of the last call
  std::map<NodeId, raft::Tick> well_since_;  // as seen here; the dead and the unfit are not in it
  std::map<GroupId, InFlight> in_flight_;
  std::map<GroupId, Muted> muted_;
  std::map<NodeId, uint64_t> sent_;  // on the way away: how many went where
  raft::Tick next_home_at_ = 0;
};

}  // namespace flotilla::metadata
