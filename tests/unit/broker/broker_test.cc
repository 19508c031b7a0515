// A broker and its peers: whom it greets, whom it knows, and what it believes of their reports. The rest of it: tests/sim/broker.
#include "server/broker/broker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "flotilla/internal/v1/peer.pb.h"
#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "server/broker/limits.h"
#include "server/errors/refusal.h"
#include "server/metadata/membership.h"
#include "storage/memory/memory_store.h"
#include "tests/raft_node/host_cluster.h"
#include "tests/unit/broker/scripted_node.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::broker {
namespace {

using metadata::NodeCalled;
using metadata::UuidOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

// A broker, and all around it in the hand of the scene.
class LoneBrokerTest : public testing::Test {
 protected:
  void Start(const BrokerOptions& options) {
    broker_ = std::make_unique<Broker>(
        options,
        BrokerSurroundings{
            .executor = executor_, .readers = readers_, .store = *store_, .file = file_, .network = network_, .clock = clock_},
        Random(1));
    CHECK(broker_->Start().ok());
  }

  SteppedClock clock_;
  RememberedFile file_;
  ScriptedNetwork network_;
  raft::ManualExecutor executor_;
  raft::ManualExecutor readers_;
  storage::MemoryDisk disk_;
  std::unique_ptr<storage::MemoryStore> store_ = *storage::MemoryStore::Open(disk_);
  std::unique_ptr<Broker> broker_;
};

// Node 1 alone founded the cluster, and leads the metadata. Nodes 2 and 3 are what the scene says of them.
class BrokerTest : public LoneBrokerTest {
 protected:
  BrokerTest() {
    BrokerOptions options;
    options.description = NodeCalled(1);
    options.cluster_name = "test";
    options.bootstrap_single = true;
    Start(options);
    Ticks(5);
    CHECK(broker_->metadata()->cluster.has_value());
    for (uint64_t node : {2, 3}) CHECK_EQ(Join(NodeCalled(node)).status(), "OK");
    CHECK_EQ(broker_->metadata()->nodes.size(), 3u);
  }
  ~BrokerTest() override {
    broker_.reset();
    Settle();
    store_.reset();
  }

  void Settle() {
    while (executor_.RunOne() || readers_.RunOne() || store_->SyncOnce()) {
    }
  }
  void Ticks(int count) {
    for (; count > 0; --count) {
      clock_.now += std::chrono::milliseconds(50);
      broker_->Tick();
      Settle();
    }
  }

