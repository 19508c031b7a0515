#include "raft/core/raft_core.h"

#include <glog/logging.h>

#include <algorithm>

#include "raft/core/quorum.h"

namespace flotilla::raft {
namespace {

// The configurations in a log, the one at its start first. A configuration that does not decode is damage: the fault.
std::vector<std::pair<LogIndex, Configuration>> ConfigurationsOf(const storage::GroupState& state, Status* fault) {
  std::vector<std::pair<LogIndex, Configuration>> history;
  const auto take = [&](LogIndex index, std::string_view encoded) {
    Result<Configuration> configuration = DecodeConfiguration(encoded);
    if (!configuration.ok()) {
      *fault = Status(Reason::kDataLoss, "the configuration at index " + std::to_string(index.value()) + " of group " +
                                             std::to_string(state.group.value()) +
                                             " is damaged: " + std::string(configuration.status().message()));
      return;
    }
    history.emplace_back(index, std::move(*configuration));
  };
  take(state.bounds.start.last.index, state.snapshot.configuration.view());
  for (const Entry& entry : state.configurations) take(entry.index(), entry.payload.view());
  if (history.empty()) history.emplace_back(state.bounds.start.last.index, Configuration{});
  return history;
}

}  // namespace

const char* RoleName(Role role) {
  switch (role) {
    case Role::kFollower: return "follower";
    case Role::kPreCandidate: return "pre-candidate";
    case Role::kCandidate: return "candidate";
    case Role::kLeader: return "leader";
  }
  return "?";
}

bool Output::empty() const {
  return messages.empty() && append.empty() && fetches.empty() && snapshots.empty() && !restore && !apply_to && reads.empty() &&
         !state_changed && !heartbeat_changed && !heartbeat_now;
}

RaftCore::RaftCore(const CoreOptions& options, const storage::GroupState& state, LogIndex applied, Random random, Tick now)
    : options_(options),
      random_(random),
      now_(now),
      hard_state_(state.hard_state),
      log_(state, ConfigurationsOf(state, &fault_)),
      commit_(std::max(state.bounds.start.last.index, std::min(state.hard_state.commit, state.bounds.end.last.index))),
      applied_(applied),
      apply_shown_(applied),
      verified_(commit_),
      next_read_sequence_(random_.Next()) {
  CHECK_GE(applied, log_.start().last.index) << "group " << options.group;
  CHECK_LE(applied, log_.last()) << "group " << options.group;
  CHECK_GT(options_.election_ticks, 0u);
  CHECK_GT(options_.vote_resend_ticks, 0u);
  CHECK_GT(options_.leader_lost_ticks, 0u);
  // What was applied was committed.
  commit_ = verified_ = std::max(commit_, applied);
  shown_ = {.role = role_, .term = hard_state_.term, .leader = {}, .configuration_index = log_.configuration_index()};
  ResetElectionTimer();
}

// --- time

void RaftCore::AdvanceTo(Tick now) {
  now_ = std::max(now_, now);
  if (!fault_.ok()) return;
  if (disk_full() && now_ >= write_retry_at_ && !log_.writing()) write_retry_at_ = kNever;
  RefuseForwardedReads(now_);
  if (role_ == Role::kFollower) {
    if (now_ >= follower_.election_deadline) CampaignInTurn();
    return;
  }
  if (role_ != Role::kLeader) {
    if (now_ >= campaign_.deadline) return CampaignInTurn();
    if (now_ < campaign_.ask_again_at) return;
    AskForVotes();
    AskAgainLater();
    return;
  }
  if (now_ >= leading_.check_quorum_at) CheckQuorum();
  if (role_ != Role::kLeader) return;
  if (leading_.transfer && now_ >= leading_.transfer->deadline) leading_.transfer.reset();
  ResendWhatIsLost();
  if (now_ >= leading_.heartbeat_at) SendHeartbeats();
  if (now_ >= leading_.read_retry_at) OpenReadRound();
}

Tick RaftCore::NextDeadline() const {
  if (!fault_.ok()) return kNever;
  Tick next = kNever;
  if (disk_full() && !log_.writing()) next = std::min(next, write_retry_at_);
  for (const ForwardedRead& read : forwarded_reads_) next = std::min(next, read.deadline);
  if (role_ == Role::kFollower) return std::min(next, follower_.election_deadline);
  if (role_ != Role::kLeader) return std::min({next, campaign_.deadline, campaign_.ask_again_at});
  next = std::min({next, leading_.check_quorum_at, leading_.heartbeat_at, leading_.read_retry_at});
  if (leading_.transfer) next = std::min(next, leading_.transfer->deadline);
  for (const Progress& progress : leading_.progress) {
    if (progress.awaiting()) next = std::min(next, progress.sent_at + options_.resend_ticks);
  }
  return next;
}

// --- messages

// For another group, another life of this replica, or our own echo.
void RaftCore::OnMisdirected(const Message& message) {
  ++counters_.messages_ignored;
  const bool later_life =
      message.group == options_.group && message.to.node == options_.self.node && message.to.incarnation > options_.self.incarnation;
  // No configuration has two lives of one node, and a leader changes one at a time: this one was removed, for good, before.
  if (later_life && (std::holds_alternative<AppendRequest>(message.body) || std::holds_alternative<Heartbeat>(message.body)))
    superseded_ = true;
}

void RaftCore::Step(Message message) {
  if (!fault_.ok()) return;
  if (message.group != options_.group || message.to != options_.self || message.from == options_.self) {
    return OnMisdirected(message);
  }
  const auto* vote_request = std::get_if<VoteRequest>(&message.body);
  const auto* vote_reply = std::get_if<VoteReply>(&message.body);
  // A pre-vote is a question about a term that nobody may ever reach: it moves no term, and neither does a granted one.
  const bool pre_vote = (vote_request && vote_request->pre_vote) || (vote_reply && vote_reply->pre_vote && vote_reply->granted);
  if (message.term > term() && !pre_vote) {
    BecomeFollower(message.term, kNoReplica);
  } else if (message.term < term() && !vote_request && !(vote_reply && vote_reply->pre_vote)) {
    // Answered, not dropped: a leader of the past has to learn of the new term.
    if (std::holds_alternative<AppendRequest>(message.body) || std::holds_alternative<SnapshotInstall>(message.body)) {
      Send(message.from, AppendReply{});
    } else if (std::holds_alternative<Heartbeat>(message.body)) {
      Send(message.from, HeartbeatReply{.read_round = 0, .last = {}});
    } else if (const auto* read = std::get_if<ReadIndexRequest>(&message.body)) {
      Send(message.from, ReadIndexReply{.sequence = read->sequence, .ok = false, .index = {}});
    } else {
      ++counters_.messages_ignored;
    }
    return;
  }
  if (Progress* progress = role_ == Role::kLeader && message.term == term() ? FindProgress(message.from) : nullptr) {
    progress->last_active = now_;
  }
  std::visit(
      [&](auto& body) {
        using Body = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<Body, VoteRequest>) OnVoteRequest(message, body);
        if constexpr (std::is_same_v<Body, VoteReply>) OnVoteReply(message, body);
        if constexpr (std::is_same_v<Body, AppendRequest>) OnAppendRequest(message, body);
        if constexpr (std::is_same_v<Body, AppendReply>) OnAppendReply(message, body);
        if constexpr (std::is_same_v<Body, Heartbeat>) OnHeartbeat(message, body);
        if constexpr (std::is_same_v<Body, HeartbeatReply>) OnHeartbeatReply(message, body);
        if constexpr (std::is_same_v<Body, SnapshotInstall>) OnSnapshotInstall(message, body);
        if constexpr (std::is_same_v<Body, TimeoutNow>) OnTimeoutNow(message);
        if constexpr (std::is_same_v<Body, ReadIndexRequest>) OnReadIndexRequest(message, body);
        if constexpr (std::is_same_v<Body, ReadIndexReply>) OnReadIndexReply(message, body);
      },
      message.body);
}

