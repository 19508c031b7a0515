// Which connections are broken off, and which lie on half a request, by what was counted alone.
#include "server/rpc/client/connections.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/client_rpc/fake_port.h"

namespace flotilla::rpc::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;

class ConnectionsTest : public ::testing::Test {
 protected:
  ConnectionsTest() { connections_.SetPort(port_); }

  void BeginAndReset(const std::string& peer, int times, bool late = false) {
    for (int i = 0; i < times; ++i) {
      Connections::Row& row = connections_.Enter(peer);
      connections_.NoRequest(row, late);
      Connections::ReceivingEnded(row, /*whole=*/false);
      Connections::Leave(row);
    }
  }
  void Request(const std::string& peer, size_t bytes = 10) {
    Connections::Row& row = connections_.Enter(peer);
    connections_.RequestArrived(row, bytes);
    Connections::ReceivingEnded(row, /*whole=*/true);
    Connections::Leave(row);
  }

  FakePort port_;
  Connections connections_{
      {.calls_left_max = 8, .empty_calls_max = 5, .flood_empty_calls = 20, .empty_calls_max_in_flood = 2, .late_calls_per_empty_call = 10}};
};

TEST_F(ConnectionsTest, OneThatOnlyBeginsAndResetsCallsIsBrokenOff) {
  BeginAndReset("a", 5);
  EXPECT_THAT(port_.broken_off, IsEmpty());
  BeginAndReset("a", 1);
  EXPECT_THAT(port_.broken_off, ElementsAre("a"));
}

TEST_F(ConnectionsTest, ARequestMakesGoodForACallWithoutOne) {
  for (int i = 0; i < 100; ++i) {
    BeginAndReset("a", 1);
    Request("a");
    connections_.Look();
  }
  EXPECT_THAT(port_.broken_off, IsEmpty());
  // But not for those that are still to come.
  BeginAndReset("a", 6);
  EXPECT_THAT(port_.broken_off, ElementsAre("a"));
}

TEST_F(ConnectionsTest, CallsWhoseTimeIsOverCountATenth) {
  BeginAndReset("a", 19, /*late=*/true);
  EXPECT_THAT(port_.broken_off, IsEmpty());
  BeginAndReset("a", 32, /*late=*/true);
  EXPECT_THAT(port_.broken_off, ElementsAre("a"));
}

TEST_F(ConnectionsTest, ManyThatTakeTurnsAreBrokenOffSooner) {
  for (int i = 0; i < 10; ++i) BeginAndReset(std::to_string(i), 2);
  EXPECT_THAT(port_.broken_off, IsEmpty());
  BeginAndReset("0", 1);
  EXPECT_THAT(port_.broken_off, ElementsAre("0"));
  connections_.Look();
  BeginAndReset("1", 1);
  EXPECT_THAT(port_.broken_off, ElementsAre("0")) << "the flood is over";
}

TEST_F(ConnectionsTest, CallsThatAreNotTakenApartAreCounted) {
  std::vector<Connections::Row*> calls;
  for (int i = 0; i < 8; ++i) calls.push_back(&connections_.Enter("a"));
  EXPECT_THAT(port_.broken_off, IsEmpty());
  calls.push_back(&connections_.Enter("a"));
  EXPECT_THAT(port_.broken_off, ElementsAre("a"));
  for (Connections::Row* row : calls) Connections::Leave(*row);
}

TEST_F(ConnectionsTest, ARowLivesAsLongAsItsConnectionAndItsCalls) {
  port_.open = {"open", "closed"};
  Request("open");
  Request("closed");
  Connections::Row& row = connections_.Enter("closed");
  port_.open = {"open"};
  const auto look_often = [&] {
    for (int i = 0; i < 10; ++i) connections_.Look();
  };
  look_often();
  EXPECT_EQ(connections_.count(), 2U);
  Connections::Leave(row);
  look_often();
  EXPECT_EQ(connections_.count(), 1U);
}

class UnfinishedTest : public ConnectionsTest {
 protected:
  std::optional<MonotonicTime> Look(Duration after) {
    now_ += after;
    return connections_.UnfinishedSince(row_, now_);
  }
  void Receive(uint64_t bytes) { port_.traffic["a"].received += bytes; }

  MonotonicTime now_{seconds(1000)};
  Connections::Row& row_ = connections_.Enter("a");
};

TEST_F(UnfinishedTest, HalfARequestIsNoticedUntilItIsWhole) {
  Receive(200 + 7 * kMiB);
  const auto since = Look(seconds(1));
  ASSERT_TRUE(since);
  EXPECT_EQ(Look(seconds(40)), since);
  Receive(kMiB);
  connections_.RequestArrived(row_, 8 * kMiB);
  EXPECT_EQ(Look(seconds(1)), std::nullopt);
}

TEST_F(UnfinishedTest, ATrickleIsNoticedToo) {
  std::optional<MonotonicTime> since;
  for (int i = 0; i < 60; ++i) {
    Receive(4 * kKiB);
    since = Look(seconds(1));
  }
  ASSERT_TRUE(since);
  EXPECT_GE(now_ - *since, seconds(30));
}

TEST_F(UnfinishedTest, ABusyConnectionIsNotUnderSuspicion) {
  for (int i = 0; i < 1000; ++i) {
    Connections::Row& call = connections_.Enter("a");
    connections_.RequestArrived(call, 100 * kKiB);
    Receive(300 + 100 * kKiB + 13 * 9 + 7 * 29);  // headers, a message in frames, TLS around it
    Connections::Leave(call);
    if (i % 10 == 0) {
      ASSERT_EQ(Look(milliseconds(100)), std::nullopt) << i;
    }
  }
}

TEST_F(UnfinishedTest, NeitherIsOneThatSubscribesToMuch) {
  for (int i = 0; i < 100; ++i) {
    port_.traffic["a"].acknowledged += 500 * kMiB;
    Receive(500 * kMiB / (16 * kKiB) * 26);  // a connection's and a stream's window, moved for each frame
    ASSERT_EQ(Look(seconds(1)), std::nullopt) << i;
  }
}

TEST_F(UnfinishedTest, NorIsOneThatIsIdleForADay) {
  for (int i = 0; i < 24 * 60; ++i) {
    Receive(6 * 17);  // pings
    ASSERT_EQ(Look(seconds(60)), std::nullopt) << i;
  }
}

TEST_F(UnfinishedTest, WhatBelongedToACallThatIsOverIsForgotten) {
  Receive(5 * kMiB);
  ASSERT_TRUE(Look(seconds(1)));
  connections_.NoRequest(row_, false);
  Connections::ReceivingEnded(row_, /*whole=*/false);
  EXPECT_EQ(Look(seconds(1)), std::nullopt);
  EXPECT_EQ(Look(seconds(1)), std::nullopt);
}

TEST_F(UnfinishedTest, WhatTheNodeDoesNotReadIsNotTheClientsFault) {
  ++row_.unread;
  Receive(5 * kMiB);
  EXPECT_EQ(Look(seconds(1)), std::nullopt);
  --row_.unread;
  EXPECT_EQ(Look(seconds(1)), std::nullopt);
}

TEST_F(UnfinishedTest, AConnectionThatIsGoneHasNothing) {
  port_.traffic.clear();
  EXPECT_EQ(Look(seconds(1)), std::nullopt);
}

}  // namespace
}  // namespace flotilla::rpc::client
