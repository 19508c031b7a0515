// What moves by itself: off nodes that go, and to where the cluster is even.
#include "server/metadata/move_plan.h"

#include <algorithm>
#include <set>

#include "server/metadata/balance.h"
#include "server/metadata/cluster_model.h"
#include "server/metadata/leader_spread.h"
#include "server/metadata/limits.h"
#include "storage/base/random.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string Told(const PlannedMove& move) {
  return std::to_string(move.group.value()) + ": " + std::to_string(move.from.value()) + " to " + std::to_string(move.to.value());
}
std::vector<std::string> Told(const std::vector<PlannedMove>& moves) {
  std::vector<std::string> told;
  for (const PlannedMove& move : moves) told.push_back(Told(move));
  return told;
}

class MovePlanTest : public ::testing::Test {
 protected:
  MovePlan Plan() const { return PlanMoves(scene_.image(), sizes_, options_); }
  void StartBalance() { CHECK(scene_.Do(DecideBalanceStart({}, scene_.image(), scene_.Draw())).ok()); }
  // What the metadata leader does with a plan.
  void Carry(const MovePlan& plan) {
    for (const PlannedMove& move : plan.moves) {
      const Partition& partition = *scene_.image().FindPartition(move.group);
      scene_.Replay({RetargetOf(scene_.image(), partition, NodesWith(partition, move.from, move.to), move.cause, scene_.now_ms)});
    }
    for (const PlannedLeader& change : plan.leaders) {
      Record out;
      out.mutable_leader_preference_changed()->set_group_id(change.group.value());
      out.mutable_leader_preference_changed()->set_node_id(change.preferred.value());
      scene_.Replay({out});
    }
  }
  uint64_t ReplicasOn(uint64_t node) const { return scene_.image().LoadOf(NodeId{node}).replicas; }

  Scene scene_;
  GroupSizes sizes_;
  MovePlanOptions options_{.running_max = 4, .running_per_node_max = 2};
};

// --- evacuation

class EvacuationTest : public MovePlanTest {
 protected:
  // Four nodes, six partitions on 1, 2 and 3.
  EvacuationTest() {
    scene_.Found({.nodes = 4});
    scene_.Create("orders", {.partitions = 6, .replication_factor = 3});
    for (uint32_t i = 0; i < 6; ++i) scene_.Place("orders", i, {1, 2, 3});
  }
};

TEST_F(EvacuationTest, NothingMovesByItself) {
  EXPECT_THAT(Plan().moves, IsEmpty());
  EXPECT_TRUE(Plan().even);
  scene_.SetMode(3, NodeMode::kDraining);
  scene_.SetAlive(2, false);
  EXPECT_THAT(Plan().moves, IsEmpty());
}

TEST_F(EvacuationTest, ANodeThatGoesIsEmptiedAFewAtATime) {
  scene_.SetMode(3, NodeMode::kDecommissioning);
  const MovePlan first = Plan();
  EXPECT_THAT(Told(first.moves), ElementsAre("1: 3 to 4", "2: 3 to 4"));  // two at a time to one node
  EXPECT_EQ(first.moves[0].cause, MoveCause::kDecommission);
  Carry(first);
  EXPECT_THAT(Plan().moves, IsEmpty());
  scene_.Settle(GroupId{1});
  EXPECT_THAT(Told(Plan().moves), ElementsAre("3: 3 to 4"));
  for (int round = 0; ReplicasOn(3) != 0; ++round) {
    ASSERT_LT(round, 10);
    Carry(Plan());
    scene_.SettleAll();
  }
  EXPECT_EQ(ReplicasOn(4), 6u);
  EXPECT_THAT(Plan().moves, IsEmpty());
}

TEST_F(EvacuationTest, AllMovesTogetherAreLimited) {
  for (uint64_t node = 5; node <= 8; ++node) scene_.Join(node);
  scene_.SetMode(3, NodeMode::kDecommissioning);
  EXPECT_THAT(Plan().moves, SizeIs(4));
  Carry(Plan());
  EXPECT_THAT(Plan().moves, IsEmpty());
  std::set<NodeId> targets;
  scene_.image().moving.ForEach(
      [&](GroupId group, MoveCause) { targets.insert(scene_.image().FindPartition(group)->NewReplicas()[0].node); });
  EXPECT_THAT(targets, SizeIs(4));
}

