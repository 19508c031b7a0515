// The controller alone, over a log that does what the scene says.
#include <deque>

#include "server/metadata/image_codec.h"
#include "server/metadata/metadata_controller.h"
#include "server/metadata/recovery.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class FixedClock final : public Clock {
 public:
  int64_t now_ms = 1'700'000'000'000;
  MonotonicTime Now() const override { return {}; }
  int64_t WallMillis() const override { return now_ms; }
};

// What was proposed and asked, until the scene decides what becomes of it.
class ScriptedLog final : public MetadataLog {
 public:
  struct Proposed {
    LogIndex index;
    Bytes batch;
    uint64_t token;
    raft::ProposalSink* sink;
  };
  struct Asked {
    uint64_t token;
    raft::ReadSink* sink;
  };
  std::deque<Proposed> proposed;
  std::deque<Asked> asked;
  raft::MembershipChange change;
  std::set<NodeId> caught_up;
  std::map<NodeId, LogIndex> late;
  int snapshots = 0;
  Term term{1};
  LogIndex last;
  Status refuse;

  Result<LogIndex> Propose(Term decided_in, Bytes batch, uint64_t token, raft::ProposalSink& sink) override {
    if (!refuse.ok()) return refuse;
    if (decided_in != term) return Status(Reason::kNotLeader, "another term");
    proposed.push_back({++last, std::move(batch), token, &sink});
    return last;
  }
  Status ConfirmLeadership(uint64_t token, raft::ReadSink& sink) override {
    if (!refuse.ok()) return refuse;
    asked.push_back({token, &sink});
    return {};
  }
  Status ChangeMembers(const raft::MembershipChange& wanted, uint64_t, raft::ProposalSink&) override {
    change = wanted;
    return {};
  }
  std::vector<MetadataLearner> Learners() const override {
    std::vector<MetadataLearner> told;
    for (const NodeId node : caught_up) told.push_back({.node = node, .match = last, .caught_up = true});
    for (const auto& [node, match] : late) told.push_back({.node = node, .match = match});
    return told;
  }
  Status TakeSnapshot() override {
    ++snapshots;
    return {};
  }
};

class ControllerTest : public ::testing::Test, private AnswerSink {
 protected:
  ControllerTest() {
    Lead(Term{1});
    Submit(*PlanFounding(UuidOf(1000), std::vector<FounderAnswer>{{.description = NodeCalled(1), .cluster = {}},
                                                                  {.description = NodeCalled(2), .cluster = {}},
                                                                  {.description = NodeCalled(3), .cluster = {}}}));
    CommitAll();
    CHECK(machine_.image()->cluster.has_value());
  }

  // --- what happens to the replica
  void Lead(Term term) {
    log_.term = term;
    machine_.OnLeadership({.role = raft::Role::kLeader, .term = term, .leader = {NodeId{1}, 0}, .surely = true});
  }
  void Follow(uint64_t leader) {
    machine_.OnLeadership({.role = raft::Role::kFollower, .term = log_.term, .leader = {NodeId{leader}, 0}, .surely = false});
  }
  void Apply(const ScriptedLog::Proposed& proposed) {
    storage::Entry entry;
    entry.header.index = proposed.index;
    entry.header.kind = storage::EntryKind::kControl;
    entry.payload = proposed.batch;
    std::vector<storage::StateWrite> rows;
    machine_.Apply(std::span(&entry, 1), &rows);
  }
  void CommitOne() {
    const ScriptedLog::Proposed first = log_.proposed.front();
    log_.proposed.pop_front();
    Apply(first);
    first.sink->OnProposal(first.token, Status(), {});
  }
  void CommitAll() {
    while (!log_.proposed.empty()) CommitOne();
  }
  void LoseAll(const Status& status) {
    while (!log_.proposed.empty()) {
      const ScriptedLog::Proposed last = log_.proposed.front();
      log_.proposed.pop_front();
      last.sink->OnProposal(last.token, status, {});
    }
  }
  void Confirm(const Status& status = Status()) {
    while (!log_.asked.empty()) {
      const ScriptedLog::Asked first = log_.asked.front();
      log_.asked.pop_front();
      first.sink->OnRead(first.token, status, LogIndex{1});
    }
  }

