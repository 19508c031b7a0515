// What people ask of replicas: moving, rebuilding, calling off; and what leaders of groups say when they are
// done.
#include "server/metadata/moves.h"

#include "server/metadata/balance.h"
#include "server/metadata/limits.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class MovesTest : public ::testing::Test {
 protected:
  // Five nodes and "orders" with one partition on 1, 2 and 3 in their first lives, led by 1.
  MovesTest() {
    scene_.Found({.nodes = 3});
    scene_.Create("orders", {.partitions = 1, .replication_factor = 3});
    scene_.Place("orders", 0, {1, 2, 3});
    scene_.Join(4);
    scene_.Join(5);
  }
  const Partition& orders() const { return scene_.partition("orders", 0); }

  Result<Decision> Move(uint64_t from, uint64_t to, RequestTag tag = {}) {
    return scene_.Do(
        DecideMove({.topic = {.name = "orders"}, .partition = 0, .from = NodeId{from}, .to = NodeId{to}, .tag = std::move(tag)},
                   scene_.image(), scene_.Draw()));
  }
  Result<Decision> Rebuild(uint64_t node, RequestTag tag = {}) {
    return scene_.Do(DecideRebuild({.topic = {.name = "orders"}, .partition = 0, .node = NodeId{node}, .tag = std::move(tag)},
                                   scene_.image(), scene_.Draw()));
  }
  Result<Decision> Cancel(RequestTag tag = {}) {
    return scene_.Do(
        DecideMoveCancellation({.topic = {.name = "orders"}, .partition = 0, .tag = std::move(tag)}, scene_.image(), scene_.Draw()));
  }
  Result<Decision> Settled(uint64_t epoch, std::vector<ReplicaId> voters) {
    return scene_.Do(DecideSettled({.group = orders().group, .placement_epoch = epoch, .voters = std::move(voters)}, scene_.image()));
  }

  Scene scene_;
};

// --- moving

TEST_F(MovesTest, AMoveIsATargetAndNothingElse) {
  const Result<Decision> decided = Move(3, 4);
  ASSERT_TRUE(decided.ok()) << decided.status();
  EXPECT_EQ(decided->outcome.node, NodeId{4});
  EXPECT_EQ(decided->outcome.topic, scene_.topic("orders").id);
  EXPECT_THAT(decided->records, SizeIs(1));
  EXPECT_EQ(Told(orders()), "1,2,4.1 leader 1 leaving 3 was 1,2,3 requested");
}

TEST_F(MovesTest, TheNewReplicaTakesThePlaceOfTheOldOneAndMayHaveToLead) {
  ASSERT_TRUE(Move(1, 4).ok());
  EXPECT_EQ(Told(orders()), "4.1,2,3 leader 4 leaving 1 was 1,2,3 requested");
}

TEST_F(MovesTest, WhoShouldLeadInsteadLeadsFewestAndIsInUse) {
  scene_.Create("logs", {.partitions = 1, .replication_factor = 3});
  scene_.Place("logs", 0, {4, 5, 1});
  EXPECT_EQ(scene_.image().LoadOf(NodeId{2}).preferred_leaders, 0u);
  scene_.SetMode(2, NodeMode::kDraining);
  ASSERT_TRUE(Move(1, 4).ok());
  EXPECT_EQ(orders().preferred_leader, NodeId{3});  // 4 has one, 2 is drained
}

TEST_F(MovesTest, TheBrokerFindsThePlaceInAnotherRack) {
  Scene scene;
  scene.Found({.nodes = 3, .racks = {"a", "b", "c"}});
  scene.Create("orders", {.partitions = 1, .replication_factor = 3});
  scene.Join(4, "a");
  scene.Join(5, "b");
  scene.Join(6, "c");
  const auto place_for = [&](uint64_t from) {
    return DecideMove({.topic = {.name = "orders"}, .partition = 0, .from = NodeId{from}, .to = {}}, scene.image(), scene.Draw())
        ->outcome.node.value();
  };
  EXPECT_EQ(place_for(1), 4u);
  EXPECT_EQ(place_for(2), 5u);
  EXPECT_EQ(place_for(3), 6u);
}

