// What a node does about its replicas while they come and go, and after restarts with images that are older than what it did.
#include "server/broker/replicas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/raft_node/host_cluster.h"
#include "tests/support/entry_maker.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::broker {
namespace {

using metadata::Record;
using metadata::Shared;
using Image = Shared<metadata::Image>;

constexpr GroupId kPartition{1};

class NoNetwork final : public raft::Transport {
 public:
  void Send(raft::Channel, raft::PeerMessage) override {}
};

class StoppedClock final : public Clock {
 public:
  MonotonicTime Now() const override { return MonotonicTime{std::chrono::hours(1)}; }
  int64_t WallMillis() const override { return 1'700'000'000'000; }
};

// Node 1, by itself: nobody answers its messages, so that it leads what it is alone in.
class ReplicasTest : public testing::Test {
 protected:
  ReplicasTest() {
    scene_.Found({.nodes = 4});
    Boot();
  }
  ~ReplicasTest() override { Kill(); }

  // --- the process
  void Boot() {
    store_ = *storage::MemoryStore::Open(disk_);
    raft::HostOptions options;
    options.node = NodeId{1};
    options.boot = ++boots_;
    host_ = std::make_unique<raft::RaftHost>(options, executor_, readers_, *store_, network_, Random(boots_));
    leaders_ = std::make_unique<LeaderTable>();
    replicas_ = std::make_unique<Replicas>(
        Replicas::Surroundings{
            .host = *host_, .store = *store_, .executor = executor_, .readers = readers_, .time = time_, .leaders = *leaders_},
        NodeId{1}, partition::PartitionOptions{});
  }
  void Kill() {
    replicas_.reset();
    host_.reset();
    while (executor_.RunOne() || readers_.RunOne()) {
    }
    leaders_.reset();
    store_.reset();
  }
  void Restart() {
    Kill();
    disk_.PowerCut(0);
    Boot();
  }
  void Settle() {
    while (executor_.RunOne() || readers_.RunOne() || store_->SyncOnce()) {
    }
  }
  void Ticks(uint64_t count) {
    for (; count > 0; --count) {
      host_->Tick();
      time_.Advance(host_->now());
      replicas_->Tick();
      Settle();
    }
  }
  // As a node that has been up for a while.
  void BeginAndConfirm() {
    replicas_->Begin(scene_.shared());
    replicas_->Confirm();
    Settle();
  }
  void Follow() {
    replicas_->Follow(scene_.shared());
    Settle();
  }

  // --- the metadata
  void Create(uint64_t replication_factor) {
    // On the nodes with the lowest ids.
    scene_.Replay(CreationOf(replication_factor));
  }
  static std::vector<Record> CreationOf(uint64_t replication_factor) {
    std::vector<Record> records(2);
    auto& topic = *records[0].mutable_topic_created();
    const Uuid id = metadata::UuidOf(77);
    topic.set_topic_id(std::string(id.bytes()));
    topic.set_namespace_("default");
    topic.set_name("orders");
    topic.set_partition_count(1);
    topic.set_replication_factor(static_cast<uint32_t>(replication_factor));
    auto& partition = *records[1].mutable_partition_created();
    partition.set_topic_id(std::string(id.bytes()));
    partition.set_group_id(kPartition.value());
    for (uint64_t node = 1; node <= replication_factor; ++node) partition.add_replicas()->set_node_id(node);
    return records;
  }
  void Delete() {
    Record out;
    out.mutable_topic_deleted()->set_topic_id(std::string(metadata::UuidOf(77).bytes()));
    scene_.Replay({out});
  }
  void Retarget(const std::vector<ReplicaId>& replicas, metadata::record::MoveCause cause = metadata::record::MOVE_CAUSE_REQUESTED) {
    Record out;
    auto& target = *out.mutable_replicas_retargeted();
    target.set_group_id(kPartition.value());
    target.set_placement_epoch(++epoch_);
    for (const ReplicaId& id : replicas) {
      auto& replica = *target.add_replicas();
      replica.set_node_id(id.node.value());
      replica.set_incarnation(id.incarnation);
    }
    target.set_preferred_leader(replicas.front().node.value());
    target.set_cause(cause);
    scene_.Replay({out});
  }
  void ChooseSurvivor(const ReplicaId& kept, uint64_t next_incarnation) {
    Record out;
    auto& chosen = *out.mutable_survivor_chosen();
    chosen.set_group_id(kPartition.value());
    chosen.set_placement_epoch(++epoch_);
    chosen.mutable_kept()->set_node_id(kept.node.value());
    chosen.mutable_kept()->set_incarnation(kept.incarnation);
    chosen.set_next_incarnation(next_incarnation);
    scene_.Replay({out});
  }
  void SettleTarget() {
    Record out;
    out.mutable_replicas_settled()->set_group_id(kPartition.value());
    out.mutable_replicas_settled()->set_placement_epoch(epoch_);
    scene_.Replay({out});
  }

