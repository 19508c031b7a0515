// Each rule is shown a history that breaks it, and one that comes close.
#include "tests/sim/invariants.h"

#include <gmock/gmock.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/command.h"
#include "tests/support/entry_maker.h"

namespace flotilla::sim {
namespace {

using raft::Role;
using storage::EntryMaker;
using storage::WriteTask;
using ::testing::StartsWith;

constexpr GroupId kGroup{7};
constexpr ReplicaId A{NodeId{1}, 1};
constexpr ReplicaId B{NodeId{2}, 1};
constexpr ReplicaId C{NodeId{3}, 1};

class FakeDisks final : public DurableView {
 public:
  bool Holds(GroupId, ReplicaId replica, const EntryId& entry) const override { return held.count({replica, entry}) != 0; }
  std::optional<Term> TermOnDisk(GroupId, ReplicaId replica, LogIndex index) const override {
    for (const auto& [holder, entry] : held) {
      if (holder == replica && entry.index == index) return entry.term;
    }
    return std::nullopt;
  }
  storage::HardState HardStateOf(GroupId, ReplicaId replica) const override {
    auto state = states.find(replica);
    return state == states.end() ? storage::HardState{} : state->second;
  }
  std::set<std::pair<ReplicaId, EntryId>> held;
  std::map<ReplicaId, storage::HardState> states;
};

class InvariantsTest : public ::testing::Test {
 protected:
  InvariantsTest() : chronicle_(disks_, verdict_) {
    chronicle_.Watch(AllInvariants(verdict_));
    chronicle_.GroupCreated(kGroup, abc_);
  }

  static Entry CommandEntry(EntryMaker& make, uint64_t id) { return make.Data(EncodeCommand({.id = id}, 0)); }
  // The replica hands the entries to its disk.
  void Write(ReplicaId self, std::vector<Entry> entries) {
    WriteTask task;
    task.group = kGroup;
    task.entries = std::move(entries);
    chronicle_.Task(self, task);
  }
  void WriteDurably(ReplicaId self, const std::vector<Entry>& entries) {
    Write(self, entries);
    for (const Entry& entry : entries) disks_.held.insert({self, entry.id()});
  }
  struct Look {
    ReplicaId self;
    Role role = Role::kFollower;
    uint64_t term = 1;
    uint64_t commit = 0;
    EntryId last = {};
    uint64_t applied = 0;
    uint64_t boot = 1;
    uint64_t configuration_index = 0;
  };
  // An event is over, and this is how a replica looks.
  void See(const Look& look) {
    const ReplicaSeen seen{.group = kGroup,
                           .self = look.self,
                           .boot = look.boot,
                           .role = look.role,
                           .term = Term{look.term},
                           .commit = LogIndex{look.commit},
                           .applied = LogIndex{look.applied},
                           .first = LogIndex{1},
                           .last = look.last,
                           .configuration_index = LogIndex{look.configuration_index},
                           .configuration = &abc_};
    chronicle_.EndEvent(std::span(&seen, 1));
  }
  void EndEvent() { chronicle_.EndEvent({}); }
  // Two entries of term 1 are on the disks of A and B, and A commits them.
  void CommitTwo() {
    for (ReplicaId self : {A, B}) WriteDurably(self, two_);
    See({.self = A, .role = Role::kLeader, .commit = 2, .last = two_[1].id()});
    ASSERT_TRUE(verdict_.ok()) << verdict_.first();
  }
  void Send(ReplicaId from, ReplicaId to, uint64_t term, raft::MessageBody body) {
    chronicle_.Sent({kGroup, from, to, Term{term}, std::move(body)});
  }
  void ExpectBroken(const char* rule) { EXPECT_THAT(verdict_.first(), StartsWith(std::string(rule) + ": ")); }
  void ExpectKept() { EXPECT_TRUE(verdict_.ok()) << verdict_.first(); }

