// Parts of clients' calls on their way to a partition's leader: flotilla.internal.v1.ForwardService.ForwardStream as values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "server/metadata/uuid.h"
#include "server/partition/batch.h"
#include "server/partition/fetch.h"
#include "server/partition/produce.h"
#include "storage/base/clock.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"

namespace flotilla::broker {

struct ForwardAppend {
  // Its records are only read: another handle on the same memory may be somewhere else.
  partition::PreparedBatch batch;
  partition::ProducerBatch producer;
  std::optional<uint64_t> after;  // ForwardedAppend.previous_base_sequence
  partition::Acks acks = partition::Acks::kQuorum;
  std::optional<Offset> expected_next_offset;
};
struct ForwardFetch {
  partition::StartPosition start;
  size_t min_bytes = 1;
  Duration max_wait{};
  size_t max_bytes = 0;
};
struct ForwardLocate {
  partition::StartPosition position;
};
struct ForwardCancel {};

struct ForwardRequest {
  uint64_t id = 0;
  NodeId origin;
  NodeId target;
  std::string principal;
  std::string client_address;
  Duration timeout{};
  // While there is no connection it waits for one so long; absent: as long as its timeout. Stays here.
  std::optional<Duration> connect_within = std::nullopt;
  Uuid topic;
  uint32_t partition = 0;
  std::variant<ForwardAppend, ForwardFetch, ForwardLocate, ForwardCancel> operation;
};

struct ForwardAnswer {
  uint64_t id = 0;
  // Of the whole; the status inside of a result is not used. With NOT_LEADER and NO_LEADER:
  Status status;
  NodeId leader;
  Term leader_epoch;
  // ProduceResult of an append, FetchResult of a read and of a lookup (start_offset is the place). With OFFSET_OUT_OF_RANGE a
  // FetchResult has both ends.
  std::variant<std::monostate, partition::ProduceResult, partition::FetchResult> result;
};

}  // namespace flotilla::broker
