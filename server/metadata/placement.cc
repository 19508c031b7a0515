#include "server/metadata/placement.h"

#include <algorithm>
#include <tuple>

#include "server/metadata/limits.h"

namespace flotilla::metadata {
namespace {

uint64_t Mix(uint64_t z) {
  z += 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// Decides between nodes that are alike, differently for each partition.
uint64_t Lot(uint64_t seed, size_t partition, NodeId node) { return Mix(Mix(seed ^ partition) ^ node.value()); }

class Placer {
 public:
  Placer(std::vector<PlacementNode> nodes, const PlacementRequest& request) : nodes_(std::move(nodes)), request_(request) {}

  // One more place beside those that are taken; null: there is no room.
  const PlacementNode* PlaceBeside(const std::vector<PlacementNode*>& taken) { return BestReplica(taken, 0); }

  // The nodes for one partition; fewer than asked for when there is no room.
  std::vector<NodeId> Place(size_t partition) {
    std::vector<PlacementNode*> chosen;
    while (chosen.size() < request_.replication_factor) {
      PlacementNode* node = BestReplica(chosen, partition);
      if (node == nullptr) return {};
      chosen.push_back(node);
    }
    std::iter_swap(chosen.begin(), BestLeader(chosen, partition));
    ++chosen.front()->load.preferred_leaders;
    ++chosen.front()->topic.preferred_leaders;
    std::vector<NodeId> ids;
    for (PlacementNode* node : chosen) {
      ++node->load.replicas;
      ++node->topic.replicas;
      ids.push_back(node->id);
    }
    return ids;
  }

 private:
  static size_t InRackOf(const PlacementNode& node, const std::vector<PlacementNode*>& chosen) {
    if (node.rack.empty()) return 0;
    return static_cast<size_t>(
        std::count_if(chosen.begin(), chosen.end(), [&](const PlacementNode* other) { return other->rack == node.rack; }));
  }

  PlacementNode* BestReplica(const std::vector<PlacementNode*>& chosen, size_t partition) {
    const auto rank = [&](const PlacementNode& node) {
      return std::tuple(InRackOf(node, chosen), node.topic.replicas, node.load.replicas, Lot(request_.seed, partition, node.id));
    };
    PlacementNode* best = nullptr;
    for (PlacementNode& node : nodes_) {
      if (node.load.replicas >= request_.replicas_per_node_max) continue;
      if (std::find(chosen.begin(), chosen.end(), &node) != chosen.end()) continue;
      if (best == nullptr || rank(node) < rank(*best)) best = &node;
    }
    return best;
  }

  std::vector<PlacementNode*>::iterator BestLeader(std::vector<PlacementNode*>& chosen, size_t partition) const {
    const auto rank = [&](const PlacementNode* node) {
      return std::tuple(!node->leads, node->topic.preferred_leaders, node->load.preferred_leaders,
                        Lot(~request_.seed, partition, node->id));
    };
    return std::min_element(chosen.begin(), chosen.end(),
                            [&](const PlacementNode* a, const PlacementNode* b) { return rank(a) < rank(b); });
  }

  std::vector<PlacementNode> nodes_;
  const PlacementRequest request_;
};

}  // namespace

Placement PlaceReplicas(std::vector<PlacementNode> nodes, const PlacementRequest& request) {
  Placer placer(std::move(nodes), request);
  Placement placement;
  for (size_t i = 0; i < request.partitions; ++i) {
    std::vector<NodeId> replicas = placer.Place(i);
    if (replicas.empty()) return placement;
    placement.partitions.push_back(std::move(replicas));
  }
  return placement;
}

std::vector<PlacementNode> PlacementNodes(const Image& image, const Topic* topic) {
  std::vector<PlacementNode> nodes;
  for (const Node* node : image.NodesForReplicas()) {
    nodes.push_back(
        {.id = node->id, .rack = node->description.rack, .load = image.LoadOf(node->id), .topic = {}, .leads = node->takes_leaders()});
  }
  if (topic == nullptr) return nodes;
  for (const Shared<Partition>& partition : topic->partitions) {
    for (PlacementNode& node : nodes) {
      if (partition->WantedOn(node.id).valid()) ++node.topic.replicas;
      if (partition->preferred_leader == node.id) ++node.topic.preferred_leaders;
    }
  }
  return nodes;
}

NodeId PlaceInstead(const Image& image, const Topic& topic, const Partition& partition, const ReplacementRequest& request) {
  std::vector<PlacementNode> nodes = PlacementNodes(image, &topic);
  std::erase_if(nodes, [&](const PlacementNode& node) { return partition.ReplicaOn(node.id).valid(); });
  // Those that stay, for their racks.
  std::vector<PlacementNode> staying;
  for (const ReplicaId& replica : partition.replicas) {
    const Node* node = image.FindNode(replica.node);
    if (replica.node != request.from && node != nullptr)
      staying.push_back({.id = node->id, .rack = node->description.rack, .load = {}, .topic = {}});
  }
  std::vector<PlacementNode*> taken;
  for (PlacementNode& node : staying) taken.push_back(&node);
  Placer placer(std::move(nodes),
                {.partitions = 1, .replication_factor = 1, .replicas_per_node_max = limits::kReplicasPerNodeMax, .seed = request.seed});
  const PlacementNode* best = placer.PlaceBeside(taken);
  return best == nullptr ? NodeId{} : best->id;
}

}  // namespace flotilla::metadata
