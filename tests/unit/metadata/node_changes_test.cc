// What operators do with nodes.
#include "server/metadata/node_changes.h"

#include "server/metadata/limits.h"
#include "server/metadata/placement.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class NodeChangesTest : public ::testing::Test {
 protected:
  NodeChangesTest() {
    scene_.Found({.nodes = 3});
    scene_.Create("orders", {.partitions = 1, .replication_factor = 3});
    scene_.Place("orders", 0, {1, 2, 3});
    scene_.Join(4);
  }
  const Partition& orders() const { return scene_.partition("orders", 0); }

  Result<Decision> Try(uint64_t node, NodeMode mode, bool recommission = false) {
    return DecideNodeMode({.node = NodeId{node}, .mode = mode, .recommission = recommission}, scene_.image(), scene_.Draw());
  }
  Result<Decision> Drain(uint64_t node) { return scene_.Do(Try(node, NodeMode::kDraining)); }
  Result<Decision> Undrain(uint64_t node) { return scene_.Do(Try(node, NodeMode::kActive)); }
  Result<Decision> Decommission(uint64_t node) { return scene_.Do(Try(node, NodeMode::kDecommissioning)); }
  Result<Decision> Recommission(uint64_t node) { return scene_.Do(Try(node, NodeMode::kActive, true)); }
  Result<Decision> Remove(uint64_t node) { return scene_.Do(DecideNodeRemoval({.node = NodeId{node}}, scene_.image(), scene_.Draw())); }
  NodeMode ModeOf(uint64_t node) const { return scene_.image().FindNode(NodeId{node})->mode; }

  Scene scene_;
};

// --- draining

TEST_F(NodeChangesTest, ADrainedNodeIsPutBackIntoUse) {
  EXPECT_EQ(Drain(2)->outcome.node, NodeId{2});
  EXPECT_EQ(ModeOf(2), NodeMode::kDraining);
  EXPECT_TRUE(Drain(2)->outcome.repeated);
  EXPECT_THAT(Drain(2)->records, IsEmpty());
  ASSERT_TRUE(Undrain(2).ok());
  EXPECT_EQ(ModeOf(2), NodeMode::kActive);
  EXPECT_TRUE(Undrain(2)->outcome.repeated);
}

TEST_F(NodeChangesTest, SomebodyHasToLead) {
  ASSERT_TRUE(Drain(1).ok());
  ASSERT_TRUE(Drain(2).ok());
  scene_.SetAlive(3, false);
  const Result<Decision> refused = Drain(4);
  EXPECT_EQ(ReasonOf(refused), "NOT_ENOUGH_NODES");
  EXPECT_EQ(refused.status().Detail("live_nodes"), "0");
  EXPECT_THAT(TextOf(refused), HasSubstr("node 4"));
  scene_.SetAlive(3, true);
  EXPECT_TRUE(Drain(4).ok());
}

