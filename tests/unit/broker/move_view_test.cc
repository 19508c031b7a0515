#include "server/broker/move_view.h"

#include "server/broker/describe.h"
#include "server/metadata/moves.h"
#include "tests/unit/broker/views.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// orders/0 on nodes 1 to 3 of 4.
class MoveViewTest : public ::testing::Test {
 protected:
  void SetUp() override {
    scene.Found({.nodes = 4});
    scene.Create("orders", {.partitions = 1, .replication_factor = 3});
    for (const ReplicaId& replica : partition().replicas) nodes.push_back(replica.node);
    for (uint64_t node = 1; node <= 4; ++node) {
      if (!partition().ReplicaOn(NodeId{node}).valid()) spare = NodeId{node};
    }
  }
  const metadata::Partition& partition() const { return *scene.topic("orders").partitions[0]; }
  void Move(NodeId from, NodeId to) {
    ASSERT_TRUE(scene.Do(DecideMove({.topic = {.name = "orders"}, .from = from, .to = to}, scene.image(), scene.Draw())).ok());
  }
  v1::Move Describe(const internal::v1::GroupDescription& group) const { return DescribeMove(scene.topic("orders"), partition(), &group); }
  // Whoever stays.
  std::vector<ReplicaId> Staying() const {
    std::vector<ReplicaId> staying;
    for (const ReplicaId& replica : partition().movement->settled) {
      if (partition().WantedOn(replica.node) == replica) staying.push_back(replica);
    }
    return staying;
  }

  metadata::Scene scene;
  std::vector<NodeId> nodes;
  NodeId spare;
};

TEST_F(MoveViewTest, AMoveSaysWhoComesAndWhoGoes) {
  Move(nodes[1], spare);
  const v1::Move move = DescribeMove(scene.topic("orders"), partition(), nullptr);
  EXPECT_THAT(move.to_node_ids(), ElementsAre(spare.value()));
  EXPECT_THAT(move.from_node_ids(), ElementsAre(nodes[1].value()));
  EXPECT_EQ(move.reason(), v1::MOVE_REASON_REQUESTED);
  EXPECT_EQ(move.stage(), v1::MOVE_STAGE_UNSPECIFIED);
  EXPECT_THAT(move.stalled(), HasSubstr("leader"));
  EXPECT_EQ(move.remaining_ms(), -1);
  EXPECT_GT(move.start_time_ms(), 0);
}

TEST_F(MoveViewTest, ALearnerHasItsShareOfTheLog) {
  Move(nodes[1], spare);
  const v1::Move begun = Describe(GroupText(partition()).Entries(11, 30).Bytes(2000).Voters(partition().movement->settled));
  EXPECT_EQ(begun.stage(), v1::MOVE_STAGE_DECIDED);
  EXPECT_EQ(begun.bytes_total(), 2000);
  EXPECT_EQ(begun.bytes_left(), 2000);
  EXPECT_EQ(begun.percent(), 0);
  const v1::Move half = Describe(
      GroupText(partition()).Entries(11, 30).Bytes(2000).Voters(partition().movement->settled).Learner(partition().WantedOn(spare), 20));
  EXPECT_EQ(half.stage(), v1::MOVE_STAGE_COPYING);
  EXPECT_EQ(half.bytes_left(), 1000);
  EXPECT_EQ(half.percent(), 50);
}

TEST_F(MoveViewTest, WhatTheLearnerLacksBecauseItWasTrimmedIsNotCopied) {
  Move(nodes[1], spare);
  const v1::Move move = Describe(
      GroupText(partition()).Entries(1001, 1010).Bytes(500).Voters(partition().movement->settled).Learner(partition().WantedOn(spare), 0));
  EXPECT_EQ(move.bytes_left(), 500);
}

