// Who builds and who writes. storage/rocks/turns.h
#include "storage/rocks/turns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <string>

#include "tests/support/recording_sink.h"

namespace flotilla::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class TurnsTest : public testing::Test {
 protected:
  // A task that takes about `bytes`, which are in nobody's memory: a prefix of one long text.
  void Push(uint64_t group, uint64_t token, size_t bytes = 100) {
    WriteTask task{.group = GroupId{group}, .token = token};
    task.chunks.push_back({.id = 0, .number = 0, .data = text_.Slice(0, bytes)});
    ASSERT_TRUE(turns_.Push(std::move(task), sink_).ok());
  }
  // Tokens of what goes into the batch of `turn` next.
  std::vector<uint64_t> Next(uint64_t turn, size_t bytes = 0) {
    work_ = turns_.Next(turn, bytes);
    std::vector<uint64_t> tokens;
    for (const QueuedTask& queued : work_.tasks) tokens.push_back(queued.task.token);
    return tokens;
  }
  // A turn from its beginning to its seal.
  void SealTurn(uint64_t turn) {
    ASSERT_EQ(turns_.Take(), turn);
    (void)Next(turn);
    turns_.Sealed();
  }
  // ... and what follows.
  void FinishTurn(uint64_t turn) {
    turns_.Synced(turn);
    turns_.Published(turn, std::nullopt);
  }

  static constexpr size_t kMuch = 300 * limits::kKiB;  // enough for a second thread

  SystemClock clock_;
  RecordingSink sink_;
  const Bytes text_ = Bytes(std::string(2 * limits::kMiB, 'x'));
  Turns turns_{clock_, 256 * limits::kKiB};
  Turns::Work work_;
};

TEST_F(TurnsTest, AThreadTakesTurnAfterTurn) {
  for (uint64_t turn = 1; turn <= 3; ++turn) {
    ASSERT_EQ(turns_.Take(), turn);
    Push(1, 10 * turn);
    Push(1, 10 * turn + 1);
    EXPECT_THAT(Next(turn), ElementsAre(10 * turn, 10 * turn + 1));
    EXPECT_FALSE(work_.more);
    turns_.Sealed();
    FinishTurn(turn);
  }
}

TEST_F(TurnsTest, WhileOneTurnIsWrittenTheNextTakesWhatWaitsAndThenTheRest) {
  Push(1, 1);
  SealTurn(1);
  Push(1, 2, kMuch);
  Push(2, 3);
  ASSERT_EQ(turns_.Take(), 2u);
  EXPECT_THAT(Next(2), ElementsAre(2, 3));
  EXPECT_TRUE(work_.more) << "turn 1 is not synced";
  Push(1, 4);
  turns_.Synced(1);
  EXPECT_THAT(Next(2, kMuch), ElementsAre(4));
  EXPECT_FALSE(work_.more);
  turns_.Sealed();
  turns_.Published(1, std::nullopt);
  FinishTurn(2);
}

TEST_F(TurnsTest, WhatIsTakenAheadLeavesRoomForWhoComesLater) {
  Push(1, 1);
  SealTurn(1);
  for (uint64_t token = 2; token <= 8; ++token) Push(1, token, kMuch);
  ASSERT_EQ(turns_.Take(), 2u);
  EXPECT_THAT(Next(2), ElementsAre(2)) << "one share of 512 KiB";
  Push(9, 100);
  turns_.Synced(1);
  EXPECT_THAT(Next(2, kMuch), ElementsAre(3, 100, 4));
}

TEST_F(TurnsTest, ALightLoadLeavesTheOtherThreadAsleep) {
  Push(1, 1);
  SealTurn(1);
  Push(1, 2);
  auto second = std::async(std::launch::async, [&] { return turns_.Take(); });
  EXPECT_EQ(second.wait_for(std::chrono::milliseconds(30)), std::future_status::timeout);
  Push(1, 3, kMuch);
  EXPECT_EQ(second.get(), 2u) << "now it is worth it";
}

TEST_F(TurnsTest, ASecondThreadWaitsForTheSync) {
  Push(1, 1);
  SealTurn(1);
  Push(1, 2, kMuch);
  ASSERT_EQ(turns_.Take(), 2u);
  ASSERT_THAT(Next(2), ElementsAre(2));
  auto rest = std::async(std::launch::async, [&] { return Next(2, kMuch); });
  EXPECT_EQ(rest.wait_for(std::chrono::milliseconds(30)), std::future_status::timeout);
  turns_.Synced(1);
  EXPECT_THAT(rest.get(), IsEmpty());
}

TEST_F(TurnsTest, ATurnIsPublishedAfterTheOneAhead) {
  Push(1, 1);
  SealTurn(1);
  turns_.Synced(1);
  auto waits = std::async(std::launch::async, [&] { turns_.WaitUntilPublished(1); });
  EXPECT_EQ(waits.wait_for(std::chrono::milliseconds(30)), std::future_status::timeout);
  turns_.Published(1, std::nullopt);
  waits.get();
}

TEST_F(TurnsTest, SomethingThatIsDueEndsTheWaitForTasks) {
  Push(1, 1);
  SealTurn(1);
  turns_.Synced(1);
  turns_.Published(1, clock_.Now() + std::chrono::milliseconds(20));
  ASSERT_EQ(turns_.Take(), 2u);
  EXPECT_THAT(Next(2), IsEmpty());
  EXPECT_FALSE(work_.stop);
}

TEST_F(TurnsTest, WhatWasReclaimedOfAFormerLifeIsForgotten) {
  turns_.PushReclaimed({.kind = ReclaimJob::Kind::kDestroy, .group = GroupId{1}, .family = 0, .upto = {}});
  turns_.PushReclaimed({.kind = ReclaimJob::Kind::kDestroy, .group = GroupId{2}, .family = 0, .upto = {}});
  turns_.ForgetReclaimed(GroupId{1});
  ASSERT_EQ(turns_.Take(), 1u);
  (void)Next(1);
  ASSERT_EQ(work_.reclaimed.size(), 1u);
  EXPECT_EQ(work_.reclaimed.front().group, GroupId{2});
}

TEST_F(TurnsTest, StoppedTurnsGoOnUntilTheQueueIsEmptyAndTakeNothingNew) {
  for (uint64_t token = 1; token <= 6; ++token) Push(1, token, kMuch);
  turns_.Stop();
  EXPECT_EQ(turns_.Push({.group = GroupId{1}}, sink_).reason(), Reason::kShuttingDown);
  ASSERT_EQ(turns_.Take(), 1u);
  EXPECT_THAT(Next(1), ElementsAre(1, 2, 3));
  EXPECT_FALSE(work_.stop);
  turns_.Sealed();
  FinishTurn(1);
  ASSERT_EQ(turns_.Take(), 2u);
  auto other = std::async(std::launch::async, [&] { return turns_.Take(); });
  EXPECT_THAT(Next(2), ElementsAre(4, 5, 6));
  EXPECT_TRUE(work_.stop);
  turns_.Sealed();
  FinishTurn(2);
  EXPECT_EQ(turns_.Take(), std::nullopt);
  EXPECT_EQ(other.get(), std::nullopt) << "the thread without a turn is let go, too";
}

}  // namespace
}  // namespace flotilla::storage