  // --- requests and answers
  uint64_t Submit(const Request& request) { return Submit(request, controller_); }
  uint64_t Submit(const Request& request, MetadataController& to) {
    to.Submit(request, ++last_token_, *this);
    return last_token_;
  }
  uint64_t Create(const std::string& name, std::string request_id = "") {
    return Submit(CreateTopic{.topic = {.name = name}, .tag = {.request_id = std::move(request_id)}});
  }
  // "waiting" before there is an answer.
  std::string AnswerTo(uint64_t token) {
    const auto at = answers_.find(token);
    return at == answers_.end() ? "waiting" : ReasonOf(at->second.status);
  }
  void OnAnswer(uint64_t token, const Answer& answer) override {
    ASSERT_TRUE(answers_.emplace(token, answer).second) << "answered twice: " << token;
  }
  Status Report(uint64_t node, bool unfit = false) {
    return controller_.Report({.identity = {.cluster = UuidOf(1000), .node = NodeId{node}, .uuid = UuidOf(node)}, .unfit_to_lead = unfit});
  }
  bool Unfit(uint64_t node) { return machine_.image()->FindNode(NodeId{node})->unfit_to_lead; }
  bool Alive(uint64_t node) { return machine_.image()->FindNode(NodeId{node})->alive; }

  FixedClock clock_;
  ScriptedLog log_;
  MetadataMachine machine_{kSupportedFeatures};
  MetadataController controller_{
      {.self = {NodeId{1}, 0}, .liveness = {.failure_ticks = 10}, .pending_max = 8, .sizes_ticks = 50}, log_, machine_, clock_, Random(1)};
  std::map<uint64_t, Answer> answers_;
  uint64_t last_token_ = 0;
};

TEST_F(ControllerTest, AnAnswerComesWhenItIsApplied) {
  const uint64_t created = Create("orders");
  EXPECT_EQ(AnswerTo(created), "waiting");
  CommitAll();
  EXPECT_EQ(AnswerTo(created), "OK");
  EXPECT_EQ(answers_[created].version, machine_.image()->version);
  EXPECT_NE(machine_.image()->FindTopic(answers_[created].outcome.topic), nullptr);
}

// It ran a newer version when it registered.
TEST_F(ControllerTest, ALeaderDoesNotRaiseTheLevelAboveWhatItKnows) {
  for (const uint64_t number : {1, 2, 3}) {
    NodeDescription newer = NodeCalled(number);
    newer.features = {1, 2};
    const uint64_t registered = Submit(RegisterNode{.cluster = UuidOf(1000), .claimed = NodeId{number}, .description = newer});
    CommitAll();
    ASSERT_EQ(AnswerTo(registered), "OK");
  }
  const uint64_t raised = Submit(RaiseFeatureLevel{.level = 2});
  EXPECT_EQ(AnswerTo(raised), "PROTOCOL_MISMATCH");
  EXPECT_THAT(std::string(answers_[raised].status.message()), HasSubstr("node 1"));
  EXPECT_THAT(log_.proposed, IsEmpty());
}

TEST_F(ControllerTest, AfterARecoveryIdsAreLeftOutBeforeAnythingIsDecided) {
  MetadataController recovered({.self = {NodeId{1}, 1}}, log_, machine_, clock_, Random(2));
  const auto create = [&](const std::string& name) {
    return Submit(CreateTopic{.topic = {.name = name}, .replication_factor = 1}, recovered);
  };
  Lead(Term{2});
  EXPECT_EQ(AnswerTo(create("early")), "NO_LEADER");
  EXPECT_THAT(log_.proposed, IsEmpty());
  recovered.Tick(1);
  const uint64_t created = create("orders");
  const size_t proposed = log_.proposed.size();
  EXPECT_GE(proposed, 2u);
  CommitAll();
  EXPECT_EQ(AnswerTo(created), "OK");
  EXPECT_EQ(machine_.image()->FindTopic(kDefaultNamespace, "orders")->partitions[0]->group, GroupId{1 + kGroupsLeftOut});
  EXPECT_EQ(machine_.image()->next_node, NodeId{4 + kNodesLeftOut});
  EXPECT_EQ(machine_.image()->recoveries.Find(NodeId{1})->incarnation, 1u);
  // Nobody knows yet who is left: what is new goes to those that were seen.
  EXPECT_FALSE(machine_.image()->FindNode(NodeId{2})->alive);
  EXPECT_EQ(machine_.image()->FindTopic(kDefaultNamespace, "orders")->partitions[0]->replicas, std::vector<ReplicaId>({{NodeId{1}, 0}}));
  // Once; a later leader knows it from a snapshot, too.
  EXPECT_FALSE(PlanRecovery(*machine_.image(), {NodeId{1}, 1}, 0).has_value());
  const Result<Shared<Image>> copy = DecodeImage(EncodeImage(*machine_.image()), kSupportedFeatures);
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ((*copy)->recoveries.Find(NodeId{1})->incarnation, 1u);
  EXPECT_EQ((*copy)->next_group, machine_.image()->next_group);
  EXPECT_TRUE(PlanRecovery(**copy, {NodeId{1}, 2}, 0).has_value());
}

