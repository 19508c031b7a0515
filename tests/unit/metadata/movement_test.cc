// Nodes and replicas that come and go, as records, images and bytes.
#include <set>

#include "server/metadata/balance.h"
#include "server/metadata/difference.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class MovementTest : public ::testing::Test {
 protected:
  // Five nodes and "orders" with one partition on 1, 2 and 3, led by 1.
  MovementTest() {
    scene_.Found({.nodes = 5});
    scene_.Create("orders", {.partitions = 1, .replication_factor = 3});
    scene_.Place("orders", 0, {1, 2, 3});
    epoch_ = orders().placement_epoch;
  }
  const Partition& orders() const { return scene_.partition("orders", 0); }
  uint64_t LoadOf(uint64_t node) const { return scene_.image().LoadOf(NodeId{node}).replicas; }
  uint64_t LeadersOf(uint64_t node) const { return scene_.image().LoadOf(NodeId{node}).preferred_leaders; }

  record::ReplicasRetargeted TargetOf(const std::vector<ReplicaId>& replicas) const {
    record::ReplicasRetargeted record;
    record.set_group_id(orders().group.value());
    record.set_placement_epoch(orders().placement_epoch + 1);
    for (const ReplicaId& replica : replicas) {
      record.add_replicas()->set_node_id(replica.node.value());
      record.mutable_replicas()->rbegin()->set_incarnation(replica.incarnation);
    }
    record.set_preferred_leader(replicas.front().node.value());
    record.set_cause(record::MOVE_CAUSE_REQUESTED);
    return record;
  }
  void Retarget(const std::vector<ReplicaId>& replicas) {
    Record out;
    *out.mutable_replicas_retargeted() = TargetOf(replicas);
    scene_.Replay({out});
  }
  // Why the record does not fit; "" if it does.
  std::string Refused(const Record& record) const {
    Batch batch;
    batch.set_previous_version(scene_.image().version.value());
    *batch.add_records() = record;
    const auto next = ReplayBatch(scene_.shared(), batch, scene_.image().version + 1);
    return next.ok() ? "" : std::string(next.status().message());
  }
  std::string Refused(const record::ReplicasRetargeted& target) const {
    Record out;
    *out.mutable_replicas_retargeted() = target;
    return Refused(out);
  }
  std::string RefusedTarget(const std::vector<ReplicaId>& replicas) const { return Refused(TargetOf(replicas)); }

  Scene scene_;
  uint64_t epoch_ = 0;
};

// --- targets

TEST_F(MovementTest, AReplicaThatLeavesCountsUntilItIsSettled) {
  const ReplicaId gone = orders().ReplicaOn(NodeId{3});
  scene_.Move("orders", 0, 3, 4);
  EXPECT_EQ(orders().placement_epoch, epoch_ + 1);
  EXPECT_EQ(orders().ReplicaOn(NodeId{3}), gone);
  EXPECT_FALSE(orders().WantedOn(NodeId{3}).valid());
  EXPECT_THAT(orders().Existing(), SizeIs(4));
  EXPECT_THAT(orders().NewReplicas(), ElementsAre(orders().WantedOn(NodeId{4})));
  EXPECT_EQ(LoadOf(3), 1u);
  EXPECT_EQ(LoadOf(4), 1u);
  EXPECT_EQ(*scene_.image().replicas.Find(NodeGroup{NodeId{3}, orders().group}), gone);
  EXPECT_EQ(*scene_.image().moving.Find(orders().group), MoveCause::kRequested);
  scene_.Settle(orders().group);
  EXPECT_FALSE(orders().ReplicaOn(NodeId{3}).valid());
  EXPECT_FALSE(orders().movement.has_value());
  EXPECT_EQ(LoadOf(3), 0u);
  EXPECT_EQ(scene_.image().replicas.Find(NodeGroup{NodeId{3}, orders().group}), nullptr);
  EXPECT_TRUE(scene_.image().moving.empty());
}

