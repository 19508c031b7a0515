// Many Raft groups of one node on one single-threaded executor: binds cores, the log store, the transport and the state machines.
//
//   RaftHost host(options, executor, readers, store, transport, Random(seed));
//   host.OpenGroup(group, state_machine);                  // everything below on the executor only
//   every tick: host.Tick();
//   transport: executor.Post([...] { host.Receive(std::move(message)); });
//   host.Propose(group, proposals, token, sink);           // sink.OnProposal(token, OK, where) once applied
//
// All methods but the constructor and the WriteSink part run on the executor. Time is counted in calls of Tick().
//
// Inputs only change cores. What they have to say is carried out in a turn, which the host posts to its executor behind the inputs
// that wait there already: their appends, votes and answers share messages and writes.
//
// To end: stop the readers and the executor, then the store (completions that still come are dropped), then the host.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "raft/core/raft_core.h"
#include "raft/node/executor.h"
#include "raft/node/state_machine.h"
#include "raft/node/transport.h"
#include "storage/base/random.h"
#include "storage/log/log_store.h"

namespace flotilla::raft {

struct HostOptions {
  NodeId node;
  // A number that no earlier process of this node used (heartbeat versions, snapshot ids).
  uint64_t boot = 0;
  // Template for every group: group and self are filled in; heartbeat_ticks is the interval of the node's heartbeats.
  CoreOptions core;
  // Entries applied in one turn of one group, so that a long backlog does not hold up the others.
  size_t apply_bytes_per_turn = limits::kMiB;
  // Snapshot chunks on their way at once, all groups together, and bytes of them per tick.
  uint32_t snapshot_chunks_inflight_max = 8;
  size_t snapshot_bytes_per_tick = 8 * limits::kMiB;
  // A follower that needs entries holds back the cut of the log, but not for longer than this many entries.
  uint64_t keep_entries_for_followers = 100'000;
  // A snapshot transfer of which nothing was heard for so long begins anew, when the follower needs one still; what it had stored of
  // the snapshot is deleted there.
  Tick snapshot_timeout_ticks = 200;
  // Rows of a state machine wait so long for a task to ride with, then they are written by themselves.
  Tick rows_delay_ticks = 20;
  // Groups that begin to campaign in one tick; the others' timers run out a tick later. Spreads the elections after the death of a node
  // that led thousands of groups; far above what the random timeouts let through otherwise.
  uint32_t campaigns_per_tick_max = 256;
  // Groups whose learners SetRecoveryRate does not hold back: those that everything else waits for.
  std::set<GroupId> recovery_exempt = {};
};

// Answers a proposal.
class ProposalSink {
 public:
  virtual ~ProposalSink() = default;
  // OK: applied; `header` is of the proposal's entry. NOT_LEADER: certainly not in the log (another entry stands at its index).
  // OUTCOME_UNKNOWN: the group closed or failed before it could be told. On the executor, after the entry was applied.
  virtual void OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& header) = 0;
};
class ReadSink {
 public:
  virtual ~ReadSink() = default;
  // OK: everything committed before the read began is applied here. Otherwise ask again or elsewhere.
  virtual void OnRead(uint64_t token, const Status& status, LogIndex index) = 0;
};
class GroupSink {
 public:
  virtual ~GroupSink() = default;
  // The group exists durably and runs, or why not; or it is gone.
  virtual void OnGroup(GroupId group, const Status& status) = 0;
};

struct NewGroup {
  GroupId group;
  storage::GroupIdentity identity;
  // Its first members, the same on every one of them. Empty: a replica that joins later; its leader tells it.
  Configuration configuration;
  // Asks for votes at once: the one appointed to lead first.
  bool campaign = false;
};

struct GroupCounters {
  CoreStatus core;
  uint64_t snapshot_sends = 0;  // transfers begun
  uint64_t snapshot_chunks_sent = 0;
  uint64_t snapshot_chunks_received = 0;
  uint64_t proposals_waiting = 0;
  uint64_t reads_waiting = 0;
};

