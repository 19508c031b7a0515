#include "server/metadata/image_codec.h"

#include <utility>

#include "server/metadata/limits.h"
#include "server/metadata/node_rules.h"
#include "server/metadata/replay.h"
#include "storage/base/coding.h"
#include "storage/base/crc32c.h"

namespace flotilla::metadata {
namespace {

// Room for a part's own fields beside its records.
constexpr size_t kChunkHeaderBytes = 64;
// Tag and length before a record.
constexpr size_t kRecordHeaderBytes = 8;

template <typename Take>
void AddConfigs(const Configs& configs, Take add) {
  for (const auto& [name, value] : configs) {
    record::ConfigEntry* entry = add();
    entry->set_name(name);
    entry->set_value(value);
  }
}

Record RecordOf(const Cluster& cluster) {
  Record out;
  record::ClusterInitialized& record = *out.mutable_cluster_initialized();
  record.set_cluster_id(std::string(cluster.id.bytes()));
  record.set_initialized_at_ms(cluster.initialized_at_ms);
  record.set_feature_level(cluster.feature_level);
  return out;
}

Record LivenessOf(const Node& node) {
  Record out;
  record::NodeLivenessChanged& record = *out.mutable_node_liveness_changed();
  record.set_node_id(node.id.value());
  record.set_liveness(node.alive ? record::NODE_LIVENESS_ALIVE : record::NODE_LIVENESS_FAILED);
  record.set_changed_at_ms(node.liveness_changed_at_ms);
  return out;
}

Record ModeOf(const Node& node) {
  Record out;
  record::NodeModeChanged& record = *out.mutable_node_mode_changed();
  record.set_node_id(node.id.value());
  record.set_mode(RecordOf(node.mode));
  record.set_changed_at_ms(node.mode_changed_at_ms);
  return out;
}

Record FitnessOf(const Node& node) {
  Record out;
  record::NodeFitnessChanged& record = *out.mutable_node_fitness_changed();
  record.set_node_id(node.id.value());
  record.set_unfit_to_lead(node.unfit_to_lead);
  record.set_changed_at_ms(node.fitness_changed_at_ms);
  return out;
}

Record RecordOf(const Balancing& balancing) {
  Record out;
  record::BalancingChanged& record = *out.mutable_balancing_changed();
  record.set_active(true);
  record.set_at_ms(balancing.since_ms);
  record.set_planned_moves(balancing.planned_moves);
  return out;
}

Record ClusterConfigsOf(const Image& image) {
  Record out;
  record::ConfigChanged& record = *out.mutable_config_changed();
  AddConfigs(image.cluster_configs, [&] { return record.add_set(); });
  record.set_config_version(image.cluster_config_version);
  return out;
}

Record RecordOf(const Topic& topic) {
  Record out;
  record::TopicCreated& record = *out.mutable_topic_created();
  record.set_topic_id(std::string(topic.id.bytes()));
  record.set_namespace_(topic.topic_namespace);
  record.set_name(topic.name);
  record.set_partition_count(static_cast<uint32_t>(topic.partitions.size()));
  record.set_replication_factor(topic.replication_factor);
  AddConfigs(topic.configs, [&] { return record.add_configs(); });
  record.set_config_version(topic.config_version);
  record.set_created_at_ms(topic.created_at_ms);
  return out;
}

template <typename Take>
void AddReplicas(const std::vector<ReplicaId>& replicas, Take add) {
  for (const ReplicaId& replica : replicas) {
    record::PartitionReplica* added = add();
    added->set_node_id(replica.node.value());
    added->set_incarnation(replica.incarnation);
  }
}

void AddMovement(const Partition& partition, record::PartitionMovement* record) {
  record->set_placement_epoch(partition.placement_epoch);
  record->set_next_incarnation(partition.next_incarnation);
  if (!partition.movement) return;
  AddReplicas(partition.movement->settled, [&] { return record->add_settled(); });
  AddReplicas(partition.movement->leaving, [&] { return record->add_leaving(); });
  record->set_cause(RecordOf(partition.movement->cause));
  record->set_since_ms(partition.movement->since_ms);
}

Record RecordOf(const Topic& topic, const Partition& partition) {
  Record out;
  record::PartitionCreated& record = *out.mutable_partition_created();
  record.set_topic_id(std::string(topic.id.bytes()));
  record.set_partition(partition.number);
  record.set_group_id(partition.group.value());
  AddReplicas(partition.replicas, [&] { return record.add_replicas(); });
  if (partition.placement_epoch != 0) AddMovement(partition, record.mutable_movement());
  return out;
}

Record RecordOf(const Partition& partition, const Survival& survival) {
  Record out;
  record::SurvivorChosen& record = *out.mutable_survivor_chosen();
  record.set_group_id(partition.group.value());
  record.set_placement_epoch(partition.placement_epoch);
  record.mutable_kept()->set_node_id(survival.kept.node.value());
  record.mutable_kept()->set_incarnation(survival.kept.incarnation);
  record.set_next_incarnation(survival.next_life.incarnation);
  AddReplicas(survival.lost, [&] { return record.add_lost(); });
  record.set_end_offset(survival.end.value());
  record.set_committed_offset(survival.committed.value());
  record.set_at_ms(survival.at_ms);
  return out;
}

Record PreferenceOf(const Partition& partition) {
  Record out;
  out.mutable_leader_preference_changed()->set_group_id(partition.group.value());
  out.mutable_leader_preference_changed()->set_node_id(partition.preferred_leader.value());
  return out;
}

Record RecordOf(const RememberedRequest& request) {
  Record out;
  record::RequestRemembered& record = *out.mutable_request_remembered();
  record.set_request_id(request.id);
  record.set_fingerprint(request.fingerprint);
  record.set_done_at_ms(request.done_at_ms);
  if (!request.topic.nil()) record.set_topic_id(std::string(request.topic.bytes()));
  record.set_producer_id(request.producer.id);
  record.set_producer_epoch(request.producer.epoch);
  record.set_partition_count(request.partition_count);
  record.set_node_id(request.node.value());
  return out;
}

Record RecordOf(const RaisedProducer& producer) {
  Record out;
  record::ProducerEpochRaised& record = *out.mutable_producer_epoch_raised();
  record.set_producer_id(producer.latest.id);
  record.set_epoch(producer.latest.epoch);
  record.set_raised_at_ms(producer.raised_at_ms);
  return out;
}

Record RecordOf(NodeId node, const MetadataRecovery& recovery) {
  Record out;
  out.mutable_metadata_recovered()->set_node_id(node.value());
  out.mutable_metadata_recovered()->set_incarnation(recovery.incarnation);
  out.mutable_metadata_recovered()->set_at_ms(recovery.at_ms);
  return out;
}

Record CountersOf(const Image& image) {
  Record out;
  out.mutable_counters_restored()->set_next_node_id(image.next_node.value());
  out.mutable_counters_restored()->set_next_group_id(image.next_group.value());
  out.mutable_counters_restored()->set_next_producer_id(image.next_producer);
  return out;
}

// `emit(record)` for each record that leads to the image, in order: everything after what it refers to, by id
// within its kind.
template <typename Emit>
void ForEachRecord(const Image& image, Emit emit) {
  if (image.cluster) emit(RecordOf(*image.cluster));
  if (image.cluster_config_version != 0) emit(ClusterConfigsOf(image));
  image.nodes.ForEach([&](NodeId, const Shared<Node>& node) {
    emit(RegistrationOf(node->id, node->description, node->registered_at_ms));
    if (!node->alive || node->liveness_changed_at_ms != 0) emit(LivenessOf(*node));
    if (node->mode != NodeMode::kActive || node->mode_changed_at_ms != 0) emit(ModeOf(*node));
    if (node->unfit_to_lead || node->fitness_changed_at_ms != 0) emit(FitnessOf(*node));
  });
  image.recoveries.ForEach([&](NodeId node, const MetadataRecovery& recovery) { emit(RecordOf(node, recovery)); });
  if (image.balancing) emit(RecordOf(*image.balancing));
  image.topics.ForEach([&](const Uuid&, const Shared<Topic>& topic) {
    emit(RecordOf(*topic));
    for (const Shared<Partition>& partition : topic->partitions) emit(RecordOf(*topic, *partition));
    for (const Shared<Partition>& partition : topic->partitions) {
      if (partition->preferred_leader != partition->replicas.front().node) emit(PreferenceOf(*partition));
      const Shared<Survival>* survival = image.survivals.Find(partition->group);
      if (survival != nullptr) emit(RecordOf(*partition, **survival));
    }
  });
  image.requests.ForEach([&](uint64_t, const Shared<RememberedRequest>& request) { emit(RecordOf(*request)); });
  image.raised_producers.ForEach([&](uint64_t, const RaisedProducer& producer) { emit(RecordOf(producer)); });
  emit(CountersOf(image));
}

Status Damaged(std::string message) { return Status(Reason::kDataLoss, "metadata snapshot: " + std::move(message)); }

}  // namespace

uint32_t ImageChecksum(const Image& image) {
  std::string bytes;
  AppendLittle<uint64_t>(image.version.value(), &bytes);
  uint32_t checksum = crc32c::Value(bytes);
  ForEachRecord(image, [&](const Record& record) {
    bytes.clear();
    record.AppendToString(&bytes);
    checksum = crc32c::Extend(checksum, bytes.data(), bytes.size());
  });
  return checksum;
}

std::vector<Bytes> EncodeImage(const Image& image) {
  std::vector<record::MetadataSnapshotChunk> parts(1);
  size_t bytes = kChunkHeaderBytes;
  ForEachRecord(image, [&](const Record& record) {
    const size_t size = record.ByteSizeLong() + kRecordHeaderBytes;
    if (bytes + size > limits::kSnapshotChunkBytes) {
      parts.emplace_back();
      bytes = kChunkHeaderBytes;
    }
    *parts.back().add_records() = record;
    bytes += size;
  });
  const uint32_t checksum = ImageChecksum(image);
  std::vector<Bytes> chunks;
  for (record::MetadataSnapshotChunk& part : parts) {
    part.set_number(static_cast<uint32_t>(chunks.size()));
    part.set_count(static_cast<uint32_t>(parts.size()));
    part.set_version(image.version.value());
    part.set_feature_level(image.feature_level());
    part.set_image_checksum(checksum);
    chunks.emplace_back(part.SerializeAsString());
    CHECK_LE(chunks.back().size(), limits::kSnapshotChunkBytes);
  }
  return chunks;
}

Result<Shared<Image>> DecodeImage(std::span<const Bytes> chunks, FeatureRange supported) {
  if (chunks.empty()) return Damaged("it has no parts");
  ImageBuilder builder(Image{}, RecordSource::kSnapshot);
  LogIndex version;
  uint32_t checksum = 0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const Result<record::MetadataSnapshotChunk> part = DecodeSnapshotChunk(chunks[i].view(), supported);
    if (!part.ok()) return part.status();
    if (i == 0) {
      version = LogIndex{part->version()};
      checksum = part->image_checksum();
    }
    if (part->number() != i || part->count() != chunks.size() || part->version() != version.value() || part->image_checksum() != checksum) {
      return Damaged("part " + std::to_string(i) + " of " + std::to_string(chunks.size()) + " says that it is part " +
                     std::to_string(part->number()) + " of " + std::to_string(part->count()) + " of version " +
                     std::to_string(part->version()) + ", not of version " + std::to_string(version.value()));
    }
    for (const Record& record : part->records()) {
      if (Status status = builder.Apply(record); !status.ok()) return status;
    }
  }
  Result<Shared<Image>> image = builder.Finish(version);
  if (!image.ok()) return image;
  if (const uint32_t found = ImageChecksum(**image); found != checksum) {
    return Damaged("the image of version " + std::to_string(version.value()) + " has checksum " + std::to_string(found) + " instead of " +
                   std::to_string(checksum));
  }
  return image;
}

}  // namespace flotilla::metadata
