#include "server/broker/describe.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "server/errors/refusal.h"

namespace flotilla::broker {
namespace {

bool Contains(const std::vector<ReplicaId>& replicas, const ReplicaId& replica) {
  return std::find(replicas.begin(), replicas.end(), replica) != replicas.end();
}

v1::NodeMode ModeOf(metadata::NodeMode mode) {
  switch (mode) {
    case metadata::NodeMode::kActive: return v1::NODE_MODE_ACTIVE;
    case metadata::NodeMode::kDraining: return v1::NODE_MODE_DRAINING;
    case metadata::NodeMode::kDecommissioning: return v1::NODE_MODE_DECOMMISSIONING;
  }
  return v1::NODE_MODE_UNSPECIFIED;
}

}  // namespace

v1::TopicRef RefOf(const metadata::Topic& topic) {
  v1::TopicRef ref;
  ref.set_name(topic.name);
  ref.set_topic_namespace(topic.topic_namespace);
  ref.set_topic_id(topic.id.ToString());
  return ref;
}

v1::LeaderHint HintOf(const metadata::Image& image, const v1::TopicRef& topic, int32_t partition, const Leader& leader) {
  v1::LeaderHint hint;
  *hint.mutable_topic() = topic;
  hint.set_partition(partition);
  hint.set_node_id(static_cast<int32_t>(leader.node.value()));
  if (const metadata::Node* node = image.FindNode(leader.node)) hint.set_address(node->description.client_address);
  hint.set_leader_epoch(static_cast<int64_t>(leader.epoch.value()));
  return hint;
}

v1::Topic DescribeTopic(const metadata::Topic& topic, const LeaderTable& leaders) {
  v1::Topic described;
  *described.mutable_topic() = RefOf(topic);
  described.set_partition_count(static_cast<int32_t>(topic.partitions.size()));
  described.set_replication_factor(static_cast<int32_t>(topic.replication_factor));
  for (const auto& [name, value] : topic.configs) (*described.mutable_config())[name] = value;
  described.set_config_version(static_cast<int64_t>(topic.config_version));
  described.set_create_time_ms(topic.created_at_ms);
  described.set_state(v1::TOPIC_STATE_READY);
  for (const auto& partition : topic.partitions) {
    // No election was ever won: it is not in use yet. Later a partition can be leaderless, and the topic is ready.
    if (leaders.Of(partition->group).epoch.value() == 0) described.set_state(v1::TOPIC_STATE_CREATING);
  }
  return described;
}

v1::Partition DescribePartition(const metadata::Partition& partition, const LeaderTable& leaders) {
  v1::Partition described;
  const Leader leader = leaders.Of(partition.group);
  described.set_partition(static_cast<int32_t>(partition.number));
  described.set_leader_node_id(static_cast<int32_t>(leader.node.value()));
  described.set_leader_epoch(static_cast<int64_t>(leader.epoch.value()));
  described.set_moving(partition.movement.has_value());
  const auto add = [&](const ReplicaId& replica) -> v1::Replica& {
    v1::Replica& out = *described.add_replicas();
    const bool comes = partition.movement && !Contains(partition.movement->settled, replica);
    out.set_node_id(static_cast<int32_t>(replica.node.value()));
    out.set_role(comes ? v1::REPLICA_ROLE_LEARNER : v1::REPLICA_ROLE_VOTER);
    out.set_lag_entries(-1);
    return out;
  };
  for (const ReplicaId& replica : partition.replicas) {
    if (replica.node == partition.preferred_leader) add(replica);
  }
  for (const ReplicaId& replica : partition.replicas) {
    if (replica.node != partition.preferred_leader) add(replica);
  }
  if (partition.movement) {
    for (const ReplicaId& replica : partition.movement->leaving) add(replica).set_leaving(true);
  }
  return described;
}

PartitionPlace PlaceOf(GroupId group, const metadata::Image& image) {
  const metadata::PartitionKey* key = image.groups.Find(group);
  if (key == nullptr) return {};
  const metadata::Topic* topic = image.FindTopic(key->topic);
  return {.topic = topic, .partition = topic->partitions[key->partition].get()};
}

v1::PartitionRef RefOf(const PartitionPlace& place) {
  v1::PartitionRef ref;
  *ref.mutable_topic() = RefOf(*place.topic);
  ref.set_partition(static_cast<int32_t>(place.partition->number));
  return ref;
}

size_t WantedReplicas(const PartitionPlace& place) {
  return std::max<size_t>(place.partition->replicas.size(), place.topic->replication_factor);
}

v1::UnsafeRecovery DescribeSurvival(const metadata::Survival& survival) {
  v1::UnsafeRecovery recovery;
  recovery.set_time_ms(survival.at_ms);
  recovery.set_kept_node_id(static_cast<int32_t>(survival.kept.node.value()));
  for (const ReplicaId& replica : survival.lost) recovery.add_lost_node_ids(static_cast<int32_t>(replica.node.value()));
  recovery.set_lost_from_offset(static_cast<int64_t>(survival.end.value()));
  recovery.set_uncertain_from_offset(static_cast<int64_t>(survival.committed.value()));
  return recovery;
}

std::string SortKeyOf(const metadata::Topic& topic, uint32_t partition) {
  char number[16];
  std::snprintf(number, sizeof number, "/%010u", partition);
  return topic.name + number;
}

v1::TopicMetadata DescribeTopicMetadata(const metadata::Topic& topic, const LeaderTable& leaders) {
  v1::TopicMetadata described;
  *described.mutable_topic() = DescribeTopic(topic, leaders);
  for (const auto& partition : topic.partitions) *described.add_partitions() = DescribePartition(*partition, leaders);
  return described;
}

v1::Node DescribeNode(const metadata::Node& node) {
  v1::Node described;
  described.set_node_id(static_cast<int32_t>(node.id.value()));
  described.set_node_uuid(node.description.uuid.ToString());
  described.set_name(node.description.name);
  described.set_rack(node.description.rack);
  described.set_client_address(node.description.client_address);
  described.set_peer_address(node.description.peer_address);
  described.set_state(node.alive ? v1::NODE_STATE_ALIVE : v1::NODE_STATE_DEAD);
  described.set_mode(ModeOf(node.mode));
  described.set_unfit_to_lead(node.unfit_to_lead);
  described.set_join_time_ms(node.registered_at_ms);
  described.set_software_version(node.description.software_version);
  described.set_feature_level_min(static_cast<int32_t>(node.description.features.min));
  described.set_feature_level_max(static_cast<int32_t>(node.description.features.max));
  return described;
}

void AddReport(const metadata::NodeReport& report, int64_t last_seen_ms, v1::Node* node) {
  node->set_last_seen_ms(last_seen_ms);
  node->set_metadata_version(static_cast<int64_t>(report.metadata_version.value()));
  node->set_replica_count(static_cast<int32_t>(report.replicas));
  node->set_leader_count(static_cast<int32_t>(report.leaders));
  node->set_disk_total_bytes(static_cast<int64_t>(report.disk_total_bytes));
  node->set_disk_free_bytes(static_cast<int64_t>(report.disk_free_bytes));
  for (const std::string& warning : report.warnings) node->add_warnings(warning);
}

Result<metadata::TopicSelector> SelectorOf(const v1::TopicRef& ref) {
  metadata::TopicSelector selector{.topic_namespace = ref.topic_namespace(), .name = ref.name(), .id = {}};
  if (ref.topic_id().empty()) return selector;
  const std::optional<Uuid> id = Uuid::FromText(ref.topic_id());
  if (!id) {
    return Status(Reason::kInvalidArgument, "topic_id " + Quoted(ref.topic_id()) + " is no UUID; write 8-4-4-4-12 hexadecimal digits")
        .With("field", "topic.topic_id");
  }
  selector.id = *id;
  return selector;
}

Result<const metadata::Topic*> FindTopic(const v1::TopicRef& ref, const metadata::Image& image) {
  const Result<metadata::TopicSelector> selector = SelectorOf(ref);
  if (!selector.ok()) return selector.status();
  return metadata::SelectTopic(*selector, image);
}

Result<metadata::PartitionKey> FindPartition(const v1::TopicRef& ref, int32_t partition, const metadata::Image& image) {
  const Result<const metadata::Topic*> topic = FindTopic(ref, image);
  if (!topic.ok()) return topic.status();
  if (partition < 0 || static_cast<size_t>(partition) >= (*topic)->partitions.size()) {
    return Refuse(Refusal::kPartitionNotFound, "topic " + (*topic)->name + " has partitions 0 to " +
                                                   std::to_string((*topic)->partitions.size() - 1) + ", not " + std::to_string(partition))
        .With("topic", (*topic)->name)
        .With("partition", std::to_string(partition))
        .With("partition_count", (*topic)->partitions.size());
  }
  return metadata::PartitionKey{.topic = (*topic)->id, .partition = static_cast<uint32_t>(partition)};
}

Result<GroupId> FindGroup(const v1::PartitionRef& ref, const metadata::Image& image) {
  const Result<metadata::PartitionKey> key = FindPartition(ref.topic(), ref.partition(), image);
  if (!key.ok()) return key.status();
  return image.FindTopic(key->topic)->partitions[key->partition]->group;
}

}  // namespace flotilla::broker
