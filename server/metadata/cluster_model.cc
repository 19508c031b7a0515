#include "server/metadata/cluster_model.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "server/metadata/moves.h"
#include "server/metadata/topic_rules.h"

namespace flotilla::metadata {
namespace {

bool Holds(const std::vector<size_t>& numbers, size_t number) { return std::find(numbers.begin(), numbers.end(), number) != numbers.end(); }

}  // namespace

bool ClusterModel::PartitionRow::WantedOn(size_t node) const { return Holds(wanted, node); }
bool ClusterModel::PartitionRow::LeavesFrom(size_t node) const { return Holds(leaving, node); }
std::string ClusterModel::PartitionRow::name() const { return PartitionName(*topic, *partition); }

ClusterModel::ClusterModel(const Image& image, const GroupSizes& sizes, const ClusterModelOptions& options) : options_(options) {
  AddNodes(image);
  image.topics.ForEach([&](const Uuid&, const Shared<Topic>& topic) {
    topic_replicas_.emplace_back(nodes_.size());
    for (const Shared<Partition>& partition : topic->partitions) AddPartition(*topic, *partition);
  });
  std::sort(partitions_.begin(), partitions_.end(),
            [](const PartitionRow& a, const PartitionRow& b) { return a.partition->group < b.partition->group; });
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
  for (NodeRow& node : nodes_) {
    std::sort(node.partitions.begin(), node.partitions.end(), [this](size_t a, size_t b) { return Before(a, b); });
  }
}

bool ClusterModel::Before(size_t a, size_t b) const {
  return partitions_[a].weight != partitions_[b].weight ? partitions_[a].weight > partitions_[b].weight : a < b;
}

void ClusterModel::AddNodes(const Image& image) {
  std::map<std::string_view, size_t> racks;
  node_numbers_.resize(image.next_node.value());
  image.nodes.ForEach([&](NodeId id, const Shared<Node>& node) {
    const NodeLoad load = image.LoadOf(id);
    const std::string& rack = node->description.rack;
    node_numbers_[id.value()] = nodes_.size();
    has_racks_ |= !rack.empty();
    nodes_.push_back({.node = node.get(),
                      .rack = rack.empty() ? 0 : racks.try_emplace(rack, racks.size() + 1).first->second,
                      .partitions = {},
                      .weight = 0,
                      .replicas = load.replicas,
                      .leaders = load.preferred_leaders,
                      .receiving = 0});
  });
}

void ClusterModel::AddPartition(const Topic& topic, const Partition& partition) {
  PartitionRow row{.topic = &topic,
                   .partition = &partition,
                   .topic_number = topic_replicas_.size() - 1,
                   .wanted = NodesOf(partition.replicas),
                   .leaving = {},
                   .preferred = NodeOf(partition.preferred_leader),
                   .settled = !partition.movement,
                   .decides = Decides(partition.replicas)};
  if (partition.movement) {
    row.leaving = NodesOf(partition.movement->leaving);
    row.decides = row.decides && Decides(partition.movement->settled);
  }
  partitions_.push_back(std::move(row));
}

std::vector<size_t> ClusterModel::NodesOf(const std::vector<ReplicaId>& replicas) const {
  std::vector<size_t> numbers;
  numbers.reserve(replicas.size());
  for (const ReplicaId& replica : replicas) numbers.push_back(NodeOf(replica.node));
  return numbers;
}

bool ClusterModel::Decides(const std::vector<ReplicaId>& replicas) const {
  size_t living = 0;
  for (const ReplicaId& replica : replicas) living += nodes_[NodeOf(replica.node)].node->alive ? 1 : 0;
  return 2 * living > replicas.size();
}

void ClusterModel::CountReceiving(const PartitionRow& row) {
  if (!row.partition->movement) return;
  for (const ReplicaId& replica : row.partition->NewReplicas()) ++nodes_[NodeOf(replica.node)].receiving;
}

size_t ClusterModel::PartitionOf(GroupId group) const {
  const auto at = std::lower_bound(partitions_.begin(), partitions_.end(), group,
                                   [](const PartitionRow& row, GroupId wanted) { return row.partition->group < wanted; });
  CHECK(at != partitions_.end() && at->partition->group == group) << group;
  return static_cast<size_t>(at - partitions_.begin());
}

size_t ClusterModel::Crowd(const PartitionRow& row, size_t node, size_t from) const {
  const size_t rack = nodes_[node].rack;
  if (rack == 0) return 0;
  size_t crowd = 0;
  for (const size_t other : row.wanted) crowd += other != node && other != from && nodes_[other].rack == rack ? 1 : 0;
  return crowd;
}

void ClusterModel::Move(const ReplicaMove& move) {
  PartitionRow& row = partitions_[move.partition];
  CHECK(row.WantedOn(move.from) && !row.WantedOn(move.to)) << row.name();
  NodeRow& from = nodes_[move.from];
  NodeRow& to = nodes_[move.to];
  ++moves_;
  // In other racks there may be room now for what had none; in the same one there is none but for what goes
  // back.
  if (from.rack != to.rack) {
    for (const size_t node : row.wanted) nodes_[node].touched = moves_;
  }
  std::replace(row.wanted.begin(), row.wanted.end(), move.from, move.to);
  std::erase(from.partitions, move.partition);
  const auto place =
      std::lower_bound(to.partitions.begin(), to.partitions.end(), move.partition, [this](size_t a, size_t b) { return Before(a, b); });
  to.partitions.insert(place, move.partition);
  to.touched = moves_;
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
