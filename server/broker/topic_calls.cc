#include "server/broker/topic_calls.h"

#include <algorithm>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/limits.h"
#include "server/broker/paging.h"
#include "server/broker/preview.h"
#include "server/metadata/config_schema.h"

namespace flotilla::broker {
namespace {

// An answer that waits for leaders leaves so long before the deadline, with what there is.
constexpr Duration kAnswerMargin = std::chrono::milliseconds(500);

v1::ConfigSource SourceOf(metadata::ConfigSource source) {
  switch (source) {
    case metadata::ConfigSource::kDefault: return v1::CONFIG_SOURCE_DEFAULT;
    case metadata::ConfigSource::kCluster: return v1::CONFIG_SOURCE_CLUSTER;
    case metadata::ConfigSource::kTopic: return v1::CONFIG_SOURCE_TOPIC;
  }
  return v1::CONFIG_SOURCE_UNSPECIFIED;
}

v1::ConfigType TypeOf(metadata::ConfigType type) {
  switch (type) {
    case metadata::ConfigType::kInteger: return v1::CONFIG_TYPE_INTEGER;
    case metadata::ConfigType::kBoolean: return v1::CONFIG_TYPE_BOOLEAN;
    case metadata::ConfigType::kChoice: return v1::CONFIG_TYPE_CHOICE;
  }
  return v1::CONFIG_TYPE_UNSPECIFIED;
}

void AddEntry(const metadata::ConfigKey& key, const std::string& name, const metadata::Setting& setting,
              google::protobuf::RepeatedPtrField<v1::ConfigEntry>* entries) {
  v1::ConfigEntry& entry = *entries->Add();
  entry.set_name(name);
  entry.set_value(setting.value);
  entry.set_source(SourceOf(setting.source));
  entry.set_default_value(std::string(key.default_value));
  entry.set_type(TypeOf(key.type));
  entry.set_range(key.Range());
  entry.set_documentation(std::string(key.doc));
}

// All entries of a topic, or (null) of the cluster.
void AddEntries(const metadata::Image& image, const metadata::Topic* topic, google::protobuf::RepeatedPtrField<v1::ConfigEntry>* entries) {
  for (const metadata::ConfigKey& key : metadata::ConfigKeys()) {
    const std::string name(key.name);
    const bool of_topic = key.scope == metadata::ConfigScope::kTopic;
    if (topic != nullptr) {
      if (of_topic) AddEntry(key, name, EffectiveSetting(image, *topic, name), entries);
      continue;
    }
    const std::string cluster_name = of_topic ? "topic." + name : name;
    AddEntry(key, cluster_name, EffectiveSetting(image, cluster_name), entries);
  }
  std::sort(entries->begin(), entries->end(), [](const v1::ConfigEntry& a, const v1::ConfigEntry& b) { return a.name() < b.name(); });
}

template <typename Message>
metadata::RequestTag TagOf(const Message& request) {
  return {.request_id = request.request_id(), .validate_only = request.validate_only()};
}

}  // namespace

TopicCalls::TopicCalls(const MemberContext& member, Decisions& decisions) : member_(member), decisions_(decisions) {
  CallBoard& board = member_.board;
  board.Register<v1::CreateTopicRequest>("/flotilla.v1.AdminService/CreateTopic",
                                         {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { Create(id, r); }});
  board.Register<v1::DeleteTopicRequest>("/flotilla.v1.AdminService/DeleteTopic",
                                         {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { Delete(id, r); }});
  board.Register<v1::AddPartitionsRequest>(
      "/flotilla.v1.AdminService/AddPartitions",
      {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { AddPartitions(id, r); }});
  board.Register<v1::UpdateConfigRequest>(
      "/flotilla.v1.AdminService/UpdateConfig",
      {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { UpdateConfig(id, r); }});
  board.Register<v1::GetTopicRequest>(
      "/flotilla.v1.AdminService/GetTopic",
      {.serve = [this](uint64_t id, const auto& r) { Get(id, r); }, .repeatable = true, .look = Look::kMonotonic});
  board.Register<v1::ListTopicsRequest>(
      "/flotilla.v1.AdminService/ListTopics",
      {.serve = [this](uint64_t id, const auto& r) { List(id, r); }, .repeatable = true, .look = Look::kMonotonic});
  board.Register<v1::GetConfigRequest>(
      "/flotilla.v1.AdminService/GetConfig",
      {.serve = [this](uint64_t id, const auto& r) { GetConfig(id, r); }, .repeatable = true, .look = Look::kMonotonic});
}

// --- Changes

void TopicCalls::Create(uint64_t id, const v1::CreateTopicRequest& request) {
  if (!request.topic().topic_id().empty()) {
    return member_.board.Fail(
        id, Status(Reason::kInvalidArgument, "topic.topic_id is given by the cluster; leave it out").With("field", "topic.topic_id"));
  }
  metadata::CreateTopic create{.topic = {.topic_namespace = request.topic().topic_namespace(), .name = request.topic().name(), .id = {}},
                               .tag = TagOf(request)};
  if (request.has_partition_count()) create.partition_count = request.partition_count();
  if (request.has_replication_factor()) create.replication_factor = request.replication_factor();
  create.configs.insert(request.config().begin(), request.config().end());
  if (request.validate_only()) {
    Result<v1::Topic> preview = Preview(create, {});
    if (!preview.ok()) return member_.board.Fail(id, preview.status());
    v1::CreateTopicResponse response;
    *response.mutable_topic() = *std::move(preview);
    return member_.board.Answer(id, response);
  }
  decisions_.Submit(create, [this, id](const metadata::Answer& answer) { Grow(id, answer, true); });
}

void TopicCalls::AddPartitions(uint64_t id, const v1::AddPartitionsRequest& request) {
  const Result<metadata::TopicSelector> selector = SelectorOf(request.topic());
  if (!selector.ok()) return member_.board.Fail(id, selector.status());
  metadata::AddPartitions add{.topic = *selector, .partition_count = request.partition_count(), .tag = TagOf(request)};
  if (request.has_expected_partition_count()) add.expected_partition_count = request.expected_partition_count();
  if (request.validate_only()) {
    const Result<const metadata::Topic*> topic = metadata::SelectTopic(*selector, member_.image());
    if (!topic.ok()) return member_.board.Fail(id, topic.status());
    Result<v1::Topic> preview = Preview(add, (*topic)->id);
    if (!preview.ok()) return member_.board.Fail(id, preview.status());
    v1::AddPartitionsResponse response;
    *response.mutable_topic() = *std::move(preview);
    return member_.board.Answer(id, response);
  }
  decisions_.Submit(add, [this, id](const metadata::Answer& answer) { Grow(id, answer, false); });
}

Result<v1::Topic> TopicCalls::Preview(const metadata::Request& request, const Uuid& topic) const {
  const Result<metadata::Shared<metadata::Image>> after = ImageAfter(request, member_.image(), member_.time.clock().WallMillis());
  if (!after.ok()) return after.status();
  v1::Topic described = DescribeTopic(*(*after)->FindTopic(topic.nil() ? PreviewId() : topic), member_.leaders);
  if (topic.nil()) described.mutable_topic()->clear_topic_id();
  return described;
}

// The change is made; it is told when it can be used.
void TopicCalls::Grow(uint64_t id, const metadata::Answer& answer, bool created) {
  if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
  const raft::Tick deadline = member_.board.DeadlineOf(id);
  const raft::Tick margin = member_.time.Ticks(kAnswerMargin);
  const Growing growing{
      .topic = answer.outcome.topic, .version = answer.version, .until = deadline < margin ? 0 : deadline - margin, .created = created};
  if (!AnswerIfGrown(id, growing)) growing_.emplace(id, growing);
}

bool TopicCalls::AnswerIfGrown(uint64_t id, const Growing& growing) {
  const metadata::Topic* topic = member_.image().FindTopic(growing.topic);
  if (topic == nullptr) {
    member_.board.Fail(id, Refuse(Refusal::kTopicNotFound, "the topic was deleted right after it was changed"));
    return true;
  }
  const bool led = std::all_of(topic->partitions.begin(), topic->partitions.end(),
                               [this](const auto& partition) { return member_.leaders.Of(partition->group).node.value() != 0; });
  if (!led && growing.until > member_.time.now()) return false;
  if (growing.created) {
    v1::CreateTopicResponse response;
    *response.mutable_topic() = DescribeTopic(*topic, member_.leaders);
    response.set_metadata_version(static_cast<int64_t>(growing.version.value()));
    member_.board.Answer(id, response, growing.version);
  } else {
    v1::AddPartitionsResponse response;
    *response.mutable_topic() = DescribeTopic(*topic, member_.leaders);
    response.set_metadata_version(static_cast<int64_t>(growing.version.value()));
    member_.board.Answer(id, response, growing.version);
  }
  return true;
}

void TopicCalls::OnLeader(GroupId group) {
  const metadata::PartitionKey* key = member_.image().groups.Find(group);
  if (key == nullptr) return;
  for (auto at = growing_.begin(); at != growing_.end();) {
    const auto [id, growing] = *at;
    at = growing.topic == key->topic && AnswerIfGrown(id, growing) ? growing_.erase(at) : std::next(at);
  }
}

void TopicCalls::Tick() {
  for (auto at = growing_.begin(); at != growing_.end();) {
    const auto [id, growing] = *at;
    at = growing.until <= member_.time.now() && AnswerIfGrown(id, growing) ? growing_.erase(at) : std::next(at);
  }
}

void TopicCalls::Delete(uint64_t id, const v1::DeleteTopicRequest& request) {
  const Result<metadata::TopicSelector> selector = SelectorOf(request.topic());
  if (!selector.ok()) return member_.board.Fail(id, selector.status());
  v1::DeleteTopicResponse response;
  if (const Result<const metadata::Topic*> topic = metadata::SelectTopic(*selector, member_.image()); topic.ok()) {
    *response.mutable_topic() = DescribeTopic(**topic, member_.leaders);
    response.mutable_topic()->set_state(v1::TOPIC_STATE_DELETING);
  }
  decisions_.Submit(metadata::DeleteTopic{.topic = *selector, .tag = TagOf(request)},
                    [this, id, response](const metadata::Answer& answer) mutable {
                      if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
                      response.set_metadata_version(static_cast<int64_t>(answer.version.value()));
                      member_.board.Answer(id, response, answer.version);
                    });
}

void TopicCalls::UpdateConfig(uint64_t id, const v1::UpdateConfigRequest& request) {
  const Result<std::optional<metadata::TopicSelector>> resource = ResourceOf(request.resource());
  if (!resource.ok()) return member_.board.Fail(id, resource.status());
  metadata::ChangeConfig change{.topic = *resource, .tag = TagOf(request)};
  change.set.insert(request.set_values().begin(), request.set_values().end());
  change.reset.assign(request.unset_names().begin(), request.unset_names().end());
  if (request.has_expected_version()) change.expected_version = request.expected_version();
  decisions_.Submit(change, [this, id, resource = request.resource()](const metadata::Answer& answer) {
    if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
    AnswerConfig(id, resource, answer.version);
  });
}

void TopicCalls::AnswerConfig(uint64_t id, const v1::ConfigResource& resource, LogIndex version) {
  v1::UpdateConfigResponse response;
  const metadata::Image& image = member_.image();
  const metadata::Topic* topic = nullptr;
  if (resource.has_topic()) {
    const Result<const metadata::Topic*> found = FindTopic(resource.topic(), image);
    if (!found.ok()) return member_.board.Fail(id, found.status());
    topic = *found;
  }
  AddEntries(image, topic, response.mutable_entries());
  response.set_version(static_cast<int64_t>(topic == nullptr ? image.cluster_config_version : topic->config_version));
  response.set_metadata_version(static_cast<int64_t>(version.value()));
  member_.board.Answer(id, response, version);
}

Result<std::optional<metadata::TopicSelector>> TopicCalls::ResourceOf(const v1::ConfigResource& resource) const {
  switch (resource.resource_case()) {
    case v1::ConfigResource::kTopic: {
      const Result<metadata::TopicSelector> selector = SelectorOf(resource.topic());
      if (!selector.ok()) return selector.status();
      return std::optional(*selector);
    }
    case v1::ConfigResource::kCluster:
      if (resource.cluster()) return std::optional<metadata::TopicSelector>();
      break;
    case v1::ConfigResource::RESOURCE_NOT_SET: break;
  }
  return Status(Reason::kInvalidArgument, "resource names neither a topic nor the cluster; set resource.topic, or resource.cluster to true")
      .With("field", "resource");
}

// --- Looks

void TopicCalls::Get(uint64_t id, const v1::GetTopicRequest& request) {
  const Result<const metadata::Topic*> topic = FindTopic(request.topic(), member_.image());
  if (!topic.ok()) return member_.board.Fail(id, topic.status());
  v1::GetTopicResponse response;
  *response.mutable_topic() = DescribeTopic(**topic, member_.leaders);
  member_.board.Answer(id, response);
}

void TopicCalls::List(uint64_t id, const v1::ListTopicsRequest& request) {
  const Result<Page> page = PageOf(request.page_size(), request.page_token());
  if (!page.ok()) return member_.board.Fail(id, page.status());
  if (Status status = metadata::CheckNamespace(request.topic_namespace()); !status.ok()) return member_.board.Fail(id, status);
  v1::ListTopicsResponse response;
  const metadata::Image& image = member_.image();
  const std::string& prefix = request.name_prefix();
  const metadata::TopicName from{std::string(metadata::kDefaultNamespace), std::max(page->after, prefix)};
  image.topic_names.ForEachFrom(from, [&](const metadata::TopicName& name, const Uuid& topic) {
    if (name.topic_namespace != metadata::kDefaultNamespace || name.name.compare(0, prefix.size(), prefix) != 0) return false;
    if (name.name <= page->after) return true;
    if (static_cast<size_t>(response.topics_size()) == page->size) {
      response.set_next_page_token(TokenAfter(response.topics().rbegin()->topic().name()));
      return false;
    }
    *response.add_topics() = DescribeTopic(*image.FindTopic(topic), member_.leaders);
    return true;
  });
  member_.board.Answer(id, response);
}

void TopicCalls::GetConfig(uint64_t id, const v1::GetConfigRequest& request) {
  const Result<std::optional<metadata::TopicSelector>> resource = ResourceOf(request.resource());
  if (!resource.ok()) return member_.board.Fail(id, resource.status());
  const metadata::Image& image = member_.image();
  v1::GetConfigResponse response;
  const metadata::Topic* topic = nullptr;
  if (request.resource().has_topic()) {
    const Result<const metadata::Topic*> found = FindTopic(request.resource().topic(), image);
    if (!found.ok()) return member_.board.Fail(id, found.status());
    topic = *found;
  }
  AddEntries(image, topic, response.mutable_entries());
  response.set_version(static_cast<int64_t>(topic == nullptr ? image.cluster_config_version : topic->config_version));
  member_.board.Answer(id, response);
}

}  // namespace flotilla::broker
