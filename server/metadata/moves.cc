#include "server/metadata/moves.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/metadata/limits.h"
#include "server/metadata/node_rules.h"
#include "server/metadata/placement.h"
#include "server/metadata/replay.h"
#include "server/metadata/request_memory.h"

namespace flotilla::metadata {
namespace {

Fingerprint FingerprintOf(std::string_view kind, const TopicSelector& topic, int64_t partition) {
  Fingerprint fingerprint(kind);
  fingerprint.Add(topic.name).Add(topic.id.bytes()).Add(static_cast<uint64_t>(partition));
  return fingerprint;
}

std::string NodesOf(const std::vector<ReplicaId>& replicas) {
  std::string text;
  for (const ReplicaId& replica : replicas) text += (text.empty() ? "" : ", ") + std::to_string(replica.node.value());
  return text;
}

Record TargetOf(const Partition& partition, const std::vector<ReplicaId>& replicas, NodeId preferred, MoveCause cause, int64_t now_ms) {
  Record out;
  record::ReplicasRetargeted& record = *out.mutable_replicas_retargeted();
  record.set_group_id(partition.group.value());
  record.set_placement_epoch(partition.placement_epoch + 1);
  for (const ReplicaId& replica : replicas) {
    record::PartitionReplica& added = *record.add_replicas();
    added.set_node_id(replica.node.value());
    added.set_incarnation(replica.incarnation);
  }
  record.set_preferred_leader(preferred.value());
  record.set_cause(RecordOf(cause));
  record.set_at_ms(now_ms);
  return out;
}

size_t Living(const Image& image, const std::vector<ReplicaId>& replicas) {
  return static_cast<size_t>(std::count_if(replicas.begin(), replicas.end(), [&](const ReplicaId& replica) {
    const Node* node = image.FindNode(replica.node);
    return node != nullptr && node->alive;
  }));
}

// MOVE_UNDER_WAY.
Status CheckSettled(const PartitionChoice& choice) {
  if (!choice.partition->movement) return {};
  return About(Refuse(Refusal::kMoveUnderWay, "the replicas of partition " + choice.name() + " are being moved already, to nodes " +
                                                  NodesOf(choice.partition->replicas) + "; wait until that is done, or call it off"),
               choice);
}

// NODE_NOT_FOUND, REPLICA_NOT_FOUND.
Status CheckHasReplica(const PartitionChoice& choice, NodeId node, const Image& image) {
  if (Result<const Node*> found = SelectNode(node, image); !found.ok()) return found.status();
  if (choice.partition->WantedOn(node).valid()) return {};
  return About(Refuse(Refusal::kReplicaNotFound, "node " + std::to_string(node.value()) + " has no replica of partition " + choice.name() +
                                                     "; nodes " + NodesOf(choice.partition->replicas) + " have"),
               choice)
      .With("node_id", node.value());
}

// --- moving

// REPLICA_EXISTS, NODE_NOT_FOUND, NOT_ENOUGH_NODES, LIMIT_EXCEEDED.
Status CheckTarget(const PartitionChoice& choice, NodeId to, const Image& image) {
  const Result<const Node*> node = SelectNode(to, image);
  if (!node.ok()) return node.status();
  if (choice.partition->ReplicaOn(to).valid()) {
    return About(Refuse(Refusal::kReplicaExists,
                        "node " + std::to_string(to.value()) + " has a replica of partition " + choice.name() + "; choose another one"),
                 choice)
        .With("node_id", to.value());
  }
  if (!(*node)->takes_replicas()) {
    return Refuse(Refusal::kNotEnoughNodes, Describe(**node) + ((*node)->alive ? " is being decommissioned" : " is dead") +
                                                " and takes no replicas; choose another one")
        .With("replication_factor", choice.topic->replication_factor)
        .With("live_nodes", image.NodesForReplicas().size());
  }
  const uint64_t replicas = image.LoadOf(to).replicas;
  if (replicas < limits::kReplicasPerNodeMax) return {};
  return Status(Reason::kLimitExceeded, "node " + std::to_string(to.value()) + " has " + std::to_string(replicas) +
                                            " replicas; the limit is " + std::to_string(limits::kReplicasPerNodeMax))
      .With("field", "to_node_id")
      .With("limit", limits::kReplicasPerNodeMax)
      .With("value", replicas + 1);
}

// NOT_ENOUGH_NODES, LIMIT_EXCEEDED.
Result<NodeId> BestTarget(const PartitionChoice& choice, NodeId from, const Image& image, const Context& context) {
  const NodeId best = PlaceInstead(image, *choice.topic, *choice.partition, {.from = from, .seed = context.seed});
  if (best != NodeId{}) return best;
  const std::vector<const Node*> takers = image.NodesForReplicas();
  const auto full =
      std::find_if(takers.begin(), takers.end(), [&](const Node* node) { return !choice.partition->ReplicaOn(node->id).valid(); });
  if (full != takers.end()) return CheckTarget(choice, (*full)->id, image);
  return Status(Refuse(Refusal::kNotEnoughNodes, "no node can take a replica of partition " + choice.name() + ": of " +
                                                     std::to_string(image.nodes.size()) + " nodes " + std::to_string(takers.size()) +
                                                     " are alive and in use, and each of these has one; add a node"))
      .With("replication_factor", choice.topic->replication_factor)
      .With("live_nodes", takers.size());
}

Result<Decision> Move(const MoveReplica& request, const Image& image, const Context& context) {
  const Result<PartitionChoice> choice = SelectPartition(request.topic, request.partition, image);
  if (!choice.ok()) return choice.status();
  const Partition& partition = *choice->partition;
  FLOTILLA_RETURN_IF_ERROR(CheckSettled(*choice));
  FLOTILLA_RETURN_IF_ERROR(CheckHasReplica(*choice, request.from, image));
  NodeId to = request.to;
  if (to != NodeId{}) {
    FLOTILLA_RETURN_IF_ERROR(CheckTarget(*choice, to, image));
  } else {
    const Result<NodeId> best = BestTarget(*choice, request.from, image, context);
    if (!best.ok()) return best.status();
    to = *best;
  }
  if (!HasLivingMajority(image, partition)) {
    return QuorumAtRisk({choice->name()}, "no majority of its replicas is alive, so that it cannot be moved; start its nodes first");
  }
  return Decision{.records = {RetargetOf(image, partition, NodesWith(partition, request.from, to), MoveCause::kRequested, context.now_ms)},
                  .outcome = {.node = to, .topic = choice->topic->id}};
}

// --- rebuilding

Result<Decision> Rebuild(const RebuildReplica& request, const Image& image, const Context& context) {
  const Result<PartitionChoice> choice = SelectPartition(request.topic, request.partition, image);
  if (!choice.ok()) return choice.status();
  const Partition& partition = *choice->partition;
  FLOTILLA_RETURN_IF_ERROR(CheckSettled(*choice));
  FLOTILLA_RETURN_IF_ERROR(CheckHasReplica(*choice, request.node, image));
  std::vector<ReplicaId> others = partition.replicas;
  std::erase(others, partition.WantedOn(request.node));
  if (2 * Living(image, others) <= partition.replicas.size()) {
    return QuorumAtRisk({choice->name()}, "its living replicas on other nodes than " + std::to_string(request.node.value()) +
                                              " are no majority, so that nothing could be rebuilt from them");
  }
  return Decision{.records = {RebuildOf(partition, request.node, MoveCause::kRebuild, context.now_ms)},
                  .outcome = {.node = request.node, .topic = choice->topic->id}};
}

// --- calling off

// Whether all replicas from before the change are there: a rebuilt one is not.
bool CanGoBack(const Partition& partition) {
  const std::vector<ReplicaId>& settled = partition.movement->settled;
  return std::all_of(settled.begin(), settled.end(),
                     [&](const ReplicaId& replica) { return partition.ReplicaOn(replica.node) == replica; });
}

Record WayBack(const Image& image, const Partition& partition, int64_t now_ms) {
  std::vector<NodeId> nodes;
  for (const ReplicaId& replica : partition.movement->settled) nodes.push_back(replica.node);
  return RetargetOf(image, partition, nodes, MoveCause::kCancelled, now_ms);
}

Result<Decision> Cancel(const CancelMove& request, const Image& image, const Context& context) {
  const Result<PartitionChoice> choice = SelectPartition(request.topic, request.partition, image);
  if (!choice.ok()) return choice.status();
  const Partition& partition = *choice->partition;
  std::string why;
  if (!partition.movement) {
    why = "no change of the replicas of partition " + choice->name() + " is under way";
  } else if (partition.movement->cause == MoveCause::kCancelled) {
    why = "the change of the replicas of partition " + choice->name() + " is being called off already";
  } else if (partition.movement->cause == MoveCause::kRebuild || !CanGoBack(partition)) {
    // Or replicas, where one went on alone: without them it would stand alone again.
    why = "partition " + choice->name() + " has a replica rebuilt; what that replaces is gone, so that there is no way back";
  }
  if (!why.empty()) return About(Refuse(Refusal::kMoveNotFound, why), *choice);
  return Decision{.records = {WayBack(image, partition, context.now_ms)}, .outcome = {.topic = choice->topic->id}};
}

// The image with a record that fits it.
Shared<Image> With(const Image& image, const Record& record) {
  ImageBuilder builder(image, RecordSource::kLog);
  const Status status = builder.Apply(record);
  CHECK(status.ok()) << status;
  return *builder.Finish(image.version);
}

}  // namespace

Result<Decision> DecideMove(const MoveReplica& request, const Image& image, const Context& context) {
  Fingerprint fingerprint = FingerprintOf("move_replica", request.topic, request.partition);
  fingerprint.Add(request.from.value()).Add(request.to.value());
  return DecideOnce({request.tag, fingerprint.value()}, image, context, [&] { return Move(request, image, context); });
}

Result<Decision> DecideRebuild(const RebuildReplica& request, const Image& image, const Context& context) {
  Fingerprint fingerprint = FingerprintOf("rebuild_replica", request.topic, request.partition);
  fingerprint.Add(request.node.value());
  return DecideOnce({request.tag, fingerprint.value()}, image, context, [&] { return Rebuild(request, image, context); });
}

Result<Decision> DecideMoveCancellation(const CancelMove& request, const Image& image, const Context& context) {
  const Fingerprint fingerprint = FingerprintOf("cancel_move", request.topic, request.partition);
  return DecideOnce({request.tag, fingerprint.value()}, image, context, [&] { return Cancel(request, image, context); });
}

Result<Decision> DecideSettled(const SettleReplicas& request, const Image& image) {
  FLOTILLA_RETURN_IF_ERROR(CheckInitialized(image));
  const Partition* partition = image.FindPartition(request.group);
  if (partition == nullptr) {
    return Refuse(Refusal::kPartitionNotFound,
                  "no partition has group " + std::to_string(request.group.value()) + "; its topic was deleted");
  }
  Decision decision{.records = {}, .outcome = {.cluster = image.cluster->id}};
  std::vector<ReplicaId> wanted = partition->replicas;
  std::vector<ReplicaId> voters = request.voters;
  std::sort(wanted.begin(), wanted.end());
  std::sort(voters.begin(), voters.end());
  if (!partition->movement || request.placement_epoch != partition->placement_epoch || voters != wanted) {
    decision.outcome.repeated = true;
    return decision;
  }
  Record out;
  out.mutable_replicas_settled()->set_group_id(request.group.value());
  out.mutable_replicas_settled()->set_placement_epoch(request.placement_epoch);
  decision.records.push_back(std::move(out));
  return decision;
}

Record RetargetOf(const Image& image, const Partition& partition, const std::vector<NodeId>& nodes, MoveCause cause, int64_t now_ms) {
  std::vector<ReplicaId> replicas;
  uint64_t next_incarnation = partition.next_incarnation;
  for (const NodeId node : nodes) {
    const ReplicaId existing = partition.ReplicaOn(node);
    replicas.push_back(existing.valid() ? existing : ReplicaId{node, next_incarnation++});
  }
  const auto takes = [&](NodeId id) {
    const Node* node = image.FindNode(id);
    return node != nullptr && node->takes_leaders();
  };
  const NodeId leader =
      LeaderAmong(nodes, partition.preferred_leader, takes, [&](NodeId id) { return image.LoadOf(id).preferred_leaders; });
  return TargetOf(partition, replicas, leader, cause, now_ms);
}

Record RebuildOf(const Partition& partition, NodeId node, MoveCause cause, int64_t now_ms) {
  std::vector<ReplicaId> replicas = partition.replicas;
  for (ReplicaId& replica : replicas) {
    if (replica.node == node) replica.incarnation = partition.next_incarnation;
  }
  return TargetOf(partition, replicas, partition.preferred_leader, cause, now_ms);
}

std::vector<NodeId> NodesWith(const Partition& partition, NodeId from, NodeId to) {
  std::vector<NodeId> nodes;
  for (const ReplicaId& replica : partition.replicas) nodes.push_back(replica.node == from ? to : replica.node);
  return nodes;
}

std::vector<Record> CallOff(const Image& image, int64_t now_ms, const std::function<bool(const Partition&)>& which) {
  std::vector<Record> records;
  // Each sees where the ones before it will be led.
  Shared<Image> after = std::make_shared<const Image>(image);
  image.moving.ForEach([&](GroupId group, MoveCause cause) {
    const Partition& partition = *image.FindPartition(group);
    if (cause == MoveCause::kCancelled || !CanGoBack(partition) || !which(partition)) return;
    records.push_back(WayBack(*after, partition, now_ms));
    after = With(*after, records.back());
  });
  return records;
}

bool HasLivingMajority(const Image& image, const Partition& partition) {
  const auto decides = [&](const std::vector<ReplicaId>& replicas) { return 2 * Living(image, replicas) > replicas.size(); };
  return decides(partition.replicas) && (!partition.movement || decides(partition.movement->settled));
}

Status QuorumAtRisk(const std::vector<std::string>& partitions, const std::string& why) {
  const bool one = partitions.size() == 1;
  return Refuse(Refusal::kQuorumAtRisk,
                (one ? "partition " : std::to_string(partitions.size()) + " partitions, ") + NamesOf(partitions) + ": " + why)
      .With("partitions", FirstNames(partitions))
      .With("partition_count", partitions.size());
}

}  // namespace flotilla::metadata