TEST_F(ControllerTest, DecisionsSeeWhatEarlierOnesWillHaveDone) {
  Create("orders");
  const uint64_t grown = Submit(AddPartitions{.topic = {.name = "orders"}, .partition_count = 5});
  const uint64_t deleted = Submit(DeleteTopic{.topic = {.name = "orders"}});
  const uint64_t again = Create("orders");
  ASSERT_THAT(log_.proposed, SizeIs(4));
  CommitAll();
  for (const uint64_t token : {grown, deleted, again}) EXPECT_EQ(AnswerTo(token), "OK");
  EXPECT_EQ(machine_.image()->FindTopic(kDefaultNamespace, "orders")->partitions[0]->group, GroupId{6});
  EXPECT_TRUE(machine_.health().ok());
}

TEST_F(ControllerTest, ARefusalThatRestsOnSomethingUncommittedWaitsForIt) {
  Create("orders");
  const uint64_t second = Create("orders");
  EXPECT_EQ(AnswerTo(second), "waiting");
  CommitAll();
  EXPECT_EQ(AnswerTo(second), "TOPIC_EXISTS");
}

TEST_F(ControllerTest, ARefusalThatRestedOnSomethingLostIsNotGiven) {
  const uint64_t first = Create("orders");
  const uint64_t second = Create("orders");
  Follow(2);
  LoseAll(Status(Reason::kNotLeader, "another entry stands there"));
  EXPECT_EQ(AnswerTo(first), "NOT_LEADER");
  EXPECT_EQ(AnswerTo(second), "NO_LEADER");
}

TEST_F(ControllerTest, ARepetitionWaitsForTheRequestThatItRepeats) {
  const uint64_t first = Create("orders", "r1");
  const uint64_t again = Create("orders", "r1");
  EXPECT_THAT(log_.proposed, SizeIs(1));
  EXPECT_EQ(AnswerTo(again), "waiting");
  CommitAll();
  EXPECT_EQ(AnswerTo(again), "OK");
  EXPECT_EQ(answers_[again].outcome.topic, answers_[first].outcome.topic);
}

TEST_F(ControllerTest, ProducersOfOneBreathGetDifferentIds) {
  const uint64_t block = Submit(ReserveProducerIds{.node = NodeId{2}, .count = 10});
  const uint64_t one = Submit(InitProducer{.tag = {.request_id = "r1"}});
  const uint64_t again = Submit(InitProducer{.tag = {.request_id = "r1"}});
  const uint64_t other = Submit(InitProducer{});
  CommitAll();
  EXPECT_EQ(answers_[block].outcome.producer_ids_first, 1u);
  EXPECT_EQ(answers_[one].outcome.producer_id, 11u);
  EXPECT_EQ(answers_[again].outcome.producer_id, 11u);
  EXPECT_EQ(answers_[other].outcome.producer_id, 12u);
}

TEST_F(ControllerTest, OfTwoWhoRaiseOneEpochOneIsFenced) {
  Submit(ReserveProducerIds{.node = NodeId{1}, .count = 1});
  const uint64_t first = Submit(InitProducer{.existing = ProducerEpoch{1, 0}});
  const uint64_t second = Submit(InitProducer{.existing = ProducerEpoch{1, 0}});
  CommitAll();
  EXPECT_EQ(answers_[first].outcome.producer_epoch, 1u);
  EXPECT_EQ(AnswerTo(second), "FENCED");
}

