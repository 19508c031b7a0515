#include "server/broker/node_view.h"

#include "server/metadata/moves.h"
#include "server/metadata/node_changes.h"
#include "tests/unit/broker/views.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::broker {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr NodeId kNode{2};

// Three nodes; each topic has one partition that all groups describe as well until a test says otherwise.
class NodeViewTest : public ::testing::Test {
 protected:
  void SetUp() override { scene.Found({.nodes = 3}); }

  void Create(const std::string& topic, int64_t replication_factor = 3) {
    scene.Create(topic, {.partitions = 1, .replication_factor = replication_factor});
    groups[partition(topic).group] = GroupText(partition(topic)).Entries(1, 10).Bytes(1000).Voters(partition(topic).replicas);
    Lead(topic, partition(topic).replicas[0].node);
  }
  const metadata::Partition& partition(const std::string& topic) const { return *scene.topic(topic).partitions[0]; }
  void Lead(const std::string& topic, NodeId node) { leaders.Learn(partition(topic).group, {.node = node, .epoch = Term{++epoch}}); }
  // The replica on the node is not in sync any more.
  void Lag(const std::string& topic, NodeId node) {
    for (auto& replica : *groups.at(partition(topic).group).mutable_replicas()) {
      if (replica.node_id() == node.value()) replica.set_in_sync(false);
    }
  }
  static internal::v1::GroupDescription Metadata(const std::vector<uint64_t>& lagging = {}) {
    GroupText group{metadata::Partition{}};
    for (uint64_t node = 1; node <= 3; ++node) {
      group.Voter({NodeId{node}, 0}, std::find(lagging.begin(), lagging.end(), node) == lagging.end());
    }
    return group;
  }
  NodeView View() const { return {.image = scene.image(), .leaders = leaders, .groups = groups, .metadata_group = metadata_group}; }
  v1::CheckSafeToStopResponse Stop() const { return JudgeStop(kNode, View()); }
  void SetMode(NodeId node, metadata::NodeMode mode) {
    ASSERT_TRUE(scene.Do(DecideNodeMode({.node = node, .mode = mode}, scene.image(), scene.Draw())).ok());
  }
  v1::Evacuation Evacuate(const std::vector<std::string>& obstacles = {}) const {
    return DescribeEvacuation(*scene.image().FindNode(kNode), View(), sizes, obstacles);
  }

  metadata::Scene scene;
  LeaderTable leaders;
  GroupDescriptions::Found groups;
  std::optional<internal::v1::GroupDescription> metadata_group = Metadata();
  metadata::GroupSizes sizes;
  uint64_t epoch = 0;
};

TEST_F(NodeViewTest, ANodeMayStopWhenTheOthersAreInSync) {
  Create("a");
  Create("b");
  Lead("b", kNode);
  const v1::CheckSafeToStopResponse response = Stop();
  EXPECT_TRUE(response.safe());
  EXPECT_THAT(response.reason(), IsEmpty());
  EXPECT_EQ(response.leader_count(), 1 + (partition("a").replicas[0].node == kNode ? 1 : 0));
}

TEST_F(NodeViewTest, APartitionWhoseOtherReplicaLagsIsAtRisk) {
  Create("a");
  Create("b");
  Lag("b", NodeId{3});
  const v1::CheckSafeToStopResponse response = Stop();
  EXPECT_FALSE(response.safe());
  EXPECT_EQ(response.partitions_at_risk_count(), 1);
  EXPECT_EQ(response.partitions_at_risk(0).topic().name(), "b");
  EXPECT_THAT(response.reason(), HasSubstr("1 of its partitions would have no majority"));
}

TEST_F(NodeViewTest, TheOwnLagIsNoReasonToStay) {
  Create("a");
  Lag("a", kNode);
  EXPECT_TRUE(Stop().safe());
}

TEST_F(NodeViewTest, ASingleReplicaIsAtRisk) {
  Create("a", 1);
  const NodeId owner = partition("a").replicas[0].node;
  EXPECT_FALSE(JudgeStop(owner, View()).safe());
  EXPECT_TRUE(JudgeStop(NodeId{owner.value() % 3 + 1}, View()).safe()) << "it has nothing to do with it";
}

TEST_F(NodeViewTest, WhatNobodyKnowsIsAtRisk) {
  Create("a");
  groups.clear();
  const v1::CheckSafeToStopResponse response = Stop();
  EXPECT_FALSE(response.safe());
  EXPECT_THAT(response.reason(), HasSubstr("no leader that answers"));
}

TEST_F(NodeViewTest, WhileVotersChangeNobodyStops) {
  Create("a");
  groups.begin()->second.set_changing(true);
  EXPECT_FALSE(Stop().safe());
}

TEST_F(NodeViewTest, TheMetadataCounts) {
  metadata_group = Metadata({3});
  EXPECT_FALSE(Stop().safe());
  EXPECT_TRUE(Stop().metadata_at_risk());
  EXPECT_THAT(Stop().reason(), HasSubstr("metadata"));
  metadata_group.reset();
  EXPECT_TRUE(Stop().metadata_at_risk()) << "who does not lead it cannot say";
}