  Configuration abc_{.voters = {A, B, C}};
  FakeDisks disks_;
  Verdict verdict_;
  Chronicle chronicle_;
  EntryMaker make_{kGroup};
  std::vector<Entry> two_{CommandEntry(make_, 1), CommandEntry(make_, 2)};
};

TEST_F(InvariantsTest, TwoLeadersInOneTerm) {
  See({.self = A, .role = Role::kLeader, .term = 3});
  See({.self = B, .role = Role::kLeader, .term = 4});
  ExpectKept();
  See({.self = B, .role = Role::kLeader, .term = 3});
  ExpectBroken("election safety");
}

TEST_F(InvariantsTest, ALeaderThatGoesOnInItsTermAfterARestart) {
  See({.self = A, .role = Role::kLeader, .term = 3, .boot = 1});
  See({.self = A, .role = Role::kLeader, .term = 3, .boot = 2});
  ExpectBroken("election safety");
}

TEST_F(InvariantsTest, TwoVotesInOneTerm) {
  disks_.states[C] = {.term = Term{2}, .voted_for = A, .commit = {}};
  Send(C, A, 2, raft::VoteReply{.pre_vote = false, .granted = true, .campaign_term = Term{2}});
  Send(C, B, 2, raft::VoteReply{.pre_vote = true, .granted = true, .campaign_term = Term{2}});
  Send(C, A, 2, raft::VoteReply{.pre_vote = false, .granted = true, .campaign_term = Term{2}});
  ExpectKept();
  disks_.states[C].voted_for = B;
  Send(C, B, 2, raft::VoteReply{.pre_vote = false, .granted = true, .campaign_term = Term{2}});
  ExpectBroken("one vote per term");
}

TEST_F(InvariantsTest, ACandidateThatVotesForAnother) {
  disks_.states[A] = {.term = Term{2}, .voted_for = B, .commit = {}};
  Send(A, C, 2, raft::VoteRequest{.campaign_term = Term{2}, .last = {}});
  Send(A, B, 2, raft::VoteReply{.pre_vote = false, .granted = true, .campaign_term = Term{2}});
  ExpectBroken("one vote per term");
}

TEST_F(InvariantsTest, AVoteThatLeavesBeforeItIsDurable) {
  disks_.states[C] = {.term = Term{1}, .voted_for = {}, .commit = {}};
  Send(C, A, 2, raft::VoteReply{.pre_vote = false, .granted = true, .campaign_term = Term{2}});
  ExpectBroken("durable before sent");
}

TEST_F(InvariantsTest, AnAcknowledgementThatLeavesBeforeItIsDurable) {
  disks_.states[B].term = Term{1};
  Write(B, two_);
  disks_.held.insert({B, two_[0].id()});
  Send(B, A, 1, raft::AppendReply{.accepted = true, .index = LogIndex{1}, .hint = {}});
  ExpectKept();
  Send(B, A, 1, raft::AppendReply{.accepted = true, .index = LogIndex{2}, .hint = {}});
  ExpectBroken("durable before sent");
}

TEST_F(InvariantsTest, TermsAndCommitsThatGoBack) {
  CommitTwo();
  See({.self = B, .term = 5, .commit = 2, .last = two_[1].id()});
  See({.self = B, .term = 5, .commit = 1, .last = two_[1].id(), .boot = 2});  // a restart may forget
  ExpectKept();
  See({.self = B, .term = 4, .commit = 1, .last = two_[1].id(), .boot = 2});
  ExpectBroken("monotonic");
}

TEST_F(InvariantsTest, MoreAppliedThanCommitted) {
  CommitTwo();
  See({.self = B, .commit = 1, .last = two_[1].id(), .applied = 2});
  ExpectBroken("monotonic");
}

TEST_F(InvariantsTest, LogsThatAgreeAtAnEntryAndDifferBeforeIt) {
  EntryMaker other(kGroup);
  const Entry different = CommandEntry(other, 99);
  Write(A, two_);
  Write(B, {different});
  ExpectBroken("log matching");
}

TEST_F(InvariantsTest, LogsThatDifferOnlyInTheirPast) {
  EntryMaker make(kGroup);
  EntryMaker other(kGroup, Term{2});
  const std::vector<Entry> one{CommandEntry(make, 5)};
  const std::vector<Entry> two{CommandEntry(other, 6)};
  const Entry same = make.InTerm(Term{3}).Data("same");
  Write(A, one);
  Write(B, two);
  Write(A, {same});
  ExpectKept();
  Write(B, {same});
  ExpectBroken("log matching");
}

TEST_F(InvariantsTest, ALeaderWithoutACommittedEntry) {
  CommitTwo();
  Write(C, {two_[0]});
  See({.self = C, .role = Role::kLeader, .term = 2, .last = two_[0].id()});
  ExpectBroken("leader completeness");
}

TEST_F(InvariantsTest, ALateLeaderOfAnEarlierTermMayLackWhatALaterOneCommitted) {
  const std::vector<Entry> later{make_.InTerm(Term{9}).ContinueAfter({}).Data("later")};
  for (ReplicaId self : {A, B}) WriteDurably(self, later);
  See({.self = A, .role = Role::kLeader, .term = 9, .commit = 1, .last = later[0].id()});
  See({.self = C, .role = Role::kLeader, .term = 8});
  ExpectKept();
}

TEST_F(InvariantsTest, TwoReplicasThatCommitDifferentEntries) {
  CommitTwo();
  EntryMaker other(kGroup, Term{2});
  const std::vector<Entry> different{CommandEntry(other, 3), CommandEntry(other, 4)};
  WriteDurably(C, different);
  See({.self = C, .term = 2, .commit = 2, .last = different[1].id()});
  ExpectBroken("committed never changes");
}

TEST_F(InvariantsTest, ACommitThatNoQuorumHasOnDisk) {
  WriteDurably(A, two_);
  Write(B, two_);
  Write(C, two_);
  See({.self = A, .role = Role::kLeader, .commit = 2, .last = two_[1].id()});
  ExpectBroken("commit is durable");
}

TEST_F(InvariantsTest, ALeaderThatCommitsAnEarlierTermByCounting) {
  for (ReplicaId self : {A, B, C}) WriteDurably(self, two_);
  See({.self = A, .role = Role::kLeader, .term = 2, .commit = 2, .last = two_[1].id()});
  ExpectBroken("commit is durable");
}

TEST_F(InvariantsTest, OffsetsWithAHole) {
  EntryMaker make(kGroup);
  const Entry first = CommandEntry(make, 1);
  Entry second = CommandEntry(make, 2);
  second.header.base_offset = Offset{5};
  storage::SealEntry(&second);
  for (ReplicaId self : {A, B}) WriteDurably(self, {first, second});
  See({.self = A, .role = Role::kLeader, .commit = 2, .last = second.id()});
  ExpectBroken("offsets are dense");
}

TEST_F(InvariantsTest, TwoChangesOfMembersAtOnce) {
  EntryMaker make(kGroup);
  const Bytes joint = raft::EncodeConfiguration({.voters = {A, B}, .outgoing = {A, B, C}});
  Write(A, {make.Configuration(joint.view()), make.Configuration(joint.view())});
  See({.self = A, .role = Role::kLeader, .last = make.at().last, .configuration_index = 2});
  ExpectBroken("configuration rules");
}

TEST_F(InvariantsTest, AnEarlierConfigurationInForce) {
  EntryMaker make(kGroup);
  const Bytes joint = raft::EncodeConfiguration({.voters = {A, B}, .outgoing = {A, B, C}});
  Write(A, {make.Configuration(joint.view())});
  See({.self = A, .role = Role::kLeader, .last = make.at().last, .configuration_index = 0});
  ExpectBroken("configuration rules");
}

TEST_F(InvariantsTest, AConfigurationThatSkipsTheJointPhase) {
  EntryMaker make(kGroup);
  const std::vector<Entry> jump{make.Configuration(raft::EncodeConfiguration({.voters = {A, B}}).view())};
  for (ReplicaId self : {A, B}) WriteDurably(self, jump);
  See({.self = A, .role = Role::kLeader, .commit = 1, .last = jump[0].id(), .configuration_index = 1});
  ExpectBroken("configuration rules");
}

TEST_F(InvariantsTest, AnEntryAppliedTwiceInOneLife) {
  CommitTwo();
  chronicle_.Started({kGroup, A, 1, LogIndex{0}});
  chronicle_.Applied({A, 1, two_[0], 11});
  EndEvent();
  ExpectKept();
  chronicle_.Applied({A, 1, two_[0], 11});
  EndEvent();
  ExpectBroken("state machine safety");
}

TEST_F(InvariantsTest, AnEntryThatIsLeftOut) {
  CommitTwo();
  chronicle_.Started({kGroup, A, 1, LogIndex{0}});
  chronicle_.Applied({A, 1, two_[1], 11});
  EndEvent();
  ExpectBroken("state machine safety");
}

TEST_F(InvariantsTest, StatesThatDifferAfterTheSameEntry) {
  CommitTwo();
  chronicle_.Started({kGroup, A, 1, LogIndex{0}});
  chronicle_.Started({kGroup, B, 1, LogIndex{0}});
  chronicle_.Applied({A, 1, two_[0], 11});
  chronicle_.Applied({B, 1, two_[0], std::nullopt});
  chronicle_.Applied({B, 1, two_[1], 12});
  EndEvent();
  ExpectKept();
  chronicle_.Applied({A, 1, two_[1], 13});
  EndEvent();
  ExpectBroken("state machine safety");
}

TEST_F(InvariantsTest, AnotherEntryThanTheCommittedOneIsApplied) {
  CommitTwo();
  EntryMaker other(kGroup, Term{2});
  chronicle_.Started({kGroup, C, 1, LogIndex{0}});
  chronicle_.Applied({C, 1, CommandEntry(other, 3), 11});
  EndEvent();
  ExpectBroken("state machine safety");
}

TEST_F(InvariantsTest, AnAnswerForAnEntryThatIsNotCommitted) {
  CommitTwo();
  chronicle_.Outcome({kGroup, NodeId{1}, {2}, {}, false, two_[1].id()});
  EndEvent();
  ExpectKept();
  chronicle_.Outcome({kGroup, NodeId{1}, {3}, {}, false, {Term{1}, LogIndex{3}}});
  EndEvent();
  ExpectBroken("acknowledged is applied");
}

TEST_F(InvariantsTest, AnAnswerForAnotherClientsEntry) {
  CommitTwo();
  chronicle_.Outcome({kGroup, NodeId{1}, {77}, {}, false, two_[1].id()});
  EndEvent();
  ExpectBroken("acknowledged is applied");
}

TEST_F(InvariantsTest, ARefusalThatIsCommittedBefore) {
  CommitTwo();
  chronicle_.Outcome({kGroup, NodeId{1}, {2}, Status(Reason::kOutcomeUnknown, "who knows"), false, {}});
  EndEvent();
  ExpectKept();
  chronicle_.Outcome({kGroup, NodeId{1}, {2}, Status(Reason::kNotLeader, "not in the log"), false, {}});
  EndEvent();
  ExpectBroken("refused never appears");
}

TEST_F(InvariantsTest, ARefusalThatIsCommittedAfterwards) {
  chronicle_.Outcome({kGroup, NodeId{1}, {1}, Status(Reason::kOverloaded, "later"), true, {}});
  EndEvent();
  ExpectKept();
  for (ReplicaId self : {A, B}) WriteDurably(self, two_);
  See({.self = A, .role = Role::kLeader, .commit = 2, .last = two_[1].id()});
  ExpectBroken("refused never appears");
}

TEST_F(InvariantsTest, ACommandThatIsCommittedTwice) {
  CommitTwo();
  const std::vector<Entry> again{CommandEntry(make_, 2)};
  for (ReplicaId self : {A, B}) WriteDurably(self, again);
  See({.self = A, .role = Role::kLeader, .commit = 3, .last = again[0].id()});
  ExpectBroken("applied once");
}

TEST_F(InvariantsTest, AReadThatMissesWhatWasCommitted) {
  chronicle_.Read({kGroup, NodeId{1}, LogIndex{4}, LogIndex{4}, LogIndex{4}});
  EndEvent();
  ExpectKept();
  chronicle_.Read({kGroup, NodeId{1}, LogIndex{4}, LogIndex{3}, LogIndex{4}});
  EndEvent();
  ExpectBroken("linearizable reads");
}

TEST_F(InvariantsTest, AReadThatIsReleasedBeforeItsIndexIsApplied) {
  chronicle_.Read({kGroup, NodeId{1}, LogIndex{4}, LogIndex{5}, LogIndex{4}});
  EndEvent();
  ExpectBroken("linearizable reads");
}

TEST_F(InvariantsTest, AQueueAboveItsLimit) {
  chronicle_.Amount({kGroup, A, "reads", 4, 4});
  ExpectKept();
  chronicle_.Amount({kGroup, A, "reads", 5, 4});
  ExpectBroken("bounded memory");
}

TEST_F(InvariantsTest, ADamagedEntryThatIsSent) {
  Entry damaged = two_[0];
  damaged.payload = Bytes::Copy(std::string(damaged.payload.size(), '?'));
  Send(A, B, 1, raft::AppendRequest{.prev = {}, .entries = {damaged}, .commit = {}, .acknowledged = {}});
  ExpectBroken("damage is never served");
}

TEST_F(InvariantsTest, AReplicaThatGivesUpWithoutACause) {
  chronicle_.Fault({kGroup, A, Status(Reason::kDataLoss, "entry 3 is damaged"), true});
  ExpectKept();
  chronicle_.Fault({kGroup, A, Status(Reason::kDataLoss, "entry 3 is damaged"), false});
  ExpectBroken("honest faults");
}

TEST_F(InvariantsTest, ASnapshotOfEntriesThatNobodyCommitted) {
  WriteTask task;
  task.group = kGroup;
  task.snapshot.emplace();
  task.snapshot->anchor.last = {Term{1}, LogIndex{8}};
  task.replace_log = true;
  chronicle_.Task(C, task);
  See({.self = C, .commit = 8, .last = {Term{1}, LogIndex{8}}, .applied = 8});
  ExpectBroken("committed entries are known");
}

}  // namespace
}  // namespace flotilla::sim
