// Limits of calls, each with its reason. Those of records, logs and metadata stand with what they belong to.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "server/metadata/limits.h"
#include "server/partition/limits.h"
#include "storage/base/clock.h"
#include "storage/base/limits.h"

namespace flotilla::broker::limits {

using flotilla::limits::kKiB;
using flotilla::limits::kMiB;
using flotilla::limits::kProducerIdBlock;

// Items of one request: what a node looks up and answers in one turn.
inline constexpr size_t kRequestItemsMax = 1000;

// A part of a call waits so long for a connection to the leader; then it is asked again who leads. Connecting takes a few
// milliseconds, a host that is down may never answer.
inline constexpr Duration kForwardConnectMax = std::chrono::milliseconds(200);

// A call that was passed on and does no harm twice is asked for again after so long.
inline constexpr Duration kRepeatAfter = std::chrono::seconds(5);

// --- Fetch
inline constexpr size_t kFetchBytesDefault = kMiB;
// For clients that raised what they can receive; others ask for 3 MiB at most.
inline constexpr size_t kFetchBytesMax = 32 * kMiB;
inline constexpr int32_t kFetchWaitMillisDefault = 500;
inline constexpr int32_t kFetchWaitMillisMax = 60'000;
// How long a fetch of several partitions waits for one that does not say what it has, while others have something.
inline constexpr Duration kFetchGatherMax = std::chrono::milliseconds(500);
// A long poll answers so long before the caller's deadline, so that it answers at all.
inline constexpr Duration kLongPollMargin = std::chrono::milliseconds(500);
// And a leader that was asked by another node so long before that.
inline constexpr Duration kForwardedFetchMargin = std::chrono::milliseconds(200);

// --- Subscribe
// One message of a stream: small enough that a slow client holds little, large enough that the call costs nothing per byte.
inline constexpr size_t kStreamMessageBytes = 256 * kKiB;
// What a stream may have read ahead of its client, all partitions together.
inline constexpr size_t kStreamBufferBytes = kMiB;
// What all streams of a node may have waiting for their clients; above that they hold one message each, up to twice as much.
inline constexpr size_t kStreamsBufferBytes = 256 * kMiB;
// A client that takes nothing is ended after so long while that is used up: others need the memory.
inline constexpr Duration kStallWhenScarce = std::chrono::seconds(5);
inline constexpr Duration kSubscribeWaitDefault = std::chrono::milliseconds(100);
inline constexpr Duration kSubscribeWaitMax = std::chrono::seconds(10);
// How long one read of a subscription waits before it asks anew: what ends unnoticed is noticed then.
inline constexpr Duration kSubscribePoll = std::chrono::seconds(10);

// --- Lists
inline constexpr int32_t kPageSizeDefault = 100;
inline constexpr int32_t kPageSizeMax = 1000;

// A produce is answered so long before the caller's deadline, or a tenth of its time: the answer has a way to go, too.
inline constexpr Duration kAnswerMargin = std::chrono::milliseconds(200);

// --- Cluster life
inline constexpr Duration kReportInterval = std::chrono::seconds(1);
inline constexpr Duration kJoinInterval = std::chrono::seconds(1);
// A node that has heard of no leader of the metadata for so long asks others whether it still belongs to them: elections take 2 s.
inline constexpr Duration kLonelyAfter = std::chrono::seconds(10);
inline constexpr Duration kPeerCallTimeout = std::chrono::seconds(5);
// A member that is told for so long that it lives at another address, too, is a copy and stops. One that has moved is told so until its
// silence at the old address is noticed, after 6 s, or twice as long when the metadata changes its leader meanwhile.
inline constexpr Duration kCopyStopsAfter = std::chrono::seconds(30);
// A seed that cannot be reached when a cluster is founded is tried again for so long.
inline constexpr Duration kSeedPatience = std::chrono::seconds(1);
// How long a node that was asked whether it would found a cluster stands by its word.
inline constexpr Duration kFoundingPromise = std::chrono::seconds(10);
// An answer that names a change waits so long for this node's own image to have it.
inline constexpr Duration kOwnImageWait = std::chrono::seconds(2);
// What the leaders of partitions are given to describe them, before their details are left out.
inline constexpr Duration kDescribeTimeout = std::chrono::seconds(1);

static_assert(kStreamMessageBytes <= kStreamBufferBytes);
static_assert(100 * kStreamBufferBytes <= kStreamsBufferBytes, "a hundred streams at least are never in need");
static_assert(kFetchBytesDefault <= kFetchBytesMax);

}  // namespace flotilla::broker::limits
