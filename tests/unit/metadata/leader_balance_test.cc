// Leaderships go home, and away from nodes that are not to lead.
#include "server/metadata/leader_balance.h"

#include <cstdlib>
#include <map>
#include <set>

#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// --- home

class LeaderBalanceTest : public ::testing::Test {
 protected:
  LeaderBalanceTest() {
    scene_.Found({.nodes = 3});
    scene_.Create("orders", {.partitions = 6});
  }
  // What node 1 leads: all that was not handed over. Everybody has caught up but `lagging`.
  std::vector<LedGroup> Led(const std::set<uint64_t>& lagging) const {
    std::vector<LedGroup> led;
    scene_.image().groups.ForEach([&](GroupId group, const PartitionKey&) {
      if (handed_over_.contains(group)) return;
      LedGroup row{.group = group, .caught_up = {}};
      for (const ReplicaId& replica : scene_.image().FindPartition(group)->Existing()) {
        if (!lagging.contains(replica.node.value())) row.caught_up.push_back(replica);
      }
      led.push_back(row);
    });
    return led;
  }
  // What node 1 does at `tick`.
  std::string At(raft::Tick tick, const std::set<uint64_t>& lagging = {}) {
    const std::vector<LeaderTransfer> transfers = balancer_.Next(scene_.image(), Led(lagging), {.now = tick});
    if (transfers.empty()) return "-";
    last_ = transfers.front().group;
    return std::to_string(last_.value()) + " to " + ToString(transfers.front().to);
  }
  NodeId HomeOf(GroupId group) { return scene_.image().FindPartition(group)->preferred_leader; }

  Scene scene_;
  LeaderBalancer balancer_{NodeId{1}, {.settle_ticks = 100, .pause_ticks = 5, .transfer_ticks = 20, .mute_ticks = 1000}};
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

TEST_F(LeaderBalanceTest, ANodeThatIsFitAgainGetsItsOwnBackInItsTurn) {
  At(0);
  scene_.SetUnfit(2, true);
  scene_.SetUnfit(3, true);
  EXPECT_EQ(At(100), "-");
  EXPECT_EQ(At(1000), "-");
  scene_.SetUnfit(2, false);
  EXPECT_EQ(At(1050), "-");
  EXPECT_EQ(At(1149), "-");
  ASSERT_NE(At(1150), "-");
  EXPECT_EQ(HomeOf(last_), NodeId{2});
  handed_over_.insert(last_);
  EXPECT_EQ(At(1151), "-");
  EXPECT_EQ(At(1155), "-");
  ASSERT_NE(At(1156), "-");
  EXPECT_EQ(HomeOf(last_), NodeId{2});
}

TEST_F(LeaderBalanceTest, NobodyGetsALeadershipThatIsNotInUse) {
  At(0);
  scene_.SetMode(2, NodeMode::kDraining);
  scene_.SetMode(3, NodeMode::kDraining);
  EXPECT_EQ(At(100), "-");
  scene_.SetMode(2, NodeMode::kActive);
  EXPECT_NE(At(101), "-");
  EXPECT_EQ(HomeOf(last_), NodeId{2});
}

// --- away

class LeaderAwayTest : public LeaderBalanceTest {
 protected:
  LeaderAwayTest() { scene_.Create("many", {.partitions = 24}); }

