#include "server/metadata/node_changes.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "server/metadata/limits.h"
#include "server/metadata/moves.h"
#include "server/metadata/node_rules.h"
#include "server/metadata/replay.h"
#include "server/metadata/request_memory.h"

namespace flotilla::metadata {
namespace {

Record ModeChangeOf(NodeId node, NodeMode mode, int64_t now_ms) {
  Record out;
  record::NodeModeChanged& record = *out.mutable_node_mode_changed();
  record.set_node_id(node.value());
  record.set_mode(RecordOf(mode));
  record.set_changed_at_ms(now_ms);
  return out;
}

Record RemovalOf(NodeId node) {
  Record out;
  out.mutable_node_removed()->set_node_id(node.value());
  return out;
}

// `visit(topic, partition)` for each partition that shall have a replica on the node, by group.
template <typename Visit>
void ForEachWantedOn(const Image& image, NodeId node, Visit visit) {
  image.ForEachReplicaOn(node, [&](GroupId group, const ReplicaId&) {
    const PartitionKey& key = *image.groups.Find(group);
    const Topic& topic = *image.FindTopic(key.topic);
    const Partition& partition = *topic.partitions[key.partition];
    if (partition.WantedOn(node).valid()) visit(topic, partition);
  });
}

// --- draining

Status CheckAnotherLeads(const Node& node, const Image& image) {
  size_t others = 0;
  image.nodes.ForEach([&](NodeId id, const Shared<Node>& other) { others += id != node.id && other->in_use() ? 1 : 0; });
  if (others > 0) return {};
  return Refuse(Refusal::kNotEnoughNodes, "no other node than " + Describe(node) +
                                              " is alive and in use, so that nobody could lead in its place; "
                                              "start another one, or undrain it")
      .With("replication_factor", uint64_t{1})
      .With("live_nodes", others);
}

// --- decommissioning

// NOT_ENOUGH_NODES: a topic has more replicas than nodes would be in use, or no living node could take one of
// `node`.
Status CheckPlaces(const Node& node, const Image& image) {
  const size_t left = image.NodesInUse() - (node.mode == NodeMode::kDecommissioning ? 0 : 1);
  std::vector<const Node*> takers = image.NodesForReplicas();
  std::erase_if(takers, [&](const Node* taker) { return taker->id == node.id; });
  std::set<std::string> topics;
  uint32_t replicas = 1;
  const auto refuse = [&](const Topic& topic) {
    topics.insert(Quoted(topic.name));
    replicas = std::max(replicas, topic.replication_factor);
  };
  image.topics.ForEach([&](const Uuid&, const Shared<Topic>& topic) {
    if (topic->replication_factor > left) refuse(*topic);
  });
  ForEachWantedOn(image, node.id, [&](const Topic& topic, const Partition& partition) {
    const bool has_place =
        std::any_of(takers.begin(), takers.end(), [&](const Node* taker) { return !partition.WantedOn(taker->id).valid(); });
    if (!has_place) refuse(topic);
  });
  if (topics.empty()) return {};
  const bool one = topics.size() == 1;
  return Refuse(Refusal::kNotEnoughNodes, "without " + Describe(node) + " there are " + std::to_string(left) + " nodes in use, " +
                                              std::to_string(takers.size()) + " of them alive: too few for the replicas of " +
                                              (one ? "topic " : std::to_string(topics.size()) + " topics, ") +
                                              NamesOf({topics.begin(), topics.end()}) + "; add or start a node first")
      .With("replication_factor", replicas)
      .With("live_nodes", takers.size());
}

// QUORUM_AT_RISK: what cannot decide anything cannot be moved.
Status CheckQuorums(const Node& node, const Image& image) {
  std::vector<std::string> stuck;
  ForEachWantedOn(image, node.id, [&](const Topic& topic, const Partition& partition) {
    if (!HasLivingMajority(image, partition)) stuck.push_back(PartitionName(topic, partition));
  });
  if (stuck.empty()) return {};
  return QuorumAtRisk(stuck, "no majority of the replicas is alive, so that those of node " + std::to_string(node.id.value()) +
                                 " cannot be moved; start their nodes first, or give the partitions up");
}

// LIMIT_EXCEEDED: the others have no room.
Status CheckRoom(const Node& node, const Image& image) {
  uint64_t room = 0;
  for (const Node* taker : image.NodesForReplicas()) {
    const uint64_t replicas = image.LoadOf(taker->id).replicas;
    if (taker->id != node.id && replicas < limits::kReplicasPerNodeMax) room += limits::kReplicasPerNodeMax - replicas;
  }
  uint64_t replicas = 0;
  ForEachWantedOn(image, node.id, [&](const Topic&, const Partition&) { ++replicas; });
  if (replicas <= room) return {};
  return Status(Reason::kLimitExceeded, Describe(node) + " has " + std::to_string(replicas) + " replicas, and the others have room for " +
                                            std::to_string(room) + "; a node holds at most " + std::to_string(limits::kReplicasPerNodeMax) +
                                            ". Add nodes first")
      .With("field", "node_id")
      .With("limit", room)
      .With("value", replicas);
}

Status CheckDecommission(const Node& node, const Image& image) {
  FLOTILLA_RETURN_IF_ERROR(CheckAnotherLeads(node, image));
  FLOTILLA_RETURN_IF_ERROR(CheckPlaces(node, image));
  FLOTILLA_RETURN_IF_ERROR(CheckQuorums(node, image));
  return CheckRoom(node, image);
}

// --- back into use

Status CheckUndrain(const ChangeNodeMode& request, const Node& node) {
  if (node.mode != NodeMode::kDecommissioning || request.recommission) return {};
  return Refuse(Refusal::kNodeDecommissioning, Describe(node) + " is being decommissioned, not drained; recommission it to call that off")
      .With("node_id", node.id.value());
}

// The mode, and then the moves that are called off: the node may lead again what comes back.
std::vector<Record> Recommission(const Node& node, const Image& image, int64_t now_ms) {
  std::vector<Record> records = {ModeChangeOf(node.id, NodeMode::kActive, now_ms)};
  ImageBuilder builder(image, RecordSource::kLog);
  const Status status = builder.Apply(records.front());
  CHECK(status.ok()) << status;
  const Shared<Image> after = *builder.Finish(image.version);
  std::vector<Record> called_off = CallOff(*after, now_ms, [&](const Partition& partition) {
    const auto& settled = partition.movement->settled;
    return partition.movement->cause == MoveCause::kDecommission && !partition.WantedOn(node.id).valid() &&
           std::any_of(settled.begin(), settled.end(), [&](const ReplicaId& replica) { return replica.node == node.id; });
  });
  std::move(called_off.begin(), called_off.end(), std::back_inserter(records));
  return records;
}

Status CheckMode(const ChangeNodeMode& request, const Node& node, const Image& image) {
  switch (request.mode) {
    case NodeMode::kActive: return CheckUndrain(request, node);
    case NodeMode::kDraining: return CheckAnotherLeads(node, image);
    case NodeMode::kDecommissioning: return CheckDecommission(node, image);
  }
  return {};
}

}  // namespace

Result<Decision> DecideNodeMode(const ChangeNodeMode& request, const Image& image, const Context& context) {
  FLOTILLA_RETURN_IF_ERROR(CheckInitialized(image));
  const Result<const Node*> found = SelectNode(request.node, image);
  if (!found.ok()) return found.status();
  const Node& node = **found;
  Decision decision{.records = {}, .outcome = {.cluster = image.cluster->id, .node = node.id}};
  const bool drained_anyway = request.mode == NodeMode::kDraining && node.mode == NodeMode::kDecommissioning;
  if (node.mode == request.mode || drained_anyway) {
    decision.outcome.repeated = true;
    return decision;
  }
  FLOTILLA_RETURN_IF_ERROR(CheckMode(request, node, image));
  if (request.validate_only) return decision;
  decision.records = request.mode == NodeMode::kActive ? Recommission(node, image, context.now_ms)
                                                       : std::vector<Record>{ModeChangeOf(node.id, request.mode, context.now_ms)};
  return decision;
}

Result<Decision> DecideNodeRemoval(const RemoveNode& request, const Image& image, const Context& context) {
  FLOTILLA_RETURN_IF_ERROR(CheckInitialized(image));
  const Result<const Node*> found = SelectNode(request.node, image);
  if (!found.ok()) return found.status();
  const Node& node = **found;
  if (node.alive) {
    return Refuse(Refusal::kNodeAlive, Describe(node) + " is alive; decommission it, or stop it and wait until it is seen to be dead")
        .With("node_id", node.id.value());
  }
  if (image.LoadOf(node.id).replicas != 0) {
    return DecideNodeMode({.node = node.id, .mode = NodeMode::kDecommissioning, .validate_only = request.validate_only}, image, context);
  }
  Decision decision{.records = {}, .outcome = {.cluster = image.cluster->id, .node = node.id}};
  if (!request.validate_only) decision.records.push_back(RemovalOf(node.id));
  return decision;
}

std::vector<Record> RemovalsDue(const Image& image, const std::vector<NodeId>& metadata_voters) {
  std::vector<Record> due;
  image.nodes.ForEach([&](NodeId id, const Shared<Node>& node) {
    const bool votes = std::find(metadata_voters.begin(), metadata_voters.end(), id) != metadata_voters.end();
    if (node->mode == NodeMode::kDecommissioning && image.LoadOf(id).replicas == 0 && !votes) due.push_back(RemovalOf(id));
  });
  return due;
}

}  // namespace flotilla::metadata
