#include "server/metadata/difference.h"

#include <algorithm>

namespace flotilla::metadata {
namespace {

Shared<Partition> PartitionAt(const Shared<Topic>& topic, size_t number) {
  return topic != nullptr && number < topic->partitions.size() ? topic->partitions[number] : nullptr;
}

void ComparePartitions(const Changed<Topic>& topic, std::vector<PartitionChanged>* out) {
  const size_t before = topic.before == nullptr ? 0 : topic.before->partitions.size();
  const size_t after = topic.after == nullptr ? 0 : topic.after->partitions.size();
  const Shared<Topic>& newer = topic.after != nullptr ? topic.after : topic.before;
  for (size_t number = 0; number < std::max(before, after); ++number) {
    PartitionChanged partition{newer, PartitionAt(topic.before, number), PartitionAt(topic.after, number)};
    if (partition.before != partition.after) out->push_back(std::move(partition));
  }
}

template <typename T>
Shared<T> OrNull(const Shared<T>* value) {
  return value == nullptr ? nullptr : *value;
}

}  // namespace

Difference Between(const Image& before, const Image& after) {
  Difference difference;
  difference.from = before.version;
  difference.to = after.version;
  difference.cluster_changed = before.cluster != after.cluster || before.cluster_config_version != after.cluster_config_version ||
                               before.balancing != after.balancing;
  Compare(before.nodes, after.nodes, [&](NodeId, const Shared<Node>* old_node, const Shared<Node>* new_node) {
    difference.nodes.push_back({OrNull(old_node), OrNull(new_node)});
  });
  Compare(before.topics, after.topics, [&](const Uuid&, const Shared<Topic>* old_topic, const Shared<Topic>* new_topic) {
    difference.topics.push_back({OrNull(old_topic), OrNull(new_topic)});
    ComparePartitions(difference.topics.back(), &difference.partitions);
  });
  return difference;
}

}  // namespace flotilla::metadata
