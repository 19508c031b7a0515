// What clients may send and have open, each with its reason.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "server/partition/batch.h"
#include "storage/base/clock.h"
#include "storage/base/limits.h"

namespace flotilla::rpc::client::limits {

using flotilla::limits::kKiB;
using flotilla::limits::kMiB;

// A whole request, serialized: ServerLimits.request_bytes_max. One entry of the log is as large.
inline constexpr size_t kRequestBytesMax = 8 * kMiB;
// gRPC takes this much before it hangs up without a word: a request that is somewhat too large is answered with an error that
// names limit and value.
inline constexpr size_t kReceiveBytesMax = kRequestBytesMax + 4 * kMiB;
// Items of a ProduceRequest: each costs a result, and a proposal of its own.
inline constexpr size_t kItemsMax = 1000;
// Produce requests that are not answered yet, all calls and streams of a node together; a quarter of what a small machine has.
inline constexpr size_t kInflightBytesMax = 256 * kMiB;
// One ProduceStream is read on while it has less than this unanswered. 64 requests or 8 MiB are promised to clients; small
// requests may be more, because they are what needs many on their way.
inline constexpr size_t kStreamInflightBytesMax = 8 * kMiB;
inline constexpr size_t kStreamInflightRequestsMax = 1024;
// Streams open on a node: each costs some 20 KiB of gRPC's memory.
inline constexpr size_t kStreamsMax = 10'000;
// Calls without a deadline of their own.
inline constexpr Duration kDefaultDeadline = std::chrono::seconds(30);
// A ProduceStream that has nothing to say says so after this long.
inline constexpr Duration kHeartbeatAfter = std::chrono::seconds(10);
// What a slow reader gets to take the last message and the reason why its stream ended, before it is cut off.
inline constexpr Duration kEndGrace = std::chrono::seconds(5);
// How often streams are looked after, and whether the node is available is asked.
inline constexpr Duration kLookAfterEvery = std::chrono::seconds(1);
// Clients may ping this often to find out whether a connection lives.
inline constexpr Duration kPingEveryMin = std::chrono::seconds(10);

static_assert(partition::kBatchRecordsBytesMax <= kRequestBytesMax, "the largest batch that can be stored can nearly be sent");
static_assert(kRequestBytesMax <= kStreamInflightBytesMax && kRequestBytesMax <= kInflightBytesMax,
              "the largest request must be admissible");
static_assert(kStreamInflightRequestsMax >= 64, "promised in produce.proto");
static_assert(kLookAfterEvery * 2 <= kHeartbeatAfter, "heartbeats must not be late by much");

}  // namespace flotilla::rpc::client::limits
