// Where replicas and leaders go, and who begins what.
#include "server/metadata/placement.h"

#include <algorithm>
#include <set>

#include "server/metadata/leader_balance.h"
#include "server/metadata/limits.h"
#include "server/metadata/partition_plan.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// --- placement

std::vector<PlacementNode> Nodes(size_t count, const std::vector<std::string>& racks = {""}) {
  std::vector<PlacementNode> nodes;
  for (size_t i = 0; i < count; ++i)
    nodes.push_back({.id = NodeId{i + 1}, .rack = racks[i % racks.size()], .load = {}, .topic = {}});
  return nodes;
}

struct Spread {
  uint64_t least = ~uint64_t{0};
  uint64_t most = 0;
  void Add(uint64_t count) {
    least = std::min(least, count);
    most = std::max(most, count);
  }
  uint64_t gap() const { return most - least; }
};

struct Balance {
  Spread replicas;
  Spread leaders;
};
Balance BalanceOf(const Placement& placement, size_t nodes) {
  std::vector<uint64_t> replicas(nodes + 1), leaders(nodes + 1);
  for (const auto& partition : placement.partitions) {
    ++leaders[partition.front().value()];
    for (const NodeId node : partition) ++replicas[node.value()];
  }
  Balance balance;
  for (size_t i = 1; i <= nodes; ++i) {
    balance.replicas.Add(replicas[i]);
    balance.leaders.Add(leaders[i]);
  }
  return balance;
}

Placement Place(std::vector<PlacementNode> nodes, uint32_t partitions, uint32_t factor, uint64_t seed = 1) {
  return PlaceReplicas(std::move(nodes), {.partitions = partitions,
                                          .replication_factor = factor,
                                          .replicas_per_node_max = limits::kReplicasPerNodeMax,
                                          .seed = seed});
}

TEST(PlacementTest, ReplicasAndLeadersAreEvenForAnyNumberOfNodesAndPartitions) {
  for (size_t nodes = 3; nodes <= 9; ++nodes) {
    for (uint32_t partitions = 1; partitions <= 40; ++partitions) {
      const Balance balance = BalanceOf(Place(Nodes(nodes), partitions, 3, partitions), nodes);
      EXPECT_LE(balance.replicas.gap(), 1u) << nodes << " nodes, " << partitions << " partitions";
      EXPECT_LE(balance.leaders.gap(), 2u) << nodes << " nodes, " << partitions << " partitions";
    }
  }
}

TEST(PlacementTest, ReplicasOfAPartitionStandInDifferentRacks) {
  for (const auto& replicas : Place(Nodes(9, {"a", "b", "c"}), 50, 3).partitions) {
    std::set<uint64_t> racks;
    for (const NodeId node : replicas) racks.insert((node.value() - 1) % 3);
    EXPECT_THAT(racks, SizeIs(3));
  }
}

TEST(PlacementTest, WithFewerRacksThanReplicasEachRackHasOne) {
  for (const auto& replicas : Place(Nodes(6, {"a", "b"}), 50, 3).partitions) {
    std::set<uint64_t> racks;
    for (const NodeId node : replicas) racks.insert((node.value() - 1) % 2);
    EXPECT_THAT(racks, SizeIs(2));
  }
}

TEST(PlacementTest, TheSameSeedGivesTheSamePlaces) {
  EXPECT_EQ(Place(Nodes(7), 20, 3, 5).partitions, Place(Nodes(7), 20, 3, 5).partitions);
  EXPECT_NE(Place(Nodes(7), 20, 3, 5).partitions, Place(Nodes(7), 20, 3, 6).partitions);
}

TEST(PlacementTest, AnEmptyNodeTakesItsShareOfANewTopicNotAllOfIt) {
  std::vector<PlacementNode> nodes = Nodes(4);
  for (size_t i = 0; i < 3; ++i) nodes[i].load = {.replicas = 300, .preferred_leaders = 100};
  const Balance balance = BalanceOf(Place(nodes, 40, 3), 4);
  EXPECT_EQ(balance.replicas.gap(), 0u);
}

