// What a simulated disk does when power fails, syncs fail and bits flip. What a store does in good weather is in suite/.
#include "storage/memory/memory_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/memory/memory_store.h"
#include "tests/support/entry_maker.h"
#include "tests/support/recording_sink.h"

namespace flotilla::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr GroupId kGroup{7};

class MemoryDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    Open();
    Submit({.group = kGroup, .create = GroupIdentity{}});
    ASSERT_TRUE(store_->SyncOnce());
  }
  void Open() { store_ = *MemoryStore::Open(disk_); }
  void Submit(WriteTask task) { ASSERT_TRUE(store_->Submit(std::move(task), sink_).ok()); }
  void Append(const char* payload) { Submit({.group = kGroup, .entries = {make_.Data(payload)}}); }
  void PowerCut(size_t survived_bytes) {
    store_.reset();
    disk_.PowerCut(survived_bytes);
  }
  std::vector<std::string> Durable() {
    std::vector<std::string> payloads;
    if (const GroupImage* image = disk_.Find(kGroup)) {
      for (const Entry& entry : image->entries) payloads.emplace_back(entry.payload.view());
    }
    return payloads;
  }
  Status ReadAll() { return store_->Read(kGroup, LogIndex{1}, store_->Bounds(kGroup)->last_index() + 1, {}).status(); }

  MemoryDisk disk_;
  std::unique_ptr<MemoryStore> store_;
  RecordingSink sink_;
  EntryMaker make_{kGroup};
};

TEST_F(MemoryDiskTest, AQueuedTaskIsNotOnTheDisk) {
  Append("a");
  EXPECT_EQ(disk_.unsynced_bytes(), 0u);
  PowerCut(0);
  Open();
  EXPECT_THAT(Durable(), IsEmpty());
}

TEST_F(MemoryDiskTest, AnUnsyncedBatchIsLostWithThePower) {
  Append("a");
  ASSERT_TRUE(store_->SyncOnce());
  Append("b");
  ASSERT_TRUE(store_->BeginSync());
  EXPECT_THAT(Durable(), ElementsAre("a"));
  PowerCut(0);
  Open();
  EXPECT_THAT(Durable(), ElementsAre("a"));
  EXPECT_EQ(disk_.events().unsynced_lost, 1u);
}

TEST_F(MemoryDiskTest, ATornBatchIsCutAtEveryByte) {
  Append("a");
  ASSERT_TRUE(store_->SyncOnce());
  for (size_t survived = 1;; ++survived) {
    EntryMaker retry = make_;
    Submit({.group = kGroup, .entries = {retry.Data("torn")}});
    ASSERT_TRUE(store_->BeginSync());
    if (survived == disk_.unsynced_bytes()) break;
    PowerCut(survived);
    Open();
    ASSERT_THAT(Durable(), ElementsAre("a")) << survived << " bytes survived";
  }
  EXPECT_GT(disk_.events().unsynced_torn, 10u);
}

TEST_F(MemoryDiskTest, AWholeBatchThatNobodyWasToldOfSurvives) {
  Append("a");
  ASSERT_TRUE(store_->BeginSync());
  PowerCut(disk_.unsynced_bytes());
  Open();
  EXPECT_THAT(Durable(), ElementsAre("a"));
  EXPECT_EQ(sink_.count(), 1u) << "only the creation was reported";
  EXPECT_EQ(disk_.events().unsynced_kept, 1u);
}

TEST_F(MemoryDiskTest, ADeadProcessLosesNothingThatItWrote) {
  Append("a");
  ASSERT_TRUE(store_->BeginSync());
  store_.reset();
  Open();
  EXPECT_THAT(Durable(), ElementsAre("a"));
}

TEST_F(MemoryDiskTest, WhatAFailedSyncHeldMayTurnUpOrNot) {
  Append("a");
  disk_.FailSync();
  ASSERT_TRUE(store_->SyncOnce());
  EXPECT_EQ(sink_.done().back().status.reason(), Reason::kStorageFailed);
  EXPECT_THAT(Durable(), IsEmpty());
  store_.reset();
  Open();
  EXPECT_THAT(Durable(), ElementsAre("a"));
}