TEST_F(MovementTest, WhatIsAskedForLastHoldsAndTheWayBackStaysKnown) {
  const std::vector<ReplicaId> before = orders().replicas;
  scene_.Move("orders", 0, 3, 4);
  const uint64_t fourth = orders().WantedOn(NodeId{4}).incarnation;
  Retarget({before[0], before[1], {NodeId{5}, fourth + 1}});
  EXPECT_EQ(orders().movement->settled, before);
  EXPECT_THAT(orders().movement->leaving, ElementsAre(ReplicaId{NodeId{4}, fourth}, before[2]));
  EXPECT_EQ(orders().next_incarnation, fourth + 2);
  Retarget(before);  // back to where it was
  EXPECT_THAT(orders().movement->leaving, ElementsAre(ReplicaId{NodeId{5}, fourth + 1}, ReplicaId{NodeId{4}, fourth}));
  EXPECT_THAT(orders().NewReplicas(), IsEmpty());
  scene_.Settle(orders().group);
  EXPECT_EQ(orders().replicas, before);
  EXPECT_EQ(LoadOf(4) + LoadOf(5), 0u);
}

TEST_F(MovementTest, AnotherLifeOnTheSameNodeTakesThePlaceAtOnce) {
  std::vector<ReplicaId> rebuilt = orders().replicas;
  rebuilt[1].incarnation = orders().next_incarnation;
  Retarget(rebuilt);
  EXPECT_THAT(orders().movement->leaving, IsEmpty());
  EXPECT_EQ(orders().ReplicaOn(NodeId{2}), rebuilt[1]);
  EXPECT_EQ(LoadOf(2), 1u);
  EXPECT_EQ(*scene_.image().replicas.Find(NodeGroup{NodeId{2}, orders().group}), rebuilt[1]);
}

TEST_F(MovementTest, AnIncarnationIsNeverGivenTwice) {
  scene_.Move("orders", 0, 3, 4);
  const ReplicaId first = orders().WantedOn(NodeId{4});
  scene_.Settle(orders().group);
  scene_.Place("orders", 0, {1, 2, 5});
  EXPECT_THAT(RefusedTarget({orders().replicas[0], orders().replicas[1], first}), HasSubstr("is neither there nor new"));
  scene_.Move("orders", 0, 5, 4);
  EXPECT_GT(orders().WantedOn(NodeId{4}).incarnation, first.incarnation);
}

TEST_F(MovementTest, TargetsThatDoNotFitAreRefused) {
  const std::vector<ReplicaId> now = orders().replicas;
  EXPECT_EQ(RefusedTarget(now), "");
  record::ReplicasRetargeted target = TargetOf(now);
  target.set_placement_epoch(epoch_);
  EXPECT_THAT(Refused(target), HasSubstr("does not follow"));
  target.set_placement_epoch(epoch_ + 2);
  EXPECT_THAT(Refused(target), HasSubstr("does not follow"));
  target = TargetOf(now);
  target.set_group_id(99);
  EXPECT_THAT(Refused(target), HasSubstr("group 99 does not exist"));
  target = TargetOf(now);
  target.set_cause(record::MOVE_CAUSE_UNSPECIFIED);
  EXPECT_THAT(Refused(target), HasSubstr("without a cause"));
  target = TargetOf(now);
  target.set_preferred_leader(5);
  EXPECT_THAT(Refused(target), HasSubstr("node 5 shall have no replica"));
  EXPECT_THAT(RefusedTarget({now[0], now[1], {NodeId{77}, 50}}), HasSubstr("node 77 is not registered"));
  EXPECT_THAT(RefusedTarget({now[0], now[1], {NodeId{2}, 50}}), HasSubstr("two replicas on node 2"));
  EXPECT_THAT(RefusedTarget({now[0], now[1], {NodeId{4}, 0}}), HasSubstr("is neither there nor new"));
  target = TargetOf(now);
  target.clear_replicas();
  EXPECT_THAT(Refused(target), HasSubstr("without replicas"));
}