TEST_F(ControllerTest, ADeposedLeaderDoesNotAnswerFromThePast) {
  const uint64_t deleted = Submit(DeleteTopic{.topic = {.name = "orders"}});
  EXPECT_EQ(AnswerTo(deleted), "waiting");
  Confirm(Status(Reason::kNotLeader, "deposed"));
  EXPECT_EQ(AnswerTo(deleted), "NO_LEADER");
  const uint64_t again = Submit(DeleteTopic{.topic = {.name = "orders"}});
  Confirm();
  EXPECT_EQ(AnswerTo(again), "TOPIC_NOT_FOUND");
}

TEST_F(ControllerTest, AnUnknownOutcomeIsToldAsThat) {
  const uint64_t created = Create("orders");
  LoseAll(Status(Reason::kOutcomeUnknown, "the group closed"));
  EXPECT_EQ(AnswerTo(created), "OUTCOME_UNKNOWN");
}

TEST_F(ControllerTest, WhoeverDoesNotLeadSaysWhoDoes) {
  Follow(3);
  const uint64_t created = Create("orders");
  EXPECT_EQ(AnswerTo(created), "NOT_LEADER");
  EXPECT_EQ(answers_[created].status.Detail("leader"), "3");
  Follow(0);
  EXPECT_EQ(AnswerTo(Create("orders")), "NO_LEADER");
}

TEST_F(ControllerTest, ALeaderThatDoesNotKnowYetWhatIsCommittedDecidesNothing) {
  machine_.OnLeadership({.role = raft::Role::kLeader, .term = Term{2}, .leader = {NodeId{1}, 0}, .surely = false});
  EXPECT_EQ(AnswerTo(Create("orders")), "NO_LEADER");
  EXPECT_THAT(log_.proposed, IsEmpty());
}

TEST_F(ControllerTest, WhatWasSpeculatedOnIsForgottenWithTheLeadership) {
  Create("orders");
  const ScriptedLog::Proposed lost = log_.proposed.front();
  log_.proposed.clear();
  Follow(2);
  lost.sink->OnProposal(lost.token, Status(Reason::kNotLeader, "another entry stands there"), {});
  Lead(Term{3});
  const uint64_t created = Create("orders");
  CommitAll();
  EXPECT_EQ(AnswerTo(created), "OK");
  EXPECT_EQ(machine_.image()->FindTopic(kDefaultNamespace, "orders")->partitions[0]->group, GroupId{1});
}

TEST_F(ControllerTest, WhatWasDecidedInAnEarlierTermIsNotProposedInALaterOne) {
  Create("orders");
  log_.term = Term{5};  // deposed and elected again, and not told yet
  EXPECT_EQ(AnswerTo(Create("logs")), "NOT_LEADER");
  EXPECT_THAT(log_.proposed, SizeIs(1));
}

TEST_F(ControllerTest, ANewTermOfTheSameLeaderBeginsFromWhatIsApplied) {
  Create("orders");
  CommitAll();
  Lead(Term{2});
  const uint64_t created = Create("logs");
  CommitAll();
  EXPECT_EQ(AnswerTo(created), "OK");
}

TEST_F(ControllerTest, ARefusedProposalChangesNothing) {
  log_.refuse = Status(Reason::kDiskFull, "12 MiB free");
  EXPECT_EQ(AnswerTo(Create("orders")), "DISK_FULL");
  log_.refuse = Status();
  const uint64_t created = Create("orders");
  CommitAll();
  EXPECT_EQ(AnswerTo(created), "OK");
}

TEST_F(ControllerTest, WhatWaitsIsBounded) {
  for (int i = 0; i < 8; ++i) Create("t" + std::to_string(i));
  const uint64_t refused = Create("t8");
  EXPECT_EQ(AnswerTo(refused), "OVERLOADED");
  EXPECT_EQ(answers_[refused].status.Detail("limit"), "8");
  CommitAll();
  EXPECT_EQ(controller_.pending(), 0u);
}

TEST_F(ControllerTest, ValidateOnlyProposesNothing) {
  const uint64_t valid = Submit(CreateTopic{.topic = {.name = "orders"}, .tag = {.validate_only = true}});
  EXPECT_THAT(log_.proposed, IsEmpty());
  Confirm();
  EXPECT_EQ(AnswerTo(valid), "OK");
}