void RaftCore::Send(ReplicaId to, MessageBody body) {
  output_.messages.push_back({options_.group, options_.self, to, term(), std::move(body)});
}

void RaftCore::SendWhenDurable(ReplicaId to, MessageBody body) {
  after_.push_back({options_.group, options_.self, to, term(), std::move(body)});
}

// --- proposals

Result<LogIndex> RaftCore::Propose(std::span<const Proposal> proposals) {
  const auto refuse = [&](Status why) {
    ++counters_.proposals_refused;
    return why;
  };
  if (!fault_.ok()) return refuse(fault_);
  if (role_ != Role::kLeader) return refuse(NotLeaderStatus());
  if (leading_.transfer) {
    return refuse(Status(Reason::kTransferring,
                         "leadership is being handed to replica " + ToString(leading_.transfer->target) + "; try again shortly"));
  }
  size_t bytes = 0;
  bool data = false;
  for (const Proposal& proposal : proposals) {
    CHECK(proposal.kind != EntryKind::kConfiguration && proposal.kind != EntryKind::kNoop) << "not a client's entry";
    bytes += Entry::kEntryOverheadBytes + proposal.payload.size();
    data |= proposal.kind == EntryKind::kData;
    if (proposal.payload.size() > limits::kEntryPayloadBytesMax) {
      return refuse(Status(Reason::kLimitExceeded, "an entry of " + std::to_string(proposal.payload.size()) + " bytes; the limit is " +
                                                       std::to_string(limits::kEntryPayloadBytesMax)));
    }
    if (proposal.record_count > limits::kEntryRecordsMax) {
      return refuse(Status(Reason::kLimitExceeded, "an entry of " + std::to_string(proposal.record_count) + " records; the limit is " +
                                                       std::to_string(limits::kEntryRecordsMax)));
    }
  }
  if (proposals.empty()) return refuse(Status(Reason::kInvalidArgument, "no entry to append"));
  if (disk_full() && data) {
    return refuse(Status(Reason::kDiskFull, "the leader's disk is below its reserve; free space, or move the group elsewhere"));
  }
  if (leading_.uncommitted_bytes > 0 && leading_.uncommitted_bytes + bytes > options_.uncommitted_bytes_max) {
    return refuse(Status(Reason::kOverloaded, std::to_string(leading_.uncommitted_bytes) + " bytes wait to be committed and the limit is " +
                                                  std::to_string(options_.uncommitted_bytes_max) + "; try again shortly"));
  }
  const LogIndex first = log_.last() + 1;
  for (const Proposal& proposal : proposals) AppendOwn(proposal);
  return first;
}

