// Why a request about the cluster's metadata is refused, where storage's and Raft's reasons
// (storage/base/status.h) do not say it: a Status that also carries the name of an ErrorReason of
// proto/flotilla/v1/errors.proto, without that name's prefix.
//
//   return Refuse(Refusal::kTopicExists, "topic \"orders\" exists; choose another name");
//
//   RefusalOf(status)       // kTopicExists; kNone for any other status
//   RefusalName(...)        // "TOPIC_EXISTS"
//   RefusalCode(...)        // ALREADY_EXISTS: stands for status.code()
//
// Nothing was decided and nothing changed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace flotilla::metadata {

enum class Refusal : uint8_t {
  kNone,
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
};

std::string_view RefusalName(Refusal refusal);
// `refusal` is not kNone.
Code RefusalCode(Refusal refusal);
Status Refuse(Refusal refusal, std::string message);
Refusal RefusalOf(const Status& status);

// A caller's text as it is shown in an error: quoted, what cannot be printed escaped, shortened when long.
std::string Quoted(std::string_view text);

}  // namespace flotilla::metadata
