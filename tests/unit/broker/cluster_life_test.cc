// A member that starts at another address than before: it may have moved, or be a copy of a node that lives.
#include "server/broker/cluster_life.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "flotilla/internal/v1/peer.pb.h"
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
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Node 2 of three, which ran at n2:9651 when it ran last.
class MovedNodeTest : public testing::Test {
 protected:
  MovedNodeTest() {
    scene_.Found({.nodes = 3});
    options_.description = NodeCalled(2);
    options_.seeds = {"n1:9651", "n2:9651", "n3:9651"};
    file_.state.set_cluster_id(std::string(UuidOf(1000).bytes()));
    file_.state.set_node_id(2);
    file_.state.set_peer_address("n2:9651");
  }
  void StartAt(const std::string& address) {
    options_.description.peer_address = address;
    life_ = std::make_unique<ClusterLife>(
        options_, around_,
        ClusterLife::Callbacks{.become_member = [this](bool) { member_ = true; },
                               .identity = [this] { return Identity(); },
                               .image = [this]() -> metadata::Shared<metadata::Image> {
                                 if (!member_) return nullptr;
                                 return scene_.shared();
                               },
                               .controller = [] { return NodeId{}; },
                               .met = [this](const internal::v1::JoinResponse& met) { met_ = met.metadata_members_size(); },
                               .stop = [this](const Status& why) { stopped_ = why; }},
        Random(1));
    ASSERT_TRUE(life_->Start().ok());
  }
  internal::v1::NodeIdentity Identity() const {
    internal::v1::NodeIdentity identity = IdentityOf(options_.description);
    identity.set_cluster_id(file_.state.cluster_id());
    identity.set_node_id(file_.state.node_id());
    return identity;
  }
  std::vector<std::string> Calls() const {
    std::vector<std::string> told;
    for (const auto& call : network_.calls) told.push_back(call.method.substr(call.method.rfind('/') + 1) + " at " + call.address);
    return told;
  }
  void Answer(const Result<std::string>& answer) {
    ASSERT_FALSE(network_.calls.empty());
    const PeerDone done = std::move(network_.calls.front().done);
    network_.calls.erase(network_.calls.begin());
    done(answer);
  }
  static std::string HelloOf(const Uuid& uuid) {
    internal::v1::HandshakeResponse response;
    response.mutable_callee()->set_node_uuid(std::string(uuid.bytes()));
    return response.SerializeAsString();
  }
  // Seconds pass; each attempt to register is answered so.
  void Seconds(int count, const Result<std::string>& answer) {
    for (; count > 0; --count) {
      clock_.now += std::chrono::seconds(1);
      life_->Tick();
      if (!network_.calls.empty()) Answer(answer);
    }
  }

  metadata::Scene scene_;
  SteppedClock clock_;
  RememberedFile file_;
  ScriptedNetwork network_;
  raft::ManualExecutor executor_;
  raft::ManualExecutor readers_;
  storage::MemoryDisk disk_;
  std::unique_ptr<storage::MemoryStore> store_ = *storage::MemoryStore::Open(disk_);
  BrokerOptions options_;
  const BrokerSurroundings around_{
      .executor = executor_, .readers = readers_, .store = *store_, .file = file_, .network = network_, .clock = clock_};
  std::unique_ptr<ClusterLife> life_;
  bool member_ = false;
  int met_ = 0;
  Status stopped_;
};

