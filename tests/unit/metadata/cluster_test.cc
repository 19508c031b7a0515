// Group 0 on real hosts over simulated disks: three or four nodes that share their metadata through Raft.
#include <deque>
#include <memory>
#include <set>

#include "raft/node/raft_host.h"
#include "server/metadata/metadata_controller.h"
#include "server/metadata/partition_plan.h"
#include "storage/memory/memory_store.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::Each;
using ::testing::SizeIs;

class StillClock final : public Clock {
 public:
  MonotonicTime Now() const override { return {}; }
  int64_t WallMillis() const override { return 1'700'000'000'000; }
};

// Work that waits until the scene runs it.
class ManualExecutor final : public raft::Executor {
 public:
  void Post(std::function<void()> work) override { work_.push_back(std::move(work)); }
  bool RunAll() {
    const bool any = !work_.empty();
    while (!work_.empty()) {
      const std::function<void()> work = std::move(work_.front());
      work_.pop_front();
      work();
    }
    return any;
  }

 private:
  std::deque<std::function<void()>> work_;
};

struct ClusterNode {
  storage::MemoryDisk disk;
  std::unique_ptr<storage::MemoryStore> store;
  ManualExecutor executor;
  ManualExecutor readers;
  std::unique_ptr<MetadataMachine> machine;
  std::unique_ptr<raft::RaftHost> host;
  std::unique_ptr<HostMetadataLog> log;
  std::unique_ptr<MetadataController> controller;
  uint64_t boots = 0;
};

class ClusterTest : public ::testing::Test, private raft::Transport, private raft::GroupSink, private AnswerSink {
 protected:
  ~ClusterTest() override {
    for (auto& [id, node] : nodes_) Kill(id);
  }

  // --- life and death
  void Boot(uint64_t id) {
    ClusterNode& node = nodes_[id];
    node.store = *storage::MemoryStore::Open(node.disk);
    raft::HostOptions options{.node = NodeId{id}, .boot = ++node.boots};
    options.keep_entries_for_followers = 0;
    node.host = std::make_unique<raft::RaftHost>(options, node.executor, node.readers, *node.store, static_cast<raft::Transport&>(*this),
                                                 Random(id * 1000 + node.boots));
    node.machine = std::make_unique<MetadataMachine>(kSupportedFeatures);
    node.log = std::make_unique<HostMetadataLog>(*node.host);
    node.controller = std::make_unique<MetadataController>(ControllerOptions{.self = {NodeId{id}, 0}, .liveness = {.failure_ticks = 60}},
                                                           *node.log, *node.machine, clock_, Random(id * 77 + node.boots));
  }
  void Create(uint64_t id, const raft::Configuration& configuration, bool campaign) {
    const Status created = nodes_[id].host->CreateGroup({.group = kMetadataGroup,
                                                         .identity = {.self = {NodeId{id}, 0}, .label = "metadata"},
                                                         .configuration = configuration,
                                                         .campaign = campaign},
                                                        *nodes_[id].machine, *this);
    CHECK(created.ok()) << created;
  }
  void Kill(uint64_t id) {
    ClusterNode& node = nodes_[id];
    node.host.reset();
    node.executor.RunAll();
    node.readers.RunAll();
    node.controller.reset();
    node.log.reset();
    node.machine.reset();
    node.store.reset();
  }
  void Restart(uint64_t id) {
    Kill(id);
    nodes_[id].disk.PowerCut(0);
    Boot(id);
    const Status opened = nodes_[id].host->OpenGroup(kMetadataGroup, *nodes_[id].machine);
    CHECK(opened.ok()) << opened;
  }
  bool up(uint64_t id) { return nodes_[id].host != nullptr; }

  // A cluster of so many nodes, whose first node made the plan.
  void Found(uint64_t count) {
    std::vector<FounderAnswer> answers;
    for (uint64_t id = 1; id <= count; ++id) answers.push_back({.description = NodeCalled(id), .cluster = {}});
    const Founding plan = *PlanFounding(UuidOf(1000), answers);
    for (uint64_t id = 1; id <= count; ++id) {
      Boot(id);
      Create(id, plan.configuration, id == 1);
    }
    EXPECT_EQ(Do(plan), "OK");
  }

