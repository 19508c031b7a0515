// ClusterService for members: health, where everything is, and the feature level. Nodes: node_calls.h.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "flotilla/v1/cluster.pb.h"
#include "server/broker/decisions.h"
#include "server/broker/group_descriptions.h"
#include "server/broker/member_context.h"

namespace flotilla::broker {

class ClusterCalls final : public CallService {
 public:
  // `warnings`: of this node, for when nobody else answers.
  ClusterCalls(const MemberContext& member, Decisions& decisions, GroupDescriptions& descriptions,
               std::function<std::vector<std::string>()> warnings);

  void Tick() override;
  void OnMetadata() override;

 private:
  void GetHealth(uint64_t id);
  void GetMetadata(uint64_t id, const v1::GetMetadataRequest& request);
  void AnswerMetadata(uint64_t id, const v1::GetMetadataRequest& request);
  void HealthHere(uint64_t id, bool controller_answers);
  void RaiseFeatureLevel(uint64_t id, const v1::RaiseFeatureLevelRequest& request);

  const MemberContext member_;
  Decisions& decisions_;
  GroupDescriptions& descriptions_;
  const std::function<std::vector<std::string>()> warnings_;
  std::map<uint64_t, v1::GetMetadataRequest> waiting_;  // for a version
};

}  // namespace flotilla::broker
