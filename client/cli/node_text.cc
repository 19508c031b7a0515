#include "client/cli/node_text.h"

#include "client/cli/admin_text.h"
#include "client/cli/table.h"
#include "client/cli/text.h"

namespace flotilla::cli {
namespace {

std::string ModeText(const v1::Node& node) {
  return ShortName(v1::NodeMode_Name(node.mode()), "NODE_MODE_") + (node.unfit_to_lead() ? ",unfit" : "");
}

std::string FeaturesText(const v1::Node& node) {
  return std::to_string(node.feature_level_min()) + "-" + std::to_string(node.feature_level_max());
}

}  // namespace

void PrintNodes(Session& session, const google::protobuf::RepeatedPtrField<v1::Node>& nodes) {
  std::vector<std::string> header = {"NODE", "NAME", "STATE", "MODE", "CLIENTS", "RACK", "REPLICAS", "LEADERS", "DISK-FREE"};
  if (session.wide()) header.insert(header.end(), {"PEERS", "VERSION", "FEATURES", "METADATA", "LAST-SEEN", "UUID", "WARNINGS"});
  Table table(header);
  for (const v1::Node& node : nodes) {
    std::vector<std::string> row = {std::to_string(node.node_id()),
                                    node.name(),
                                    ShortName(v1::NodeState_Name(node.state()), "NODE_STATE_"),
                                    ModeText(node),
                                    node.client_address(),
                                    node.rack(),
                                    std::to_string(node.replica_count()),
                                    std::to_string(node.leader_count()),
                                    node.disk_total_bytes() == 0 ? "" : ByteText(node.disk_free_bytes())};
    if (session.wide()) {
      std::string warnings;
      for (const std::string& warning : node.warnings()) warnings += (warnings.empty() ? "" : "; ") + warning;
      row.insert(row.end(), {node.peer_address(), node.software_version(), FeaturesText(node), std::to_string(node.metadata_version()),
                             TimeText(node.last_seen_ms()), node.node_uuid(), warnings});
    }
    table.Add(std::move(row));
  }
  table.Print(session.out());
}

void PrintNode(Session& session, const v1::GetNodeResponse& response) {
  const v1::Node& node = response.node();
  Table table({"FIELD", "VALUE"});
  table.Add({"node", std::to_string(node.node_id())});
  table.Add({"name", node.name()});
  table.Add({"state", ShortName(v1::NodeState_Name(node.state()), "NODE_STATE_")});
  table.Add({"mode", ModeText(node)});
  table.Add({"clients", node.client_address()});
  table.Add({"peers", node.peer_address()});
  table.Add({"rack", node.rack()});
  table.Add({"uuid", node.node_uuid()});
  table.Add({"version", node.software_version()});
  table.Add({"features", FeaturesText(node)});
  table.Add({"joined", TimeText(node.join_time_ms())});
  table.Add({"last-seen", TimeText(node.last_seen_ms())});
  table.Add({"metadata-version", std::to_string(node.metadata_version())});
  table.Add({"replicas", std::to_string(node.replica_count())});
  table.Add({"leaders", std::to_string(node.leader_count())});
  table.Add({"disk", ByteText(node.disk_free_bytes()) + " free of " + ByteText(node.disk_total_bytes())});
  if (response.has_evacuation()) table.Add({"progress", EvacuationText(response.evacuation())});
  for (const std::string& obstacle : response.evacuation().obstacles()) table.Add({"obstacle", obstacle});
  for (const std::string& warning : node.warnings()) table.Add({"warning", warning});
  table.Print(session.out());
}

std::string EvacuationText(const v1::Evacuation& evacuation) {
  std::string text = std::to_string(evacuation.percent()) + "%, leads " + std::to_string(evacuation.leaders_left());
  if (evacuation.leaders_stuck() > 0) text += " (" + std::to_string(evacuation.leaders_stuck()) + " that no other node can lead)";
  if (evacuation.replicas_left() > 0) {
    text += ", replicas left " + std::to_string(evacuation.replicas_left()) + ", " + ByteText(evacuation.bytes_left());
  }
  if (!evacuation.complete() && evacuation.remaining_ms() > 0) text += ", " + SpanText(evacuation.remaining_ms()) + " to go";
  return text;
}

}  // namespace flotilla::cli
