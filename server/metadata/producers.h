// Ids of producers, and their epochs: what deduplication rests on. An id is never given twice, an epoch only
// rises.
//
//   DecideProducerIds({.node = self}, image)                              // 1,000 ids for the node to hand out
//   DecideProducer({.tag = {.request_id = "r"}}, image, context)          // a new producer, the same for "r"
//   DecideProducer({.existing = ProducerEpoch{7, 0}}, image, context)     // producer 7 goes on with epoch 1
//
// A new producer without a request_id costs group 0 nothing but its share of a block. Everything else is
// decided here.
#pragma once

#include <optional>

#include "server/metadata/decision.h"
#include "server/metadata/limits.h"
#include "server/metadata/topic_rules.h"

namespace flotilla::metadata {

struct InitProducer {
  // The producer whose epoch is to be raised, and the epoch that the caller has. Absent: a new producer.
  std::optional<ProducerEpoch> existing = {};
  // Whose partitions the caller wants to be told the number of.
  std::optional<TopicSelector> topic = {};
  RequestTag tag = {};
};
// Outcome::producer_id, producer_epoch, topic, partition_count. Remembered by request_id like any change
// (topics.h), so that a repetition gets the same answer, whatever was raised and grown meanwhile.
//
// FENCED (producer_id, epoch: the latest): the caller's epoch is not the latest. That of a producer of which
// nothing is remembered is taken as the latest; partitions know better and fence it there. INVALID_ARGUMENT:
// an id that was never given. LIMIT_EXCEEDED: there is no epoch above. TOPIC_NOT_FOUND, NOT_INITIALIZED,
// REQUEST_ID_REUSED.
Result<Decision> DecideProducer(const InitProducer& request, const Image& image, const Context& context);

struct ReserveProducerIds {
  NodeId node;
  uint32_t count = limits::kProducerIdBlock;
};
// Outcome::producer_ids_first, producer_ids_count: for `node` alone. A lost answer costs a block, nothing
// else. INVALID_ARGUMENT, LIMIT_EXCEEDED: not 1 to kProducerIdBlock. NODE_NOT_FOUND, NOT_INITIALIZED.
Result<Decision> DecideProducerIds(const ReserveProducerIds& request, const Image& image);

}  // namespace flotilla::metadata
