// Changes of a partition's replicas: what is asked for becomes a target (ReplicasRetargeted), the partition's
// leader brings its group there, and when it has, that is written down (ReplicasSettled) and what was leaving
// is deleted.
//
// The record of a target is all there is to a move: whatever dies meanwhile, the next leader of the partition
// looks at the image and goes on; another target may come at any time, also the old one. Nothing has to be
// undone.
//
// All may end in NOT_INITIALIZED, TOPIC_NOT_FOUND, PARTITION_NOT_FOUND, and those that people ask for carry a
// request tag as in topics.h.
#pragma once

#include <functional>
#include <vector>

#include "server/metadata/decision.h"
#include "server/metadata/topic_rules.h"

namespace flotilla::metadata {

struct MoveReplica {
  TopicSelector topic;
  int64_t partition = 0;
  NodeId from;
  NodeId to;  // 0: the best place (placement.h)
  RequestTag tag = {};
};
// Outcome::node is where it goes. MOVE_UNDER_WAY, NODE_NOT_FOUND, REPLICA_NOT_FOUND, REPLICA_EXISTS,
// NOT_ENOUGH_NODES (`to` is dead or being decommissioned, or there is no place), QUORUM_AT_RISK,
// LIMIT_EXCEEDED.
Result<Decision> DecideMove(const MoveReplica& request, const Image& image, const Context& context);

struct RebuildReplica {
  TopicSelector topic;
  int64_t partition = 0;
  NodeId node;
  RequestTag tag = {};
};
// The same node with a new incarnation. MOVE_UNDER_WAY, NODE_NOT_FOUND, REPLICA_NOT_FOUND, QUORUM_AT_RISK
// (the living others are no majority of all, or there are none).
Result<Decision> DecideRebuild(const RebuildReplica& request, const Image& image, const Context& context);

struct CancelMove {
  TopicSelector topic;
  int64_t partition = 0;
  RequestTag tag = {};
};
// MOVE_NOT_FOUND: none is under way, it is on its way back already, or a replica to go back to was destroyed
// (a rebuild).
Result<Decision> DecideMoveCancellation(const CancelMove& request, const Image& image, const Context& context);

// The leader of a group says that its committed configuration has these voters, and no learners.
struct SettleReplicas {
  GroupId group;
  uint64_t placement_epoch = 0;
  std::vector<ReplicaId> voters;
};
// No records (Outcome::repeated) when it was overtaken (another epoch, other replicas) or is known.
// PARTITION_NOT_FOUND.
Result<Decision> DecideSettled(const SettleReplicas& request, const Image& image);

// --- what all who plan moves share

// The record that makes `nodes` the places of the partition's replicas (those that exist keep their
// incarnation), and who should lead then: whoever should now, or, when that one goes, the node that should
// lead fewest.
Record RetargetOf(const Image& image, const Partition& partition, const std::vector<NodeId>& nodes, MoveCause cause, int64_t now_ms);
// The record that gives the replica on `node`, which the partition wants there, another life.
Record RebuildOf(const Partition& partition, NodeId node, MoveCause cause, int64_t now_ms);
// The places of the partition's replicas, with `to` for `from`.
std::vector<NodeId> NodesWith(const Partition& partition, NodeId from, NodeId to);

// The records that call off the moves for which `which(partition)` holds, by group; not those that are on
// their way back, or have nowhere to go back to.
std::vector<Record> CallOff(const Image& image, int64_t now_ms, const std::function<bool(const Partition&)>& which);

// Whether the group can decide anything: a majority of its replicas is on living nodes. While they change, of
// those before and of those after.
bool HasLivingMajority(const Image& image, const Partition& partition);
// QUORUM_AT_RISK for partitions called so ("orders/3"), of which at least one is named; `why` ends the
// sentence.
Status QuorumAtRisk(const std::vector<std::string>& partitions, const std::string& why);

// Of `nodes` the one that should lead when the partition has its replicas there: `preferred` if it is one of
// them, else one of those that may (`takes(node)`) with the lowest `load(node)`.
template <typename Node, typename Takes, typename Load>
Node LeaderAmong(const std::vector<Node>& nodes, Node preferred, Takes takes, Load load) {
  Node best = nodes.front();
  for (const Node node : nodes) {
    if (node == preferred) return node;
    if (takes(node) ? !takes(best) || load(node) < load(best) : !takes(best) && load(node) < load(best)) best = node;
  }
  return best;
}

}  // namespace flotilla::metadata
