// Scenes of how soon a group has a leader: replicas that begin late, and a leader's node whose connections break.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft_node/host_cluster.h"

namespace flotilla::raft {
namespace {

constexpr uint64_t kGroups = 40;

class LeaderLostTest : public testing::Test {
 protected:
  void SetUp() override {
    for (uint64_t group = 1; group <= kGroups; ++group) cluster.CreateEverywhere(GroupId{group});
    cluster.Ticks(20);
    ASSERT_EQ(cluster.host(1).counters().groups_led, kGroups);
  }
  uint64_t LedBy(uint64_t node) { return cluster.host(node).counters().groups_led; }
  uint64_t ElectionsAt(uint64_t node) {
    uint64_t sum = 0;
    for (uint64_t group = 1; group <= kGroups; ++group) sum += cluster.core(node, GroupId{group}).status().elections_started;
    return sum;
  }

  HostCluster cluster{3};
};

TEST_F(LeaderLostTest, AllGroupsOfADeadNodeAreLedAnewWithinTenTicks) {
  cluster.Kill(1);
  cluster.host(2).PeerUnreachable(NodeId{1});
  cluster.host(3).PeerUnreachable(NodeId{1});
  cluster.Ticks(10);
  EXPECT_EQ(LedBy(2) + LedBy(3), kGroups);
  EXPECT_GE(LedBy(2), kGroups / 4);
  EXPECT_GE(LedBy(3), kGroups / 4);
}

TEST_F(LeaderLostTest, ASecondConnectionThatBreaksDoesNotPutItOff) {
  cluster.Kill(1);
  for (int tick = 0; tick < 10; ++tick) {
    cluster.host(2).PeerUnreachable(NodeId{1});
    cluster.host(3).PeerUnreachable(NodeId{1});
    cluster.Ticks(1);
  }
  EXPECT_EQ(LedBy(2) + LedBy(3), kGroups);
}

TEST_F(LeaderLostTest, OneBrokenLinkUnseatsNobody) {
  const Term term = cluster.core(1, GroupId{1}).term();
  cluster.Cut(1, 3);
  cluster.host(3).PeerUnreachable(NodeId{1});
  cluster.host(1).PeerUnreachable(NodeId{3});
  cluster.Ticks(18);
  EXPECT_EQ(LedBy(1), kGroups);
  EXPECT_GE(ElectionsAt(3), kGroups);
  EXPECT_EQ(cluster.core(2, GroupId{1}).term(), term);
  EXPECT_EQ(cluster.core(3, GroupId{1}).term(), term);
  cluster.Heal();
  cluster.Ticks(20);
  EXPECT_EQ(LedBy(1), kGroups);
  EXPECT_EQ(cluster.core(3, GroupId{1}).leader().node, NodeId{1});
  EXPECT_EQ(cluster.core(3, GroupId{1}).term(), term);
}

TEST_F(LeaderLostTest, ANodeThatLeadsNothingIsMissedByNobody) {
  cluster.host(2).PeerUnreachable(NodeId{3});
  cluster.host(3).PeerUnreachable(NodeId{2});
  cluster.Ticks(30);
  EXPECT_EQ(LedBy(1), kGroups);
  EXPECT_EQ(ElectionsAt(2) + ElectionsAt(3), 0u);
}

TEST_F(LeaderLostTest, AHeartbeatInTimeEndsTheAlarmOfIdleGroups) {
  cluster.Ticks(cluster.options.core.heartbeat_ticks - cluster.host(1).now() % cluster.options.core.heartbeat_ticks);
  cluster.Ticks(cluster.options.core.heartbeat_ticks - 1);  // the next tick brings one
  cluster.host(2).PeerUnreachable(NodeId{1});
  cluster.host(3).PeerUnreachable(NodeId{1});
  cluster.Ticks(30);
  EXPECT_EQ(LedBy(1), kGroups);
  EXPECT_EQ(ElectionsAt(2) + ElectionsAt(3), 0u);
}

TEST(NewGroupTest, ReplicasThatBeginLateElectTheAppointedOneSoon) {
  HostCluster cluster(3);
  const Configuration voters = HostCluster::VotersOf({1, 2, 3});
  ASSERT_TRUE(cluster.Create(1, kGroup, voters, 1, true).ok());
  cluster.Ticks(1);
  ASSERT_EQ(cluster.core(1).role(), Role::kPreCandidate);
  ASSERT_TRUE(cluster.Create(2, kGroup, voters).ok());
  ASSERT_TRUE(cluster.Create(3, kGroup, voters).ok());
  cluster.Ticks(3);
  EXPECT_EQ(cluster.LeaderOf(), 1u);
  EXPECT_EQ(cluster.core(1).status().elections_started, 1u);
}

}  // namespace
}  // namespace flotilla::raft
