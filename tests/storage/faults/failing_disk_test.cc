// A disk that says so: writes and syncs that fail, and space that runs out. The failure is final, and what was acknowledged
// before it is there after a restart. (Storage §2: failure is final.)
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

TEST_F(FailingDiskTest, TheFirstFailedSyncLatchesWhicheverItIs) {
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

TEST_F(FailingDiskTest, TheFirstFailedWriteLatchesWhicheverItIs) {
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
TEST_F(FailingDiskTest, ASyncThatWouldSucceedAfterAFailedOneIsNotTried) {
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

TEST_F(FailingDiskTest, AFailedFlushLatchesAndLosesNothing) {
  Make();
  files_->Fail(Operation::kWrite, FileKind::kTable);
  const Status failed = AppendUntilFailure(2000);
  EXPECT_THAT(failed, FailsWith(Reason::kStorageFailed));
  ExpectLatched();
  PowerCut();
  ASSERT_THAT(Open(), IsOk());
  ExpectAllAcknowledged();
}

TEST_F(FailingDiskTest, AFullDiskMetBySurpriseIsFinalAndLosesNothing) {
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

TEST_F(FailingDiskTest, WhatWasReadBeforeAFailureIsReadAfterIt) {
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
