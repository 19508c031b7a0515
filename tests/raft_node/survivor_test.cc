// One replica of a group whose majority is lost for good goes on alone (raft/core/survivor.h).
#include "raft/core/survivor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft_node/host_cluster.h"

namespace flotilla::raft {
namespace {

constexpr uint64_t kNextLife = 7;

ReplicaId Replica(uint64_t node, uint64_t incarnation = 1) { return {NodeId{node}, incarnation}; }

class SurvivorTest : public testing::Test {
 protected:
  // Nodes 1 to 3 are the group; node 4 has nothing.
  SurvivorTest() {
    cluster_.node(4).machines[kGroup] = nullptr;
    for (uint64_t id : {1, 2, 3}) CHECK(cluster_.Create(id, kGroup, HostCluster::VotersOf({1, 2, 3}), 1, id == 1).ok());
    cluster_.Settle();
    CHECK_EQ(cluster_.WaitForLeader(), 1u);
  }

  // Node 3 hears of nothing more; what the others write then is acknowledged without it.
  void LeaveBehind(const std::vector<std::string>& payloads) {
    cluster_.Isolate(3);
    cluster_.ProposeAll(1, payloads);
  }
  void LoseTheOthers() {
    cluster_.Kill(1);
    cluster_.Kill(2);
  }
  Status GoOnAlone(uint64_t incarnation = kNextLife) {
    TestNode& node = cluster_.node(3);
    const Status begun = node.host->GoOnAlone(kGroup, Replica(3, incarnation), node.answers);
    cluster_.Settle();
    return begun;
  }

