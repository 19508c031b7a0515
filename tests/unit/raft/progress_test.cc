#include "raft/core/progress.h"

#include <gtest/gtest.h>

namespace flotilla::raft {
namespace {

Progress At(uint64_t match, uint64_t next) {
  Progress progress;
  progress.match = LogIndex{match};
  progress.next = LogIndex{next};
  return progress;
}

TEST(InflightTest, AnAnswerFreesEverythingUpToIt) {
  Inflight inflight;
  inflight.Add(LogIndex{3}, 100);
  inflight.Add(LogIndex{7}, 200);
  inflight.Add(LogIndex{9}, 50);
  EXPECT_EQ(inflight.messages(), 3u);
  EXPECT_EQ(inflight.bytes(), 350u);
  inflight.FreeTo(LogIndex{2});
  EXPECT_EQ(inflight.messages(), 3u);
  inflight.FreeTo(LogIndex{8});
  EXPECT_EQ(inflight.messages(), 1u);
  EXPECT_EQ(inflight.bytes(), 50u);
  inflight.FreeTo(LogIndex{9});
  EXPECT_TRUE(inflight.empty());
  EXPECT_EQ(inflight.bytes(), 0u);
}

// Bugs e419ba5 and a370b6f of etcd: a counter that leaks stalls the follower in the end.
TEST(InflightTest, BytesComeBackWhateverTheOrder) {
  Inflight inflight;
  for (uint64_t round = 0; round < 1000; ++round) {
    inflight.Add(LogIndex{round * 2 + 1}, round);
    inflight.Add(LogIndex{round * 2 + 2}, 7);
    if (round % 3 == 0) inflight.FreeTo(LogIndex{round});
    if (round % 50 == 49) inflight.Clear();
    if (inflight.empty()) {
      EXPECT_EQ(inflight.bytes(), 0u);
    }
  }
  inflight.Clear();
  EXPECT_EQ(inflight.bytes(), 0u);
  EXPECT_EQ(inflight.messages(), 0u);
}

TEST(ProgressTest, ProbingStartsBehindWhatIsKnown) {
  Progress progress = At(4, 9);
  progress.inflight.Add(LogIndex{8}, 10);
  progress.BecomeProbe();
  EXPECT_EQ(progress.next, LogIndex{5});
  EXPECT_TRUE(progress.inflight.empty());
  EXPECT_FALSE(progress.awaiting());
  progress.probe_sent = true;
  EXPECT_TRUE(progress.awaiting());
}

TEST(ProgressTest, ReplicatingAwaitsWhatIsInFlight) {
  Progress progress = At(4, 5);
  progress.probe_sent = true;
  progress.BecomeReplicate();
  EXPECT_EQ(progress.next, LogIndex{5});
  EXPECT_FALSE(progress.awaiting());
  progress.inflight.Add(LogIndex{6}, 10);
  EXPECT_TRUE(progress.awaiting());
}

TEST(ProgressTest, ASnapshotForgetsWhatWasOnItsWay) {
  Progress progress = At(4, 9);
  progress.state = ProgressState::kReplicate;
  progress.fetching = true;
  progress.inflight.Add(LogIndex{8}, 10);
  progress.BecomeSnapshot();
  EXPECT_EQ(progress.state, ProgressState::kSnapshot);
  EXPECT_FALSE(progress.awaiting());
  EXPECT_FALSE(progress.fetching);
  EXPECT_STREQ(ProgressStateName(progress.state), "snapshot");
}

}  // namespace
}  // namespace flotilla::raft
