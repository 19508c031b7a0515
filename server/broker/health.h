// Is all well? From what is known to whom is asked: the metadata leader knows most. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "flotilla/v1/cluster.pb.h"
#include "server/broker/group_descriptions.h"
#include "server/broker/leader_table.h"
#include "server/metadata/image.h"
#include "server/metadata/metadata_controller.h"

namespace flotilla::broker {

struct HealthView {
  const metadata::Image& image;
  const LeaderTable& leaders;
  NodeId controller;
  // As reported; of this node alone when the metadata leader does not answer.
  std::map<NodeId, metadata::NodeReport> reports;
  // Of groups whose leaders answered.
  GroupDescriptions::Found groups;
  // Replicas of decommissioning nodes that have no place to go: "topic/partition: why".
  std::vector<std::string> obstacles = {};
};

// What somebody wants to be so is told (a node that is drained or decommissioned: severity OK) and is no reason to be anything but
// well: who restarts node after node waits for OK in between.
v1::GetHealthResponse JudgeHealth(const HealthView& view);

}  // namespace flotilla::broker