// A read that began on a leader is released by the next one, too: what is applied is certain then, and not
// who leads.
TEST_F(ControllerTest, AReadThatOutlivesTheLeadershipConfirmsNothing) {
  Create("orders");
  CommitAll();
  const uint64_t exists = Create("orders");
  ASSERT_EQ(AnswerTo(exists), "waiting");
  Follow(2);
  Confirm();
  EXPECT_EQ(AnswerTo(exists), "NO_LEADER");
}

TEST_F(ControllerTest, ASecondFoundingOfTheSameClusterIsNoChange) {
  const Founding same = *PlanFounding(UuidOf(1000), std::vector<FounderAnswer>{{.description = NodeCalled(1), .cluster = {}}});
  const uint64_t again = Submit(same);
  EXPECT_THAT(log_.proposed, IsEmpty());
  Confirm();
  EXPECT_TRUE(answers_[again].outcome.repeated);
}

// --- nodes

TEST_F(ControllerTest, ANodeThatIsSilentFailsAndReturnsWithItsNextReport) {
  for (raft::Tick tick = 0; tick <= 10; ++tick) {
    ASSERT_TRUE(Report(2).ok());
    controller_.Tick(tick);
    CommitAll();
  }
  EXPECT_TRUE(Alive(1));
  EXPECT_TRUE(Alive(2));
  EXPECT_FALSE(Alive(3));
  ASSERT_TRUE(Report(3).ok());
  controller_.Tick(11);
  CommitAll();
  EXPECT_TRUE(Alive(3));
}

TEST_F(ControllerTest, WhatANodeSaysOfItsFitnessIsWrittenDownWhenItChanges) {
  ASSERT_TRUE(Report(2, true).ok());
  controller_.Tick(1);
  controller_.Tick(2);
  EXPECT_THAT(log_.proposed, SizeIs(1));
  CommitAll();
  EXPECT_TRUE(Unfit(2));
  EXPECT_FALSE(Unfit(3));
  ASSERT_TRUE(Report(2, true).ok());
  controller_.Tick(3);
  EXPECT_THAT(log_.proposed, IsEmpty());
  ASSERT_TRUE(Report(2, false).ok());
  controller_.Tick(4);
  CommitAll();
  EXPECT_FALSE(Unfit(2));
}

TEST_F(ControllerTest, ANewLeaderHasItFromTheMetadataUntilItIsTold) {
  ASSERT_TRUE(Report(2, true).ok());
  controller_.Tick(1);
  CommitAll();
  Lead(Term{2});
  controller_.Tick(2);
  CommitAll();
  EXPECT_TRUE(Unfit(2));
}

TEST_F(ControllerTest, AFailureIsProposedOnceHoweverLongItTakes) {
  for (raft::Tick tick = 0; tick <= 30; ++tick) {
    ASSERT_TRUE(Report(2).ok());
    controller_.Tick(tick);
  }
  EXPECT_THAT(log_.proposed, SizeIs(1));
}

TEST_F(ControllerTest, ANewLeaderGivesEverybodyTime) {
  for (raft::Tick tick = 0; tick < 100; ++tick) {
    if (tick == 50) Lead(Term{2});
    if (tick < 50) {
      ASSERT_TRUE(Report(2).ok());
      ASSERT_TRUE(Report(3).ok());
    }
    controller_.Tick(tick);
    CommitAll();
    if (tick < 59) {
      ASSERT_TRUE(Alive(2)) << tick;
    }
  }
  EXPECT_FALSE(Alive(2));
}

TEST_F(ControllerTest, AReportUnderAnothersNameIsRefusedAndDoesNotCount) {
  const Status refused = controller_.Report({.identity = {.cluster = UuidOf(1000), .node = NodeId{2}, .uuid = UuidOf(3)}});
  EXPECT_EQ(ReasonOf(refused), "NODE_MISMATCH");
  EXPECT_EQ(controller_.LastHeard(NodeId{2}), std::nullopt);
  Follow(2);
  EXPECT_EQ(ReasonOf(Report(3)), "NOT_LEADER");
}

TEST_F(ControllerTest, AFailedNodeThatRegistersIsNotDeclaredDeadAtOnce) {
  for (raft::Tick tick = 0; tick <= 10; ++tick) controller_.Tick(tick);
  CommitAll();
  ASSERT_FALSE(Alive(3));
  Submit(RegisterNode{.cluster = UuidOf(1000), .claimed = NodeId{3}, .description = NodeCalled(3)});
  CommitAll();
  controller_.Tick(11);
  EXPECT_THAT(log_.proposed, IsEmpty());
  EXPECT_TRUE(Alive(3));
}

