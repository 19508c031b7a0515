// One replica of one Raft group, as a pure state machine: inputs are method calls, effects are what TakeOutput() returns.
// It has no clock, no thread, no I/O and no chance of its own; the same inputs and the same Random give the same outputs.
//
//   core.AdvanceTo(now);                 // time, in ticks
//   core.Step(message);                  // or Propose, Written, ReadIndex, ...
//   Output out = core.TakeOutput();
//   send(out.messages);                  // at once
//   writer.Submit(out.append ...);       // when it is durable, hand it back: core.Written(task, OK)
//   apply up to out.apply_to;            // then core.Applied(index)
//
// Whatever may only happen after a write is durable travels inside the AppendTask, out and back: the core moves it to the
// messages to send when the task comes back written, so that nobody can send it early. Tasks come back in the order in which
// they were given out. The rules and where they come from: raft/README.md.
//
// Not thread-safe: one executor owns it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "raft/core/configuration.h"
#include "raft/core/messages.h"
#include "raft/core/progress.h"
#include "raft/core/raft_log.h"
#include "raft/core/read_queue.h"
#include "storage/base/limits.h"
#include "storage/base/random.h"
#include "storage/base/status.h"
#include "storage/log/log_store.h"

namespace flotilla::raft {

// Time as the core sees it. The driver decides how long a tick is (50 ms by default).
using Tick = uint64_t;
inline constexpr Tick kNever = ~Tick{0};

// How much a replica wants to lead. Whatever it is, it votes.
// Never campaigns, not even when asked by a leader that hands over.
inline constexpr uint32_t kPriorityNever = 0;
// Lets others go first: campaigns only when nobody was elected for an election timeout longer, or when it is asked to.
inline constexpr uint32_t kPriorityReluctant = 1;
inline constexpr uint32_t kPriorityNormal = 2;

struct CoreOptions {
  GroupId group;
  ReplicaId self;
  // A follower that hears nothing for [election_ticks, 2 * election_ticks), drawn anew each time, asks for votes; up to eight times as
  // long while elections come to nothing. A leader that hears from no quorum for election_ticks steps down.
  uint32_t election_ticks = 20;
  // 0: the driver tells followers that the leader lives (MakeHeartbeat, LeaderAlive, ReplicaAlive).
  uint32_t heartbeat_ticks = 3;
  // Appends without an answer for so long are sent again.
  uint32_t resend_ticks = 10;
  // A campaigner asks voters that have not answered again so long after it began, then twice as long after, four times, and so on, until
  // it wins, loses, or its timeout draws anew: the replica of a new group may not exist yet when it is asked first. Doubled, so that
  // thousands of groups without a quorum do not fill the network.
  uint32_t vote_resend_ticks = 2;
  // When the connection to the leader breaks, the voters ask for votes in turn, so far apart: the first one after [1, 2) times as long,
  // the second one after [2, 3) times, ... Longer than an election takes, so that they do not split the vote.
  uint32_t leader_lost_ticks = 2;
  // A write refused with DISK_FULL is tried again after so long.
  uint32_t disk_full_retry_ticks = 20;
  size_t append_bytes_max = limits::kAppendBytesMax;
  size_t append_entries_max = limits::kAppendEntriesMax;
  size_t inflight_messages_max = limits::kInflightMessagesMax;
  size_t inflight_bytes_max = limits::kInflightBytesMax;
  size_t uncommitted_bytes_max = limits::kUncommittedBytesMax;
  size_t tail_bytes_max = limits::kTailBytesMax;
  size_t pending_reads_max = limits::kPendingReadsMax;
  uint64_t promotion_lag_entries_max = limits::kPromotionLagEntriesMax;
  uint32_t priority = kPriorityNormal;
};

enum class Role : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };
const char* RoleName(Role role);

// What a client of the group wants in the log. The core gives it index, term, offsets and checksum.
struct Proposal {
  EntryKind kind = EntryKind::kData;
  uint32_t record_count = 0;
  int64_t min_timestamp_ms = kNoTimestamp;
  int64_t max_timestamp_ms = kNoTimestamp;
  Bytes payload = {};
};

// To be written by the driver, all of it or nothing, in order with the group's other tasks.
struct AppendTask {
  uint64_t token = 0;
  std::optional<storage::SnapshotMeta> snapshot = {};  // with replace_log: installed from the leader; without: the log's start moves
  bool replace_log = false;
  std::vector<Entry> entries = {};
  std::optional<storage::HardState> hard_state = {};
  // May leave only when the task is durable. Not for the driver to send: Written() takes the task back and does.
  std::vector<Message> after = {};
  bool writes_nothing() const { return !snapshot && entries.empty() && !hard_state; }
};

