// Who is broken off when halves of requests fill the memory, by what was counted alone.
#include "server/rpc/client/incomplete_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/unit/client_rpc/fake_port.h"

namespace flotilla::rpc::client {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;

class StoppedClock final : public Clock {
 public:
  MonotonicTime Now() const override { return now; }
  int64_t WallMillis() const override { return 0; }
  MonotonicTime now{seconds(1000)};
};

class IncompleteRequestsTest : public ::testing::Test {
 protected:
  IncompleteRequestsTest() {
    connections_.SetPort(port_);
    incomplete_.Begin(port_);
  }

  // As a thread of gRPC's reads it.
  void Read(const std::string& peer, uint64_t bytes) {
    port_.traffic[peer].received += bytes;
    incomplete_.OnRead(bytes);
  }
  Connections::Row& BeginCall(const std::string& peer) {
    Read(peer, 200);
    return connections_.Enter(peer);
  }
  void Arrived(Connections::Row& row, uint64_t bytes) {
    connections_.RequestArrived(row, bytes);
    incomplete_.Arrived(bytes);
  }
  static void End(Connections::Row& row, bool whole) {
    Connections::ReceivingEnded(row, whole);
    Connections::Leave(row);
  }

  FakePort port_;
  StoppedClock clock_;
  Connections connections_{{.calls_left_max = 1000,
                            .empty_calls_max = 1000,
                            .flood_empty_calls = 1000,
                            .empty_calls_max_in_flood = 1000,
                            .late_calls_per_empty_call = 10}};
  IncompleteRequests incomplete_{100 * kMiB, connections_, clock_};
};

TEST_F(IncompleteRequestsTest, TheLargestIsBrokenOffAndNobodyElse) {
  for (const char* peer : {"small", "large", "larger"}) BeginCall(peer);
  Read("small", 8 * kMiB);
  Read("large", 30 * kMiB);
  Read("larger", 61 * kMiB);
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, IsEmpty()) << "less than 100 MiB";
  Read("small", 2 * kMiB);
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, ElementsAre("larger"));
}

TEST_F(IncompleteRequestsTest, AsManyAsItTakesToHaveRoomAgain) {
  for (int i = 0; i < 20; ++i) {
    const std::string peer = "peer" + std::to_string(10 + i);
    BeginCall(peer);
    port_.traffic[peer].received += 7 * kMiB;
  }
  incomplete_.Look();
  EXPECT_EQ(port_.broken_off.size(), 10U) << "until less than 75 MiB are left";
}

TEST_F(IncompleteRequestsTest, WhoReadsLooksByItselfBeforeItIsTooMuch) {
  BeginCall("a");
  for (int i = 0; i < 118 && port_.broken_off.empty(); ++i) Read("a", kMiB);
  EXPECT_THAT(port_.broken_off, ElementsAre("a"));
}

TEST_F(IncompleteRequestsTest, WhatCameWholeDoesNotCount) {
  Connections::Row& stream = BeginCall("stream");
  for (int i = 0; i < 1000; ++i) {
    Read("stream", 4 * kMiB + 3 * kKiB);
    Arrived(stream, 4 * kMiB);
    Connections::Row& call = BeginCall("calls");
    Read("calls", kMiB + kKiB);
    Arrived(call, kMiB);
    End(call, /*whole=*/true);
  }
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, IsEmpty());
}

TEST_F(IncompleteRequestsTest, ACallThatIsOverTakesItsPartAlong) {
  Connections::Row& first = BeginCall("a");
  Connections::Row& second = BeginCall("a");
  Read("a", 90 * kMiB);
  incomplete_.Look();
  End(first, /*whole=*/false);  // half of it, for all that is known
  Read("a", 50 * kMiB);
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, IsEmpty());
  End(second, /*whole=*/false);
  incomplete_.Look();
  BeginCall("a");
  Read("a", 90 * kMiB);
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, IsEmpty()) << "nothing was left of what was before";
  Read("a", 20 * kMiB);
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, ElementsAre("a"));
}

// A thread that does nothing but read hands no calls over.
TEST_F(IncompleteRequestsTest, AConnectionWithoutACallCountsToo) {
  Read("a", 110 * kMiB);
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, ElementsAre("a"));
}

TEST_F(IncompleteRequestsTest, WhoWaitsForTheNodeIsBrokenOffLast) {
  ++BeginCall("waits").unread;
  BeginCall("sends");
  Read("waits", 70 * kMiB);
  Read("sends", 40 * kMiB);
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, ElementsAre("sends"));
  Read("waits", 40 * kMiB);
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, ElementsAre("sends", "waits"));
}

TEST_F(IncompleteRequestsTest, WhoSubscribesToMuchOrIsThereForLongHoldsNothing) {
  BeginCall("subscribes");
  BeginCall("idles");
  for (int hour = 0; hour < 24 * 30; ++hour) {
    clock_.now += hours(1);
    port_.traffic["subscribes"].acknowledged += 500'000 * kMiB;
    Read("subscribes", 500'000 * kMiB / (16 * kKiB) * 26);
    Read("idles", 360 * 17);  // pings
    incomplete_.Look();
  }
  EXPECT_THAT(port_.broken_off, IsEmpty());
}

TEST_F(IncompleteRequestsTest, ANewConnectionFromAnAddressBeginsAnew) {
  BeginCall("a");
  Read("a", 90 * kMiB);
  incomplete_.Look();
  port_.traffic["a"] = {};
  Read("a", 50 * kMiB);
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, IsEmpty());
}

TEST_F(IncompleteRequestsTest, AfterItsEndNothingIsLookedAt) {
  incomplete_.End();
  Read("a", 200 * kMiB);
  incomplete_.Look();
  EXPECT_THAT(port_.broken_off, IsEmpty());
}

}  // namespace
}  // namespace flotilla::rpc::client
