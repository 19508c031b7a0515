// What is asked about a node that goes: whether it may stop, and how far it is drained or decommissioned. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "flotilla/v1/cluster.pb.h"
#include "server/broker/group_descriptions.h"
#include "server/broker/leader_table.h"
#include "server/metadata/image.h"
#include "server/metadata/move_plan.h"

namespace flotilla::broker {

struct NodeView {
  const metadata::Image& image;
  const LeaderTable& leaders;
  // Of groups whose leaders answered.
  const GroupDescriptions::Found& groups;
  // Of group 0; nothing: this node does not lead it any more.
  std::optional<internal::v1::GroupDescription> metadata_group = {};
};

// A partition is at risk when its voters in sync without the node are no majority of all; also when nobody knows, and while who
// votes is being changed.
v1::CheckSafeToStopResponse JudgeStop(NodeId node, const NodeView& view);

// Percent and time left are for who remembers: 0 and -1. `sizes`: of groups whose leaders do not answer. `obstacles`: of the plan
// ("topic/partition: why"), of any node.
v1::Evacuation DescribeEvacuation(const metadata::Node& node, const NodeView& view, const metadata::GroupSizes& sizes,
                                  const std::vector<std::string>& obstacles);

}  // namespace flotilla::broker