Status RaftCore::NotLeaderStatus() const {
  if (!leader_.valid()) return Status(Reason::kNoLeader, "the group has no leader at the moment; try again shortly");
  return Status(Reason::kNotLeader, "replica " + ToString(leader_) + " leads").With("leader", ToString(leader_));
}

// --- the disk

void RaftCore::CollectTask() {
  AppendTask task;
  if (!disk_full()) task.entries = log_.TakeUnsubmitted();
  // The hint never passes what is durable: an entry that is refused here (disk full) may stand in the place of an older one.
  const LogIndex commit_hint = std::max(hard_state_.commit, std::min(commit_, log_.stable()));
  if (hard_state_dirty_ || (!task.entries.empty() && hard_state_.commit != commit_hint)) {
    hard_state_.commit = commit_hint;
    task.hard_state = hard_state_;
    hard_state_dirty_ = false;
  }
  task.after = std::move(after_);
  after_.clear();
  if (!task.writes_nothing() || (!task.after.empty() && log_.writing())) {
    GiveOut(std::move(task));
    return;
  }
  // Nothing to wait for.
  for (Message& message : task.after) output_.messages.push_back(std::move(message));
}

void RaftCore::GiveOut(AppendTask task) {
  task.token = next_token_++;
  log_.TaskGivenOut(task.token);
  output_.append.push_back(std::move(task));
}

