// Changes of a partition's replicas: what is asked for becomes a target (ReplicasRetargeted), the partition's leader
// brings its group there, and when it has, that is written down (ReplicasSettled) and what was leaving is deleted.
//
// The record of a target is all there is to a move: whatever dies meanwhile, the next leader of the partition looks at the
// image and goes on; another target may come at any time, also the old one. Nothing has to be undone.
//
// All may end in NOT_INITIALIZED, TOPIC_NOT_FOUND, PARTITION_NOT_FOUND, and carry a request tag as in topics.h.
#pragma once

#include <optional>
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
// Outcome::node is where it goes. REPLICA_NOT_FOUND, REPLICA_EXISTS, NODE_NOT_FOUND, NOT_ENOUGH_NODES (`to` is dead or being
// decommissioned, or there is no place), MOVE_UNDER_WAY, QUORUM_AT_RISK, LIMIT_EXCEEDED.
Result<Decision> DecideMove(const MoveReplica& request, const Image& image, const Context& context);

struct RebuildReplica {
  TopicSelector topic;
  int64_t partition = 0;
  NodeId node;
  RequestTag tag = {};
};
// The same node with a new incarnation. REPLICA_NOT_FOUND, MOVE_UNDER_WAY, QUORUM_AT_RISK (the living others are no majority
// of all, or there are none).
Result<Decision> DecideRebuild(const RebuildReplica& request, const Image& image, const Context& context);

struct CancelMove {
  TopicSelector topic;
  int64_t partition = 0;
  RequestTag tag = {};
};
// MOVE_NOT_FOUND: none is under way, or a replica to go back to was destroyed (a rebuild).
Result<Decision> DecideMoveCancellation(const CancelMove& request, const Image& image, const Context& context);

// The leader of a group says that its committed configuration has these voters, and no learners.
struct SettleReplicas {
  GroupId group;
  uint64_t placement_epoch = 0;
  std::vector<ReplicaId> voters;
};
// No records when it was overtaken (another epoch, other replicas) or is known. PARTITION_NOT_FOUND.
Result<Decision> DecideSettled(const SettleReplicas& request, const Image& image);

// The record that makes `replicas` (node ids; those that exist keep their incarnation) the target of the partition, and who
// should lead then. Shared by all who plan moves.
Record RetargetOf(const Image& image, const Partition& partition, const std::vector<NodeId>& nodes, MoveCause cause,
                  int64_t now_ms);

}  // namespace flotilla::metadata