TEST_F(EvacuationTest, WhatADeadNodeHadComesFirst) {
  scene_.Join(5);
  scene_.Create("logs", {.partitions = 6, .replication_factor = 3});
  for (uint32_t i = 0; i < 6; ++i) scene_.Place("logs", i, {1, 2, 5});
  scene_.SetMode(3, NodeMode::kDecommissioning);
  scene_.SetAlive(5, false);
  scene_.SetMode(5, NodeMode::kDecommissioning);
  EXPECT_THAT(Told(Plan().moves), ElementsAre("7: 5 to 4", "8: 5 to 4"));
}

TEST_F(EvacuationTest, ADecommissioningComesBeforeBalancing) {
  scene_.Join(5);
  StartBalance();
  scene_.SetMode(3, NodeMode::kDecommissioning);
  for (const PlannedMove& move : Plan().moves) EXPECT_EQ(move.from, NodeId{3});
  EXPECT_FALSE(Plan().even);
}

TEST_F(EvacuationTest, WhatCannotGoIsSaidWithItsReason) {
  scene_.SetMode(3, NodeMode::kDecommissioning);
  scene_.SetAlive(4, false);
  EXPECT_THAT(Plan().moves, IsEmpty());
  ASSERT_THAT(Plan().obstacles, SizeIs(6));
  EXPECT_THAT(Plan().obstacles[2], HasSubstr("orders/2: every other node is dead"));
  scene_.SetAlive(4, true);
  EXPECT_THAT(Plan().obstacles, IsEmpty());
  scene_.SetAlive(2, false);
  EXPECT_THAT(Plan().obstacles, IsEmpty());
  scene_.SetAlive(1, false);
  EXPECT_THAT(Plan().obstacles[0], HasSubstr("orders/0: no majority of its replicas is alive"));
}

TEST_F(EvacuationTest, AMoveOfSomebodyElseThatWaitsForTheDeadIsAnObstacle) {
  scene_.Join(5);
  scene_.Move("orders", 0, 2, 5);
  scene_.SetMode(3, NodeMode::kDecommissioning);
  scene_.SetAlive(5, false);
  EXPECT_THAT(Plan().obstacles, ElementsAre("orders/0: it is being moved to node 5, which is dead"));
  options_.now_ms = scene_.now_ms + options_.abandon_after_ms;  // it was asked for: nobody else calls it off
  for (const PlannedMove& move : Plan().moves) EXPECT_NE(move.group, GroupId{1});
}

// The group may still be the one from before: that the new replicas live does not help it.
TEST_F(EvacuationTest, WhileItMovesTheReplicasFromBeforeHaveToBeAMajorityToo) {
  scene_.Join(5);
  scene_.Join(6);
  const Partition& first = scene_.partition("orders", 0);
  scene_.Replay({RetargetOf(scene_.image(), first, {NodeId{3}, NodeId{4}, NodeId{5}}, MoveCause::kRequested, scene_.now_ms)});
  EXPECT_TRUE(HasLivingMajority(scene_.image(), scene_.partition("orders", 0)));
  scene_.SetAlive(1, false);
  scene_.SetAlive(2, false);
  EXPECT_FALSE(HasLivingMajority(scene_.image(), scene_.partition("orders", 0)));
  EXPECT_EQ(ReasonOf(DecideNodeMode({.node = NodeId{3}, .mode = NodeMode::kDecommissioning}, scene_.image(), scene_.Draw())),
            "QUORUM_AT_RISK");
}

TEST_F(EvacuationTest, FullNodesAreNotOverfilled) {
  scene_.Create("many", {.partitions = 994, .replication_factor = 1});
  for (uint32_t i = 0; i < 994; ++i) scene_.Place("many", i, {4});
  scene_.Create("more", {.partitions = 2, .replication_factor = 1});
  for (uint32_t i = 0; i < 2; ++i) scene_.Place("more", i, {4});
  scene_.SetMode(3, NodeMode::kDecommissioning);
  options_.running_per_node_max = 100;
  options_.running_max = 100;
  EXPECT_THAT(Plan().moves, SizeIs(4));
  EXPECT_THAT(Plan().obstacles, ElementsAre("orders/4: no other node has room; a node holds at most 1000 replicas",
                                            "orders/5: no other node has room; a node holds at most 1000 replicas"));
}

