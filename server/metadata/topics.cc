#include "server/metadata/topics.h"

#include <algorithm>
#include <set>
#include <utility>

#include "server/metadata/config_schema.h"
#include "server/metadata/limits.h"
#include "server/metadata/placement.h"
#include "server/metadata/request_memory.h"

namespace flotilla::metadata {
namespace {

std::string BytesOf(const Uuid& id) { return std::string(id.bytes()); }

Fingerprint& Add(const TopicSelector& topic, Fingerprint* fingerprint) { return fingerprint->Add(topic.name).Add(topic.id.bytes()); }

uint64_t FingerprintOf(const CreateTopic& request) {
  Fingerprint fingerprint("create_topic");
  Add(request.topic, &fingerprint).Add(request.partition_count).Add(request.replication_factor);
  for (const auto& [name, value] : request.configs) fingerprint.Add(name).Add(value);
  return fingerprint.value();
}
uint64_t FingerprintOf(const DeleteTopic& request) {
  Fingerprint fingerprint("delete_topic");
  return Add(request.topic, &fingerprint).value();
}
uint64_t FingerprintOf(const AddPartitions& request) {
  Fingerprint fingerprint("add_partitions");
  return Add(request.topic, &fingerprint).Add(std::optional(request.partition_count)).Add(request.expected_partition_count).value();
}
uint64_t FingerprintOf(const ChangeConfig& request) {
  Fingerprint fingerprint("change_config");
  if (request.topic) Add(*request.topic, &fingerprint);
  fingerprint.Add(request.expected_version).Add(request.set.size());
  for (const auto& [name, value] : request.set) fingerprint.Add(name).Add(value);
  for (const std::string& name : request.reset) fingerprint.Add(name);
  return fingerprint.value();
}
uint64_t FingerprintOf(const PreferLeader& request) {
  Fingerprint fingerprint("prefer_leader");
  return Add(request.topic, &fingerprint).Add(static_cast<uint64_t>(request.partition)).Add(request.node.value()).value();
}

// --- partitions

struct NewPartitions {
  const Topic* topic = nullptr;  // that grows; null: a new one
  Uuid id;
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t replication_factor = 0;
};

Status NoRoom(const NewPartitions& wanted, size_t placed, size_t living) {
  const uint64_t replicas = uint64_t{wanted.count} * wanted.replication_factor;
  return Status(Reason::kLimitExceeded, std::to_string(wanted.count) + " partitions with " + std::to_string(wanted.replication_factor) +
                                            " replicas each do not fit on " + std::to_string(living) +
                                            " living nodes, which have room for " + std::to_string(placed) +
                                            " of them; a node holds at most " + std::to_string(limits::kReplicasPerNodeMax) +
                                            " replicas. Add nodes, or ask for fewer")
      .With("field", "partition_count")
      .With("limit", placed)
      .With("value", wanted.count)
      .With("replicas", replicas);
}

// LIMIT_EXCEEDED: living nodes have no room.
Status AppendPartitions(const NewPartitions& wanted, const Image& image, const Context& context, std::vector<Record>* records) {
  std::vector<PlacementNode> nodes = PlacementNodes(image, wanted.topic);
  const size_t living = nodes.size();
  const Placement placement = PlaceReplicas(std::move(nodes), {.partitions = wanted.count,
                                                               .replication_factor = wanted.replication_factor,
                                                               .replicas_per_node_max = limits::kReplicasPerNodeMax,
                                                               .seed = context.seed});
  if (placement.partitions.size() < wanted.count) return NoRoom(wanted, placement.partitions.size(), living);
  for (uint32_t i = 0; i < wanted.count; ++i) {
    Record out;
    record::PartitionCreated& record = *out.mutable_partition_created();
    record.set_topic_id(BytesOf(wanted.id));
    record.set_partition(wanted.first + i);
    record.set_group_id(image.next_group.value() + i);
    for (const NodeId node : placement.partitions[i]) record.add_replicas()->set_node_id(node.value());
    records->push_back(std::move(out));
  }
  return {};
}

// A default that is too large for the cluster becomes 1; one that could be reached by starting dead nodes
// does not, lest a topic that should have three replicas silently gets one.
int64_t ReplicationFactorFor(const CreateTopic& request, const Image& image) {
  if (request.replication_factor) return *request.replication_factor;
  const int64_t standard = IntegerOf(EffectiveSetting(image, "default_replication_factor"));
  return static_cast<size_t>(standard) <= image.NodesInUse() ? standard : 1;
}

Status CheckConfigCount(size_t count) {
  if (count <= limits::kConfigChangesMax) return {};
  return Status(Reason::kLimitExceeded,
                std::to_string(count) + " settings in one request; the limit is " + std::to_string(limits::kConfigChangesMax))
      .With("field", "config")
      .With("limit", limits::kConfigChangesMax)
      .With("value", count);
}

Status CheckNewName(const TopicSelector& topic, const Image& image) {
  if (!topic.id.nil()) {
    return Status(Reason::kInvalidArgument, "a new topic cannot bring its id; the cluster gives it").With("field", "topic.topic_id");
  }
  FLOTILLA_RETURN_IF_ERROR(CheckNamespace(topic.topic_namespace));
  FLOTILLA_RETURN_IF_ERROR(CheckTopicName(topic.name));
  const Topic* existing = image.FindTopic(kDefaultNamespace, topic.name);
  if (existing == nullptr) return {};
  return Refuse(Refusal::kTopicExists, "topic " + Quoted(topic.name) + " exists with " + std::to_string(existing->partitions.size()) +
                                           " partitions and replication factor " + std::to_string(existing->replication_factor) +
                                           "; choose another name, or use it")
      .With("topic", topic.name)
      .With("topic_id", existing->id.ToString());
}

Result<Decision> Create(const CreateTopic& request, const Image& image, const Context& context) {
  FLOTILLA_RETURN_IF_ERROR(CheckNewName(request.topic, image));
  const int64_t partitions = request.partition_count.value_or(IntegerOf(EffectiveSetting(image, "default_partition_count")));
  FLOTILLA_RETURN_IF_ERROR(CheckPartitionCount(partitions));
  const int64_t replication_factor = ReplicationFactorFor(request, image);
  FLOTILLA_RETURN_IF_ERROR(CheckReplicationFactor(replication_factor, image));
  FLOTILLA_RETURN_IF_ERROR(CheckConfigCount(request.configs.size()));
  for (const auto& [name, value] : request.configs) {
    FLOTILLA_RETURN_IF_ERROR(CheckConfig(ConfigScope::kTopic, name, value));
  }
  Decision decision{.records = {}, .outcome = {.topic = request.tag.validate_only ? Uuid() : context.fresh_id, .config_version = 1}};
  Record out;
  record::TopicCreated& record = *out.mutable_topic_created();
  record.set_topic_id(BytesOf(context.fresh_id));
  record.set_namespace_(std::string(kDefaultNamespace));
  record.set_name(request.topic.name);
  record.set_partition_count(static_cast<uint32_t>(partitions));
  record.set_replication_factor(static_cast<uint32_t>(replication_factor));
  for (const auto& [name, value] : request.configs) {
    record::ConfigEntry& entry = *record.add_configs();
    entry.set_name(name);
    entry.set_value(value);
  }
  record.set_config_version(1);
  record.set_created_at_ms(context.now_ms);
  decision.records.push_back(std::move(out));
  FLOTILLA_RETURN_IF_ERROR(AppendPartitions({.topic = nullptr,
                                             .id = context.fresh_id,
                                             .first = 0,
                                             .count = static_cast<uint32_t>(partitions),
                                             .replication_factor = static_cast<uint32_t>(replication_factor)},
                                            image, context, &decision.records));
  return decision;
}

Result<Decision> Delete(const DeleteTopic& request, const Image& image) {
  Result<const Topic*> topic = SelectTopic(request.topic, image);
  if (!topic.ok()) return topic.status();
  Decision decision{.records = {}, .outcome = {.topic = (*topic)->id}};
  Record out;
  out.mutable_topic_deleted()->set_topic_id(BytesOf((*topic)->id));
  decision.records.push_back(std::move(out));
  return decision;
}

Status VersionMismatch(std::string what, int64_t expected, uint64_t actual) {
  return Refuse(Refusal::kVersionMismatch, what + " is " + std::to_string(actual) + ", not " + std::to_string(expected) +
                                               " as expected; somebody changed it. Read it again and decide anew")
      .With("expected", std::to_string(expected))
      .With("actual", actual);
}

Result<Decision> Grow(const AddPartitions& request, const Image& image, const Context& context) {
  Result<const Topic*> selected = SelectTopic(request.topic, image);
  if (!selected.ok()) return selected.status();
  const Topic& topic = **selected;
  const auto now = static_cast<int64_t>(topic.partitions.size());
  FLOTILLA_RETURN_IF_ERROR(CheckPartitionCount(request.partition_count));
  if (request.expected_partition_count && *request.expected_partition_count != now) {
    return VersionMismatch("the number of partitions", *request.expected_partition_count, topic.partitions.size());
  }
  if (request.partition_count <= now) {
    return Status(Reason::kInvalidArgument, "topic " + Quoted(topic.name) + " has " + std::to_string(now) + " partitions; " +
                                                std::to_string(request.partition_count) +
                                                " is not more, and partitions are never taken away")
        .With("field", "partition_count");
  }
  FLOTILLA_RETURN_IF_ERROR(CheckReplicationFactor(topic.replication_factor, image));
  Decision decision{.records = {}, .outcome = {.topic = topic.id, .config_version = topic.config_version}};
  Record out;
  record::PartitionsAdded& record = *out.mutable_partitions_added();
  record.set_topic_id(BytesOf(topic.id));
  record.set_partition_count(static_cast<uint32_t>(request.partition_count));
  decision.records.push_back(std::move(out));
  FLOTILLA_RETURN_IF_ERROR(AppendPartitions({.topic = &topic,
                                             .id = topic.id,
                                             .first = static_cast<uint32_t>(now),
                                             .count = static_cast<uint32_t>(request.partition_count - now),
                                             .replication_factor = topic.replication_factor},
                                            image, context, &decision.records));
  return decision;
}

// --- settings

// The settings that a request is about.
struct ConfigTarget {
  ConfigScope scope = ConfigScope::kCluster;
  Uuid topic;
  const Configs* configs = nullptr;
  uint64_t version = 0;
};

Result<ConfigTarget> TargetOf(const ChangeConfig& request, const Image& image) {
  if (!request.topic) return ConfigTarget{ConfigScope::kCluster, Uuid(), &image.cluster_configs, image.cluster_config_version};
  Result<const Topic*> topic = SelectTopic(*request.topic, image);
  if (!topic.ok()) return topic.status();
  return ConfigTarget{ConfigScope::kTopic, (*topic)->id, &(*topic)->configs, (*topic)->config_version};
}

Status CheckChange(const ChangeConfig& request, const ConfigTarget& target) {
  const size_t count = request.set.size() + request.reset.size();
  if (count == 0) {
    return Status(Reason::kInvalidArgument, "no setting to change; name one to set or to unset").With("field", "set_values");
  }
  FLOTILLA_RETURN_IF_ERROR(CheckConfigCount(count));
  for (const auto& [name, value] : request.set) FLOTILLA_RETURN_IF_ERROR(CheckConfig(target.scope, name, value));
  for (const std::string& name : request.reset) {
    FLOTILLA_RETURN_IF_ERROR(CheckConfigName(target.scope, name));
    if (request.set.contains(name)) {
      return Status(Reason::kInvalidArgument, "setting " + name + " is to be set and unset; choose one").With("field", "unset_names");
    }
  }
  if (request.expected_version && static_cast<uint64_t>(*request.expected_version) != target.version) {
    return VersionMismatch("the version of the settings", *request.expected_version, target.version);
  }
  return {};
}

// What of the request is not so already.
record::ConfigChanged NewsIn(const ChangeConfig& request, const ConfigTarget& target) {
  record::ConfigChanged change;
  for (const auto& [name, value] : request.set) {
    const auto at = target.configs->find(name);
    if (at != target.configs->end() && at->second == value) continue;
    record::ConfigEntry& entry = *change.add_set();
    entry.set_name(name);
    entry.set_value(value);
  }
  for (const std::string& name : std::set<std::string>(request.reset.begin(), request.reset.end())) {
    if (target.configs->contains(name)) change.add_reset(name);
  }
  if (!target.topic.nil()) change.set_topic_id(BytesOf(target.topic));
  change.set_config_version(target.version + 1);
  return change;
}

Result<Decision> Change(const ChangeConfig& request, const Image& image) {
  Result<ConfigTarget> target = TargetOf(request, image);
  if (!target.ok()) return target.status();
  FLOTILLA_RETURN_IF_ERROR(CheckChange(request, *target));
  Decision decision{.records = {}, .outcome = {.topic = target->topic, .config_version = target->version}};
  record::ConfigChanged change = NewsIn(request, *target);
  if (change.set().empty() && change.reset().empty()) {
    decision.outcome.repeated = true;
    return decision;
  }
  decision.outcome.config_version = target->version + 1;
  Record out;
  *out.mutable_config_changed() = std::move(change);
  decision.records.push_back(std::move(out));
  return decision;
}

// --- preference

Result<Decision> Prefer(const PreferLeader& request, const Image& image) {
  const Result<PartitionChoice> choice = SelectPartition(request.topic, request.partition, image);
  if (!choice.ok()) return choice.status();
  const Topic& topic = *choice->topic;
  const Partition& partition = *choice->partition;
  if (!partition.WantedOn(request.node).valid()) {
    std::string holders;
    for (const ReplicaId& replica : partition.replicas) holders += (holders.empty() ? "" : ", ") + ToString(replica);
    return Refuse(Refusal::kNodeNotFound, "node " + std::to_string(request.node.value()) + " has no replica of partition " +
                                              std::to_string(request.partition) + " of topic " + Quoted(topic.name) + "; nodes " + holders +
                                              " have")
        .With("node_id", request.node.value());
  }
  Decision decision{.records = {}, .outcome = {.topic = topic.id, .config_version = topic.config_version}};
  if (partition.preferred_leader == request.node) {
    decision.outcome.repeated = true;
    return decision;
  }
  Record out;
  out.mutable_leader_preference_changed()->set_group_id(partition.group.value());
  out.mutable_leader_preference_changed()->set_node_id(request.node.value());
  decision.records.push_back(std::move(out));
  return decision;
}

}  // namespace

Result<Decision> DecideTopicCreation(const CreateTopic& request, const Image& image, const Context& context) {
  return DecideOnce({request.tag, FingerprintOf(request)}, image, context, [&] { return Create(request, image, context); });
}

Result<Decision> DecideTopicDeletion(const DeleteTopic& request, const Image& image, const Context& context) {
  return DecideOnce({request.tag, FingerprintOf(request)}, image, context, [&] { return Delete(request, image); });
}

Result<Decision> DecideMorePartitions(const AddPartitions& request, const Image& image, const Context& context) {
  return DecideOnce({request.tag, FingerprintOf(request)}, image, context, [&] { return Grow(request, image, context); });
}

Result<Decision> DecideConfigChange(const ChangeConfig& request, const Image& image, const Context& context) {
  return DecideOnce({request.tag, FingerprintOf(request)}, image, context, [&] { return Change(request, image); });
}

Result<Decision> DecideLeaderPreference(const PreferLeader& request, const Image& image, const Context& context) {
  return DecideOnce({request.tag, FingerprintOf(request)}, image, context, [&] { return Prefer(request, image); });
}

}  // namespace flotilla::metadata