  // What goes where at once; each arrives.
  std::vector<LeaderTransfer> Away(raft::Tick tick, bool unfit = false, const std::set<uint64_t>& lagging = {}) {
    const std::vector<LeaderTransfer> transfers = balancer_.Next(scene_.image(), Led(lagging), {.now = tick, .unfit = unfit});
    for (const LeaderTransfer& transfer : transfers) {
      EXPECT_TRUE(handed_over_.insert(transfer.group).second) << "twice: group " << transfer.group;
      ++got_[transfer.to.node.value()];
    }
    return transfers;
  }
  std::map<uint64_t, int> got_;
};

TEST_F(LeaderAwayTest, ADrainedNodeHandsOverEverythingAtOnceAndEvenly) {
  scene_.SetMode(1, NodeMode::kDraining);
  EXPECT_THAT(Away(0), SizeIs(8));  // nobody waits for anybody to settle
  EXPECT_THAT(Away(1), SizeIs(8));
  EXPECT_THAT(Away(2), SizeIs(8));
  EXPECT_THAT(Away(3), SizeIs(6));
  EXPECT_THAT(Away(4), IsEmpty());
  EXPECT_EQ(got_[2] + got_[3], 30);
  EXPECT_LE(std::abs(got_[2] - got_[3]), 2);
}

TEST_F(LeaderAwayTest, SoDoesOneThatGoesOrIsNotFit) {
  scene_.Join(4);
  scene_.SetMode(1, NodeMode::kDecommissioning);
  EXPECT_THAT(Away(0), SizeIs(8));
  scene_.SetMode(1, NodeMode::kActive);
  EXPECT_THAT(Away(1), IsEmpty());
  EXPECT_THAT(Away(2, true), SizeIs(8));
}

TEST_F(LeaderAwayTest, NothingGoesToANodeThatIsNotFitEither) {
  scene_.SetUnfit(2, true);
  for (const LeaderTransfer& transfer : Away(0, true)) EXPECT_EQ(transfer.to.node, NodeId{3});
  EXPECT_EQ(got_[3], 8);
}

TEST_F(LeaderAwayTest, WhenNobodyIsFitEverybodyKeepsWhatItLeads) {
  scene_.SetUnfit(1, true);
  scene_.SetUnfit(2, true);
  scene_.SetUnfit(3, true);
  for (raft::Tick tick = 0; tick < 300; ++tick) ASSERT_THAT(Away(tick, true), IsEmpty());
}

TEST_F(LeaderAwayTest, WhatShouldBeLedElsewhereGoesHome) {
  scene_.SetMode(1, NodeMode::kDraining);
  for (raft::Tick tick = 0; tick < 10; ++tick) {
    for (const LeaderTransfer& transfer : Away(tick)) {
      if (HomeOf(transfer.group) != NodeId{1}) {
        EXPECT_EQ(transfer.to.node, HomeOf(transfer.group));
      }
    }
  }
  EXPECT_EQ(handed_over_.size(), 30u);
}

TEST_F(LeaderAwayTest, OnlyToReplicasThatCaughtUpAndStayOnNodesInUse) {
  scene_.SetMode(1, NodeMode::kDraining);
  EXPECT_THAT(Away(0, false, {2, 3}), IsEmpty());
  scene_.SetMode(2, NodeMode::kDraining);
  EXPECT_THAT(Away(1, false, {3}), IsEmpty());
  for (const LeaderTransfer& transfer : Away(2)) EXPECT_EQ(transfer.to.node, NodeId{3});
}

TEST_F(LeaderAwayTest, NotToAReplicaThatLeaves) {
  scene_.Join(4);
  scene_.Create("moving", {.partitions = 1, .replication_factor = 3});
  scene_.Place("moving", 0, {1, 2, 3});
  scene_.Move("moving", 0, 2, 4);
  const GroupId group = scene_.partition("moving", 0).group;
  scene_.SetMode(1, NodeMode::kDraining);
  const LedGroup led{.group = group, .caught_up = scene_.partition("moving", 0).movement->settled};
  EXPECT_THAT(balancer_.Next(scene_.image(), std::span(&led, 1), {.now = 0}),
              ElementsAre(LeaderTransfer{group, scene_.partition("moving", 0).WantedOn(NodeId{3})}));
}

TEST_F(LeaderAwayTest, NoGroupIsSentTwiceAtOnceAndAFailureGoesElsewhere) {
  scene_.SetMode(1, NodeMode::kDraining);
  const std::vector<LedGroup> all = Led({});
  const std::span<const LedGroup> led = std::span(all).first(1);
  const auto at = [&](raft::Tick tick) { return balancer_.Next(scene_.image(), led, {.now = tick}); };
  const std::vector<LeaderTransfer> first = at(0);
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_THAT(at(19), IsEmpty());
  EXPECT_THAT(at(20), IsEmpty());  // failed, and left alone
  EXPECT_THAT(at(119), IsEmpty());
  const std::vector<LeaderTransfer> second = at(120);
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_NE(second[0].to, first[0].to);
}

TEST_F(LeaderAwayTest, BackInUseItKeepsWhatItShouldLead) {
  At(0);
  scene_.SetMode(1, NodeMode::kDraining);
  Away(50);
  scene_.SetMode(1, NodeMode::kActive);
  for (raft::Tick tick = 100; tick < 600; ++tick) {
    for (const LeaderTransfer& transfer : Away(tick)) EXPECT_NE(HomeOf(transfer.group), NodeId{1});
  }
  for (const LedGroup& row : Led({})) EXPECT_EQ(HomeOf(row.group), NodeId{1});
}

}  // namespace
}  // namespace flotilla::metadata