TEST(PlacementTest, ManySmallTopicsEvenOutWhatNodesCarry) {
  Scene scene;
  scene.Found({.nodes = 5});
  for (int i = 0; i < 100; ++i)
    scene.Create("t" + std::to_string(i), {.partitions = 1, .replication_factor = 3});
  Spread replicas;
  Spread leaders;
  for (uint64_t node = 1; node <= 5; ++node) {
    replicas.Add(scene.image().LoadOf(NodeId{node}).replicas);
    leaders.Add(scene.image().LoadOf(NodeId{node}).preferred_leaders);
  }
  EXPECT_LE(replicas.gap(), 1u);
  EXPECT_LE(leaders.gap(), 2u);
}

TEST(PlacementTest, DeadNodesGetNothing) {
  Scene scene;
  scene.Found({.nodes = 4});
  scene.SetAlive(2, false);
  scene.Create("orders", {.partitions = 12, .replication_factor = 3});
  EXPECT_EQ(scene.image().LoadOf(NodeId{2}).replicas, 0u);
}

TEST(PlacementTest, WhereThereIsNoRoomPlacementEnds) {
  std::vector<PlacementNode> nodes = Nodes(3);
  nodes[1].load.replicas = limits::kReplicasPerNodeMax - 2;
  EXPECT_THAT(Place(nodes, 10, 3).partitions, SizeIs(2));
}

// --- leaders go home

class LeaderBalanceTest : public ::testing::Test {
 protected:
  LeaderBalanceTest() {
    scene_.Found({.nodes = 3});
    scene_.Create("orders", {.partitions = 6});
  }
  // What node 1 does at `tick` when it leads all partitions, and everybody has caught up but `lagging`.
  std::string At(raft::Tick tick, const std::set<uint64_t>& lagging = {}) {
    std::vector<LedGroup> led;
    scene_.image().groups.ForEach([&](GroupId group, const PartitionKey&) {
      if (handed_over_.contains(group)) return;
      LedGroup row{.group = group, .caught_up = {}};
      for (const ReplicaId& replica : scene_.image().FindPartition(group)->replicas) {
        if (!lagging.contains(replica.node.value())) row.caught_up.push_back(replica);
      }
      led.push_back(row);
    });
    const std::vector<LeaderTransfer> transfers = balancer_.Next(scene_.image(), led, {.now = tick});
    if (transfers.empty()) return "-";
    last_ = transfers.front().group;
    return std::to_string(last_.value()) + " to " + ToString(transfers.front().to);
  }
  NodeId HomeOf(GroupId group) { return scene_.image().FindPartition(group)->preferred_leader; }

  Scene scene_;
  LeaderBalancer balancer_{NodeId{1},
                           {.settle_ticks = 100, .pause_ticks = 5, .transfer_ticks = 20, .mute_ticks = 1000}};
  std::set<GroupId> handed_over_;
  GroupId last_;
};

TEST_F(LeaderBalanceTest, OneAtATimeWithAPauseUntilAllAreHome) {
  EXPECT_EQ(At(0), "-");
  int moved = 0;
  raft::Tick last_move = 0;
  for (raft::Tick tick = 100; tick < 300; ++tick) {
    if (At(tick) == "-") continue;
    EXPECT_NE(HomeOf(last_), NodeId{1});
    if (moved > 0) {
      EXPECT_GE(tick - last_move, 5u);
    }
    handed_over_.insert(last_);
    last_move = tick;
    ++moved;
  }
  EXPECT_EQ(moved, 4);  // two of six are at home
}

TEST_F(LeaderBalanceTest, WhileOneIsOnItsWayNoOtherIsSent) {
  At(0);
  ASSERT_NE(At(100), "-");
  EXPECT_EQ(At(110), "-");
  EXPECT_EQ(At(119), "-");
}

