#include "server/broker/node_calls.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/group_view.h"
#include "server/broker/limits.h"
#include "server/broker/node_view.h"
#include "server/broker/paging.h"

namespace flotilla::broker {
namespace {

// Nodes whose evacuation somebody looks at.
constexpr size_t kPacesKept = 2 * flotilla::limits::kNodesMax;

NodeId IdOf(int32_t node_id) { return NodeId{static_cast<uint64_t>(std::max(node_id, 0))}; }

Status NoSuchNode(int32_t node_id) {
  return Refuse(Refusal::kNodeNotFound, "node " + std::to_string(node_id) + " is not in the cluster")
      .With("node_id", std::to_string(node_id));
}

// INVALID_ARGUMENT: a token that no answer contained.
Result<uint64_t> LastOf(const Page& page) {
  uint64_t last = 0;
  for (const char c : page.after) {
    if (c < '0' || c > '9' || page.after.size() > 9) {
      return Status(Reason::kInvalidArgument, "page_token was in no answer; use next_page_token as it came").With("field", "page_token");
    }
    last = last * 10 + static_cast<uint64_t>(c - '0');
  }
  return last;
}

}  // namespace

NodeCalls::NodeCalls(const MemberContext& member, Decisions& decisions, GroupDescriptions& descriptions)
    : member_(member), decisions_(decisions), descriptions_(descriptions), paces_(kPacesKept) {
  CallBoard& board = member_.board;
  board.Register<v1::ListNodesRequest>(
      "/flotilla.v1.ClusterService/ListNodes",
      {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { List(id, r); }, .repeatable = true});
  board.Register<v1::GetNodeRequest>(
      "/flotilla.v1.ClusterService/GetNode",
      {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { Get(id, r); }, .repeatable = true});
  board.Register<v1::CheckSafeToStopRequest>(
      "/flotilla.v1.ClusterService/CheckSafeToStop",
      {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { CheckSafeToStop(id, r); }, .repeatable = true});
  // Not repeatable: the second time there is no such node.
  board.Register<v1::RemoveNodeRequest>("/flotilla.v1.ClusterService/RemoveNode",
                                        {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { Remove(id, r); }});
  RegisterModeChange<v1::DrainNodeRequest, v1::DrainNodeResponse>("/flotilla.v1.ClusterService/DrainNode",
                                                                  {.node = {}, .mode = metadata::NodeMode::kDraining});
  RegisterModeChange<v1::UndrainNodeRequest, v1::UndrainNodeResponse>("/flotilla.v1.ClusterService/UndrainNode",
                                                                      {.node = {}, .mode = metadata::NodeMode::kActive});
  RegisterModeChange<v1::DecommissionNodeRequest, v1::DecommissionNodeResponse>("/flotilla.v1.ClusterService/DecommissionNode",
                                                                                {.node = {}, .mode = metadata::NodeMode::kDecommissioning});
  RegisterModeChange<v1::RecommissionNodeRequest, v1::RecommissionNodeResponse>(
      "/flotilla.v1.ClusterService/RecommissionNode", {.node = {}, .mode = metadata::NodeMode::kActive, .recommission = true});
}

// --- What nodes are used for

template <typename Request, typename Response>
void NodeCalls::RegisterModeChange(std::string_view name, const metadata::ChangeNodeMode& change) {
  const auto serve = [this, change](uint64_t id, const Request& request) {
    if (request.node_id() <= 0) return member_.board.Fail(id, NoSuchNode(request.node_id()));
    metadata::ChangeNodeMode wanted = change;
    wanted.node = IdOf(request.node_id());
    wanted.validate_only = request.validate_only();
    decisions_.Submit(wanted, [this, id, node_id = request.node_id()](const metadata::Answer& answer) {
      if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
      // Gone already: all that held a node that is decommissioned.
      const metadata::Node* node = FindOrFail(id, node_id);
      if (node == nullptr) return;
      Response response;
      *response.mutable_node() = Describe(*node, member_.controller.reports());
      response.set_metadata_version(static_cast<int64_t>(answer.version.value()));
      member_.board.Answer(id, response, answer.version);
    });
  };
  member_.board.Register<Request>(name, {.place = Place::kMetadataLeader, .serve = serve, .repeatable = true});
}

void NodeCalls::Remove(uint64_t id, const v1::RemoveNodeRequest& request) {
  if (request.node_id() <= 0) return member_.board.Fail(id, NoSuchNode(request.node_id()));
  const NodeId node = IdOf(request.node_id());
  decisions_.Submit(metadata::RemoveNode{.node = node, .validate_only = request.validate_only()},
                    [this, id, node, only_checked = request.validate_only()](const metadata::Answer& answer) {
                      if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
                      v1::RemoveNodeResponse response;
                      response.set_removed(only_checked ? GroupsOn(node).empty() : member_.image().FindNode(node) == nullptr);
                      response.set_metadata_version(static_cast<int64_t>(answer.version.value()));
                      member_.board.Answer(id, response, answer.version);
                    });
}

// --- Looks

v1::Node NodeCalls::Describe(const metadata::Node& node, const std::map<NodeId, metadata::NodeReport>& reports) const {
  v1::Node described = DescribeNode(node);
  const auto report = reports.find(node.id);
  if (report == reports.end()) return described;
  int64_t last_seen = 0;
  if (const std::optional<raft::Tick> heard = member_.controller.LastHeard(node.id)) {
    last_seen = member_.time.clock().WallMillis() - member_.time.Millis(member_.time.now() - std::min(*heard, member_.time.now()));
  }
  AddReport(report->second, last_seen, &described);
  return described;
}

void NodeCalls::List(uint64_t id, const v1::ListNodesRequest& request) {
  const Result<Page> page = PageOf(request.page_size(), request.page_token());
  if (!page.ok()) return member_.board.Fail(id, page.status());
  const Result<uint64_t> after = LastOf(*page);
  if (!after.ok()) return member_.board.Fail(id, after.status());
  const std::map<NodeId, metadata::NodeReport> reports = member_.controller.reports();
  v1::ListNodesResponse response;
  member_.image().nodes.ForEach([&](NodeId node_id, const metadata::Shared<metadata::Node>& node) {
    if (node_id.value() <= *after) return;
    if (static_cast<size_t>(response.nodes_size()) < page->size) {
      *response.add_nodes() = Describe(*node, reports);
    } else if (response.next_page_token().empty()) {
      response.set_next_page_token(TokenAfter(std::to_string(response.nodes().rbegin()->node_id())));
    }
  });
  member_.board.Answer(id, response);
}

const metadata::Node* NodeCalls::FindOrFail(uint64_t id, int32_t node_id) {
  const metadata::Node* node = member_.image().FindNode(IdOf(node_id));
  if (node == nullptr) member_.board.Fail(id, NoSuchNode(node_id));
  return node;
}

std::vector<GroupId> NodeCalls::GroupsOn(NodeId node) const {
  std::vector<GroupId> groups;
  member_.image().ForEachReplicaOn(node, [&groups](GroupId group, const ReplicaId&) { groups.push_back(group); });
  return groups;
}

void NodeCalls::Get(uint64_t id, const v1::GetNodeRequest& request) {
  const metadata::Node* node = FindOrFail(id, request.node_id());
  if (node == nullptr) return;
  if (node->mode != metadata::NodeMode::kActive) {
    return descriptions_.Ask(GroupsOn(node->id),
                             [this, id, node_id = node->id](const GroupDescriptions::Found& found) { AnswerGet(id, node_id, found); });
  }
  v1::GetNodeResponse response;
  *response.mutable_node() = Describe(*node, member_.controller.reports());
  member_.board.Answer(id, response);
}

void NodeCalls::AnswerGet(uint64_t id, NodeId node_id, const GroupDescriptions::Found& found) {
  const metadata::Node* node = FindOrFail(id, static_cast<int32_t>(node_id.value()));
  if (node == nullptr) return;
  v1::GetNodeResponse response;
  *response.mutable_node() = Describe(*node, member_.controller.reports());
  if (node->mode == metadata::NodeMode::kActive) return member_.board.Answer(id, response);
  const metadata::MovePlanOptions plan;
  const metadata::GroupSizes& sizes = member_.controller.sizes();
  const NodeView view{.image = member_.image(),
                      .leaders = member_.leaders,
                      .groups = found,
                      .metadata_group = DescribeGroup(member_, metadata::kMetadataGroup)};
  v1::Evacuation& evacuation = *response.mutable_evacuation();
  evacuation = DescribeEvacuation(*node, view, sizes, PlanMoves(member_.image(), sizes, plan).obstacles);
  // Replicas count beyond their bytes, as they do for the plan; a node that is only drained has leaderships to give.
  const uint64_t left =
      node->mode == metadata::NodeMode::kDraining
          ? static_cast<uint64_t>(evacuation.leaders_left() - evacuation.leaders_stuck())
          : static_cast<uint64_t>(evacuation.bytes_left()) + static_cast<uint64_t>(evacuation.replicas_left()) * plan.replica_cost_bytes;
  const Pace pace = paces_.Look({.what = node_id.value(), .since = node->mode_changed_at_ms}, left, member_.time.clock().Now());
  evacuation.set_percent(evacuation.complete() ? 100 : pace.most == 0 ? 0 : static_cast<int32_t>(99 * (pace.most - left) / pace.most));
  evacuation.set_remaining_ms(pace.remaining_ms);
  member_.board.Answer(id, response);
}

void NodeCalls::CheckSafeToStop(uint64_t id, const v1::CheckSafeToStopRequest& request) {
  const metadata::Node* node = FindOrFail(id, request.node_id());
  if (node == nullptr) return;
  descriptions_.Ask(GroupsOn(node->id), [this, id, node_id = node->id](const GroupDescriptions::Found& found) {
    member_.board.Answer(id, JudgeStop(node_id, {.image = member_.image(),
                                                 .leaders = member_.leaders,
                                                 .groups = found,
                                                 .metadata_group = DescribeGroup(member_, metadata::kMetadataGroup)}));
  });
}

}  // namespace flotilla::broker
