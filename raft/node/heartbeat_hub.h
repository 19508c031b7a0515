// The heartbeats of a node: one message per pair of nodes and interval for all groups they share (the protocol: transport.h).
//
// A leader's side keeps, per other node, the set of (group, replica, term) that this node leads there. A row goes out explicitly while the
// receiver has to learn something (commit moved, it said "absent"), until a reply shows that it arrived; the set as a whole is
// alive by the version alone. A follower's side keeps, per other node, which version it last heard and when.
//
// Nothing is done per group and interval. Groups are credited when they are looked at, which for an idle group is when its own timer
// is due: Credit() tells the core what the last heartbeat, or the last reply, says of it.
//
// What makes that safe:
// - A follower counts the set as its leader's sign of life only if it stamped itself when it saw its row (same leader, term, and replica),
// and
//   only while it still follows that leader in that term. The stamp is good for one version of one process of the sender.
// - A leader counts a reply as a replica's sign of life only if the replica was in the set of the version that the reply is about and is
// not
//   listed as absent. A group that the receiver lacks, that is faulty there, or in another term, is listed.
// - Messages have sequence numbers: late and repeated ones are ignored, as is any reply older than an election timeout.
// - Rounds of reads are acknowledged by explicit rows and messages only. A round that cannot wait for the interval travels as
//   plain messages (SendRound).
//
// Single-threaded.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "raft/core/raft_core.h"
#include "raft/node/intrusive_list.h"
#include "raft/node/peer_outbox.h"
#include "raft/node/transport.h"

namespace flotilla::raft {

class HeartbeatMember;
struct HeartbeatLink;
struct HeartbeatSource;
struct LinkMembers;
struct LinkChanges;

// A replica elsewhere of a group that is led here.
struct LedReplica : ListNode<LinkMembers>, ListNode<LinkChanges> {
  HeartbeatMember* group = nullptr;
  HeartbeatLink* link = nullptr;
  ReplicaId id;
  uint64_t since_version = 0;   // the first version of the link's set that has it
  uint64_t first_sequence = 0;  // of the message that first carried the row as it is now; 0: none yet
  LogIndex told_commit;         // by that message
};

// A group's part in the heartbeats. Leaves by HeartbeatHub::Remove before it dies.
class HeartbeatMember {
 public:
  virtual ~HeartbeatMember() = default;
  virtual RaftCore& core() = 0;
  virtual const RaftCore& core() const = 0;

 private:
  friend class HeartbeatHub;
  // As leader: what it was when it joined.
  std::vector<LedReplica> led_;
  Term led_term_;
  LogIndex led_configuration_;
  // As follower: whose set it is in.
  HeartbeatSource* source_ = nullptr;
  uint64_t stamp_ = 0;
  ReplicaId heard_leader_;
  Term heard_term_;
};

class GroupDirectory {
 public:
  virtual ~GroupDirectory() = default;
  // Null: not open here.
  virtual HeartbeatMember* FindMember(GroupId group) = 0;
};

// The way to one other node.
struct HeartbeatLink {
  static constexpr size_t kRemembered = 64;

  NodeId node;
  IntrusiveList<LedReplica, LinkMembers> members;
  IntrusiveList<LedReplica, LinkChanges> changed;
  uint64_t version = 1;        // of the set
  uint64_t known_version = 0;  // what the receiver said it knows
  uint64_t sequence = 0;
  std::array<Tick, kRemembered> sent_at{};
  // The newest reply.
  uint64_t replied_sequence = 0;
  uint64_t receiver_boot = 0;    // of the process that answered
  uint64_t replied_version = 0;  // of the last one that knew its version
  Tick replied_at = 0;
  std::vector<GroupId> absent;  // sorted
  Tick heard_at = 0;            // of any reply; 0: nothing was asked since the set was empty
};

// The way from one other node.
struct HeartbeatSource {
  uint64_t boot = 0;
  uint64_t sequence = 0;
  uint64_t version = 0;  // of the set that the stamp stands for
  uint64_t stamp = 0;    // 0: no set is known
  Tick heard_at = 0;
  std::set<GroupId> absent;  // of the set, those that do not follow
  // The answer in the making.
  bool reply_due = false;
  uint64_t reply_version = 0;
  bool reply_known = false;
};

struct HeartbeatCounters {
  uint64_t full = 0;
  uint64_t light = 0;  // without any row
  uint64_t rows = 0;
};

class HeartbeatHub {
 public:
  HeartbeatHub(NodeId self, uint64_t boot, uint32_t election_ticks);
  ~HeartbeatHub();

  // --- groups
  // The core's role, term, leader, members or fault are no longer what they were.
  void Update(HeartbeatMember& member);
  void Remove(HeartbeatMember& member);
  // Tells the core what was heard since the last time. Before its time moves on.
  void Credit(HeartbeatMember& member) const;
  // The followers have something to hear in the next interval.
  void Changed(HeartbeatMember& member);
  // A read waits for its followers: they hear at the end of this turn.
  void SendRound(HeartbeatMember& member, PeerOutbox& outbox) const;

  // --- sending
  // Once an interval, at the end of a turn, when every core that changed has been seen by Update.
  void Send(Tick now, PeerOutbox& outbox);

  // --- receiving
  // False: late or repeated; to be ignored with all its rows.
  bool Receive(NodeId from, const NodeHeartbeat& heartbeat, Tick now);
  // Whether the row tells the group nothing, so that its core need not see it.
  bool Known(const HeartbeatRow& row, const HeartbeatMember& member) const;
  // For each row, after the group's core has seen it. Null: no such group here.
  void NoteRow(NodeId from, const HeartbeatRow& row, HeartbeatMember* member);
  // Completes the answers to what was received; at the end of the turn.
  void Reply(PeerOutbox& outbox);
  // The rows of the reply are for the cores.
  void ReceiveReply(NodeId from, const NodeHeartbeatReply& reply, Tick now, GroupDirectory& groups);

  // Visits the replicas on `node` of groups that are led here.
  template <typename Visit>
  void ForEachLedOn(NodeId node, Visit visit);
  const HeartbeatCounters& counters() const { return counters_; }

 private:
  static bool UpToDate(const HeartbeatMember& member);
  void Join(HeartbeatMember& member);
  void Leave(HeartbeatMember& member);
  void Mark(LedReplica& replica);
  void SendTo(HeartbeatLink& link, Tick now, PeerOutbox& outbox);

  const NodeId self_;
  const uint64_t boot_;
  const uint32_t election_ticks_;
  std::map<NodeId, HeartbeatLink> links_;
  std::map<NodeId, HeartbeatSource> sources_;
  uint64_t next_stamp_ = 1;
  HeartbeatCounters counters_;
};

template <typename Visit>
void HeartbeatHub::ForEachLedOn(NodeId node, Visit visit) {
  const auto link = links_.find(node);
  if (link == links_.end()) return;
  link->second.members.ForEach([&](LedReplica& replica) { visit(*replica.group, replica.id); });
}

}  // namespace flotilla::raft
