#include "server/broker/cluster_calls.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/health.h"
#include "server/broker/limits.h"
#include "server/broker/paging.h"
#include "server/metadata/move_plan.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kGetHealth = "/flotilla.v1.ClusterService/GetHealth";
constexpr std::string_view kForwardCall = "/flotilla.internal.v1.ForwardService/ForwardCall";

// What keeps replicas on nodes that are being decommissioned. Sizes do not matter for that.
std::vector<std::string> Obstacles(const metadata::Image& image) {
  return image.NodesInUse() == image.nodes.size() ? std::vector<std::string>() : metadata::PlanMoves(image, {}, {}).obstacles;
}

}  // namespace

ClusterCalls::ClusterCalls(const MemberContext& member, Decisions& decisions, GroupDescriptions& descriptions,
                           std::function<std::vector<std::string>()> warnings)
    : member_(member), decisions_(decisions), descriptions_(descriptions), warnings_(std::move(warnings)) {
  CallBoard& board = member_.board;
  board.Register<v1::GetHealthRequest>(kGetHealth, {.serve = [this](uint64_t id, const auto&) { GetHealth(id); }, .repeatable = true});
  board.Register<v1::GetMetadataRequest>(
      "/flotilla.v1.ClusterService/GetMetadata",
      {.serve = [this](uint64_t id, const auto& r) { GetMetadata(id, r); }, .repeatable = true, .look = Look::kCopy});
  board.Register<v1::RaiseFeatureLevelRequest>(
      "/flotilla.v1.ClusterService/RaiseFeatureLevel",
      {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { RaiseFeatureLevel(id, r); }, .repeatable = true});
}

// --- Health

void ClusterCalls::GetHealth(uint64_t id) {
  const Leader controller = member_.leaders.Of(metadata::kMetadataGroup);
  const metadata::Node* node = member_.image().FindNode(controller.node);
  const Caller* caller = member_.board.CallerOf(id);
  // Passed on already, or nobody to pass it on to.
  if (controller.node == member_.self || node == nullptr || caller == nullptr || member_.board.Forwarded(id)) {
    return HealthHere(id, controller.node == member_.self);
  }
  internal::v1::ForwardCallRequest request;
  request.mutable_context()->set_origin_node_id(member_.self.value());
  request.mutable_context()->set_target_node_id(controller.node.value());
  request.mutable_context()->set_principal(caller->principal);
  request.mutable_context()->set_timeout_ms(limits::kDescribeTimeout / std::chrono::milliseconds(1));
  request.set_method(std::string(kGetHealth));
  member_.network.Call(
      node->description.peer_address, kForwardCall, request.SerializeAsString(), 2 * limits::kDescribeTimeout,
      [this, id](const Result<std::string>& answer) {
        internal::v1::ForwardCallResponse forwarded;
        v1::GetHealthResponse health;
        if (answer.ok() && forwarded.ParseFromString(*answer) && !forwarded.has_error() && health.ParseFromString(forwarded.response())) {
          return member_.board.Answer(id, health);
        }
        HealthHere(id, false);
      });
}

void ClusterCalls::HealthHere(uint64_t id, bool controller_answers) {
  std::vector<GroupId> groups;
  member_.image().groups.ForEach([&groups](GroupId group, const metadata::PartitionKey&) { groups.push_back(group); });
  descriptions_.Ask(groups, [this, id, controller_answers](const GroupDescriptions::Found& found) {
    HealthView view{.image = member_.image(),
                    .leaders = member_.leaders,
                    .controller = controller_answers ? member_.self : NodeId{},
                    .reports = member_.controller.reports(),
                    .groups = found};
    if (!controller_answers) view.reports[member_.self].warnings = warnings_();
    if (controller_answers) view.obstacles = Obstacles(member_.image());
    member_.board.Answer(id, JudgeHealth(view));
  });
}

// --- Metadata

void ClusterCalls::GetMetadata(uint64_t id, const v1::GetMetadataRequest& request) {
  if (request.min_version() < 0) {
    return member_.board.Fail(id, Status(Reason::kInvalidArgument, "min_version " + std::to_string(request.min_version()) + " is negative")
                                      .With("field", "min_version"));
  }
  if (member_.image().version < LogIndex{static_cast<uint64_t>(request.min_version())}) {
    waiting_.emplace(id, request);
    return;
  }
  AnswerMetadata(id, request);
}