TEST_F(MovementTest, SettlingIsOfTheLastTargetOnly) {
  Record settled;
  settled.mutable_replicas_settled()->set_group_id(orders().group.value());
  settled.mutable_replicas_settled()->set_placement_epoch(epoch_);
  EXPECT_THAT(Refused(settled), HasSubstr("does not change its replicas"));
  scene_.Move("orders", 0, 3, 4);
  EXPECT_THAT(Refused(settled), HasSubstr("is not the last one"));
  settled.mutable_replicas_settled()->set_placement_epoch(epoch_ + 1);
  EXPECT_EQ(Refused(settled), "");
  settled.mutable_replicas_settled()->set_group_id(99);
  EXPECT_THAT(Refused(settled), HasSubstr("group 99 does not exist"));
}

TEST_F(MovementTest, APreferenceIsForReplicasThatStay) {
  scene_.Move("orders", 0, 3, 4);
  Record preference;
  preference.mutable_leader_preference_changed()->set_group_id(orders().group.value());
  preference.mutable_leader_preference_changed()->set_node_id(3);
  EXPECT_THAT(Refused(preference), HasSubstr("node 3 shall have no replica"));
  preference.mutable_leader_preference_changed()->set_node_id(4);
  EXPECT_EQ(Refused(preference), "");
}

TEST_F(MovementTest, ATopicIsDeletedWithWhatIsLeaving) {
  scene_.Move("orders", 0, 3, 4);
  scene_.Delete("orders");
  for (uint64_t node = 1; node <= 5; ++node) EXPECT_EQ(LoadOf(node) + LeadersOf(node), 0u) << node;
  EXPECT_TRUE(scene_.image().replicas.empty());
  EXPECT_TRUE(scene_.image().moving.empty());
}

TEST_F(MovementTest, PreferencesAreCountedWhereTheyGo) {
  EXPECT_EQ(LeadersOf(1), 1u);
  scene_.Move("orders", 0, 1, 4);
  EXPECT_EQ(LeadersOf(1), 0u);
  EXPECT_EQ(LeadersOf(orders().preferred_leader.value()), 1u);
}

// --- nodes

TEST_F(MovementTest, AModeSurvivesARegistration) {
  scene_.SetMode(2, NodeMode::kDraining);
  scene_.SetAlive(2, false);  // it is not a copy: nobody answers where it was
  NodeDescription moved = NodeCalled(2);
  moved.peer_address = "elsewhere:9651";
  ASSERT_TRUE(scene_.Register({.cluster = UuidOf(1000), .claimed = NodeId{2}, .description = moved}).ok());
  const Node& node = *scene_.image().FindNode(NodeId{2});
  EXPECT_EQ(node.mode, NodeMode::kDraining);
  EXPECT_EQ(node.mode_changed_at_ms, scene_.now_ms);
  EXPECT_FALSE(node.takes_leaders());
  EXPECT_TRUE(node.takes_replicas());
}

TEST_F(MovementTest, SoDoesItsFitnessWhichSaysNothingAboutReplicas) {
  scene_.SetUnfit(2, true);
  scene_.SetAlive(2, false);  // it is not a copy: nobody answers where it was
  NodeDescription moved = NodeCalled(2);
  moved.peer_address = "elsewhere:9651";
  ASSERT_TRUE(scene_.Register({.cluster = UuidOf(1000), .claimed = NodeId{2}, .description = moved}).ok());
  const Node& node = *scene_.image().FindNode(NodeId{2});
  EXPECT_TRUE(node.unfit_to_lead);
  EXPECT_EQ(node.fitness_changed_at_ms, scene_.now_ms);
  EXPECT_TRUE(node.in_use());
  EXPECT_FALSE(node.takes_leaders());
  EXPECT_TRUE(node.takes_replicas());
  scene_.SetUnfit(2, false);
  EXPECT_TRUE(scene_.image().FindNode(NodeId{2})->takes_leaders());
}

TEST_F(MovementTest, ANodeWithReplicasIsNotRemoved) {
  Record removed;
  removed.mutable_node_removed()->set_node_id(3);
  EXPECT_THAT(Refused(removed), HasSubstr("node 3 has 1 replicas"));
  scene_.Move("orders", 0, 3, 4);
  EXPECT_THAT(Refused(removed), HasSubstr("node 3 has 1 replicas"));
  scene_.Settle(orders().group);
  EXPECT_EQ(Refused(removed), "");
  removed.mutable_node_removed()->set_node_id(9);
  EXPECT_THAT(Refused(removed), HasSubstr("node 9 is not registered"));
}