TEST_F(EvacuationTest, ABetterRackIsWaitedFor) {
  Scene scene;
  scene.Found({.nodes = 3, .racks = {"a", "b", "c"}});
  scene.Create("orders", {.partitions = 3, .replication_factor = 3});
  scene.Join(4, "c");
  scene.Join(5, "a");
  scene.SetMode(3, NodeMode::kDecommissioning);
  const MovePlan plan = PlanMoves(scene.image(), {}, options_);
  ASSERT_THAT(plan.moves, SizeIs(2));  // the third waits for node 4, though 5 is free
  for (const PlannedMove& move : plan.moves) EXPECT_EQ(move.to, NodeId{4});
  EXPECT_THAT(plan.obstacles, IsEmpty());
}

// --- moves whose new place is lost

TEST_F(EvacuationTest, AMoveToANodeThatStaysDeadGetsAnotherPlace) {
  scene_.Join(5);
  scene_.SetMode(3, NodeMode::kDecommissioning);
  options_.running_max = 1;
  Carry(Plan());
  const NodeId first = scene_.partition("orders", 0).NewReplicas()[0].node;
  const NodeId other{first == NodeId{4} ? 5u : 4u};
  scene_.SetAlive(first.value(), false);
  options_.now_ms = scene_.now_ms + options_.abandon_after_ms - 1;
  EXPECT_THAT(Plan().moves, IsEmpty());
  ++options_.now_ms;
  const MovePlan plan = Plan();
  ASSERT_THAT(plan.moves, SizeIs(1));
  EXPECT_EQ(plan.moves[0].from, first);
  EXPECT_EQ(plan.moves[0].to, other);
  EXPECT_EQ(plan.moves[0].cause, MoveCause::kDecommission);
  Carry(plan);
  EXPECT_THAT(Plan().moves, IsEmpty());
  scene_.SettleAll();
  EXPECT_FALSE(scene_.partition("orders", 0).ReplicaOn(first).valid());
  EXPECT_TRUE(scene_.partition("orders", 0).ReplicaOn(other).valid());
}

TEST_F(EvacuationTest, ABalancingMoveToADeadNodeGoesBack) {
  StartBalance();
  options_.running_max = 1;
  Carry(Plan());
  const Partition* moved = scene_.image().FindPartition(GroupId{1});
  ASSERT_EQ(moved->movement->cause, MoveCause::kBalance);
  ASSERT_EQ(moved->NewReplicas()[0].node, NodeId{4});
  const NodeId from = moved->movement->leaving[0].node;
  scene_.SetAlive(4, false);
  options_.now_ms = scene_.now_ms + options_.abandon_after_ms;
  const MovePlan plan = Plan();
  ASSERT_THAT(plan.moves, SizeIs(1));
  EXPECT_EQ(plan.moves[0].to, from);
  EXPECT_EQ(plan.moves[0].bytes, 0u);
  Carry(plan);
  EXPECT_THAT(scene_.image().FindPartition(GroupId{1})->NewReplicas(), IsEmpty());
}

TEST_F(EvacuationTest, WhateverComesToANodeThatGoesIsSentElsewhereAtOnce) {
  scene_.Join(5);
  scene_.Move("orders", 0, 2, 5);
  scene_.SetMode(5, NodeMode::kDecommissioning);
  EXPECT_THAT(Told(Plan().moves), ElementsAre("1: 5 to 4"));
  EXPECT_EQ(Plan().moves[0].cause, MoveCause::kDecommission);
}

// It may have left the group in a move that was called off: then it is waited for as a new one is.
TEST_F(EvacuationTest, AReplicaFromBeforeTheMoveOnANodeThatWasRemovedIsNotWaitedFor) {
  scene_.Join(5);
  scene_.Move("orders", 0, 2, 5);
  scene_.SetAlive(3, false);
  EXPECT_THAT(Told(Plan().moves), IsEmpty());  // it may come back
  scene_.SetMode(3, NodeMode::kDecommissioning);
  options_.running_max = 1;
  EXPECT_THAT(Told(Plan().moves), ElementsAre("1: 3 to 4"));
  // One that lives gives what it has, and goes afterwards.
  scene_.SetAlive(3, true);
  EXPECT_THAT(Told(Plan().moves), IsEmpty());
}

