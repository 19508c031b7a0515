// Scenes of the way to the disk: order, refusals, failures, rows, and groups that close with work under way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft_node/host_cluster.h"

namespace flotilla::raft {
namespace {

using testing::ElementsAre;

TEST(HostStorageTest, NothingIsAcknowledgedBeforeItIsDurable) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.node(2).hold_disk = true;
  cluster.node(3).hold_disk = true;
  const uint64_t token = cluster.Propose(1, "a");
  cluster.Settle();
  EXPECT_EQ(cluster.ProposalReason(1, token), "waiting");
  cluster.node(2).hold_disk = false;
  cluster.Settle();
  EXPECT_EQ(cluster.ProposalReason(1, token), "OK");
}

TEST(HostStorageTest, AppendsLeaveWhileTheOwnDiskStillWrites) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.node(1).hold_disk = true;
  const uint64_t token = cluster.Propose(1, "a");
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).commit(), LogIndex{2});
  // Applied is committed and durable here.
  EXPECT_EQ(cluster.ProposalReason(1, token), "waiting");
  cluster.node(1).hold_disk = false;
  cluster.Settle();
  EXPECT_EQ(cluster.ProposalReason(1, token), "OK");
}

TEST(HostStorageTest, TasksThatAFullQueueRefusedAreWrittenInOrder) {
  HostCluster cluster(1);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.node(1).watched->refuse_overloaded = 3;
  const uint64_t first = cluster.Propose(1, "a");
  cluster.Settle();
  const uint64_t second = cluster.Propose(1, "b");
  cluster.Settle();
  EXPECT_EQ(cluster.ProposalReason(1, first), "waiting");
  cluster.Ticks(1);
  EXPECT_EQ(cluster.ProposalReason(1, second), "waiting");
  cluster.Ticks(1);
  EXPECT_EQ(cluster.ProposalReason(1, first), "OK");
  EXPECT_EQ(cluster.ProposalReason(1, second), "OK");
  EXPECT_THAT(cluster.machine(1).payloads, ElementsAre("a", "b"));
}

TEST(HostStorageTest, AFullDiskRefusesDataAndThenGoesOn) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.node(1).disk.SetFreeBytes(0);
  const uint64_t found_out = cluster.Propose(1, "a");
  cluster.Settle();
  const uint64_t refused = cluster.Propose(1, "b");
  EXPECT_EQ(cluster.ProposalReason(1, refused), "DISK_FULL");
  cluster.Ticks(100);
  EXPECT_EQ(cluster.LeaderOf(), 1u);  // votes and heartbeats go on
  EXPECT_TRUE(cluster.core(1).fault().ok());
  cluster.node(1).disk.SetFreeBytes(uint64_t{1} << 40);
  cluster.Ticks(25);
  EXPECT_EQ(cluster.ProposalReason(1, found_out), "OK");
  cluster.ProposeAll(1, {"c"});
  EXPECT_THAT(cluster.machine(1).payloads, ElementsAre("a", "c"));
}

TEST(HostStorageTest, AFailedSyncStopsEveryGroupOfTheNode) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.CreateEverywhere(GroupId{8});
  cluster.WaitForLeader();
  cluster.WaitForLeader(GroupId{8});
  cluster.node(1).disk.FailSync();
  const uint64_t token = cluster.Propose(1, "a");
  const uint64_t read = cluster.Read(1, GroupId{8});
  cluster.node(1).hold_disk = false;
  cluster.Settle();
  EXPECT_EQ(cluster.ProposalReason(1, token), "OUTCOME_UNKNOWN");
  EXPECT_NE(cluster.ReadReason(1, read), "waiting");
  ASSERT_TRUE(cluster.machine(1).fault.has_value());
  EXPECT_EQ(cluster.machine(1).fault->reason(), Reason::kStorageFailed);
  ASSERT_TRUE(cluster.machine(1, GroupId{8}).fault.has_value());
  EXPECT_EQ(cluster.ProposalReason(1, cluster.Propose(1, "b")), "STORAGE_FAILED");
  // The others go on without it.
  cluster.Ticks(60);
  EXPECT_TRUE(cluster.LeaderOf() == 2 || cluster.LeaderOf() == 3);
}

