// A disk that is simulated second by second, and what is made of it.
#include "server/broker/disk_fitness.h"

#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "server/broker/disk_watch.h"
#include "storage/memory/memory_store.h"

namespace flotilla::broker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kMiB = uint64_t{1} << 20;

class DiskFitnessTest : public ::testing::Test {
 protected:
  DiskFitnessTest() { Idle(); }
  // A second in which syncs take `each`, one after the other.
  bool Second(Duration each) {
    sample_.at += seconds(1);
    const auto count = std::max<int64_t>(1, seconds(1) / each);
    sample_.syncs.syncs += static_cast<uint64_t>(count);
    sample_.syncs.sync_nanos_total += static_cast<uint64_t>(count * each.count());
    sample_.syncs.sync_nanos_running = 0;
    return fitness_.Observe(sample_);
  }
  bool Idle() {
    sample_.at += seconds(1);
    sample_.syncs.sync_nanos_running = 0;
    return fitness_.Observe(sample_);
  }
  // One sync that has begun so long ago and does not end.
  bool Hangs(Duration since) {
    sample_.at += seconds(1);
    sample_.syncs.sync_nanos_running = static_cast<uint64_t>(since.count());
    return fitness_.Observe(sample_);
  }
  bool Free(uint64_t mib) {
    sample_.space = {.total_bytes = 10'000 * kMiB, .free_bytes = mib * kMiB};
    return Idle();
  }
  // How many of them until the judgement changes.
  int Until(const std::function<bool()>& second, int most = 1000) {
    for (int i = 1; i <= most; ++i) {
      if (second()) return i;
    }
    return -1;
  }
  int SecondsUntilSick() {
    return Until([this] { return Second(milliseconds(800)); });
  }
  int SecondsUntilWell() {
    return Until([this] { return Second(milliseconds(3)); });
  }

  DiskFitness fitness_{{.slow_sync = milliseconds(500), .slow_for = seconds(15), .well_for = seconds(60), .reserve_bytes = 256 * kMiB}};
  DiskFitness::Sample sample_;
};

TEST_F(DiskFitnessTest, AHealthyDiskIsFitForEver) {
  for (int i = 0; i < 10'000; ++i) ASSERT_FALSE(Second(milliseconds(i % 2 == 0 ? 2 : 400)));
  EXPECT_TRUE(fitness_.fit());
  EXPECT_THAT(fitness_.Warnings(), IsEmpty());
}

TEST_F(DiskFitnessTest, ASlowOneIsSickWhenItHasBeenSlowForLongEnough) {
  Second(milliseconds(2));
  EXPECT_EQ(SecondsUntilSick(), 15);
  EXPECT_TRUE(fitness_.slow());
  EXPECT_FALSE(fitness_.full());
  EXPECT_THAT(
      fitness_.Warnings(),
      ElementsAre(AllOf(HasSubstr("DISK_SICK: its disk syncs in 800 ms, 500 ms is the limit (storage.slow_sync)"), HasSubstr("60 s"))));
}

TEST_F(DiskFitnessTest, AFewSlowSecondsNowAndThenAreNoSickness) {
  for (int i = 0; i < 1000; ++i) ASSERT_FALSE(Second(milliseconds(i % 10 < 5 ? 900 : 5)));
}

TEST_F(DiskFitnessTest, AFewGoodOnesInBetweenAreNoHealth) {
  EXPECT_EQ(Until([this, i = 0]() mutable { return Second(milliseconds(++i % 5 == 0 ? 5 : 900)); }), 23);
}

TEST_F(DiskFitnessTest, ASyncThatNeverEndsIsSlow) {
  Second(milliseconds(2));
  EXPECT_EQ(Until([this, since = Duration()]() mutable { return Hangs(since += seconds(1)); }), 15);
}

TEST_F(DiskFitnessTest, AProcessThatWasStoppedForAnHourSawOneSlowSecond) {
  Second(milliseconds(2));
  sample_.at += std::chrono::hours(1);
  EXPECT_FALSE(Second(std::chrono::hours(1)));
  EXPECT_FALSE(Second(milliseconds(2)));
}

TEST_F(DiskFitnessTest, ItIsWellAgainWhenItHasBeenQuickForLongEnough) {
  SecondsUntilSick();
  EXPECT_EQ(SecondsUntilWell(), 60);
  EXPECT_TRUE(fitness_.fit());
}

TEST_F(DiskFitnessTest, ASlowSecondBeginsTheWaitAnewAndAMediocreOneDoesNotCount) {
  SecondsUntilSick();
  for (int i = 0; i < 59; ++i) ASSERT_FALSE(Second(milliseconds(3)));
  EXPECT_FALSE(Second(milliseconds(500)));
  for (int i = 0; i < 59; ++i) ASSERT_FALSE(Second(milliseconds(3)));
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(Second(milliseconds(499)));
  EXPECT_TRUE(Second(milliseconds(249)));
}

TEST_F(DiskFitnessTest, ADiskWithNothingToDoCountsAsWell) {
  SecondsUntilSick();
  EXPECT_EQ(Until([this] { return Idle(); }), 60);
}

TEST_F(DiskFitnessTest, EachRelapseDoublesTheWaitUpToEightTimes) {
  for (const int wait : {60, 120, 240, 480, 480}) {
    EXPECT_EQ(SecondsUntilSick(), 15);
    EXPECT_EQ(SecondsUntilWell(), wait);
  }
}

TEST_F(DiskFitnessTest, WhatWasLongAgoIsForgiven) {
  SecondsUntilSick();
  SecondsUntilWell();
  SecondsUntilSick();
  EXPECT_EQ(SecondsUntilWell(), 120);
  for (int i = 0; i < 400; ++i) Second(milliseconds(3));
  SecondsUntilSick();
  EXPECT_EQ(SecondsUntilWell(), 60);
}

TEST_F(DiskFitnessTest, AFullDiskIsUnfitAtOnce) {
  EXPECT_FALSE(Free(256));
  EXPECT_TRUE(Free(255));
  EXPECT_TRUE(fitness_.full());
  EXPECT_FALSE(fitness_.slow());
  EXPECT_THAT(fitness_.Warnings(),
              ElementsAre(AllOf(HasSubstr("DISK_FULL: its disk has 255 MiB free, the reserve is 256 MiB (storage.disk_reserve)"),
                                HasSubstr("until 320 MiB have been free for 60 s"))));
}

TEST_F(DiskFitnessTest, ItIsFitAgainWhenThereHasBeenRoomForLongEnough) {
  Free(10);
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(Free(319));  // it would be full again soon
  EXPECT_EQ(Until([this] { return Free(320); }), 60);
  EXPECT_TRUE(fitness_.fit());
}

TEST_F(DiskFitnessTest, AFullOneThatIsAlsoSlowHasToGetOverBoth) {
  Free(10);
  SecondsUntilSick();
  EXPECT_THAT(fitness_.Warnings(), testing::SizeIs(2));
  EXPECT_EQ(SecondsUntilWell(), 60);
  EXPECT_FALSE(fitness_.fit());
  EXPECT_EQ(Until([this] { return Free(400); }), 60);
  EXPECT_TRUE(fitness_.fit());
}

TEST_F(DiskFitnessTest, ADiskThatNobodyMeasuredIsNotFull) {
  sample_.space = {.total_bytes = 0, .free_bytes = 0};
  EXPECT_FALSE(Idle());
  EXPECT_TRUE(fitness_.fit());
}

// --- The watch, over a store whose syncs take as long as its owner says

class WatchClock final : public Clock {
 public:
  MonotonicTime Now() const override { return now; }
  int64_t WallMillis() const override { return 0; }
  MonotonicTime now{seconds(1)};
};

class IgnoreSink final : public storage::WriteSink {
 public:
  void OnWritten(std::span<const storage::WriteDone>) override {}
};

class DiskWatchTest : public ::testing::Test {
 protected:
  DiskWatchTest() {
    auto opened = storage::MemoryStore::Open(disk_, {.now = [this] { return clock_.now; }});
    CHECK(opened.ok()) << opened.status();
    store_ = *std::move(opened);
    watch_.emplace(DiskFitnessOptions{.slow_sync = milliseconds(500), .slow_for = seconds(3), .well_for = seconds(5), .reserve_bytes = 100},
                   *store_, clock_, [this] { return DiskSpace{.total_bytes = 1000, .free_bytes = free_}; });
    CHECK(store_->Submit({.group = GroupId{7}, .create = storage::GroupIdentity{.self = {NodeId{1}, 0}, .label = "orders/0"}}, sink_).ok());
    store_->SyncOnce();
  }
  void Pass(Duration time) {
    for (Duration passed{}; passed < time; passed += milliseconds(50)) {
      clock_.now += milliseconds(50);
      watch_->Tick();
    }
  }
  // One write after the other, each of which takes so long.
  void Write(Duration each, int times) {
    for (int i = 0; i < times; ++i) {
      CHECK(store_
                ->Submit(
                    {.group = GroupId{7}, .hard_state = storage::HardState{.term = Term{++term_}, .voted_for = kNoReplica, .commit = {}}},
                    sink_)
                .ok());
      CHECK(store_->BeginSync());
      Pass(each);
      CHECK(store_->CompleteSync());
    }
  }

  WatchClock clock_;
  IgnoreSink sink_;
  storage::MemoryDisk disk_;
  std::unique_ptr<storage::MemoryStore> store_;
  std::optional<DiskWatch> watch_;
  uint64_t free_ = 1000;
  uint64_t term_ = 0;
};

TEST_F(DiskWatchTest, SlowSyncsOfTheStoreAreSeen) {
  Write(milliseconds(100), 100);
  EXPECT_TRUE(watch_->fitness().fit());
  Write(milliseconds(700), 6);
  EXPECT_TRUE(watch_->fitness().slow());
  EXPECT_EQ(watch_->fitness().sync_time(), milliseconds(700));
  Write(milliseconds(100), 80);
  EXPECT_TRUE(watch_->fitness().fit());
}

TEST_F(DiskWatchTest, SoIsOneThatDoesNotEnd) {
  Write(seconds(5), 1);
  EXPECT_TRUE(watch_->fitness().slow());
}

TEST_F(DiskWatchTest, SoIsADiskThatFillsUp) {
  Pass(seconds(3));
  EXPECT_TRUE(watch_->fitness().fit());
  free_ = 99;
  Pass(seconds(1));
  EXPECT_TRUE(watch_->fitness().full());
  EXPECT_EQ(watch_->space().free_bytes, 99u);
  free_ = 125;
  Pass(seconds(6));
  EXPECT_TRUE(watch_->fitness().fit());
}

}  // namespace
}  // namespace flotilla::broker