TEST_F(EvacuationTest, ARebuildOnANodeThatGoesIsDoneElsewhere) {
  ASSERT_TRUE(
      scene_.Do(DecideRebuild({.topic = {.name = "orders"}, .partition = 0, .node = NodeId{3}}, scene_.image(), scene_.Draw())).ok());
  scene_.SetMode(3, NodeMode::kDecommissioning);
  options_.running_max = 1;
  EXPECT_THAT(Told(Plan().moves), ElementsAre("1: 3 to 4"));
}

// --- balance

class BalanceTest : public MovePlanTest {
 protected:
  struct Spread {
    uint64_t least = ~uint64_t{0};
    uint64_t most = 0;
  };
  Spread Of(uint64_t (*count)(const Image&, NodeId)) const {
    Spread spread;
    for (const Node* node : scene_.image().NodesForReplicas()) {
      spread.least = std::min(spread.least, count(scene_.image(), node->id));
      spread.most = std::max(spread.most, count(scene_.image(), node->id));
    }
    return spread;
  }
  Spread Replicas() const {
    return Of([](const Image& image, NodeId id) { return image.LoadOf(id).replicas; });
  }
  Spread Leaders() const {
    return Of([](const Image& image, NodeId id) { return image.LoadOf(id).preferred_leaders; });
  }
  // Until the plan says that it is over; how many moves it took.
  size_t BalanceOut() {
    StartBalance();
    size_t moves = 0;
    for (int round = 0; !Plan().even; ++round) {
      CHECK_LT(round, 10'000) << "balancing has no end";
      const MovePlan plan = Plan();
      CHECK(!plan.moves.empty() || !plan.leaders.empty() || !scene_.image().moving.empty()) << "balancing is stuck";
      CHECK_LE(scene_.image().moving.size() + plan.moves.size(), options_.running_max);
      moves += plan.moves.size();
      Carry(plan);
      scene_.SettleAll();
    }
    return moves;
  }
};

TEST_F(BalanceTest, NewNodesGetTheirShareOfReplicasAndLeaders) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 20, .replication_factor = 3});
  scene_.Join(4);
  scene_.Join(5);
  EXPECT_THAT(Plan().moves, IsEmpty());  // nobody asked
  const size_t moves = BalanceOut();
  EXPECT_EQ(moves, 24u);  // 60 replicas, 12 on each: not one more than it takes
  EXPECT_EQ(Replicas().least, 12u);
  EXPECT_EQ(Replicas().most, 12u);
  EXPECT_EQ(Leaders().least, 4u);
  EXPECT_EQ(Leaders().most, 4u);
}

TEST_F(BalanceTest, ThePlanForPeopleIsWhatIsDone) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 20, .replication_factor = 3});
  scene_.Join(4);
  const MovePlan plan = PlanBalance(scene_.image(), sizes_, options_);
  EXPECT_THAT(plan.moves, SizeIs(15));
  EXPECT_FALSE(plan.even);
  std::set<GroupId> led_elsewhere;
  for (const PlannedLeader& change : plan.leaders) led_elsewhere.insert(change.group);
  const Shared<Image> before = scene_.shared();
  EXPECT_EQ(BalanceOut(), 15u);
  std::set<GroupId> led_elsewhere_now;
  before->groups.ForEach([&](GroupId group, const PartitionKey&) {
    if (before->FindPartition(group)->preferred_leader != scene_.image().FindPartition(group)->preferred_leader)
      led_elsewhere_now.insert(group);
  });
  EXPECT_EQ(led_elsewhere.size(), led_elsewhere_now.size());
  EXPECT_TRUE(PlanBalance(scene_.image(), sizes_, options_).even);
}