  // --- time
  void Settle() {
    bool moved = true;
    while (moved) {
      moved = false;
      for (auto& [id, node] : nodes_) {
        moved |= node.executor.RunAll();
        moved |= node.readers.RunAll();
        if (node.store != nullptr) moved |= node.store->SyncOnce();
      }
      for (size_t count = network_.size(); count > 0; --count) {
        raft::PeerMessage message = std::move(network_.front());
        network_.pop_front();
        const uint64_t to = message.to.value();
        moved = true;
        if (cut_.contains(message.from.value()) || cut_.contains(to) || !nodes_.contains(to) || !up(to)) continue;
        nodes_[to].host->Receive(std::move(message));
      }
    }
  }
  // Time passes, and nodes report to whoever leads.
  void Ticks(int count) {
    for (; count > 0; --count) {
      ++tick_;
      for (auto& [id, node] : nodes_) {
        if (node.host == nullptr) continue;
        node.host->Tick();
        node.controller->Tick(tick_);
      }
      Settle();
      const uint64_t leader = Leader();
      for (auto& [id, node] : nodes_) {
        if (leader == 0 || !up(id) || cut_.contains(id) || cut_.contains(leader)) continue;
        (void)nodes_[leader].controller->Report({.identity = {UuidOf(1000), NodeId{id}, UuidOf(id)}}).ok();
      }
      Settle();
    }
  }
  // 0: nobody.
  uint64_t Leader() {
    for (auto& [id, node] : nodes_) {
      if (up(id) && !cut_.contains(id) && node.controller->leading()) return id;
    }
    return 0;
  }
  uint64_t WaitForLeader() {
    Settle();
    for (int i = 0; i < 300 && Leader() == 0; ++i) Ticks(1);
    CHECK_NE(Leader(), 0u);
    return Leader();
  }

  // --- requests
  uint64_t SubmitAt(uint64_t id, const Request& request) {
    nodes_[id].controller->Submit(request, ++last_token_, *this);
    return last_token_;
  }
  std::string AnswerTo(uint64_t token) {
    const auto at = answers_.find(token);
    return at == answers_.end() ? "waiting" : ReasonOf(at->second.status);
  }
  // At the leader, until it is answered.
  std::string Do(const Request& request) {
    const uint64_t token = SubmitAt(WaitForLeader(), request);
    for (int i = 0; i < 100 && AnswerTo(token) == "waiting"; ++i) Ticks(1);
    return AnswerTo(token);
  }
  std::string CreateTopicCalled(const std::string& name, std::string request_id = "") {
    return Do(CreateTopic{.topic = {.name = name}, .tag = {.request_id = std::move(request_id)}});
  }
  std::set<uint32_t> Checksums() {
    Ticks(10);
    std::set<uint32_t> checksums;
    for (auto& [id, node] : nodes_) {
      if (up(id)) checksums.insert(ImageChecksum(*node.machine->image()));
    }
    return checksums;
  }
  const Image& image(uint64_t id) { return *nodes_[id].machine->image(); }

  StillClock clock_;
  std::map<uint64_t, ClusterNode> nodes_;
  std::deque<raft::PeerMessage> network_;
  std::set<uint64_t> cut_;
  std::map<uint64_t, Answer> answers_;
  uint64_t last_token_ = 0;
  raft::Tick tick_ = 0;

 private:
  void Send(raft::Channel, raft::PeerMessage message) override { network_.push_back(std::move(message)); }
  void OnGroup(GroupId, const Status& status) override { CHECK(status.ok()) << status; }
  void OnAnswer(uint64_t token, const Answer& answer) override { CHECK(answers_.emplace(token, answer).second) << token; }
};

TEST_F(ClusterTest, ThreeNodesBecomeAClusterThatAgrees) {
  Found(3);
  EXPECT_EQ(CreateTopicCalled("orders"), "OK");
  EXPECT_EQ(CreateTopicCalled("orders"), "TOPIC_EXISTS");
  EXPECT_THAT(Checksums(), SizeIs(1));
  for (uint64_t id = 1; id <= 3; ++id) EXPECT_NE(image(id).FindTopic(kDefaultNamespace, "orders"), nullptr);
}

