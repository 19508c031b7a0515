// A disk that says so: writes and syncs that fail, and space that runs out. The failure is final, and what was acknowledged
// before it is there after a restart. (Storage §2: failure is final.)
#include <atomic>

#include "tests/storage/faults/disk_test.h"

namespace flotilla::storage {
namespace {

using Operation = FaultFileSystem::Operation;

class FailingDiskTest : public DiskTest {
 protected:
  // Appends until the store fails; at most `count` times. Returns the failure.
  Status AppendUntilFailure(int count) {
    for (int i = 0; i < count; ++i) {
      Status status = AppendLarge(i);
      if (!status.ok()) return status;
    }
    return {};
  }
  void ExpectLatched() {
    EXPECT_THAT(store_->health(), FailsWith(Reason::kStorageFailed));
    EXPECT_TRUE(store_->Counters().failed);
    EXPECT_THAT(Write({.group = kGroup, .hard_state = HardState{.term = Term{9}}}), FailsWith(Reason::kStorageFailed))
        << "no vote is cast on a disk that failed";
    EXPECT_THAT(Append("more"), FailsWith(Reason::kStorageFailed));
  }
};
FLOTILLA_DISK_SUITE(FailingDiskTest);

TEST_P(FailingDiskTest, TheFirstFailedSyncLatchesWhicheverItIs) {
  for (uint64_t nth = 0; nth < 12; ++nth) {
    SCOPED_TRACE(testing::Message() << "WAL sync " << nth);
    options_.directory = scratch_ / std::to_string(nth);
    make_ = EntryMaker(kGroup);
    acknowledged_.clear();
    Make();
    files_->Fail(Operation::kSync, FileKind::kWal, nth);
    ASSERT_THAT(AppendUntilFailure(20), FailsWith(Reason::kStorageFailed));
    EXPECT_EQ(acknowledged_.size(), nth);
    ExpectLatched();
    PowerCut();
    ASSERT_THAT(Open(), IsOk());
    ExpectAllAcknowledged();
    PowerCut();
  }
}

TEST_P(FailingDiskTest, TheFirstFailedWriteLatchesWhicheverItIs) {
  for (uint64_t nth = 0; nth < 12; ++nth) {
    SCOPED_TRACE(testing::Message() << "WAL write " << nth);
    options_.directory = scratch_ / std::to_string(nth);
    make_ = EntryMaker(kGroup);
    acknowledged_.clear();
    Make();
    files_->Fail(Operation::kWrite, FileKind::kWal, nth);
    ASSERT_THAT(AppendUntilFailure(20), FailsWith(Reason::kStorageFailed));
    ExpectLatched();
    PowerCut({.unsynced = Unsynced::kKept});
    ASSERT_THAT(Open(), IsOk());
    ExpectAllAcknowledged();
    PowerCut();
  }
}

// The bytes of the failed sync may be on the disk or not; a later sync that succeeds proves nothing about them.
TEST_P(FailingDiskTest, ASyncThatWouldSucceedAfterAFailedOneIsNotTried) {
  Make();
  ASSERT_THAT(Append("a"), IsOk());
  files_->Fail(Operation::kSync, FileKind::kWal);
  EXPECT_THAT(Append("b"), FailsWith(Reason::kStorageFailed));
  const uint64_t syncs = store_->Counters().syncs;
  EXPECT_THAT(Append("c"), FailsWith(Reason::kStorageFailed));
  EXPECT_EQ(store_->Counters().syncs, syncs);
  PowerCut();
  ASSERT_THAT(Open(), IsOk());
  ExpectAllAcknowledged();
}

// The batch behind is ready when the sync fails. It must not be written: its own sync might succeed.
TEST_P(FailingDiskTest, ABatchThatIsReadyBehindAFailedSyncIsNotWritten) {
  constexpr GroupId kOther{8};
  constexpr size_t kMuch = 600 * limits::kKiB;
  Make();
  ASSERT_THAT(Write({.group = kOther, .create = GroupIdentity{}}), IsOk());
  ASSERT_THAT(Append("a"), IsOk());
  RecordingSink sink;
  files_->HoldSyncs();
  files_->Fail(Operation::kSync, FileKind::kWal);
  ASSERT_THAT(store_->Submit({.group = kGroup, .token = 1, .entries = {make_.Data("b")}}, sink), IsOk());
  ASSERT_TRUE(WaitUntil([&] { return files_->UnsyncedBytes(FileKind::kWal) != 0; }));
  EntryMaker other(kOther);
  ASSERT_THAT(store_->Submit({.group = kOther, .token = 2, .entries = {other.Data(std::string(kMuch, 'x'))}}, sink), IsOk());
  ASSERT_TRUE(WaitUntil([&] { return store_->Counters().queue_tasks == 0; })) << "the other thread takes it";
  files_->ReleaseSyncs();
  ASSERT_TRUE(sink.WaitFor(2));
  for (const WriteDone& done : sink.done()) EXPECT_THAT(done.status, FailsWith(Reason::kStorageFailed));
  EXPECT_EQ(sink.done().front().token, 1u);
  EXPECT_LT(files_->UnsyncedBytes(FileKind::kWal), kMuch);
  ExpectLatched();
  PowerCut({.unsynced = Unsynced::kKept});
  ASSERT_THAT(Open(), IsOk());
  ExpectAllAcknowledged();
}

class CountingClock final : public Clock {
 public:
  MonotonicTime Now() const override {
    ++asked;
    return clock_.Now();
  }
  int64_t WallMillis() const override { return clock_.WallMillis(); }
  mutable std::atomic<uint64_t> asked = 0;

