// What a node has to say to each other node, gathered over a turn: one bundle per peer and channel, however many groups speak.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "raft/node/transport.h"
#include "storage/base/limits.h"

namespace flotilla::raft {

class PeerOutbox {
 public:
  PeerOutbox(NodeId self, Transport& transport) : self_(self), transport_(transport) {}

  // Entries go over the data channel, everything else over the control channel. Messages to this node itself (an earlier life of a
  // replica of its own) are dropped.
  void Add(Message message);
  void Add(NodeId to, NodeHeartbeat heartbeat);
  // From here on, heartbeat replies to `to` become rows of the reply that Add(to, reply) completes before the turn ends.
  void ExpectReply(NodeId to);
  void Add(NodeId to, NodeHeartbeatReply reply);
  void Add(SnapshotChunk chunk);
  void Add(SnapshotChunkReply reply);
  // Sends it all: what elects and keeps alive first.
  void Flush();

  uint64_t messages_sent() const { return messages_sent_; }

 private:
  struct Peer {
    PeerMessage control;
    PeerMessage data;
    PeerMessage snapshot;
    size_t data_bytes = 0;
    bool waiting = false;  // in waiting_
    bool expects_reply = false;
    std::vector<HeartbeatReplyRow> reply_rows;
  };

  Peer& PeerOf(NodeId node);
  void Send(Channel channel, NodeId to, PeerMessage* message);

  const NodeId self_;
  Transport& transport_;
  std::map<NodeId, Peer> peers_;
  std::vector<std::pair<NodeId, Peer*>> waiting_;  // peers with something to send, in the order in which they got it
  uint64_t messages_sent_ = 0;
};

}  // namespace flotilla::raft
