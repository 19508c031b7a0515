// How a cluster begins, who is in it, and who lives.
#include "server/metadata/liveness.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// --- founding

std::vector<FounderAnswer> Founders(const std::vector<std::string>& racks) {
  std::vector<FounderAnswer> answers;
  for (size_t i = 0; i < racks.size(); ++i) answers.push_back({.description = NodeCalled(i + 1, racks[i]), .cluster = {}});
  return answers;
}

std::string VotersOf(const std::vector<std::string>& racks) {
  const Result<Founding> plan = PlanFounding(UuidOf(1000), Founders(racks));
  CHECK(plan.ok()) << plan.status();
  return raft::ToString(plan->configuration);
}

TEST(FoundingTest, ThreeNodesAllVote) { EXPECT_EQ(VotersOf({"", "", ""}), "voters 1,2,3"); }
TEST(FoundingTest, AnEvenNumberOfVotersIsNotChosen) { EXPECT_EQ(VotersOf({"", "", "", ""}), "voters 1,2,3 learners 4"); }
TEST(FoundingTest, AtMostFiveVote) { EXPECT_EQ(VotersOf({"", "", "", "", "", "", ""}), "voters 1,2,3,4,5 learners 6,7"); }
TEST(FoundingTest, VotersStandInAllRacks) { EXPECT_EQ(VotersOf({"a", "a", "b", "c"}), "voters 1,3,4 learners 2"); }
TEST(FoundingTest, OneNodeIsACluster) { EXPECT_EQ(VotersOf({""}), "voters 1"); }

TEST(FoundingTest, ANodeThatBelongsToAClusterFoundsNoOther) {
  std::vector<FounderAnswer> answers = Founders({"", "", ""});
  answers[1].cluster = UuidOf(7);
  const Result<Founding> plan = PlanFounding(UuidOf(1000), answers);
  EXPECT_EQ(ReasonOf(plan), "ALREADY_INITIALIZED");
  EXPECT_EQ(plan.status().Detail("cluster_id"), UuidOf(7).ToString());
  EXPECT_EQ(plan.status().Detail("address"), "n2:9651");
}

TEST(FoundingTest, ACopiedDataDirectoryIsNoticed) {
  std::vector<FounderAnswer> answers = Founders({"", ""});
  answers[1].description.uuid = answers[0].description.uuid;
  EXPECT_THAT(TextOf(PlanFounding(UuidOf(1000), answers)), HasSubstr("was a data directory copied?"));
}

TEST(FoundingTest, FoundersAgreeOnTheNewestLevelThatAllKnow) {
  std::vector<FounderAnswer> answers = Founders({"", ""});
  answers[0].description.features = {1, 4};
  answers[1].description.features = {2, 3};
  EXPECT_EQ(PlanFounding(UuidOf(1000), answers)->feature_level, 3u);
  answers[1].description.features = {5, 6};
  EXPECT_EQ(ReasonOf(PlanFounding(UuidOf(1000), answers)), "PROTOCOL_MISMATCH");
}

TEST(FoundingTest, TwiceTheSameIsOnceAndAnotherIsRefusedWithBothIds) {
  Scene scene;
  scene.Found({.nodes = 3});
  const Founding same = *PlanFounding(UuidOf(1000), Founders({"", "", ""}));
  const Result<Decision> again = DecideFounding(same, scene.image(), scene.Draw());
  EXPECT_TRUE(again->outcome.repeated);
  EXPECT_THAT(again->records, IsEmpty());
  const Founding other = *PlanFounding(UuidOf(2000), Founders({"", "", ""}));
  const Result<Decision> refused = DecideFounding(other, scene.image(), scene.Draw());
  EXPECT_EQ(ReasonOf(refused), "ALREADY_INITIALIZED");
  EXPECT_THAT(TextOf(refused), HasSubstr(UuidOf(1000).ToString()));
  EXPECT_THAT(TextOf(refused), HasSubstr(UuidOf(2000).ToString()));
}

// --- registration

class RegistrationTest : public ::testing::Test {
 protected:
  RegistrationTest() { scene_.Found({.nodes = 3}); }
  Result<Decision> Register(uint64_t number, uint64_t claimed = 0) {
    return scene_.Register({.cluster = {}, .claimed = NodeId{claimed}, .description = NodeCalled(number)});
  }
  Scene scene_;
};

