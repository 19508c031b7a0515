// Scenes of snapshots: taken, cut behind, sent in chunks, resumed, refused, and what is left over after a crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft_node/host_cluster.h"

namespace flotilla::raft {
namespace {

using testing::ElementsAre;

HostOptions SmallOptions() {
  HostOptions options;
  options.core.tail_bytes_max = 0;
  options.keep_entries_for_followers = 4;
  options.snapshot_timeout_ticks = 60;
  options.snapshot_chunks_inflight_max = 2;
  return options;
}

class HostSnapshotTest : public testing::Test {
 protected:
  void Start(TestMachine::Options machine = {}) {
    cluster.CreateEverywhere(kGroup, machine);
    cluster.WaitForLeader();
    cluster.Ticks(6);
  }
  // Entries 2 to 9 are applied by nodes 1 and 2; node 3 has none of them; the log of node 1 begins behind them.
  void LeaveNode3Behind() {
    cluster.Isolate(3);
    cluster.ProposeAll(1, {"a", "b", "c", "d", "e", "f", "g", "h"});
    ASSERT_TRUE(cluster.host(1).TakeSnapshot(kGroup).ok());
    cluster.Settle();
    ASSERT_EQ(cluster.core(1).log().first(), LogIndex{10});
  }
  std::vector<std::string> AllOfThem() { return {"a", "b", "c", "d", "e", "f", "g", "h"}; }
  const storage::GroupImage& Disk(uint64_t node) { return *cluster.node(node).disk.Find(kGroup); }
  GroupCounters Counters(uint64_t node) { return *cluster.host(node).Counters(kGroup); }
  // How many snapshots a disk holds chunks of.
  size_t SnapshotsOn(uint64_t node) {
    std::set<uint64_t> ids;
    for (const auto& [key, chunk] : Disk(node).chunks) ids.insert(key.first);
    return ids.size();
  }

  HostCluster cluster{3, SmallOptions(), {.tail_bytes = 0}};
};

TEST_F(HostSnapshotTest, TheLogIsCutBehindASnapshotAndARestartBeginsWithIt) {
  Start();
  cluster.ProposeAll(1, {"a", "b", "c"});
  cluster.Ticks(3);
  ASSERT_TRUE(cluster.host(2).TakeSnapshot(kGroup).ok());
  cluster.Settle();
  EXPECT_EQ(cluster.core(2).log().first(), LogIndex{5});
  EXPECT_EQ(Disk(2).state.bounds.first_index(), LogIndex{5});
  EXPECT_GT(Disk(2).state.snapshot.chunks, 0u);
  cluster.Restart(2);
  EXPECT_EQ(cluster.machine(2).restores, 1);
  EXPECT_THAT(cluster.machine(2).payloads, ElementsAre("a", "b", "c"));
}

TEST_F(HostSnapshotTest, ANewSnapshotReplacesTheOldOneOnTheDisk) {
  Start();
  for (const char* payload : {"a", "b", "c"}) {
    cluster.ProposeAll(1, {payload});
    ASSERT_TRUE(cluster.host(1).TakeSnapshot(kGroup).ok());
    cluster.Ticks(3);
    EXPECT_EQ(SnapshotsOn(1), 1u);
  }
  EXPECT_EQ(cluster.machine(1).snapshots, 3);
  ASSERT_TRUE(cluster.host(1).TakeSnapshot(kGroup).ok());  // nothing new: nothing is written
  cluster.Settle();
  EXPECT_EQ(SnapshotsOn(1), 1u);
}

TEST_F(HostSnapshotTest, ALaggingFollowerHoldsBackTheCutUpToALimit) {
  Start();
  cluster.Isolate(3);
  cluster.ProposeAll(1, {"a", "b"});
  ASSERT_TRUE(cluster.host(1).TakeSnapshot(kGroup).ok());
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).log().first(), LogIndex{1});
  cluster.ProposeAll(1, {"c", "d", "e"});  // five behind, the limit is four
  cluster.Ticks(2);
  EXPECT_EQ(cluster.core(1).log().first(), LogIndex{4});
}