struct HostCounters {
  uint64_t groups = 0;
  uint64_t groups_led = 0;
  uint64_t leaderships_begun = 0;
  uint64_t ticks = 0;
  uint64_t groups_woken_by_timer = 0;
  uint64_t heartbeats_full = 0;
  uint64_t heartbeats_light = 0;
  uint64_t heartbeat_rows = 0;
  uint64_t messages_sent = 0;
  uint64_t messages_received = 0;
  uint64_t messages_for_unknown_groups = 0;
  uint64_t recovery_bytes = 0;      // read from the store for learners
  uint64_t recoveries_waiting = 0;  // now: learners that wait for the rate
};

class RaftHost final : public storage::WriteSink {
 public:
  // References are used until the end, see above. `readers` may be the same executor (the simulator's).
  RaftHost(const HostOptions& options, Executor& executor, BlockingExecutor& readers, storage::LogStore& store, Transport& transport,
           Random random);
  ~RaftHost() override;

  // --- groups
  // Continues a group of the store. GROUP_NOT_FOUND, DATA_LOSS, STORAGE_FAILED, what the machine's Restore says; GROUP_EXISTS: open
  // already, or it was closed and tasks of it are still on their way to the disk: try again when they are done.
  Status OpenGroup(GroupId group, StateMachine& machine);
  // Makes a group, durably, then opens it. GROUP_EXISTS, LIMIT_EXCEEDED, OVERLOADED and STORAGE_FAILED at once, and then `sink` hears
  // nothing; the rest through `sink`.
  Status CreateGroup(const NewGroup& group, StateMachine& machine, GroupSink& sink);
  // Stops taking part; what it has stays in the store. Waiting proposals end with OUTCOME_UNKNOWN. Nothing is called afterwards.
  void CloseGroup(GroupId group);
  // The same, and deletes everything of it.
  Status DestroyGroup(GroupId group, GroupSink& sink);
  // The group's majority is lost for good, as its user knows: this node's replica goes on alone, under the name of its next life
  // (core/survivor.h). The group is closed; when `sink` has heard OK, open it. GROUP_NOT_FOUND, DATA_LOSS, INVALID_ARGUMENT (no later life
  // of the replica), STORAGE_FAILED; GROUP_EXISTS: writes of it are on their way still, the group is closed by now, try again. After
  // these `sink` hears nothing.
  Status GoOnAlone(GroupId group, ReplicaId next_life, GroupSink& sink);

  // --- inputs
  void Tick();
  void Receive(PeerMessage message);
  // The connection to a node broke. Groups that it leads do not wait for its silence: RaftCore::Unreachable.
  void PeerUnreachable(NodeId node);

  // One answer for the whole span, by the last entry; refusals of RaftCore::Propose at once. The first entry's index.
  Result<LogIndex> Propose(GroupId group, std::span<const Proposal> proposals, uint64_t token, ProposalSink& sink);
  Result<LogIndex> ProposeChange(GroupId group, const MembershipChange& change, uint64_t token, ProposalSink& sink);
  Status ReadIndex(GroupId group, uint64_t token, ReadSink& sink);
  Status TransferLeadership(GroupId group, ReplicaId target);
  void Campaign(GroupId group);
  void SetPriority(GroupId group, uint32_t priority);
  // How fast learners catch up from this node's disk: bytes of entries per tick, all groups together, shared evenly. 0: as fast as
  // they go. Voters, and entries that are still in a log's tail in memory, are never held back. From the next fetch on.
  void SetRecoveryRate(uint64_t bytes_per_tick);
  // What the replica has on its disk is damaged, as its user found: it takes no part any more, and others take its place.
  void FailGroup(GroupId group, Status reason);
  // Takes a snapshot of the state machine, keeps it, and cuts the log behind its anchor once no follower needs what goes, or too many
  // entries would stay for it. OK: it began, or there is nothing to cut. OVERLOADED: an earlier one is not done yet. On a full disk
  // it is given up. And what StateMachine::Snapshot says.
  Status TakeSnapshot(GroupId group);

  // --- views
  const RaftCore* Find(GroupId group) const;
  Result<GroupCounters> Counters(GroupId group) const;
  HostCounters counters() const;
  raft::Tick now() const;

  // storage::WriteSink: any thread; posts to the executor.
  void OnWritten(std::span<const storage::WriteDone> done) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flotilla::raft
