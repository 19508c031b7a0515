#include "storage/log/fair_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/entry_maker.h"
#include "tests/support/recording_sink.h"

namespace flotilla::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

class FairQueueTest : public testing::Test {
 protected:
  // A task of `bytes`, as closely as its overhead allows.
  void Push(uint64_t group, uint64_t token, size_t bytes = 1000) {
    WriteTask task{.group = GroupId{group}, .token = token};
    task.chunks.push_back({.id = 0, .number = 0, .data = Bytes(std::string(bytes - 128, 'x'))});
    queue_.Push(std::move(task), sink_);
  }
  std::vector<std::pair<uint64_t, uint64_t>> Take(size_t batch_bytes, size_t share_bytes, bool one_turn_each = false) {
    std::vector<std::pair<uint64_t, uint64_t>> taken;
    for (const QueuedTask& queued : queue_.TakeBatch({.bytes = batch_bytes, .share_bytes = share_bytes, .one_turn_each = one_turn_each})) {
      taken.emplace_back(queued.task.group.value(), queued.task.token);
    }
    return taken;
  }

  FairQueue queue_;
  RecordingSink sink_;
};

TEST_F(FairQueueTest, AnEmptyQueueHasNoBatch) {
  EXPECT_TRUE(queue_.empty());
  EXPECT_THAT(Take(10'000, 10'000), IsEmpty());
}

TEST_F(FairQueueTest, OneGroupAloneFillsTheBatch) {
  for (uint64_t token = 1; token <= 5; ++token) Push(1, token);
  EXPECT_THAT(Take(4'100, 1'100), ElementsAre(Pair(1, 1), Pair(1, 2), Pair(1, 3), Pair(1, 4)));
  EXPECT_THAT(Take(4'100, 1'100), ElementsAre(Pair(1, 5)));
}

TEST_F(FairQueueTest, GroupsTakeTurnsByShare) {
  for (uint64_t token = 1; token <= 4; ++token) Push(1, token);
  for (uint64_t token = 1; token <= 3; ++token) Push(2, token);
  EXPECT_THAT(Take(100'000, 2'100), ElementsAre(Pair(1, 1), Pair(1, 2), Pair(2, 1), Pair(2, 2), Pair(1, 3), Pair(1, 4), Pair(2, 3)));
}

TEST_F(FairQueueTest, OneTurnEachLeavesRoomForWhoComesLater) {
  for (uint64_t token = 1; token <= 4; ++token) Push(1, token);
  Push(2, 1);
  EXPECT_THAT(Take(100'000, 2'100, /*one_turn_each=*/true), ElementsAre(Pair(1, 1), Pair(1, 2), Pair(2, 1)));
  Push(3, 1);
  EXPECT_THAT(Take(100'000, 1'100), ElementsAre(Pair(1, 3), Pair(3, 1), Pair(1, 4)));
}

TEST_F(FairQueueTest, WhoWasCutOffComesFirstInTheNextBatch) {
  for (uint64_t token = 1; token <= 3; ++token) Push(1, token);
  Push(2, 1);
  Push(3, 1);
  EXPECT_THAT(Take(2'100, 1'100), ElementsAre(Pair(1, 1), Pair(2, 1)));
  EXPECT_THAT(Take(2'100, 1'100), ElementsAre(Pair(3, 1), Pair(1, 2)));
  EXPECT_THAT(Take(2'100, 1'100), ElementsAre(Pair(1, 3)));
}

TEST_F(FairQueueTest, ATaskLargerThanTheBatchGoesAlone) {
  Push(1, 1, 50'000);
  Push(2, 1);
  EXPECT_THAT(Take(10'000, 5'000), ElementsAre(Pair(1, 1)));
  EXPECT_THAT(Take(10'000, 5'000), ElementsAre(Pair(2, 1)));
}

TEST_F(FairQueueTest, ItKnowsWhatWaits) {
  Push(1, 1);
  Push(2, 1);
  EXPECT_EQ(queue_.tasks(), 2u);
  EXPECT_EQ(queue_.bytes(), 2'000u);
  (void)Take(1'000, 1'000);
  EXPECT_EQ(queue_.tasks(), 1u);
  EXPECT_EQ(queue_.bytes(), 1'000u);
}

}  // namespace
}  // namespace flotilla::storage
