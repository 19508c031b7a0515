#include "server/metadata/partition_plan.h"

#include <algorithm>
#include <map>

#include "server/metadata/topic_rules.h"

namespace flotilla::metadata {
namespace {

PartitionKey KeyOf(const Topic& topic, const Partition& partition) { return {topic.id, partition.number}; }

// Who asks for votes first. All replicas come to the same answer.
NodeId FirstLeader(const Image& image, const Partition& partition) {
  const auto first_that = [&](bool (*fits)(const Node&)) {
    std::vector<NodeId> candidates = {partition.preferred_leader};
    for (const ReplicaId& replica : partition.replicas) candidates.push_back(replica.node);
    for (const NodeId id : candidates) {
      const Node* node = image.FindNode(id);
      if (node != nullptr && fits(*node)) return id;
    }
    return NodeId{};
  };
  if (const NodeId fit = first_that([](const Node& node) { return node.takes_leaders(); }); fit != NodeId{}) return fit;
  const NodeId living = first_that([](const Node& node) { return node.alive; });
  return living != NodeId{} ? living : partition.preferred_leader;
}

// The first members of the group, as long as nobody but a rebuilt one of them can be missing: those of a
// partition whose settled replicas are all in their first life. Empty: others took their places.
std::vector<ReplicaId> FirstMembers(const Partition& partition) {
  const std::vector<ReplicaId>& settled = partition.movement ? partition.movement->settled : partition.replicas;
  const bool first = std::all_of(settled.begin(), settled.end(), [](const ReplicaId& replica) { return replica.incarnation == 0; });
  return first ? settled : std::vector<ReplicaId>();
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
  if (before.valid()) plan->destroy.push_back(DestroyReplica{change.before->group, before});
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

bool IsGone(const Image& image, GroupId group, ReplicaId stored) {
  if (group >= image.next_group) return false;
  const Partition* partition = image.FindPartition(group);
  if (partition == nullptr) return true;
  return stored.incarnation < partition->next_incarnation && partition->ReplicaOn(stored.node) != stored;
}

CreateReplica PlanReplica(const Image& image, const Topic& topic, const Partition& partition, NodeId self) {
  const ReplicaId replica = partition.ReplicaOn(self);
  const std::vector<ReplicaId> first = FirstMembers(partition);
  raft::Configuration configuration;
  if (std::find(first.begin(), first.end(), replica) != first.end()) configuration.voters = first;
  configuration.Normalize();
  const bool campaigns = partition.placement_epoch == 0 && FirstLeader(image, partition) == self;
  return {.group = {.group = partition.group,
                    .identity = {.self = replica, .label = PartitionName(topic, partition)},
                    .configuration = std::move(configuration),
                    .campaign = campaigns},
          .partition = KeyOf(topic, partition)};
}

std::vector<PartitionAction> PlanStart(const Image& image, NodeId self, std::span<const StoredReplica> stored) {
  std::map<GroupId, ReplicaId> in_store;
  for (const StoredReplica& replica : stored) in_store.emplace(replica.group, replica.self);
  Plan plan;
  for (const auto& [group, replica] : in_store) {
    if (IsGone(image, group, replica)) plan.destroy.push_back(DestroyReplica{group, replica});
  }
  image.ForEachReplicaOn(self, [&](GroupId group, const ReplicaId& replica) {
    const Topic& topic = *image.FindTopic(image.groups.Find(group)->topic);
    const Partition& partition = *image.FindPartition(group);
    const auto at = in_store.find(group);
    if (at != in_store.end() && at->second == replica) {
      const bool alone = partition.Existing() == std::vector{replica};
      plan.create.push_back(OpenReplica{group, KeyOf(topic, partition), alone});
    } else if (at == in_store.end() || IsGone(image, group, at->second)) {
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
    if (topic.before->config_version != topic.after->config_version) PlanSettings(*topic.before, *topic.after, self, &plan);
  }
  return std::move(plan).InOrder();
}

}  // namespace flotilla::metadata
