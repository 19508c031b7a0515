#include "server/metadata/cluster_model.h"

#include <glog/logging.h>

#include <algorithm>

#include "server/metadata/moves.h"
#include "server/metadata/topic_rules.h"

namespace flotilla::metadata {
namespace {

bool Holds(const std::vector<size_t>& numbers, size_t number) {
  return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
}

}  // namespace

bool ClusterModel::PartitionRow::WantedOn(size_t node) const { return Holds(wanted, node); }
bool ClusterModel::PartitionRow::LeavesFrom(size_t node) const { return Holds(leaving, node); }
std::string ClusterModel::PartitionRow::name() const { return PartitionName(*topic, *partition); }

ClusterModel::ClusterModel(const Image& image, const GroupSizes& sizes, const ClusterModelOptions& options)
    : options_(options) {
  AddNodes(image);
  image.topics.ForEach([&](const Uuid&, const Shared<Topic>& topic) {
    topic_replicas_.emplace_back(nodes_.size());
    for (const Shared<Partition>& partition : topic->partitions) AddPartition(image, *topic, *partition);
  });
  std::sort(partitions_.begin(), partitions_.end(), [](const PartitionRow& a, const PartitionRow& b) {
    return a.partition->group < b.partition->group;
  });
  for (size_t number = 0; number < partitions_.size(); ++number) {
    PartitionRow& row = partitions_[number];
    const auto size = sizes.find(row.partition->group);
    row.bytes = size == sizes.end() ? 0 : size->second;
    row.weight = row.bytes + options_.replica_cost_bytes;
    for (const size_t node : row.wanted) {
      nodes_[node].partitions.push_back(number);
      nodes_[node].weight += row.weight;
      ++topic_replicas_[row.topic_number][node];
    }
    CountReceiving(row);
  }
}

void ClusterModel::AddNodes(const Image& image) {
  image.nodes.ForEach([&](NodeId id, const Shared<Node>& node) {
    const NodeLoad load = image.LoadOf(id);
    node_numbers_.emplace(id, nodes_.size());
    nodes_.push_back({.node = node.get(),
                      .partitions = {},
                      .weight = 0,
                      .replicas = load.replicas,
                      .leaders = load.preferred_leaders,
                      .receiving = 0});
  });
}

void ClusterModel::AddPartition(const Image& image, const Topic& topic, const Partition& partition) {
  PartitionRow row{.topic = &topic,
                   .partition = &partition,
                   .topic_number = topic_replicas_.size() - 1,
                   .wanted = {},
                   .leaving = {},
                   .preferred = NodeOf(partition.preferred_leader),
                   .settled = !partition.movement,
                   .decides = HasLivingMajority(image, partition)};
  for (const ReplicaId& replica : partition.replicas) row.wanted.push_back(NodeOf(replica.node));
  if (partition.movement) {
    for (const ReplicaId& replica : partition.movement->leaving) row.leaving.push_back(NodeOf(replica.node));
  }
  partitions_.push_back(std::move(row));
}

void ClusterModel::CountReceiving(const PartitionRow& row) {
  if (!row.partition->movement) return;
  for (const ReplicaId& replica : row.partition->NewReplicas()) ++nodes_[NodeOf(replica.node)].receiving;
}

size_t ClusterModel::PartitionOf(GroupId group) const {
  const auto at = std::lower_bound(
      partitions_.begin(), partitions_.end(), group,
      [](const PartitionRow& row, GroupId wanted) { return row.partition->group < wanted; });
  CHECK(at != partitions_.end() && at->partition->group == group) << group;
  return static_cast<size_t>(at - partitions_.begin());
}

size_t ClusterModel::Crowd(const PartitionRow& row, size_t node, size_t from) const {
  const std::string& rack = nodes_[node].node->description.rack;
  if (rack.empty()) return 0;
  return static_cast<size_t>(std::count_if(row.wanted.begin(), row.wanted.end(), [&](size_t other) {
    return other != node && other != from && nodes_[other].node->description.rack == rack;
  }));
}

void ClusterModel::Move(const ReplicaMove& move) {
  PartitionRow& row = partitions_[move.partition];
  CHECK(row.WantedOn(move.from) && !row.WantedOn(move.to)) << row.name();
  NodeRow& from = nodes_[move.from];
  NodeRow& to = nodes_[move.to];
  std::replace(row.wanted.begin(), row.wanted.end(), move.from, move.to);
  std::erase(from.partitions, move.partition);
  to.partitions.push_back(move.partition);
  from.weight -= row.weight;
  to.weight += row.weight;
  --topic_replicas_[row.topic_number][move.from];
  ++topic_replicas_[row.topic_number][move.to];
  if (std::erase(row.leaving, move.to) == 0) {
    ++to.replicas;
    if (!options_.settles_at_once) ++to.receiving;
  }
  if (options_.settles_at_once) {
    --from.replicas;
  } else {
    row.leaving.push_back(move.from);
    row.settled = false;
  }
  if (row.preferred != move.from) return;
  --from.leaders;
  row.preferred = LeaderAmong(
      row.wanted, move.from, [&](size_t node) { return nodes_[node].node->takes_leaders(); },
      [&](size_t node) { return nodes_[node].leaders; });
  ++nodes_[row.preferred].leaders;
}

void ClusterModel::Prefer(size_t partition, size_t node) {
  PartitionRow& row = partitions_[partition];
  CHECK(row.WantedOn(node)) << row.name();
  --nodes_[row.preferred].leaders;
  ++nodes_[node].leaders;
  row.preferred = node;
}

}  // namespace flotilla::metadata
