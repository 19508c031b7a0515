// The metadata image and what is known beside it (leaders, reports) as the messages that clients see. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "flotilla/v1/common.pb.h"
#include "flotilla/v1/metadata.pb.h"
#include "server/broker/leader_table.h"
#include "server/metadata/image.h"
#include "server/metadata/metadata_controller.h"
#include "server/metadata/topic_rules.h"

namespace flotilla::broker {

v1::TopicRef RefOf(const metadata::Topic& topic);
v1::LeaderHint HintOf(const metadata::Image& image, const v1::TopicRef& topic, int32_t partition, const Leader& leader);
v1::Topic DescribeTopic(const metadata::Topic& topic, const LeaderTable& leaders);
// Leader and replicas, while they change both that come and that go; how they do is for their leader to say.
v1::Partition DescribePartition(const metadata::Partition& partition, const LeaderTable& leaders);
v1::TopicMetadata DescribeTopicMetadata(const metadata::Topic& topic, const LeaderTable& leaders);
// The partition that the group is; null, both: none.
struct PartitionPlace {
  const metadata::Topic* topic = nullptr;
  const metadata::Partition* partition = nullptr;
};
PartitionPlace PlaceOf(GroupId group, const metadata::Image& image);
v1::PartitionRef RefOf(const PartitionPlace& place);
// How many replicas the partition should have: while it grows back to what its topic wants, more than the metadata says.
size_t WantedReplicas(const PartitionPlace& place);
v1::UnsafeRecovery DescribeSurvival(const metadata::Survival& survival);
// Text that sorts as topics and numbers do, for pages of partitions.
std::string SortKeyOf(const metadata::Topic& topic, uint32_t partition);
// Without what only reports say.
v1::Node DescribeNode(const metadata::Node& node);
void AddReport(const metadata::NodeReport& report, int64_t last_seen_ms, v1::Node* node);

// INVALID_ARGUMENT: an id that is no UUID.
Result<metadata::TopicSelector> SelectorOf(const v1::TopicRef& ref);
// The topic that the reference names in this image; as metadata::SelectTopic.
Result<const metadata::Topic*> FindTopic(const v1::TopicRef& ref, const metadata::Image& image);
// And one of its partitions: PARTITION_NOT_FOUND.
Result<metadata::PartitionKey> FindPartition(const v1::TopicRef& ref, int32_t partition, const metadata::Image& image);
// Both partitions of the metadata and of topics: the group.
Result<GroupId> FindGroup(const v1::PartitionRef& ref, const metadata::Image& image);

}  // namespace flotilla::broker