TEST_F(ClusterTest, WithItsLeaderTheClusterLosesNothingButTime) {
  Found(3);
  ASSERT_EQ(CreateTopicCalled("orders", "r1"), "OK");
  const uint64_t old = WaitForLeader();
  Kill(old);
  EXPECT_EQ(CreateTopicCalled("logs"), "OK");
  EXPECT_EQ(CreateTopicCalled("orders", "r1"), "OK");  // the retry of a client that saw no answer
  EXPECT_NE(Leader(), old);
  Ticks(80);
  EXPECT_FALSE(image(Leader()).FindNode(NodeId{old})->alive);
  Boot(old);
  ASSERT_TRUE(nodes_[old].host->OpenGroup(kMetadataGroup, *nodes_[old].machine).ok());
  Ticks(20);
  EXPECT_TRUE(image(Leader()).FindNode(NodeId{old})->alive);
  EXPECT_THAT(Checksums(), SizeIs(1));
}

TEST_F(ClusterTest, AfterAPowerCutOfAllTheImageIsReplayed) {
  Found(3);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(CreateTopicCalled("t" + std::to_string(i)), "OK");
  for (uint64_t id = 1; id <= 3; ++id) Restart(id);
  WaitForLeader();
  EXPECT_EQ(image(Leader()).topics.size(), 5u);
  EXPECT_EQ(CreateTopicCalled("more"), "OK");
  EXPECT_THAT(Checksums(), SizeIs(1));
}

TEST_F(ClusterTest, ALeaderThatIsCutOffAnswersNothingThatIsNotSo) {
  Found(3);
  const uint64_t old = WaitForLeader();
  cut_.insert(old);
  const uint64_t lost = SubmitAt(old, CreateTopic{.topic = {.name = "orders"}});
  const uint64_t refused = SubmitAt(old, CreateTopic{.topic = {.name = "orders"}});
  EXPECT_EQ(Do(CreateTopic{.topic = {.name = "orders"}, .partition_count = 5}), "OK");
  EXPECT_EQ(AnswerTo(lost), "waiting");
  EXPECT_EQ(AnswerTo(refused), "waiting");
  cut_.clear();
  Ticks(60);
  EXPECT_EQ(AnswerTo(lost), "NOT_LEADER");
  EXPECT_EQ(AnswerTo(refused), "NO_LEADER");
  EXPECT_THAT(image(old).FindTopic(kDefaultNamespace, "orders")->partitions, SizeIs(5));
  EXPECT_THAT(Checksums(), SizeIs(1));
}

TEST_F(ClusterTest, AFourthNodeJoinsAndLearnsEverythingFromASnapshot) {
  Found(3);
  ASSERT_EQ(CreateTopicCalled("orders"), "OK");
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(nodes_[id].log->TakeSnapshot().ok());
  Ticks(5);
  ASSERT_EQ(Do(RegisterNode{.cluster = {}, .claimed = {}, .description = NodeCalled(4)}), "OK");
  Boot(4);
  Create(4, {}, false);
  Ticks(60);
  EXPECT_NE(image(4).FindTopic(kDefaultNamespace, "orders"), nullptr);
  EXPECT_THAT(raft::ToString(nodes_[Leader()].host->Find(kMetadataGroup)->configuration()), ::testing::HasSubstr("learners 4"));
  EXPECT_THAT(Checksums(), SizeIs(1));
  EXPECT_TRUE(image(1).FindNode(NodeId{4})->alive);
}

