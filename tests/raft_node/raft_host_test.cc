// Scenes of whole hosts: elections, proposals, reads, membership.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft_node/host_cluster.h"

namespace flotilla::raft {
namespace {

using testing::ElementsAre;

ReplicaId Replica(uint64_t node, uint64_t incarnation = 1) { return {NodeId{node}, incarnation}; }

TEST(RaftHostTest, TheAppointedReplicaLeadsAndAProposalIsAppliedEverywhere) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  EXPECT_EQ(cluster.WaitForLeader(), 1u);
  const uint64_t token = cluster.Propose(1, "a");
  cluster.Settle();
  EXPECT_EQ(cluster.ProposalReason(1, token), "OK");
  cluster.Ticks(3);  // one heartbeat
  for (uint64_t id : {1, 2, 3}) EXPECT_THAT(cluster.machine(id).payloads, ElementsAre("a")) << "node " << id;
}

TEST(RaftHostTest, ASingleReplicaLeadsItself) {
  HostCluster cluster(1);
  cluster.CreateEverywhere();
  EXPECT_EQ(cluster.WaitForLeader(), 1u);
  cluster.ProposeAll(1, {"a", "b"});
  EXPECT_THAT(cluster.machine(1).payloads, ElementsAre("a", "b"));
}

TEST(RaftHostTest, AnotherLeaderIsElectedWhenTheLeaderDies) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.ProposeAll(1, {"a", "b"});
  cluster.Kill(1);
  const uint64_t leader = cluster.WaitForLeader();
  EXPECT_NE(leader, 1u);
  cluster.ProposeAll(leader, {"c"});
  EXPECT_THAT(cluster.machine(leader).payloads, ElementsAre("a", "b", "c"));
}

TEST(RaftHostTest, WhatWasAppliedIsThereAfterARestart) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.ProposeAll(1, {"a", "b"});
  for (uint64_t id : {1, 2, 3}) cluster.Restart(id);
  cluster.WaitForLeader();
  cluster.Ticks(3);
  for (uint64_t id : {1, 2, 3}) EXPECT_THAT(cluster.machine(id).payloads, ElementsAre("a", "b")) << "node " << id;
}

TEST(RaftHostTest, ASpanOfProposalsIsAnsweredOnceByItsLastEntry) {
  HostCluster cluster(1);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  const std::vector<Proposal> three(3, {.record_count = 2, .payload = Bytes::Static("x")});
  const Result<LogIndex> first = cluster.host(1).Propose(kGroup, three, 99, cluster.node(1).answers);
  ASSERT_TRUE(first.ok());
  cluster.Settle();
  const storage::EntryHeader& header = cluster.node(1).answers.proposals.at(99).header;
  EXPECT_EQ(header.index, *first + 2);
  EXPECT_EQ(header.base_offset, Offset{4});
}

TEST(RaftHostTest, AFollowerRefusesProposalsAndNamesTheLeader) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  const uint64_t token = cluster.Propose(2, "a");
  EXPECT_EQ(cluster.ProposalReason(2, token), "NOT_LEADER");
  EXPECT_EQ(cluster.node(2).answers.proposals.at(token).status.Detail("leader"), "1.1");
}

TEST(RaftHostTest, AProposalThatAnotherLeaderOverwroteWasCertainlyNotApplied) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.Isolate(1);
  const uint64_t overwritten = cluster.Propose(1, "lost");
  const uint64_t behind_it = cluster.Propose(1, "lost too");
  cluster.Settle();
  const uint64_t leader = [&] {
    cluster.Ticks(45);
    return cluster.LeaderOf();
  }();
  ASSERT_NE(leader, 1u);
  EXPECT_EQ(cluster.ProposalReason(1, overwritten), "waiting");
  cluster.Heal();
  cluster.Ticks(20);
  // The new leader's no-op stands where the first one was; the second one cannot come behind it.
  EXPECT_EQ(cluster.ProposalReason(1, overwritten), "NOT_LEADER");
  EXPECT_EQ(cluster.ProposalReason(1, behind_it), "NOT_LEADER");
}

TEST(RaftHostTest, AReadOnAFollowerSeesWhatWasCommittedBeforeIt) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.ProposeAll(1, {"a"});
  ASSERT_THAT(cluster.machine(3).payloads, ElementsAre());  // not told yet that it is committed
  const uint64_t token = cluster.Read(3);
  cluster.Settle();
  // The round of the read told it.
  EXPECT_EQ(cluster.ReadReason(3, token), "OK");
  EXPECT_THAT(cluster.machine(3).payloads, ElementsAre("a"));
}

TEST(RaftHostTest, AReadOnTheLeaderNeedsNoTick) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  const uint64_t token = cluster.Read(1);
  cluster.Settle();
  EXPECT_EQ(cluster.ReadReason(1, token), "OK");
}

TEST(RaftHostTest, AReadOnALeaderThatLostItsQuorumIsRefused) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.Isolate(1);
  const uint64_t token = cluster.Read(1);
  cluster.Settle();
  EXPECT_EQ(cluster.ReadReason(1, token), "waiting");
  cluster.Ticks(45);
  EXPECT_EQ(cluster.ReadReason(1, token), "NOT_LEADER");
}

TEST(RaftHostTest, LeadershipIsHandedOverWithoutATimeout) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  ASSERT_TRUE(cluster.host(1).TransferLeadership(kGroup, Replica(3)).ok());
  cluster.Settle();
  EXPECT_EQ(cluster.LeaderOf(), 3u);
  EXPECT_EQ(cluster.host(1).counters().groups_led, 0u);
  EXPECT_EQ(cluster.host(3).counters().groups_led, 1u);
}