TEST_F(MovesTest, OfSeveralPlacesTheEmptiestIsTaken) {
  scene_.Create("logs", {.partitions = 1, .replication_factor = 3});
  scene_.Place("logs", 0, {4, 2, 1});
  EXPECT_EQ(Move(3, 0)->outcome.node, NodeId{5});
}

TEST_F(MovesTest, WhatIsNotThereCannotMove) {
  EXPECT_EQ(ReasonOf(Move(4, 5)), "REPLICA_NOT_FOUND");
  EXPECT_EQ(Move(4, 5).status().Detail("node_id"), "4");
  EXPECT_EQ(Move(4, 5).status().Detail("topic"), "orders");
  EXPECT_EQ(Move(4, 5).status().Detail("partition"), "0");
  EXPECT_THAT(TextOf(Move(4, 5)), HasSubstr("nodes 1, 2, 3 have"));
  EXPECT_EQ(ReasonOf(Move(9, 5)), "NODE_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Move(3, 9)), "NODE_NOT_FOUND");
  EXPECT_EQ(Move(3, 9).status().Detail("node_id"), "9");
  const auto elsewhere = [&](const std::string& topic, int64_t partition) {
    return ReasonOf(
        DecideMove({.topic = {.name = topic}, .partition = partition, .from = NodeId{3}, .to = {}}, scene_.image(), scene_.Draw()));
  };
  EXPECT_EQ(elsewhere("logs", 0), "TOPIC_NOT_FOUND");
  EXPECT_EQ(elsewhere("orders", 1), "PARTITION_NOT_FOUND");
  EXPECT_EQ(elsewhere("orders", -1), "PARTITION_NOT_FOUND");
}

TEST_F(MovesTest, ANodeThatHasAReplicaGetsNoOther) {
  EXPECT_EQ(ReasonOf(Move(3, 2)), "REPLICA_EXISTS");
  EXPECT_EQ(ReasonOf(Move(3, 3)), "REPLICA_EXISTS");
  EXPECT_EQ(Move(3, 2).status().Detail("node_id"), "2");
}

TEST_F(MovesTest, ANodeThatIsDeadOrGoesTakesNone) {
  scene_.SetAlive(4, false);
  EXPECT_EQ(ReasonOf(Move(3, 4)), "NOT_ENOUGH_NODES");
  EXPECT_THAT(TextOf(Move(3, 4)), HasSubstr("is dead"));
  EXPECT_EQ(Move(3, 4).status().Detail("live_nodes"), "4");
  scene_.SetMode(5, NodeMode::kDecommissioning);
  EXPECT_EQ(ReasonOf(Move(3, 5)), "NOT_ENOUGH_NODES");
  EXPECT_THAT(TextOf(Move(3, 5)), HasSubstr("is being decommissioned"));
  EXPECT_EQ(ReasonOf(Move(3, 0)), "NOT_ENOUGH_NODES");
  EXPECT_THAT(TextOf(Move(3, 0)), HasSubstr("add a node"));
  scene_.SetAlive(4, true);
  scene_.SetMode(4, NodeMode::kDraining);
  EXPECT_TRUE(Move(3, 4).ok());  // it keeps and takes replicas
}

TEST_F(MovesTest, AFullNodeTakesNone) {
  scene_.Create("many", {.partitions = 999, .replication_factor = 5});
  scene_.Create("more", {.partitions = 2, .replication_factor = 1});
  for (uint32_t i = 0; i < 2; ++i) scene_.Place("more", i, {4 + i});
  ASSERT_EQ(scene_.image().LoadOf(NodeId{4}).replicas, limits::kReplicasPerNodeMax);
  EXPECT_EQ(ReasonOf(Move(3, 4)), "LIMIT_EXCEEDED");
  EXPECT_EQ(Move(3, 4).status().Detail("limit"), "1000");
  EXPECT_EQ(Move(3, 4).status().Detail("field"), "to_node_id");
  EXPECT_EQ(ReasonOf(Move(3, 0)), "LIMIT_EXCEEDED");
}

TEST_F(MovesTest, OneChangeAtATime) {
  ASSERT_TRUE(Move(3, 4).ok());
  EXPECT_EQ(ReasonOf(Move(3, 4)), "MOVE_UNDER_WAY");
  EXPECT_EQ(ReasonOf(Move(2, 5)), "MOVE_UNDER_WAY");
  EXPECT_EQ(ReasonOf(Rebuild(2)), "MOVE_UNDER_WAY");
  EXPECT_EQ(Move(2, 5).status().Detail("topic"), "orders");
  EXPECT_THAT(TextOf(Move(2, 5)), HasSubstr("to nodes 1, 2, 4"));
  scene_.Settle(orders().group);
  EXPECT_TRUE(Move(2, 5).ok());
}

TEST_F(MovesTest, WithoutALivingMajorityNothingMoves) {
  scene_.SetAlive(1, false);
  EXPECT_TRUE(DecideMove({.topic = {.name = "orders"}, .partition = 0, .from = NodeId{1}, .to = {}}, scene_.image(), scene_.Draw()).ok());
  scene_.SetAlive(2, false);
  const Result<Decision> refused = Move(3, 4);
  EXPECT_EQ(ReasonOf(refused), "QUORUM_AT_RISK");
  EXPECT_EQ(refused.status().Detail("partitions"), "orders/0");
  EXPECT_EQ(refused.status().Detail("partition_count"), "1");
}

TEST_F(MovesTest, AnOnlyReplicaMoves) {
  scene_.Create("one", {.partitions = 1, .replication_factor = 1});
  const NodeId from = scene_.partition("one", 0).replicas[0].node;
  ASSERT_TRUE(
      scene_.Do(DecideMove({.topic = {.name = "one"}, .partition = 0, .from = from, .to = {}}, scene_.image(), scene_.Draw())).ok());
  EXPECT_THAT(scene_.partition("one", 0).Existing(), SizeIs(2));
  EXPECT_NE(scene_.partition("one", 0).preferred_leader, from);
}

TEST_F(MovesTest, ARepeatedRequestIsAnsweredAndNotDoneAgain) {
  const uint64_t epoch = orders().placement_epoch;
  ASSERT_EQ(Move(3, 0, {.request_id = "r1", .validate_only = true})->outcome.node.value() >= 4, true);
  EXPECT_EQ(orders().placement_epoch, epoch);
  const NodeId to = Move(3, 0, {.request_id = "r1"})->outcome.node;
  const Result<Decision> again = Move(3, 0, {.request_id = "r1"});
  EXPECT_TRUE(again->outcome.repeated);
  EXPECT_EQ(again->outcome.node, to);
  EXPECT_EQ(orders().placement_epoch, epoch + 1);
  EXPECT_EQ(ReasonOf(Move(2, 0, {.request_id = "r1"})), "REQUEST_ID_REUSED");
  EXPECT_EQ(ReasonOf(Cancel({.request_id = "r1"})), "REQUEST_ID_REUSED");
  ASSERT_TRUE(Cancel({.request_id = "r2"}).ok());
  EXPECT_TRUE(Cancel({.request_id = "r2"})->outcome.repeated);
}

TEST_F(MovesTest, WithoutAClusterNothingMoves) {
  const Image empty;
  EXPECT_EQ(ReasonOf(DecideMove({}, empty, scene_.Draw())), "NOT_INITIALIZED");
  EXPECT_EQ(ReasonOf(DecideRebuild({}, empty, scene_.Draw())), "NOT_INITIALIZED");
  EXPECT_EQ(ReasonOf(DecideMoveCancellation({}, empty, scene_.Draw())), "NOT_INITIALIZED");
  EXPECT_EQ(ReasonOf(DecideSettled({}, empty)), "NOT_INITIALIZED");
  EXPECT_EQ(ReasonOf(DecideBalanceStart({}, empty, scene_.Draw())), "NOT_INITIALIZED");
  EXPECT_EQ(ReasonOf(DecideBalanceCancellation({}, empty, scene_.Draw())), "NOT_INITIALIZED");
}

// --- rebuilding

TEST_F(MovesTest, ARebuiltReplicaIsAnotherLifeOnTheSameNode) {
  const Result<Decision> decided = Rebuild(1);
  ASSERT_TRUE(decided.ok()) << decided.status();
  EXPECT_EQ(decided->outcome.node, NodeId{1});
  EXPECT_EQ(Told(orders()), "1.1,2,3 leader 1 was 1,2,3 rebuild");
}

TEST_F(MovesTest, NothingIsRebuiltFromAMinority) {
  scene_.SetAlive(2, false);
  EXPECT_EQ(ReasonOf(Rebuild(3)), "QUORUM_AT_RISK");
  EXPECT_EQ(Rebuild(3).status().Detail("partitions"), "orders/0");
  EXPECT_TRUE(Rebuild(2).ok());  // the others are a majority
}

TEST_F(MovesTest, AnOnlyReplicaCannotBeRebuilt) {
  scene_.Create("one", {.partitions = 1, .replication_factor = 1});
  EXPECT_EQ(ReasonOf(DecideRebuild({.topic = {.name = "one"}, .partition = 0, .node = scene_.partition("one", 0).replicas[0].node},
                                   scene_.image(), scene_.Draw())),
            "QUORUM_AT_RISK");
}

TEST_F(MovesTest, OnlyWhatIsThereIsRebuilt) {
  EXPECT_EQ(ReasonOf(Rebuild(4)), "REPLICA_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Rebuild(9)), "NODE_NOT_FOUND");
}

// --- calling off

TEST_F(MovesTest, AMoveThatIsCalledOffGoesBack) {
  ASSERT_TRUE(Move(1, 4).ok());
  ASSERT_TRUE(Cancel().ok());
  EXPECT_THAT(Told(orders()), ::testing::StartsWith("1,2,3 leader "));
  EXPECT_THAT(Told(orders()), HasSubstr("leaving 4.1 was 1,2,3 cancelled"));
  EXPECT_EQ(ReasonOf(Cancel()), "MOVE_NOT_FOUND");
  EXPECT_THAT(TextOf(Cancel()), HasSubstr("already"));
  scene_.Settle(orders().group);
  EXPECT_THAT(Told(orders()), ::testing::StartsWith("1,2,3 leader "));
  EXPECT_THAT(orders().movement, ::testing::Eq(std::nullopt));
}

TEST_F(MovesTest, WhatIsNotUnderWayCannotBeCalledOff) {
  EXPECT_EQ(ReasonOf(Cancel()), "MOVE_NOT_FOUND");
  EXPECT_EQ(Cancel().status().Detail("topic"), "orders");
  EXPECT_EQ(Cancel().status().Detail("partition"), "0");
  ASSERT_TRUE(Rebuild(3).ok());
  EXPECT_EQ(ReasonOf(Cancel()), "MOVE_NOT_FOUND");
  EXPECT_THAT(TextOf(Cancel()), HasSubstr("no way back"));
}

// --- settled

TEST_F(MovesTest, SettledIsWhatWasAskedForLast) {
  ASSERT_TRUE(Move(3, 4).ok());
  const uint64_t epoch = orders().placement_epoch;
  const std::vector<ReplicaId> wanted = orders().replicas;
  const std::vector<ReplicaId> reversed(wanted.rbegin(), wanted.rend());
  EXPECT_THAT(Settled(epoch, orders().movement->settled)->records, IsEmpty());
  EXPECT_THAT(Settled(epoch, orders().Existing())->records, IsEmpty());
  EXPECT_THAT(Settled(epoch, {wanted[0], wanted[1]})->records, IsEmpty());
  EXPECT_THAT(Settled(epoch, {wanted[0], wanted[1], {NodeId{4}, 7}})->records, IsEmpty());
  EXPECT_THAT(Settled(epoch, reversed)->records, SizeIs(1));
  EXPECT_TRUE(Settled(epoch, wanted)->outcome.repeated);
  EXPECT_EQ(Told(orders()), "1,2,4.1 leader 1");
}

// A leader that was deposed, or whose image is old, says what was true before the last change: 4 would have
// been kept and 3, which is wanted again, deleted.
TEST_F(MovesTest, AnOldLeaderSettlesNothing) {
  ASSERT_TRUE(Move(3, 4).ok());
  const uint64_t old_epoch = orders().placement_epoch;
  const std::vector<ReplicaId> with_4 = orders().replicas;
  ASSERT_TRUE(Cancel().ok());
  EXPECT_THAT(Settled(old_epoch, with_4)->records, IsEmpty());
  EXPECT_TRUE(Settled(old_epoch, with_4)->outcome.repeated);
  EXPECT_THAT(Settled(old_epoch + 1, with_4)->records, IsEmpty());
  EXPECT_TRUE(orders().ReplicaOn(NodeId{3}).valid());
  EXPECT_TRUE(orders().ReplicaOn(NodeId{4}).valid());
  EXPECT_THAT(Settled(old_epoch + 1, orders().replicas)->records, SizeIs(1));
  EXPECT_EQ(Told(orders()), "1,2,3 leader 1");
  // The same target again has another epoch.
  ASSERT_TRUE(Move(3, 4).ok());
  EXPECT_THAT(Settled(old_epoch, orders().replicas)->records, IsEmpty());
}

TEST_F(MovesTest, AGroupThatIsGoneCannotSettle) {
  EXPECT_EQ(ReasonOf(DecideSettled({.group = GroupId{77}, .placement_epoch = 1, .voters = {}}, scene_.image())), "PARTITION_NOT_FOUND");
}

// --- many at once

TEST_F(MovesTest, BalancingIsAskedForOnce) {
  ASSERT_TRUE(scene_.Do(DecideBalanceStart({.planned_moves = 7, .validate_only = true}, scene_.image(), scene_.Draw())).ok());
  EXPECT_FALSE(scene_.image().balancing.has_value());
  ASSERT_TRUE(scene_.Do(DecideBalanceStart({.planned_moves = 7}, scene_.image(), scene_.Draw())).ok());
  EXPECT_EQ(scene_.image().balancing->planned_moves, 7u);
  EXPECT_EQ(scene_.image().balancing->since_ms, scene_.now_ms);
  EXPECT_EQ(ReasonOf(DecideBalanceStart({}, scene_.image(), scene_.Draw())), "BALANCE_UNDER_WAY");
  EXPECT_EQ(ReasonOf(DecideBalanceStart({.validate_only = true}, scene_.image(), scene_.Draw())), "BALANCE_UNDER_WAY");
}

TEST_F(MovesTest, CallingBalancingOffCallsOffItsMovesAndNoOthers) {
  EXPECT_TRUE(DecideBalanceCancellation({}, scene_.image(), scene_.Draw())->outcome.repeated);
  ASSERT_TRUE(scene_.Do(DecideBalanceStart({}, scene_.image(), scene_.Draw())).ok());
  scene_.Create("logs", {.partitions = 1, .replication_factor = 3});
  scene_.Place("logs", 0, {1, 2, 3});
  ASSERT_TRUE(Move(3, 4).ok());
  const Partition& logs = scene_.partition("logs", 0);
  scene_.Replay({RetargetOf(scene_.image(), logs, {NodeId{1}, NodeId{2}, NodeId{5}}, MoveCause::kBalance, 5)});
  const Result<Decision> ended = scene_.Do(DecideBalanceCancellation({}, scene_.image(), scene_.Draw()));
  EXPECT_THAT(ended->records, SizeIs(2));
  EXPECT_FALSE(ended->outcome.repeated);
  EXPECT_FALSE(scene_.image().balancing.has_value());
  EXPECT_EQ(scene_.partition("logs", 0).movement->cause, MoveCause::kCancelled);
  EXPECT_EQ(orders().movement->cause, MoveCause::kRequested);
}

}  // namespace
}  // namespace flotilla::metadata