TEST_F(HostSnapshotTest, AFollowerThatCatchesUpLetsTheCutGoOn) {
  Start();
  cluster.Isolate(3);
  cluster.ProposeAll(1, {"a", "b"});
  ASSERT_TRUE(cluster.host(1).TakeSnapshot(kGroup).ok());
  cluster.Settle();
  ASSERT_EQ(cluster.core(1).log().first(), LogIndex{1});
  cluster.Heal();
  cluster.Ticks(30);
  EXPECT_EQ(cluster.core(1).log().first(), LogIndex{4});
}

TEST_F(HostSnapshotTest, AFollowerCatchesUpFromTheDiskOfTheLeader) {
  Start();
  cluster.Isolate(3);
  cluster.ProposeAll(1, AllOfThem());
  const uint64_t reads = cluster.node(1).watched->reads;
  cluster.Heal();
  cluster.Ticks(30);
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
  EXPECT_GT(cluster.node(1).watched->reads, reads);
  EXPECT_EQ(Counters(1).snapshot_sends, 0u);
}

TEST_F(HostSnapshotTest, AFollowerWhoseEntriesAreGoneGetsTheSnapshotInChunks) {
  Start();
  LeaveNode3Behind();
  cluster.Heal();
  cluster.Ticks(30);
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
  EXPECT_EQ(cluster.machine(3).restores, 1);
  EXPECT_EQ(Counters(1).snapshot_sends, 1u);
  EXPECT_GT(Disk(3).state.snapshot.chunks, 1u);
  EXPECT_EQ(SnapshotsOn(3), 1u);
  // And it goes on from there.
  cluster.ProposeAll(1, {"i"});
  cluster.Ticks(3);
  EXPECT_EQ(cluster.machine(3).payloads.back(), "i");
  cluster.Restart(3);
  cluster.Ticks(10);
  EXPECT_EQ(cluster.machine(3).payloads.size(), 9u);
}

// While a node comes back as a new replica, the group may still count on its former life. When the new one leads, it knows nothing of the
// other's log and would give it a snapshot: over a connection to its own node.
TEST_F(HostSnapshotTest, AFormerLifeOfTheLeaderGetsNoSnapshot) {
  Configuration members = HostCluster::VotersOf({1, 2, 3});
  members.voters.push_back({NodeId{3}, 2});
  members.Normalize();
  ASSERT_TRUE(cluster.Create(1, kGroup, members).ok());
  ASSERT_TRUE(cluster.Create(2, kGroup, members).ok());
  ASSERT_TRUE(cluster.Create(3, kGroup, members, 2, true).ok());
  ASSERT_EQ(cluster.WaitForLeader(), 3u);
  int to_itself = 0;
  cluster.filter = [&](Channel, PeerMessage& message) {
    to_itself += message.from == message.to;
    return true;
  };
  cluster.ProposeAll(3, AllOfThem());
  ASSERT_TRUE(cluster.host(3).TakeSnapshot(kGroup).ok());
  cluster.Ticks(40);
  ASSERT_GT(cluster.core(3).log().first(), LogIndex{1});
  EXPECT_GT(Counters(3).core.snapshots_wanted, 0u);
  EXPECT_LT(Counters(3).core.snapshots_wanted, 10u);  // asked for now and then, not in every turn
  EXPECT_EQ(Counters(3).snapshot_sends, 0u);
  EXPECT_EQ(to_itself, 0);
  // The group does its work, and lets the former life go.
  cluster.ProposeAll(3, {"i"});
  ASSERT_TRUE(cluster.host(3).ProposeChange(kGroup, {.remove = {{NodeId{3}, 1}}}, 1000, cluster.node(3).answers).ok());
  cluster.Ticks(6);
  EXPECT_EQ(cluster.ProposalReason(3, 1000), "OK");
  EXPECT_EQ(cluster.machine(1).payloads.size(), 9u);
  EXPECT_EQ(to_itself, 0);
}

TEST_F(HostSnapshotTest, ALostChunkIsSentAgainAndTheOthersAreNot) {
  Start();
  LeaveNode3Behind();
  int lost = 0;
  uint64_t carried = 0;
  cluster.filter = [&](Channel, PeerMessage& message) {
    for (const SnapshotChunk& chunk : message.chunks) {
      if (chunk.number == 1 && ++lost == 1) return false;
      ++carried;
    }
    return true;
  };
  cluster.Heal();
  cluster.Ticks(60);
  EXPECT_EQ(lost, 2);
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
  EXPECT_LE(carried, 2 * Disk(3).state.snapshot.chunks);
}