TEST(HostStorageTest, ADamagedEntryStopsTheReplicaThatNeedsIt) {
  HostOptions options;
  options.core.tail_bytes_max = 0;
  HostCluster cluster(3, options, {.tail_bytes = 0});
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.Isolate(3);
  cluster.ProposeAll(1, {"a", "b", "c"});
  ASSERT_TRUE(cluster.node(1).disk.FlipBit(kGroup, LogIndex{3}, 5));
  cluster.Heal();
  cluster.Ticks(20);
  ASSERT_TRUE(cluster.machine(1).fault.has_value());
  EXPECT_EQ(cluster.machine(1).fault->reason(), Reason::kDataLoss);
  cluster.Ticks(60);
  EXPECT_EQ(cluster.LeaderOf(), 2u);  // the only one left that has it all
}

TEST(HostStorageTest, AGroupClosesWithWorkUnderWayAndOpensAgain) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.node(1).hold_disk = true;
  const uint64_t token = cluster.Propose(1, "a");
  const uint64_t read = cluster.Read(1);
  cluster.hold_network = true;
  cluster.Settle();
  cluster.host(1).CloseGroup(kGroup);
  EXPECT_EQ(cluster.ProposalReason(1, token), "OUTCOME_UNKNOWN");
  EXPECT_EQ(cluster.ReadReason(1, read), "CANCELLED");
  EXPECT_EQ(cluster.host(1).Find(kGroup), nullptr);
  // What it had given to the writer may still change its log.
  EXPECT_EQ(cluster.Open(1).reason(), Reason::kGroupExists);
  cluster.node(1).hold_disk = false;
  cluster.hold_network = false;
  cluster.Settle();
  ASSERT_TRUE(cluster.Open(1).ok());
  cluster.Ticks(60);
  for (uint64_t id : {1, 2, 3}) EXPECT_THAT(cluster.machine(id).payloads, ElementsAre("a")) << id;
}

TEST(HostStorageTest, AMachineMayCloseItsGroupFromACallback) {
  // The sink closes the group as soon as it is answered.
  struct ClosingSink final : ProposalSink {
    RaftHost* host = nullptr;
    int answers = 0;
    void OnProposal(uint64_t, const Status&, const storage::EntryHeader&) override {
      ++answers;
      host->CloseGroup(kGroup);
    }
  } sink;
  HostCluster cluster(1);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  sink.host = &cluster.host(1);
  const std::vector<Proposal> one = {{.record_count = 1, .payload = Bytes::Static("x")}};
  ASSERT_TRUE(cluster.host(1).Propose(kGroup, one, 1, sink).ok());
  ASSERT_TRUE(cluster.host(1).Propose(kGroup, one, 2, sink).ok());
  cluster.Settle();
  EXPECT_EQ(sink.answers, 2);
  EXPECT_EQ(cluster.host(1).Find(kGroup), nullptr);
  cluster.Ticks(5);
}

TEST(HostStorageTest, AGroupThatIsClosedWhileItIsMadeDoesNotOpen) {
  HostCluster cluster(1);
  ASSERT_TRUE(cluster.Create(1, kGroup, HostCluster::VotersOf({1})).ok());
  cluster.host(1).CloseGroup(kGroup);
  cluster.Settle();
  EXPECT_EQ(cluster.host(1).Find(kGroup), nullptr);
  EXPECT_TRUE(cluster.node(1).answers.groups.empty());
  ASSERT_TRUE(cluster.Open(1).ok());  // but it was made
  EXPECT_EQ(cluster.WaitForLeader(), 1u);
}

TEST(HostStorageTest, RowsRideWithTheNextEntries) {
  HostCluster cluster(1);
  cluster.CreateEverywhere(kGroup, {.rows = true});
  cluster.WaitForLeader();
  cluster.node(1).watched->keep_tasks = true;
  cluster.ProposeAll(1, {"a", "b"});
  const std::vector<storage::WriteTask>& tasks = cluster.node(1).watched->tasks;
  ASSERT_EQ(tasks.size(), 2u);  // no write of their own
  EXPECT_EQ(tasks[1].state.size(), 1u);
}

