#include <map>
#include <tuple>
#include <utility>
#include <variant>

#include "tests/sim/invariants.h"

namespace flotilla::sim {
namespace {

using raft::Role;

class ElectionSafety final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "election safety"; }
  void OnSeen(const Chronicle&, const ReplicaSeen& now, const ReplicaSeen*) override {
    if (now.role != Role::kLeader) return;
    auto [leader, first] = leaders_.try_emplace({now.group, now.term}, now.self, now.boot);
    if (first || leader->second == std::pair(now.self, now.boot)) return;
    Violated("group ", now.group, " has two leaders in term ", now.term, ": ", leader->second.first, " and ", now.self,
             leader->second.first == now.self ? " after a restart" : "");
  }

 private:
  // A restarted leader must not go on in its old term either.
  std::map<std::pair<GroupId, Term>, std::pair<ReplicaId, uint64_t>> leaders_;
};

class OneVotePerTerm final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "one vote per term"; }
  void OnSent(const Chronicle&, const raft::Message& message) override {
    const auto* request = std::get_if<raft::VoteRequest>(&message.body);
    if (request != nullptr && !request->pre_vote) {
      // A candidate asks once its own vote is on the disk.
      Vote(message.group, message.from, request->campaign_term, message.from);
    }
    const auto* reply = std::get_if<raft::VoteReply>(&message.body);
    if (reply == nullptr || reply->pre_vote || !reply->granted) return;
    Vote(message.group, message.from, reply->campaign_term, message.to);
  }
  void OnSeen(const Chronicle&, const ReplicaSeen& now, const ReplicaSeen*) override {
    // A leader has voted for itself.
    if (now.role == Role::kLeader) Vote(now.group, now.self, now.term, now.self);
  }

 private:
  void Vote(GroupId group, ReplicaId voter, Term term, ReplicaId candidate) {
    auto [vote, first] = votes_.try_emplace({group, voter, term}, candidate);
    if (first || vote->second == candidate) return;
    Violated("group ", group, ": replica ", voter, " voted in term ", term, " for ", vote->second, " and for ", candidate);
  }
  std::map<std::tuple<GroupId, ReplicaId, Term>, ReplicaId> votes_;
};

class DurableBeforeSent final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "durable before sent"; }
  void OnSent(const Chronicle& chronicle, const raft::Message& message) override {
    if (const auto* vote = std::get_if<raft::VoteReply>(&message.body)) CheckVote(chronicle, message, *vote);
    if (const auto* reply = std::get_if<raft::AppendReply>(&message.body)) CheckAppend(chronicle, message, *reply);
  }

 private:
  void CheckVote(const Chronicle& chronicle, const raft::Message& message, const raft::VoteReply& vote) {
    if (vote.pre_vote || !vote.granted) return;
    const storage::HardState durable = chronicle.durable().HardStateOf(message.group, message.from);
    if (durable.term > vote.campaign_term) return;
    if (durable.term == vote.campaign_term && durable.voted_for == message.to) return;
    Violated("group ", message.group, ": replica ", message.from, " sent its vote of term ", vote.campaign_term, " for ", message.to,
             ", its disk has term ", durable.term, " and a vote for ", durable.voted_for);
  }
  void CheckAppend(const Chronicle& chronicle, const raft::Message& message, const raft::AppendReply& reply) {
    if (!reply.accepted || reply.index.value() == 0) return;
    const LogSeen* log = chronicle.LogOf(message.group, message.from);
    if (log == nullptr || reply.index <= log->start.index) return;
    // An acknowledgement to an earlier leader may be overtaken by the next one's entries.
    if (chronicle.durable().HardStateOf(message.group, message.from).term > message.term) return;
    // Or what waits to be written after it may replace it.
    const std::optional<Term> on_disk = chronicle.durable().TermOnDisk(message.group, message.from, reply.index);
    const std::optional<Term> newest = log->TermAt(reply.index);
    if (on_disk && (!newest || *newest == *on_disk || *newest > message.term)) return;
    Violated("group ", message.group, ": replica ", message.from, " acknowledged up to ", reply.index, " in term ", message.term,
             " and does not have it on its disk");
  }
};

class Monotonic final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "monotonic"; }
  void OnSeen(const Chronicle&, const ReplicaSeen& now, const ReplicaSeen* before) override {
    if (now.applied > now.commit) {
      Violated("group ", now.group, ": replica ", now.self, " applied ", now.applied, " and committed ", now.commit);
    }
    if (now.commit > now.last.index) {
      Violated("group ", now.group, ": replica ", now.self, " committed ", now.commit, " and has ", now.last.index);
    }
    if (before == nullptr) return;
    Grows(now, "term", before->term.value(), now.term.value());
    Grows(now, "commit", before->commit.value(), now.commit.value());
    Grows(now, "applied", before->applied.value(), now.applied.value());
    Grows(now, "first index", before->first.value(), now.first.value());
  }

 private:
  void Grows(const ReplicaSeen& now, const char* what, uint64_t before, uint64_t after) {
    if (after >= before) return;
    Violated("group ", now.group, ": ", what, " of replica ", now.self, " went back from ", before, " to ", after);
  }
};

}  // namespace

Invariants ElectionInvariants(Verdict& verdict) {
  Invariants all;
  all.push_back(std::make_unique<ElectionSafety>(verdict));
  all.push_back(std::make_unique<OneVotePerTerm>(verdict));
  all.push_back(std::make_unique<DurableBeforeSent>(verdict));
  all.push_back(std::make_unique<Monotonic>(verdict));
  return all;
}

Invariants AllInvariants(Verdict& verdict) {
  Invariants all;
  for (auto make : {ElectionInvariants, LogInvariants, MachineInvariants}) {
    for (auto& invariant : make(verdict)) all.push_back(std::move(invariant));
  }
  return all;
}

}  // namespace flotilla::sim