TEST_F(BalanceTest, BytesCount) {
  scene_.Found({.nodes = 2});
  scene_.Create("orders", {.partitions = 6, .replication_factor = 1});
  for (uint32_t i = 0; i < 6; ++i) scene_.Place("orders", i, {i < 3 ? 1u : 2u});
  const uint64_t gib = uint64_t{1} << 30;
  sizes_ = {{GroupId{1}, 40 * gib}, {GroupId{2}, 10 * gib}, {GroupId{3}, 10 * gib}};
  StartBalance();
  EXPECT_THAT(Plan().moves, ElementsAre(PlannedMove{GroupId{2}, NodeId{1}, NodeId{2}, MoveCause::kBalance, 10 * gib},
                                        PlannedMove{GroupId{3}, NodeId{1}, NodeId{2}, MoveCause::kBalance, 10 * gib}));
  Carry(Plan());
  scene_.SettleAll();
  for (const PlannedMove& move : Plan().moves) EXPECT_GT(move.group, GroupId{3}) << "a large one moves again";
}

TEST_F(BalanceTest, WhatGrowsALittleDoesNotMoveToAndFro) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 30, .replication_factor = 3});
  scene_.Join(4);
  Random random(7);
  const auto grow = [&] {
    scene_.image().groups.ForEach(
        [&](GroupId group, const PartitionKey&) { sizes_[group] += (uint64_t{60} << 20) + random.Below(uint64_t{8} << 20); });
  };
  grow();
  StartBalance();
  size_t moves = 0;
  int rounds = 0;
  for (; !Plan().even; ++rounds) {
    ASSERT_LT(rounds, 200);
    const MovePlan plan = Plan();
    moves += plan.moves.size();
    Carry(plan);
    scene_.SettleAll();
    grow();
  }
  EXPECT_LE(moves, 24u + 4u);  // a quarter of 90, and hardly more
  EXPECT_GE(moves, 22u);
}

TEST_F(BalanceTest, ReplicasInOneRackAreParted) {
  scene_.Found({.nodes = 3, .racks = {"a"}});
  scene_.Create("orders", {.partitions = 4, .replication_factor = 3});
  scene_.Join(4, "b");
  scene_.Join(5, "c");
  BalanceOut();
  for (uint32_t i = 0; i < 4; ++i) {
    std::set<std::string> racks;
    for (const ReplicaId& replica : scene_.partition("orders", i).replicas)
      racks.insert(scene_.image().FindNode(replica.node)->description.rack);
    EXPECT_THAT(racks, SizeIs(3)) << Told(scene_.partition("orders", i));
  }
}

TEST_F(BalanceTest, NoRackIsCrowdedForTheSakeOfWeight) {
  scene_.Found({.nodes = 3, .racks = {"a", "b", "c"}});
  scene_.Create("orders", {.partitions = 12, .replication_factor = 3});
  scene_.Join(4, "a");
  BalanceOut();
  EXPECT_EQ(ReplicasOn(4), 6u);  // half of what node 1 had, and nothing of 2 and 3
  EXPECT_EQ(ReplicasOn(1), 6u);
  EXPECT_EQ(ReplicasOn(2), 12u);
}

TEST_F(BalanceTest, ADeadNodeNeitherGivesNorTakes) {
  scene_.Found({.nodes = 4});
  scene_.Create("orders", {.partitions = 8, .replication_factor = 3});
  scene_.Join(5);
  scene_.SetAlive(2, false);
  const uint64_t before = ReplicasOn(2);
  BalanceOut();
  EXPECT_EQ(ReplicasOn(2), before);
}

TEST_F(BalanceTest, WithoutSizesNothingIsBalanced) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 20, .replication_factor = 3});
  scene_.Join(4);
  StartBalance();
  options_.balances = false;
  EXPECT_THAT(Plan().moves, IsEmpty());
  EXPECT_FALSE(Plan().even);
}

TEST_F(BalanceTest, TheSameImageGivesTheSamePlan) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 20, .replication_factor = 3});
  scene_.Join(4);
  StartBalance();
  const Shared<Image> again = *DecodeImage(EncodeImage(scene_.image()), kSupportedFeatures);
  EXPECT_EQ(Plan().moves, PlanMoves(*again, sizes_, options_).moves);
}

// --- leaders