TEST_F(HostSnapshotTest, ATransferGoesOnAfterAnInterruption) {
  Start();
  LeaveNode3Behind();
  uint64_t first_chunks = 0;
  cluster.filter = [&](Channel, PeerMessage& message) {
    for (const SnapshotChunk& chunk : message.chunks) first_chunks += chunk.number == 0 ? 1 : 0;
    // The way back breaks after a while.
    return message.chunk_replies.empty() || message.chunk_replies.back().next < 2;
  };
  cluster.Heal();
  cluster.Ticks(30);
  EXPECT_EQ(cluster.machine(3).restores, 0);
  cluster.filter = nullptr;
  cluster.host(1).PeerUnreachable(NodeId{3});
  cluster.Ticks(60);
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
  EXPECT_LE(first_chunks, 2u);
}

// The news that a chunk did not get through must not be the reason to send it again at once: with several transfers to a node that is not
// there each would send all of them again.
TEST_F(HostSnapshotTest, ToANodeThatIsNotThereItIsTriedNowAndThen) {
  Start();
  LeaveNode3Behind();
  int lost = 0;
  cluster.filter = [&](Channel, PeerMessage& message) {
    if (message.to != NodeId{3} || message.chunks.empty()) return true;
    if (++lost < 1000) cluster.host(1).PeerUnreachable(NodeId{3});
    return false;
  };
  cluster.Heal();
  cluster.Ticks(50);
  EXPECT_GT(lost, 1);
  EXPECT_LT(lost, 10);
  cluster.filter = nullptr;
  cluster.Ticks(60);
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
}

TEST_F(HostSnapshotTest, ADamagedChunkIsRefusedAndComesAgain) {
  Start();
  LeaveNode3Behind();
  bool damaged = false;
  cluster.filter = [&](Channel, PeerMessage& message) {
    for (SnapshotChunk& chunk : message.chunks) {
      if (chunk.number != 1 || damaged) continue;
      damaged = true;
      chunk.data = Bytes::Static("garbage!");
    }
    return true;
  };
  cluster.Heal();
  cluster.Ticks(60);
  EXPECT_TRUE(damaged);
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
}

TEST_F(HostSnapshotTest, ASnapshotWhoseSumIsWrongIsNotInstalled) {
  Start();
  LeaveNode3Behind();
  cluster.filter = [&](Channel, PeerMessage& message) {
    for (SnapshotChunk& chunk : message.chunks) chunk.meta.checksum ^= 1;
    return true;
  };
  cluster.Heal();
  cluster.Ticks(40);
  EXPECT_EQ(cluster.machine(3).restores, 0);
  EXPECT_TRUE(cluster.core(3).fault().ok());
  cluster.filter = nullptr;
  cluster.Ticks(200);
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
  EXPECT_EQ(SnapshotsOn(3), 1u);
}

TEST_F(HostSnapshotTest, AFullDiskAtTheFollowerDelaysTheTransfer) {
  Start();
  LeaveNode3Behind();
  cluster.node(3).disk.SetFreeBytes(0);
  cluster.Heal();
  cluster.Ticks(100);
  EXPECT_EQ(cluster.machine(3).restores, 0);
  EXPECT_TRUE(cluster.core(3).fault().ok());
  cluster.node(3).disk.SetFreeBytes(uint64_t{1} << 40);
  cluster.Ticks(100);
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
}

TEST_F(HostSnapshotTest, ATransferEndsWithTheTermOfItsLeader) {
  Start();
  LeaveNode3Behind();
  // Node 2 has the snapshot's entries in its log, and takes over while chunks are on their way.
  cluster.filter = [&](Channel, PeerMessage& message) { return message.chunks.empty() || message.chunks.back().number == 0; };
  cluster.Heal();
  cluster.Ticks(15);
  ASSERT_TRUE(cluster.host(1).TransferLeadership(kGroup, {NodeId{2}, 1}).ok());
  cluster.filter = nullptr;
  cluster.Ticks(60);
  EXPECT_EQ(cluster.LeaderOf(), 2u);
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
  cluster.Ticks(100);
  EXPECT_LE(SnapshotsOn(3), 1u);  // what was half received is gone
}

