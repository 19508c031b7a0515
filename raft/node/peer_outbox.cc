#include "raft/node/peer_outbox.h"

#include <glog/logging.h>

#include <utility>

namespace flotilla::raft {
namespace {

bool Empty(const PeerMessage& message) {
  return message.messages.empty() && !message.heartbeat && !message.heartbeat_reply && message.chunks.empty() &&
         message.chunk_replies.empty();
}

}  // namespace

PeerOutbox::Peer& PeerOutbox::PeerOf(NodeId node) {
  Peer& peer = peers_[node];
  if (!peer.waiting) {
    peer.waiting = true;
    waiting_.emplace_back(node, &peer);
  }
  return peer;
}

void PeerOutbox::Add(Message message) {
  const NodeId to = message.to.node;
  if (to == self_) return;
  Peer& peer = PeerOf(to);
  const auto* heartbeat_reply = std::get_if<HeartbeatReply>(&message.body);
  if (heartbeat_reply != nullptr && peer.expects_reply) {
    peer.reply_rows.push_back({.group = message.group,
                               .from = message.from,
                               .to = message.to,
                               .term = message.term,
                               .read_round = heartbeat_reply->read_round,
                               .last = heartbeat_reply->last});
    return;
  }
  ++messages_sent_;
  if (!std::holds_alternative<AppendRequest>(message.body)) {
    peer.control.messages.push_back(std::move(message));
    return;
  }
  const size_t bytes = message.bytes();
  // A connection gains nothing by larger pieces.
  if (peer.data_bytes != 0 && peer.data_bytes + bytes > limits::kAppendBytesMax) {
    Send(Channel::kData, to, &peer.data);
    peer.data_bytes = 0;
  }
  peer.data_bytes += bytes;
  peer.data.messages.push_back(std::move(message));
}

void PeerOutbox::Add(NodeId to, NodeHeartbeat heartbeat) { PeerOf(to).control.heartbeat = std::move(heartbeat); }

void PeerOutbox::ExpectReply(NodeId to) { PeerOf(to).expects_reply = true; }

void PeerOutbox::Add(NodeId to, NodeHeartbeatReply reply) {
  Peer& peer = PeerOf(to);
  CHECK(peer.expects_reply);
  peer.expects_reply = false;
  reply.rows = std::exchange(peer.reply_rows, {});
  peer.control.heartbeat_reply = std::move(reply);
}

void PeerOutbox::Add(SnapshotChunk chunk) {
  const NodeId to = chunk.to.node;
  PeerOf(to).snapshot.chunks.push_back(std::move(chunk));
}

void PeerOutbox::Add(SnapshotChunkReply reply) {
  const NodeId to = reply.to.node;
  PeerOf(to).control.chunk_replies.push_back(std::move(reply));
}

void PeerOutbox::Flush() {
  for (const auto& [node, peer] : waiting_) {
    CHECK(!peer->expects_reply) << "a heartbeat of node " << node << " is not answered";
    Send(Channel::kControl, node, &peer->control);
  }
  for (const auto& [node, peer] : waiting_) {
    Send(Channel::kData, node, &peer->data);
    Send(Channel::kSnapshot, node, &peer->snapshot);
    peer->data_bytes = 0;
    peer->waiting = false;
  }
  waiting_.clear();
}

void PeerOutbox::Send(Channel channel, NodeId to, PeerMessage* message) {
  if (Empty(*message)) return;
  message->from = self_;
  message->to = to;
  transport_.Send(channel, std::exchange(*message, PeerMessage{}));
}

}  // namespace flotilla::raft
