// Pieces that several tables have: enums and references of the protos as short words.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "flotilla/v1/metadata.pb.h"

namespace flotilla::cli {

// "NODE_STATE_ALIVE" as "alive": without the enum's name, in lower case.
std::string ShortName(const std::string& name, std::string_view prefix);
// "1,2,3": node ids; a learner has an l behind it, one that goes a minus, a replica that is not in sync an asterisk.
std::string ReplicasText(const v1::Partition& partition);
// "4,5": node ids.
std::string NodesText(const google::protobuf::RepeatedField<int32_t>& nodes);
// "logs", or "tenant/logs" in another namespace than the default one.
std::string TopicText(const v1::TopicRef& topic);
// "logs/3", and back; nothing: it is no such text.
std::string PartitionText(const v1::PartitionRef& partition);
std::optional<v1::PartitionRef> ParsePartition(std::string_view text);

}  // namespace flotilla::cli