// Entries that a follower needs and that are no longer in memory; answer with LogRead().
struct LogFetch {
  ReplicaId to;
  LogIndex first;
  LogIndex last;  // exclusive
  size_t bytes_max = 0;
  Term term;  // in which they are wanted: the log may have been cut since
};

// The follower needs entries that were trimmed: send a snapshot, then call SnapshotSent() or SnapshotFailed().
struct SnapshotWanted {
  ReplicaId to;
};

struct ReadReady {
  uint64_t id = 0;  // as given to ReadIndex
  Status status;    // NOT_LEADER, NO_LEADER: ask again
  LogIndex index;   // serve the read once this much is applied
};

// Effects, in the order in which they have to be carried out.
struct Output {
  std::vector<Message> messages;   // send now
  std::vector<AppendTask> append;  // write, in order
  std::vector<LogFetch> fetches;
  std::vector<SnapshotWanted> snapshots;
  // A snapshot was installed: once the task with `restore_token` is durable the state machine starts anew from it, before
  // anything after it is applied.
  std::optional<storage::SnapshotMeta> restore;
  uint64_t restore_token = 0;
  // Everything up to here is committed and durable here: apply it. (A leader could apply what a quorum has and its own disk has not;
  // waiting keeps one rule for all: what is applied can be read back from the store.)
  std::optional<LogIndex> apply_to;
  std::vector<ReadReady> reads;
  // Role, term, leader, or configuration differ from what the last output showed.
  bool state_changed = false;
  // Driver-sent heartbeats: what a follower should hear differs from the last time (commit), or a read waits for a round (now).
  bool heartbeat_changed = false;
  bool heartbeat_now = false;

  bool empty() const;
};

struct ReplicaStatus {
  ReplicaId id;
  ProgressState state = ProgressState::kProbe;
  bool voter = false;
  LogIndex match;
  LogIndex next;
  uint64_t inflight_messages = 0;
  uint64_t inflight_bytes = 0;
  uint64_t lag = 0;  // entries behind the end of the leader's log
  Tick last_active = 0;
};

struct CoreStatus {
  GroupId group;
  ReplicaId self;
  Role role = Role::kFollower;
  Term term;
  ReplicaId leader;  // kNoReplica: unknown
  ReplicaId voted_for;
  LogIndex first, last, stable, commit, applied;
  Offset start_offset, end_offset;
  Configuration configuration;
  LogIndex configuration_index;
  ReplicaId transfer_target;
  uint64_t uncommitted_bytes = 0;
  uint64_t tail_bytes = 0;
  uint64_t pending_reads = 0;
  std::vector<ReplicaStatus> replicas;  // on the leader
  Status fault;                         // not OK: this replica has stopped taking part
  // Since the start of the process.
  uint64_t elections_started = 0;
  uint64_t elections_won = 0;
  uint64_t appends_refused_here = 0;  // as a follower
  uint64_t appends_refused_by_followers = 0;
  uint64_t resends = 0;
  uint64_t proposals_refused = 0;
  uint64_t snapshots_wanted = 0;
  uint64_t snapshots_installed = 0;
  uint64_t messages_ignored = 0;  // stale, misdirected or impossible
};

class RaftCore {
 public:
  // Continues from what was durable. `applied` is how far the state machine already is: at or after the start of the log, at
  // most its end. A restarted leader is a follower.
  RaftCore(const CoreOptions& options, const storage::GroupState& state, LogIndex applied, Random random, Tick now);

  // --- inputs