  // Node 2 leads and has another life of the replica here for a member.
  void HearALeaderSpeakTo(const ReplicaId& life) {
    raft::PeerMessage message{.from = NodeId{2}, .to = NodeId{1}};
    message.messages.push_back({.group = kPartition, .from = On(2), .to = life, .term = Term{5}, .body = raft::AppendRequest{}});
    host_->Receive(std::move(message));
    Settle();
  }

  // --- what is there
  // "1", "1.2"; "none".
  std::string Stored() {
    const auto state = store_->Load(kPartition);
    return state.ok() ? "1." + std::to_string(state->identity.self.incarnation) : "none";
  }
  std::string Members() {
    const raft::RaftCore* core = host_->Find(kPartition);
    return core == nullptr ? "not open" : ToString(core->configuration());
  }
  bool Open() { return replicas_->Find(kPartition) != nullptr; }

  static ReplicaId On(uint64_t node, uint64_t life = 0) { return {NodeId{node}, life}; }

  metadata::Scene scene_;
  storage::MemoryDisk disk_;
  StoppedClock clock_;
  TickClock time_{clock_, std::chrono::milliseconds(50)};
  NoNetwork network_;
  raft::ManualExecutor executor_;
  raft::ManualExecutor readers_;
  std::unique_ptr<storage::MemoryStore> store_;
  std::unique_ptr<raft::RaftHost> host_;
  std::unique_ptr<LeaderTable> leaders_;
  std::unique_ptr<Replicas> replicas_;
  uint64_t boots_ = 0;
  uint64_t epoch_ = 0;
};

TEST_F(ReplicasTest, FirstMembersKnowEachOtherAndNewcomersKnowNobody) {
  BeginAndConfirm();
  Create(3);
  Follow();
  EXPECT_EQ(Members(), "voters 1,2,3");
  Retarget({On(2), On(3), On(4, 1)});
  SettleTarget();
  Follow();
  ASSERT_EQ(Stored(), "none");
  Retarget({On(2), On(3), On(1, 2)});
  Follow();
  EXPECT_EQ(Stored(), "1.2");
  EXPECT_EQ(Members(), "voters -");
}

TEST_F(ReplicasTest, NothingIsMadeBeforeTheImageIsConfirmed) {
  Create(3);
  replicas_->Begin(scene_.shared());
  Ticks(50);
  EXPECT_EQ(Stored(), "none");
  EXPECT_THAT(replicas_->Problem(kPartition), testing::HasSubstr("confirmed"));
  EXPECT_EQ(replicas_->counters().not_open, 1u);
  replicas_->Confirm();
  Settle();
  EXPECT_TRUE(Open());
}

TEST_F(ReplicasTest, WhatIsOnTheDiskIsOpenedBeforeTheImageIsConfirmed) {
  BeginAndConfirm();
  Create(3);
  Follow();
  Restart();
  replicas_->Begin(scene_.shared());
  EXPECT_TRUE(Open());
}

TEST_F(ReplicasTest, AReplicaThatLeavesStaysUntilThatIsSettled) {
  BeginAndConfirm();
  Create(3);
  Follow();
  Retarget({On(2), On(3), On(4, 1)});
  Follow();
  EXPECT_TRUE(Open());
  SettleTarget();
  Follow();
  EXPECT_FALSE(Open());
  EXPECT_EQ(Stored(), "none");
}

TEST_F(ReplicasTest, ADamagedReplicaIsBuiltAnewUnderANewName) {
  BeginAndConfirm();
  Create(3);
  Follow();
  host_->FailGroup(kPartition, Status(Reason::kDataLoss, "a bit is wrong"));
  Settle();
  Retarget({On(1, 1), On(2), On(3)}, metadata::record::MOVE_CAUSE_REBUILD);
  Follow();
  EXPECT_TRUE(Open());
  EXPECT_EQ(Stored(), "1.1");
  EXPECT_EQ(Members(), "voters -");
}

// What it has may be one of two copies of what was acknowledged.
TEST_F(ReplicasTest, ASoundReplicaThatIsBuiltAnewStaysUntilItsGroupGoesOnWithoutIt) {
  BeginAndConfirm();
  Create(3);
  Follow();
  Retarget({On(1, 1), On(2), On(3)}, metadata::record::MOVE_CAUSE_REBUILD);
  Follow();
  Ticks(100);
  EXPECT_EQ(Stored(), "1.0");
  EXPECT_EQ(Members(), "voters 1,2,3");
  EXPECT_THAT(replicas_->Problem(kPartition), testing::HasSubstr("its group goes on without it"));
  Restart();
  replicas_->Begin(scene_.shared());
  replicas_->Confirm();
  Ticks(100);
  EXPECT_EQ(Stored(), "1.0");
  EXPECT_EQ(Members(), "voters 1,2,3");
  HearALeaderSpeakTo(On(1, 0));
  Ticks(25);
  EXPECT_EQ(Stored(), "1.0");
  HearALeaderSpeakTo(On(1, 1));
  Ticks(25);
  EXPECT_EQ(Stored(), "1.1");
  EXPECT_EQ(Members(), "voters -");
}

TEST_F(ReplicasTest, ALaterLifeSurvivesAnImageThatIsOlder) {
  BeginAndConfirm();
  Create(3);
  Follow();
  const Image older = scene_.shared();
  Retarget({On(1, 1), On(2), On(3)}, metadata::record::MOVE_CAUSE_REBUILD);
  HearALeaderSpeakTo(On(1, 1));
  Follow();
  ASSERT_EQ(Stored(), "1.1");
  Restart();
  replicas_->Begin(older);
  Ticks(50);
  EXPECT_FALSE(Open());
  EXPECT_EQ(Stored(), "1.1");
  Follow();
  EXPECT_TRUE(Open());
  EXPECT_EQ(Stored(), "1.1");
}

TEST_F(ReplicasTest, AReplicaOfAGroupThatWasElsewhereSurvivesAnImageThatIsOlder) {
  Create(3);
  Retarget({On(2), On(3), On(4, 1)});
  SettleTarget();
  const Image older = scene_.shared();
  Retarget({On(2), On(3), On(1, 2)});
  BeginAndConfirm();
  ASSERT_EQ(Stored(), "1.2");
  Restart();
  replicas_->Begin(older);
  Ticks(50);
  EXPECT_EQ(Stored(), "1.2");
  Follow();
  EXPECT_TRUE(Open());
}

// It would have forgotten its votes.
TEST_F(ReplicasTest, AReplicaThatWasDestroyedDoesNotComeBackByAnOlderImage) {
  BeginAndConfirm();
  Create(3);
  Follow();
  Retarget({On(2), On(3), On(4, 1)});
  const Image older = scene_.shared();
  SettleTarget();
  Follow();
  ASSERT_EQ(Stored(), "none");
  Restart();
  replicas_->Begin(older);
  Ticks(50);
  EXPECT_EQ(Stored(), "none");
  Follow();
  replicas_->Confirm();
  Settle();
  EXPECT_EQ(Stored(), "none");
}

TEST_F(ReplicasTest, AReplicaWhoseTopicCameAndWentBetweenTwoImagesGoes) {
  BeginAndConfirm();
  const Image older = scene_.shared();
  Create(3);
  Follow();
  ASSERT_EQ(Stored(), "1.0");
  Delete();
  Restart();
  replicas_->Begin(older);
  Follow();  // from before the topic to after it
  EXPECT_EQ(Stored(), "1.0");
  replicas_->Confirm();
  Settle();
  EXPECT_EQ(Stored(), "none");
}

TEST_F(ReplicasTest, AReplicaThatIsNotWantedAnyMoreWhileItIsMadeGoesThen) {
  BeginAndConfirm();
  Create(3);
  replicas_->Follow(scene_.shared());  // its making waits for the disk
  Retarget({On(2), On(3), On(4, 1)});
  SettleTarget();
  Follow();
  EXPECT_FALSE(Open());
  EXPECT_EQ(Stored(), "none");
}

TEST_F(ReplicasTest, AReplicaThatIsWantedAgainWhileItGoesIsMadeThen) {
  BeginAndConfirm();
  Create(3);
  Follow();
  Retarget({On(2), On(3), On(4, 1)});
  SettleTarget();
  replicas_->Follow(scene_.shared());  // its end waits for the disk
  Retarget({On(2), On(3), On(1, 2)});
  Follow();
  EXPECT_TRUE(Open());
  EXPECT_EQ(Stored(), "1.2");
}

TEST_F(ReplicasTest, AFullDiskDelaysAReplica) {
  BeginAndConfirm();
  disk_.SetFreeBytes(0);
  Create(3);
  Follow();
  EXPECT_FALSE(Open());
  disk_.SetFreeBytes(uint64_t{1} << 40);
  Ticks(25);
  EXPECT_TRUE(Open());
}

TEST_F(ReplicasTest, AReplicaThatFindsDamageSaysSoUntilItIsBuiltAnew) {
  BeginAndConfirm();
  Create(3);
  Follow();
  EXPECT_THAT(replicas_->Damaged(), testing::IsEmpty());
  EXPECT_THAT(replicas_->Stopped(), testing::IsEmpty());
  host_->FailGroup(kPartition, Status(Reason::kDataLoss, "the checksum of entry 5 is wrong"));
  Settle();
  EXPECT_THAT(replicas_->Damaged(), testing::ElementsAre(metadata::DamagedReplica{.group = kPartition, .replica = On(1)}));
  EXPECT_THAT(replicas_->Stopped(), testing::ElementsAre(testing::HasSubstr("orders/0: DATA_LOSS")));
  Retarget({On(1, 1), On(2), On(3)}, metadata::record::MOVE_CAUSE_REBUILD);
  Follow();
  ASSERT_EQ(Stored(), "1.1");
  EXPECT_THAT(replicas_->Damaged(), testing::IsEmpty());
  EXPECT_THAT(replicas_->Stopped(), testing::IsEmpty());
}

TEST_F(ReplicasTest, AReplicaThatDoesNotOpenForDamageSaysSoToo) {
  BeginAndConfirm();
  Create(1);
  Follow();
  Ticks(5);
  ASSERT_EQ(leaders_->Of(kPartition).node, NodeId{1});
  Kill();
  disk_.PowerCut(0);
  ASSERT_TRUE(disk_.FlipBit(kPartition, LogIndex{1}, 12345));
  Boot();
  replicas_->Begin(scene_.shared());
  Ticks(1);
  EXPECT_THAT(replicas_->Damaged(), testing::ElementsAre(metadata::DamagedReplica{.group = kPartition, .replica = On(1)}));
  EXPECT_THAT(replicas_->Stopped(), testing::ElementsAre(testing::HasSubstr("orders/0: DATA_LOSS")));
}

// The damaged entry is a configuration, without which the group does not load; whose remains they are is still known.
TEST_F(ReplicasTest, AReplicaThatDoesNotLoadMakesWayForItsNextLife) {
  BeginAndConfirm();
  Create(3);
  Follow();
  struct : storage::WriteSink {
    void OnWritten(std::span<const storage::WriteDone> done) override { status = done[0].status; }
    Status status = Status(Reason::kStorageFailed, "not written");
  } written;
  storage::WriteTask task{.group = kPartition, .entries = {storage::EntryMaker(kPartition).Configuration("1,2")}};
  ASSERT_TRUE(store_->Submit(std::move(task), written).ok());
  Settle();
  ASSERT_TRUE(written.status.ok()) << written.status;
  Kill();
  ASSERT_TRUE(disk_.FlipBit(kPartition, LogIndex{1}, 12345));
  Boot();
  replicas_->Begin(scene_.shared());
  replicas_->Confirm();
  Ticks(5);
  EXPECT_THAT(replicas_->Damaged(), testing::ElementsAre(metadata::DamagedReplica{.group = kPartition, .replica = On(1)}));
  Retarget({On(1, 1), On(2), On(3)}, metadata::record::MOVE_CAUSE_REBUILD);
  Follow();
  Ticks(25);
  EXPECT_EQ(Stored(), "1.1");
}

// What was made wrong, and not found wrong, would be wrong again.
TEST_F(ReplicasTest, AReplicaThatStoppedForAnotherReasonIsNotDamaged) {
  BeginAndConfirm();
  Create(3);
  Follow();
  host_->FailGroup(kPartition, Status(Reason::kReplicaFaulted, "a record of a kind that this program does not know"));
  Settle();
  EXPECT_THAT(replicas_->Damaged(), testing::IsEmpty());
  EXPECT_THAT(replicas_->Stopped(), testing::SizeIs(1));
}

TEST_F(ReplicasTest, WhoeverLedAndIsGoneIsNotAskedAnyMore) {
  BeginAndConfirm();
  Create(1);
  Follow();
  Ticks(5);
  ASSERT_EQ(leaders_->Of(kPartition).node, NodeId{1});
  Retarget({On(2, 1)});
  SettleTarget();
  Follow();
  EXPECT_EQ(leaders_->Of(kPartition).node, NodeId{});
  // Others are known by hearsay, which is better than nothing.
  leaders_->Learn(kPartition, {.node = NodeId{2}, .epoch = Term{9}});
  EXPECT_EQ(leaders_->Of(kPartition).node, NodeId{2});
}

TEST_F(ReplicasTest, AFollowerThatGoesLeavesTheHintToItsLeader) {
  BeginAndConfirm();
  Create(3);
  Follow();
  leaders_->Learn(kPartition, {.node = NodeId{2}, .epoch = Term{9}});
  Retarget({On(2), On(3), On(4, 1)});
  SettleTarget();
  Follow();
  EXPECT_EQ(leaders_->Of(kPartition).node, NodeId{2});
}

// --- a majority that is lost for good

TEST_F(ReplicasTest, ASurvivorLeadsAlone) {
  BeginAndConfirm();
  Create(3);
  Follow();
  ASSERT_EQ(Members(), "voters 1,2,3");
  ChooseSurvivor(On(1), 1);
  Follow();
  Ticks(50);
  EXPECT_EQ(Stored(), "1.1");
  EXPECT_EQ(Members(), "voters 1.1");
  ASSERT_TRUE(Open());
  EXPECT_EQ(replicas_->counters().leading, 1u);
}

// Wherever its node stood when it stopped: at the old image, at the new one, or in between.
TEST_F(ReplicasTest, ASurvivorThatWasDownHearsOfItLater) {
  BeginAndConfirm();
  Create(3);
  Follow();
  const Image older = scene_.shared();
  ChooseSurvivor(On(1), 1);
  Retarget({On(1, 1), On(3, 2), On(4, 3)}, metadata::record::MOVE_CAUSE_REBUILD);  // it grows back already
  Restart();
  replicas_->Begin(older);
  EXPECT_EQ(Members(), "voters 1,2,3");
  Follow();
  Ticks(50);
  EXPECT_EQ(Stored(), "1.1");
  EXPECT_EQ(Members(), "voters 1.1");
  Restart();
  replicas_->Begin(older);
  Ticks(50);
  EXPECT_EQ(Stored(), "1.1");
  EXPECT_FALSE(Open());
  Follow();
  EXPECT_TRUE(Open());
  Restart();
  replicas_->Begin(scene_.shared());
  Ticks(50);
  EXPECT_EQ(Members(), "voters 1.1");
}

TEST_F(ReplicasTest, WhatWasGivenUpIsDeletedWhenItComesBack) {
  BeginAndConfirm();
  Create(3);
  Follow();
  const Image older = scene_.shared();
  ChooseSurvivor(On(3), 1);
  Restart();
  replicas_->Begin(older);
  ASSERT_TRUE(Open());
  Follow();
  EXPECT_EQ(Stored(), "none");
}

}  // namespace
}  // namespace flotilla::broker
