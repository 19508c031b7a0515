#include "server/metadata/partition_plan.h"

#include <algorithm>
#include <map>

namespace flotilla::metadata {
namespace {

PartitionKey KeyOf(const Topic& topic, const Partition& partition) { return {topic.id, partition.number}; }

bool Lives(const Image& image, NodeId id) {
  const Node* node = image.FindNode(id);
  return node != nullptr && node->alive;
}

// Who asks for votes first. All replicas come to the same answer.
NodeId FirstLeader(const Image& image, const Partition& partition) {
  if (Lives(image, partition.preferred_leader)) return partition.preferred_leader;
  for (const ReplicaId& replica : partition.replicas) {
    if (Lives(image, replica.node)) return replica.node;
  }
  return partition.preferred_leader;
}

struct Plan {
  std::vector<PartitionAction> destroy;
  std::vector<PartitionAction> create;
  std::vector<PartitionAction> configure;

  std::vector<PartitionAction> InOrder() && {
    std::vector<PartitionAction> actions = std::move(destroy);
    for (auto* part : {&create, &configure}) {
      std::move(part->begin(), part->end(), std::back_inserter(actions));
    }
    return actions;
  }
};

void PlanPartition(const PartitionChanged& change, const Image& after, NodeId self, Plan* plan) {
  const ReplicaId before = change.before == nullptr ? kNoReplica : change.before->ReplicaOn(self);
  const ReplicaId now = change.after == nullptr ? kNoReplica : change.after->ReplicaOn(self);
  if (before == now) return;
  if (before.valid()) plan->destroy.push_back(DestroyReplica{change.before->group});
  if (now.valid()) plan->create.push_back(PlanReplica(after, *change.topic, *change.after, self));
}

// Replicas of partitions that were there before and whose settings are others now.
void PlanSettings(const Topic& before, const Topic& after, NodeId self, Plan* plan) {
  for (size_t i = 0; i < std::min(before.partitions.size(), after.partitions.size()); ++i) {
    const Partition& partition = *after.partitions[i];
    if (!partition.ReplicaOn(self).valid()) continue;
    plan->configure.push_back(ConfigureReplica{partition.group, KeyOf(after, partition)});
  }
}

}  // namespace

CreateReplica PlanReplica(const Image& image, const Topic& topic, const Partition& partition, NodeId self) {
  raft::Configuration configuration{.voters = partition.replicas};
  configuration.Normalize();
  return {.group = {.group = partition.group,
                    .identity = {.self = partition.ReplicaOn(self),
                                 .label = topic.name + "/" + std::to_string(partition.number)},
                    .configuration = std::move(configuration),
                    .campaign = FirstLeader(image, partition) == self},
          .partition = KeyOf(topic, partition)};
}

std::vector<PartitionAction> PlanStart(const Image& image, NodeId self,
                                       std::span<const StoredReplica> stored) {
  std::map<GroupId, ReplicaId> in_store;
  for (const StoredReplica& replica : stored) in_store.emplace(replica.group, replica.self);
  Plan plan;
  for (const auto& [group, replica] : in_store) {
    const Partition* partition = image.FindPartition(group);
    const bool known = group < image.next_group;
    const bool current = partition != nullptr && partition->ReplicaOn(self) == replica;
    if (known && !current) plan.destroy.push_back(DestroyReplica{group});
  }
  image.ForEachReplicaOn(self, [&](GroupId group, const ReplicaId& replica) {
    const Topic& topic = *image.FindTopic(image.groups.Find(group)->topic);
    const Partition& partition = *image.FindPartition(group);
    const auto at = in_store.find(group);
    if (at != in_store.end() && at->second == replica) {
      plan.create.push_back(OpenReplica{group, KeyOf(topic, partition), partition.replicas.size() == 1});
    } else {
      plan.create.push_back(PlanReplica(image, topic, partition, self));
    }
  });
  return std::move(plan).InOrder();
}

std::vector<PartitionAction> PlanChange(const Image& before, const Image& after, NodeId self) {
  Plan plan;
  const Difference difference = Between(before, after);
  for (const PartitionChanged& change : difference.partitions) PlanPartition(change, after, self, &plan);
  if (before.cluster_configs != after.cluster_configs) {
    before.topics.ForEach([&](const Uuid& id, const Shared<Topic>& topic) {
      if (const Topic* now = after.FindTopic(id)) PlanSettings(*topic, *now, self, &plan);
    });
    return std::move(plan).InOrder();
  }
  for (const Changed<Topic>& topic : difference.topics) {
    if (topic.before == nullptr || topic.after == nullptr) continue;
    if (topic.before->config_version != topic.after->config_version)
      PlanSettings(*topic.before, *topic.after, self, &plan);
  }
  return std::move(plan).InOrder();
}

}  // namespace flotilla::metadata