  // Time moves to `now` (never back); whatever is due happens. Call it before other inputs, or when NextDeadline() is reached.
  void AdvanceTo(Tick now);
  void Step(Message message);
  // Appends on the leader; the index of the first one. NOT_LEADER (details "leader"), TRANSFERRING, OVERLOADED, DISK_FULL,
  // LIMIT_EXCEEDED, REPLICA_FAULTED: none of them was appended.
  Result<LogIndex> Propose(std::span<const Proposal> proposals);
  // Begins a change of members; the index of its entry. It ends by itself. CONFIGURATION_PENDING: another one is under way, or
  // this leader has not committed in its own term yet. NOT_CAUGHT_UP (details "lag"): a learner to be promoted is too far behind.
  // And as Propose and Configuration::Change.
  Result<LogIndex> ProposeChange(const MembershipChange& change);
  // Hands leadership to `target`, or with kNoReplica to the voter that is furthest. Proposals are refused until it ends, after
  // election_ticks at the latest. OK when it began, or when `target` leads already. NOT_LEADER, CONFIGURATION_PENDING (a transfer
  // is under way), ILLEGAL_CONFIGURATION (not a voter).
  Status TransferLeadership(ReplicaId target);
  // Asks for votes now, as if the election timer had run out; a reluctant replica, too. Ignored by a leader and by one that may not
  // campaign.
  void Campaign();
  // A linearizable read: Output::reads answers with `id`, once. OVERLOADED, NO_LEADER: it was not taken.
  Status ReadIndex(uint64_t id);
  // The oldest task given out and not yet handed back was written (OK), refused (DISK_FULL), or failed (anything else; final).
  // Its entries may have been moved away.
  void Written(AppendTask task, const Status& status);
  void Applied(LogIndex index);
  // Answers a LogFetch. TRIMMED leads to a snapshot; any other error makes this replica faulty, but for OFFSET_OUT_OF_RANGE when the
  // leadership was lost meanwhile and the log cut.
  void LogRead(const LogFetch& fetch, Result<std::vector<Entry>> entries);
  // Answers a SnapshotWanted: the replica has installed one that ends at `anchor`, or could not be given one.
  void SnapshotSent(ReplicaId to, LogIndex anchor);
  void SnapshotFailed(ReplicaId to);
  // The log may begin after meta.anchor, which is applied and in the log: the start moves.
  void Compact(const storage::SnapshotMeta& meta);
  // The connection to the replica broke: what was on its way may be lost. If it leads, it counts as silent until it is heard of in
  // a later tick. With driver-sent heartbeats: after LeaderAlive with what was heard before.
  void Unreachable(ReplicaId replica);
  void SetPriority(uint32_t priority) { options_.priority = priority; }
  // The group's storage is damaged, or the driver gives up: takes no part any more.
  void Fail(Status reason);

  // --- driver-sent heartbeats (heartbeat_ticks == 0)

  // What the replica should hear; leader only.
  Message MakeHeartbeat(ReplicaId to) const;
  // The leader of the current term was heard of at `when`. Call it, when there is news, before AdvanceTo and before Step of a
  // VoteRequest: what the core does not know of does not hold it back.
  void LeaderAlive(Tick when);
  // A replica answered the leader at `when`.
  void ReplicaAlive(ReplicaId replica, Tick when);

  // --- outputs and views

  Output TakeOutput();
  // When AdvanceTo has something to do; kNever if it depends on other inputs.
  Tick NextDeadline() const;

  Role role() const { return role_; }
  Term term() const { return hard_state_.term; }
  ReplicaId leader() const { return leader_; }
  ReplicaId self() const { return options_.self; }
  GroupId group() const { return options_.group; }
  LogIndex commit() const { return commit_; }
  LogIndex applied() const { return applied_; }
  const Configuration& configuration() const { return log_.configuration(); }
  const RaftLog& log() const { return log_; }
  const Status& fault() const { return fault_; }
  // A leader spoke to a later life of this replica: a configuration without this one is committed, and everything that a majority had
  // with its help is on a majority of the others.
  bool superseded() const { return superseded_; }
  // Whether an entry of the own term is committed: the leader knows what is committed (Raft §8).
  bool leads_surely() const;
  // The least index that every follower has, or the end of the log without any; leader only.
  LogIndex MinMatch() const;
  CoreStatus status() const;
  // Dies when a rule that can be seen from inside is broken. Cheap enough for tests to call after every input.
  void CheckInvariants() const;

 private:
  struct Follower {
    Tick election_deadline = 0;
    Tick heard_at = 0;                  // of the leader; with leader_ set, it is alive until heard_at + election_ticks
    std::optional<Tick> lost_at;        // the connection to the leader broke, and it was not heard of in a later tick
    uint32_t silent_timeouts = 0;       // since then, while it did not campaign
    uint32_t terms_without_leader = 0;  // that began since a leader was heard of
  };
  struct Campaigning {  // pre-candidate and candidate
    bool transfer = false;
    Term term;  // that votes are asked for
    Tick deadline = 0;
    Tick ask_again_at = kNever;    // a candidate: not before its own vote is durable
    uint32_t ask_again_ticks = 0;  // after it began
    std::vector<std::pair<ReplicaId, bool>> votes;
  };
  struct Transfer {
    ReplicaId target;
    Tick deadline = 0;
    bool told = false;  // TimeoutNow is on its way
  };
  struct Leading {
    std::vector<Progress> progress;  // of every other replica of the configuration, sorted by id
    LogIndex first_of_term;          // the leader's no-op
    Tick heartbeat_at = kNever;
    Tick read_retry_at = kNever;  // a round was opened and not answered
    uint64_t acked_round = 0;     // by a quorum
    Tick check_quorum_at = 0;
    std::optional<Transfer> transfer;
    ReadQueue reads;
    size_t uncommitted_bytes = 0;
  };
  // A read that a follower asked its leader for.
  struct ForwardedRead {
    uint64_t sequence;
    uint64_t id;
    Tick deadline;
  };

