// What a node has to do about its own replicas.
#include "server/metadata/partition_plan.h"

#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class PartitionPlanTest : public ::testing::Test {
 protected:
  PartitionPlanTest() { scene_.Found({.nodes = 3}); }

  static std::string Told(const PartitionAction& action) {
    if (const auto* create = std::get_if<CreateReplica>(&action)) {
      return "create " + std::to_string(create->group.group.value()) + " " + create->group.identity.label + " {" +
             raft::ToString(create->group.configuration) + "}" + (create->group.campaign ? " campaign" : "");
    }
    if (const auto* open = std::get_if<OpenReplica>(&action)) {
      return "open " + std::to_string(open->group.value()) + (open->campaign ? " campaign" : "");
    }
    if (const auto* configure = std::get_if<ConfigureReplica>(&action)) return "configure " + std::to_string(configure->group.value());
    return "destroy " + std::to_string(std::get<DestroyReplica>(action).group.value());
  }
  static std::vector<std::string> Told(const std::vector<PartitionAction>& actions) {
    std::vector<std::string> told;
    for (const PartitionAction& action : actions) told.push_back(Told(action));
    return told;
  }
  std::vector<std::string> ChangeSince(const Shared<Image>& before, uint64_t self) {
    return Told(PlanChange(*before, scene_.image(), NodeId{self}));
  }
  std::vector<std::string> Start(uint64_t self, const std::vector<StoredReplica>& stored) {
    return Told(PlanStart(scene_.image(), NodeId{self}, stored));
  }

  Scene scene_;
};

TEST_F(PartitionPlanTest, EveryReplicaOfANewPartitionBeginsAlikeAndOneCampaigns) {
  const Shared<Image> before = scene_.shared();
  scene_.Create("orders", {.partitions = 1});
  const uint64_t leader = scene_.topic("orders").partitions[0]->preferred_leader.value();
  for (uint64_t node = 1; node <= 3; ++node) {
    EXPECT_THAT(ChangeSince(before, node),
                ElementsAre(std::string("create 1 orders/0 {voters 1,2,3}") + (node == leader ? " campaign" : "")));
  }
}

TEST_F(PartitionPlanTest, IfThePreferredLeaderIsDeadTheFirstLivingReplicaCampaigns) {
  scene_.Create("orders", {.partitions = 1});
  const Partition& partition = *scene_.topic("orders").partitions[0];
  const Shared<Image> empty = std::make_shared<const Image>();
  scene_.SetAlive(partition.replicas[0].node.value(), false);
  const Partition& now = *scene_.topic("orders").partitions[0];
  EXPECT_FALSE(PlanReplica(scene_.image(), scene_.topic("orders"), now, now.replicas[0].node).group.campaign);
  EXPECT_TRUE(PlanReplica(scene_.image(), scene_.topic("orders"), now, now.replicas[1].node).group.campaign);
  EXPECT_FALSE(PlanReplica(scene_.image(), scene_.topic("orders"), now, now.replicas[2].node).group.campaign);
}

TEST_F(PartitionPlanTest, ADeletedTopicIsDestroyedBeforeTheNextOneIsMade) {
  scene_.Create("orders", {.partitions = 1, .replication_factor = 3});
  const Shared<Image> before = scene_.shared();
  scene_.Delete("orders");
  scene_.Create("orders", {.partitions = 1, .replication_factor = 3});
  const auto actions = ChangeSince(before, 2);
  ASSERT_THAT(actions, SizeIs(2));
  EXPECT_EQ(actions[0], "destroy 1");
  EXPECT_THAT(actions[1], ::testing::StartsWith("create 2"));
}

