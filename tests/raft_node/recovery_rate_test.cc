// Learners are brought up to date at a rate; nobody else waits for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft_node/host_cluster.h"

namespace flotilla::raft {
namespace {

constexpr uint64_t kTickBytes = 100'000;

ReplicaId Replica(uint64_t node, uint64_t incarnation = 1) { return {NodeId{node}, incarnation}; }

// Small messages, and nothing of the log in memory: whoever is behind is read for from the store.
HostOptions FromTheStore() {
  HostOptions options;
  options.core.tail_bytes_max = 0;
  options.core.append_bytes_max = 20'000;
  options.core.inflight_bytes_max = 60'000;
  return options;
}

class RecoveryRateTest : public testing::Test {
 protected:
  RecoveryRateTest() {
    cluster_.node(4).machines[kGroup] = nullptr;
    for (uint64_t id : {1, 2, 3}) CHECK(cluster_.Create(id, kGroup, HostCluster::VotersOf({1, 2, 3}), 1, id == 1).ok());
    cluster_.Settle();
    CHECK_EQ(cluster_.WaitForLeader(), 1u);
  }

  // 10 KB each.
  void Fill(uint64_t entries, GroupId group = kGroup) {
    for (uint64_t i = 0; i < entries; ++i) cluster_.Propose(1, std::string(10'000, 'x'), group), cluster_.Settle();
  }
  // Node 4 begins to learn.
  void AddLearner(GroupId group = kGroup) {
    CHECK(cluster_.Create(4, group, Configuration{}).ok());
    cluster_.Settle();
    CHECK(cluster_.host(1).ProposeChange(group, {.add_learners = {Replica(4)}}, ++token_, cluster_.node(1).answers).ok());
    cluster_.Settle();
  }
  uint64_t Learned(GroupId group = kGroup) { return cluster_.core(4, group).log().last().value(); }
  uint64_t Last(GroupId group = kGroup) { return cluster_.core(1, group).log().last().value(); }

  HostCluster cluster_{4, FromTheStore(), {.tail_bytes = 0}};
  uint64_t token_ = 1'000'000;
};

TEST_F(RecoveryRateTest, WithoutARateALearnerHasEverythingAtOnce) {
  Fill(200);
  AddLearner();
  cluster_.Ticks(3);
  EXPECT_EQ(Learned(), Last());
}

TEST_F(RecoveryRateTest, ALearnerGetsWhatTheRateAllows) {
  Fill(200);
  for (uint64_t id : {1, 2, 3}) cluster_.host(id).SetRecoveryRate(kTickBytes);
  AddLearner();
  const uint64_t begin = Learned();
  cluster_.Ticks(10);
  // A million bytes are 99 entries; one tick's credit and one fetch more or less.
  EXPECT_GT(Learned() - begin, 80u);
  EXPECT_LT(Learned() - begin, 115u);
  EXPECT_GT(cluster_.host(1).counters().recoveries_waiting, 0u);
  cluster_.Ticks(15);
  EXPECT_EQ(Learned(), Last());
  EXPECT_EQ(cluster_.host(1).counters().recoveries_waiting, 0u);
}

TEST_F(RecoveryRateTest, ARateThatIsRaisedHoldsAtOnce) {
  Fill(200);
  cluster_.host(1).SetRecoveryRate(1000);
  AddLearner();
  cluster_.Ticks(20);
  EXPECT_LT(Learned(), 20u);
  cluster_.host(1).SetRecoveryRate(0);
  cluster_.Ticks(3);
  EXPECT_EQ(Learned(), Last());
}

TEST_F(RecoveryRateTest, AVoterThatIsBehindDoesNotWait) {
  cluster_.host(1).SetRecoveryRate(1000);
  cluster_.Isolate(3);
  Fill(100);
  cluster_.Heal();
  cluster_.Ticks(20);
  EXPECT_EQ(cluster_.core(3).log().last().value(), Last());
}

TEST_F(RecoveryRateTest, WritesDoNotWaitForALearner) {
  Fill(100);
  cluster_.host(1).SetRecoveryRate(1000);
  AddLearner();
  const uint64_t token = cluster_.Propose(1, "urgent");
  cluster_.Settle();
  EXPECT_EQ(cluster_.ProposalReason(1, token), "OK");
  EXPECT_LT(Learned(), Last());
}

TEST_F(RecoveryRateTest, GroupsShareTheRateEvenly) {
  const GroupId other{8};
  for (uint64_t id : {1, 2, 3}) ASSERT_TRUE(cluster_.Create(id, other, HostCluster::VotersOf({1, 2, 3}), 1, id == 1).ok());
  cluster_.Settle();
  ASSERT_EQ(cluster_.WaitForLeader(other), 1u);
  Fill(200);
  Fill(200, other);
  cluster_.host(1).SetRecoveryRate(kTickBytes);
  AddLearner();
  AddLearner(other);
  cluster_.Ticks(20);
  const double share = static_cast<double>(Learned(kGroup)) / static_cast<double>(Learned(kGroup) + Learned(other));
  EXPECT_GT(share, 0.4);
  EXPECT_LT(share, 0.6);
}

TEST_F(RecoveryRateTest, ALearnerThatIsPromotedWaitsNoMore) {
  Fill(200);
  cluster_.host(1).SetRecoveryRate(1000);
  AddLearner();
  cluster_.Ticks(2);
  ASSERT_GT(cluster_.host(1).counters().recoveries_waiting, 0u);
  ASSERT_TRUE(cluster_.host(1).ProposeChange(kGroup, {.promote = {Replica(4)}}, ++token_, cluster_.node(1).answers).ok());
  cluster_.Ticks(5);
  EXPECT_EQ(Learned(), Last());
}

TEST_F(RecoveryRateTest, AGroupThatIsClosedWhileItsLearnerWaitsLeavesNothingBehind) {
  Fill(100);
  cluster_.host(1).SetRecoveryRate(1000);
  AddLearner();
  ASSERT_GT(cluster_.host(1).counters().recoveries_waiting, 0u);
  cluster_.host(1).CloseGroup(kGroup);
  cluster_.Ticks(2);
  EXPECT_EQ(cluster_.host(1).counters().recoveries_waiting, 0u);
}

TEST(RecoveryExemptTest, AnExemptGroupIsNotHeldBack) {
  HostOptions options = FromTheStore();
  options.recovery_exempt = {kGroup};
  HostCluster cluster(2, options, {.tail_bytes = 0});
  ASSERT_TRUE(cluster.Create(1, kGroup, HostCluster::VotersOf({1}), 1, true).ok());
  cluster.WaitForLeader();
  for (int i = 0; i < 100; ++i) cluster.Propose(1, std::string(10'000, 'x')), cluster.Settle();
  cluster.host(1).SetRecoveryRate(1000);
  ASSERT_TRUE(cluster.Create(2, kGroup, Configuration{}).ok());
  cluster.Settle();
  ASSERT_TRUE(cluster.host(1).ProposeChange(kGroup, {.add_learners = {Replica(2)}}, 5000, cluster.node(1).answers).ok());
  cluster.Settle();
  EXPECT_EQ(cluster.core(2).log().last(), cluster.core(1).log().last());
}

}  // namespace
}  // namespace flotilla::raft
