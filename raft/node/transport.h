// How nodes reach each other. Encoding and connections belong to the implementation (gRPC in the daemon, a simulated network in
// tests); messages may be lost, repeated, delayed and reordered.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "raft/core/messages.h"

namespace flotilla::raft {

// One group's line of a node's heartbeat.
struct HeartbeatRow {
  GroupId group;
  ReplicaId from;
  ReplicaId to;
  Term term;
  LogIndex commit;
  uint64_t read_round = 0;
};
struct HeartbeatReplyRow {
  GroupId group;
  ReplicaId from;
  ReplicaId to;
  Term term;
  uint64_t read_round = 0;
  LogIndex last;
};

// One message per pair of nodes and interval, for all groups that the sender leads and the receiver is a member of.
//
// The set of (group, term) that a sender leads towards one receiver has a version. A full heartbeat lists all of the set; later ones of
// the same version list only rows that changed (light when there are none). The receiver that knows the version takes the whole set
// as alive; one that does not answers `known = false` and gets a full one.
struct NodeHeartbeat {
  uint64_t boot = 0;      // of the sender's process: versions of another boot mean nothing
  uint64_t sequence = 0;  // of this message
  uint64_t version = 0;   // of the set
  bool full = false;
  std::vector<HeartbeatRow> rows;
};
struct NodeHeartbeatReply {
  uint64_t boot = 0;           // as asked
  uint64_t receiver_boot = 0;  // of the answering process: what an earlier one was told of commits died with it
  uint64_t sequence = 0;
  uint64_t version = 0;
  bool known = true;
  // Groups of the set that follow this leader in this term are alive without a line. Those that do not (no such group, faulty,
  // another term) have one in `absent`; rows in `rows` answer rows of the heartbeat.
  std::vector<GroupId> absent;
  std::vector<HeartbeatReplyRow> rows;
};

// A piece of a state machine's snapshot on its way (Raft §7).
struct SnapshotChunk {
  GroupId group;
  ReplicaId from;
  ReplicaId to;
  Term term;
  storage::SnapshotMeta meta;
  uint32_t number = 0;
  Bytes data;
  uint32_t checksum = 0;  // CRC32C of data
};
struct SnapshotChunkReply {
  GroupId group;
  ReplicaId from;
  ReplicaId to;
  Term term;
  uint64_t snapshot_id = 0;
  LogIndex anchor;
  uint32_t next = 0;     // the first chunk that the receiver does not have: a transfer resumes there
  bool done = false;     // installed, or not needed any more
  bool refused = false;  // cannot be taken now (disk full); try later
};

// A bundle from one node to another; any part may be empty.
struct PeerMessage {
  NodeId from;
  NodeId to;
  std::vector<Message> messages;
  std::optional<NodeHeartbeat> heartbeat;
  std::optional<NodeHeartbeatReply> heartbeat_reply;
  std::vector<SnapshotChunk> chunks;
  std::vector<SnapshotChunkReply> chunk_replies;
};

// Bulk must not delay heartbeats and votes: each channel is a connection of its own.
enum class Channel : uint8_t { kControl, kData, kSnapshot };

class Transport {
 public:
  virtual ~Transport() = default;
  // Sends, or drops when the peer cannot be reached or is too far behind. Never blocks. Any thread.
  virtual void Send(Channel channel, PeerMessage message) = 0;
};

}  // namespace flotilla::raft