TEST_F(NodeViewTest, ManyAtRiskAreCountedAndSomeAreShown) {
  scene.Create("many", {.partitions = 150, .replication_factor = 3});
  const v1::CheckSafeToStopResponse response = Stop();
  EXPECT_EQ(response.partitions_at_risk_count(), 150);
  EXPECT_EQ(response.partitions_at_risk_size(), 100);
  EXPECT_EQ(response.partitions_at_risk(99).partition(), 99) << "by number, not by text";
}

TEST_F(NodeViewTest, ADrainedNodeLeadsNothing) {
  Create("a");
  Lead("a", kNode);
  SetMode(kNode, metadata::NodeMode::kDraining);
  EXPECT_EQ(Evacuate().leaders_left(), 1);
  EXPECT_FALSE(Evacuate().complete());
  Lead("a", NodeId{1});
  EXPECT_EQ(Evacuate().leaders_left(), 0);
  EXPECT_TRUE(Evacuate().complete());
  EXPECT_EQ(Evacuate().replicas_left(), 0) << "they stay";
}

TEST_F(NodeViewTest, WhoLeadsTheMetadataIsNotDrained) {
  SetMode(kNode, metadata::NodeMode::kDraining);
  leaders.Learn(metadata::kMetadataGroup, {.node = kNode, .epoch = Term{9}});
  EXPECT_FALSE(Evacuate().complete());
  EXPECT_THAT(Evacuate().obstacles(), Contains(HasSubstr("leads the metadata")));
}

TEST_F(NodeViewTest, WhatHasNoHeirIsStuck) {
  Create("a");
  Lead("a", kNode);
  Lag("a", NodeId{1});
  Lag("a", NodeId{3});
  SetMode(kNode, metadata::NodeMode::kDraining);
  EXPECT_EQ(Evacuate().leaders_stuck(), 1);
  EXPECT_FALSE(Evacuate().complete()) << "they may catch up";
  EXPECT_THAT(Evacuate().obstacles(), ElementsAre("a/0: no other replica that could lead is in sync"));
}

TEST_F(NodeViewTest, AHeirThatIsDrainedItselfIsNone) {
  Create("a");
  Lead("a", kNode);
  Lag("a", NodeId{1});
  SetMode(NodeId{3}, metadata::NodeMode::kDraining);
  SetMode(kNode, metadata::NodeMode::kDraining);
  EXPECT_EQ(Evacuate().leaders_stuck(), 1);
}

TEST_F(NodeViewTest, ASingleReplicaDoesNotHoldADrainUp) {
  for (const char* topic : {"a", "b", "c"}) Create(topic, 1);  // one on each node
  SetMode(kNode, metadata::NodeMode::kDraining);
  const v1::Evacuation evacuation = Evacuate();
  EXPECT_EQ(evacuation.leaders_left(), 1);
  EXPECT_EQ(evacuation.leaders_stuck(), 1);
  EXPECT_TRUE(evacuation.complete());
  EXPECT_THAT(evacuation.obstacles(), ElementsAre(HasSubstr("no other replica")));
}

class DecommissionViewTest : public NodeViewTest {
 protected:
  void SetUp() override {
    scene.Found({.nodes = 4});
    Create("a");
    for (uint64_t node = 1; node <= 4; ++node) {
      if (!partition("a").ReplicaOn(NodeId{node}).valid()) spare = NodeId{node};
    }
    if (spare == kNode) GTEST_SKIP() << "placement left the node out";
    SetMode(kNode, metadata::NodeMode::kDecommissioning);
  }
  NodeId spare;
};

TEST_F(DecommissionViewTest, ItsReplicasAreCountedWithTheirBytes) {
  EXPECT_EQ(Evacuate().replicas_left(), 1);
  EXPECT_EQ(Evacuate().bytes_left(), 1000);
  groups.clear();
  sizes[partition("a").group] = 700;
  EXPECT_EQ(Evacuate().bytes_left(), 700) << "as was told when its leader answered";
  EXPECT_FALSE(Evacuate().complete());
}

TEST_F(DecommissionViewTest, AMoveThatIsUnderWayCountsByWhatIsLeft) {
  ASSERT_TRUE(scene.Do(DecideMove({.topic = {.name = "a"}, .from = kNode, .to = spare}, scene.image(), scene.Draw())).ok());
  const metadata::Partition& moving = partition("a");
  groups[moving.group] = GroupText(moving)
                             .Entries(1, 10)
                             .Bytes(1000)
                             .Voters(moving.movement->settled)
                             .Learner(moving.WantedOn(spare), 4)
                             .Stalled("node 4 is dead");
  EXPECT_EQ(Evacuate().replicas_left(), 1);
  EXPECT_EQ(Evacuate().bytes_left(), 600);
  EXPECT_THAT(Evacuate().obstacles(), Contains("a/0: node 4 is dead"));
}

TEST_F(DecommissionViewTest, TheObstaclesOfOthersAreNotItsOwn) {
  EXPECT_THAT(Evacuate({"z/0: no place", "a/0: no place"}).obstacles(), ElementsAre("a/0: no place"));
}

TEST_F(DecommissionViewTest, WithoutReplicasItStillVotes) {
  scene.Delete("a");
  EXPECT_FALSE(Evacuate().complete());
  EXPECT_THAT(Evacuate().obstacles(), ElementsAre(HasSubstr("votes on the metadata")));
  metadata_group->mutable_replicas(1)->set_voter(false);
  EXPECT_TRUE(Evacuate().complete());
}

}  // namespace
}  // namespace flotilla::broker