TEST_F(ControllerTest, ANewNodeIsMadeALearnerOfTheMetadata) {
  machine_.OnConfiguration({.voters = {{NodeId{1}, 0}, {NodeId{2}, 0}, {NodeId{3}, 0}}}, LogIndex{1});
  Submit(RegisterNode{.cluster = {}, .claimed = {}, .description = NodeCalled(4)});
  CommitAll();
  controller_.Tick(1);
  EXPECT_THAT(log_.change.add_learners, ::testing::ElementsAre(ReplicaId{NodeId{4}, 0}));
}

TEST_F(ControllerTest, AHaltedMachineDecidesNothingAndDoesNotClaimWhatItCannotSee) {
  const uint64_t created = Create("orders");
  machine_.OnFault(Status(Reason::kReplicaFaulted, "damage"));
  EXPECT_EQ(AnswerTo(Create("logs")), "REPLICA_FAULTED");
  CommitAll();
  EXPECT_EQ(AnswerTo(created), "OUTCOME_UNKNOWN");
}

// --- what follows by itself

class FollowingTest : public ControllerTest {
 protected:
  // Nodes 1 to 4 live; "orders" is on 1, 2 and 3. Group 0 has the voters 1, 2 and 3.
  FollowingTest() {
    Configure({1, 2, 3}, {4});
    Create("orders");
    CommitAll();
    Submit(RegisterNode{.cluster = {}, .claimed = {}, .description = NodeCalled(4)});
    CommitAll();
  }
  static std::vector<ReplicaId> On(const std::vector<uint64_t>& nodes) {
    std::vector<ReplicaId> replicas;
    for (const uint64_t node : nodes) replicas.push_back({NodeId{node}, 0});
    return replicas;
  }
  void Configure(const std::vector<uint64_t>& voters, const std::vector<uint64_t>& learners) {
    machine_.OnConfiguration({.voters = On(voters), .outgoing = {}, .learners = On(learners)}, LogIndex{1});
  }
  // Time passes; everybody but `silent` reports, and what is proposed is committed.
  void Ticks(int count, const std::set<uint64_t>& silent = {}) {
    for (; count > 0; --count) {
      for (uint64_t node = 2; node <= 4; ++node) {
        if (!silent.contains(node)) (void)Report(node).ok();
      }
      controller_.Tick(++tick_);
      CommitAll();
    }
  }
  const Image& image() const { return *machine_.image(); }
  const Partition& orders(uint32_t number) const { return *image().FindTopic(kDefaultNamespace, "orders")->partitions[number]; }
  // The groups that are moving became what was asked for, as their leaders say.
  void SettleAll() {
    const Shared<Image> before = machine_.image();
    before->moving.ForEach([&](GroupId group, MoveCause) {
      const Partition& partition = *before->FindPartition(group);
      Submit(SettleReplicas{.group = group, .placement_epoch = partition.placement_epoch, .voters = partition.replicas});
    });
    CommitAll();
  }
  std::string Change(NodeId node, NodeMode mode) {
    const uint64_t token = Submit(ChangeNodeMode{.node = node, .mode = mode, .recommission = true});
    CommitAll();
    Confirm();
    return AnswerTo(token);
  }
  raft::Tick tick_ = 0;
};

TEST_F(FollowingTest, ANodeThatGoesIsEmptiedItsSeatIsFilledAndThenItIsGone) {
  ASSERT_EQ(Change(NodeId{3}, NodeMode::kDecommissioning), "OK");
  Ticks(20);
  EXPECT_EQ(image().moving.size(), 3u);
  EXPECT_FALSE(orders(0).WantedOn(NodeId{3}).valid());
  EXPECT_TRUE(orders(0).WantedOn(NodeId{4}).valid());
  EXPECT_TRUE(log_.change.empty());  // node 4 has not caught up
  log_.caught_up = {NodeId{4}};
  Ticks(20);
  EXPECT_EQ(log_.change.promote, On({4}));
  EXPECT_EQ(log_.change.demote, On({3}));
  SettleAll();
  Ticks(20);
  EXPECT_NE(image().FindNode(NodeId{3}), nullptr);  // it votes
  Configure({1, 2, 4}, {3});
  Ticks(20);
  EXPECT_EQ(image().FindNode(NodeId{3}), nullptr);
  Ticks(20);
  EXPECT_EQ(controller_.reports().count(NodeId{3}), 0u);
  EXPECT_EQ(log_.change.remove, On({3}));
  EXPECT_EQ(ReasonOf(Report(3)), "NODE_REMOVED");
}

