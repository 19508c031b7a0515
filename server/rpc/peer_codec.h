// What nodes say to each other, as bytes: raft::PeerMessage and flotilla.internal.v1.PeerMessage
// (proto/flotilla/internal/v1/ raft.proto). The same bytes as generated code writes and reads, without its
// copies:
//
//   EncodedMessage encoded = EncodePeerMessage(message);        // large payloads are shared, not copied
//   ... gRPC: one grpc::Slice per piece ...
//   Result<raft::PeerMessage> got = DecodePeerMessage(Bytes(received));  // payloads are slices of `received`
//
// What was decoded can be handed to Raft: every entry and chunk has the checksum that it came with, entries
// stand in order, and nothing exceeds a limit. Functions are pure; any thread.
#pragma once

#include <variant>

#include "raft/node/transport.h"
#include "server/rpc/wire_writer.h"
#include "storage/base/limits.h"

namespace flotilla::rpc {

namespace limits {

using namespace flotilla::limits;

// A bundle. The largest that a node sends is one entry of 8 MiB, or 1 MiB of smaller ones, or the control
// messages of a turn.
inline constexpr size_t kPeerMessageBytesMax = 16 * kMiB;
// Messages in a bundle: when a node dies, every group it led may ask for a vote at once, and answer another.
inline constexpr size_t kPeerMessagesMax = 4 * kGroupsPerNodeMax;
// Entries in a bundle, all groups together. A sender fills 1 MiB, in which an entry counts for 96 bytes at least.
inline constexpr size_t kPeerEntriesMax = 64 * kKiB;
// Lines of a node's heartbeat: one per group.
inline constexpr size_t kHeartbeatRowsMax = kGroupsPerNodeMax;
// Chunks in a bundle; a sender has fewer on their way.
inline constexpr size_t kSnapshotChunksPerMessageMax = 64;
// Answers to chunks in a bundle.
inline constexpr size_t kSnapshotRepliesPerMessageMax = 64 * kKiB;
// An encoded configuration: 32 replicas in three lists, with room.
inline constexpr size_t kConfigurationBytesMax = 4 * kKiB;
// Chunks of a snapshot: of a whole one in pieces of a KiB, far smaller than anybody cuts them.
inline constexpr uint32_t kSnapshotChunksMax = kSnapshotBytesMax / kKiB;
// A group whose payloads are less than this share of what was received gets a copy: a few bytes that stay in
// memory for long must not hold on to a large buffer.
inline constexpr size_t kSharedBufferShare = 8;

static_assert(kEntryPayloadBytesMax + kMiB <= kPeerMessageBytesMax, "the largest entry must fit, with what frames it");
static_assert(kAppendBytesMax / storage::Entry::kEntryOverheadBytes + kAppendEntriesMax <= kPeerEntriesMax,
              "what a sender gathers must be allowed");
static_assert(kSnapshotChunkBytes * 8 + kMiB <= kPeerMessageBytesMax, "the chunks of a turn must fit");
static_assert(kHeartbeatRowsMax * 80 <= kPeerMessageBytesMax, "a full heartbeat must fit");

}  // namespace limits

// No SnapshotInstall among the messages: it is not sent (a CHECK). Whether `bytes` is at most
// kPeerMessageBytesMax is for the sender to look at: a larger one would be refused by the receiver.
EncodedMessage EncodePeerMessage(const raft::PeerMessage& message);
// CORRUPT_MESSAGE says at which byte and field, or which group, and what is wrong: not a PeerMessage, above a
// limit, a wrong checksum, entries out of order, or a replica that is not of the node which speaks for it.
Result<raft::PeerMessage> DecodePeerMessage(const Bytes& encoded);

// flotilla.internal.v1.OpenChannelRequest: a hello first, then messages.
struct EncodedHello {
  Bytes bytes;  // a serialized flotilla.internal.v1.Hello, for generated code to parse
};
using ChannelContent = std::variant<EncodedHello, raft::PeerMessage>;
EncodedMessage EncodeChannelMessage(const raft::PeerMessage& message);
EncodedMessage EncodeChannelHello(const EncodedHello& hello);
// As DecodePeerMessage; also when there is neither of the two.
Result<ChannelContent> DecodeChannelContent(const Bytes& encoded);

}  // namespace flotilla::rpc
