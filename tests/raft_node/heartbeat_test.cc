// Scenes of the heartbeats between nodes: what they cost, and that nobody is taken for alive who is not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft_node/host_cluster.h"

namespace flotilla::raft {
namespace {

constexpr Tick kHeartbeat = 3;

class HeartbeatTest : public testing::Test {
 protected:
  void SetUp() override {
    cluster.CreateEverywhere();
    cluster.WaitForLeader();
    cluster.Ticks(20);
    term = cluster.core(1).term();
  }
  // Whether node 1 leads still, in the same term.
  bool LeadsStill() { return cluster.LeaderOf() == 1 && cluster.core(1).term() == term; }

  HostCluster cluster{3};
  Term term;
};

TEST_F(HeartbeatTest, LightOnesKeepALeaderForHours) {
  const HostCounters before = cluster.host(1).counters();
  cluster.Ticks(3000);
  const HostCounters after = cluster.host(1).counters();
  EXPECT_TRUE(LeadsStill());
  EXPECT_EQ(after.heartbeats_light - before.heartbeats_light, 2 * 3000 / kHeartbeat);
  EXPECT_EQ(after.heartbeats_full, before.heartbeats_full);
  EXPECT_EQ(after.heartbeat_rows, before.heartbeat_rows);
  EXPECT_EQ(after.messages_sent, before.messages_sent);
}

TEST_F(HeartbeatTest, OneMessagePerPairOfNodesForAllGroups) {
  for (uint64_t group = 100; group < 150; ++group) cluster.CreateEverywhere(GroupId{group});
  cluster.Ticks(40);
  EXPECT_EQ(cluster.host(1).counters().groups_led, 51u);
  const HostCounters before = cluster.host(1).counters();
  cluster.Ticks(300);
  const HostCounters after = cluster.host(1).counters();
  EXPECT_EQ(after.heartbeats_light - before.heartbeats_light, 2 * 300 / kHeartbeat);
  EXPECT_EQ(after.heartbeat_rows, before.heartbeat_rows);
}

TEST_F(HeartbeatTest, ACommitReachesFollowersWithTheNextOne) {
  cluster.ProposeAll(1, {"a"});
  EXPECT_TRUE(cluster.machine(2).payloads.empty());
  cluster.Ticks(kHeartbeat);
  EXPECT_THAT(cluster.machine(2).payloads, testing::ElementsAre("a"));
}

TEST_F(HeartbeatTest, ACommitWhoseHeartbeatWasLostReachesFollowersWithTheOneAfter) {
  cluster.ProposeAll(1, {"a"});
  cluster.CutOneWay(1, 2);
  cluster.Ticks(kHeartbeat);
  cluster.Heal();
  EXPECT_TRUE(cluster.machine(2).payloads.empty());
  cluster.Ticks(kHeartbeat);
  EXPECT_THAT(cluster.machine(2).payloads, testing::ElementsAre("a"));
}

TEST_F(HeartbeatTest, AFollowerThatAcknowledgesLateIsToldOfTheCommitNevertheless) {
  cluster.node(3).hold_disk = true;
  cluster.ProposeAll(1, {"a"});
  cluster.Ticks(kHeartbeat * 2);
  EXPECT_TRUE(cluster.machine(3).payloads.empty());
  cluster.node(3).hold_disk = false;
  cluster.Ticks(kHeartbeat * 2);
  EXPECT_THAT(cluster.machine(3).payloads, testing::ElementsAre("a"));
}

TEST_F(HeartbeatTest, ANodeWithoutTheGroupDoesNotCountAsAlive) {
  // Both followers run, answer heartbeats for other groups, and have closed this one.
  cluster.CreateEverywhere(GroupId{8});
  cluster.Ticks(10);
  cluster.host(2).CloseGroup(kGroup);
  cluster.host(3).CloseGroup(kGroup);
  cluster.Ticks(25);
  EXPECT_EQ(cluster.core(1).role(), Role::kFollower);
  EXPECT_EQ(cluster.core(1, GroupId{8}).role(), Role::kLeader);
}

TEST_F(HeartbeatTest, AGroupThatOpensLaterIsAliveAgain) {
  cluster.host(2).CloseGroup(kGroup);
  cluster.Ticks(10);
  ASSERT_TRUE(cluster.Open(2).ok());
  cluster.Ticks(10);
  // Now it is the one that makes the quorum.
  cluster.host(3).CloseGroup(kGroup);
  cluster.Ticks(200);
  EXPECT_TRUE(LeadsStill());
  EXPECT_EQ(cluster.core(2).leader(), cluster.core(1).self());
}

TEST_F(HeartbeatTest, AFaultyReplicaDoesNotCountAsAlive) {
  cluster.node(2).disk.FailSync();
  cluster.node(3).disk.FailSync();
  cluster.ProposeAll(1, {"a"});
  ASSERT_FALSE(cluster.core(2).fault().ok());
  ASSERT_FALSE(cluster.core(3).fault().ok());
  cluster.Ticks(25);
  EXPECT_EQ(cluster.core(1).role(), Role::kFollower);
}

TEST_F(HeartbeatTest, AFollowerIsNotKeptQuietByALeaderThatLostItsGroup) {
  cluster.CreateEverywhere(GroupId{8});
  cluster.Ticks(10);
  // Node 1 lives and leads the other group, but closed this one.
  cluster.host(1).CloseGroup(kGroup);
  cluster.Ticks(45);
  const uint64_t leader = cluster.LeaderOf();
  EXPECT_TRUE(leader == 2 || leader == 3) << leader;
  EXPECT_EQ(cluster.LeaderOf(GroupId{8}), 1u);
}

TEST_F(HeartbeatTest, ALostFifthOfAllBundlesChangesNothing) {
  Random random(1);
  cluster.filter = [&](Channel, PeerMessage&) { return !random.OneIn(5); };
  cluster.Ticks(2000);
  EXPECT_TRUE(LeadsStill());
}

TEST_F(HeartbeatTest, RepeatedAndLateOnesAreHarmless) {
  std::deque<HostCluster::Sent> copies;
  cluster.filter = [&](Channel channel, PeerMessage& message) {
    copies.push_back({channel, message});
    return true;
  };
  cluster.ProposeAll(1, {"a"});
  cluster.Ticks(100);
  cluster.filter = nullptr;
  // Everything of the last five seconds once more, newest first.
  for (auto copy = copies.rbegin(); copy != copies.rend(); ++copy) cluster.network.push_back(*copy);
  cluster.Ticks(30);
  EXPECT_TRUE(LeadsStill());
  EXPECT_THAT(cluster.machine(2).payloads, testing::ElementsAre("a"));
}

TEST_F(HeartbeatTest, RepeatsOfADeadLeadersHeartbeatsDoNotDelayTheElection) {
  std::deque<HostCluster::Sent> copies;
  cluster.filter = [&](Channel channel, PeerMessage& message) {
    if (message.from == NodeId{1} && message.heartbeat) copies.push_back({channel, message});
    return true;
  };
  cluster.Ticks(30);
  cluster.filter = nullptr;
  cluster.Kill(1);
  for (int i = 0; i < 45 && cluster.LeaderOf() == 0; ++i) {
    for (const HostCluster::Sent& copy : copies) cluster.network.push_back(copy);
    cluster.Ticks(1);
  }
  EXPECT_NE(cluster.LeaderOf(), 0u);
}

TEST_F(HeartbeatTest, RepeatsOfDeadFollowersAnswersDoNotKeepALeader) {
  std::deque<HostCluster::Sent> copies;
  cluster.filter = [&](Channel channel, PeerMessage& message) {
    if (message.to == NodeId{1} && message.heartbeat_reply) copies.push_back({channel, message});
    return true;
  };
  cluster.Ticks(30);
  cluster.filter = nullptr;
  cluster.Kill(2);
  cluster.Kill(3);
  for (int i = 0; i < 45; ++i) {
    for (const HostCluster::Sent& copy : copies) cluster.network.push_back(copy);
    cluster.Ticks(1);
  }
  EXPECT_EQ(cluster.core(1).role(), Role::kFollower);
}

TEST_F(HeartbeatTest, AFollowerThatRestartsLearnsTheSetAnew) {
  cluster.Restart(2);
  cluster.Ticks(10);
  const HostCounters before = cluster.host(1).counters();
  EXPECT_GT(before.heartbeats_full, 2u);
  cluster.Kill(3);  // now node 2 makes the quorum
  cluster.Ticks(200);
  EXPECT_TRUE(LeadsStill());
}

TEST_F(HeartbeatTest, ADeadNodeCostsAQuestionPerIntervalHoweverManyGroupsItShares) {
  for (uint64_t group = 100; group < 150; ++group) cluster.CreateEverywhere(GroupId{group});
  cluster.Ticks(20);
  cluster.Kill(3);
  for (uint64_t group = 100; group < 150; ++group) cluster.ProposeAll(1, {"a"}, GroupId{group});
  cluster.Ticks(30);
  const HostCounters before = cluster.host(1).counters();
  cluster.Ticks(300);
  EXPECT_EQ(cluster.host(1).counters().heartbeat_rows, before.heartbeat_rows);
  // What it missed waits for it.
  cluster.Boot(3);
  for (const GroupId& group : cluster.node(3).store->Groups()) ASSERT_TRUE(cluster.Open(3, group).ok());
  cluster.Ticks(30);
  for (uint64_t group = 100; group < 150; ++group) {
    EXPECT_THAT(cluster.machine(3, GroupId{group}).payloads, testing::ElementsAre("a")) << group;
  }
}

TEST_F(HeartbeatTest, AReplicaInAPreVoteComesBackToItsLeader) {
  // It misses heartbeats long enough to ask for votes, the others refuse, and then it hears again.
  cluster.CutOneWay(1, 2);
  cluster.Ticks(45);
  EXPECT_TRUE(LeadsStill());
  cluster.Heal();
  cluster.Ticks(10);
  EXPECT_EQ(cluster.core(2).role(), Role::kFollower);
  EXPECT_EQ(cluster.core(2).leader(), cluster.core(1).self());
  cluster.Kill(3);
  cluster.Ticks(100);
  EXPECT_TRUE(LeadsStill());
}

TEST(HeartbeatCostTest, AThousandIdleGroupsWakeAsSeldomAsTheirElectionTimeouts) {
  HostCluster cluster(3);
  constexpr uint64_t kGroups = 1000;
  for (uint64_t group = 1; group <= kGroups; ++group) cluster.CreateEverywhere(GroupId{group}, {}, group % 3 + 1);
  cluster.Ticks(60);
  const HostCounters before = cluster.host(1).counters();
  cluster.Ticks(600);
  const HostCounters after = cluster.host(1).counters();
  EXPECT_NEAR(static_cast<double>(after.groups_led), kGroups / 3.0, 1);
  EXPECT_EQ(after.messages_sent, before.messages_sent);
  EXPECT_EQ(after.heartbeat_rows, before.heartbeat_rows);
  // A leader looks at its quorum every 20 ticks, a follower at its leader every 20 to 40.
  EXPECT_LE(after.groups_woken_by_timer - before.groups_woken_by_timer, kGroups * 600 / 20);
}

TEST(HeartbeatCostTest, ElectionsAfterTheDeathOfANodeAreSpreadOut) {
  HostCluster cluster(3);
  constexpr uint64_t kGroups = 300;
  for (uint64_t group = 1; group <= kGroups; ++group) cluster.CreateEverywhere(GroupId{group}, {}, 1);
  cluster.Ticks(60);
  ASSERT_EQ(cluster.host(1).counters().groups_led, kGroups);
  cluster.Kill(1);
  uint64_t led = 0;
  uint64_t most_in_a_tick = 0;
  uint64_t led_within_an_election_timeout = 0;
  for (int tick = 0; tick < 200 && led < kGroups; ++tick) {
    cluster.Ticks(1);
    if (tick == 45) led_within_an_election_timeout = led;
    const uint64_t now = cluster.host(2).counters().groups_led + cluster.host(3).counters().groups_led;
    most_in_a_tick = std::max(most_in_a_tick, now - std::min(now, led));
    led = now;
  }
  EXPECT_EQ(led, kGroups);
  EXPECT_GE(led_within_an_election_timeout, kGroups * 8 / 10);  // the others split their votes and try again
  EXPECT_LE(most_in_a_tick, kGroups / 5);
}

TEST(HeartbeatCostTest, CampaignsOfATickAreLimited) {
  HostOptions options;
  options.campaigns_per_tick_max = 2;
  HostCluster cluster(3, options);
  constexpr uint64_t kGroups = 60;
  for (uint64_t group = 1; group <= kGroups; ++group) cluster.CreateEverywhere(GroupId{group}, {}, 1);
  cluster.Ticks(60);
  cluster.Kill(1);
  uint64_t led = 0;
  for (int i = 0; i < 300; ++i) {
    cluster.Ticks(1);
    const uint64_t now = cluster.host(2).counters().groups_led + cluster.host(3).counters().groups_led;
    EXPECT_LE(now, led + 4) << "tick " << i;
    led = now;
  }
  EXPECT_EQ(led, kGroups);
}

}  // namespace
}  // namespace flotilla::raft
