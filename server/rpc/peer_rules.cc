#include "server/rpc/peer_rules.h"

#include <string>
#include <variant>

#include "server/rpc/peer_codec.h"
#include "storage/base/crc32c.h"

namespace flotilla::rpc {
namespace {

using raft::AppendRequest;
using raft::PeerMessage;
using raft::SnapshotChunk;
using storage::Entry;
using storage::EntryId;

Status Corrupt(GroupId group, const std::string& what) {
  return Status(Reason::kCorruptMessage, "message of group " + std::to_string(group.value()) + ": " + what).With("group", group.value());
}
std::string Text(EntryId id) { return std::to_string(id.index.value()) + "@" + std::to_string(id.term.value()); }

// Anything that says from which replica to which it goes.
template <typename Addressed>
Status CheckAddress(const PeerMessage& bundle, const Addressed& message) {
  if (message.from.node != bundle.from) {
    return Corrupt(message.group,
                   "it is from replica " + ToString(message.from) + ", but node " + std::to_string(bundle.from.value()) + " sent it");
  }
  if (message.to.node != bundle.to) {
    return Corrupt(message.group,
                   "it is for replica " + ToString(message.to) + ", but was sent to node " + std::to_string(bundle.to.value()));
  }
  return {};
}
template <typename Items>
Status CheckAddresses(const PeerMessage& bundle, const Items& items) {
  for (const auto& item : items) FLOTILLA_RETURN_IF_ERROR(CheckAddress(bundle, item));
  return {};
}

Status CheckAppend(GroupId group, Term term, const AppendRequest& append) {
  EntryId before = append.prev;
  const Entry* previous = nullptr;
  for (const Entry& entry : append.entries) {
    if (entry.index() != before.index + 1 || entry.term() < before.term || term < entry.term()) {
      return Corrupt(
          group, "entry " + Text(entry.id()) + " cannot follow " + Text(before) + " in a message of term " + std::to_string(term.value()));
    }
    if (previous != nullptr && entry.header.base_offset != previous->header.end_offset()) {
      return Corrupt(group, "entry " + Text(entry.id()) + " begins at offset " + std::to_string(entry.header.base_offset.value()) +
                                ", the one before ends at " + std::to_string(previous->header.end_offset().value()));
    }
    FLOTILLA_RETURN_IF_ERROR(VerifyEntry(entry));
    before = entry.id();
    previous = &entry;
  }
  return {};
}

Status CheckChunk(const SnapshotChunk& chunk) {
  const storage::SnapshotMeta& meta = chunk.meta;
  if (meta.chunks == 0 || meta.chunks > limits::kSnapshotChunksMax || chunk.number >= meta.chunks) {
    return Corrupt(chunk.group, "chunk " + std::to_string(chunk.number) + " of a snapshot of " + std::to_string(meta.chunks) +
                                    " chunks; the limit is " + std::to_string(limits::kSnapshotChunksMax));
  }
  if (meta.bytes > limits::kSnapshotBytesMax) {
    return Corrupt(chunk.group,
                   "a snapshot of " + std::to_string(meta.bytes) + " bytes; the limit is " + std::to_string(limits::kSnapshotBytesMax));
  }
  const uint32_t checksum = crc32c::Value(chunk.data.view());
  if (checksum != chunk.checksum) {
    return Corrupt(chunk.group, "chunk " + std::to_string(chunk.number) + " of snapshot " + std::to_string(meta.id) + " has the checksum " +
                                    std::to_string(checksum) + ", not " + std::to_string(chunk.checksum) + "; it was damaged on its way");
  }
  return {};
}

}  // namespace

Status CheckPeerMessage(const PeerMessage& bundle) {
  FLOTILLA_RETURN_IF_ERROR(CheckAddresses(bundle, bundle.messages));
  if (bundle.heartbeat) FLOTILLA_RETURN_IF_ERROR(CheckAddresses(bundle, bundle.heartbeat->rows));
  if (bundle.heartbeat_reply) FLOTILLA_RETURN_IF_ERROR(CheckAddresses(bundle, bundle.heartbeat_reply->rows));
  FLOTILLA_RETURN_IF_ERROR(CheckAddresses(bundle, bundle.chunks));
  FLOTILLA_RETURN_IF_ERROR(CheckAddresses(bundle, bundle.chunk_replies));
  for (const raft::Message& message : bundle.messages) {
    if (const auto* append = std::get_if<AppendRequest>(&message.body)) {
      FLOTILLA_RETURN_IF_ERROR(CheckAppend(message.group, message.term, *append));
    }
  }
  for (const SnapshotChunk& chunk : bundle.chunks) FLOTILLA_RETURN_IF_ERROR(CheckChunk(chunk));
  return {};
}

}  // namespace flotilla::rpc
