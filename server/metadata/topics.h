// Changes of topics and settings: requests, and how each is decided.
//
//   const CreateTopic request{.topic = {.name = "orders"}, .partition_count = 6};
//   Result<Decision> decided = DecideTopicCreation(request, image, context);
//
// Every request may carry a request_id: carried out once, its repetition gets the same Outcome for ten
// minutes, and REQUEST_ID_REUSED if it is not the same request. With validate_only everything is checked and
// there are no records. All of them may end in NOT_INITIALIZED and, for a bad request_id, INVALID_ARGUMENT or
// LIMIT_EXCEEDED.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/metadata/decision.h"
#include "server/metadata/topic_rules.h"

namespace flotilla::metadata {

struct CreateTopic {
  TopicSelector topic;  // by name
  // Absent: the cluster's default.
  std::optional<int64_t> partition_count = {};
  std::optional<int64_t> replication_factor = {};
  std::map<std::string, std::string> configs = {};
  RequestTag tag = {};
};
// Outcome::topic. INVALID_ARGUMENT, LIMIT_EXCEEDED (also when living nodes have no room for the replicas),
// TOPIC_EXISTS, NOT_ENOUGH_NODES, UNKNOWN_CONFIG.
Result<Decision> DecideTopicCreation(const CreateTopic& request, const Image& image, const Context& context);

struct DeleteTopic {
  TopicSelector topic;
  RequestTag tag = {};
};
// TOPIC_NOT_FOUND.
Result<Decision> DecideTopicDeletion(const DeleteTopic& request, const Image& image, const Context& context);

struct AddPartitions {
  TopicSelector topic;
  int64_t partition_count = 0;  // that it shall have in total
  std::optional<int64_t> expected_partition_count = {};
  RequestTag tag = {};
};
// TOPIC_NOT_FOUND, INVALID_ARGUMENT (not more than it has), LIMIT_EXCEEDED, NOT_ENOUGH_NODES,
// VERSION_MISMATCH.
Result<Decision> DecideMorePartitions(const AddPartitions& request, const Image& image, const Context& context);

struct ChangeConfig {
  std::optional<TopicSelector> topic;  // absent: the cluster's
  std::map<std::string, std::string> set = {};
  std::vector<std::string> reset = {};
  // Only if the settings still have this version.
  std::optional<int64_t> expected_version = {};
  RequestTag tag = {};
};
// Outcome::config_version. No records when all is as asked for. TOPIC_NOT_FOUND, UNKNOWN_CONFIG,
// INVALID_ARGUMENT, VERSION_MISMATCH.
Result<Decision> DecideConfigChange(const ChangeConfig& request, const Image& image, const Context& context);

struct PreferLeader {
  TopicSelector topic;
  int64_t partition = 0;
  NodeId node;
  RequestTag tag = {};
};
// Says who should lead when all is well; moves nothing by itself. TOPIC_NOT_FOUND, PARTITION_NOT_FOUND,
// NODE_NOT_FOUND: the node has no replica.
Result<Decision> DecideLeaderPreference(const PreferLeader& request, const Image& image, const Context& context);

}  // namespace flotilla::metadata