TEST_F(HostSnapshotTest, LeftoversOfACrashAreCleared) {
  Start();
  LeaveNode3Behind();
  cluster.filter = [&](Channel, PeerMessage& message) { return message.chunks.empty() || message.chunks.back().number < 2; };
  cluster.Heal();
  cluster.Ticks(15);
  ASSERT_GT(Disk(3).chunks.size(), 0u);
  cluster.Isolate(3);
  cluster.filter = nullptr;
  cluster.Restart(3);
  cluster.Ticks(1);
  cluster.Heal();
  cluster.Ticks(200);
  EXPECT_EQ(SnapshotsOn(3), 1u);
  EXPECT_EQ(Disk(3).chunks.size(), Disk(3).state.snapshot.chunks);
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
}

TEST_F(HostSnapshotTest, TheStartOfAPartitionsLogMovesAndAFollowerResetsToIt) {
  Start({.log_start = LogIndex{1}});
  cluster.Isolate(3);
  cluster.ProposeAll(1, AllOfThem());
  // The machine trims to index 7; its state already has the effects of all.
  cluster.machine(1).options.log_start = LogIndex{7};
  ASSERT_TRUE(cluster.host(1).TakeSnapshot(kGroup).ok());
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).log().first(), LogIndex{8});
  cluster.Heal();
  cluster.Ticks(40);
  EXPECT_EQ(cluster.core(3).log().first(), LogIndex{8});
  EXPECT_EQ(cluster.core(3).log().start(), cluster.core(1).log().start());
  EXPECT_EQ(cluster.machine(3).payloads, AllOfThem());
  EXPECT_EQ(cluster.machine(3).applied, cluster.core(1).commit());
}

TEST_F(HostSnapshotTest, ProposalsThatASnapshotReplacedHaveAnUnknownOutcome) {
  Start();
  cluster.Isolate(1);
  const uint64_t token = cluster.Propose(1, "x");
  cluster.Settle();
  cluster.Ticks(45);
  const uint64_t leader = cluster.LeaderOf();
  ASSERT_NE(leader, 1u);
  cluster.ProposeAll(leader, AllOfThem());
  ASSERT_TRUE(cluster.host(leader).TakeSnapshot(kGroup).ok());
  cluster.Settle();
  cluster.Heal();
  cluster.Ticks(60);
  EXPECT_EQ(cluster.machine(1).restores, 1);
  EXPECT_EQ(cluster.ProposalReason(1, token), "OUTCOME_UNKNOWN");
}

TEST_F(HostSnapshotTest, TransfersStayBelowTheirRate) {
  HostOptions options = SmallOptions();
  options.snapshot_bytes_per_tick = 4;  // a chunk
  HostCluster slow(3, options, {.tail_bytes = 0});
  slow.CreateEverywhere();
  slow.WaitForLeader();
  slow.Isolate(3);
  slow.ProposeAll(1, AllOfThem());
  ASSERT_TRUE(slow.host(1).TakeSnapshot(kGroup).ok());
  slow.Settle();
  uint64_t in_this_tick = 0;
  uint64_t most = 0;
  slow.filter = [&](Channel, PeerMessage& message) {
    in_this_tick += message.chunks.size();
    return true;
  };
  slow.Heal();
  for (int i = 0; i < 100; ++i) {
    in_this_tick = 0;
    slow.Ticks(1);
    most = std::max(most, in_this_tick);
  }
  EXPECT_EQ(slow.machine(3).payloads, AllOfThem());
  EXPECT_EQ(most, 1u);
}

TEST_F(HostSnapshotTest, AnOldSnapshotStaysUntilItsTransferEnds) {
  Start();
  LeaveNode3Behind();
  cluster.filter = [&](Channel, PeerMessage& message) { return message.chunks.empty() || message.chunks.back().number < 2; };
  cluster.Heal();
  cluster.Ticks(15);
  cluster.ProposeAll(1, {"i", "j", "k", "l", "m", "n"});
  ASSERT_TRUE(cluster.host(1).TakeSnapshot(kGroup).ok());
  cluster.Ticks(2);
  EXPECT_EQ(SnapshotsOn(1), 2u);
  cluster.filter = nullptr;
  cluster.Ticks(150);
  EXPECT_EQ(cluster.machine(3).payloads.size(), 14u);
  EXPECT_EQ(SnapshotsOn(1), 1u);
}

}  // namespace
}  // namespace flotilla::raft