TEST_F(MemoryDiskTest, NothingOfAFailedWriteTurnsUp) {
  Append("a");
  disk_.FailWrite();
  ASSERT_TRUE(store_->SyncOnce());
  EXPECT_EQ(sink_.done().back().status.reason(), Reason::kStorageFailed);
  store_.reset();
  Open();
  EXPECT_THAT(Durable(), IsEmpty());
}

TEST_F(MemoryDiskTest, TheNthSyncFails) {
  disk_.FailSync(2);
  for (const char* payload : {"a", "b", "c"}) {
    Append(payload);
    ASSERT_TRUE(store_->SyncOnce());
  }
  EXPECT_THAT(Durable(), ElementsAre("a", "b"));
  EXPECT_FALSE(store_->health().ok());
}

TEST_F(MemoryDiskTest, AFlippedBitIsDataLossThatNamesGroupAndIndex) {
  Append("a");
  Append("b");
  ASSERT_TRUE(store_->SyncOnce());
  ASSERT_TRUE(disk_.FlipBit(kGroup, LogIndex{2}, 3));
  const Status status = ReadAll();
  EXPECT_EQ(status.reason(), Reason::kDataLoss);
  EXPECT_EQ(status.Detail("group"), "7");
  EXPECT_EQ(status.Detail("index"), "2");
  EXPECT_TRUE(store_->Read(kGroup, LogIndex{1}, LogIndex{2}, {}).ok());
  EXPECT_EQ(store_->ReadCached(kGroup, LogIndex{1}, LogIndex{3}, {}), std::nullopt);
  EXPECT_EQ(store_->Counters().corruptions, 1u);
}

TEST_F(MemoryDiskTest, AFlippedBitInAnEntryWithoutPayloadIsFound) {
  Submit({.group = kGroup, .entries = {make_.Noop()}});
  ASSERT_TRUE(store_->SyncOnce());
  ASSERT_TRUE(disk_.FlipBit(kGroup, LogIndex{1}, 77));
  EXPECT_EQ(ReadAll().reason(), Reason::kDataLoss);
}

TEST_F(MemoryDiskTest, AFlippedConfigurationStopsTheLoad) {
  Submit({.group = kGroup, .entries = {make_.Configuration("1,2,3")}});
  ASSERT_TRUE(store_->SyncOnce());
  ASSERT_TRUE(disk_.FlipBit(kGroup, LogIndex{1}, 0));
  EXPECT_EQ(store_->Load(kGroup).status().reason(), Reason::kDataLoss);
}

TEST_F(MemoryDiskTest, AFlippedChunkIsFound) {
  Submit({.group = kGroup, .chunks = {{.id = 1, .number = 0, .data = Bytes::Static("x")}}});
  ASSERT_TRUE(store_->SyncOnce());
  ASSERT_TRUE(disk_.FlipChunkBit(kGroup, 1, 0, 0));
  EXPECT_EQ(store_->ReadSnapshotChunk(kGroup, 1, 0).status().reason(), Reason::kDataLoss);
}

TEST_F(MemoryDiskTest, FlippingWhatIsNotThereSaysSo) {
  EXPECT_FALSE(disk_.FlipBit(kGroup, LogIndex{1}, 0));
  EXPECT_FALSE(disk_.FlipBit(GroupId{404}, LogIndex{1}, 0));
  EXPECT_FALSE(disk_.FlipChunkBit(kGroup, 1, 0, 0));
}

TEST_F(MemoryDiskTest, AWipedDiskIsEmpty) {
  Append("a");
  ASSERT_TRUE(store_->SyncOnce());
  store_.reset();
  disk_.Wipe();
  Open();
  EXPECT_THAT(store_->Groups(), IsEmpty());
}

TEST_F(MemoryDiskTest, ADiskHasOneStoreAtATime) {
  EXPECT_EQ(MemoryStore::Open(disk_).status().reason(), Reason::kDirectoryLocked);
  store_.reset();
  EXPECT_TRUE(MemoryStore::Open(disk_).ok());
}

TEST_F(MemoryDiskTest, ImagesOfTheSameHistoryAreEqualAndABitMakesThemDifferent) {
  Append("a");
  ASSERT_TRUE(store_->SyncOnce());
  const DiskImage before = disk_.Image();
  EXPECT_TRUE(before == disk_.Image());
  ASSERT_TRUE(disk_.FlipBit(kGroup, LogIndex{1}, 0));
  EXPECT_FALSE(before == disk_.Image());
}

}  // namespace
}  // namespace flotilla::storage
