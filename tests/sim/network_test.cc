#include "tests/sim/network.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace flotilla::sim {
namespace {

using raft::Channel;
using raft::PeerMessage;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Remembers the terms of the messages it gets, which the scenes use as names.
class Inbox final : public Receiver {
 public:
  bool Deliver(PeerMessage message) override {
    if (!alive) return false;
    for (const raft::Message& part : message.messages) terms.push_back(part.term.value());
    ++bundles;
    return true;
  }
  void ConnectionBroken(NodeId) override { ++broken; }
  std::vector<uint64_t> terms;
  int bundles = 0;
  int broken = 0;
  bool alive = true;
};

class NetworkTest : public ::testing::Test {
 protected:
  NetworkTest() { Connect(1); }

  void Connect(uint64_t seed) {
    events_ = std::make_unique<EventQueue>();
    trace_ = std::make_unique<Trace>(*events_, Trace::Mode::kHashOnly);
    network_ = std::make_unique<Network>(*events_, Random(seed), *trace_, coverage_);
    one_ = {};
    two_ = {};
    network_->Attach(NodeId{1}, one_);
    network_->Attach(NodeId{2}, two_);
  }
  void Send(uint64_t from, uint64_t to, std::vector<uint64_t> terms) {
    PeerMessage message;
    message.from = NodeId{from};
    message.to = NodeId{to};
    for (uint64_t term : terms) {
      message.messages.push_back({GroupId{1}, {NodeId{from}, 1}, {NodeId{to}, 1}, Term{term}, raft::TimeoutNow{}});
    }
    network_->Send(Channel::kControl, std::move(message));
  }
  void RunAll() {
    while (events_->RunOne()) {
    }
  }

  std::unique_ptr<EventQueue> events_;
  std::unique_ptr<Trace> trace_;
  Coverage coverage_;
  std::unique_ptr<Network> network_;
  Inbox one_, two_;
};

TEST_F(NetworkTest, AnOrderedLinkKeepsTheOrder) {
  network_->SetConditions({.ordered = true, .delay_spread = kSecond});
  for (uint64_t term = 1; term <= 50; ++term) Send(1, 2, {term});
  RunAll();
  EXPECT_TRUE(std::is_sorted(two_.terms.begin(), two_.terms.end()));
  EXPECT_THAT(two_.terms, SizeIs(50));
}

TEST_F(NetworkTest, AnUnorderedLinkDoesNot) {
  network_->SetConditions({.ordered = false, .delay_spread = kSecond});
  for (uint64_t term = 1; term <= 50; ++term) Send(1, 2, {term});
  RunAll();
  EXPECT_FALSE(std::is_sorted(two_.terms.begin(), two_.terms.end()));
  EXPECT_THAT(two_.terms, SizeIs(50));
  EXPECT_GT(coverage_.Of(Met::kMessageOvertaken), 0u);
}

TEST_F(NetworkTest, ACutInOneDirectionStopsOnlyThatOneAndWhatIsOnItsWay) {
  Send(1, 2, {1});
  network_->CutOneWay(NodeId{1}, NodeId{2});
  Send(1, 2, {2});
  Send(2, 1, {3});
  RunAll();
  EXPECT_THAT(two_.terms, IsEmpty());
  EXPECT_THAT(one_.terms, ElementsAre(3));
  network_->Mend(NodeId{1}, NodeId{2});
  Send(1, 2, {4});
  RunAll();
  EXPECT_THAT(two_.terms, ElementsAre(4));
}

TEST_F(NetworkTest, ABundleMayBeSplit) {
  network_->SetConditions({.split = 1});
  Send(1, 2, {1, 2, 3});
  RunAll();
  EXPECT_EQ(two_.bundles, 3);
  EXPECT_THAT(two_.terms, ElementsAre(1, 2, 3));
}

TEST_F(NetworkTest, LossAndRepetitionHappenAsOftenAsAsked) {
  network_->SetConditions({.loss = 0.5});
  for (int i = 0; i < 1000; ++i) Send(1, 2, {1});
  RunAll();
  EXPECT_NEAR(static_cast<double>(two_.terms.size()), 500, 80);
  network_->SetConditions({.repeat = 0.5});
  for (int i = 0; i < 1000; ++i) Send(2, 1, {1});
  RunAll();
  EXPECT_NEAR(static_cast<double>(one_.terms.size()), 1500, 80);
}

TEST_F(NetworkTest, TheSenderToADeadNodeLearnsThatTheConnectionBroke) {
  network_->SetConditions({.break_notice = 1});
  two_.alive = false;
  Send(1, 2, {1});
  RunAll();
  EXPECT_EQ(one_.broken, 1);
  EXPECT_EQ(network_->in_flight(), 0u);
}

TEST_F(NetworkTest, TheSameSeedGivesTheSameTraceAndAnotherSeedAnother) {
  const auto run = [&](uint64_t seed) {
    Connect(seed);
    network_->SetConditions({.loss = 0.2, .repeat = 0.2, .ordered = false, .delay_spread = kSecond});
    for (uint64_t term = 1; term <= 200; ++term) Send(1 + term % 2, 2 - term % 2, {term});
    RunAll();
    return trace_->hash();
  };
  const uint64_t first = run(7);
  EXPECT_EQ(first, run(7));
  EXPECT_NE(first, run(8));
}

}  // namespace
}  // namespace flotilla::sim