TEST_F(PartitionPlanTest, NewSettingsReachReplicasThatAreThere) {
  scene_.Create("orders", {.partitions = 2});
  scene_.Create("logs", {.partitions = 1});
  Shared<Image> before = scene_.shared();
  ASSERT_TRUE(scene_
                  .Do(DecideConfigChange({.topic = TopicSelector{.name = "orders"}, .set = {{"timestamp_ahead_ms_max", "1"}}},
                                         scene_.image(), scene_.Draw()))
                  .ok());
  EXPECT_THAT(ChangeSince(before, 1), ElementsAre("configure 1", "configure 2"));
  before = scene_.shared();
  ASSERT_TRUE(scene_.Do(DecideConfigChange({.set = {{"topic.timestamp_ahead_ms_max", "1"}}}, scene_.image(), scene_.Draw())).ok());
  EXPECT_THAT(ChangeSince(before, 1), SizeIs(3));
}

TEST_F(PartitionPlanTest, LivenessAndPreferenceOpenAndCloseNothing) {
  scene_.Create("orders", {.partitions = 1});
  const Shared<Image> before = scene_.shared();
  scene_.SetAlive(2, false);
  const NodeId other = scene_.topic("orders").partitions[0]->replicas[1].node;
  ASSERT_TRUE(
      scene_.Do(DecideLeaderPreference({.topic = {.name = "orders"}, .partition = 0, .node = other}, scene_.image(), scene_.Draw())).ok());
  EXPECT_THAT(ChangeSince(before, 1), IsEmpty());
}

TEST_F(PartitionPlanTest, AfterARestartWhatIsStoredIsOpenedAndWhatIsMissingIsMade) {
  scene_.Create("orders", {.partitions = 2});
  EXPECT_THAT(Start(1, {{GroupId{2}, {NodeId{1}, 0}}}), ElementsAre(::testing::StartsWith("create 1 orders/0"), "open 2"));
}

TEST_F(PartitionPlanTest, AfterARestartWhatWasDeletedMeanwhileIsDestroyed) {
  scene_.Create("orders", {.partitions = 1});
  scene_.Delete("orders");
  EXPECT_THAT(Start(1, {{GroupId{1}, {NodeId{1}, 0}}}), ElementsAre("destroy 1"));
}

TEST_F(PartitionPlanTest, AGroupThatTheReplayHasNotReachedYetIsLeftAlone) {
  EXPECT_THAT(Start(1, {{GroupId{1}, {NodeId{1}, 0}}}), IsEmpty());
}

TEST_F(PartitionPlanTest, AnOnlyReplicaNeedNotWaitForAnybody) {
  scene_.Create("orders", {.partitions = 1, .replication_factor = 1});
  const ReplicaId only = scene_.topic("orders").partitions[0]->replicas[0];
  EXPECT_THAT(Start(only.node.value(), {{GroupId{1}, only}}), ElementsAre("open 1 campaign"));
}

TEST_F(PartitionPlanTest, AnOnlyReplicaThatMovesWaitsForTheOther) {
  scene_.Create("orders", {.partitions = 1, .replication_factor = 1});
  const ReplicaId only = scene_.partition("orders", 0).replicas[0];
  scene_.Move("orders", 0, only.node.value(), 1 + only.node.value() % 3);
  EXPECT_THAT(Start(only.node.value(), {{GroupId{1}, only}}), ElementsAre("open 1"));
}

// --- replicas that come and go

class MovingPlanTest : public PartitionPlanTest {
 protected:
  // A fourth node, and "orders" with one partition on 1, 2 and 3 in their first lives.
  MovingPlanTest() {
    scene_.Create("orders", {.partitions = 1, .replication_factor = 3});
    scene_.Join(4);
  }
  const Partition& orders() const { return scene_.partition("orders", 0); }
  std::string Begun(uint64_t self) const { return Told(PlanReplica(scene_.image(), scene_.topic("orders"), orders(), NodeId{self})); }
  void Rebuild(uint64_t node) {
    ASSERT_TRUE(
        scene_.Do(DecideRebuild({.topic = {.name = "orders"}, .partition = 0, .node = NodeId{node}}, scene_.image(), scene_.Draw())).ok());
  }
};

