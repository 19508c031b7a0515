// One group of a node: carries out what its core says, in the only legal order, and brings back what comes of it.
//
//   input (message, time, write done, ...)  ->  core  ->  Run(): Output
//     1. messages           to the outbox
//     2. append tasks       to the log writer, in order; they come back by OnWritten
//     3. fetches            from the store's memory at once, else by a reader; they come back by OnRead
//     4. snapshots wanted   to the sender
//     5. restore            stops applying until its task is durable, then the state machine starts anew
//     6. apply_to           a slice per turn; proposals and reads are answered behind it
//     7. state              heartbeats, the state machine's OnLeadership and OnConfiguration
//
// Rules about rows of the state machine:
// - They come from entries that were applied, so from durable ones: no row reaches the disk before its entry.
// - One task at a time carries rows. The next rows wait for it, so that a refusal (DISK_FULL) of one cannot let a later one
//   through: refused rows go back to the front.
// - They ride with tasks that bring data entries, which a full disk refuses anyway; never with a vote or a trim, which must not be
//   refused on their account. Without such a task they are written by themselves after rows_delay_ticks.
// - A restore drops those that were not given out: they are of a state that is no longer there.
//
// Callbacks may call the host, and close this group: after each of them closed() is asked. A closed group stays in memory until
// the end of the turn.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "raft/core/raft_core.h"
#include "raft/node/heartbeat_hub.h"
#include "raft/node/node_context.h"
#include "raft/node/raft_host.h"
#include "raft/node/snapshot_shelf.h"
#include "raft/node/state_machine.h"
#include "raft/node/timer_wheel.h"
#include "raft/node/waiting.h"

namespace flotilla::raft {

// Rows of a state machine that wait for the disk. Above it nothing more is applied until they are written: memory stays bounded when the
// disk is full or slow.
inline constexpr size_t kRowsWaitingBytesMax = limits::kStateWriteBytesMax / 4;

class Group final : public Timer, public HeartbeatMember {
 public:
  // GROUP_NOT_FOUND, DATA_LOSS, and what Restore says. `fresh`: just made, so that nothing can be left over from a crash.
  static Result<std::unique_ptr<Group>> Open(NodeContext& node, GroupId id, uint64_t opening, StateMachine& machine, bool fresh);
  ~Group() override = default;

  GroupId id() const { return core_.group(); }
  uint64_t opening() const { return opening_; }
  RaftCore& core() override { return core_; }
  const RaftCore& core() const override { return core_; }
  GroupCounters counters() const;
  bool closed() const { return closed_; }

  // --- inputs; each is followed by Run at the end of the turn
  void OnTimer();
  void Step(Message message);
  Result<LogIndex> Propose(std::span<const Proposal> proposals, uint64_t token, ProposalSink& sink);
  Result<LogIndex> ProposeChange(const MembershipChange& change, uint64_t token, ProposalSink& sink);
  Status ReadIndex(uint64_t token, ReadSink& sink);
  Status TransferLeadership(ReplicaId target);
  void Campaign();
  void SetPriority(uint32_t priority);
  void Unreachable(ReplicaId replica);
  void Fail(Status reason);

  // --- the store
  void OnWritten(uint64_t token, const Status& status);
  void OnRead(const EntriesWanted& wanted, Result<std::vector<storage::Entry>> entries);
  // A fetch for a learner had to wait for the recovery budget, and may go on; `charged`: at its cost.
  void ResumeFetch(const LogFetch& fetch, bool charged);
  // The fetch waits for the budget, and still should: its leader leads, and it is for a learner.
  bool HeldBack(const LogFetch& fetch) const;
  // The store's queue was full; it may have room now.
  void RetryWrites();

  // --- snapshots
  Status TakeSnapshot();
  void OnChunk(SnapshotChunk chunk);
  // Nothing: it could not be given one.
  void SnapshotSent(ReplicaId to, std::optional<LogIndex> anchor);
  // No transfer of this group needs it any more, or one less.
  void SnapshotReleased(uint64_t snapshot);
  void CountChunkSent() { ++snapshot_chunks_sent_; }

  // --- the turn
  // Carries out what the core has to say.
  void Run();
  // Applies a slice of what is committed. Then Run.
  bool MayApply() const;
  void ApplySlice();

  // Of the last task that the store has and that is not back yet; 0: none.
  uint64_t LastToken() const;
  // Answers everybody who waits; the state machine and the sinks hear no more. Lives on until the end of the turn.
  void Close();