  struct Answer {
    Result<std::string> result = Status(Reason::kOutcomeUnknown, "no answer");
    std::string status() const { return metadata::ReasonOf(result); }
  };
  template <typename Request>
  Answer PeerCall(const std::string& method, const Request& request) {
    Answer answer;
    broker_->PeerCall("/flotilla.internal.v1." + method, request.SerializeAsString(),
                      [&answer](Result<std::string> result) { answer.result = std::move(result); });
    Settle();
    return answer;
  }
  internal::v1::NodeIdentity IdentityOf(const metadata::NodeDescription& description, uint64_t id) const {
    internal::v1::NodeIdentity identity = broker::IdentityOf(description);
    identity.set_cluster_name("test");
    identity.set_cluster_id(file_.state.cluster_id());
    identity.set_node_id(id);
    return identity;
  }
  Answer Join(const metadata::NodeDescription& description, uint64_t claimed = 0) {
    internal::v1::JoinRequest request;
    *request.mutable_node() = IdentityOf(description, claimed);
    return PeerCall("MembershipService/Join", request);
  }
  internal::v1::ReportRequest ReportOf(uint64_t node) const {
    internal::v1::ReportRequest report;
    *report.mutable_node() = IdentityOf(NodeCalled(node), node);
    report.set_time_ms(clock_.WallMillis());
    return report;
  }
  Status Greeted(const metadata::NodeDescription& caller, uint64_t id) const {
    internal::v1::HandshakeRequest hello;
    *hello.mutable_caller() = IdentityOf(caller, id);
    return broker_->Greet(hello).status();
  }
  static metadata::NodeDescription CopyOf(uint64_t node) {
    metadata::NodeDescription copy = NodeCalled(node);
    copy.peer_address = "copy:9651";
    return copy;
  }
  std::vector<std::string> Peers() const {
    std::vector<std::string> told;
    for (const Peer& peer : network_.peers) told.push_back(std::to_string(peer.id.value()) + " at " + peer.address);
    return told;
  }
  // The next second: this node asks to be registered, and is answered so.
  void Registers(const internal::v1::JoinResponse& response) {
    Ticks(20);
    for (auto& call : std::exchange(network_.calls, {})) {
      if (call.method.ends_with("/Join")) call.done(response.SerializeAsString());
    }
    Settle();
  }
};

// --- a node is one process

TEST_F(BrokerTest, ACopyOfALivingNodeIsNeitherGreetedNorRegisteredNorHeard) {
  const metadata::NodeDescription copy = CopyOf(2);
  EXPECT_TRUE(Greeted(NodeCalled(2), 2).ok());
  const Status refused = Greeted(copy, 2);
  EXPECT_TRUE(metadata::IsCopy(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("n2:9651"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("copy:9651"));
  EXPECT_TRUE(metadata::IsCopy(Join(copy, 2).result.status()));
  internal::v1::ReportRequest report = ReportOf(2);
  *report.mutable_node() = IdentityOf(copy, 2);
  EXPECT_EQ(PeerCall("MembershipService/Report", report).status(), "NODE_MISMATCH");
  EXPECT_EQ(broker_->metadata()->FindNode(NodeId{2})->description.peer_address, "n2:9651");
}

TEST_F(BrokerTest, ANodeThatMovedIsRegisteredAndGreetedWhenItIsSilentAtItsOldAddress) {
  const metadata::NodeDescription moved = CopyOf(2);
  for (int second = 0; second < 10; ++second) {
    Ticks(20);
    internal::v1::ReportRequest report = ReportOf(2);
    *report.mutable_node() = IdentityOf(moved, 2);
    (void)PeerCall("MembershipService/Report", report);  // does not count: nobody hears of it at the old address
  }
  EXPECT_FALSE(broker_->metadata()->FindNode(NodeId{2})->alive);
  EXPECT_TRUE(Greeted(moved, 2).ok());
  EXPECT_EQ(Join(moved, 2).status(), "OK");
  EXPECT_TRUE(broker_->metadata()->FindNode(NodeId{2})->alive);
  EXPECT_TRUE(Greeted(moved, 2).ok());
  EXPECT_TRUE(metadata::IsCopy(Greeted(NodeCalled(2), 2)));
  EXPECT_THAT(Peers(), Contains("2 at copy:9651"));
}

TEST_F(BrokerTest, ACopyOfTheMetadataLeaderIsRefusedAndTheLeaderItselfIsNot) {
  EXPECT_TRUE(metadata::IsCopy(Join(CopyOf(1), 1).result.status()));
  EXPECT_EQ(Join(NodeCalled(1), 1).status(), "OK");
}

// --- who was away

// What it said before it was upgraded arrives when it has registered anew.
TEST_F(BrokerTest, ANodeThatIsDescribedAsItWasBeforeRegistersAgain) {
  const auto version = [this] { return broker_->metadata()->FindNode(NodeId{1})->description.software_version; };
  // How often it registers in three seconds.
  const auto registers = [this] {
    int times = 0;
    for (int ticks = 0; ticks < 60; ++ticks) {
      Ticks(1);
      for (auto& call : std::exchange(network_.calls, {})) {
        internal::v1::JoinRequest request;
        if (call.method.find("/Join") == std::string::npos || !request.ParseFromString(call.request)) continue;
        ++times;
        call.done(PeerCall("MembershipService/Join", request).result);
      }
    }
    return times;
  };
  EXPECT_EQ(registers(), 1);
  metadata::NodeDescription before = NodeCalled(1);
  before.software_version = "0.0.9";
  ASSERT_EQ(Join(before, 1).status(), "OK");
  ASSERT_EQ(version(), "0.0.9");
  EXPECT_EQ(registers(), 1) << "once is enough";
  EXPECT_EQ(version(), NodeCalled(1).software_version);
}

// Its clients need not know that it is damaged: others serve them.
TEST_F(BrokerTest, ANodeWhoseMetadataIsDamagedSendsItsClientsElsewhere) {
  broker_.reset();
  Settle();
  const LogIndex last = disk_.Find(metadata::kMetadataGroup)->state.bounds.last_index();
  ASSERT_TRUE(disk_.FlipBit(metadata::kMetadataGroup, last, 7));
  store_.reset();
  store_ = *storage::MemoryStore::Open(disk_);
  BrokerOptions options;
  options.description = NodeCalled(1);
  options.cluster_name = "test";
  Start(options);
  Ticks(60);
  ASSERT_EQ(broker_->state().halted.reason(), Reason::kDataLoss) << broker_->state().halted;
  Status told;
  broker_->SyncMetadata({}, [&told](const Status& status) { told = status; });
  Settle();
  EXPECT_EQ(told.reason(), Reason::kShuttingDown) << told;
  EXPECT_THAT(std::string(told.message()), HasSubstr("is damaged"));
}

// What a start found on the disk may be older than what this node had told.
class RestartedBrokerTest : public BrokerTest {
 protected:
  RestartedBrokerTest() {
    v1::CreateTopicRequest request;
    request.mutable_topic()->set_name("orders");
    request.set_replication_factor(1);
    CHECK_EQ(Outcome(Ask("AdminService/CreateTopic", request)), "OK");
    // It makes a snapshot of every change, so that it starts with an image that is not empty.
    Restart();
    Ticks(20);
    request.mutable_topic()->set_name("clicks");
    CHECK_EQ(Outcome(Ask("AdminService/CreateTopic", request)), "OK");
    Restart();
    TicksWithoutDisk(1);
    CHECK(broker_->metadata()->cluster.has_value());
  }
  ~RestartedBrokerTest() override { Settle(); }

  void Restart() {
    broker_.reset();
    Settle();
    store_.reset();
    store_ = *storage::MemoryStore::Open(disk_);
    BrokerOptions options;
    options.description = NodeCalled(1);
    options.cluster_name = "test";
    options.metadata_snapshot_bytes = 1;
    Start(options);
  }

  using Told = std::shared_ptr<std::string>;
  template <typename Request>
  Told Ask(const std::string& method, const Request& request) {
    const auto told = std::make_shared<std::string>();
    broker_->Call("/flotilla.v1." + method, request.SerializeAsString(),
                  {.principal = "", .address = "test", .deadline = clock_.Now() + std::chrono::seconds(5)},
                  [told](const Result<std::string>& result) { *told = metadata::ReasonOf(result); });
    return told;
  }
  // Now, or soon.
  std::string Outcome(const Told& told) {
    for (int tick = 0; told->empty() && tick < 200; ++tick) Ticks(1);
    return *told;
  }
  // Time goes by, but not for the disk, without which nobody is elected.
  void TicksWithoutDisk(int count) {
    for (; count > 0; --count) {
      clock_.now += std::chrono::milliseconds(50);
      broker_->Tick();
      while (executor_.RunOne() || readers_.RunOne()) {
      }
    }
  }
  static v1::GetTopicRequest Topic(const std::string& name) {
    v1::GetTopicRequest request;
    request.mutable_topic()->set_name(name);
    return request;
  }
};

TEST_F(RestartedBrokerTest, LooksWaitUntilTheLeaderOfTheMetadataWasHeard) {
  const Told topic = Ask("AdminService/GetTopic", Topic("orders"));
  const Told topics = Ask("AdminService/ListTopics", v1::ListTopicsRequest());
  v1::GetConfigRequest of_topic;
  of_topic.mutable_resource()->mutable_topic()->set_name("orders");
  const Told config = Ask("AdminService/GetConfig", of_topic);
  TicksWithoutDisk(20);
  EXPECT_THAT((std::vector{*topic, *topics, *config}), testing::Each(""));
  EXPECT_EQ(Outcome(topic), "OK");
  EXPECT_EQ(Outcome(topics), "OK");
  EXPECT_EQ(Outcome(config), "OK");
  // From then on at once.
  const Told again = Ask("AdminService/GetTopic", Topic("orders"));
  Settle();
  EXPECT_EQ(*again, "OK");
}

TEST_F(RestartedBrokerTest, WithoutALeaderLooksAreRefusedInTheEndAndWhatSaysHowOldItIsIsAnswered) {
  const Told topic = Ask("AdminService/GetTopic", Topic("orders"));
  const Told metadata = Ask("ClusterService/GetMetadata", v1::GetMetadataRequest());
  TicksWithoutDisk(102);
  EXPECT_EQ(*metadata, "OK");
  EXPECT_EQ(*topic, "NO_LEADER");
}

// It cannot know.
TEST_F(RestartedBrokerTest, WithoutALeaderNobodyIsToldThatSomethingDoesNotExist) {
  v1::GetMetadataRequest metadata;
  *metadata.add_topics() = Topic("payments").topic();
  v1::ListPartitionsRequest partitions;
  *partitions.mutable_topic() = Topic("payments").topic();
  v1::ListPartitionsRequest on_node;
  on_node.set_node_id(4);
  const std::vector early = {Ask("ClusterService/GetMetadata", metadata), Ask("AdminService/ListPartitions", partitions),
                             Ask("AdminService/ListPartitions", on_node)};
  TicksWithoutDisk(1);
  for (const Told& told : early) EXPECT_EQ(*told, "NO_LEADER");
  Ticks(100);
  EXPECT_EQ(Outcome(Ask("ClusterService/GetMetadata", metadata)), "TOPIC_NOT_FOUND");
  EXPECT_EQ(Outcome(Ask("AdminService/ListPartitions", partitions)), "TOPIC_NOT_FOUND");
  EXPECT_EQ(Outcome(Ask("AdminService/ListPartitions", on_node)), "NODE_NOT_FOUND");
}

// They wait for one block, and the block's own call ends with theirs.
TEST_F(BrokerTest, WhoWaitsForTheSameIdsIsToldOnceThatTheyDoNotCome) {
  const MonotonicTime deadline = clock_.now + limits::kPeerCallTimeout;
  std::vector<std::string> answers;
  for (int i = 0; i < 3; ++i) {
    broker_->Call("/flotilla.v1.ProduceService/InitProducer", "", {.principal = "", .address = "", .deadline = deadline},
                  [&answers](const Result<std::string>& answer) { answers.push_back(metadata::ReasonOf(answer)); });
  }
  const auto without_disk = [this] {
    while (executor_.RunOne() || readers_.RunOne()) {
    }
  };
  without_disk();
  for (int ticks = 0; ticks < 110; ++ticks) {
    clock_.now += std::chrono::milliseconds(50);
    broker_->Tick();
    without_disk();
  }
  EXPECT_THAT(answers, SizeIs(3));
  Settle();
}

TEST_F(BrokerTest, WhoHearsFromAStrangerRegistersAndKnowsItThen) {
  Registers({});
  network_.calls.clear();
  Ticks(60);
  EXPECT_THAT(network_.calls, SizeIs(0));  // it knows all there are
  broker_->Receive(
      {.from = NodeId{4}, .to = NodeId{1}, .messages = {}, .heartbeat = {}, .heartbeat_reply = {}, .chunks = {}, .chunk_replies = {}});
  internal::v1::JoinResponse registered;
  registered.set_cluster_id(file_.state.cluster_id());
  registered.set_node_id(1);
  registered.set_metadata_version(broker_->metadata()->version.value() + 100);
  internal::v1::FoundingMember& stranger = *registered.add_metadata_members();
  stranger.set_node_id(4);
  stranger.set_node_uuid(std::string(UuidOf(4).bytes()));
  stranger.set_peer_address("n4:9651");
  EXPECT_THAT(Peers(), Not(Contains("4 at n4:9651")));
  Registers(registered);
  EXPECT_THAT(Peers(), Contains("4 at n4:9651"));
  EXPECT_THAT(Peers(), Contains("2 at n2:9651"));
}

TEST_F(BrokerTest, WhoWasAwayWhileOthersMovedGoesByWhatItIsToldThen) {
  internal::v1::JoinResponse registered;
  registered.set_cluster_id(file_.state.cluster_id());
  registered.set_node_id(1);
  internal::v1::FoundingMember& moved = *registered.add_metadata_members();
  moved.set_node_id(2);
  moved.set_node_uuid(std::string(UuidOf(2).bytes()));
  moved.set_peer_address("copy:9651");
  // An answer that is older than the image teaches nothing.
  registered.set_metadata_version(1);
  Registers(registered);
  EXPECT_THAT(Peers(), Contains("2 at n2:9651"));
  EXPECT_FALSE(Greeted(CopyOf(2), 2).ok());
  broker_->Receive(
      {.from = NodeId{4}, .to = NodeId{1}, .messages = {}, .heartbeat = {}, .heartbeat_reply = {}, .chunks = {}, .chunk_replies = {}});
  registered.set_metadata_version(broker_->metadata()->version.value() + 100);
  Registers(registered);
  EXPECT_THAT(Peers(), Contains("2 at copy:9651"));
  EXPECT_TRUE(Greeted(CopyOf(2), 2).ok());
  EXPECT_FALSE(Greeted(NodeCalled(2), 2).ok());
}

// --- reports of leaders

class LeaderReportTest : public BrokerTest {
 protected:
  LeaderReportTest() {
    v1::CreateTopicRequest request;
    request.mutable_topic()->set_name("orders");
    request.set_partition_count(3);
    request.set_replication_factor(1);
    Result<std::string> made = Status(Reason::kOutcomeUnknown, "no answer");
    broker_->Call("/flotilla.v1.AdminService/CreateTopic", request.SerializeAsString(),
                  {.principal = "", .address = "test", .deadline = clock_.Now() + std::chrono::seconds(5)},
                  [&made](Result<std::string> result) { made = std::move(result); });
    Settle();
    const metadata::Topic* topic = broker_->metadata()->FindTopic(metadata::kDefaultNamespace, "orders");
    CHECK(topic != nullptr);
    for (const auto& partition : topic->partitions) {
      if (partition->WantedOn(NodeId{2}).valid()) on_two_ = partition->group;
    }
    CHECK_NE(on_two_.value(), 0u);
  }
  Answer ReportLeader(GroupId group, uint64_t leader, uint64_t term) {
    internal::v1::ReportRequest report = ReportOf(2);
    internal::v1::GroupLeader& row = *report.add_leaders();
    row.set_group(group.value());
    row.set_node_id(leader);
    row.set_term(term);
    return PeerCall("MembershipService/Report", report);
  }

  GroupId on_two_;
};

TEST_F(LeaderReportTest, WhoLeadsIsKnownFromItsReport) {
  EXPECT_EQ(broker_->LeaderOf(on_two_).node, NodeId{});
  EXPECT_EQ(ReportLeader(on_two_, 2, 3).status(), "OK");
  EXPECT_EQ(broker_->LeaderOf(on_two_).node, NodeId{2});
  EXPECT_EQ(ReportLeader(on_two_, 3, 2).status(), "OK");  // of an earlier term
  EXPECT_EQ(broker_->LeaderOf(on_two_).node, NodeId{2});
  EXPECT_EQ(ReportLeader(on_two_, 0, 3).status(), "OK");  // it stopped leading
  EXPECT_EQ(broker_->LeaderOf(on_two_).node, NodeId{});
}

// The node may have applied a topic's creation before the metadata leader has: what is taken for told has to be known.
TEST_F(LeaderReportTest, AReportOfAGroupThatIsNotKnownYetIsAskedForAgain) {
  const GroupId later = broker_->metadata()->next_group;
  EXPECT_EQ(ReportLeader(later, 2, 3).status(), "NO_LEADER");
  v1::DeleteTopicRequest remove;
  remove.mutable_topic()->set_name("orders");
  broker_->Call("/flotilla.v1.AdminService/DeleteTopic", remove.SerializeAsString(),
                {.principal = "", .address = "test", .deadline = clock_.Now() + std::chrono::seconds(5)},
                [](const Result<std::string>&) {});
  Settle();
  EXPECT_EQ(ReportLeader(on_two_, 2, 3).status(), "OK");  // it is gone: nobody needs to know
}

TEST_F(LeaderReportTest, WhatANodeIsToldIsToldOnceAndAllOfItWhenItAsks) {
  const auto leaders_told = [&](bool full) {
    internal::v1::ReportRequest report = ReportOf(3);
    report.set_full(full);
    internal::v1::ReportResponse response;
    const Answer answer = PeerCall("MembershipService/Report", report);
    EXPECT_TRUE(answer.result.ok() && response.ParseFromString(*answer.result));
    int told = 0;
    for (const auto& leader : response.leaders()) told += leader.group() == on_two_.value() ? 1 : 0;
    return told;
  };
  EXPECT_EQ(ReportLeader(on_two_, 2, 3).status(), "OK");
  EXPECT_EQ(leaders_told(true), 1);
  EXPECT_EQ(leaders_told(false), 0);
  EXPECT_EQ(leaders_told(true), 1);
}

// --- a node that is asked to found a cluster

// Two seeds; the other one is what the scene says of it.
class FoundingCallTest : public LoneBrokerTest {
 protected:
  FoundingCallTest() {
    BrokerOptions options;
    options.description = NodeCalled(1);
    options.seeds = {NodeCalled(1).peer_address, NodeCalled(2).peer_address};
    Start(options);
  }
  uint64_t Init() {
    return broker_->Call("/flotilla.v1.ClusterService/InitCluster", "", {},
                         [this](const Result<std::string>& answer) { answers_.push_back(metadata::ReasonOf(answer)); });
  }
  // The seed does not answer, until nobody tries any more.
  void EndBirth() {
    clock_.now += std::chrono::seconds(10);
    for (auto& call : std::exchange(network_.calls, {})) call.done(Status(Reason::kNoLeader, "not there"));
  }

  std::vector<std::string> answers_;
};

TEST_F(FoundingCallTest, WhoWaitsIsToldThatASeedIsSilent) {
  Init();
  EXPECT_THAT(answers_, testing::IsEmpty());
  EndBirth();
  EXPECT_THAT(answers_, testing::ElementsAre("NO_LEADER"));
}

TEST_F(FoundingCallTest, WhoIsGoneIsNotAnswered) {
  broker_->Cancel(Init());
  EndBirth();
  EXPECT_THAT(answers_, testing::IsEmpty());
}

}  // namespace
}  // namespace flotilla::broker