void ClusterCalls::AnswerMetadata(uint64_t id, const v1::GetMetadataRequest& request) {
  const metadata::Image& image = member_.image();
  const Result<Page> page = PageOf(request.page_size(), request.page_token());
  if (!page.ok() || static_cast<size_t>(request.topics_size()) > limits::kRequestItemsMax) {
    return member_.board.Fail(id, !page.ok()
                                      ? page.status()
                                      : Status(Reason::kLimitExceeded, std::to_string(request.topics_size()) + " topics; the limit is " +
                                                                           std::to_string(limits::kRequestItemsMax))
                                            .With("field", "topics"));
  }
  v1::GetMetadataResponse response;
  response.set_cluster_id(image.cluster ? image.cluster->id.ToString() : "");
  response.set_version(static_cast<int64_t>(image.version.value()));
  response.set_controller_node_id(static_cast<int32_t>(member_.leaders.Of(metadata::kMetadataGroup).node.value()));
  if (page->after.empty()) {
    image.nodes.ForEach([&](NodeId, const metadata::Shared<metadata::Node>& node) { *response.add_nodes() = DescribeNode(*node); });
  }
  std::vector<const metadata::Topic*> topics;
  for (const v1::TopicRef& ref : request.topics()) {
    const Result<const metadata::Topic*> topic = FindTopic(ref, image);
    if (!topic.ok()) return member_.board.Fail(id, topic.status());
    topics.push_back(*topic);
  }
  if (request.topics().empty() && !request.nodes_only()) {
    image.topic_names.ForEachFrom({std::string(metadata::kDefaultNamespace), page->after},
                                  [&](const metadata::TopicName& name, const Uuid& topic) {
                                    if (name.name > page->after) topics.push_back(image.FindTopic(topic));
                                    return topics.size() <= page->size;
                                  });
  }
  std::sort(topics.begin(), topics.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
  std::erase_if(topics, [&](const auto* topic) { return topic->name <= page->after; });
  if (topics.size() > page->size) {
    topics.resize(page->size);
    response.set_next_page_token(TokenAfter(topics.back()->name));
  }
  for (const metadata::Topic* topic : topics) *response.add_topics() = DescribeTopicMetadata(*topic, member_.leaders);
  member_.board.Answer(id, response);
}

// --- The feature level

void ClusterCalls::RaiseFeatureLevel(uint64_t id, const v1::RaiseFeatureLevelRequest& request) {
  if (request.feature_level() < 0) {
    return member_.board.Fail(
        id, Status(Reason::kInvalidArgument, "feature_level " + std::to_string(request.feature_level()) + " is negative; levels begin at 1")
                .With("field", "feature_level")
                .With("value", std::to_string(request.feature_level())));
  }
  const metadata::RaiseFeatureLevel wanted{.level = static_cast<uint32_t>(request.feature_level()),
                                           .validate_only = request.validate_only()};
  decisions_.Submit(wanted, [this, id](const metadata::Answer& answer) {
    if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
    v1::RaiseFeatureLevelResponse response;
    response.set_feature_level(static_cast<int32_t>(answer.outcome.feature_level));
    response.set_previous_feature_level(static_cast<int32_t>(answer.outcome.feature_level_before));
    response.set_metadata_version(static_cast<int64_t>(answer.version.value()));
    member_.board.Answer(id, response, answer.version);
  });
}

void ClusterCalls::OnMetadata() {
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    if (member_.image().version < LogIndex{static_cast<uint64_t>(at->second.min_version())}) {
      ++at;
      continue;
    }
    const auto [id, request] = *at;
    at = waiting_.erase(at);
    AnswerMetadata(id, request);
  }
}

void ClusterCalls::Tick() {
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    // Its answer leaves a little before the board gives it up.
    if (member_.board.DeadlineOf(at->first) > member_.time.now() + 1) {
      ++at;
      continue;
    }
    const uint64_t id = at->first;
    at = waiting_.erase(at);
    member_.board.Fail(
        id, Status(Reason::kNoLeader, "this node has not applied the metadata version that was asked for in time; ask again or elsewhere"));
  }
}

}  // namespace flotilla::broker
