#include "client/cli/admin_text.h"

#include <cctype>

namespace flotilla::cli {

std::string ShortName(const std::string& name, std::string_view prefix) {
  std::string text = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text == "unspecified" ? std::string() : text;
}

std::string ReplicasText(const v1::Partition& partition) {
  std::string text;
  for (const v1::Replica& replica : partition.replicas()) {
    if (!text.empty()) text += ",";
    text += std::to_string(replica.node_id());
    if (replica.role() == v1::REPLICA_ROLE_LEARNER) text += "l";
    const bool lags = replica.state() != v1::REPLICA_STATE_UNSPECIFIED && replica.state() != v1::REPLICA_STATE_IN_SYNC;
    if (lags) text += "*";
  }
  return text;
}

std::string TopicText(const v1::TopicRef& topic) {
  const bool plain = topic.topic_namespace().empty() || topic.topic_namespace() == "default";
  return plain ? topic.name() : topic.topic_namespace() + "/" + topic.name();
}

}  // namespace flotilla::cli
