// ClusterService's calls about single nodes: lists, draining, decommissioning, removal, and whether one may stop. All at the
// metadata leader.
#pragma once

#include <map>
#include <string_view>
#include <vector>

#include "flotilla/v1/cluster.pb.h"
#include "server/broker/decisions.h"
#include "server/broker/group_descriptions.h"
#include "server/broker/member_context.h"
#include "server/broker/pace.h"

namespace flotilla::broker {

class NodeCalls final : public CallService {
 public:
  NodeCalls(const MemberContext& member, Decisions& decisions, GroupDescriptions& descriptions);

 private:
  void List(uint64_t id, const v1::ListNodesRequest& request);
  void Get(uint64_t id, const v1::GetNodeRequest& request);
  void AnswerGet(uint64_t id, NodeId node, const GroupDescriptions::Found& found);
  void CheckSafeToStop(uint64_t id, const v1::CheckSafeToStopRequest& request);
  void Remove(uint64_t id, const v1::RemoveNodeRequest& request);
  template <typename Request, typename Response>
  void RegisterModeChange(std::string_view name, const metadata::ChangeNodeMode& change);

  v1::Node Describe(const metadata::Node& node, const std::map<NodeId, metadata::NodeReport>& reports) const;
  // Null after it has failed the call: NODE_NOT_FOUND.
  const metadata::Node* FindOrFail(uint64_t id, int32_t node_id);
  std::vector<GroupId> GroupsOn(NodeId node) const;

  const MemberContext member_;
  Decisions& decisions_;
  GroupDescriptions& descriptions_;
  Paces paces_;
};

}  // namespace flotilla::broker