  HostCluster cluster_{4};
};

TEST_F(SurvivorTest, ItLeadsAloneWithWhatItHas) {
  cluster_.ProposeAll(1, {"a", "b"});
  LeaveBehind({"lost"});
  LoseTheOthers();
  const Term before = cluster_.core(3).term();
  ASSERT_TRUE(GoOnAlone().ok());
  ASSERT_TRUE(cluster_.node(3).answers.groups.at(kGroup).ok());
  EXPECT_EQ(cluster_.host(3).Find(kGroup), nullptr);  // for its user to open
  ASSERT_TRUE(cluster_.Open(3).ok());
  EXPECT_EQ(cluster_.WaitForLeader(), 3u);
  EXPECT_EQ(ToString(cluster_.core(3).configuration()), "voters 3.7");
  EXPECT_GT(cluster_.core(3).term(), before + kSurvivorTermGap);
  cluster_.ProposeAll(3, {"c"});
  EXPECT_THAT(cluster_.machine(3).payloads, testing::ElementsAre("a", "b", "c"));
}

TEST_F(SurvivorTest, WhatWasOnlyInItsLogIsCommittedNow) {
  cluster_.Isolate(3);
  cluster_.ProposeAll(1, {"a"});
  cluster_.Heal();
  cluster_.Ticks(100);
  ASSERT_EQ(cluster_.core(3).log().last(), cluster_.core(1).log().last());
  // A leader that reaches nobody: what it appends may or may not have been written anywhere else.
  const uint64_t leader = cluster_.LeaderOf();
  cluster_.Isolate(leader);
  const uint64_t token = cluster_.Propose(leader, "uncertain");
  cluster_.Settle();
  EXPECT_EQ(cluster_.ProposalReason(leader, token), "waiting");
  TestNode& node = cluster_.node(leader);
  ASSERT_TRUE(node.host->GoOnAlone(kGroup, Replica(leader, kNextLife), node.answers).ok());
  cluster_.Settle();
  EXPECT_EQ(cluster_.ProposalReason(leader, token), "OUTCOME_UNKNOWN");
  ASSERT_TRUE(cluster_.Open(leader).ok());
  cluster_.Ticks(200);
  EXPECT_THAT(cluster_.machine(leader).payloads, testing::ElementsAre("a", "uncertain"));
}

// They are another group by now: what they say is for replicas that do not exist any more.
TEST_F(SurvivorTest, ThoseThatComeBackDoNotDisturbIt) {
  cluster_.ProposeAll(1, {"a"});
  LeaveBehind({"lost"});
  LoseTheOthers();
  ASSERT_TRUE(GoOnAlone().ok());
  ASSERT_TRUE(cluster_.Open(3).ok());
  ASSERT_EQ(cluster_.WaitForLeader(), 3u);
  const Term term = cluster_.core(3).term();
  cluster_.Heal();
  cluster_.Restart(1);
  cluster_.Ticks(300);
  cluster_.Restart(2);
  cluster_.Ticks(300);
  EXPECT_EQ(cluster_.core(3).role(), Role::kLeader);
  EXPECT_EQ(cluster_.core(3).term(), term);
  EXPECT_THAT(cluster_.machine(3).payloads, testing::ElementsAre("a"));
}

TEST_F(SurvivorTest, NewReplicasJoinIt) {
  cluster_.ProposeAll(1, {"a"});
  LoseTheOthers();
  ASSERT_TRUE(GoOnAlone().ok());
  ASSERT_TRUE(cluster_.Open(3).ok());
  ASSERT_EQ(cluster_.WaitForLeader(), 3u);
  ASSERT_TRUE(cluster_.Create(4, kGroup, Configuration{}, 8).ok());
  cluster_.Settle();
  ASSERT_TRUE(cluster_.host(3).ProposeChange(kGroup, {.add_learners = {Replica(4, 8)}}, 900, cluster_.node(3).answers).ok());
  cluster_.Ticks(20);
  ASSERT_TRUE(cluster_.host(3).ProposeChange(kGroup, {.promote = {Replica(4, 8)}}, 901, cluster_.node(3).answers).ok());
  cluster_.Ticks(20);
  EXPECT_EQ(ToString(cluster_.core(4).configuration()), "voters 3.7,4.8");
  cluster_.ProposeAll(3, {"b"});
  cluster_.Ticks(20);
  EXPECT_THAT(cluster_.machine(4).payloads, testing::ElementsAre("a", "b"));
}

// The power goes before the write, or after it: it is what it was, or it goes on alone.
TEST_F(SurvivorTest, APowerCutLeavesTheOldOrTheNew) {
  cluster_.ProposeAll(1, {"a"});
  LoseTheOthers();
  TestNode& node = cluster_.node(3);
  node.hold_disk = true;
  ASSERT_TRUE(node.host->GoOnAlone(kGroup, Replica(3, kNextLife), node.answers).ok());
  cluster_.Settle();
  node.hold_disk = false;
  cluster_.Restart(3);
  EXPECT_EQ(cluster_.core(3).self(), Replica(3));
  EXPECT_EQ(ToString(cluster_.core(3).configuration()), "voters 1.1,2.1,3.1");
  ASSERT_TRUE(GoOnAlone().ok());
  cluster_.Restart(3);
  EXPECT_EQ(cluster_.core(3).self(), Replica(3, kNextLife));
  cluster_.Ticks(200);
  EXPECT_EQ(cluster_.core(3).role(), Role::kLeader);
}

TEST_F(SurvivorTest, WritesOnTheirWayAreWaitedFor) {
  cluster_.Kill(2);
  cluster_.Kill(3);
  TestNode& node = cluster_.node(1);
  node.hold_disk = true;
  cluster_.Propose(1, "on its way");
  cluster_.Settle();
  EXPECT_EQ(node.host->GoOnAlone(kGroup, Replica(1, kNextLife), node.answers).reason(), Reason::kGroupExists);
  node.hold_disk = false;
  cluster_.Settle();
  ASSERT_TRUE(node.host->GoOnAlone(kGroup, Replica(1, kNextLife), node.answers).ok());
  cluster_.Settle();
  ASSERT_TRUE(cluster_.Open(1).ok());
  cluster_.Ticks(200);
  EXPECT_THAT(cluster_.machine(1).payloads, testing::ElementsAre("on its way"));
}

TEST_F(SurvivorTest, OnlyALaterLifeOfWhatIsHere) {
  LoseTheOthers();
  TestNode& node = cluster_.node(3);
  EXPECT_EQ(node.host->GoOnAlone(GroupId{99}, Replica(3, kNextLife), node.answers).reason(), Reason::kGroupNotFound);
  EXPECT_EQ(node.host->GoOnAlone(kGroup, Replica(3, 1), node.answers).reason(), Reason::kInvalidArgument);
  EXPECT_EQ(node.host->GoOnAlone(kGroup, Replica(2, kNextLife), node.answers).reason(), Reason::kInvalidArgument);
  EXPECT_TRUE(cluster_.Open(3).ok());
  EXPECT_EQ(cluster_.core(3).self(), Replica(3));
}

}  // namespace
}  // namespace flotilla::raft