 private:
  SystemClock clock_;
};

// The evidence that waits to be synced is left alone: nothing would become of asking again.
TEST_P(FailingDiskTest, AFailedStoreIsAtRest) {
  const CountingClock clock;
  auto store = OpenRocksStoreWith(options_, {.file_system = files_, .rocks_clock = clock_, .clock = &clock});
  ASSERT_THAT(store.status(), IsOk());
  store_ = *std::move(store);
  ASSERT_THAT(Write({.group = kGroup, .create = GroupIdentity{}}), IsOk());
  files_->Fail(Operation::kSync, FileKind::kWal);
  EXPECT_THAT(Append("a"), FailsWith(Reason::kStorageFailed));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // until after the evidence would be due
  const uint64_t before = clock.asked;
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LE(clock.asked - before, 5u);
  Close();
}

TEST_P(FailingDiskTest, AFailedFlushLatchesAndLosesNothing) {
  Make();
  files_->Fail(Operation::kWrite, FileKind::kTable);
  const Status failed = AppendUntilFailure(2000);
  EXPECT_THAT(failed, FailsWith(Reason::kStorageFailed));
  ExpectLatched();
  PowerCut();
  ASSERT_THAT(Open(), IsOk());
  ExpectAllAcknowledged();
}

TEST_P(FailingDiskTest, AFullDiskMetBySurpriseIsFinalAndLosesNothing) {
  for (const uint64_t room : {0, 1'000, 5'000, 40'000, 120'000}) {
    SCOPED_TRACE(testing::Message() << "room for " << room << " bytes");
    options_.directory = scratch_ / std::to_string(room);
    make_ = EntryMaker(kGroup);
    acknowledged_.clear();
    Make();
    files_->SetFreeBytes(room);
    ASSERT_THAT(AppendUntilFailure(200), FailsWith(Reason::kStorageFailed));
    ExpectLatched();
    PowerCut({.unsynced = Unsynced::kKept});
    ASSERT_THAT(Open(), IsOk());
    ExpectAllAcknowledged();
    PowerCut();
  }
}

TEST_P(FailingDiskTest, WhatWasReadBeforeAFailureIsReadAfterIt) {
  Make();
  ASSERT_THAT(Append("a"), IsOk());
  files_->Fail(Operation::kSync, FileKind::kWal);
  EXPECT_THAT(Append("b"), FailsWith(Reason::kStorageFailed));
  std::vector<std::string> payloads;
  ASSERT_THAT(ReadAll(&payloads), IsOk());
  EXPECT_THAT(payloads, testing::ElementsAre("a"));
}

}  // namespace
}  // namespace flotilla::storage
