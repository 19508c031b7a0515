// Nodes as tables and lines.
#pragma once

#include <string>

#include "client/cli/session.h"
#include "flotilla/v1/cluster.pb.h"
#include "flotilla/v1/metadata.pb.h"

namespace flotilla::cli {

void PrintNodes(Session& session, const google::protobuf::RepeatedPtrField<v1::Node>& nodes);
void PrintNode(Session& session, const v1::GetNodeResponse& response);
// "leaders 3, replicas 12, 1.2GiB left, 45%, 3m20s to go: what holds it up".
std::string EvacuationText(const v1::Evacuation& evacuation);

}  // namespace flotilla::cli
