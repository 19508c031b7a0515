// What a topic may be called and how large it may be.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/errors/refusal.h"
#include "server/metadata/image.h"

namespace flotilla::metadata {

// "orders/3".
std::string PartitionName(const Topic& topic, const Partition& partition);

// How a request names a topic: by name, by id, or by both, which then have to belong together.
struct TopicSelector {
  std::string topic_namespace;  // empty: the default one
  std::string name;
  Uuid id;
};

// INVALID_ARGUMENT, LIMIT_EXCEEDED: empty, too long, ".", "..", or with characters other than A-Z a-z 0-9 . _
// -
Status CheckTopicName(std::string_view name);
// INVALID_ARGUMENT: not the default namespace, which is the only one.
Status CheckNamespace(std::string_view topic_namespace);
// INVALID_ARGUMENT: not 1, 3 or 5. NOT_ENOUGH_NODES: more than nodes that take replicas.
Status CheckReplicationFactor(int64_t replication_factor, const Image& image);
// INVALID_ARGUMENT: below 1. LIMIT_EXCEEDED: above limits::kPartitionsPerTopicMax.
Status CheckPartitionCount(int64_t partition_count);

// TOPIC_NOT_FOUND; INVALID_ARGUMENT: names nothing.
Result<const Topic*> SelectTopic(const TopicSelector& selector, const Image& image);

struct PartitionChoice {
  const Topic* topic = nullptr;
  const Partition* partition = nullptr;
  std::string name() const { return PartitionName(*topic, *partition); }
};
// TOPIC_NOT_FOUND, PARTITION_NOT_FOUND; INVALID_ARGUMENT: names nothing.
Result<PartitionChoice> SelectPartition(const TopicSelector& selector, int64_t partition, const Image& image);

// The refusal with the details that name the partition.
Status About(Status status, const PartitionChoice& choice);

// "orders", "6f96...": what the selector says, for messages.
std::string Describe(const TopicSelector& selector);

// At most ten of the names, as "a, b"; and the same with how many more there are, for messages.
std::string FirstNames(const std::vector<std::string>& names);
std::string NamesOf(const std::vector<std::string>& names);

}  // namespace flotilla::metadata