  // election.cc
  void BecomeFollower(Term term, ReplicaId leader);
  void StartPreVote();
  void StartCampaign(bool transfer);
  void BecomeLeader();
  void StopLeading();
  bool MayCampaign() const;
  bool OffersItself() const;
  void CampaignInTurn();
  void WaitInSilence();
  bool LeaderIsAlive() const;
  void HeardFromLeader(Tick when);
  void ResetElectionTimer();
  void SetLeader(ReplicaId leader);
  void LeaderLost();
  uint32_t PlaceInLine() const;
  void SetTerm(Term term);
  void CheckQuorum();
  void OnVoteRequest(const Message& message, const VoteRequest& request);
  void OnVoteReply(const Message& message, const VoteReply& reply);
  void OnTimeoutNow(const Message& message);
  void AskForVotes();
  void AskAgainLater();
  void RecordVote(ReplicaId from, bool granted);
  void AdvanceTransfer();

  // replication.cc
  bool FollowSender(const Message& message);
  void OnAppendRequest(const Message& message, AppendRequest& request);
  void OnAppendReply(const Message& message, const AppendReply& reply);
  void OnHeartbeat(const Message& message, const Heartbeat& heartbeat);
  void OnHeartbeatReply(const Message& message, const HeartbeatReply& reply);
  void OnSnapshotInstall(const Message& message, const SnapshotInstall& install);
  bool WellFormed(const Message& message, const AppendRequest& request) const;
  bool TakeEntries(std::vector<Entry> entries);
  void AcceptAppend(ReplicaId leader, LogIndex match);
  bool LostData(LogIndex acknowledged);
  bool Diverges(const storage::EntryId& leaders);
  LogIndex AppendOwn(const Proposal& proposal);
  void SendAppends();
  void SendAppend(Progress* progress);
  void SendEntries(Progress* progress, std::vector<Entry> entries);
  void SendHeartbeats();
  void ResendWhatIsLost();
  void AdvanceCommit();
  void CommitTo(LogIndex index);

  // membership.cc
  void ConfigurationChanged();
  void OnConfigurationCommitted();

  // reads.cc
  void OnReadIndexRequest(const Message& message, const ReadIndexRequest& request);
  void OnReadIndexReply(const Message& message, const ReadIndexReply& reply);
  void OpenReadRound();
  void ReleaseReads();
  void AnswerRead(const PendingRead& read, bool ok);
  void RefuseForwardedReads(Tick until);

  // raft_core.cc
  void OnMisdirected(const Message& message);
  void Send(ReplicaId to, MessageBody body);
  void SendWhenDurable(ReplicaId to, MessageBody body);
  void CollectTask();
  void GiveOut(AppendTask task);
  void OnWriteRefused(const AppendTask& task);
  bool disk_full() const { return write_retry_at_ != kNever; }
  Progress* FindProgress(ReplicaId id);
  const Progress* FindProgress(ReplicaId id) const;
  LogIndex MatchOf(ReplicaId id) const;
  Status NotLeaderStatus() const;
  void EnterFault(Status reason);
  void NoteStateChange();

  CoreOptions options_;
  Random random_;
  Tick now_;
  Role role_ = Role::kFollower;
  ReplicaId leader_;
  storage::HardState hard_state_;
  bool hard_state_dirty_ = false;  // differs from what the last task carried
  RaftLog log_;
  LogIndex commit_;
  LogIndex applied_;
  LogIndex apply_shown_;  // what the last apply_to said
  LogIndex verified_;     // as a follower: up to here the log equals the leader's of this term
  Follower follower_;
  Campaigning campaign_;
  Leading leading_;
  std::vector<ForwardedRead> forwarded_reads_;
  uint64_t next_read_sequence_;
  uint64_t next_token_ = 1;
  Tick write_retry_at_ = kNever;  // set: the disk was full when we last wrote
  std::vector<Message> after_;    // for the next task
  Output output_;
  struct Shown {
    Role role = Role::kFollower;
    Term term;
    ReplicaId leader;
    LogIndex configuration_index;
    bool surely = false;
    bool faulty = false;
    bool operator==(const Shown&) const = default;
  };
  Shown shown_;  // what the last output showed
  Status fault_;
  bool superseded_ = false;
  CoreStatus counters_;  // only its counting fields
};

}  // namespace flotilla::raft