TEST(HostStorageTest, RowsOfAnIdleGroupAreWrittenAfterAWhile) {
  HostOptions options;
  options.rows_delay_ticks = 5;
  HostCluster cluster(1, options);
  cluster.CreateEverywhere(kGroup, {.rows = true});
  cluster.WaitForLeader();
  cluster.ProposeAll(1, {"a"});
  cluster.Ticks(6);
  cluster.Restart(1);
  EXPECT_THAT(cluster.machine(1).payloads, ElementsAre("a"));
  EXPECT_EQ(cluster.machine(1).applied, LogIndex{2});
}

TEST(HostStorageTest, RowsThatWereLostComeAgain) {
  HostCluster cluster(1);
  cluster.CreateEverywhere(kGroup, {.rows = true});
  cluster.WaitForLeader();
  cluster.ProposeAll(1, {"a", "b", "c"});
  cluster.Restart(1);  // before the rows of "c" were written
  cluster.WaitForLeader();
  EXPECT_THAT(cluster.machine(1).payloads, ElementsAre("a", "b", "c"));
}

TEST(HostStorageTest, RefusedRowsKeepTheirOrder) {
  HostOptions options;
  options.rows_delay_ticks = 2;
  HostCluster cluster(1, options);
  cluster.CreateEverywhere(kGroup, {.rows = true});
  cluster.WaitForLeader();
  cluster.ProposeAll(1, {"a"});
  cluster.node(1).disk.SetFreeBytes(0);
  cluster.Ticks(5);
  cluster.node(1).disk.SetFreeBytes(uint64_t{1} << 40);
  cluster.node(1).watched->keep_tasks = true;
  cluster.ProposeAll(1, {"b"});
  cluster.Ticks(30);
  std::vector<std::string> rows;
  for (const storage::WriteTask& task : cluster.node(1).watched->tasks) {
    for (const storage::StateWrite& row : task.state) rows.emplace_back(row.value.view());
  }
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end())) << testing::PrintToString(rows);
  ASSERT_FALSE(rows.empty());
  EXPECT_EQ(rows.front(), "2\na");
  EXPECT_EQ(rows.back(), "3\na\nb");
}

TEST(HostStorageTest, AVoteIsNotRefusedOnAccountOfRows) {
  HostCluster cluster(3);
  cluster.CreateEverywhere(kGroup, {.rows = true});
  cluster.WaitForLeader();
  cluster.ProposeAll(1, {"a"});
  for (uint64_t id : {1, 2, 3}) cluster.node(id).disk.SetFreeBytes(0);
  cluster.Kill(1);
  cluster.Ticks(100);
  EXPECT_NE(cluster.LeaderOf(), 0u);
}

TEST(HostStorageTest, AFullDiskIsNoReasonNotToCutTheLog) {
  HostCluster cluster(1);
  cluster.CreateEverywhere(kGroup, {.chunk_bytes = limits::kSnapshotChunkBytes});
  cluster.WaitForLeader();
  cluster.ProposeAll(1, {"a", "b"});
  cluster.node(1).disk.SetFreeBytes(0);
  ASSERT_TRUE(cluster.host(1).TakeSnapshot(kGroup).ok());
  cluster.Ticks(20);
  EXPECT_EQ(cluster.core(1).log().first(), cluster.core(1).applied() + 1);
  EXPECT_TRUE(cluster.core(1).fault().ok());
}

TEST(HostStorageTest, WorkThatIsPostedOutlivesItsHost) {
  HostCluster cluster(3);
  cluster.CreateEverywhere();
  cluster.WaitForLeader();
  cluster.Propose(1, "a");
  EXPECT_GT(cluster.node(1).executor.size(), 0u);
  cluster.Kill(1);  // runs what was posted
  EXPECT_EQ(cluster.node(1).executor.size(), 0u);
}

}  // namespace
}  // namespace flotilla::raft