void RaftCore::Written(AppendTask task, const Status& status) {
  if (!fault_.ok()) return;
  // A task that stood behind a refused one has a gap before it: the store refuses it too, for another reason.
  const bool void_entries = log_.OldestTaskVoid();
  if (!status.ok()) {
    const bool refused = status.reason() == Reason::kDiskFull ||
                         (void_entries && status.reason() != Reason::kStorageFailed && status.reason() != Reason::kDataLoss);
    if (refused) {
      OnWriteRefused(task);
    } else {
      EnterFault(
          Status(status.reason(), "group " + std::to_string(options_.group.value()) + " cannot write: " + std::string(status.message())));
    }
    return;
  }
  log_.TaskWritten(task.token);
  if (!void_entries) {
    for (Message& message : task.after) output_.messages.push_back(std::move(message));
  }
  // The own vote counts when it is durable.
  if (role_ == Role::kCandidate && task.hard_state && task.hard_state->term == term() && task.hard_state->voted_for == options_.self) {
    if (campaign_.ask_again_at == kNever) AskAgainLater();
    RecordVote(options_.self, true);
  }
  if (role_ == Role::kLeader) AdvanceCommit();
}

void RaftCore::OnWriteRefused(const AppendTask& task) {
  log_.TaskRefused(task.token);
  // Its messages are lost, as if the network had dropped them, and so are those that waited to follow it; its hard state has to reach the
  // disk nevertheless.
  if (task.hard_state) hard_state_dirty_ = true;
  after_.clear();
  write_retry_at_ = now_ + options_.disk_full_retry_ticks;
}

void RaftCore::Applied(LogIndex index) {
  if (index <= applied_) return;  // before a snapshot that was installed meanwhile
  CHECK_LE(index, apply_shown_);
  applied_ = index;
}

void RaftCore::Compact(const storage::SnapshotMeta& meta) {
  if (!fault_.ok() || meta.anchor.last.index <= log_.start().last.index) return;
  CHECK_LE(meta.anchor.last.index, applied_) << "cut of what is not applied";
  CollectTask();
  log_.TrimTo(meta.anchor);
  GiveOut({.snapshot = meta});
}

void RaftCore::Fail(Status reason) {
  if (fault_.ok()) EnterFault(std::move(reason));
}

void RaftCore::EnterFault(Status reason) {
  if (role_ == Role::kLeader) StopLeading();
  role_ = Role::kFollower;
  SetLeader(kNoReplica);
  RefuseForwardedReads(kNever);
  fault_ = std::move(reason);
  // Nothing is acknowledged or voted any more, not even what was about to leave.
  output_.messages.clear();
  output_.append.clear();
  output_.apply_to.reset();
  after_.clear();
}

// --- outputs

Output RaftCore::TakeOutput() {
  if (fault_.ok()) {
    if (role_ == Role::kLeader) {
      AdvanceTransfer();
      if (leads_surely() && leading_.reads.wants_round() && leading_.acked_round == leading_.reads.round()) OpenReadRound();
      SendAppends();
    }
    CollectTask();
    const LogIndex applicable = std::min(commit_, log_.stable());
    if (applicable > apply_shown_) {
      apply_shown_ = applicable;
      output_.apply_to = applicable;
    }
    LogIndex needed_from = applied_;
    for (const Progress& progress : leading_.progress) {
      if (progress.state == ProgressState::kReplicate) needed_from = std::min(needed_from, progress.match);
    }
    log_.EvictTail(needed_from, commit_, options_.tail_bytes_max);
  }
  NoteStateChange();
  Output out = std::move(output_);
  output_ = Output{};
  return out;
}

void RaftCore::NoteStateChange() {
  const Shown now{role_, term(), leader_, log_.configuration_index(), leads_surely(), !fault_.ok()};
  if (now == shown_) return;
  shown_ = now;
  output_.state_changed = true;
}

// --- views

bool RaftCore::leads_surely() const { return role_ == Role::kLeader && commit_ >= leading_.first_of_term; }