TEST_F(LeaderBalanceTest, OneThatFailsIsLeftAlone) {
  At(0);
  ASSERT_NE(At(100), "-");
  const GroupId failed = last_;
  EXPECT_EQ(At(120), "-");
  for (raft::Tick tick = 125; tick < 400; ++tick) {
    if (At(tick) == "-") continue;
    EXPECT_NE(last_, failed) << tick;
  }
}

TEST_F(LeaderBalanceTest, NobodyGetsALeadershipBeforeItHasCaughtUp) {
  At(0);
  EXPECT_EQ(At(100, {2, 3}), "-");
  EXPECT_NE(At(101, {2}), "-");
  EXPECT_EQ(HomeOf(last_), NodeId{3});
}

TEST_F(LeaderBalanceTest, ANodeThatReturnedIsGivenTimeToSettle) {
  At(0);
  scene_.SetAlive(2, false);
  scene_.SetAlive(3, false);
  EXPECT_EQ(At(100), "-");
  scene_.SetAlive(2, true);
  EXPECT_EQ(At(150), "-");
  EXPECT_EQ(At(249), "-");
  EXPECT_NE(At(250), "-");
  EXPECT_EQ(HomeOf(last_), NodeId{2});
}

// --- what a node does about its replicas

class PartitionPlanTest : public ::testing::Test {
 protected:
  PartitionPlanTest() { scene_.Found({.nodes = 3}); }

  static std::string Told(const PartitionAction& action) {
    if (const auto* create = std::get_if<CreateReplica>(&action)) {
      return "create " + std::to_string(create->group.group.value()) + " " + create->group.identity.label +
             " {" + raft::ToString(create->group.configuration) + "}" +
             (create->group.campaign ? " campaign" : "");
    }
    if (const auto* open = std::get_if<OpenReplica>(&action)) {
      return "open " + std::to_string(open->group.value()) + (open->campaign ? " campaign" : "");
    }
    if (const auto* configure = std::get_if<ConfigureReplica>(&action))
      return "configure " + std::to_string(configure->group.value());
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
    EXPECT_THAT(ChangeSince(before, node), ElementsAre(std::string("create 1 orders/0 {voters 1,2,3}") +
                                                       (node == leader ? " campaign" : "")));
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
                  .Do(DecideConfigChange(
                      {.topic = TopicSelector{.name = "orders"}, .set = {{"timestamp_ahead_ms_max", "1"}}},
                      scene_.image(), scene_.Draw()))
                  .ok());
  EXPECT_THAT(ChangeSince(before, 1), ElementsAre("configure 1", "configure 2"));
  before = scene_.shared();
  ASSERT_TRUE(scene_
                  .Do(DecideConfigChange({.set = {{"topic.timestamp_ahead_ms_max", "1"}}}, scene_.image(),
                                         scene_.Draw()))
                  .ok());
  EXPECT_THAT(ChangeSince(before, 1), SizeIs(3));
}

TEST_F(PartitionPlanTest, LivenessAndPreferenceOpenAndCloseNothing) {
  scene_.Create("orders", {.partitions = 1});
  const Shared<Image> before = scene_.shared();
  scene_.SetAlive(2, false);
  const NodeId other = scene_.topic("orders").partitions[0]->replicas[1].node;
  ASSERT_TRUE(scene_
                  .Do(DecideLeaderPreference({.topic = {.name = "orders"}, .partition = 0, .node = other},
                                             scene_.image(), scene_.Draw()))
                  .ok());
  EXPECT_THAT(ChangeSince(before, 1), IsEmpty());
}

TEST_F(PartitionPlanTest, AfterARestartWhatIsStoredIsOpenedAndWhatIsMissingIsMade) {
  scene_.Create("orders", {.partitions = 2});
  EXPECT_THAT(Start(1, {{GroupId{2}, {NodeId{1}, 0}}}),
              ElementsAre(::testing::StartsWith("create 1 orders/0"), "open 2"));
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

}  // namespace
}  // namespace flotilla::metadata
