// Who leads: terms, votes, the leader's check that it still has a quorum, and handing over.
#include <glog/logging.h>

#include <algorithm>

#include "raft/core/quorum.h"
#include "raft/core/raft_core.h"

namespace flotilla::raft {
namespace {

// A learner waits this many election timeouts for the voters to elect somebody before it offers itself.
constexpr uint32_t kSilentTimeoutsOfOutsiders = 4;
// A reluctant voter waits this many: enough for one election among the others, and no partition waits long when there is nobody else.
constexpr uint32_t kSilentTimeoutsOfReluctant = 1;
// An election takes up to four writes one after the other (a vote waits for the write that is under way, at the candidate and at the
// voter), and one that takes longer than the timeout is broken off by the next: with slow disks for ever, each in a term of its own. So
// after this many terms that brought no leader, the timeouts double with each further one, up to eight times. Raft §5.6 asks for
// timeouts well above what an election takes; here they find that themselves.
constexpr uint32_t kTermsBeforePatience = 2;
constexpr uint32_t kPatienceDoublings = 3;

}  // namespace

// The vote changes exactly when the term does, here and where a vote is given; nowhere else.
void RaftCore::SetTerm(Term term) {
  CHECK_GT(term, hard_state_.term);
  hard_state_.term = term;
  hard_state_.voted_for = kNoReplica;
  hard_state_dirty_ = true;
  verified_ = commit_;
  ++follower_.terms_without_leader;
}

void RaftCore::ResetElectionTimer() {
  const uint32_t fruitless = std::clamp(follower_.terms_without_leader, kTermsBeforePatience, kTermsBeforePatience + kPatienceDoublings);
  const Tick patience = Tick{options_.election_ticks} << (fruitless - kTermsBeforePatience);
  follower_.election_deadline = now_ + patience + random_.Below(patience);
}

void RaftCore::BecomeFollower(Term term, ReplicaId leader) {
  CHECK_GE(term, hard_state_.term);
  // The role goes before the term: nobody leads a term it was not elected in.
  const bool was_follower = role_ == Role::kFollower;
  if (role_ == Role::kLeader) StopLeading();
  role_ = Role::kFollower;
  campaign_ = {};
  if (leader != leader_ || term != hard_state_.term) RefuseForwardedReads(kNever);
  SetLeader(leader);
  if (term > hard_state_.term) SetTerm(term);
  // A follower that merely learns of a term keeps its patience: only a leader or a vote it gives renews it.
  if (!was_follower) ResetElectionTimer();
}

void RaftCore::SetLeader(ReplicaId leader) {
  if (leader != leader_) follower_.lost_at.reset();
  leader_ = leader;
}

void RaftCore::StopLeading() {
  for (const PendingRead& read : leading_.reads.Drain()) AnswerRead(read, false);
  leading_ = {};
  verified_ = commit_;
}

bool RaftCore::LeaderIsAlive() const {
  if (role_ == Role::kLeader) return true;
  return leader_.valid() && !follower_.lost_at && now_ < follower_.heard_at + options_.election_ticks;
}

void RaftCore::HeardFromLeader(Tick when) {
  // In the tick in which the connection broke it may be what was read last from it.
  if (follower_.lost_at && when <= *follower_.lost_at) return;
  const bool alarmed = follower_.lost_at.has_value();
  follower_.lost_at.reset();
  follower_.silent_timeouts = 0;
  follower_.terms_without_leader = 0;
  // One draw for a tick, however much is heard in it, and the last one counts: the longest of many would be near twice the timeout, and
  // the same for everybody.
  if (when <= follower_.heard_at && !alarmed) return;
  follower_.heard_at = std::max(follower_.heard_at, when);
  const Tick timeout = options_.election_ticks + random_.Below(options_.election_ticks);
  follower_.election_deadline = when + timeout;
}

void RaftCore::LeaderAlive(Tick when) {
  if (!fault_.ok() || role_ != Role::kFollower || !leader_.valid() || when <= follower_.heard_at) return;
  HeardFromLeader(when);
}

// A broken connection is news of the leader's death that comes long before its silence does. It only begins a pre-vote early: voters
// that still hear the leader refuse that, and the leader leads on.
void RaftCore::LeaderLost() {
  if (follower_.lost_at) return;  // another of its connections; our turn is set
  follower_.lost_at = now_;
  if (!OffersItself()) return;
  const Tick turn = options_.leader_lost_ticks * (Tick{PlaceInLine()} + 1) + random_.Below(options_.leader_lost_ticks);
  follower_.election_deadline = std::min(follower_.election_deadline, now_ + turn);
}

// Among the voters without the leader. Another one is first in another group, so that leaderships spread.
uint32_t RaftCore::PlaceInLine() const {
  std::vector<ReplicaId> line = log_.configuration().voters;
  std::erase(line, leader_);
  const auto self = std::find(line.begin(), line.end(), options_.self);
  if (self == line.end()) return static_cast<uint32_t>(line.size());
  return static_cast<uint32_t>((static_cast<uint64_t>(self - line.begin()) + options_.group.value()) % line.size());
}

void RaftCore::ReplicaAlive(ReplicaId replica, Tick when) {
  if (role_ != Role::kLeader) return;
  if (Progress* progress = FindProgress(replica)) progress->last_active = std::max(progress->last_active, when);
}

// A voter may campaign. So may one that its newest configuration drops, as long as that one is not known to be committed, and, after
// a long silence, anybody: each may hold the only log that the others accept (thesis §4.2.2). Votes are counted by its
// configuration, of which it may be no part; it then leads until that is committed and hands over.
bool RaftCore::MayCampaign() const {
  if (options_.priority == kPriorityNever || log_.configuration().empty()) return false;
  if (log_.configuration().IsVoter(options_.self)) return true;
  if (log_.configuration_index() > commit_ && log_.previous_configuration().IsVoter(options_.self)) return true;
  return follower_.silent_timeouts >= kSilentTimeoutsOfOutsiders;
}

// Without being asked.
bool RaftCore::OffersItself() const {
  if (!MayCampaign()) return false;
  return options_.priority != kPriorityReluctant || follower_.silent_timeouts >= kSilentTimeoutsOfReluctant;
}

void RaftCore::Campaign() {
  if (!fault_.ok() || role_ == Role::kLeader) return;
  if (MayCampaign()) {
    StartPreVote();
  } else {
    WaitInSilence();
  }
}

void RaftCore::CampaignInTurn() {
  if (OffersItself()) {
    StartPreVote();
  } else {
    WaitInSilence();
  }
}

void RaftCore::WaitInSilence() {
  ++follower_.silent_timeouts;
  if (role_ != Role::kFollower) BecomeFollower(term(), kNoReplica);
  SetLeader(LeaderIsAlive() ? leader_ : kNoReplica);
  ResetElectionTimer();
}

void RaftCore::StartPreVote() {
  RefuseForwardedReads(kNever);
  role_ = Role::kPreCandidate;
  SetLeader(kNoReplica);
  ResetElectionTimer();
  campaign_ = {.transfer = false, .term = term() + 1, .deadline = follower_.election_deadline, .votes = {}};
  ++counters_.elections_started;
  AskForVotes();
  AskAgainLater();
  RecordVote(options_.self, true);
}

void RaftCore::StartCampaign(bool transfer) {
  RefuseForwardedReads(kNever);
  role_ = Role::kCandidate;
  SetLeader(kNoReplica);
  SetTerm(term() + 1);
  hard_state_.voted_for = options_.self;
  ResetElectionTimer();
  campaign_ = {.transfer = transfer, .term = term(), .deadline = follower_.election_deadline, .votes = {}};
  // The requests wait for the term and the own vote to be durable; the own vote counts when Written() says so, and from then on
  // they are repeated.
  AskForVotes();
}

// All voters that have not answered.
void RaftCore::AskForVotes() {
  const bool pre_vote = role_ == Role::kPreCandidate;
  const VoteRequest request{.pre_vote = pre_vote, .transfer = campaign_.transfer, .campaign_term = campaign_.term, .last = log_.last_id()};
  for (const ReplicaId& id : log_.configuration().Replicas()) {
    if (id == options_.self || !log_.configuration().IsVoter(id)) continue;
    const bool answered = std::any_of(campaign_.votes.begin(), campaign_.votes.end(), [&](const auto& vote) { return vote.first == id; });
    if (answered) continue;
    if (pre_vote) {
      Send(id, request);
    } else {
      SendWhenDurable(id, request);
    }
  }
}

void RaftCore::AskAgainLater() {
  const uint32_t asked_ticks = campaign_.ask_again_ticks;
  campaign_.ask_again_ticks = asked_ticks == 0 ? options_.vote_resend_ticks : 2 * asked_ticks;
  campaign_.ask_again_at = now_ + (campaign_.ask_again_ticks - asked_ticks);
}

void RaftCore::RecordVote(ReplicaId from, bool granted) {
  const auto known = std::find_if(campaign_.votes.begin(), campaign_.votes.end(), [&](const auto& vote) { return vote.first == from; });
  if (known != campaign_.votes.end()) return;  // a repeated message is one vote
  campaign_.votes.emplace_back(from, granted);
  const VoteOutcome outcome = TallyVotes(log_.configuration(), [&](ReplicaId id) -> std::optional<bool> {
    for (const auto& [voter, yes] : campaign_.votes) {
      if (voter == id) return yes;
    }
    return std::nullopt;
  });
  if (outcome == VoteOutcome::kLost) {
    BecomeFollower(term(), kNoReplica);
  } else if (outcome == VoteOutcome::kWon) {
    if (role_ == Role::kPreCandidate) {
      StartCampaign(false);
    } else {
      BecomeLeader();
    }
  }
}

void RaftCore::OnVoteRequest(const Message& message, const VoteRequest& request) {
  const bool up_to_date = request.last >= log_.last_id();  // Raft §5.4.1
  VoteReply reply{.pre_vote = request.pre_vote, .granted = false, .campaign_term = request.campaign_term};
  if (request.pre_vote) {
    // Thesis §9.6 and §4.2.3: nobody is encouraged to unseat a leader that we hear from.
    reply.granted = request.campaign_term > term() && up_to_date && !LeaderIsAlive();
    Send(message.from, reply);
    return;
  }
  const bool free_to_vote = hard_state_.voted_for == message.from || (!hard_state_.voted_for.valid() && !leader_.valid());
  reply.granted = message.term == term() && request.campaign_term == term() && up_to_date && free_to_vote;
  if (!reply.granted) {
    Send(message.from, reply);
    return;
  }
  if (hard_state_.voted_for != message.from) {
    hard_state_.voted_for = message.from;
    hard_state_dirty_ = true;
  }
  if (role_ == Role::kPreCandidate) BecomeFollower(term(), kNoReplica);
  ResetElectionTimer();
  SendWhenDurable(message.from, reply);
}

void RaftCore::OnVoteReply(const Message& message, const VoteReply& reply) {
  const Role wanted = reply.pre_vote ? Role::kPreCandidate : Role::kCandidate;
  if (role_ != wanted || reply.campaign_term != campaign_.term) {
    ++counters_.messages_ignored;
    return;
  }
  RecordVote(message.from, reply.granted);
}

void RaftCore::BecomeLeader() {
  CHECK(role_ == Role::kCandidate);
  role_ = Role::kLeader;
  leader_ = options_.self;
  campaign_ = {};
  leading_ = {};
  follower_.terms_without_leader = 0;
  ++counters_.elections_won;
  leading_.check_quorum_at = now_ + options_.election_ticks;
  leading_.uncommitted_bytes = log_.TailBytesBetween(commit_, log_.last());
  ConfigurationChanged();
  // Raft §8: the leader learns what is committed by committing an entry of its own term.
  leading_.first_of_term = AppendOwn(Proposal{.kind = EntryKind::kNoop});
  if (options_.heartbeat_ticks > 0) leading_.heartbeat_at = now_ + options_.heartbeat_ticks;
}

// Raft §6 (end) and thesis §6.2: a leader that has not heard from a quorum for an election timeout stops pretending. Looked at when
// that timeout could be over at the earliest, not with every message.
void RaftCore::CheckQuorum() {
  const Tick heard_at = QuorumReached(log_.configuration(), [&](ReplicaId id) -> Tick {
    if (id == options_.self) return now_;
    const Progress* progress = FindProgress(id);
    return progress != nullptr ? progress->last_active : 0;
  });
  if (now_ < heard_at + options_.election_ticks) {
    leading_.check_quorum_at = heard_at + options_.election_ticks;
  } else {
    BecomeFollower(term(), kNoReplica);
  }
}

// --- handing over (thesis §3.10)

Status RaftCore::TransferLeadership(ReplicaId target) {
  if (!fault_.ok()) return fault_;
  if (role_ != Role::kLeader) return NotLeaderStatus();
  if (leading_.transfer) {
    return Status(Reason::kConfigurationPending,
                  "leadership is being handed to replica " + ToString(leading_.transfer->target) + " already");
  }
  if (target == options_.self) return Status();
  const std::vector<ReplicaId>& voters = log_.configuration().voters;
  if (!target.valid()) {
    LogIndex furthest{0};
    for (const ReplicaId& id : voters) {
      const Progress* progress = FindProgress(id);
      if (progress == nullptr || now_ >= progress->last_active + options_.election_ticks) continue;
      if (target.valid() && progress->match <= furthest) continue;
      target = id;
      furthest = progress->match;
    }
    if (!target.valid()) return Status(Reason::kIllegalConfiguration, "no other voter answers; leadership stays here");
  }
  if (!std::binary_search(voters.begin(), voters.end(), target)) {
    return Status(Reason::kIllegalConfiguration, "replica " + ToString(target) + " is no voter of this group");
  }
  leading_.transfer = Transfer{.target = target, .deadline = now_ + options_.election_ticks, .told = false};
  return Status();
}

void RaftCore::AdvanceTransfer() {
  if (!leading_.transfer) return;
  const Progress* progress = FindProgress(leading_.transfer->target);
  if (progress == nullptr) {
    leading_.transfer.reset();  // removed meanwhile
  } else if (!leading_.transfer->told && progress->match == log_.last()) {
    leading_.transfer->told = true;
    Send(progress->id, TimeoutNow{});
  }
}

void RaftCore::OnTimeoutNow(const Message& message) {
  if (role_ == Role::kLeader || (leader_.valid() && leader_ != message.from) || !MayCampaign()) {
    ++counters_.messages_ignored;
    return;
  }
  ++counters_.elections_started;
  StartCampaign(true);
}

}  // namespace flotilla::raft
