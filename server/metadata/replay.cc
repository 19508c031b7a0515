#include "server/metadata/replay.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "server/metadata/limits.h"

namespace flotilla::metadata {
namespace {

Status DoesNotFit(std::string message) { return Status(Reason::kReplicaFaulted, std::move(message)); }

std::string Number(uint64_t value) { return std::to_string(value); }

// What a record says of a node, as the image keeps it.
NodeDescription DescriptionOf(const record::NodeRegistered& record, const Uuid& uuid) {
  return {.uuid = uuid,
          .name = record.name(),
          .client_address = record.client_address(),
          .peer_address = record.peer_address(),
          .rack = record.rack(),
          .software_version = record.software_version(),
          .features = {.min = record.feature_level_min(), .max = record.feature_level_max()},
          .capacity = {.disk_bytes = record.capacity().disk_bytes(),
                       .memory_bytes = record.capacity().memory_bytes(),
                       .cores = record.capacity().cores()}};
}

Configs ConfigsOf(const google::protobuf::RepeatedPtrField<record::ConfigEntry>& entries) {
  Configs configs;
  for (const record::ConfigEntry& entry : entries) configs.insert_or_assign(entry.name(), entry.value());
  return configs;
}

void ChangeConfigs(const record::ConfigChanged& change, Configs* configs) {
  for (const record::ConfigEntry& entry : change.set()) configs->insert_or_assign(entry.name(), entry.value());
  for (const std::string& name : change.reset()) configs->erase(name);
}

}  // namespace

Result<Shared<Image>> ReplayBatch(const Shared<Image>& before, const Batch& batch, LogIndex index) {
  const std::string where = "metadata batch at index " + Number(index.value());
  if (batch.previous_version() != before->version.value()) {
    return DoesNotFit(where + " follows version " + Number(batch.previous_version()) + ", but this node is at version " +
                      Number(before->version.value()));
  }
  if (index <= before->version) {
    return DoesNotFit(where + " is not after version " + Number(before->version.value()));
  }
  ImageBuilder builder(*before, RecordSource::kLog);
  for (int i = 0; i < batch.records_size(); ++i) {
    if (Status status = builder.Apply(batch.records(i)); !status.ok()) {
      return DoesNotFit(where + ", record " + Number(static_cast<uint64_t>(i)) + " (" + std::string(RecordName(batch.records(i))) +
                        "): " + std::string(status.message()));
    }
  }
  return builder.Finish(index);
}

Status ImageBuilder::Apply(const Record& record) {
  if (!image_.cluster && record.record_case() != Record::kClusterInitialized && record.record_case() != Record::kCountersRestored) {
    return DoesNotFit("the cluster is not initialised");
  }
  switch (record.record_case()) {
    case Record::kClusterInitialized: return Add(record.cluster_initialized());
    case Record::kFeatureLevelChanged: return Add(record.feature_level_changed());
    case Record::kNodeRegistered: return Add(record.node_registered());
    case Record::kNodeLivenessChanged: return Add(record.node_liveness_changed());
    case Record::kTopicCreated: return Add(record.topic_created());
    case Record::kPartitionCreated: return Add(record.partition_created());
    case Record::kPartitionsAdded: return Add(record.partitions_added());
    case Record::kTopicDeleted: return Add(record.topic_deleted());
    case Record::kConfigChanged: return Add(record.config_changed());
    case Record::kLeaderPreferenceChanged: return Add(record.leader_preference_changed());
    case Record::kRequestRemembered: return Add(record.request_remembered());
    case Record::kCountersRestored: return Add(record.counters_restored());
    case Record::kProducerIdsReserved: return Add(record.producer_ids_reserved());
    case Record::kProducerEpochRaised: return Add(record.producer_epoch_raised());
    case Record::kNodeModeChanged: return Add(record.node_mode_changed());
    case Record::kNodeFitnessChanged: return Add(record.node_fitness_changed());
    case Record::kNodeRemoved: return Add(record.node_removed());
    case Record::kReplicasRetargeted: return Add(record.replicas_retargeted());
    case Record::kReplicasSettled: return Add(record.replicas_settled());
    case Record::kSurvivorChosen: return Add(record.survivor_chosen());
    case Record::kMetadataRecovered: return Add(record.metadata_recovered());
    case Record::kBalancingChanged: return Add(record.balancing_changed());
    case Record::RECORD_NOT_SET: break;
  }
  return DoesNotFit("a record of a kind that this program does not know");
}

Result<Shared<Image>> ImageBuilder::Finish(LogIndex version) {
  for (auto& [id, open] : open_) {
    if (open.topic->partitions.size() != open.partitions_announced) {
      return DoesNotFit("topic " + id.ToString() + " has " + Number(open.topic->partitions.size()) + " of " +
                        Number(open.partitions_announced) + " partitions");
    }
    image_.topics = image_.topics.With(id, std::move(open.topic));
  }
  open_.clear();
  image_.version = version;
  return std::make_shared<const Image>(std::move(image_));
}

// --- the cluster and its nodes

Status ImageBuilder::Add(const record::ClusterInitialized& record) {
  if (image_.cluster) return DoesNotFit("the cluster " + image_.cluster->id.ToString() + " was initialised before");
  const std::optional<Uuid> id = Uuid::FromBytes(record.cluster_id());
  if (!id || id->nil()) return DoesNotFit("the cluster's id is not 16 bytes that name something");
  if (record.feature_level() == 0) return DoesNotFit("feature level 0");
  image_.cluster = Cluster{.id = *id, .initialized_at_ms = record.initialized_at_ms(), .feature_level = record.feature_level()};
  image_.cluster_config_version = 1;
  return {};
}

Status ImageBuilder::Add(const record::FeatureLevelChanged& record) {
  if (record.feature_level() <= image_.cluster->feature_level) {
    return DoesNotFit("feature level " + Number(record.feature_level()) + " is not above " + Number(image_.cluster->feature_level));
  }
  image_.cluster->feature_level = record.feature_level();
  return {};
}

Status ImageBuilder::Add(const record::NodeRegistered& record) {
  const NodeId id{record.node_id()};
  const std::optional<Uuid> uuid = Uuid::FromBytes(record.node_uuid());
  if (!uuid || uuid->nil()) return DoesNotFit("node " + Number(id.value()) + " has no UUID");
  Node node{.id = id, .description = DescriptionOf(record, *uuid), .alive = true, .registered_at_ms = record.registered_at_ms()};
  if (const Node* known = image_.FindNode(id)) {
    if (known->description.uuid != *uuid) {
      return DoesNotFit("node " + Number(id.value()) + " is " + known->description.uuid.ToString() + ", not " + uuid->ToString());
    }
    node.mode = known->mode;
    node.mode_changed_at_ms = known->mode_changed_at_ms;
    node.unfit_to_lead = known->unfit_to_lead;
    node.fitness_changed_at_ms = known->fitness_changed_at_ms;
    node.liveness_changed_at_ms = known->alive ? known->liveness_changed_at_ms : record.registered_at_ms();
  } else if (source_ == RecordSource::kLog) {
    if (id != image_.next_node) {
      return DoesNotFit("node " + Number(id.value()) + " is new, but the next one is " + Number(image_.next_node.value()));
    }
    image_.next_node = NodeId{id.value() + 1};
  }
  image_.nodes = image_.nodes.With(id, std::make_shared<const Node>(std::move(node)));
  return {};
}

Status ImageBuilder::Add(const record::NodeLivenessChanged& record) {
  const NodeId id{record.node_id()};
  const Node* known = image_.FindNode(id);
  if (known == nullptr) return DoesNotFit("node " + Number(id.value()) + " is not registered");
  if (record.liveness() == record::NODE_LIVENESS_UNSPECIFIED) return DoesNotFit("node " + Number(id.value()) + " is neither");
  Node node = *known;
  node.alive = record.liveness() == record::NODE_LIVENESS_ALIVE;
  node.liveness_changed_at_ms = record.changed_at_ms();
  image_.nodes = image_.nodes.With(id, std::make_shared<const Node>(std::move(node)));
  return {};
}

Status ImageBuilder::Add(const record::NodeModeChanged& record) {
  const NodeId id{record.node_id()};
  const Node* known = image_.FindNode(id);
  if (known == nullptr) return DoesNotFit("node " + Number(id.value()) + " is not registered");
  const std::optional<NodeMode> mode = ModeOf(record.mode());
  if (!mode) return DoesNotFit("node " + Number(id.value()) + " has no mode");
  Node node = *known;
  node.mode = *mode;
  node.mode_changed_at_ms = record.changed_at_ms();
  image_.nodes = image_.nodes.With(id, std::make_shared<const Node>(std::move(node)));
  return {};
}

Status ImageBuilder::Add(const record::NodeFitnessChanged& record) {
  const NodeId id{record.node_id()};
  const Node* known = image_.FindNode(id);
  if (known == nullptr) return DoesNotFit("node " + Number(id.value()) + " is not registered");
  Node node = *known;
  node.unfit_to_lead = record.unfit_to_lead();
  node.fitness_changed_at_ms = record.changed_at_ms();
  image_.nodes = image_.nodes.With(id, std::make_shared<const Node>(std::move(node)));
  return {};
}

Status ImageBuilder::Add(const record::NodeRemoved& record) {
  if (source_ == RecordSource::kSnapshot) return DoesNotFit("a snapshot has only nodes that are there");
  const NodeId id{record.node_id()};
  if (image_.FindNode(id) == nullptr) return DoesNotFit("node " + Number(id.value()) + " is not registered");
  if (const uint64_t replicas = image_.LoadOf(id).replicas; replicas != 0) {
    return DoesNotFit("node " + Number(id.value()) + " has " + Number(replicas) + " replicas");
  }
  image_.nodes = image_.nodes.Without(id);
  image_.loads = image_.loads.Without(id);
  return {};
}

Status ImageBuilder::Add(const record::BalancingChanged& record) {
  if (record.active() == image_.balancing.has_value()) {
    return DoesNotFit(record.active() ? "balancing is under way" : "balancing is not under way");
  }
  image_.balancing = std::nullopt;
  if (record.active()) image_.balancing = Balancing{.since_ms = record.at_ms(), .planned_moves = record.planned_moves()};
  return {};
}

// --- topics

Status ImageBuilder::Add(const record::TopicCreated& record) {
  const std::optional<Uuid> id = Uuid::FromBytes(record.topic_id());
  if (!id || id->nil()) return DoesNotFit("topic \"" + record.name() + "\" has no id");
  if (image_.topics.Contains(*id) || open_.contains(*id)) return DoesNotFit("topic " + id->ToString() + " exists");
  TopicName name{record.namespace_(), record.name()};
  if (image_.topic_names.Contains(name)) return DoesNotFit("topic \"" + record.name() + "\" exists");
  auto topic = std::make_shared<Topic>(Topic{.id = *id,
                                             .topic_namespace = record.namespace_(),
                                             .name = record.name(),
                                             .replication_factor = record.replication_factor(),
                                             .partitions = {},
                                             .configs = ConfigsOf(record.configs()),
                                             .config_version = record.config_version(),
                                             .created_at_ms = record.created_at_ms()});
  image_.topic_names = image_.topic_names.With(std::move(name), *id);
  open_.emplace(*id, OpenTopic{std::move(topic), record.partition_count()});
  return {};
}

Result<Shared<Partition>> ImageBuilder::PartitionOf(const record::PartitionCreated& record) {
  Partition partition{.number = record.partition(), .group = GroupId{record.group_id()}, .replicas = {}, .preferred_leader = {}};
  Result<std::vector<ReplicaId>> replicas = ReplicasOf(record.replicas());
  if (!replicas.ok()) return replicas.status();
  partition.replicas = *std::move(replicas);
  partition.preferred_leader = partition.replicas.front().node;
  if (source_ == RecordSource::kLog &&
      std::any_of(partition.replicas.begin(), partition.replicas.end(), [](const ReplicaId& id) { return id.incarnation != 0; })) {
    return DoesNotFit("a first member that is not in its first life");
  }
  if (record.has_movement()) FLOTILLA_RETURN_IF_ERROR(RestoreMovement(record.movement(), &partition));
  return std::make_shared<const Partition>(std::move(partition));
}

Result<std::vector<ReplicaId>> ImageBuilder::ReplicasOf(
    const google::protobuf::RepeatedPtrField<record::PartitionReplica>& replicas) const {
  std::vector<ReplicaId> ids;
  std::set<NodeId> nodes;
  for (const record::PartitionReplica& replica : replicas) {
    const ReplicaId id{NodeId{replica.node_id()}, replica.incarnation()};
    if (image_.FindNode(id.node) == nullptr) return DoesNotFit("node " + Number(id.node.value()) + " is not registered");
    if (!nodes.insert(id.node).second) return DoesNotFit("two replicas on node " + Number(id.node.value()));
    ids.push_back(id);
  }
  if (ids.empty()) return DoesNotFit("a partition without replicas");
  return ids;
}

Status ImageBuilder::RestoreMovement(const record::PartitionMovement& record, Partition* partition) const {
  if (source_ == RecordSource::kLog) return DoesNotFit("movements are restored in snapshots only");
  partition->placement_epoch = record.placement_epoch();
  partition->next_incarnation = record.next_incarnation();
  if (record.settled().empty()) {
    return record.leaving().empty() ? Status() : DoesNotFit("replicas leave, and none were there before");
  }
  const std::optional<MoveCause> cause = CauseOf(record.cause());
  if (!cause) return DoesNotFit("a movement without a cause");
  Result<std::vector<ReplicaId>> settled = ReplicasOf(record.settled());
  if (!settled.ok()) return settled.status();
  Movement movement{.settled = *std::move(settled), .leaving = {}, .cause = *cause, .since_ms = record.since_ms()};
  if (!record.leaving().empty()) {
    Result<std::vector<ReplicaId>> leaving = ReplicasOf(record.leaving());
    if (!leaving.ok()) return leaving.status();
    movement.leaving = *std::move(leaving);
  }
  for (const ReplicaId& replica : movement.leaving) {
    if (partition->WantedOn(replica.node).valid()) return DoesNotFit("two replicas on node " + Number(replica.node.value()));
  }
  partition->movement = std::move(movement);
  return {};
}

Status ImageBuilder::Add(const record::PartitionCreated& record) {
  OpenTopic* open = Open(record.topic_id());
  if (open == nullptr) return DoesNotFit("its topic does not exist");
  if (record.partition() != open->topic->partitions.size()) {
    return DoesNotFit("partition " + Number(record.partition()) + " comes after " + Number(open->topic->partitions.size()) + " others");
  }
  const GroupId group{record.group_id()};
  if (image_.groups.Contains(group)) return DoesNotFit("group " + Number(group.value()) + " exists");
  if (source_ == RecordSource::kLog) {
    if (group != image_.next_group) {
      return DoesNotFit("group " + Number(group.value()) + " is new, but the next one is " + Number(image_.next_group.value()));
    }
    image_.next_group = GroupId{group.value() + 1};
  }
  Result<Shared<Partition>> partition = PartitionOf(record);
  if (!partition.ok()) return partition.status();
  Index(open->topic->id, **partition);
  open->topic->partitions.push_back(*std::move(partition));
  return {};
}

Status ImageBuilder::Add(const record::PartitionsAdded& record) {
  OpenTopic* open = Open(record.topic_id());
  if (open == nullptr) return DoesNotFit("the topic does not exist");
  if (record.partition_count() <= open->partitions_announced) {
    return DoesNotFit(Number(record.partition_count()) + " partitions are not more than " + Number(open->partitions_announced));
  }
  open->partitions_announced = record.partition_count();
  return {};
}

Status ImageBuilder::Add(const record::TopicDeleted& record) {
  const OpenTopic* open = Open(record.topic_id());
  if (open == nullptr) return DoesNotFit("the topic does not exist");
  const Shared<Topic> topic = open->topic;
  for (const Shared<Partition>& partition : topic->partitions) {
    Unindex(*partition);
    image_.survivals = image_.survivals.Without(partition->group);
  }
  image_.topic_names = image_.topic_names.Without(TopicName{topic->topic_namespace, topic->name});
  image_.topics = image_.topics.Without(topic->id);
  open_.erase(topic->id);
  return {};
}

Status ImageBuilder::Add(const record::ConfigChanged& record) {
  uint64_t* version = &image_.cluster_config_version;
  Configs* configs = &image_.cluster_configs;
  if (!record.topic_id().empty()) {
    OpenTopic* open = Open(record.topic_id());
    if (open == nullptr) return DoesNotFit("the topic does not exist");
    version = &open->topic->config_version;
    configs = &open->topic->configs;
  }
  if (source_ == RecordSource::kLog && record.config_version() != *version + 1) {
    return DoesNotFit("version " + Number(record.config_version()) + " of the settings does not follow " + Number(*version));
  }
  ChangeConfigs(record, configs);
  *version = record.config_version();
  return {};
}

Status ImageBuilder::Add(const record::LeaderPreferenceChanged& record) {
  const GroupId group{record.group_id()};
  const NodeId node{record.node_id()};
  Shared<Partition>* slot = SlotOf(group);
  if (slot == nullptr) return DoesNotFit("group " + Number(group.value()) + " does not exist");
  if (!(*slot)->WantedOn(node).valid()) {
    return DoesNotFit("node " + Number(node.value()) + " shall have no replica of group " + Number(group.value()));
  }
  Partition partition = **slot;
  MoveLoad(partition.preferred_leader, 0, -1);
  MoveLoad(node, 0, 1);
  partition.preferred_leader = node;
  *slot = std::make_shared<const Partition>(std::move(partition));
  return {};
}

// --- replicas that come and go

Status ImageBuilder::Add(const record::ReplicasRetargeted& record) {
  const GroupId group{record.group_id()};
  if (source_ == RecordSource::kSnapshot) return DoesNotFit("a snapshot has partitions as they are");
  Shared<Partition>* slot = SlotOf(group);
  if (slot == nullptr) return DoesNotFit("group " + Number(group.value()) + " does not exist");
  const Partition& before = **slot;
  if (record.placement_epoch() != before.placement_epoch + 1) {
    return DoesNotFit("placement epoch " + Number(record.placement_epoch()) + " of group " + Number(group.value()) + " does not follow " +
                      Number(before.placement_epoch));
  }
  const std::optional<MoveCause> cause = CauseOf(record.cause());
  if (!cause) return DoesNotFit("a movement without a cause");
  Result<std::vector<ReplicaId>> replicas = ReplicasOf(record.replicas());
  if (!replicas.ok()) return replicas.status();
  Partition after = before;
  after.placement_epoch = record.placement_epoch();
  after.replicas = *std::move(replicas);
  after.preferred_leader = NodeId{record.preferred_leader()};
  for (const ReplicaId& replica : after.replicas) {
    if (before.ReplicaOn(replica.node) == replica) continue;
    if (replica.incarnation < before.next_incarnation) {
      return DoesNotFit("replica " + ToString(replica) + " of group " + Number(group.value()) + " is neither there nor new");
    }
    after.next_incarnation = std::max(after.next_incarnation, replica.incarnation + 1);
  }
  if (!after.WantedOn(after.preferred_leader).valid()) {
    return DoesNotFit("node " + Number(record.preferred_leader()) + " shall have no replica of group " + Number(group.value()));
  }
  after.movement = Movement{
      .settled = before.movement ? before.movement->settled : before.replicas, .leaving = {}, .cause = *cause, .since_ms = record.at_ms()};
  for (const ReplicaId& replica : before.Existing()) {
    // Another life on the same node takes its place at once.
    if (!after.WantedOn(replica.node).valid()) after.movement->leaving.push_back(replica);
  }
  Replace(slot, std::move(after));
  return {};
}

Status ImageBuilder::Add(const record::ReplicasSettled& record) {
  const GroupId group{record.group_id()};
  if (source_ == RecordSource::kSnapshot) return DoesNotFit("a snapshot has partitions as they are");
  Shared<Partition>* slot = SlotOf(group);
  if (slot == nullptr) return DoesNotFit("group " + Number(group.value()) + " does not exist");
  if (!(*slot)->movement) return DoesNotFit("group " + Number(group.value()) + " does not change its replicas");
  if (record.placement_epoch() != (*slot)->placement_epoch) {
    return DoesNotFit("placement epoch " + Number(record.placement_epoch()) + " of group " + Number(group.value()) +
                      " is not the last one, " + Number((*slot)->placement_epoch));
  }
  Partition after = **slot;
  after.movement = std::nullopt;
  Replace(slot, std::move(after));
  return {};
}

Status ImageBuilder::Add(const record::SurvivorChosen& record) {
  const GroupId group{record.group_id()};
  Shared<Partition>* slot = SlotOf(group);
  if (slot == nullptr) return DoesNotFit("group " + Number(group.value()) + " does not exist");
  const Partition& before = **slot;
  std::vector<ReplicaId> lost;  // on nodes that may be gone by now
  for (const record::PartitionReplica& replica : record.lost()) lost.push_back({NodeId{replica.node_id()}, replica.incarnation()});
  const ReplicaId kept{NodeId{record.kept().node_id()}, record.kept().incarnation()};
  const ReplicaId next{kept.node, record.next_incarnation()};
  const auto survival = std::make_shared<const Survival>(Survival{.kept = kept,
                                                                  .next_life = next,
                                                                  .lost = std::move(lost),
                                                                  .end = Offset{record.end_offset()},
                                                                  .committed = Offset{record.committed_offset()},
                                                                  .at_ms = record.at_ms()});
  if (source_ == RecordSource::kLog) {
    if (record.placement_epoch() != before.placement_epoch + 1) {
      return DoesNotFit("placement epoch " + Number(record.placement_epoch()) + " of group " + Number(group.value()) + " does not follow " +
                        Number(before.placement_epoch));
    }
    if (!kept.valid() || before.ReplicaOn(kept.node) != kept) {
      return DoesNotFit("replica " + ToString(kept) + " of group " + Number(group.value()) + " is not there and cannot be kept");
    }
    if (next.incarnation < before.next_incarnation) {
      return DoesNotFit("replica " + ToString(next) + " of group " + Number(group.value()) + " is not new");
    }
    Partition after = before;
    after.placement_epoch = record.placement_epoch();
    after.replicas = {next};
    after.preferred_leader = next.node;
    after.next_incarnation = next.incarnation + 1;
    after.movement = std::nullopt;
    Replace(slot, std::move(after));
  }
  image_.survivals = image_.survivals.With(group, survival);
  return {};
}

Status ImageBuilder::Add(const record::MetadataRecovered& record) {
  const NodeId node{record.node_id()};
  const MetadataRecovery* known = image_.recoveries.Find(node);
  const uint64_t before = known == nullptr ? 0 : known->incarnation;
  if (record.incarnation() <= before) {
    return DoesNotFit("incarnation " + Number(record.incarnation()) + " of node " + Number(node.value()) + " does not follow " +
                      Number(before));
  }
  image_.recoveries = image_.recoveries.With(node, {.incarnation = record.incarnation(), .at_ms = record.at_ms()});
  if (source_ == RecordSource::kSnapshot) return {};  // the counters have a record of their own there
  if (image_.FindNode(node) == nullptr) return DoesNotFit("node " + Number(node.value()) + " is not registered");
  const bool fewer = record.next_node_id() < image_.next_node.value() || record.next_group_id() < image_.next_group.value() ||
                     record.next_producer_id() < image_.next_producer;
  if (fewer) return DoesNotFit("ids that were given would be given again");
  image_.next_node = NodeId{record.next_node_id()};
  image_.next_group = GroupId{record.next_group_id()};
  image_.next_producer = record.next_producer_id();
  return {};
}

// --- requests, producers and counters

Status ImageBuilder::Add(const record::RequestRemembered& record) {
  if (image_.request_order.Contains(record.request_id())) return DoesNotFit("request \"" + record.request_id() + "\" was carried out");
  const std::optional<Uuid> topic = record.topic_id().empty() ? Uuid() : Uuid::FromBytes(record.topic_id());
  if (!topic) return DoesNotFit("the id of its topic is not 16 bytes");
  const uint64_t order = image_.next_request++;
  image_.request_order = image_.request_order.With(record.request_id(), order);
  image_.requests = image_.requests.With(
      order, std::make_shared<const RememberedRequest>(RememberedRequest{.id = record.request_id(),
                                                                         .fingerprint = record.fingerprint(),
                                                                         .topic = *topic,
                                                                         .done_at_ms = record.done_at_ms(),
                                                                         .producer = {record.producer_id(), record.producer_epoch()},
                                                                         .partition_count = record.partition_count(),
                                                                         .node = NodeId{record.node_id()}}));
  if (source_ == RecordSource::kLog) ForgetRequests(record.done_at_ms());
  return {};
}

Status ImageBuilder::Add(const record::CountersRestored& record) {
  if (source_ == RecordSource::kLog) return DoesNotFit("counters are restored in snapshots only");
  image_.next_node = NodeId{record.next_node_id()};
  image_.next_group = GroupId{record.next_group_id()};
  image_.next_producer = record.next_producer_id();
  return {};
}

Status ImageBuilder::Add(const record::ProducerIdsReserved& record) {
  if (source_ == RecordSource::kSnapshot) return DoesNotFit("a snapshot has a counter instead");
  const NodeId node{record.node_id()};
  if (node != NodeId{} && image_.FindNode(node) == nullptr) return DoesNotFit("node " + Number(node.value()) + " is not registered");
  if (record.first_producer_id() != image_.next_producer) {
    return DoesNotFit("producer " + Number(record.first_producer_id()) + " is new, but the next one is " + Number(image_.next_producer));
  }
  if (record.count() == 0) return DoesNotFit("no producers");
  image_.next_producer += record.count();
  return {};
}

Status ImageBuilder::Add(const record::ProducerEpochRaised& record) {
  const uint64_t id = record.producer_id();
  // In a snapshot the counter comes later.
  if (id == 0 || (source_ == RecordSource::kLog && id >= image_.next_producer))
    return DoesNotFit("producer " + Number(id) + " was never given");
  const uint64_t* before = image_.raised_order.Find(id);
  const uint32_t latest = before == nullptr ? 0 : image_.raised_producers.Find(*before)->latest.epoch;
  if (record.epoch() <= latest) {
    return DoesNotFit("epoch " + Number(record.epoch()) + " of producer " + Number(id) + " is not above " + Number(latest));
  }
  if (before != nullptr) image_.raised_producers = image_.raised_producers.Without(*before);
  const uint64_t order = image_.next_raise++;
  image_.raised_order = image_.raised_order.With(id, order);
  image_.raised_producers =
      image_.raised_producers.With(order, RaisedProducer{.latest = {id, record.epoch()}, .raised_at_ms = record.raised_at_ms()});
  if (source_ == RecordSource::kLog) ForgetRaisedProducers(record.raised_at_ms());
  return {};
}

// --- parts

ImageBuilder::OpenTopic* ImageBuilder::Open(const std::string& id_bytes) {
  const std::optional<Uuid> id = Uuid::FromBytes(id_bytes);
  if (!id) return nullptr;
  if (auto at = open_.find(*id); at != open_.end()) return &at->second;
  const Topic* known = image_.FindTopic(*id);
  if (known == nullptr) return nullptr;
  const auto count = static_cast<uint32_t>(known->partitions.size());
  return &open_.emplace(*id, OpenTopic{std::make_shared<Topic>(*known), count}).first->second;
}

// By the times in the records, so that every node forgets the same ones.
void ImageBuilder::ForgetRequests(int64_t now_ms) {
  while (true) {
    const uint64_t oldest = image_.next_request - image_.requests.size();
    const RememberedRequest& request = **image_.requests.Find(oldest);
    const bool outdated = request.done_at_ms < now_ms - limits::kRememberedRequestMillis;
    if (!outdated && image_.requests.size() <= limits::kRememberedRequestsMax) return;
    image_.request_order = image_.request_order.Without(request.id);
    image_.requests = image_.requests.Without(oldest);
  }
}

// As above.
void ImageBuilder::ForgetRaisedProducers(int64_t now_ms) {
  while (true) {
    uint64_t order = 0;
    RaisedProducer oldest;
    image_.raised_producers.ForEachFrom(0, [&](uint64_t first, const RaisedProducer& producer) {
      order = first;
      oldest = producer;
      return false;
    });
    const bool outdated = oldest.raised_at_ms < now_ms - limits::kRaisedProducerMillis;
    if (!outdated && image_.raised_producers.size() <= limits::kRaisedProducersMax) return;
    image_.raised_order = image_.raised_order.Without(oldest.latest.id);
    image_.raised_producers = image_.raised_producers.Without(order);
  }
}

Shared<Partition>* ImageBuilder::SlotOf(GroupId group) {
  const PartitionKey* key = image_.groups.Find(group);
  if (key == nullptr) return nullptr;
  return &Open(std::string(key->topic.bytes()))->topic->partitions[key->partition];
}

void ImageBuilder::Replace(Shared<Partition>* slot, Partition partition) {
  const Uuid topic = image_.groups.Find(partition.group)->topic;
  Unindex(**slot);
  Index(topic, partition);
  *slot = std::make_shared<const Partition>(std::move(partition));
}

void ImageBuilder::Index(const Uuid& topic, const Partition& partition) {
  image_.groups = image_.groups.With(partition.group, PartitionKey{topic, partition.number});
  if (partition.movement) image_.moving = image_.moving.With(partition.group, partition.movement->cause);
  for (const ReplicaId& replica : partition.Existing()) {
    image_.replicas = image_.replicas.With(NodeGroup{replica.node, partition.group}, replica);
    MoveLoad(replica.node, 1, replica.node == partition.preferred_leader ? 1 : 0);
  }
}

void ImageBuilder::Unindex(const Partition& partition) {
  image_.groups = image_.groups.Without(partition.group);
  image_.moving = image_.moving.Without(partition.group);
  for (const ReplicaId& replica : partition.Existing()) {
    image_.replicas = image_.replicas.Without(NodeGroup{replica.node, partition.group});
    MoveLoad(replica.node, -1, replica.node == partition.preferred_leader ? -1 : 0);
  }
}

void ImageBuilder::MoveLoad(NodeId node, int64_t replicas, int64_t preferred_leaders) {
  NodeLoad load = image_.LoadOf(node);
  load.replicas += static_cast<uint64_t>(replicas);
  load.preferred_leaders += static_cast<uint64_t>(preferred_leaders);
  image_.loads = image_.loads.With(node, load);
}

}  // namespace flotilla::metadata