TEST_F(MovingPlanTest, ANewReplicaIsToldByItsLeaderAndTheOldOneStaysUntilSettled) {
  Shared<Image> before = scene_.shared();
  scene_.Move("orders", 0, 3, 4);
  EXPECT_THAT(ChangeSince(before, 4), ElementsAre("create 1 orders/0 {voters -}"));
  for (uint64_t node = 1; node <= 3; ++node) EXPECT_THAT(ChangeSince(before, node), IsEmpty()) << node;
  before = scene_.shared();
  scene_.Settle(GroupId{1});
  EXPECT_THAT(ChangeSince(before, 3), ElementsAre("destroy 1"));
  EXPECT_THAT(ChangeSince(before, 4), IsEmpty());
}

TEST_F(MovingPlanTest, AMoveThatIsCalledOffDestroysTheNewReplicaWhenThatIsSettled) {
  scene_.Move("orders", 0, 3, 4);
  Shared<Image> before = scene_.shared();
  ASSERT_TRUE(scene_.Do(DecideMoveCancellation({.topic = {.name = "orders"}, .partition = 0}, scene_.image(), scene_.Draw())).ok());
  for (uint64_t node = 1; node <= 4; ++node) EXPECT_THAT(ChangeSince(before, node), IsEmpty()) << node;
  before = scene_.shared();
  scene_.Settle(GroupId{1});
  EXPECT_THAT(ChangeSince(before, 4), ElementsAre("destroy 1"));
}

TEST_F(MovingPlanTest, ARebuiltReplicaIsDestroyedAndMadeAnew) {
  const Shared<Image> before = scene_.shared();
  Rebuild(2);
  EXPECT_THAT(ChangeSince(before, 2), ElementsAre("destroy 1", "create 1 orders/0 {voters -}"));
  const auto actions = PlanChange(*before, scene_.image(), NodeId{2});
  EXPECT_EQ(std::get<DestroyReplica>(actions[0]).self, (ReplicaId{NodeId{2}, 0}));
  EXPECT_THAT(ChangeSince(before, 1), IsEmpty());
}

TEST_F(MovingPlanTest, ATopicThatIsDeletedTakesLeavingReplicasAlong) {
  scene_.Move("orders", 0, 3, 4);
  const Shared<Image> before = scene_.shared();
  scene_.Delete("orders");
  for (uint64_t node = 1; node <= 4; ++node) EXPECT_THAT(ChangeSince(before, node), ElementsAre("destroy 1")) << node;
}

TEST_F(MovingPlanTest, LeavingReplicasGetSettings) {
  scene_.Move("orders", 0, 3, 4);
  const Shared<Image> before = scene_.shared();
  ASSERT_TRUE(scene_
                  .Do(DecideConfigChange({.topic = TopicSelector{.name = "orders"}, .set = {{"timestamp_ahead_ms_max", "1"}}},
                                         scene_.image(), scene_.Draw()))
                  .ok());
  EXPECT_THAT(ChangeSince(before, 3), ElementsAre("configure 1"));
}

// All of them may have slept when the topic was made and when it began to move: somebody has to found the
// group.
TEST_F(MovingPlanTest, FirstMembersThatAreLateFoundTheGroupAsIfNothingHadMoved) {
  scene_.Move("orders", 0, 3, 4);
  for (uint64_t node = 1; node <= 3; ++node) EXPECT_EQ(Begun(node), "create 1 orders/0 {voters 1,2,3}") << node;
  EXPECT_EQ(Begun(4), "create 1 orders/0 {voters -}");
}

TEST_F(MovingPlanTest, OnceTheGroupHasGoneOnNobodyFoundsItAgain) {
  scene_.Move("orders", 0, 3, 4);
  scene_.Settle(GroupId{1});
  EXPECT_EQ(Begun(1), "create 1 orders/0 {voters -}");
  EXPECT_EQ(Begun(2), "create 1 orders/0 {voters -}");
  scene_.Move("orders", 0, 4, 3);  // node 3 in another life
  EXPECT_EQ(Begun(1), "create 1 orders/0 {voters -}");
  EXPECT_EQ(Begun(3), "create 1 orders/0 {voters -}");
}

