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
// With more than so many requests of streams unanswered, all streams of a node together, each is read on only while it has less than what
// is promised: taking in more than can be served takes the processor from what is served. Twice what saturates a node.
inline constexpr size_t kStreamsInflightRequestsMax = 4'096;
inline constexpr size_t kStreamInflightRequestsPromised = 64;
// Streams open on a node: each costs some 20 KiB of gRPC's memory.
inline constexpr size_t kStreamsMax = 10'000;
// Connections open on a node, each 30 KiB and a file descriptor. Descriptors are shared with the store, which fails without: so
// they are counted, and a listener that knows no limit is none for us (server/rpc/listener.h).
inline constexpr size_t kConnectionsMax = 10'000;
// Calls and streams of one connection at a time; further ones wait at the client. Ten times what a busy client needs, and little
// enough that no single one has the node's calls to itself.
inline constexpr size_t kConnectionCallsMax = 1'000;
// A call that its client has reset is none to HTTP/2, which lets the next one in, and still costs the node some 7 KiB until it is taken
// apart. A connection is broken off when so many of it wait for that: three thousand may be those of a client that cancels all that it
// has, three times.
inline constexpr size_t kConnectionCallsLeftMax = 4 * kConnectionCallsMax;
// And when it began so many calls more without a request than with one: no client means to. Few, because gRPC begins calls several
// times as fast as it hands them to us, so that this is a fraction of what is there when it is noticed.
inline constexpr size_t kEmptyCallsMax = 100;
// Fewer when all connections together began so many within a second: there may be a thousand of them that take turns.
inline constexpr size_t kFloodEmptyCalls = 2'000;
inline constexpr size_t kEmptyCallsMaxInFlood = 10;
// What a client gave up because its time was over looks the same, and is our fault when the node is overloaded: ten count as one.
inline constexpr size_t kLateCallsPerEmptyCall = 10;
// Calls that gRPC has taken off connections and not handed to us. Above that whoever takes more off is slowed down.
inline constexpr size_t kCallsWaitingMax = 1'000;
inline constexpr auto kCallsWaitingPause = std::chrono::milliseconds(1);
// Calls at a node at a time, long polls and streams among them: some 20 KiB each.
inline constexpr size_t kCallsMax = 32'768;
// How long a request may take to arrive: 8 MiB at 2.2 Mbit/s.
inline constexpr Duration kUploadMax = std::chrono::seconds(30);
// And how long an answer may take to be taken: 32 MiB at 2.2 Mbit/s.
inline constexpr Duration kAnswerMax = std::chrono::seconds(120);
// Answers of fetches that clients have not taken, all of a node together.
inline constexpr size_t kAnswerBytesMax = 256 * kMiB;
// With half of that in use a fetch brings no more than this, so that many still get something, and who does not take an answer loses
// it sooner, because others wait for the memory.
inline constexpr size_t kFetchBytesUnderPressure = 256 * kKiB;
inline constexpr Duration kAnswerMaxUnderPressure = std::chrono::seconds(5);
// What gRPC may hold of requests that are not complete, as far as we can tell: above that the connections that hold most are broken off.
// In the stead of 256 MiB in flight: what is complete is ours, and not counted here.
inline constexpr size_t kIncompleteBytesMax = 256 * kMiB;
// And what it may hold by its own count, with the connections themselves (some 20 KiB each). When this is nearly used up it takes less
// from all, then it ends streams whoever they belong to: it is not to come to that, not with as many connections as there may be either.
inline constexpr size_t kReceivedBytesMax = 512 * kMiB;
// What clients send along with a call: a token, a trace id. gRPC's own limit, but certain.
inline constexpr size_t kMetadataBytesMax = 8 * kKiB;
// How long a connection may take to say its first word (TLS, HTTP/2's settings).
inline constexpr Duration kHandshakeMax = std::chrono::seconds(10);
// A connection without traffic is asked so often whether its client lives, and is closed when nothing comes back in time: machines
// vanish without a word, and what they had open would count for ever.
inline constexpr Duration kAskAfter = std::chrono::seconds(60);
inline constexpr Duration kAskPatience = std::chrono::seconds(20);
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
static_assert(kConnectionsMax <= kCallsMax && kStreamsMax < kCallsMax,
              "every connection can have a call, and streams leave room for calls");
static_assert(kIncompleteBytesMax + kConnectionsMax * 20 * kKiB + 32 * kMiB <= kReceivedBytesMax,
              "connections are broken off by us, before gRPC ends streams");
static_assert(kIncompleteBytesMax >= 16 * kReceiveBytesMax, "several may send their largest at a time");
static_assert(kUploadMax <= kDefaultDeadline, "a call's time is not over before its request is here");
static_assert(kStreamInflightRequestsMax >= kStreamInflightRequestsPromised, "promised in produce.proto");
static_assert(kLookAfterEvery * 2 <= kHeartbeatAfter, "heartbeats must not be late by much");

}  // namespace flotilla::rpc::client::limits