TEST_F(MovementTest, TheIdOfARemovedNodeIsNotGivenAgain) {
  Record removed;
  removed.mutable_node_removed()->set_node_id(5);
  scene_.Replay({removed});
  EXPECT_EQ(scene_.image().FindNode(NodeId{5}), nullptr);
  EXPECT_TRUE(scene_.image().WasRemoved(NodeId{5}));
  EXPECT_FALSE(scene_.image().WasRemoved(NodeId{6}));
  EXPECT_FALSE(scene_.image().WasRemoved(NodeId{4}));
  EXPECT_FALSE(scene_.image().WasRemoved(NodeId{}));
  EXPECT_EQ(scene_.Join(7), NodeId{6});
}

TEST_F(MovementTest, WhatIsUnknownOrOutOfPlaceStopsTheReplay) {
  Record mode;
  mode.mutable_node_mode_changed()->set_node_id(1);
  EXPECT_THAT(Refused(mode), HasSubstr("node 1 has no mode"));
  mode.mutable_node_mode_changed()->set_node_id(9);
  EXPECT_THAT(Refused(mode), HasSubstr("node 9 is not registered"));
  Record fitness;
  fitness.mutable_node_fitness_changed()->set_node_id(9);
  EXPECT_THAT(Refused(fitness), HasSubstr("node 9 is not registered"));
  EXPECT_THAT(Refused(BalanceOver(1)), HasSubstr("not under way"));
  Record begun;
  begun.mutable_balancing_changed()->set_active(true);
  EXPECT_EQ(Refused(begun), "");
  scene_.Replay({begun});
  EXPECT_THAT(Refused(begun), HasSubstr("balancing is under way"));
  EXPECT_EQ(Refused(BalanceOver(1)), "");
}

TEST_F(MovementTest, MovementsComeInSnapshotsOnlyAndFirstMembersInTheirFirstLife) {
  Batch batch;
  batch.set_previous_version(scene_.image().version.value());
  auto& topic = *batch.add_records()->mutable_topic_created();
  topic.set_topic_id(std::string(UuidOf(5).bytes()));
  topic.set_name("logs");
  topic.set_partition_count(1);
  auto& partition = *batch.add_records()->mutable_partition_created();
  partition.set_topic_id(topic.topic_id());
  partition.set_group_id(scene_.image().next_group.value());
  partition.add_replicas()->set_node_id(1);
  const auto replayed = [&] { return ReplayBatch(scene_.shared(), batch, scene_.image().version + 1); };
  EXPECT_TRUE(replayed().ok());
  partition.mutable_replicas(0)->set_incarnation(3);
  EXPECT_THAT(TextOf(replayed()), HasSubstr("first life"));
  partition.mutable_replicas(0)->set_incarnation(0);
  partition.mutable_movement()->set_placement_epoch(1);
  EXPECT_THAT(TextOf(replayed()), HasSubstr("in snapshots only"));
}

// --- what changed

TEST_F(MovementTest, TheDifferenceNamesPartitionsWhoseMovementChanged) {
  const Shared<Image> before = scene_.shared();
  scene_.Move("orders", 0, 3, 4);
  const Shared<Image> moving = scene_.shared();
  scene_.Settle(orders().group);
  ASSERT_THAT(Between(*before, *moving).partitions, SizeIs(1));
  EXPECT_TRUE(Between(*before, *moving).partitions[0].after->movement.has_value());
  ASSERT_THAT(Between(*moving, scene_.image()).partitions, SizeIs(1));
  EXPECT_FALSE(Between(*moving, scene_.image()).partitions[0].after->movement.has_value());
}

TEST_F(MovementTest, BalancingChangesTheCluster) {
  const Shared<Image> before = scene_.shared();
  ASSERT_TRUE(scene_.Do(DecideBalanceStart({.planned_moves = 3}, scene_.image(), scene_.Draw())).ok());
  EXPECT_TRUE(Between(*before, scene_.image()).cluster_changed);
}

// --- as bytes

