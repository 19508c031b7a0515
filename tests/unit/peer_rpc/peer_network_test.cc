#include "server/rpc/peer/peer_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "flotilla/internal/v1/forward.pb.h"
#include "flotilla/internal/v1/peer.pb.h"
#include "tests/support/entry_maker.h"
#include "tests/unit/peer_rpc/scene.h"

namespace flotilla::rpc {
namespace {

using broker::ForwardAnswer;
using broker::ForwardRequest;
using raft::Channel;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr char kReport[] = "/flotilla.internal.v1.MembershipService/Report";

raft::PeerMessage Bundle(NodeId from, NodeId to) { return {.from = from, .to = to}; }

// A small message that carries a number.
raft::PeerMessage Numbered(NodeId from, NodeId to, uint64_t number) {
  raft::PeerMessage bundle = Bundle(from, to);
  bundle.heartbeat.emplace().sequence = number;
  return bundle;
}
uint64_t NumberOf(const raft::PeerMessage& bundle) { return bundle.heartbeat ? bundle.heartbeat->sequence : 0; }

raft::PeerMessage Append(NodeId from, NodeId to, const std::string& payload) {
  storage::EntryMaker make(GroupId{7});
  raft::AppendRequest append;
  append.entries.push_back(make.Data(payload));
  raft::PeerMessage bundle = Bundle(from, to);
  bundle.messages.push_back({.group = GroupId{7}, .from = {from, 1}, .to = {to, 1}, .term = Term{1}, .body = append});
  return bundle;
}

ForwardRequest Part(uint64_t id, NodeId from, NodeId to, Duration timeout = seconds(10)) {
  return {.id = id, .origin = from, .target = to, .timeout = timeout, .operation = broker::ForwardLocate{partition::Earliest{}}};
}
ForwardRequest Cancel(uint64_t id, NodeId from, NodeId to) {
  return {.id = id, .origin = from, .target = to, .timeout = seconds(1), .operation = broker::ForwardCancel{}};
}

// Bundles that carry entries, not the marks of Connected.
size_t Entries(const TestNode& node) {
  return static_cast<size_t>(
      std::count_if(node.received.begin(), node.received.end(), [](const raft::PeerMessage& bundle) { return !bundle.messages.empty(); }));
}

// Messages are lost until a connection is there: sends one again and again until it arrives.
bool Connected(TestNode& from, TestNode& to, Channel channel) {
  for (int attempt = 0; attempt < 500; ++attempt) {
    const uint64_t mark = 1'000'000 + static_cast<uint64_t>(channel);
    from.Send(channel, Numbered(from.id(), to.id(), mark));
    bool arrived = false;
    to.Note([&] {
      for (const auto& bundle : to.received) arrived |= NumberOf(bundle) == mark;
    });
    if (arrived) return true;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return false;
}
bool AllConnected(TestNode& from, TestNode& to) {
  return Connected(from, to, Channel::kControl) && Connected(from, to, Channel::kData) && Connected(from, to, Channel::kSnapshot);
}
// A free port, which nobody listens on.
std::string FreeAddress() {
  const TestNode gone(NodeId{9});
  return gone.address();
}

class PeerNetworkTest : public ::testing::Test {
 protected:
  TestNode one_{NodeId{1}};
  TestNode two_{NodeId{2}};
};

// --- Raft's channels

TEST_F(PeerNetworkTest, MessagesOfEveryChannelArriveInOrder) {
  one_.Meet({two_.AsPeer()});
  ASSERT_TRUE(AllConnected(one_, two_));
  two_.Note([&] { two_.received.clear(); });
  constexpr uint64_t kCount = 1000;
  for (uint64_t number = 1; number <= kCount; ++number) {
    one_.Send(Channel::kControl, Numbered(one_.id(), two_.id(), number));
    one_.Send(Channel::kData, Numbered(one_.id(), two_.id(), 10'000 + number));
    one_.Send(Channel::kSnapshot, Numbered(one_.id(), two_.id(), 20'000 + number));
  }
  const auto in_order = [&](uint64_t base) {
    uint64_t next = base + 1;
    for (const auto& bundle : two_.received) {
      if (NumberOf(bundle) <= base || NumberOf(bundle) > base + kCount) continue;
      if (NumberOf(bundle) != next++) return false;
    }
    return next == base + kCount + 1;
  };
  EXPECT_TRUE(two_.Await([&] { return in_order(0) && in_order(10'000) && in_order(20'000); }));
}

TEST_F(PeerNetworkTest, ALargeEntryArrivesBitForBit) {
  one_.Meet({two_.AsPeer()});
  ASSERT_TRUE(AllConnected(one_, two_));
  two_.Note([&] { two_.received.clear(); });
  Random random(1);
  std::string payload(limits::kMiB, '\0');
  for (char& byte : payload) byte = static_cast<char>(random.Below(256));
  one_.Send(Channel::kData, Append(one_.id(), two_.id(), payload));
  ASSERT_TRUE(two_.Await([&] { return Entries(two_) == 1; }));
  const auto found =
      std::find_if(two_.received.begin(), two_.received.end(), [](const raft::PeerMessage& bundle) { return !bundle.messages.empty(); });
  const auto& append = std::get<raft::AppendRequest>(found->messages.at(0).body);
  EXPECT_TRUE(append.entries.at(0).payload.view() == payload);
}

// More than the window: acknowledgements open it again.
TEST_F(PeerNetworkTest, TheWindowOpensAgain) {
  one_.Meet({two_.AsPeer()});
  ASSERT_TRUE(AllConnected(one_, two_));
  two_.Note([&] { two_.received.clear(); });
  const raft::PeerMessage bundle = Append(one_.id(), two_.id(), std::string(limits::kMiB, 'x'));
  for (int i = 0; i < 24; ++i) one_.Send(Channel::kData, bundle);
  EXPECT_TRUE(two_.Await([&] { return Entries(two_) == 24; })) << Entries(two_);
}

TEST_F(PeerNetworkTest, WhatIsAboveTheQueueIsDropped) {
  TestNodeOptions options;
  options.limits.data_queue_bytes = 2 * limits::kMiB;
  TestNode three(NodeId{3}, options);
  three.Meet({two_.AsPeer()});
  ASSERT_TRUE(AllConnected(three, two_));
  two_.Note([&] { two_.received.clear(); });
  std::atomic<bool> go_on = false;
  two_.executor().Post([&] {
    while (!go_on) std::this_thread::yield();
  });
  const raft::PeerMessage bundle = Append(three.id(), two_.id(), std::string(limits::kMiB, 'x'));
  for (int i = 0; i < 100; ++i) three.Send(Channel::kData, bundle);
  go_on = true;
  three.Send(Channel::kControl, Numbered(three.id(), two_.id(), 1));
  ASSERT_TRUE(Connected(three, two_, Channel::kControl));
  two_.Note([&] { EXPECT_LT(Entries(two_), 20u); });
}

TEST_F(PeerNetworkTest, ThreeNodesAllTalkToEachOther) {
  TestNode three(NodeId{3});
  TestNode* nodes[] = {&one_, &two_, &three};
  for (TestNode* node : nodes) {
    std::vector<broker::Peer> peers;
    for (TestNode* other : nodes) {
      if (other != node) peers.push_back(other->AsPeer());
    }
    node->Meet(peers);
  }
  for (TestNode* from : nodes) {
    for (TestNode* to : nodes) {
      if (from == to) continue;
      EXPECT_TRUE(AllConnected(*from, *to)) << from->id() << " to " << to->id();
    }
    for (TestNode* node : nodes) node->Note([&] { node->received.clear(); });
  }
}

TEST_F(PeerNetworkTest, AnotherClusterIsRefusedWithBothIdsAndWithoutAFlood) {
  TestNode stranger(NodeId{3}, {.cluster = "cluster-b-uuid-2"});
  LogWatch cannot_reach("peer cannot be reached");
  stranger.Meet({two_.AsPeer()});
  // Again and again on three streams.
  while (two_.greetings < 15) {
    stranger.Send(Channel::kControl, Numbered(stranger.id(), two_.id(), 1));
    std::this_thread::sleep_for(milliseconds(1));
  }
  const std::vector<std::string> lines = cannot_reach.lines();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr("CLUSTER_MISMATCH"));
  EXPECT_THAT(lines[0], HasSubstr("cluster-a-uuid-1"));
  EXPECT_THAT(lines[0], HasSubstr("cluster-b-uuid-2"));
  two_.Note([&] { EXPECT_TRUE(two_.received.empty()); });
}

TEST_F(PeerNetworkTest, ANodeThatIsNotTheOneIsNotTalkedTo) {
  LogWatch cannot_reach("peer cannot be reached");
  one_.Meet({{.id = NodeId{3}, .uuid = UuidOf(NodeId{3}), .address = two_.address()}});
  for (int i = 0; i < 500 && cannot_reach.lines().empty(); ++i) std::this_thread::sleep_for(milliseconds(5));
  ASSERT_EQ(cannot_reach.lines().size(), 1u);
  EXPECT_THAT(cannot_reach.lines()[0], HasSubstr("NODE_MISMATCH"));
}

TEST_F(PeerNetworkTest, ABundleOfAnotherNodeEndsTheStream) {
  one_.Meet({two_.AsPeer()});
  ASSERT_TRUE(AllConnected(one_, two_));
  LogWatch broke("peer connection broke");
  one_.Send(Channel::kData, Numbered(NodeId{5}, two_.id(), 7));
  ASSERT_TRUE(one_.Await([&] { return one_.unreachable == 1; }));
  ASSERT_EQ(broke.lines().size(), 1u);
  EXPECT_THAT(broke.lines()[0], HasSubstr("NODE_MISMATCH"));
  two_.Note([&] {
    for (const auto& bundle : two_.received) EXPECT_NE(NumberOf(bundle), 7u);
  });
}

TEST_F(PeerNetworkTest, APeerThatComesBackIsTalkedToAgain) {
  auto three = std::make_unique<TestNode>(NodeId{3});
  const std::string address = three->address();
  LogWatch broke("peer connection broke");
  LogWatch back("peer connected");
  one_.Meet({three->AsPeer()});
  ASSERT_TRUE(AllConnected(one_, *three));
  three = nullptr;
  ASSERT_TRUE(one_.Await([&] { return one_.unreachable == 2; })) << "once for control, once for data";
  three = std::make_unique<TestNode>(NodeId{3}, TestNodeOptions{.address = address});
  EXPECT_TRUE(AllConnected(one_, *three));
  one_.Note([&] { EXPECT_EQ(one_.unreachable, 2); });
  EXPECT_EQ(broke.lines().size(), 1u);
  EXPECT_EQ(back.lines().size(), 2u);
}

TEST_F(PeerNetworkTest, WhoIsNoPeerAnyMoreIsLeftAlone) {
  one_.Meet({two_.AsPeer()});
  ASSERT_TRUE(AllConnected(one_, two_));
  one_.Meet({});
  // Once the executor has seen to that.
  EXPECT_TRUE(one_.Call(two_.address(), kReport, "x", seconds(5)).ok());
  one_.Send(Channel::kControl, Numbered(one_.id(), two_.id(), 7));
  EXPECT_TRUE(one_.Call(two_.address(), kReport, "x", seconds(5)).ok());
  two_.Note([&] {
    for (const auto& bundle : two_.received) EXPECT_NE(NumberOf(bundle), 7u);
  });
}

// --- Forwarded parts

TEST_F(PeerNetworkTest, PartsAreAnsweredInOrder) {
  one_.Meet({two_.AsPeer()});
  for (uint64_t id = 1; id <= 500; ++id) one_.Forward(two_.id(), Part(id, one_.id(), two_.id()));
  ASSERT_TRUE(one_.Await([&] { return one_.answers.size() == 500; }));
  for (const auto& [id, answers] : one_.answers) {
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_TRUE(answers[0].status.ok()) << answers[0].status;
  }
  two_.Note([&] {
    ASSERT_EQ(two_.submitted.size(), 500u);
    for (uint64_t id = 1; id <= 500; ++id) EXPECT_EQ(two_.submitted[id - 1].id, id);
  });
}

TEST_F(PeerNetworkTest, ALookupIsAnsweredWithItsPlace) {
  two_.answer_forward = [](const ForwardRequest& request) {
    partition::FetchResult result;
    result.start_offset = Offset{42};
    result.leader_epoch = Term{6};
    return ForwardAnswer{.id = request.id, .result = result};
  };
  one_.Meet({two_.AsPeer()});
  one_.Forward(two_.id(), Part(1, one_.id(), two_.id()));
  ASSERT_TRUE(one_.Await([&] { return one_.answers.size() == 1; }));
  const auto* result = std::get_if<partition::FetchResult>(&one_.answers[1][0].result);
  ASSERT_NE(result, nullptr);
  EXPECT_EQ(result->start_offset, Offset{42});
  EXPECT_EQ(result->leader_epoch, Term{6}) << "travels in the answer to a lookup alone";
}

TEST_F(PeerNetworkTest, ABrokenStreamIsReportedOnce) {
  auto three = std::make_unique<TestNode>(NodeId{3});
  const std::string address = three->address();
  three->answer_forward = [](const ForwardRequest& request) -> std::optional<ForwardAnswer> {
    if (request.id % 2 == 0) return std::nullopt;
    return ForwardAnswer{.id = request.id};
  };
  one_.Meet({three->AsPeer()});
  for (uint64_t id = 1; id <= 10; ++id) one_.Forward(NodeId{3}, Part(id, one_.id(), NodeId{3}));
  ASSERT_TRUE(one_.Await([&] { return one_.answers.size() == 5; }));
  ASSERT_TRUE(three->Await([&] { return three->submitted.size() == 10; }));
  three = nullptr;
  ASSERT_TRUE(one_.Await([&] { return one_.broken == 1; }));

  three = std::make_unique<TestNode>(NodeId{3}, TestNodeOptions{.address = address});
  one_.Forward(NodeId{3}, Part(11, one_.id(), NodeId{3}));
  ASSERT_TRUE(one_.Await([&] { return one_.answers.contains(11); }));
  EXPECT_TRUE(one_.answers[11][0].status.ok()) << one_.answers[11][0].status;
  one_.Note([&] {
    EXPECT_EQ(one_.broken, 1);
    EXPECT_EQ(one_.answers.size(), 6u) << "what was on the broken stream is the broker's to answer";
  });
}

TEST_F(PeerNetworkTest, APartForNobodyIsRefused) {
  one_.Forward(NodeId{7}, Part(1, one_.id(), NodeId{7}));
  ASSERT_TRUE(one_.Await([&] { return one_.answers.size() == 1; }));
  EXPECT_EQ(one_.answers[1][0].status.reason(), Reason::kNoLeader);
  EXPECT_THAT(one_.answers[1][0].status.ToString(), HasSubstr("node 7 is not a member"));
}

TEST_F(PeerNetworkTest, APartThatCannotBeSentInTimeIsRefused) {
  one_.Meet({{.id = NodeId{3}, .uuid = UuidOf(NodeId{3}), .address = FreeAddress()}});
  const auto begin = std::chrono::steady_clock::now();
  one_.Forward(NodeId{3}, Part(1, one_.id(), NodeId{3}, milliseconds(200)));
  ASSERT_TRUE(one_.Await([&] { return one_.answers.size() == 1; }));
  EXPECT_EQ(one_.answers[1][0].status.reason(), Reason::kNoLeader);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(200));
  one_.Note([&] { EXPECT_EQ(one_.broken, 0) << "nothing was sent"; });
}

TEST_F(PeerNetworkTest, APartWaitsForAConnectionNoLongerThanItIsTold) {
  one_.Meet({{.id = NodeId{3}, .uuid = UuidOf(NodeId{3}), .address = FreeAddress()}});
  ForwardRequest impatient = Part(1, one_.id(), NodeId{3}, seconds(60));
  impatient.connect_within = milliseconds(50);
  one_.Forward(NodeId{3}, std::move(impatient));
  one_.Forward(NodeId{3}, Part(2, one_.id(), NodeId{3}, seconds(60)));
  ASSERT_TRUE(one_.Await([&] { return one_.answers.contains(1); }));
  EXPECT_EQ(one_.answers[1][0].status.reason(), Reason::kNoLeader);
  one_.Note([&] { EXPECT_FALSE(one_.answers.contains(2)) << "it may wait for a minute"; });
}

TEST_F(PeerNetworkTest, WithAConnectionItDoesNotMatterHowLongAPartWaitsForOne) {
  one_.Meet({two_.AsPeer()});
  one_.Forward(two_.id(), Part(1, one_.id(), two_.id()));
  ASSERT_TRUE(one_.Await([&] { return one_.answers.contains(1); }));
  ForwardRequest part = Part(2, one_.id(), two_.id(), seconds(60));
  part.connect_within = Duration::zero();
  one_.Forward(two_.id(), std::move(part));
  ASSERT_TRUE(one_.Await([&] { return one_.answers.contains(2); }));
  EXPECT_TRUE(one_.answers[2][0].status.ok()) << one_.answers[2][0].status;
  two_.Note([&] { EXPECT_GT(two_.submitted[1].timeout, seconds(30)) << "the leader is told the part's own time"; });
}

// A part waits for the connection that it asked for.
TEST_F(PeerNetworkTest, APartWaitsForANodeThatStarts) {
  const std::string address = FreeAddress();
  one_.Meet({{.id = NodeId{3}, .uuid = UuidOf(NodeId{3}), .address = address}});
  one_.Forward(NodeId{3}, Part(1, one_.id(), NodeId{3}));
  const Result<std::string> nobody = one_.Call(address, kReport, "", seconds(5));
  EXPECT_EQ(nobody.status().reason(), Reason::kNoLeader);
  TestNode three(NodeId{3}, {.address = address});
  ASSERT_TRUE(one_.Await([&] { return one_.answers.size() == 1; }));
  EXPECT_TRUE(one_.answers[1][0].status.ok()) << one_.answers[1][0].status;
}

TEST_F(PeerNetworkTest, TooMuchIsRefusedAsOverloaded) {
  TestNodeOptions options;
  options.limits.forward_queue_bytes = 1000;
  TestNode three(NodeId{3}, options);
  three.Meet({{.id = NodeId{4}, .uuid = UuidOf(NodeId{4}), .address = FreeAddress()}});
  for (uint64_t id = 1; id <= 10; ++id) three.Forward(NodeId{4}, Part(id, three.id(), NodeId{4}, seconds(60)));
  ASSERT_TRUE(three.Await([&] { return three.answers.size() >= 7; }));
  EXPECT_EQ(three.answers[10][0].status.reason(), Reason::kNoLeader);
  EXPECT_THAT(three.answers[10][0].status.ToString(), HasSubstr("overloaded"));
}

// Many readers whose answers come at once: some have to ask again, and nobody who writes loses an answer.
TEST_F(PeerNetworkTest, RecordsThatCannotBeSentGiveWayToWhatCannotBeAskedAgain) {
  constexpr uint64_t kReads = 40;
  constexpr size_t kRecordBytes = 4 << 20;
  TestNodeOptions options;
  options.limits.forward_queue_bytes = 2 * kRecordBytes;
  TestNode three(NodeId{3}, options);
  three.handle_forward = [](const ForwardRequest& request, broker::ForwardSink& sink) {
    if (request.id < 2 * kReads) return;  // all of them at once, with the last one
    const Bytes records = Bytes::Copy(std::string(kRecordBytes, 'r'));
    for (uint64_t id = 1; id <= kReads; ++id) {
      partition::FetchResult read;
      read.batches.push_back({.record_count = 1, .records = records});
      sink.OnForwardDone({.id = id, .result = std::move(read)});
      sink.OnForwardDone({.id = kReads + id, .result = partition::ProduceResult{.base_offset = Offset{id}}});
    }
  };
  one_.Meet({three.AsPeer()});
  for (uint64_t id = 1; id <= 2 * kReads; ++id) {
    ForwardRequest part = Part(id, one_.id(), NodeId{3});
    part.operation = broker::ForwardFetch{};  // the answers say what was done
    one_.Forward(NodeId{3}, std::move(part));
  }
  ASSERT_TRUE(one_.Await([&] { return one_.answers.size() == 2 * kReads; }));
  one_.Note([&] {
    EXPECT_EQ(one_.broken, 0);
    size_t read = 0;
    for (uint64_t id = 1; id <= kReads; ++id) {
      const ForwardAnswer& answer = one_.answers[id][0];
      if (answer.status.ok()) ++read;
      else EXPECT_EQ(answer.status.reason(), Reason::kNoLeader) << "asked for again: " << answer.status;
      EXPECT_TRUE(one_.answers[kReads + id][0].status.ok()) << one_.answers[kReads + id][0].status;
    }
    EXPECT_GE(read, 3u) << "what fits is sent";
    EXPECT_LE(read, 10u) << "and no more waits";
  });
}

TEST_F(PeerNetworkTest, ACancelTakesAwayWhatWasNotSent) {
  const std::string address = FreeAddress();
  one_.Meet({{.id = NodeId{3}, .uuid = UuidOf(NodeId{3}), .address = address}});
  one_.Forward(NodeId{3}, Part(1, one_.id(), NodeId{3}));
  one_.Forward(NodeId{3}, Cancel(1, one_.id(), NodeId{3}));
  one_.Forward(NodeId{3}, Part(2, one_.id(), NodeId{3}));
  EXPECT_FALSE(one_.Call(address, kReport, "", seconds(5)).ok());  // the executor has seen to all three by now
  TestNode three(NodeId{3}, {.address = address});
  ASSERT_TRUE(one_.Await([&] { return one_.answers.contains(2); }));
  three.Note([&] { EXPECT_EQ(three.submitted.size(), 1u); });
  EXPECT_FALSE(one_.answers.contains(1));
}

TEST_F(PeerNetworkTest, ACancelFollowsWhatWasSent) {
  two_.answer_forward = [](const ForwardRequest&) { return std::nullopt; };
  one_.Meet({two_.AsPeer()});
  one_.Forward(two_.id(), Part(1, one_.id(), two_.id()));
  ASSERT_TRUE(two_.Await([&] { return two_.submitted.size() == 1; }));
  one_.Forward(two_.id(), Cancel(1, one_.id(), two_.id()));
  ASSERT_TRUE(two_.Await([&] { return two_.submitted.size() == 2; }));
  EXPECT_TRUE(std::holds_alternative<broker::ForwardCancel>(two_.submitted[1].operation));
}

TEST_F(PeerNetworkTest, PartsAreNotPutToAnotherCluster) {
  TestNode stranger(NodeId{3}, {.cluster = "cluster-b-uuid-2"});
  one_.Meet({stranger.AsPeer()});
  one_.Forward(NodeId{3}, Part(1, one_.id(), NodeId{3}, milliseconds(300)));
  ASSERT_TRUE(one_.Await([&] { return one_.answers.size() == 1; }));
  EXPECT_EQ(one_.answers[1][0].status.reason(), Reason::kNoLeader);
  EXPECT_THAT(one_.answers[1][0].status.ToString(), HasSubstr("CLUSTER_MISMATCH"));
  one_.Note([&] { EXPECT_EQ(one_.broken, 0); });
  stranger.Note([&] { EXPECT_TRUE(stranger.submitted.empty()); });
}

// --- Single calls

TEST_F(PeerNetworkTest, ACallIsAnswered) {
  const Result<std::string> answer = one_.Call(two_.address(), kReport, "hello", seconds(5));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, "re: hello");
  two_.Note([&] { EXPECT_EQ(two_.calls, std::vector<std::string>{kReport}); });
}

TEST_F(PeerNetworkTest, AnEmptyCallHasAnEmptyAnswer) {
  two_.Note([&] { two_.answer_call = [](std::string_view, const std::string& request) { return request; }; });
  const Result<std::string> answer = one_.Call(two_.address(), kReport, "", seconds(5));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, "");
}

TEST_F(PeerNetworkTest, ErrorsOfACallKeepReasonAndDetails) {
  const Status refusals[] = {Refuse(Refusal::kNodeNotFound, "no node 9").With("node_id", 9),
                             Status(Reason::kNotLeader, "ask node 3").With("leader_node_id", 3).With("retry_after_ms", 15)};
  for (const Status& refusal : refusals) {
    two_.Note([&] { two_.answer_call = [&](std::string_view, const std::string&) { return refusal; }; });
    const Result<std::string> answer = one_.Call(two_.address(), kReport, "x", seconds(5));
    EXPECT_EQ(answer.status().ToString(), refusal.ToString());
    EXPECT_EQ(RefusalOf(answer.status()), RefusalOf(refusal));
  }
}

TEST_F(PeerNetworkTest, WhoCannotBeReachedDidNothing) {
  const std::string address = FreeAddress();
  const Result<std::string> answer = one_.Call(address, kReport, "x", seconds(5));
  EXPECT_EQ(answer.status().reason(), Reason::kNoLeader);
  EXPECT_THAT(answer.status().ToString(), HasSubstr(address));
}

TEST_F(PeerNetworkTest, WhoDoesNotAnswerMayHaveDoneIt) {
  two_.Note([&] { two_.silent = true; });
  const Result<std::string> answer = one_.Call(two_.address(), kReport, "x", milliseconds(200));
  EXPECT_EQ(answer.status().reason(), Reason::kOutcomeUnknown);
  two_.Note([&] { EXPECT_EQ(two_.calls.size(), 1u); });
}

TEST_F(PeerNetworkTest, ACallToANodeThatStopsMayHaveBeenDone) {
  auto three = std::make_unique<TestNode>(NodeId{3});
  three->silent = true;
  const std::string address = three->address();
  std::thread stopper([&] {
    ASSERT_TRUE(three->Await([&] { return three->calls.size() == 1; }));
    three->server().Stop();
  });
  const Result<std::string> answer = one_.Call(address, kReport, "x", seconds(10));
  stopper.join();
  EXPECT_EQ(answer.status().reason(), Reason::kOutcomeUnknown);
}

TEST_F(PeerNetworkTest, EveryUnaryMethodOfThePackageIsServed) {
  int methods = 0;
  for (const auto* file : {internal::v1::JoinRequest::descriptor()->file(), internal::v1::CallContext::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        const auto* method = file->service(s)->method(m);
        if (method->client_streaming() || method->name() == "Handshake") continue;
        const std::string path = "/" + method->service()->full_name() + "/" + method->name();
        EXPECT_TRUE(one_.Call(two_.address(), path, "x", seconds(5)).ok()) << path << " is missing in the table of peer_server.cc";
        ++methods;
      }
    }
  }
  EXPECT_GE(methods, 4);
}

TEST_F(PeerNetworkTest, AClientAtTheWrongPortIsToldTheRightOne) {
  const Result<std::string> answer = one_.Call(two_.address(), "/flotilla.v1.ProduceService/Produce", "x", seconds(5));
  EXPECT_EQ(RefusalOf(answer.status()), Refusal::kUnsupported);
  EXPECT_THAT(answer.status().ToString(), HasSubstr("peer port of node 2"));
  EXPECT_THAT(answer.status().ToString(), HasSubstr("client.example:9650"));
}

TEST_F(PeerNetworkTest, AHandshakeIsAnsweredWithoutTheExecutor) {
  internal::v1::HandshakeRequest request;
  *request.mutable_caller() = one_.Identity();
  request.set_expected_node_id(2);
  const Result<std::string> answer =
      one_.Call(two_.address(), "/flotilla.internal.v1.PeerService/Handshake", request.SerializeAsString(), seconds(5));
  ASSERT_TRUE(answer.ok()) << answer.status();
  internal::v1::HandshakeResponse response;
  ASSERT_TRUE(response.ParseFromString(*answer));
  EXPECT_EQ(response.callee().node_id(), 2u);
}

// --- Starting and stopping

TEST_F(PeerNetworkTest, ATakenPortIsAnError) {
  const auto again = PeerServer::Start({.address = two_.address(), .credentials = InsecurePeerCredentials().server}, two_);
  ASSERT_FALSE(again.ok());
  EXPECT_THAT(again.status().ToString(), HasSubstr(two_.address()));
}

TEST_F(PeerNetworkTest, SessionsAreClosedWhenTheirStreamIs) {
  {
    TestNode three(NodeId{3});
    three.Meet({two_.AsPeer()});
    three.Forward(two_.id(), Part(1, three.id(), two_.id()));
    ASSERT_TRUE(three.Await([&] { return three.answers.size() == 1; }));
  }
  EXPECT_TRUE(two_.Await([&] { return two_.open_sessions == 0; }));
}

TEST(PeerNetwork, MayBeStoppedTwiceAndAfterItsExecutor) {
  raft::ThreadExecutor executor("stopped");
  executor.Start();
  TestNode sink(NodeId{1});
  GrpcPeerNetwork network({.identity = [&] { return sink.Identity(); }, .credentials = InsecurePeerCredentials().client}, executor, sink);
  executor.Post([&] { network.SetPeers({{.id = NodeId{2}, .uuid = UuidOf(NodeId{2}), .address = sink.address()}}); });
  executor.Stop();
  network.Stop();
  network.Stop();
  network.Send(Channel::kControl, Numbered(NodeId{1}, NodeId{2}, 1));
}

// More is on its way than is written at once; and no more than this, or a busy machine would never see an answer among all the calls.
constexpr int kCallsOnTheirWayMax = 200;

// Both ends stop, in any order, while everything is on its way.
TEST(PeerNetwork, StopsWithTrafficInFlight) {
  for (int round = 0; round < 15; ++round) {
    auto one = std::make_unique<TestNode>(NodeId{1});
    auto two = std::make_unique<TestNode>(NodeId{2});
    one->Meet({two->AsPeer()});
    two->Meet({one->AsPeer()});
    std::atomic<bool> stop = false;
    const auto chatter = [&](TestNode& from, TestNode& to) {
      const raft::PeerMessage bulk = Append(from.id(), to.id(), std::string(100'000, 'x'));
      const std::string address = to.address();
      const auto on_their_way = std::make_shared<std::atomic<int>>(0);  // an answer may come after the end of this
      for (uint64_t id = 1; !stop; ++id) {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        if (*on_their_way >= kCallsOnTheirWayMax) continue;
        from.Send(Channel::kControl, Numbered(from.id(), to.id(), id));
        from.Send(Channel::kData, bulk);
        from.Forward(to.id(), Part(id, from.id(), to.id()));
        ++*on_their_way;
        from.executor().Post([&from, address, on_their_way] {
          from.network().Call(address, kReport, "x", seconds(5), [on_their_way](const auto&) { --*on_their_way; });
        });
      }
    };
    std::thread first([&] { chatter(*one, *two); });
    std::thread second([&] { chatter(*two, *one); });
    EXPECT_TRUE(one->Await([&] { return one->answers.size() > 20u; }));
    if (round % 3 == 0) two->server().Stop();
    if (round % 3 == 1) two->network().Stop();
    if (round % 3 == 2) one->server().Stop();
    stop = true;
    first.join();
    second.join();
    (round % 2 == 0 ? one : two) = nullptr;
  }
}

}  // namespace
}  // namespace flotilla::rpc
