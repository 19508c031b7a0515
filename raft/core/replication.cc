// How the log spreads: appends and their answers, windows, conflict hints, heartbeats, commit, and snapshots that replace it.
#include <glog/logging.h>

#include <algorithm>

#include "raft/core/quorum.h"
#include "raft/core/raft_core.h"

namespace flotilla::raft {

// --- following

// The message is of this term and only a leader sends such: follow it. False if it cannot be (two leaders in one term).
bool RaftCore::FollowSender(const Message& message) {
  if (role_ == Role::kLeader || (leader_.valid() && leader_ != message.from)) {
    ++counters_.messages_ignored;
    return false;
  }
  if (leader_ != message.from || role_ != Role::kFollower) BecomeFollower(term(), message.from);
  HeardFromLeader(now_);
  return true;
}

// A replica that has less than it once acknowledged in this term lost what it promised to keep: it forgot its votes with it, and
// may take no further part. It is rebuilt as a new replica.
bool RaftCore::LostData(LogIndex acknowledged) {
  if (acknowledged <= log_.last()) return false;
  EnterFault(Status(Reason::kDataLoss, "replica " + ToString(options_.self) + " of group " + std::to_string(options_.group.value()) +
                                           " acknowledged index " + std::to_string(acknowledged.value()) + " but its log ends at " +
                                           std::to_string(log_.last().value()) +
                                           ": its disk lost data; remove this replica and add it anew"));
  return true;
}

// A leader has whatever was committed before its term (Raft §5.4.3), unless people let one go on that has not (raft/core/survivor.h). To
// take what it says for what is here would be to acknowledge its log without having it.
bool RaftCore::Diverges(const EntryId& leaders) {
  if (leaders.index > commit_) return false;
  const std::optional<Term> here = log_.TermAt(leaders.index);
  if (!here || *here == leaders.term) return false;
  EnterFault(Status(Reason::kDataLoss, "the leader's entry " + std::to_string(leaders.index.value()) + " of group " +
                                           std::to_string(options_.group.value()) + " is of term " + std::to_string(leaders.term.value()) +
                                           ", the committed one here of term " + std::to_string(here->value()) + ": the logs diverge"));
  return true;
}

bool RaftCore::WellFormed(const Message& message, const AppendRequest& request) const {
  LogIndex index = request.prev.index;
  Term entry_term = request.prev.term;
  for (const Entry& entry : request.entries) {
    if (entry.header.group != options_.group || entry.index() != index + 1 || entry.term() < entry_term) return false;
    if (entry.header.kind == EntryKind::kConfiguration && !DecodeConfiguration(entry.payload.view()).ok()) return false;
    index = entry.index();
    entry_term = entry.term();
  }
  return entry_term <= message.term;
}

void RaftCore::OnAppendRequest(const Message& message, AppendRequest& request) {
  if (!WellFormed(message, request)) {
    ++counters_.messages_ignored;
    return;
  }
  if (!FollowSender(message) || LostData(request.acknowledged)) return;
  if (Diverges(request.prev)) return;
  const LogIndex last = request.prev.index + request.entries.size();
  // Everything up to commit equals the leader's log, whatever this message still says of it.
  if (request.prev.index >= commit_ && !log_.Has(request.prev)) {
    ++counters_.appends_refused_here;
    const EntryId hint = log_.LastAtMost(request.prev.index, request.prev.term);
    Send(message.from, AppendReply{.accepted = false, .index = request.prev.index, .hint = hint});
    return;
  }
  if (!TakeEntries(std::move(request.entries))) return;
  verified_ = std::max({verified_, last, commit_});
  AcceptAppend(message.from, std::max(last, commit_));
  CommitTo(std::min(request.commit, verified_));
}

// Appends what is new, overwriting what conflicts (Raft §5.3). False if it could not: the message is as good as lost.
bool RaftCore::TakeEntries(std::vector<Entry> entries) {
  for (Entry& entry : entries) {
    if (entry.index() <= log_.start().last.index) continue;
    const std::optional<Term> here = log_.TermAt(entry.index());
    if (here == entry.term()) continue;
    if (Diverges({.term = entry.term(), .index = entry.index()})) return false;
    if (disk_full()) {
      ++counters_.appends_refused_here;
      return false;
    }
    if (here.has_value()) {
      // The log is cut here and nowhere else.
      CHECK_GT(entry.index(), commit_);
      log_.TruncateFor(entry.header);
      verified_ = std::min(verified_, entry.index() - 1);
      ConfigurationChanged();
    }
    if (entry.term() < log_.end().last.term) {  // only where the leader begins before the log here, whose start is committed
      EnterFault(Status(Reason::kDataLoss, "the leader's entry " + std::to_string(entry.index().value()) + " of group " +
                                               std::to_string(options_.group.value()) + " is of term " +
                                               std::to_string(entry.term().value()) + ", the one before it here of term " +
                                               std::to_string(log_.end().last.term.value()) + ": the logs diverge"));
      return false;
    }
    if (entry.header.base_offset != log_.end().end_offset) {
      EnterFault(Status(Reason::kDataLoss, "entry " + std::to_string(entry.index().value()) + " of group " +
                                               std::to_string(options_.group.value()) + " begins at offset " +
                                               std::to_string(entry.header.base_offset.value()) + ", the log here ends at offset " +
                                               std::to_string(log_.end().end_offset.value()) + ": the logs diverge"));
      return false;
    }
    if (entry.header.kind == EntryKind::kConfiguration) {
      Configuration configuration = *DecodeConfiguration(entry.payload.view());
      log_.AppendConfiguration(std::move(entry), std::move(configuration));
      ConfigurationChanged();
    } else {
      log_.Append(std::move(entry));
    }
  }
  return true;
}

void RaftCore::AcceptAppend(ReplicaId leader, LogIndex match) {
  // With a full disk there is no task to wait for: only what is durable may be acknowledged.
  if (disk_full()) match = std::min(match, log_.stable());
  SendWhenDurable(leader, AppendReply{.accepted = true, .index = match, .hint = {}});
}

void RaftCore::OnHeartbeat(const Message& message, const Heartbeat& heartbeat) {
  if (!FollowSender(message) || LostData(heartbeat.commit)) return;
  CommitTo(heartbeat.commit);
  Send(message.from, HeartbeatReply{.read_round = heartbeat.read_round, .last = log_.last()});
}

void RaftCore::OnSnapshotInstall(const Message& message, const SnapshotInstall& install) {
  Result<Configuration> configuration = DecodeConfiguration(install.meta.configuration.view());
  const storage::LogAnchor& anchor = install.meta.anchor;
  if (!configuration.ok() || configuration->empty() || anchor.last.term > message.term) {
    ++counters_.messages_ignored;
    return;
  }
  if (!FollowSender(message) || Diverges(anchor.last)) return;
  if (anchor.last.index <= commit_) {  // an old one
    AcceptAppend(message.from, commit_);
    return;
  }
  if (log_.Has(anchor.last)) {  // the log is here already, and now known to be committed
    verified_ = std::max(verified_, anchor.last.index);
    AcceptAppend(message.from, anchor.last.index);
    CommitTo(anchor.last.index);
    return;
  }
  CollectTask();
  log_.Reset(anchor, std::move(*configuration));
  commit_ = applied_ = apply_shown_ = verified_ = anchor.last.index;
  output_.apply_to.reset();
  ++counters_.snapshots_installed;
  hard_state_.commit = commit_;
  hard_state_dirty_ = false;
  AppendTask task{.token = 0, .snapshot = install.meta, .replace_log = true, .entries = {}, .hard_state = hard_state_, .after = {}};
  task.after.push_back(
      {options_.group, options_.self, message.from, term(), AppendReply{.accepted = true, .index = anchor.last.index, .hint = {}}});
  output_.restore = install.meta;
  output_.restore_token = next_token_;
  GiveOut(std::move(task));
  ConfigurationChanged();
}

// --- leading

LogIndex RaftCore::AppendOwn(const Proposal& proposal) {
  const storage::LogAnchor& end = log_.end();
  Entry entry;
  entry.header.group = options_.group;
  entry.header.index = end.last.index + 1;
  entry.header.term = term();
  entry.header.kind = proposal.kind;
  entry.header.base_offset = end.end_offset;
  entry.header.record_count = proposal.record_count;
  entry.header.min_timestamp_ms = proposal.min_timestamp_ms;
  entry.header.max_timestamp_ms = proposal.max_timestamp_ms;
  entry.header.running_max_timestamp_ms = std::max(end.running_max_timestamp_ms, proposal.max_timestamp_ms);
  entry.payload = proposal.payload;
  storage::SealEntry(&entry);
  leading_.uncommitted_bytes += entry.bytes();
  const LogIndex index = entry.index();
  if (proposal.kind == EntryKind::kConfiguration) {
    Result<Configuration> configuration = DecodeConfiguration(entry.payload.view());
    CHECK(configuration.ok()) << configuration.status();
    log_.AppendConfiguration(std::move(entry), std::move(*configuration));
    ConfigurationChanged();
  } else {
    log_.Append(std::move(entry));
  }
  return index;
}

void RaftCore::SendAppends() {
  for (Progress& progress : leading_.progress) SendAppend(&progress);
}

// Sends what the replica's state allows. Entries leave while the own disk still writes them (thesis §10.2.1).
void RaftCore::SendAppend(Progress* progress) {
  while (progress->state != ProgressState::kSnapshot && !progress->fetching) {
    const bool probing = progress->state == ProgressState::kProbe;
    if (probing && progress->probe_sent) return;
    if (!probing && progress->next > log_.last()) return;
    size_t bytes_max = options_.append_bytes_max;
    if (!probing) {
      if (progress->inflight.messages() >= options_.inflight_messages_max) return;
      if (progress->inflight.bytes() >= options_.inflight_bytes_max) return;
      bytes_max = std::min(bytes_max, options_.inflight_bytes_max - progress->inflight.bytes());
    }
    if (!log_.TermAt(progress->next - 1)) {
      progress->BecomeSnapshot();
      ++counters_.snapshots_wanted;
      output_.snapshots.push_back({progress->id});
      return;
    }
    // One that has been silent is asked where it stands, without a load that may be lost.
    const bool silent = now_ >= progress->last_active + options_.election_ticks;
    if (probing && (silent || progress->next > log_.last())) {
      SendEntries(progress, {});
      return;
    }
    if (progress->next < log_.tail_first()) {
      progress->fetching = true;
      output_.fetches.push_back({.to = progress->id,
                                 .first = progress->next,
                                 .last = std::min(log_.tail_first(), log_.stable() + 1),
                                 .bytes_max = bytes_max,
                                 .term = term()});
      return;
    }
    SendEntries(progress, *log_.TailEntries(progress->next, log_.last() + 1, bytes_max, options_.append_entries_max));
  }
}

void RaftCore::SendEntries(Progress* progress, std::vector<Entry> entries) {
  const LogIndex prev = progress->next - 1;
  if (progress->state == ProgressState::kProbe) {
    progress->probe_sent = true;
    progress->sent_at = now_;
  } else {
    if (progress->inflight.empty()) progress->sent_at = now_;
    size_t bytes = 0;
    for (const Entry& entry : entries) bytes += entry.bytes();
    progress->next = entries.back().index() + 1;
    progress->inflight.Add(entries.back().index(), bytes);
  }
  const LogIndex acknowledged = progress->match;
  Send(progress->id,
       AppendRequest{.prev = {*log_.TermAt(prev), prev}, .entries = std::move(entries), .commit = commit_, .acknowledged = acknowledged});
}

void RaftCore::LogRead(const LogFetch& fetch, Result<std::vector<Entry>> entries) {
  if (!fault_.ok()) return;
  // Asked for in an earlier term of office: what it found was not of this log.
  const bool stale = role_ != Role::kLeader || fetch.term != term();
  if (!entries.ok() && entries.status().reason() != Reason::kTrimmed &&
      !(stale && entries.status().reason() == Reason::kOffsetOutOfRange)) {
    EnterFault(entries.status());
    return;
  }
  if (stale) return;
  Progress* progress = FindProgress(fetch.to);
  if (progress == nullptr || !progress->fetching) return;
  progress->fetching = false;
  // Trimmed meanwhile, or moved on: SendAppend looks anew.
  if (!entries.ok() || entries->empty() || progress->next != fetch.first) return;
  if (progress->state == ProgressState::kSnapshot || !log_.TermAt(progress->next - 1)) return;
  if (progress->state == ProgressState::kProbe && progress->probe_sent) return;
  for (const Entry& entry : *entries) {
    if (log_.Has(entry.id())) continue;
    EnterFault(Status(Reason::kDataLoss, "entry " + std::to_string(entry.index().value()) + " of group " +
                                             std::to_string(options_.group.value()) + " was read back with term " +
                                             std::to_string(entry.term().value()) +
                                             ", which is not that of the log; remove this replica and add it anew"));
    return;
  }
  SendEntries(progress, std::move(*entries));
}

void RaftCore::SnapshotSent(ReplicaId to, LogIndex anchor) {
  Progress* progress = role_ == Role::kLeader ? FindProgress(to) : nullptr;
  if (progress == nullptr || progress->state != ProgressState::kSnapshot) return;
  // Its own answer to the installation may be lost: ask whether it stands there.
  progress->BecomeProbe();
  progress->next = std::max(progress->next, std::min(anchor, log_.last()) + 1);
}

void RaftCore::SnapshotFailed(ReplicaId to) {
  Progress* progress = role_ == Role::kLeader ? FindProgress(to) : nullptr;
  if (progress == nullptr || progress->state != ProgressState::kSnapshot) return;
  // Not again at once: as if a probe were on its way that gets no answer.
  progress->BecomeProbe();
  progress->probe_sent = true;
  progress->sent_at = now_;
}

void RaftCore::OnAppendReply(const Message& message, const AppendReply& reply) {
  if (role_ != Role::kLeader) return;
  Progress* progress = FindProgress(message.from);
  if (progress == nullptr || reply.index > log_.last()) {
    ++counters_.messages_ignored;
    return;
  }
  if (!reply.accepted) {
    ++counters_.appends_refused_by_followers;
    const bool stale = progress->state == ProgressState::kProbe       ? reply.index != progress->next - 1
                       : progress->state == ProgressState::kReplicate ? reply.index <= progress->match
                                                                      : true;
    if (stale) return;
    // Where both logs may agree, seen from both sides: one round per term, not one per entry (Raft §5.3, end).
    const LogIndex agree = log_.LastAtMost(std::min(reply.hint.index, reply.index - 1), reply.hint.term).index;
    progress->BecomeProbe();
    progress->next = std::max(agree, progress->match) + 1;
    return;
  }
  const bool answers_probe = progress->state == ProgressState::kProbe && reply.index + 1 >= progress->next;
  if (reply.index > progress->match) {
    progress->match = reply.index;
    progress->sent_at = now_;
    progress->inflight.FreeTo(reply.index);
    progress->next = std::max(progress->next, reply.index + 1);
  }
  const bool snapshot_arrived = progress->state == ProgressState::kSnapshot && progress->match >= log_.start().last.index;
  if (answers_probe || snapshot_arrived) progress->BecomeReplicate();
  AdvanceCommit();
}

void RaftCore::OnHeartbeatReply(const Message& message, const HeartbeatReply& reply) {
  if (role_ != Role::kLeader) return;
  Progress* progress = FindProgress(message.from);
  if (progress == nullptr || reply.read_round > leading_.reads.round()) {
    ++counters_.messages_ignored;
    return;
  }
  progress->acked_read_round = std::max(progress->acked_read_round, reply.read_round);
  ReleaseReads();
}

Message RaftCore::MakeHeartbeat(ReplicaId to) const {
  const Progress* progress = FindProgress(to);
  CHECK(role_ == Role::kLeader && progress != nullptr);
  return {options_.group, options_.self, to, term(),
          Heartbeat{.commit = std::min(commit_, progress->match), .read_round = leading_.reads.round()}};
}

void RaftCore::SendHeartbeats() {
  if (options_.heartbeat_ticks == 0) return;
  leading_.heartbeat_at = now_ + options_.heartbeat_ticks;
  for (const Progress& progress : leading_.progress) output_.messages.push_back(MakeHeartbeat(progress.id));
}

void RaftCore::ResendWhatIsLost() {
  for (Progress& progress : leading_.progress) {
    if (!progress.awaiting() || now_ < progress.sent_at + options_.resend_ticks) continue;
    ++counters_.resends;
    progress.BecomeProbe();
  }
}

void RaftCore::Unreachable(ReplicaId replica) {
  if (!fault_.ok()) return;
  if (role_ == Role::kFollower && replica.valid() && replica == leader_) LeaderLost();
  if (role_ != Role::kLeader) return;
  Progress* progress = FindProgress(replica);
  if (progress != nullptr && progress->state == ProgressState::kReplicate) progress->BecomeProbe();
}

// --- commit

// Raft §5.4.2: by counting only entries of the own term; earlier ones are committed with them.
void RaftCore::AdvanceCommit() {
  const LogIndex reached = QuorumReached(log_.configuration(), [&](ReplicaId id) { return MatchOf(id); });
  if (reached > commit_ && log_.TermAt(reached) == term()) CommitTo(reached);
}

void RaftCore::CommitTo(LogIndex index) {
  index = std::min(index, log_.last());
  if (index <= commit_) return;
  const bool was_sure = leads_surely();
  if (role_ == Role::kLeader) {
    const size_t committed = log_.TailBytesBetween(commit_, index);
    leading_.uncommitted_bytes -= std::min(committed, leading_.uncommitted_bytes);
    output_.heartbeat_changed = true;
  }
  commit_ = index;
  if (role_ != Role::kLeader) return;
  if (!was_sure && leads_surely()) leading_.reads.RaiseTo(commit_);
  if (commit_ >= log_.configuration_index()) OnConfigurationCommitted();
}

}  // namespace flotilla::raft