  // Kept by NodeContext: on its lists.
  bool awake = false;
  bool blocked = false;

 private:
  struct PendingWrite {
    enum class Kind : uint8_t { kCore, kRows, kOwnChunks, kStagedChunk, kCleanup };
    Kind kind = Kind::kCore;
    uint64_t token = 0;
    storage::WriteTask task;  // once submitted: without its entries and chunks; rows stay, for they may be refused
    AppendTask append;        // kCore: what the core gets back
    uint64_t snapshot = 0;    // chunks: of which snapshot
    uint32_t chunk = 0;       // the first one of them
    bool submitted = false;
  };
  struct ChunkAnswer {
    bool done = false;
    bool refused = false;
  };
  // Set while a snapshot of the leader replaces the log.
  struct Restoring {
    uint64_t token = 0;  // of the core's task
    storage::SnapshotMeta meta;
  };

  Group(NodeContext& node, uint64_t opening, StateMachine& machine, const CoreOptions& options, const storage::GroupState& state,
        LogIndex applied, bool fresh);

  // group.cc
  void CatchUp();
  bool CarryOut(Output* out);
  bool Fetch(LogFetch fetch);
  bool FetchNow(const LogFetch& fetch, bool charged);
  void ShowState();
  void ShowLeadership();
  void ShowFault();
  void Rearm();
  Tick NextDue() const;
  void AnswerEverybody(const Status& proposals, const Status& reads);

  // group_writes.cc
  void Append(AppendTask task);
  std::vector<uint64_t> Superseded(const AppendTask& task);
  void Enqueue(PendingWrite write);
  void SubmitWaiting();
  void OnCoreWritten(PendingWrite* write, const Status& status);
  void TakeRowsInto(storage::WriteTask* task);
  void WriteRows();
  void RowsWritten(PendingWrite* write, const Status& status);
  void DropSnapshots(std::vector<uint64_t> ids);
  void CleanShelf();

  // group_apply.cc
  void Apply(const std::vector<storage::Entry>& entries);
  void AnswerProposal(const WaitingProposals::Answer& answer);
  void AnswerReads();
  bool Restore(const storage::SnapshotMeta& meta);

  // group_snapshots.cc
  SnapshotShelf& shelf();
  void SendSnapshot(ReplicaId to);
  Status MakeSnapshot(bool for_follower);
  void FindAnchor(LogIndex index);
  void WriteOwnChunks();
  void OwnChunksWritten(const PendingWrite& write, const Status& status);
  void SnapshotMade();
  void GiveUpMaking(const Status& why);
  void CutLog();
  LogIndex NeededByFollowers() const;
  void SnapshotIsCurrent(const storage::SnapshotMeta& meta);
  void DropSnapshot(uint64_t snapshot);
  bool BeginStaging(const SnapshotChunk& chunk);
  void StagedChunkWritten(const PendingWrite& write, const Status& status);
  void InstallStaged();
  void AbandonStaging();
  void ReplyChunk(const Staging& staging, ChunkAnswer answer);

  NodeContext& node_;
  StateMachine& machine_;
  RaftCore core_;
  const uint64_t opening_;
  bool closed_ = false;
  bool fault_shown_ = false;
  bool cleanup_due_;  // the shelf may hold what a crash left over
  bool rows_in_flight_ = false;
  bool rows_void_ = false;      // those in flight are of a state that a restore replaced
  bool applying_read_ = false;  // entries to apply are being read
  bool leads_shown_ = false;    // counted among the groups led

  std::list<PendingWrite> writes_;  // oldest first; those submitted, then those that are not
  std::vector<storage::StateWrite> rows_;
  size_t rows_bytes_ = 0;
  Tick rows_due_ = kNever;

  LogIndex applied_;  // by the state machine
  LogIndex apply_target_;
  uint64_t apply_ticket_ = 0;  // of the read whose entries are applied next
  std::optional<Restoring> restoring_;
  WaitingProposals proposals_;
  WaitingReads reads_;

  StateMachine::Leadership leadership_shown_;
  storage::EntryId configuration_shown_;
  bool configuration_ever_shown_ = false;

  std::unique_ptr<SnapshotShelf> shelf_;  // none until there is a snapshot to speak of
  uint64_t snapshot_sends_ = 0;
  uint64_t snapshot_chunks_sent_ = 0;
  uint64_t snapshot_chunks_received_ = 0;
};

}  // namespace flotilla::raft