TEST_F(FollowingTest, WhenAMoveIsOverTheNextOneBeginsAtOnce) {
  Submit(AddPartitions{.topic = {.name = "orders"}, .partition_count = 60});
  CommitAll();
  ASSERT_EQ(Change(NodeId{3}, NodeMode::kDecommissioning), "OK");
  Ticks(5);
  const size_t running = image().moving.size();
  SettleAll();
  const size_t left = image().moving.size();
  ASSERT_LT(left, running);
  Ticks(1);
  EXPECT_GT(image().moving.size(), left);
}

TEST_F(FollowingTest, ASeatDoesNotWaitForALearnerThatStandsStill) {
  log_.late = {{NodeId{4}, LogIndex{7}}};
  ASSERT_EQ(Change(NodeId{3}, NodeMode::kDecommissioning), "OK");
  Ticks(LearnerWatch::kStuckTicks);
  log_.late = {{NodeId{4}, LogIndex{8}}};  // it gets something
  Ticks(LearnerWatch::kStuckTicks - 20);
  EXPECT_TRUE(log_.change.empty());
  Ticks(60);
  EXPECT_EQ(log_.change.demote, On({3}));
  EXPECT_TRUE(log_.change.promote.empty());
}

TEST_F(FollowingTest, MovesAreDecidedOnWhatEarlierOnesWillHaveDone) {
  ASSERT_EQ(Change(NodeId{3}, NodeMode::kDecommissioning), "OK");
  // Nothing commits for a while: the same moves are not proposed again.
  for (int i = 0; i < 60; ++i) {
    for (uint64_t node = 2; node <= 4; ++node) ASSERT_TRUE(Report(node).ok());
    controller_.Tick(++tick_);
  }
  EXPECT_THAT(log_.proposed, SizeIs(3));
  CommitAll();
  EXPECT_EQ(image().moving.size(), 3u);
}

TEST_F(FollowingTest, ANewLeaderGoesOn) {
  ASSERT_EQ(Change(NodeId{3}, NodeMode::kDecommissioning), "OK");
  Ticks(20);
  LoseAll(Status(Reason::kNotLeader, "lost"));
  Follow(2);
  Lead(Term{2});
  SettleAll();
  Ticks(20);
  EXPECT_EQ(image().LoadOf(NodeId{3}).replicas, 0u);
}

TEST_F(FollowingTest, BalancingWaitsForSizesAndEndsByItself) {
  const uint64_t begun = Submit(StartBalance{.planned_moves = 2});
  CommitAll();
  ASSERT_EQ(AnswerTo(begun), "OK");
  Ticks(40);
  EXPECT_TRUE(image().moving.empty());
  EXPECT_TRUE(image().balancing.has_value());
  Ticks(30);
  EXPECT_EQ(image().moving.size(), 2u);  // nine replicas on four nodes
  EXPECT_TRUE(image().balancing.has_value());
  SettleAll();
  Ticks(40);
  EXPECT_FALSE(image().balancing.has_value());
  EXPECT_TRUE(image().moving.empty());
  uint64_t most = 0;
  for (uint64_t node = 1; node <= 4; ++node) most = std::max(most, image().LoadOf(NodeId{node}).preferred_leaders);
  EXPECT_EQ(most, 1u);
}

TEST_F(FollowingTest, SizesThatLeadersTellArePlannedWith) {
  EXPECT_TRUE(controller_.sizes().empty());
  ASSERT_TRUE(controller_
                  .Report({.identity = {.cluster = UuidOf(1000), .node = NodeId{2}, .uuid = UuidOf(2)},
                           .sizes = {{orders(0).group, 5000}, {GroupId{77}, 1}}})
                  .ok());
  EXPECT_THAT(controller_.sizes(), ::testing::ElementsAre(::testing::Pair(orders(0).group, 5000)));
  EXPECT_TRUE(controller_.reports().at(NodeId{2}).sizes.empty());
  const uint64_t deleted = Submit(DeleteTopic{.topic = {.name = "orders"}});
  CommitAll();
  ASSERT_EQ(AnswerTo(deleted), "OK");
  Ticks(20);
  EXPECT_TRUE(controller_.sizes().empty());
  Follow(2);
  EXPECT_TRUE(controller_.sizes().empty());
}