TEST_F(NodeChangesTest, UnknownNodesAreNotFound) {
  for (const NodeMode mode : {NodeMode::kActive, NodeMode::kDraining, NodeMode::kDecommissioning})
    EXPECT_EQ(ReasonOf(Try(9, mode)), "NODE_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Try(0, NodeMode::kDraining)), "NODE_NOT_FOUND");
  EXPECT_EQ(Try(9, NodeMode::kDraining).status().Detail("node_id"), "9");
  EXPECT_EQ(ReasonOf(Remove(9)), "NODE_NOT_FOUND");
  EXPECT_EQ(ReasonOf(DecideNodeMode({}, Image{}, scene_.Draw())), "NOT_INITIALIZED");
  EXPECT_EQ(ReasonOf(DecideNodeRemoval({}, Image{}, scene_.Draw())), "NOT_INITIALIZED");
}

TEST_F(NodeChangesTest, OnlyCheckingChangesNothing) {
  for (const NodeMode mode : {NodeMode::kDraining, NodeMode::kDecommissioning}) {
    const Result<Decision> checked =
        DecideNodeMode({.node = NodeId{2}, .mode = mode, .validate_only = true}, scene_.image(), scene_.Draw());
    ASSERT_TRUE(checked.ok());
    EXPECT_THAT(checked->records, IsEmpty());
  }
  scene_.SetAlive(4, false);
  const Result<Decision> checked = DecideNodeRemoval({.node = NodeId{4}, .validate_only = true}, scene_.image(), scene_.Draw());
  ASSERT_TRUE(checked.ok());
  EXPECT_THAT(checked->records, IsEmpty());
}

TEST_F(NodeChangesTest, NewTopicsAreLedElsewhereThanByADrainedNode) {
  ASSERT_TRUE(Drain(2).ok());
  scene_.Create("many", {.partitions = 12, .replication_factor = 3});
  EXPECT_EQ(scene_.image().LoadOf(NodeId{2}).preferred_leaders, 0u);
  EXPECT_GT(scene_.image().LoadOf(NodeId{2}).replicas, 5u);
}

// --- decommissioning

TEST_F(NodeChangesTest, ANodeThatGoesGetsNothingNewAndIsDrained) {
  ASSERT_TRUE(Decommission(3).ok());
  EXPECT_EQ(ModeOf(3), NodeMode::kDecommissioning);
  EXPECT_TRUE(Decommission(3)->outcome.repeated);
  EXPECT_TRUE(Drain(3)->outcome.repeated);
  EXPECT_EQ(ModeOf(3), NodeMode::kDecommissioning);
  const uint64_t before = scene_.image().LoadOf(NodeId{3}).replicas;
  scene_.Create("many", {.partitions = 12, .replication_factor = 3});
  EXPECT_EQ(scene_.image().LoadOf(NodeId{3}).replicas, before);
  ASSERT_TRUE(scene_.Do(DecideMorePartitions({.topic = {.name = "many"}, .partition_count = 20}, scene_.image(), scene_.Draw())).ok());
  EXPECT_EQ(scene_.image().LoadOf(NodeId{3}).replicas, before);
}

TEST_F(NodeChangesTest, ReplicationFactorsCountNodesThatTakeReplicas) {
  scene_.SetMode(4, NodeMode::kDecommissioning);
  scene_.SetAlive(3, false);
  const Result<Decision> refused = scene_.TryCreate("logs", {.replication_factor = 3});
  EXPECT_EQ(ReasonOf(refused), "NOT_ENOUGH_NODES");
  EXPECT_EQ(refused.status().Detail("live_nodes"), "2");
  EXPECT_THAT(TextOf(refused), HasSubstr("1 being decommissioned"));
  // The default of 3 could be had when node 3 is back; with two nodes in use it never could.
  EXPECT_EQ(ReasonOf(scene_.TryCreate("logs")), "NOT_ENOUGH_NODES");
}

TEST_F(NodeChangesTest, ADefaultThatTheNodesInUseCannotReachBecomesOne) {
  Scene scene;
  scene.Found({.nodes = 3});
  scene.SetMode(3, NodeMode::kDecommissioning);
  scene.Create("orders");
  EXPECT_EQ(scene.topic("orders").replication_factor, 1u);
}

TEST_F(NodeChangesTest, NoFewerNodesThanSomeTopicHasReplicas) {
  ASSERT_TRUE(Decommission(4).ok());
  const Result<Decision> refused = Decommission(3);
  EXPECT_EQ(ReasonOf(refused), "NOT_ENOUGH_NODES");
  EXPECT_THAT(TextOf(refused), HasSubstr("\"orders\""));
  EXPECT_EQ(refused.status().Detail("replication_factor"), "3");
  EXPECT_EQ(refused.status().Detail("live_nodes"), "2");
}

TEST_F(NodeChangesTest, EveryReplicaNeedsALivingPlaceToGo) {
  scene_.SetAlive(4, false);
  const Result<Decision> refused = Decommission(3);
  EXPECT_EQ(ReasonOf(refused), "NOT_ENOUGH_NODES");
  EXPECT_THAT(TextOf(refused), HasSubstr("\"orders\""));
  EXPECT_TRUE(Decommission(4).ok());  // has nothing
}

TEST_F(NodeChangesTest, WhatHasNoLivingMajorityIsNamed) {
  scene_.Join(5);
  scene_.Create("pair", {.partitions = 2, .replication_factor = 1});
  scene_.Place("pair", 0, {2});
  scene_.Place("pair", 1, {2});
  scene_.SetAlive(1, false);
  ASSERT_TRUE(Try(3, NodeMode::kDecommissioning).ok());
  scene_.SetAlive(2, false);
  const Result<Decision> refused = Decommission(2);
  EXPECT_EQ(ReasonOf(refused), "QUORUM_AT_RISK");
  EXPECT_EQ(refused.status().Detail("partition_count"), "3");
  EXPECT_EQ(refused.status().Detail("partitions"), "orders/0, pair/0, pair/1");
  EXPECT_THAT(TextOf(refused), HasSubstr("node 2"));
}

TEST_F(NodeChangesTest, TenNamesAreEnough) {
  scene_.Create("many", {.partitions = 14, .replication_factor = 1});
  for (uint32_t i = 0; i < 14; ++i) scene_.Place("many", i, {4});
  scene_.SetAlive(4, false);
  const Result<Decision> refused = Decommission(4);
  EXPECT_EQ(refused.status().Detail("partition_count"), "14");
  EXPECT_THAT(TextOf(refused), HasSubstr("many/9 and 4 more"));
  EXPECT_THAT(*refused.status().Detail("partitions"), ::testing::EndsWith("many/9"));
}

TEST_F(NodeChangesTest, TheOthersNeedRoom) {
  scene_.Create("many", {.partitions = 990, .replication_factor = 3});
  for (uint32_t i = 0; i < 990; ++i) scene_.Place("many", i, {1, 2, 4});
  scene_.Create("rest", {.partitions = 20, .replication_factor = 1});
  for (uint32_t i = 0; i < 20; ++i) scene_.Place("rest", i, {3});
  const Result<Decision> refused = Decommission(3);
  EXPECT_EQ(ReasonOf(refused), "OK");  // 9 + 9 + 10 of 1,000 are free for 21
  for (uint32_t i = 0; i < 9; ++i) scene_.Create("t" + std::to_string(i), {.partitions = 1, .replication_factor = 3});
  EXPECT_EQ(scene_.image().LoadOf(NodeId{3}).replicas, 21u);  // it goes: nothing was placed there
  scene_.SetMode(3, NodeMode::kActive);
  const Result<Decision> full = Decommission(3);
  EXPECT_EQ(ReasonOf(full), "LIMIT_EXCEEDED");
  EXPECT_EQ(full.status().Detail("limit"), "1");
  EXPECT_EQ(full.status().Detail("value"), "21");
}

TEST_F(NodeChangesTest, TheLastNodeStays) {
  Scene scene;
  scene.Found({.nodes = 2});
  scene.SetMode(1, NodeMode::kDecommissioning);
  const auto decommission = [&](uint64_t node) {
    return ReasonOf(DecideNodeMode({.node = NodeId{node}, .mode = NodeMode::kDecommissioning}, scene.image(), scene.Draw()));
  };
  EXPECT_EQ(decommission(2), "NOT_ENOUGH_NODES");
}

TEST_F(NodeChangesTest, UndrainingDoesNotCallADecommissioningOff) {
  ASSERT_TRUE(Decommission(3).ok());
  EXPECT_EQ(ReasonOf(Undrain(3)), "NODE_DECOMMISSIONING");
  EXPECT_EQ(Undrain(3).status().Detail("node_id"), "3");
  ASSERT_TRUE(Recommission(3).ok());
  EXPECT_EQ(ModeOf(3), NodeMode::kActive);
}

TEST_F(NodeChangesTest, RecommissioningCallsOffTheMovesThatAreBecauseOfIt) {
  scene_.Join(5);
  scene_.Create("logs", {.partitions = 1, .replication_factor = 3});
  scene_.Place("logs", 0, {3, 1, 2});
  ASSERT_TRUE(Decommission(3).ok());
  scene_.Replay({RetargetOf(scene_.image(), orders(), {NodeId{1}, NodeId{2}, NodeId{4}}, MoveCause::kDecommission, 5)});
  scene_.Move("logs", 0, 3, 5);  // asked for by somebody
  const Result<Decision> decided = Recommission(3);
  ASSERT_TRUE(decided.ok());
  EXPECT_THAT(decided->records, SizeIs(2));
  EXPECT_EQ(Told(orders()), "1,2,3 leader 1 leaving 4.1 was 1,2,3 cancelled");
  EXPECT_EQ(scene_.partition("logs", 0).movement->cause, MoveCause::kRequested);
}

TEST_F(NodeChangesTest, WhatComesBackMayBeLedThereAgain) {
  scene_.Place("orders", 0, {3, 1, 2});
  scene_.Create("others", {.partitions = 2, .replication_factor = 3});
  scene_.Place("others", 0, {1, 2, 4});
  scene_.Place("others", 1, {2, 1, 4});
  ASSERT_TRUE(Decommission(3).ok());
  scene_.Replay({RetargetOf(scene_.image(), orders(), {NodeId{4}, NodeId{1}, NodeId{2}}, MoveCause::kDecommission, 5)});
  ASSERT_EQ(orders().preferred_leader, NodeId{4});
  ASSERT_TRUE(Recommission(3).ok());
  EXPECT_EQ(orders().preferred_leader, NodeId{3});
}

// --- removal

TEST_F(NodeChangesTest, ALivingNodeIsNotRemoved) {
  EXPECT_EQ(ReasonOf(Remove(4)), "NODE_ALIVE");
  EXPECT_EQ(Remove(4).status().Detail("node_id"), "4");
  EXPECT_THAT(TextOf(Remove(4)), HasSubstr("decommission it"));
}

TEST_F(NodeChangesTest, ADeadNodeWithNothingGoesAtOnce) {
  scene_.SetAlive(4, false);
  const Result<Decision> decided = Remove(4);
  ASSERT_TRUE(decided.ok());
  EXPECT_THAT(decided->records, SizeIs(1));
  EXPECT_EQ(scene_.image().FindNode(NodeId{4}), nullptr);
  EXPECT_EQ(ReasonOf(Remove(4)), "NODE_NOT_FOUND");
  EXPECT_THAT(TextOf(Remove(4)), HasSubstr("was removed"));
}

TEST_F(NodeChangesTest, ADeadNodeWithReplicasIsDecommissioned) {
  scene_.SetAlive(3, false);
  ASSERT_TRUE(Remove(3).ok());
  EXPECT_EQ(ModeOf(3), NodeMode::kDecommissioning);
  EXPECT_TRUE(Remove(3)->outcome.repeated);
  scene_.SetAlive(1, false);
  EXPECT_EQ(ReasonOf(Remove(1)), "NOT_ENOUGH_NODES");
}

TEST_F(NodeChangesTest, ARemovedNodeDoesNotComeBackWithItsData) {
  scene_.SetAlive(4, false);
  ASSERT_TRUE(Remove(4).ok());
  const Result<Decision> refused = scene_.Register({.cluster = UuidOf(1000), .claimed = NodeId{4}, .description = NodeCalled(4)});
  EXPECT_EQ(ReasonOf(refused), "NODE_REMOVED");
  EXPECT_EQ(refused.status().Detail("node_id"), "4");
  EXPECT_THAT(TextOf(refused), HasSubstr("empty data directory"));
  EXPECT_EQ(ReasonOf(CheckIdentity({UuidOf(1000), NodeId{4}, UuidOf(4)}, scene_.image())), "NODE_REMOVED");
  EXPECT_EQ(scene_.Join(44), NodeId{5});
}

TEST_F(NodeChangesTest, WhatIsDecommissionedAndHasNothingLeftGoesByItself) {
  ASSERT_TRUE(Decommission(4).ok());
  const auto due = [&](const std::vector<NodeId>& voters) {
    std::vector<uint64_t> nodes;
    for (const Record& record : RemovalsDue(scene_.image(), voters)) nodes.push_back(record.node_removed().node_id());
    return nodes;
  };
  EXPECT_THAT(due({NodeId{1}, NodeId{2}, NodeId{4}}), IsEmpty());
  EXPECT_THAT(due({NodeId{1}, NodeId{2}, NodeId{3}}), ::testing::ElementsAre(4));
  ASSERT_TRUE(Recommission(4).ok());
  EXPECT_THAT(due({NodeId{1}, NodeId{2}, NodeId{3}}), IsEmpty());
  ASSERT_TRUE(Decommission(3).ok());
  EXPECT_THAT(due({NodeId{1}, NodeId{2}}), IsEmpty());
  scene_.Replay({RetargetOf(scene_.image(), orders(), {NodeId{1}, NodeId{2}, NodeId{4}}, MoveCause::kDecommission, 5)});
  EXPECT_THAT(due({NodeId{1}, NodeId{2}}), IsEmpty());
  scene_.SettleAll();
  EXPECT_THAT(due({NodeId{1}, NodeId{2}}), ::testing::ElementsAre(3));
}

}  // namespace
}  // namespace flotilla::metadata
