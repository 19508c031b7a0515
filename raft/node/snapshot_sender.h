// Snapshots on their way to followers that need entries which are gone (Raft §7), all groups of a node together.
//
// Chunks leave in order, a few ahead of the answers. An answer names the first chunk that the receiver does not have: after a loss the
// transfer goes on there, and so it does after a new connection. A receiver that is silent is asked with single chunks, ever more
// seldom, and given up in the end; the core then asks anew. The transfers share a window and a number of bytes per tick.
//
// Single-threaded.
#pragma once

#include <cstdint>
#include <list>

#include "raft/core/raft_core.h"
#include "raft/node/transport.h"
#include "storage/log/log_store.h"

namespace flotilla::raft {

class Group;
class NodeContext;

class SnapshotSender {
 public:
  explicit SnapshotSender(NodeContext& node) : node_(node) {}

  // Sends the snapshot, which is in the store, to one follower on another node; instead of what was on its way to it.
  void Start(Group& group, ReplicaId to, Term term, const storage::SnapshotMeta& meta);
  // Stops transfers that the group, as it leads now, has no use for: of another term, or to replicas that are no members.
  void Prune(Group& group);
  void StopAll(Group& group);
  bool Uses(const Group& group, uint64_t snapshot) const;
  // What the follower will have when its transfer ends; nothing without one.
  LogIndex AnchorFor(const Group& group, ReplicaId to) const;

  void OnReply(Group& group, const SnapshotChunkReply& reply);
  void OnChunkRead(Group& group, uint64_t transfer, uint32_t number, Result<Bytes> data);
  // The connection broke: what was on its way may be lost.
  void PeerUnreachable(NodeId node);
  void Tick();
  // Sends what the limits allow.
  void Pump();

 private:
  struct Transfer {
    uint64_t number = 0;
    Group* group = nullptr;
    ReplicaId to;
    Term term;
    storage::SnapshotMeta meta;
    uint32_t next = 0;           // the next chunk to send
    uint32_t acknowledged = 0;   // the receiver has those before
    uint32_t gap_seen_at = ~0u;  // the last place at which a gap was mended
    uint32_t window = 0;         // chunks on their way at most
    raft::Tick heard_at = 0;     // of the receiver
    raft::Tick wait_ticks = 0;   // for an answer, before the next try
    raft::Tick retry_at = 0;
    bool paused = false;  // until retry_at: the receiver cannot take it now, or is not there
  };
  using Transfers = std::list<Transfer>;

  bool CanSend(const Transfer& transfer) const;
  void SendNext(Transfer& transfer);
  void Rewind(Transfer& transfer, uint32_t to);
  void End(Transfers::iterator transfer, bool ok);
  void Erase(Transfers::iterator transfer);
  Transfers::iterator Find(const Group& group, ReplicaId to);

  NodeContext& node_;
  Transfers transfers_;
  uint64_t last_number_ = 0;
  uint32_t inflight_ = 0;  // chunks, of all transfers
  int64_t budget_ = 0;     // bytes that may still leave in this tick
};

}  // namespace flotilla::raft
