// Why a request is refused, where storage's and Raft's reasons (storage/base/status.h) do not say it: a Status that also
// carries the name of an ErrorReason of proto/flotilla/v1/errors.proto, without that name's prefix.
//
//   return Refuse(Refusal::kTopicExists, "topic \"orders\" exists; choose another name").With("topic", "orders");
//
//   RefusalOf(status)       // kTopicExists; kNone for any other status
//   RefusalName(...)        // "TOPIC_EXISTS"
//   RefusalCode(...)        // 6, ALREADY_EXISTS: stands for status.code()
//
// Behind each one stand the details that go with it. error_codec.h makes of both kinds what clients see.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace flotilla {

enum class Refusal : uint8_t {
  kNone,
  // The cluster's metadata: nothing was decided and nothing changed.
  kRequestIdReused,  // request_id
  kUnknownConfig,    // name
  kNotInitialized,
  kAlreadyInitialized,  // cluster_id, address
  kTopicExists,         // topic, topic_id
  kTopicNotFound,       // topic, topic_id
  kPartitionNotFound,   // topic, partition, partition_count
  kNodeNotFound,        // node_id
  kVersionMismatch,     // expected, actual
  kNotEnoughNodes,      // replication_factor, live_nodes
  kClusterMismatch,     // ours, theirs (cluster ids)
  kNodeMismatch,        // node_id, ours, theirs (node UUIDs), address
  kProtocolMismatch,    // ours, theirs (as "MIN-MAX")
  // Records: nothing of what is refused was appended.
  kRecordTooLarge,       // limit, value, record
  kCorruptRecords,       // position
  kCrcMismatch,          // expected, actual
  kUnknownCodec,         // codec
  kTimestampOutOfRange,  // timestamp_ms, limit_ms, record
  kOutOfOrder,           // expected, actual
  kFenced,               // producer_id, epoch
  kUnknownProducer,      // producer_id
  kOffsetMismatch,       // expected, actual
  // Calls and streams.
  kUnsupported,
  kDraining,
  kSubscriptionNotFound,  // subscription_id
  kDeadlineExceeded,      // what was on its way may still be applied
  kInternal,              // node_id; what was on its way may have been applied
  kSlowConsumer,          // limit_ms
  kTooManyStreams,        // limit
  kUnauthenticated,
  kPermissionDenied,  // principal, action, resource
  // Nodes and replicas that come and go: nothing was decided and nothing changed.
  kQuorumAtRisk,         // partitions, partition_count
  kNodeAlive,            // node_id
  kNodeDecommissioning,  // node_id
  kMoveUnderWay,         // topic, partition
  kMoveNotFound,         // topic, partition
  kReplicaExists,        // topic, partition, node_id
  kReplicaNotFound,      // topic, partition, node_id
  kBalanceUnderWay,
  kNodeRemoved,  // node_id
  kQuorumAlive,  // topic, partition
};
inline constexpr Refusal kLastRefusal = Refusal::kQuorumAlive;

std::string_view RefusalName(Refusal refusal);
// The number of google.rpc.Code, some of which flotilla::Code does not have. `refusal` is not kNone.
int RefusalCode(Refusal refusal);
Status Refuse(Refusal refusal, std::string message);
Refusal RefusalOf(const Status& status);
// By RefusalName; nothing for any other text.
std::optional<Refusal> RefusalByName(std::string_view name);

// A caller's text as it is shown in an error: quoted, what cannot be printed escaped, shortened when long.
std::string Quoted(std::string_view text);

}  // namespace flotilla
