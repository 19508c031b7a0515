// Leaderships go home: after a failover or a restart each node hands back, gently, what others should lead.
// Every node decides for the groups that it leads; nobody has to know all of them.
//
//   std::vector<LedGroup> led = ...;                      // what this node leads now
//   auto transfer = balancer.Next(*image, led, now);
//   if (transfer) host.TransferLeadership(transfer->group, transfer->to);
//
// One transfer at a time, a pause after each, and only to a replica that has caught up, on a node that has
// lived for a while. One that does not succeed is left alone for some minutes. The same calls give the same
// answers.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "raft/core/raft_core.h"
#include "server/metadata/image.h"

namespace flotilla::metadata {

struct LeaderBalanceOptions {
  // A node gets leaderships when it has lived for so long: 30 s of 50 ms. It has caches to fill and other
  // things to catch up with.
  raft::Tick settle_ticks = 600;
  // Between two transfers: 4 a second.
  raft::Tick pause_ticks = 5;
  // A transfer that is not over by then has failed.
  raft::Tick transfer_ticks = 60;
  // A group whose transfer failed is left alone for so long: 5 min.
  raft::Tick mute_ticks = 6000;
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

class LeaderBalancer {
 public:
  LeaderBalancer(NodeId self, const LeaderBalanceOptions& options) : self_(self), options_(options) {}

  // What to do now, if anything. A transfer is over when its group is no longer in `led`.
  std::optional<LeaderTransfer> Next(const Image& image, std::span<const LedGroup> led, raft::Tick now);

 private:
  struct InFlight {
    GroupId group;
    raft::Tick since = 0;
  };

  void ObserveNodes(const Image& image, raft::Tick now);
  void ObserveTransfer(std::span<const LedGroup> led, raft::Tick now);
  bool Settled(NodeId node, raft::Tick now) const;
  bool Muted(GroupId group, raft::Tick now) const;
  // Where the group should be led, if it can be now.
  std::optional<LeaderTransfer> HomeOf(const LedGroup& led, const Image& image, raft::Tick now) const;

  const NodeId self_;
  const LeaderBalanceOptions options_;
  std::map<NodeId, raft::Tick> alive_since_;  // as seen here; the dead are not in it
  std::map<GroupId, raft::Tick> muted_until_;
  std::optional<InFlight> in_flight_;
  raft::Tick next_at_ = 0;
};

}  // namespace flotilla::metadata