TEST_F(MovedNodeTest, WhereItWasItTakesPartAtOnce) {
  StartAt("n2:9651");
  EXPECT_TRUE(member_);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(MovedNodeTest, ACopyOfANodeThatLivesStopsBeforeItTakesPart) {
  StartAt("copy:9651");
  EXPECT_FALSE(member_);
  EXPECT_TRUE(life_->asks());
  EXPECT_THAT(life_->Describe(), HasSubstr("n2:9651"));
  ASSERT_THAT(Calls(), ElementsAre("Handshake at n2:9651"));
  life_->Tick();
  EXPECT_THAT(Calls(), testing::SizeIs(1));  // and does nothing else meanwhile
  Answer(HelloOf(UuidOf(2)));
  EXPECT_FALSE(member_);
  EXPECT_EQ(RefusalOf(stopped_), Refusal::kNodeMismatch);
  EXPECT_THAT(std::string(stopped_.message()), HasSubstr("n2:9651"));
  EXPECT_THAT(std::string(stopped_.message()), HasSubstr("copy:9651"));
  EXPECT_EQ(file_.state.peer_address(), "n2:9651");  // the next start asks again
}

TEST_F(MovedNodeTest, ANodeThatMovedTakesPartWhenNobodyAnswersAtItsOldAddress) {
  StartAt("new:9651");
  Answer(Status(Reason::kNoLeader, "nobody listens there"));
  EXPECT_TRUE(stopped_.ok()) << stopped_;
  EXPECT_TRUE(member_);
  EXPECT_FALSE(life_->asks());
  EXPECT_EQ(file_.state.peer_address(), "new:9651");
}

TEST_F(MovedNodeTest, AnotherNodeMayHaveItsOldAddress) {
  StartAt("new:9651");
  Answer(HelloOf(UuidOf(9)));
  EXPECT_TRUE(stopped_.ok()) << stopped_;
  EXPECT_TRUE(member_);
}

// The one that asks claims no id: the other would refuse a second one of itself instead of saying who it is.
TEST_F(MovedNodeTest, TheQuestionIsThatOfAStranger) {
  StartAt("copy:9651");
  internal::v1::HandshakeRequest hello;
  ASSERT_TRUE(hello.ParseFromString(network_.calls.at(0).request));
  EXPECT_EQ(hello.caller().node_id(), 0u);
  EXPECT_EQ(hello.caller().cluster_id(), UuidOf(1000).bytes());
}

TEST_F(MovedNodeTest, WhoIsToldForHalfAMinuteThatItIsACopyStops) {
  StartAt("copy:9651");
  Answer(Status(Reason::kOutcomeUnknown, "time ran out"));
  ASSERT_TRUE(member_);
  const Status copy = metadata::CopiedDirectory(NodeCalled(2), NodeId{2}, "copy:9651");
  Seconds(20, copy);
  Seconds(1, Status(Reason::kNoLeader, "an election is on"));
  Seconds(9, copy);
  EXPECT_TRUE(stopped_.ok()) << stopped_;
  Seconds(1, copy);
  EXPECT_EQ(stopped_.message(), copy.message());
}

TEST_F(MovedNodeTest, WhoIsRegisteredInTheEndGoesOn) {
  StartAt("new:9651");
  Answer(Status(Reason::kNoLeader, "nobody listens there"));
  Seconds(20, metadata::CopiedDirectory(NodeCalled(2), NodeId{2}, "new:9651"));
  internal::v1::JoinResponse registered;
  registered.set_cluster_id(file_.state.cluster_id());
  registered.set_node_id(2);
  Seconds(60, registered.SerializeAsString());
  EXPECT_TRUE(stopped_.ok()) << stopped_;
}

// It may have been away while they joined, or moved.
TEST_F(MovedNodeTest, WhoRegistersIsToldOfTheOthers) {
  StartAt("n2:9651");
  internal::v1::JoinResponse registered;
  registered.set_cluster_id(file_.state.cluster_id());
  registered.set_node_id(2);
  for (uint64_t id = 1; id <= 4; ++id) registered.add_metadata_members()->set_node_id(id);
  Seconds(1, registered.SerializeAsString());
  EXPECT_EQ(met_, 4);
  EXPECT_EQ(file_.state.metadata_members_size(), 0);  // the metadata will know
  Seconds(5, registered.SerializeAsString());
  EXPECT_THAT(Calls(), IsEmpty());
  met_ = 0;
  life_->Rejoin();  // somebody wrote whom it does not know
  Seconds(1, registered.SerializeAsString());
  EXPECT_EQ(met_, 4);
}

TEST_F(MovedNodeTest, AProgramThatRemembersNoAddressTakesPart) {
  file_.state.clear_peer_address();
  StartAt("n2:9651");
  EXPECT_TRUE(member_);
  EXPECT_EQ(file_.state.peer_address(), "n2:9651");
}

}  // namespace
}  // namespace flotilla::broker
