#include "raft/core/read_queue.h"

#include <gtest/gtest.h>

#include <vector>

namespace flotilla::raft {
namespace {

PendingRead Read(uint64_t id, uint64_t index) { return {.id = id, .from = kNoReplica, .index = LogIndex{index}}; }

std::vector<uint64_t> Ids(const std::vector<PendingRead>& reads) {
  std::vector<uint64_t> ids;
  for (const PendingRead& read : reads) ids.push_back(read.id);
  return ids;
}

TEST(ReadQueueTest, AReadJoinsTheRoundThatOpensNext) {
  ReadQueue queue;
  EXPECT_FALSE(queue.wants_round());
  queue.Add(Read(1, 5));
  EXPECT_TRUE(queue.wants_round());
  EXPECT_EQ(queue.OpenRound(), 1u);
  EXPECT_FALSE(queue.wants_round());
  EXPECT_EQ(Ids(queue.Release(1)), std::vector<uint64_t>({1}));
  EXPECT_TRUE(queue.empty());
}

TEST(ReadQueueTest, ARoundUnderWayDoesNotCoverALaterRead) {
  ReadQueue queue;
  queue.Add(Read(1, 5));
  queue.OpenRound();
  queue.Add(Read(2, 6));
  queue.Add(Read(3, 6));
  EXPECT_TRUE(queue.wants_round());
  EXPECT_EQ(Ids(queue.Release(1)), std::vector<uint64_t>({1}));
  EXPECT_EQ(queue.OpenRound(), 2u);
  EXPECT_TRUE(Ids(queue.Release(1)).empty());
  EXPECT_EQ(Ids(queue.Release(2)), std::vector<uint64_t>({2, 3}));
}

TEST(ReadQueueTest, AnAnswerToALaterRoundCoversEarlierReads) {
  ReadQueue queue;
  queue.Add(Read(1, 5));
  queue.OpenRound();
  queue.Add(Read(2, 5));
  queue.OpenRound();
  EXPECT_EQ(Ids(queue.Release(2)), std::vector<uint64_t>({1, 2}));
}

TEST(ReadQueueTest, ReadsOfAnUnsureLeaderTakeWhatItsFirstCommitShows) {
  ReadQueue queue;
  queue.Add(Read(1, 5));
  queue.Add(Read(2, 9));
  queue.RaiseTo(LogIndex{7});
  queue.OpenRound();
  const std::vector<PendingRead> released = queue.Release(1);
  EXPECT_EQ(released[0].index, LogIndex{7});
  EXPECT_EQ(released[1].index, LogIndex{9});
}

TEST(ReadQueueTest, DrainGivesEverythingBack) {
  ReadQueue queue;
  queue.Add(Read(1, 5));
  queue.OpenRound();
  queue.Add(Read(2, 5));
  EXPECT_EQ(Ids(queue.Drain()), std::vector<uint64_t>({1, 2}));
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_EQ(queue.round(), 1u);
}

}  // namespace
}  // namespace flotilla::raft
