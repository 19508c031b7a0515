// What replicas of a group say to each other. Plain values: encoding belongs to the transport.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <variant>
#include <vector>

#include "storage/base/ids.h"
#include "storage/log/entry.h"
#include "storage/log/log_store.h"

namespace flotilla::raft {

using storage::Entry;
using storage::EntryId;
using storage::EntryKind;

// RequestVote (Raft §5.2, §5.4.1), or the question whether it would be granted (thesis §9.6, pre-vote).
struct VoteRequest {
  bool pre_vote = false;
  // The sender was told to campaign by a leader that hands over (thesis §3.10). For people who follow a trace: no rule asks for it,
  // since only pre-votes are held back by a leader that is alive.
  bool transfer = false;
  Term campaign_term;  // pre-vote: the sender's term + 1; otherwise the message's term
  EntryId last;
};
struct VoteReply {
  bool pre_vote = false;
  bool granted = false;
  Term campaign_term;  // as asked
};

// AppendEntries (Raft §5.3). An empty one asks whether `prev` matches.
struct AppendRequest {
  EntryId prev;
  std::vector<Entry> entries;
  LogIndex commit;
  // What the receiver has acknowledged in this term, as the leader knows it: one that has less has lost data.
  LogIndex acknowledged;
};
struct AppendReply {
  bool accepted = false;
  // Accepted: everything up to here equals the leader's log and is durable. Refused: the prev.index that did not match.
  LogIndex index;
  // Refused: the last place at or before `index` where the leader's log may agree (one round per term).
  EntryId hint;
};

// Says that the leader lives, how far the receiver may commit, and opens a round of reads.
struct Heartbeat {
  LogIndex commit;  // never past what the receiver has acknowledged in this term
  uint64_t read_round = 0;
};
struct HeartbeatReply {
  uint64_t read_round = 0;
  // The end of the receiver's log, durable or not: for people who follow a trace. Resending goes by AppendReply.
  LogIndex last;
};

// All chunks of the snapshot are with the receiver: install it. Produced by the driver of the receiver's side on behalf of
// the leader, never sent as such.
struct SnapshotInstall {
  storage::SnapshotMeta meta;
};

// Campaign now (thesis §3.10).
struct TimeoutNow {};

// A follower asks the leader for a read index (thesis §6.4). `sequence` means something to the sender alone.
struct ReadIndexRequest {
  uint64_t sequence = 0;
};
struct ReadIndexReply {
  uint64_t sequence = 0;
  bool ok = false;  // false: not the leader, or overloaded; ask again
  LogIndex index;
};

using MessageBody = std::variant<VoteRequest, VoteReply, AppendRequest, AppendReply, Heartbeat, HeartbeatReply, SnapshotInstall, TimeoutNow,
                                 ReadIndexRequest, ReadIndexReply>;

struct Message {
  GroupId group;
  ReplicaId from;
  ReplicaId to;
  Term term;  // the sender's current term
  MessageBody body;

  // What it counts for in limits that are in bytes.
  size_t bytes() const;
};

// "1->2 t3 Append prev 4@2 entries 5..7 commit 4", for traces and tests.
std::string ToString(const Message& message);
std::ostream& operator<<(std::ostream& out, const Message& message);

}  // namespace flotilla::raft
