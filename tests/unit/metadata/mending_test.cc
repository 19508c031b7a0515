// What becomes of moves with a replica that is damaged.
#include "server/metadata/mending.h"

#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

class MendingTest : public ::testing::Test {
 protected:
  // Five nodes; "orders/0" is on 1, 2 and 3, "one/0" on 1 alone.
  MendingTest() {
    scene_.Found({.nodes = 1});
    scene_.Create("one", {.partitions = 1, .replication_factor = 1});
    scene_.Join(2);
    scene_.Join(3);
    scene_.Create("orders", {.partitions = 1, .replication_factor = 3});
    scene_.Place("orders", 0, {1, 2, 3});
    scene_.Join(4);
    scene_.Join(5);
  }
  const Partition& orders() const { return scene_.partition("orders", 0); }
  const Partition& one() const { return scene_.partition("one", 0); }

  // The replica that is on the node now finds damage.
  void Damage(const Partition& partition, uint64_t node) { damaged_.insert({partition.group, partition.ReplicaOn(NodeId{node})}); }
  // A second passes; how many records there were.
  size_t Mend(int64_t after_ms = 60'000) {
    scene_.now_ms += after_ms;
    std::vector<Record> records = PlanMending(scene_.image(), damaged_, {.now_ms = scene_.now_ms});
    const size_t count = records.size();
    if (count != 0) scene_.Replay(std::move(records));
    return count;
  }
  void Cancel() {
    ASSERT_TRUE(scene_.Do(DecideMoveCancellation({.topic = {.name = "orders"}, .partition = 0}, scene_.image(), scene_.Draw())).ok());
  }
  void Rebuild(uint64_t node) {
    ASSERT_TRUE(
        scene_.Do(DecideRebuild({.topic = {.name = "orders"}, .partition = 0, .node = NodeId{node}}, scene_.image(), scene_.Draw())).ok());
  }

  Scene scene_;
  std::set<DamagedReplica> damaged_;
};

TEST_F(MendingTest, ANewReplicaThatIsDamagedIsBuiltAnew) {
  scene_.Move("orders", 0, 3, 4);
  ASSERT_EQ(Told(orders()), "1,2,4.1 leader 1 leaving 3 was 1,2,3 requested");
  Damage(orders(), 4);
  EXPECT_EQ(Mend(), 1u);
  EXPECT_EQ(Told(orders()), "1,2,4.2 leader 1 leaving 3 was 1,2,3 requested");
  EXPECT_EQ(Mend(), 0u);  // the report is about the earlier life
  Damage(orders(), 4);
  EXPECT_EQ(Mend(), 1u);
  EXPECT_EQ(Told(orders()), "1,2,4.3 leader 1 leaving 3 was 1,2,3 requested");
}

TEST_F(MendingTest, SoIsOneThatIsRebuiltAlready) {
  Rebuild(3);
  Damage(orders(), 3);
  EXPECT_EQ(Mend(), 1u);
  EXPECT_EQ(Told(orders()), "1,2,3.2 leader 1 was 1,2,3 rebuild");
}

TEST_F(MendingTest, SoIsOneThatIsToComeBack) {
  scene_.Move("orders", 0, 3, 4);
  Cancel();
  Damage(orders(), 3);
  EXPECT_EQ(Mend(), 1u);
  EXPECT_EQ(Told(orders()), "1,2,3.2 leader 1 leaving 4.1 was 1,2,3 cancelled");
}

// It does not hold up the move, which could not go on if its node died before it is built anew.
TEST_F(MendingTest, OneThatVotesSinceBeforeTheMoveWaits) {
  scene_.Move("orders", 0, 3, 4);
  Damage(orders(), 2);
  EXPECT_EQ(Mend(), 0u);
}

TEST_F(MendingTest, OfThoseThatHadItAllAMajorityStays) {
  scene_.Move("orders", 0, 3, 4);
  Cancel();
  Damage(orders(), 3);
  EXPECT_EQ(Mend(), 1u);
  EXPECT_EQ(Told(orders()), "1,2,3.2 leader 1 leaving 4.1 was 1,2,3 cancelled");
  Damage(orders(), 2);
  EXPECT_EQ(Mend(), 0u);  // of those that had it all only 1 would be left
}

TEST_F(MendingTest, NotTwiceWithinAMoment) {
  scene_.Move("orders", 0, 3, 4);
  Damage(orders(), 4);
  EXPECT_EQ(Mend(9'999), 0u);
  EXPECT_EQ(Mend(1), 1u);
  Damage(orders(), 4);
  EXPECT_EQ(Mend(9'999), 0u);
  EXPECT_EQ(Mend(-20'000), 1u);  // a leader whose clock is behind
}

TEST_F(MendingTest, WithoutASoundMajorityTheMoveIsCalledOff) {
  scene_.Move("orders", 0, 3, 4);
  Damage(orders(), 4);
  scene_.SetAlive(2, false);
  EXPECT_EQ(Mend(), 1u);
  EXPECT_EQ(Told(orders()), "1,2,3 leader 1 leaving 4.1 was 1,2,3 cancelled");
}

TEST_F(MendingTest, ADamagedOneIsNoPartOfAMajority) {
  scene_.Move("orders", 0, 3, 4);
  Damage(orders(), 2);
  Damage(orders(), 4);
  EXPECT_EQ(Mend(), 1u);  // 1 alone is sound
  EXPECT_EQ(Told(orders()), "1,2,3 leader 1 leaving 4.1 was 1,2,3 cancelled");
}

// It may be the one that votes: nothing of it is deleted before the group is settled without it.
TEST_F(MendingTest, AnOnlyReplicaIsNeverReplacedByAnEmptyOne) {
  scene_.Move("one", 0, 1, 4);
  Damage(one(), 4);
  EXPECT_EQ(Mend(), 1u);
  EXPECT_EQ(Told(one()), "1 leader 1 leaving 4.1 was 1 cancelled");
  EXPECT_EQ(Mend(), 0u);
}

TEST_F(MendingTest, WhereThereIsNoWayBackNothingIsDone) {
  Rebuild(3);
  Damage(orders(), 3);
  scene_.SetAlive(2, false);
  EXPECT_EQ(Mend(), 0u);
  EXPECT_EQ(Told(orders()), "1,2,3.1 leader 1 was 1,2,3 rebuild");
}

TEST_F(MendingTest, WhatDoesNotMoveWaitsForSomebodyToAsk) {
  Damage(orders(), 3);
  EXPECT_EQ(Mend(), 0u);
  scene_.Move("one", 0, 1, 4);
  EXPECT_EQ(Mend(), 0u);
}

TEST_F(MendingTest, WhatLeavesGoesWithItsDamage) {
  scene_.Move("orders", 0, 3, 4);
  Damage(orders(), 3);
  EXPECT_EQ(Mend(), 0u);
}

TEST_F(MendingTest, AllAtOnce) {
  scene_.Move("orders", 0, 3, 4);
  scene_.Move("one", 0, 1, 5);
  Damage(orders(), 4);
  Damage(one(), 5);
  EXPECT_EQ(Mend(), 2u);
  EXPECT_EQ(Told(orders()), "1,2,4.2 leader 1 leaving 3 was 1,2,3 requested");
  EXPECT_EQ(Told(one()), "1 leader 1 leaving 5.1 was 1 cancelled");
}

}  // namespace
}  // namespace flotilla::metadata
