// Scenes of whole hosts: elections, proposals, reads, membership, failures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft_node/host_cluster.h"

namespace flotilla::raft {
namespace {

using testing::ElementsAre;

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

TEST(RaftHostTest, LightHeartbeatsKeepALeaderForHours) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.Ticks(20);
  const Term term = cluster.core(1).term();
  const HostCounters before = cluster.host(1).counters();
  cluster.Ticks(3000);
  const HostCounters after = cluster.host(1).counters();
  EXPECT_EQ(cluster.LeaderOf(), 1u);
  EXPECT_EQ(cluster.core(1).term(), term);
  EXPECT_EQ(after.heartbeats_light - before.heartbeats_light, 2000u);
  EXPECT_EQ(after.heartbeats_full, before.heartbeats_full);
  EXPECT_EQ(after.heartbeat_rows, before.heartbeat_rows);
  EXPECT_EQ(after.messages_sent, before.messages_sent);
}

}  // namespace
}  // namespace flotilla::raft