TEST_F(RegistrationTest, ANewNodeGetsTheNextId) {
  EXPECT_EQ(Register(7)->outcome.node, NodeId{4});
  EXPECT_EQ(Register(8)->outcome.node, NodeId{5});
}

TEST_F(RegistrationTest, AKnownDiskGetsItsIdBack) {
  const Result<Decision> again = Register(2, 2);
  EXPECT_EQ(again->outcome.node, NodeId{2});
  EXPECT_TRUE(again->outcome.repeated);
  EXPECT_EQ(Register(2)->outcome.node, NodeId{2});
}

TEST_F(RegistrationTest, ANodeMayMoveWhenItIsSilentAtTheOldAddress) {
  NodeDescription moved = NodeCalled(2);
  moved.peer_address = "elsewhere:9651";
  scene_.SetAlive(2, false);
  ASSERT_EQ(scene_.Register({.cluster = UuidOf(1000), .claimed = NodeId{2}, .description = moved})->outcome.node, NodeId{2});
  EXPECT_EQ(scene_.image().FindNode(NodeId{2})->description.peer_address, "elsewhere:9651");
  EXPECT_EQ(scene_.image().nodes.size(), 3u);
}

TEST_F(RegistrationTest, ACopyOfALivingNodeIsRefusedWithBothAddresses) {
  NodeDescription copy = NodeCalled(2);
  copy.peer_address = "elsewhere:9651";
  const Shared<Image> before = scene_.shared();
  for (const uint64_t claimed : {2, 0}) {
    const Result<Decision> refused = scene_.Register({.cluster = UuidOf(1000), .claimed = NodeId{claimed}, .description = copy});
    EXPECT_EQ(ReasonOf(refused), "NODE_MISMATCH");
    EXPECT_TRUE(IsCopy(refused.status()));
    EXPECT_THAT(TextOf(refused), HasSubstr("n2:9651"));
    EXPECT_THAT(TextOf(refused), HasSubstr("elsewhere:9651"));
    EXPECT_EQ(refused.status().Detail("address"), "n2:9651");
    EXPECT_EQ(refused.status().Detail("node_id"), "2");
  }
  EXPECT_EQ(scene_.shared(), before);
  // At its own address it may say other things of itself.
  NodeDescription upgraded = NodeCalled(2);
  upgraded.client_address = "elsewhere:9650";
  EXPECT_TRUE(scene_.Register({.cluster = UuidOf(1000), .claimed = NodeId{2}, .description = upgraded}).ok());
}

TEST_F(RegistrationTest, TheMetadataLeaderMayMove) {
  NodeDescription moved = NodeCalled(2);
  moved.peer_address = "elsewhere:9651";
  ASSERT_TRUE(scene_.Register({.cluster = UuidOf(1000), .claimed = NodeId{2}, .description = moved, .by_itself = true}).ok());
  EXPECT_EQ(scene_.image().FindNode(NodeId{2})->description.peer_address, "elsewhere:9651");
}