TEST_F(BalanceTest, LeadersAreSpreadInChains) {
  // Node 1 leads two partitions that only 2 could lead instead, and 2 leads one that only 3 could.
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 4, .replication_factor = 3});
  scene_.Create("ends", {.partitions = 1, .replication_factor = 1});
  scene_.Place("ends", 0, {1});
  for (uint32_t i = 0; i < 3; ++i) scene_.Place("orders", i, {1, 2, 3});
  scene_.Place("orders", 3, {2, 1, 3});
  const std::vector<PlannedLeader> changes = SpreadLeaders(ClusterModel(scene_.image(), {}, {.replica_cost_bytes = 1}));
  for (const PlannedLeader& change : changes) Carry({.moves = {}, .leaders = {change}});
  EXPECT_LE(Leaders().most - Leaders().least, 1u);
  EXPECT_LE(changes.size(), 2u);
}

TEST_F(BalanceTest, WhatADrainedNodeShouldLeadWaitsForIt) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 6, .replication_factor = 3});
  for (uint32_t i = 0; i < 6; ++i) scene_.Place("orders", i, {3, 1, 2});
  scene_.SetMode(3, NodeMode::kDraining);
  EXPECT_THAT(SpreadLeaders(ClusterModel(scene_.image(), {}, {.replica_cost_bytes = 1})), IsEmpty());
  scene_.SetMode(3, NodeMode::kActive);
  EXPECT_THAT(SpreadLeaders(ClusterModel(scene_.image(), {}, {.replica_cost_bytes = 1})), SizeIs(4));
}

TEST_F(BalanceTest, SoDoesWhatANodeShouldLeadWhoseDiskIsSickAndNothingIsAddedToIt) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 4, .replication_factor = 3});
  scene_.Place("orders", 0, {3, 1, 2});
  for (uint32_t i = 1; i < 4; ++i) scene_.Place("orders", i, {1, 2, 3});
  scene_.SetUnfit(3, true);
  const std::vector<PlannedLeader> changes = SpreadLeaders(ClusterModel(scene_.image(), {}, {.replica_cost_bytes = 1}));
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].preferred, NodeId{2});
}

// --- whatever the cluster is like

class RandomClusterTest : public BalanceTest, public ::testing::WithParamInterface<uint64_t> {
 protected:
  RandomClusterTest() : random_(GetParam()) {
    scene_ = Scene(GetParam());
    racks_ = random_.OneIn(2);
    const uint64_t nodes = 3 + random_.Below(4);
    scene_.Found({.nodes = nodes, .racks = racks_ ? std::vector<std::string>{"a", "b", "c"} : std::vector<std::string>{}});
    for (int topic = 0; topic < 6; ++topic) {
      scene_.Create("t" + std::to_string(topic),
                    {.partitions = 1 + static_cast<int64_t>(random_.Below(12)), .replication_factor = random_.OneIn(3) ? 1 : 3});
    }
    const uint64_t more = random_.Below(4);
    for (uint64_t i = 0; i < more; ++i) scene_.Join(100 + i, racks_ ? std::string(1, static_cast<char>('a' + random_.Below(4))) : "");
    options_.running_max = 1 + random_.Below(8);
    options_.running_per_node_max = 1 + random_.Below(3);
    sized_ = random_.OneIn(2);
    if (!sized_) return;
    scene_.image().groups.ForEach(
        [&](GroupId group, const PartitionKey&) { sizes_[group] = random_.Below(uint64_t{1} << (20 + random_.Below(16))); });
  }

  static size_t Crowding(const Image& image, const Partition& partition) {
    size_t pairs = 0;
    for (const ReplicaId& a : partition.replicas) {
      for (const ReplicaId& b : partition.replicas) {
        const std::string& rack = image.FindNode(a.node)->description.rack;
        pairs += a.node < b.node && !rack.empty() && rack == image.FindNode(b.node)->description.rack ? 1 : 0;
      }
    }
    return pairs;
  }
  std::map<GroupId, size_t> Crowding() const {
    std::map<GroupId, size_t> crowding;
    scene_.image().groups.ForEach(
        [&](GroupId group, const PartitionKey&) { crowding[group] = Crowding(scene_.image(), *scene_.image().FindPartition(group)); });
    return crowding;
  }
  // Replicas stand on different nodes, as many as the topic has, at every step.
  void CheckPromises() const {
    scene_.image().topics.ForEach([&](const Uuid&, const Shared<Topic>& topic) {
      for (const Shared<Partition>& partition : topic->partitions) {
        ASSERT_EQ(partition->replicas.size(), topic->replication_factor);
        std::set<NodeId> nodes;
        for (const ReplicaId& replica : partition->Existing()) ASSERT_TRUE(nodes.insert(replica.node).second);
        ASSERT_TRUE(partition->WantedOn(partition->preferred_leader).valid());
      }
    });
  }
  // How many replicas are on their way to the node that gets most of them.
  size_t MostReceived() const {
    std::map<NodeId, size_t> received;
    size_t most = 0;
    scene_.image().moving.ForEach([&](GroupId group, MoveCause) {
      for (const ReplicaId& replica : scene_.image().FindPartition(group)->NewReplicas()) most = std::max(most, ++received[replica.node]);
    });
    return most;
  }
  // Some of the moves under way are over.
  void SettleSome() {
    const Shared<Image> before = scene_.shared();
    before->moving.ForEach([&](GroupId group, MoveCause) {
      if (random_.OneIn(2)) scene_.Settle(group);
    });
  }