class MovementSnapshotTest : public MovementTest {
 protected:
  // The same image again, or a failure.
  void ExpectComesBack(const std::string& what) {
    const Result<Shared<Image>> restored = DecodeImage(EncodeImage(scene_.image()), kSupportedFeatures);
    ASSERT_TRUE(restored.ok()) << what << ": " << restored.status();
    EXPECT_EQ(ImageChecksum(**restored), ImageChecksum(scene_.image())) << what;
    const Image& image = **restored;
    EXPECT_EQ(*image.FindPartition(orders().group), orders()) << what;
    for (uint64_t node = 1; node <= 5; ++node) {
      EXPECT_EQ(image.LoadOf(NodeId{node}), scene_.image().LoadOf(NodeId{node})) << what << ", node " << node;
      if (const Node* known = scene_.image().FindNode(NodeId{node})) {
        EXPECT_EQ(*image.FindNode(NodeId{node}), *known) << what;
      }
      EXPECT_EQ(image.WasRemoved(NodeId{node}), scene_.image().WasRemoved(NodeId{node})) << what;
    }
    EXPECT_EQ(image.moving.size(), scene_.image().moving.size()) << what;
    EXPECT_EQ(image.replicas.size(), scene_.image().replicas.size()) << what;
    EXPECT_EQ(image.balancing, scene_.image().balancing) << what;
    EXPECT_TRUE(checksums_.insert(ImageChecksum(scene_.image())).second) << what << " looks like an earlier image";
  }
  std::set<uint32_t> checksums_;
};

TEST_F(MovementSnapshotTest, EveryStateComesBackAndLooksLikeNoOther) {
  ExpectComesBack("settled");
  scene_.Move("orders", 0, 3, 4);
  ExpectComesBack("moving");
  scene_.SetMode(2, NodeMode::kDraining);
  ExpectComesBack("draining");
  scene_.SetUnfit(1, true);
  ExpectComesBack("unfit");
  scene_.SetUnfit(1, false);
  ExpectComesBack("fit again");
  ASSERT_TRUE(scene_.Do(DecideMoveCancellation({.topic = {.name = "orders"}, .partition = 0}, scene_.image(), scene_.Draw())).ok());
  ExpectComesBack("cancelled");
  scene_.Settle(orders().group);
  ExpectComesBack("settled again");
  ASSERT_TRUE(
      scene_.Do(DecideRebuild({.topic = {.name = "orders"}, .partition = 0, .node = NodeId{3}}, scene_.image(), scene_.Draw())).ok());
  ExpectComesBack("rebuilding");
  scene_.Settle(orders().group);
  scene_.SetMode(2, NodeMode::kDecommissioning);
  ExpectComesBack("decommissioning");
  scene_.SetMode(2, NodeMode::kActive);
  ExpectComesBack("active again");
  ASSERT_TRUE(scene_.Do(DecideBalanceStart({.planned_moves = 3}, scene_.image(), scene_.Draw())).ok());
  ExpectComesBack("balancing");
  scene_.SetAlive(5, false);
  ASSERT_TRUE(scene_.Do(DecideNodeRemoval({.node = NodeId{5}}, scene_.image(), scene_.Draw())).ok());
  ExpectComesBack("without node 5");
}

TEST_F(MovementSnapshotTest, TheNodeOfAnAnswerIsRememberedAcrossASnapshot) {
  const MoveReplica request{.topic = {.name = "orders"}, .partition = 0, .from = NodeId{3}, .to = {}, .tag = {.request_id = "r1"}};
  const NodeId first = scene_.Do(DecideMove(request, scene_.image(), scene_.Draw()))->outcome.node;
  EXPECT_NE(first, NodeId{});
  const Shared<Image> restored = *DecodeImage(EncodeImage(scene_.image()), kSupportedFeatures);
  const Result<Decision> again = DecideMove(request, *restored, scene_.Draw());
  EXPECT_TRUE(again->outcome.repeated);
  EXPECT_EQ(again->outcome.node, first);
  EXPECT_THAT(again->records, IsEmpty());
}

}  // namespace
}  // namespace flotilla::metadata
