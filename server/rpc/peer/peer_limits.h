// The bounds of what waits and of what is on its way between two nodes, and how connections are tried again.
#pragma once

#include <chrono>
#include <cstddef>

#include "server/rpc/peer_codec.h"
#include "storage/base/clock.h"

namespace flotilla::rpc {

struct PeerLimits {
  // Messages that wait for their turn on a stream; Raft sends again what is dropped above that.
  size_t control_queue_bytes = 4 * limits::kMiB;
  size_t data_queue_bytes = 32 * limits::kMiB;
  size_t snapshot_queue_bytes = 16 * limits::kMiB;
  // Sent and not yet acknowledged, per stream: what may pile up at a receiver that is behind. The message
  // that passes the bound still goes.
  size_t window_bytes = 4 * limits::kMiB;
  // The receiver acknowledges after so many bytes that its broker took.
  size_t acknowledge_bytes = 256 * limits::kKiB;
  // Forwarded parts that wait for their turn. And answers, of which those with records give way above that and are asked for again;
  // with twice as much the node that does not read them loses its stream.
  size_t forward_queue_bytes = 64 * limits::kMiB;
  // Forwarded parts that were read and that the broker did not take yet; reading stops above that.
  size_t forward_inbox_bytes = 16 * limits::kMiB;
  // Attempts to connect: the first after about backoff_min, then twice as late each time.
  Duration backoff_min = std::chrono::milliseconds(50);
  Duration backoff_max = std::chrono::seconds(1);
  // A peer whose connection breaks again and again is told of in the log so often.
  Duration log_interval = std::chrono::seconds(10);
};

// Connections at the peer port: 31 other nodes with five each, those that break and come again, and tools.
inline constexpr size_t kPeerConnectionsMax = 1'000;

// What gRPC may hold of messages that are not complete, and for connections. Thirty peers that send their largest at once need half
// of it.
inline constexpr size_t kPeerReceivedBytesMax = 1024 * limits::kMiB;

// What gRPC lets through: the largest bundle, and the field around it.
inline constexpr size_t kReceivedMessageBytesMax = limits::kPeerMessageBytesMax + limits::kMiB;

static_assert(2 * 30 * kReceivedMessageBytesMax <= kPeerReceivedBytesMax + 4 * limits::kMiB);
static_assert(PeerLimits{}.acknowledge_bytes * 2 <= PeerLimits{}.window_bytes, "the window must not close for good");

}  // namespace flotilla::rpc