  void StartBalanceOnce() {
    if (!scene_.image().balancing) StartBalance();
  }
  bool Emptied(const std::vector<uint64_t>& nodes) const {
    return std::all_of(nodes.begin(), nodes.end(), [&](uint64_t node) { return ReplicasOn(node) == 0; });
  }

  Random random_;
  bool sized_ = false;
  bool racks_ = false;
};

TEST_P(RandomClusterTest, BalancingEndsAndBreaksNoRule) {
  const std::map<GroupId, size_t> crowding_before = Crowding();
  StartBalance();
  for (int round = 0; !Plan().even; ++round) {
    ASSERT_LT(round, 2000);
    const MovePlan plan = Plan();
    ASSERT_LE(scene_.image().moving.size() + plan.moves.size(), options_.running_max);
    ASSERT_EQ(plan.moves, Plan().moves);
    for (const PlannedMove& move : plan.moves) {
      ASSERT_FALSE(scene_.image().moving.Contains(move.group));
      ASSERT_TRUE(scene_.image().FindNode(move.to)->takes_replicas());
    }
    Carry(plan);
    ASSERT_NO_FATAL_FAILURE(CheckPromises());
    ASSERT_LE(MostReceived(), options_.running_per_node_max);
    SettleSome();
  }
  EXPECT_TRUE(scene_.image().moving.empty());
  for (const auto& [group, crowding] : Crowding()) EXPECT_LE(crowding, crowding_before.at(group));
  if (!sized_ && !racks_) {
    EXPECT_LE(Replicas().most - Replicas().least, 1u);
  }
  EXPECT_TRUE(PlanBalance(scene_.image(), sizes_, options_).even);
}

TEST_P(RandomClusterTest, NodesThatGoEndEmpty) {
  const uint64_t victims = 1 + random_.Below(2);
  std::vector<uint64_t> going;
  for (uint64_t i = 0; i < victims; ++i) {
    const uint64_t node = 1 + random_.Below(scene_.image().nodes.size());
    if (scene_.Do(DecideNodeMode({.node = NodeId{node}, .mode = NodeMode::kDecommissioning}, scene_.image(), scene_.Draw())).ok())
      going.push_back(node);
    if (random_.OneIn(2)) StartBalanceOnce();
  }
  for (int round = 0; !Emptied(going); ++round) {
    ASSERT_LT(round, 2000);
    // Now and then a node is away for long.
    const uint64_t flaky = 1 + random_.Below(scene_.image().nodes.size());
    scene_.SetAlive(flaky, false);
    options_.now_ms = scene_.now_ms + (random_.OneIn(3) ? options_.abandon_after_ms : 0);
    Carry(Plan());
    ASSERT_NO_FATAL_FAILURE(CheckPromises());
    scene_.SetAlive(flaky, true);
    SettleSome();
    Carry(Plan());
    ASSERT_NO_FATAL_FAILURE(CheckPromises());
    SettleSome();
  }
  std::vector<NodeId> voters;
  EXPECT_EQ(RemovalsDue(scene_.image(), voters).size(), std::set<uint64_t>(going.begin(), going.end()).size());
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomClusterTest, ::testing::Range<uint64_t>(1, 41));

}  // namespace
}  // namespace flotilla::metadata