TEST_F(RegistrationTest, AHeartbeatFromAnotherAddressIsNotThatOfTheNode) {
  EXPECT_TRUE(CheckIdentity({UuidOf(1000), NodeId{2}, UuidOf(2), "n2:9651"}, scene_.image()).ok());
  const Status refused = CheckIdentity({UuidOf(1000), NodeId{2}, UuidOf(2), "elsewhere:9651"}, scene_.image());
  EXPECT_EQ(ReasonOf(refused), "NODE_MISMATCH");
  EXPECT_FALSE(IsCopy(refused));  // it has to register to know
  EXPECT_THAT(std::string(refused.message()), HasSubstr("n2:9651"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("elsewhere:9651"));
}

TEST_F(RegistrationTest, AWipedDiskIsANewNodeOnceTheOldOneIsSeenToHaveFailed) {
  NodeDescription wiped = NodeCalled(2);
  wiped.uuid = UuidOf(22);
  const RegisterNode request{.cluster = {}, .claimed = {}, .description = wiped};
  const Result<Decision> early = scene_.Register(request);
  EXPECT_EQ(ReasonOf(early), "NODE_MISMATCH");
  EXPECT_THAT(TextOf(early), HasSubstr("node 2"));
  scene_.SetAlive(2, false);
  EXPECT_EQ(scene_.Register(request)->outcome.node, NodeId{4});
  EXPECT_FALSE(scene_.image().FindNode(NodeId{2})->alive);
}

TEST_F(RegistrationTest, ANodeOfAnotherClusterIsRefusedWithBothIds) {
  const Result<Decision> refused = scene_.Register({.cluster = UuidOf(5), .claimed = NodeId{1}, .description = NodeCalled(9)});
  EXPECT_EQ(ReasonOf(refused), "CLUSTER_MISMATCH");
  EXPECT_EQ(refused.status().Detail("ours"), UuidOf(1000).ToString());
  EXPECT_EQ(refused.status().Detail("theirs"), UuidOf(5).ToString());
}

TEST_F(RegistrationTest, AClaimToAnotherNodesIdIsRefusedWithBothUuids) {
  const Result<Decision> refused = Register(9, 3);
  EXPECT_EQ(ReasonOf(refused), "NODE_MISMATCH");
  EXPECT_EQ(refused.status().Detail("ours"), UuidOf(3).ToString());
  EXPECT_EQ(refused.status().Detail("theirs"), UuidOf(9).ToString());
  EXPECT_EQ(ReasonOf(Register(1, 3)), "NODE_MISMATCH");
  EXPECT_EQ(ReasonOf(Register(9, 77)), "NODE_MISMATCH");
}

TEST_F(RegistrationTest, AReturnedNodeIsAliveAgain) {
  scene_.SetAlive(2, false);
  ASSERT_TRUE(Register(2, 2).ok());
  EXPECT_TRUE(scene_.image().FindNode(NodeId{2})->alive);
}

TEST_F(RegistrationTest, ATooOldProgramIsRefused) {
  NodeDescription old = NodeCalled(9);
  old.features = {7, 8};
  const Result<Decision> refused = scene_.Register({.cluster = {}, .claimed = {}, .description = old});
  EXPECT_EQ(ReasonOf(refused), "PROTOCOL_MISMATCH");
  EXPECT_EQ(refused.status().Detail("theirs"), "7-8");
}

TEST_F(RegistrationTest, ABadDescriptionIsRefusedByField) {
  const auto refused_field = [&](NodeDescription node) {
    return scene_.Register({.cluster = {}, .claimed = {}, .description = std::move(node)}).status().Detail("field").value_or("none");
  };
  NodeDescription node = NodeCalled(9);
  node.peer_address = "n9";
  EXPECT_EQ(refused_field(node), "peer_address");
  node.peer_address = "n9:70000";
  EXPECT_EQ(refused_field(node), "peer_address");
  node = NodeCalled(9);
  node.rack = std::string(500, 'r');
  EXPECT_EQ(refused_field(node), "rack");
  node = NodeCalled(9);
  node.name = "a\nb";
  EXPECT_EQ(refused_field(node), "name");
  node = NodeCalled(9);
  node.uuid = Uuid();
  EXPECT_EQ(refused_field(node), "node_uuid");
}

TEST_F(RegistrationTest, WithoutAClusterNobodyRegisters) {
  Scene empty;
  EXPECT_EQ(ReasonOf(empty.Register({.cluster = {}, .claimed = {}, .description = NodeCalled(1)})), "NOT_INITIALIZED");
}

TEST_F(RegistrationTest, AHeartbeatUnderAnothersNameIsRefused) {
  const Image& image = scene_.image();
  EXPECT_TRUE(CheckIdentity({UuidOf(1000), NodeId{2}, UuidOf(2), {}}, image).ok());
  EXPECT_EQ(ReasonOf(CheckIdentity({UuidOf(1000), NodeId{2}, UuidOf(3), {}}, image)), "NODE_MISMATCH");
  EXPECT_EQ(ReasonOf(CheckIdentity({UuidOf(1000), NodeId{9}, UuidOf(9), {}}, image)), "NODE_NOT_FOUND");
  EXPECT_EQ(ReasonOf(CheckIdentity({UuidOf(4), NodeId{2}, UuidOf(2), {}}, image)), "CLUSTER_MISMATCH");
}

TEST_F(RegistrationTest, TheFeatureLevelRisesWhenAllNodesKnowIt) {
  EXPECT_TRUE(DecideFeatureLevel({.level = 1}, scene_.image())->outcome.repeated);
  const Result<Decision> refused = DecideFeatureLevel({.level = 2}, scene_.image());
  EXPECT_EQ(ReasonOf(refused), "PROTOCOL_MISMATCH");
  EXPECT_THAT(TextOf(refused), HasSubstr("node 3"));
  for (uint64_t number = 1; number <= 3; ++number) {
    NodeDescription newer = NodeCalled(number);
    newer.features = {1, 2};
    ASSERT_TRUE(scene_.Register({.cluster = {}, .claimed = NodeId{number}, .description = newer}).ok());
  }
  const Result<Decision> tried = DecideFeatureLevel({.level = 2, .validate_only = true}, scene_.image());
  ASSERT_TRUE(tried.ok());
  EXPECT_TRUE(tried->records.empty());
  EXPECT_EQ(tried->outcome.feature_level, 2u);
  ASSERT_TRUE(scene_.Do(DecideFeatureLevel({.level = 2}, scene_.image())).ok());
  EXPECT_EQ(scene_.image().feature_level(), 2u);
  EXPECT_EQ(ReasonOf(DecideFeatureLevel({.level = 1}, scene_.image())), "PROTOCOL_MISMATCH");
}

TEST_F(RegistrationTest, WithoutALevelItIsTheHighestThatAllKnow) {
  EXPECT_TRUE(DecideFeatureLevel({}, scene_.image())->outcome.repeated);
  for (uint64_t number = 1; number <= 3; ++number) {
    NodeDescription newer = NodeCalled(number);
    newer.features = {1, number == 2 ? 3u : 5u};
    ASSERT_TRUE(scene_.Register({.cluster = {}, .claimed = NodeId{number}, .description = newer}).ok());
  }
  const Result<Decision> raised = DecideFeatureLevel({}, scene_.image());
  ASSERT_TRUE(raised.ok());
  EXPECT_EQ(raised->outcome.feature_level_before, 1u);
  EXPECT_EQ(raised->outcome.feature_level, 3u);
  ASSERT_TRUE(scene_.Do(raised).ok());
  EXPECT_EQ(scene_.image().feature_level(), 3u);
}

// --- liveness

class LivenessTest : public ::testing::Test {
 protected:
  LivenessTest() { scene_.Found({.nodes = 3}); }

  // Nodes 1..3 in `heard` report at `tick`; what is concluded is replayed and told as "2 failed".
  std::vector<std::string> At(raft::Tick tick, const std::vector<uint64_t>& heard) {
    for (const uint64_t node : heard) tracker_.Heard(NodeId{node}, tick);
    const std::vector<Record> records = tracker_.Conclude(scene_.image(), tick, scene_.now_ms);
    std::vector<std::string> told;
    for (const Record& record : records) {
      const auto& change = record.node_liveness_changed();
      told.push_back(std::to_string(change.node_id()) + (change.liveness() == record::NODE_LIVENESS_ALIVE ? " returned" : " failed"));
    }
    if (!records.empty()) scene_.Replay(records);
    return told;
  }

  Scene scene_;
  LivenessTracker tracker_{{.failure_ticks = 10}};
};

TEST_F(LivenessTest, SilenceIsAFailureAndAReportAReturn) {
  tracker_.Begin();
  EXPECT_THAT(At(100, {1, 2, 3}), IsEmpty());
  EXPECT_THAT(At(109, {1, 3}), IsEmpty());
  EXPECT_THAT(At(110, {1, 3}), ElementsAre("2 failed"));
  EXPECT_THAT(At(111, {1, 3}), IsEmpty());
  EXPECT_THAT(At(115, {1, 2, 3}), ElementsAre("2 returned"));
}

TEST_F(LivenessTest, ANewLeaderDoesNotDeclareEverybodyDead) {
  tracker_.Begin();
  EXPECT_THAT(At(100, {1, 2, 3}), IsEmpty());
  tracker_.Begin();  // much later, without a report so far
  EXPECT_THAT(At(500, {}), IsEmpty());
  EXPECT_THAT(At(505, {1, 2}), IsEmpty());
  EXPECT_THAT(At(510, {1, 2}), ElementsAre("3 failed"));
}

TEST_F(LivenessTest, ANewLeaderDoesNotRaiseTheDead) {
  scene_.SetAlive(2, false);
  tracker_.Begin();
  EXPECT_THAT(At(500, {1, 3}), IsEmpty());
  EXPECT_THAT(At(501, {1, 2, 3}), ElementsAre("2 returned"));
}

}  // namespace
}  // namespace flotilla::metadata
