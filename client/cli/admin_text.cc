#include "client/cli/admin_text.h"

#include <cctype>
#include <charconv>

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
    if (replica.leaving()) text += "-";
    const bool lags = replica.state() != v1::REPLICA_STATE_UNSPECIFIED && replica.state() != v1::REPLICA_STATE_IN_SYNC;
    if (lags) text += "*";
  }
  return text;
}

std::string NodesText(const google::protobuf::RepeatedField<int32_t>& nodes) {
  std::string text;
  for (const int32_t node : nodes) text += (text.empty() ? "" : ",") + std::to_string(node);
  return text;
}

std::string TopicText(const v1::TopicRef& topic) {
  const bool plain = topic.topic_namespace().empty() || topic.topic_namespace() == "default";
  return plain ? topic.name() : topic.topic_namespace() + "/" + topic.name();
}

std::string PartitionText(const v1::PartitionRef& partition) {
  return TopicText(partition.topic()) + "/" + std::to_string(partition.partition());
}

std::optional<v1::PartitionRef> ParsePartition(std::string_view text) {
  const size_t slash = text.rfind('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size()) return std::nullopt;
  const std::string_view number = text.substr(slash + 1);
  int32_t partition = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), partition);
  if (error != std::errc() || end != number.data() + number.size() || partition < 0) return std::nullopt;
  v1::PartitionRef ref;
  ref.mutable_topic()->set_name(std::string(text.substr(0, slash)));
  ref.set_partition(partition);
  return ref;
}

}  // namespace flotilla::cli
