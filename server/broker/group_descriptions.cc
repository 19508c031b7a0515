#include "server/broker/group_descriptions.h"

#include <string>
#include <utility>

#include "server/broker/group_view.h"
#include "server/broker/limits.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kDescribeGroups = "/flotilla.internal.v1.MembershipService/DescribeGroups";

}  // namespace

GroupDescriptions::GroupDescriptions(const MemberContext& member) : member_(member) {
  member_.board.Register<internal::v1::DescribeGroupsRequest>(
      kDescribeGroups, {.serve = [this](uint64_t id, const auto& r) { Describe(id, r); }, .repeatable = true});
}

void GroupDescriptions::Describe(uint64_t id, const internal::v1::DescribeGroupsRequest& request) {
  if (Status status = CheckGroupCount(request.groups_size()); !status.ok()) return member_.board.Fail(id, status);
  internal::v1::DescribeGroupsResponse response;
  for (const uint64_t group : request.groups()) {
    if (auto described = DescribeGroup(member_, GroupId{group})) *response.add_groups() = *std::move(described);
  }
  member_.board.Answer(id, response);
}

void GroupDescriptions::Ask(const std::vector<GroupId>& groups, Then then) {
  const auto question = std::make_shared<Question>();
  question->then = std::move(then);
  std::map<NodeId, internal::v1::DescribeGroupsRequest> requests;
  for (const GroupId group : groups) {
    const Leader leader = member_.leaders.Of(group);
    if (leader.node == member_.self) {
      if (auto described = DescribeGroup(member_, group)) question->found.emplace(group, *std::move(described));
    } else if (leader.node.value() != 0) {
      requests[leader.node].add_groups(group.value());
    }
  }
  std::erase_if(requests, [this](const auto& entry) { return member_.image().FindNode(entry.first) == nullptr; });
  if (requests.empty()) return question->then(question->found);
  question->waiting = requests.size();
  for (const auto& [node, request] : requests) {
    member_.network.Call(member_.image().FindNode(node)->description.peer_address, kDescribeGroups, request.SerializeAsString(),
                         limits::kDescribeTimeout, [this, question](const Result<std::string>& answer) { OnAnswer(question, answer); });
  }
}

void GroupDescriptions::OnAnswer(const std::shared_ptr<Question>& question, const Result<std::string>& answer) {
  internal::v1::DescribeGroupsResponse response;
  if (answer.ok() && response.ParseFromString(*answer)) {
    for (auto& group : *response.mutable_groups()) question->found.emplace(GroupId{group.group()}, std::move(group));
  }
  if (--question->waiting == 0) question->then(question->found);
}

}  // namespace flotilla::broker