TEST_F(MovingPlanTest, AMoveThatWasCalledOffLeavesFirstMembers) {
  scene_.Move("orders", 0, 3, 4);
  ASSERT_TRUE(scene_.Do(DecideMoveCancellation({.topic = {.name = "orders"}, .partition = 0}, scene_.image(), scene_.Draw())).ok());
  EXPECT_EQ(Begun(3), "create 1 orders/0 {voters 1,2,3}");
  EXPECT_EQ(Begun(4), "create 1 orders/0 {voters -}");
  scene_.Settle(GroupId{1});
  EXPECT_EQ(Begun(3), "create 1 orders/0 {voters 1,2,3}");
}

TEST_F(MovingPlanTest, ARebuiltFirstMemberIsNone) {
  Rebuild(2);
  EXPECT_EQ(Begun(2), "create 1 orders/0 {voters -}");
  EXPECT_EQ(Begun(1), "create 1 orders/0 {voters 1,2,3}");
}

// --- starting with an image that is older than the store

TEST_F(MovingPlanTest, AReplicaOfALifeThatTheReplayHasNotReachedYetIsLeftAlone) {
  const StoredReplica later{GroupId{1}, {NodeId{4}, 1}};
  EXPECT_THAT(Start(4, {later}), IsEmpty());
  const StoredReplica rebuilt{GroupId{1}, {NodeId{2}, 1}};
  EXPECT_THAT(Start(2, {rebuilt}), IsEmpty());  // neither destroyed nor overwritten with the first life
  const Shared<Image> before = scene_.shared();
  Rebuild(2);
  EXPECT_THAT(Start(2, {rebuilt}), ElementsAre("open 1"));
  // While it is replayed the first life goes: what that destroys says which one it is.
  EXPECT_EQ(std::get<DestroyReplica>(PlanChange(*before, scene_.image(), NodeId{2})[0]).self.incarnation, 0u);
}

TEST_F(MovingPlanTest, AReplicaOfAnEarlierLifeIsDestroyed) {
  Rebuild(2);
  const auto actions = PlanStart(scene_.image(), NodeId{2}, std::vector{StoredReplica{GroupId{1}, {NodeId{2}, 0}}});
  EXPECT_THAT(Told(actions), ElementsAre("destroy 1", "create 1 orders/0 {voters -}"));
  EXPECT_EQ(std::get<DestroyReplica>(actions[0]).self.incarnation, 0u);
}

TEST_F(MovingPlanTest, AReplicaThatLeftMeanwhileIsDestroyedAndOneThatLeavesIsOpened) {
  const StoredReplica third{GroupId{1}, {NodeId{3}, 0}};
  scene_.Move("orders", 0, 3, 4);
  EXPECT_THAT(Start(3, {third}), ElementsAre("open 1"));
  EXPECT_THAT(Start(4, {}), ElementsAre("create 1 orders/0 {voters -}"));
  scene_.Settle(GroupId{1});
  EXPECT_THAT(Start(3, {third}), ElementsAre("destroy 1"));
}

// --- who asks for votes first

TEST_F(MovingPlanTest, TheFirstToLeadIsInUse) {
  scene_.SetMode(1, NodeMode::kDraining);
  scene_.Create("logs", {.partitions = 6, .replication_factor = 3});
  scene_.SetMode(2, NodeMode::kDraining);
  for (const Shared<Partition>& partition : scene_.topic("logs").partitions) {
    std::vector<uint64_t> campaigners;
    for (const ReplicaId& replica : partition->replicas) {
      if (PlanReplica(scene_.image(), scene_.topic("logs"), *partition, replica.node).group.campaign)
        campaigners.push_back(replica.node.value());
    }
    ASSERT_THAT(campaigners, SizeIs(1));
    EXPECT_GE(campaigners[0], 3u);
  }
}

TEST_F(MovingPlanTest, IfNobodyIsInUseALivingOneLeads) {
  for (uint64_t node = 1; node <= 3; ++node) scene_.SetMode(node, NodeMode::kDraining);
  const NodeId preferred = orders().preferred_leader;
  EXPECT_THAT(Begun(preferred.value()), ::testing::EndsWith("campaign"));
}

}  // namespace
}  // namespace flotilla::metadata
