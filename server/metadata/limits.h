// The limits of the metadata, each with its reason. Those of logs and messages are in storage/base/limits.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "storage/base/limits.h"

namespace flotilla::limits {

// Nodes of the cluster, dead ones included: every node is a member of group 0.
inline constexpr size_t kNodesMax = kReplicasPerGroupMax;
// Members of group 0 that vote: two may fail, and a commit waits for three disks, not more.
inline constexpr size_t kMetadataVotersMax = 5;
// Replicas on one node to start with: what elections, timers and column families were measured for.
inline constexpr uint64_t kReplicasPerNodeMax = 1000;
// A majority is what is acknowledged: an even number adds a copy and no safety.
inline constexpr std::array<uint32_t, 3> kReplicationFactors = {1, 3, 5};
// Partitions of one topic: one decision has to fit into one entry, with room.
inline constexpr uint32_t kPartitionsPerTopicMax = 10'000;
// A name becomes part of file names, URLs and metrics: 255 less a suffix, as in Kafka.
inline constexpr size_t kTopicNameBytesMax = 249;
inline constexpr size_t kNodeNameBytesMax = 253;
inline constexpr size_t kRackBytesMax = 128;
// "host:port"; a host name has at most 253 characters.
inline constexpr size_t kAddressBytesMax = 260;
inline constexpr size_t kSoftwareVersionBytesMax = 64;
// A client's name for a request: a UUID in any notation fits.
inline constexpr size_t kRequestIdBytesMax = 64;
// A request is remembered for so long, so that a retry does not do it again. All nodes forget alike: another
// value is another format.
inline constexpr int64_t kRememberedRequestMillis = 10 * 60 * 1000;
// ... unless more than so many come within that time: 27 a second.
inline constexpr size_t kRememberedRequestsMax = 16 * 1024;
// Ids of producers that a node takes at a time: one entry of group 0 for a thousand producers. What a node
// has left when it stops is never given, and is not missed: there are 2^63.
inline constexpr uint32_t kProducerIdBlock = 1000;
// Clients see it as an int32.
inline constexpr uint32_t kProducerEpochMax = std::numeric_limits<int32_t>::max();
// Producers whose epoch was raised are remembered, the latest so many, for so long: a partition forgets a
// silent producer after a day, so that older epochs have nobody left to disturb. All nodes forget alike:
// another value is another format.
inline constexpr size_t kRaisedProducersMax = 64 * 1024;
inline constexpr int64_t kRaisedProducerMillis = int64_t{7} * 24 * 60 * 60 * 1000;
// Settings changed by one request, as the API says.
inline constexpr size_t kConfigChangesMax = 100;
// Changes kept for watchers that are a little behind. One that is further behind gets the whole image.
inline constexpr size_t kFeedChangesMax = 1024;
// Decisions proposed and not yet applied: each waits for one sync of a majority, all of them share it.
inline constexpr size_t kPendingDecisionsMax = 4096;

// What a record of a partition takes at most, five replicas and all varints at their longest.
inline constexpr size_t kPartitionRecordBytesMax = 256;
static_assert(kPartitionsPerTopicMax * kPartitionRecordBytesMax <= kEntryPayloadBytesMax, "the largest topic must fit into one entry");
static_assert(kMetadataVotersMax <= kNodesMax);
static_assert(kReplicasPerNodeMax <= kGroupsPerNodeMax);

}  // namespace flotilla::limits