TEST_F(FollowingTest, ANewReplicaThatSaysItIsDamagedIsBuiltAnew) {
  const uint64_t moved = Submit(MoveReplica{.topic = {.name = "orders"}, .partition = 0, .from = NodeId{3}, .to = NodeId{4}});
  CommitAll();
  ASSERT_EQ(AnswerTo(moved), "OK");
  const ReplicaId damaged = orders(0).WantedOn(NodeId{4});
  const auto report = [&] {
    return controller_.Report({.identity = {.cluster = UuidOf(1000), .node = NodeId{4}, .uuid = UuidOf(4)},
                               .damaged = {{.group = orders(0).group, .replica = damaged}}});
  };
  ASSERT_TRUE(report().ok());
  Ticks(20, {4});
  EXPECT_EQ(orders(0).WantedOn(NodeId{4}), damaged);  // the clock stands still: it moves since a moment
  clock_.now_ms += 10'000;
  ASSERT_TRUE(report().ok());
  Ticks(20, {4});
  EXPECT_EQ(orders(0).WantedOn(NodeId{4}).incarnation, damaged.incarnation + 1);
  EXPECT_EQ(orders(0).movement->cause, MoveCause::kRequested);
}

TEST_F(FollowingTest, ADeadVoterKeepsItsSeatUntilItIsRemoved) {
  log_.caught_up = {NodeId{4}};
  Ticks(40, {3});
  ASSERT_FALSE(Alive(3));
  EXPECT_TRUE(log_.change.empty());
  EXPECT_TRUE(image().moving.empty());
  const uint64_t removed = Submit(RemoveNode{.node = NodeId{3}});
  CommitAll();
  ASSERT_EQ(AnswerTo(removed), "OK");
  Ticks(20, {3});
  EXPECT_EQ(log_.change.demote, On({3}));
  EXPECT_EQ(log_.change.promote, On({4}));
  EXPECT_EQ(image().moving.size(), 3u);
}

TEST_F(FollowingTest, EveryKindOfRequestFindsItsDecider) {
  const std::vector<std::pair<Request, std::string>> requests = {
      {ChangeNodeMode{.node = NodeId{9}, .mode = NodeMode::kDraining}, "NODE_NOT_FOUND"},
      {RemoveNode{.node = NodeId{4}}, "NODE_ALIVE"},
      {MoveReplica{.topic = {.name = "logs"}, .partition = 0, .from = {}, .to = {}}, "TOPIC_NOT_FOUND"},
      {RebuildReplica{.topic = {.name = "orders"}, .partition = 7, .node = {}}, "PARTITION_NOT_FOUND"},
      {CancelMove{.topic = {.name = "orders"}, .partition = 0}, "MOVE_NOT_FOUND"},
      {SettleReplicas{.group = GroupId{77}, .placement_epoch = 1, .voters = {}}, "PARTITION_NOT_FOUND"},
      {CancelBalance{}, "OK"},
      {StartBalance{}, "OK"},
      {StartBalance{}, "BALANCE_UNDER_WAY"}};
  for (const auto& [request, expected] : requests) {
    const uint64_t token = Submit(request);
    CommitAll();
    Confirm();
    EXPECT_EQ(AnswerTo(token), expected);
  }
}

// Its fault is its own: whoever asks again finds the replica that takes its place.
TEST_F(ControllerTest, AHaltedMachineAmongOthersIsNoLeader) {
  machine_.OnConfiguration({.voters = {{NodeId{1}, 0}, {NodeId{2}, 0}, {NodeId{3}, 0}}}, LogIndex{1});
  machine_.OnFault(Status(Reason::kDataLoss, "entry 1 is damaged"));
  EXPECT_EQ(AnswerTo(Create("logs")), "NO_LEADER");
}

}  // namespace
}  // namespace flotilla::metadata