TEST(RaftHostTest, TheMachineIsToldWhoLeadsAndWhenItSurelyDoes) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  const std::vector<StateMachine::Leadership>& told = cluster.machine(1).leaderships;
  ASSERT_GE(told.size(), 2u);
  EXPECT_EQ(told.back().role, Role::kLeader);
  EXPECT_TRUE(told.back().surely);
  EXPECT_FALSE(told[told.size() - 2].surely);
  EXPECT_EQ(cluster.machine(2).leaderships.back().leader, Replica(1));
  EXPECT_EQ(cluster.machine(2).configurations.back(), HostCluster::VotersOf({1, 2, 3}));
}

TEST(RaftHostTest, ALearnerIsAddedCaughtUpAndPromoted) {
  HostCluster cluster(4);
  for (uint64_t id : {1, 2, 3}) ASSERT_TRUE(cluster.Create(id, kGroup, HostCluster::VotersOf({1, 2, 3}), 1, id == 1).ok());
  ASSERT_TRUE(cluster.Create(4, kGroup, {}).ok());
  cluster.WaitForLeader();
  cluster.ProposeAll(1, {"a", "b"});
  ASSERT_TRUE(cluster.host(1).ProposeChange(kGroup, {.add_learners = {Replica(4)}}, 1000, cluster.node(1).answers).ok());
  cluster.Settle();
  EXPECT_EQ(cluster.ProposalReason(1, 1000), "OK");
  cluster.Ticks(3);
  EXPECT_THAT(cluster.machine(4).payloads, ElementsAre("a", "b"));
  ASSERT_TRUE(cluster.host(1).ProposeChange(kGroup, {.promote = {Replica(4)}}, 1001, cluster.node(1).answers).ok());
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).configuration(), HostCluster::VotersOf({1, 2, 3, 4}));
}

TEST(RaftHostTest, AGroupIsDestroyedAndComesBackAsAnotherReplica) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.ProposeAll(1, {"a"});
  ASSERT_TRUE(cluster.host(3).DestroyGroup(kGroup, cluster.node(3).answers).ok());
  // Not before it is gone from the disk.
  EXPECT_EQ(cluster.Create(3, kGroup, {}, 2).reason(), Reason::kGroupExists);
  cluster.Settle();
  EXPECT_TRUE(cluster.node(3).answers.groups.at(kGroup).ok());
  EXPECT_TRUE(cluster.node(3).store->Groups().empty());

  cluster.node(3).machines.clear();
  ASSERT_TRUE(cluster.Create(3, kGroup, {}, 2).ok());
  cluster.Settle();
  cluster.Ticks(40);
  // Its former life is not mistaken for it.
  EXPECT_THAT(cluster.machine(3).payloads, ElementsAre());
  ASSERT_TRUE(
      cluster.host(1).ProposeChange(kGroup, {.add_learners = {Replica(3, 2)}, .remove = {Replica(3)}}, 1000, cluster.node(1).answers).ok());
  cluster.Settle();
  cluster.Ticks(3);
  EXPECT_THAT(cluster.machine(3).payloads, ElementsAre("a"));
}

TEST(RaftHostTest, TheNamesOfGroupsAreChecked) {
  HostCluster cluster(1);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  EXPECT_EQ(cluster.Create(1, kGroup, {}).reason(), Reason::kGroupExists);
  TestMachine machine;
  EXPECT_EQ(cluster.host(1).OpenGroup(kGroup, machine).reason(), Reason::kGroupExists);
  EXPECT_EQ(cluster.host(1).OpenGroup(GroupId{99}, machine).reason(), Reason::kGroupNotFound);
  EXPECT_EQ(cluster.host(1).DestroyGroup(GroupId{99}, cluster.node(1).answers).reason(), Reason::kGroupNotFound);
  EXPECT_EQ(cluster.host(1).TakeSnapshot(GroupId{99}).reason(), Reason::kGroupNotFound);
  EXPECT_EQ(cluster.host(1).Counters(GroupId{99}).status().reason(), Reason::kGroupNotFound);
}

TEST(RaftHostTest, TheCountersOfAGroupTellWhereItsFollowersAre) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.Isolate(3);
  cluster.ProposeAll(1, {"a", "b"});
  const Result<GroupCounters> counters = cluster.host(1).Counters(kGroup);
  ASSERT_TRUE(counters.ok());
  ASSERT_EQ(counters->core.replicas.size(), 2u);
  EXPECT_EQ(counters->core.replicas[0].lag, 0u);
  EXPECT_EQ(counters->core.replicas[1].lag, 2u);
  EXPECT_EQ(counters->proposals_waiting, 0u);
}

TEST(RaftHostTest, ABacklogIsAppliedInSlices) {
  HostOptions options;
  options.apply_bytes_per_turn = 300;
  HostCluster cluster(1, options);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  for (const char* payload : {"a", "b", "c", "d", "e", "f", "g", "h"}) cluster.Propose(1, payload);
  cluster.Settle();
  EXPECT_THAT(cluster.machine(1).payloads, ElementsAre("a", "b", "c", "d", "e", "f", "g", "h"));
  EXPECT_EQ(cluster.machine(1).largest_slice, 3u);  // of 97 bytes each
}

}  // namespace
}  // namespace flotilla::raft