TEST_F(ClusterTest, EveryNodePlansTheSameGroupForANewPartition) {
  Found(3);
  ASSERT_EQ(CreateTopicCalled("orders"), "OK");
  Ticks(10);
  std::map<GroupId, std::set<std::string>> configurations;
  std::map<GroupId, int> campaigns;
  for (uint64_t id = 1; id <= 3; ++id) {
    for (const PartitionAction& action : PlanStart(image(id), NodeId{id}, {})) {
      const raft::NewGroup& group = std::get<CreateReplica>(action).group;
      configurations[group.group].insert(raft::ToString(group.configuration));
      campaigns[group.group] += group.campaign ? 1 : 0;
    }
  }
  ASSERT_THAT(configurations, SizeIs(3));
  for (const auto& [group, texts] : configurations) {
    EXPECT_THAT(texts, SizeIs(1)) << group;
    EXPECT_EQ(campaigns[group], 1) << group;
  }
}

TEST_F(ClusterTest, NobodyIsDeclaredDeadBecauseTheLeaderChanges) {
  Found(3);
  const uint64_t old = WaitForLeader();
  cut_.insert(old);
  WaitForLeader();
  Ticks(20);
  cut_.clear();
  Ticks(100);
  for (uint64_t id = 1; id <= 3; ++id) EXPECT_TRUE(image(Leader()).FindNode(NodeId{id})->alive) << id;
}

// --- who votes

class SeatsTest : public ClusterTest {
 protected:
  // One more node, that learns the metadata.
  void Join(uint64_t id) {
    ASSERT_EQ(Do(RegisterNode{.cluster = {}, .claimed = {}, .description = NodeCalled(id)}), "OK");
    Boot(id);
    Create(id, {}, false);
  }
  std::string Members() { return raft::ToString(nodes_[WaitForLeader()].host->Find(kMetadataGroup)->configuration()); }
  std::string Mode(uint64_t id, NodeMode mode) { return Do(ChangeNodeMode{.node = NodeId{id}, .mode = mode}); }
};

TEST_F(SeatsTest, AFourthAndAFifthNodeBecomeVotersTogether) {
  Found(3);
  Join(4);
  Ticks(60);
  EXPECT_EQ(Members(), "voters 1,2,3 learners 4");
  Join(5);
  Ticks(60);
  EXPECT_EQ(Members(), "voters 1,2,3,4,5");
  EXPECT_THAT(Checksums(), SizeIs(1));
}

TEST_F(SeatsTest, AVoterThatIsDecommissionedIsReplacedAndGoes) {
  Found(3);
  Join(4);
  Ticks(60);
  const uint64_t going = WaitForLeader() == 3 ? 2 : 3;
  ASSERT_EQ(Mode(going, NodeMode::kDecommissioning), "OK");
  Ticks(80);
  EXPECT_EQ(Members(), going == 3 ? "voters 1,2,4" : "voters 1,3,4");
  EXPECT_EQ(image(Leader()).FindNode(NodeId{going}), nullptr);
  EXPECT_EQ(image(going).FindNode(NodeId{going}), nullptr);  // it was told
}

TEST_F(SeatsTest, EvenTheLeaderCanGo) {
  Found(3);
  Join(4);
  Ticks(60);
  const uint64_t going = WaitForLeader();
  ASSERT_EQ(Mode(going, NodeMode::kDecommissioning), "OK");
  Ticks(300);
  const uint64_t leader = WaitForLeader();
  EXPECT_NE(leader, going);
  EXPECT_EQ(image(leader).FindNode(NodeId{going}), nullptr);
  EXPECT_EQ(CreateTopicCalled("orders"), "OK");
}

TEST_F(SeatsTest, ADeadVoterIsReplacedWhenSomebodyRemovesIt) {
  Found(3);
  Join(4);
  Ticks(60);
  const uint64_t dead = WaitForLeader() == 3 ? 2 : 3;
  Kill(dead);
  Ticks(200);
  EXPECT_EQ(Members(), "voters 1,2,3 learners 4");
  ASSERT_EQ(Do(RemoveNode{.node = NodeId{dead}}), "OK");
  Ticks(60);
  EXPECT_EQ(Members(), dead == 3 ? "voters 1,2,4" : "voters 1,3,4");
  // Now one of the three may fail.
  const uint64_t next = WaitForLeader();
  Kill(next);
  EXPECT_EQ(CreateTopicCalled("orders"), "OK");
}

}  // namespace
}  // namespace flotilla::metadata