TEST_F(MoveViewTest, AHundredPercentIsForWhatIsCopied) {
  Move(nodes[1], spare);
  const auto group = [&](uint64_t match) {
    return GroupText(partition())
        .Entries(1, 100'000)
        .Bytes(1 << 30)
        .Voters(partition().movement->settled)
        .Learner(partition().WantedOn(spare), match, true);
  };
  EXPECT_EQ(Describe(group(99'999)).stage(), v1::MOVE_STAGE_COPYING) << "what is missing may be large";
  EXPECT_EQ(Describe(group(99'999)).percent(), 99);
  EXPECT_EQ(Describe(group(100'000)).stage(), v1::MOVE_STAGE_SWITCHING);
  EXPECT_EQ(Describe(group(100'000)).percent(), 100);
}

TEST_F(MoveViewTest, TheLastStagesFollowTheConfiguration) {
  Move(nodes[1], spare);
  const std::vector<ReplicaId> wanted = partition().replicas;
  const auto stage = [&](const GroupText& group) { return Describe(group).stage(); };
  EXPECT_EQ(stage(GroupText(partition()).Entries(1, 9).Voters(wanted).Changing()), v1::MOVE_STAGE_SWITCHING);
  EXPECT_EQ(stage(GroupText(partition()).Entries(1, 9).Voters(wanted).Voter(partition().movement->leaving[0])), v1::MOVE_STAGE_SWITCHING);
  EXPECT_EQ(stage(GroupText(partition()).Entries(1, 9).Voters(wanted)), v1::MOVE_STAGE_FINISHING);
}

TEST_F(MoveViewTest, AnEmptyLogTakesNothing) {
  Move(nodes[1], spare);
  const v1::Move move =
      Describe(GroupText(partition()).Entries(1, 0).Bytes(0).Voters(partition().movement->settled).Learner(partition().WantedOn(spare), 0));
  EXPECT_EQ(move.bytes_left(), 0);
  EXPECT_EQ(move.stage(), v1::MOVE_STAGE_SWITCHING);
}

TEST_F(MoveViewTest, HowFarItIsIsKnownBeforeHowLargeItIs) {
  Move(nodes[1], spare);
  const v1::Move move = Describe(
      GroupText(partition()).Entries(1, 100).Bytes(0).Voters(partition().movement->settled).Learner(partition().WantedOn(spare), 25));
  EXPECT_EQ(move.percent(), 25);
  EXPECT_EQ(move.bytes_total(), 0);
}

TEST_F(MoveViewTest, ARebuildComesAndGoesOnTheSameNode) {
  const ReplicaId old = partition().ReplicaOn(nodes[2]);
  ASSERT_TRUE(scene.Do(DecideRebuild({.topic = {.name = "orders"}, .node = nodes[2]}, scene.image(), scene.Draw())).ok());
  const v1::Move move = Describe(GroupText(partition()).Entries(1, 10).Bytes(1000).Voters(Staying()).Voter(old, false));
  EXPECT_THAT(move.to_node_ids(), ElementsAre(nodes[2].value()));
  EXPECT_THAT(move.from_node_ids(), ElementsAre(nodes[2].value()));
  EXPECT_EQ(move.reason(), v1::MOVE_REASON_REBUILD);
  EXPECT_EQ(move.stage(), v1::MOVE_STAGE_DECIDED) << "its former life is no member that is wanted";
  EXPECT_EQ(move.bytes_left(), 1000);
}

TEST_F(MoveViewTest, AWayBackBringsNothing) {
  Move(nodes[1], spare);
  ASSERT_TRUE(scene.Do(DecideMoveCancellation({.topic = {.name = "orders"}}, scene.image(), scene.Draw())).ok());
  const v1::Move move =
      Describe(GroupText(partition()).Entries(1, 10).Bytes(1000).Voters(partition().replicas).Learner(partition().ReplicaOn(spare), 5));
  EXPECT_THAT(move.to_node_ids(), IsEmpty());
  EXPECT_THAT(move.from_node_ids(), ElementsAre(spare.value()));
  EXPECT_EQ(move.reason(), v1::MOVE_REASON_CANCELLED);
  EXPECT_EQ(move.bytes_total(), 0);
}

TEST_F(MoveViewTest, APartitionOnTheMoveShowsAllItsReplicas) {
  Move(nodes[1], spare);
  const v1::Partition described = DescribePartition(partition(), LeaderTable());
  EXPECT_TRUE(described.moving());
  ASSERT_EQ(described.replicas_size(), 4);
  for (const v1::Replica& replica : described.replicas()) {
    const NodeId node{static_cast<uint64_t>(replica.node_id())};
    EXPECT_EQ(replica.leaving(), node == nodes[1]);
    EXPECT_EQ(replica.role(), node == spare ? v1::REPLICA_ROLE_LEARNER : v1::REPLICA_ROLE_VOTER);
  }
  EXPECT_TRUE(described.replicas().rbegin()->leaving()) << "those that go come last";
}

}  // namespace
}  // namespace flotilla::broker
