// Pieces that several tables have: enums and references of the protos as short words.
#pragma once

#include <string>
#include <string_view>

#include "flotilla/v1/metadata.pb.h"

namespace flotilla::cli {

// "NODE_STATE_ALIVE" as "alive": without the enum's name, in lower case.
std::string ShortName(const std::string& name, std::string_view prefix);
// "1,2,3": node ids; a learner has an l behind it, a replica that is not in sync an asterisk.
std::string ReplicasText(const v1::Partition& partition);
// "logs", or "tenant/logs" in another namespace than the default one.
std::string TopicText(const v1::TopicRef& topic);

}  // namespace flotilla::cli