Progress* RaftCore::FindProgress(ReplicaId id) {
  const auto at = std::lower_bound(leading_.progress.begin(), leading_.progress.end(), id,
                                   [](const Progress& progress, ReplicaId wanted) { return progress.id < wanted; });
  return at != leading_.progress.end() && at->id == id ? &*at : nullptr;
}

const Progress* RaftCore::FindProgress(ReplicaId id) const { return const_cast<RaftCore*>(this)->FindProgress(id); }

LogIndex RaftCore::MatchOf(ReplicaId id) const {
  if (id == options_.self) return log_.stable();
  const Progress* progress = FindProgress(id);
  return progress ? progress->match : LogIndex{0};
}

LogIndex RaftCore::MinMatch() const {
  LogIndex least = log_.last();
  for (const Progress& progress : leading_.progress) least = std::min(least, progress.match);
  return least;
}

CoreStatus RaftCore::status() const {
  CoreStatus status = counters_;
  status.group = options_.group;
  status.self = options_.self;
  status.role = role_;
  status.term = term();
  status.leader = leader_;
  status.voted_for = hard_state_.voted_for;
  status.first = log_.first();
  status.last = log_.last();
  status.stable = log_.stable();
  status.commit = commit_;
  status.applied = applied_;
  status.start_offset = log_.start().end_offset;
  status.end_offset = log_.end().end_offset;
  status.configuration = log_.configuration();
  status.configuration_index = log_.configuration_index();
  if (leading_.transfer) status.transfer_target = leading_.transfer->target;
  status.uncommitted_bytes = leading_.uncommitted_bytes;
  status.tail_bytes = log_.tail_bytes();
  status.pending_reads = leading_.reads.size() + forwarded_reads_.size();
  for (const Progress& progress : leading_.progress) {
    status.replicas.push_back({.id = progress.id,
                               .state = progress.state,
                               .voter = log_.configuration().IsVoter(progress.id),
                               .match = progress.match,
                               .next = progress.next,
                               .inflight_messages = progress.inflight.messages(),
                               .inflight_bytes = progress.inflight.bytes(),
                               .lag = log_.last() - progress.match,
                               .last_active = progress.last_active});
  }
  status.fault = fault_;
  return status;
}

void RaftCore::CheckInvariants() const {
  log_.CheckInvariants();
  CHECK_LE(applied_, apply_shown_);
  CHECK_LE(apply_shown_, commit_);
  CHECK_LE(apply_shown_, std::max(log_.stable(), log_.start().last.index));
  CHECK_LE(commit_, log_.last());
  CHECK_GE(commit_, log_.start().last.index);
  CHECK_GE(applied_, log_.start().last.index);
  CHECK_LE(log_.end().last.term, term());
  if (!fault_.ok()) CHECK(role_ == Role::kFollower);
  if (role_ == Role::kLeader) {
    CHECK(leader_ == options_.self);
    CHECK(hard_state_.voted_for == options_.self);
    CHECK_LE(leading_.first_of_term, log_.last());
    for (const Progress& progress : leading_.progress) {
      CHECK(progress.id != options_.self);
      CHECK(log_.configuration().Contains(progress.id));
      CHECK_LE(progress.match, log_.last());
      CHECK_GT(progress.next, progress.match);
      CHECK_LE(progress.next, log_.last() + 1);
      if (progress.state == ProgressState::kReplicate) {
        CHECK_LE(progress.inflight.messages(), options_.inflight_messages_max);
      } else {
        CHECK(progress.inflight.empty());
      }
    }
    CHECK_EQ(leading_.uncommitted_bytes == 0, commit_ == log_.last());
  } else {
    CHECK(leading_.progress.empty());
    CHECK(leader_ != options_.self);
  }
  if (role_ == Role::kCandidate) CHECK(hard_state_.voted_for == options_.self);
  if (follower_.lost_at) CHECK(leader_.valid() && role_ == Role::kFollower);
}

}  // namespace flotilla::raft
