#include "server/metadata/topic_rules.h"

#include <algorithm>

#include "server/metadata/limits.h"

namespace flotilla::metadata {
namespace {

// Names in one message: enough to go and look.
constexpr size_t kNamesMax = 10;

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

std::string NameOf(char c) {
  if (c == ' ') return "a space";
  if (c == '/') return "a slash";
  if (c == '\0') return "a NUL byte";
  return "the character " + Quoted(std::string_view(&c, 1));
}

Status BadName(std::string message) { return Status(Reason::kInvalidArgument, std::move(message)).With("field", "topic.name"); }

}  // namespace

Status CheckTopicName(std::string_view name) {
  if (name.empty()) return BadName("the topic has no name; use 1 to 249 letters, digits, '.', '_', '-'");
  if (name.size() > limits::kTopicNameBytesMax) {
    return Status(Reason::kLimitExceeded, "topic name " + Quoted(name) + " has " + std::to_string(name.size()) +
                                              " characters; the limit is " + std::to_string(limits::kTopicNameBytesMax))
        .With("field", "topic.name")
        .With("limit", limits::kTopicNameBytesMax)
        .With("value", name.size());
  }
  if (name == "." || name == "..") return BadName("a topic cannot be called " + Quoted(name) + "; that is a directory");
  const auto wrong = std::find_if_not(name.begin(), name.end(), IsNameCharacter);
  if (wrong == name.end()) return {};
  return BadName("topic name " + Quoted(name) + " has " + NameOf(*wrong) + "; use letters, digits, '.', '_', '-'");
}

Status CheckNamespace(std::string_view topic_namespace) {
  if (topic_namespace.empty() || topic_namespace == kDefaultNamespace) return {};
  return Status(Reason::kInvalidArgument, "namespace " + Quoted(topic_namespace) + " does not exist; \"" + std::string(kDefaultNamespace) +
                                              "\" is the only one, leave it empty")
      .With("field", "topic.topic_namespace");
}

Status CheckReplicationFactor(int64_t replication_factor, const Image& image) {
  const auto& allowed = limits::kReplicationFactors;
  if (std::find(allowed.begin(), allowed.end(), replication_factor) == allowed.end()) {
    return Status(Reason::kInvalidArgument, "replication factor " + std::to_string(replication_factor) +
                                                " is not 1, 3 or 5; an even number adds a copy and no safety")
        .With("field", "replication_factor");
  }
  const size_t takers = image.NodesForReplicas().size();
  if (static_cast<size_t>(replication_factor) <= takers) return {};
  const size_t going = image.nodes.size() - image.NodesInUse();
  return Refuse(Refusal::kNotEnoughNodes,
                "replication factor " + std::to_string(replication_factor) + " needs as many living nodes, there are " +
                    std::to_string(takers) + " of " + std::to_string(image.nodes.size()) +
                    (going == 0 ? "" : " (" + std::to_string(going) + " being decommissioned)") + "; start more, or ask for fewer replicas")
      .With("replication_factor", static_cast<uint64_t>(replication_factor))
      .With("live_nodes", takers);
}

Status CheckPartitionCount(int64_t partition_count) {
  if (partition_count < 1) {
    return Status(Reason::kInvalidArgument, std::to_string(partition_count) + " partitions; a topic has at least 1")
        .With("field", "partition_count");
  }
  if (partition_count <= int64_t{limits::kPartitionsPerTopicMax}) return {};
  return Status(Reason::kLimitExceeded, std::to_string(partition_count) + " partitions are more than a topic may have; the limit is " +
                                            std::to_string(limits::kPartitionsPerTopicMax))
      .With("field", "partition_count")
      .With("limit", limits::kPartitionsPerTopicMax)
      .With("value", static_cast<uint64_t>(partition_count));
}

Result<const Topic*> SelectTopic(const TopicSelector& selector, const Image& image) {
  if (selector.name.empty() && selector.id.nil()) {
    return Status(Reason::kInvalidArgument, "no topic is named; say its name, its id, or both").With("field", "topic");
  }
  FLOTILLA_RETURN_IF_ERROR(CheckNamespace(selector.topic_namespace));
  if (!selector.name.empty()) FLOTILLA_RETURN_IF_ERROR(CheckTopicName(selector.name));
  const Topic* topic = selector.name.empty() ? image.FindTopic(selector.id) : image.FindTopic(kDefaultNamespace, selector.name);
  if (topic == nullptr) {
    return Refuse(Refusal::kTopicNotFound, "there is no topic " + Describe(selector))
        .With("topic", selector.name)
        .With("topic_id", selector.id.nil() ? "" : selector.id.ToString());
  }
  if (!selector.id.nil() && selector.id != topic->id) {
    return Refuse(Refusal::kTopicNotFound, "topic " + Quoted(topic->name) + " is now " + topic->id.ToString() + ", not " +
                                               selector.id.ToString() + "; it was deleted and created again")
        .With("topic", selector.name)
        .With("topic_id", topic->id.ToString());
  }
  return topic;
}

std::string PartitionName(const Topic& topic, const Partition& partition) { return topic.name + "/" + std::to_string(partition.number); }

Result<PartitionChoice> SelectPartition(const TopicSelector& selector, int64_t partition, const Image& image) {
  const Result<const Topic*> topic = SelectTopic(selector, image);
  if (!topic.ok()) return topic.status();
  const auto count = static_cast<int64_t>((*topic)->partitions.size());
  if (partition >= 0 && partition < count) return PartitionChoice{*topic, (*topic)->partitions[static_cast<size_t>(partition)].get()};
  return Refuse(Refusal::kPartitionNotFound, "topic " + Quoted((*topic)->name) + " has partitions 0.." + std::to_string(count - 1) +
                                                 ", not " + std::to_string(partition))
      .With("topic", (*topic)->name)
      .With("partition", std::to_string(partition))
      .With("partition_count", static_cast<uint64_t>(count));
}

std::string FirstNames(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kNamesMax); ++i) text += (i == 0 ? "" : ", ") + names[i];
  return text;
}

std::string NamesOf(const std::vector<std::string>& names) {
  const std::string first = FirstNames(names);
  return names.size() <= kNamesMax ? first : first + " and " + std::to_string(names.size() - kNamesMax) + " more";
}

Status About(Status status, const PartitionChoice& choice) {
  return status.With("topic", choice.topic->name).With("partition", choice.partition->number);
}

std::string Describe(const TopicSelector& selector) { return selector.name.empty() ? selector.id.ToString() : Quoted(selector.name); }

}  // namespace flotilla::metadata
