// A stopped node's directory is looked at: everything is read, damage is named, and not a byte changes.
#include "storage/rocks/stopped_store.h"

#include <algorithm>

#include "storage/base/crc32c.h"
#include "tests/storage/faults/disk_test.h"

namespace flotilla::storage {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr GroupId kOther{9};

class StoppedStoreTest : public DiskTest {
 protected:
  void MakeAndStop(int entries) {
    Make();
    ASSERT_THAT(Write({.group = kOther, .create = GroupIdentity{.label = "other/0"}}), IsOk());
    EntryMaker other(kOther);
    ASSERT_THAT(Write({.group = kOther, .entries = {other.Data("x"), other.Data("y", {.records = 3})}}), IsOk());
    for (int i = 0; i < entries; ++i) ASSERT_THAT(AppendLarge(i), IsOk());
    ASSERT_THAT(Write({.group = kGroup, .state = {{.key = "checkpoint", .value = Bytes::Static("17")}}}), IsOk());
    Close();
  }
  void AddSnapshot(std::string_view stored, std::string_view promised) {
    ASSERT_THAT(Open(), IsOk());
    SnapshotMeta meta;
    meta.anchor = make_.at();
    meta.id = 1;
    meta.bytes = promised.size();
    meta.chunks = 1;
    meta.checksum = crc32c::Value(promised);
    ASSERT_THAT(Write({.group = kGroup, .chunks = {{.id = 1, .number = 0, .data = Bytes::Copy(stored)}}}), IsOk());
    ASSERT_THAT(Write({.group = kGroup, .snapshot = meta}), IsOk());
    Close();
  }
  Result<Verification> VerifyAll() {
    const auto store = StoppedStore::Open(directory());
    if (!store.ok()) return store.status();
    return Verify(**store, [this](const Verification&) { ++looks_; });
  }

  int looks_ = 0;
};

TEST_P(StoppedStoreTest, EverythingIsReadAndNothingChanges) {
  MakeAndStop(200);
  const auto before = Contents();
  const Result<Verification> found = VerifyAll();
  ASSERT_THAT(found.status(), IsOk());
  EXPECT_THAT(found->findings, IsEmpty());
  EXPECT_EQ(found->groups, 2U);
  EXPECT_EQ(found->entries, 202U);
  EXPECT_EQ(found->rows, 1U);
  EXPECT_GT(found->bytes, 200U * 3000);
  EXPECT_GT(looks_, 0);
  EXPECT_TRUE(Contents() == before);
  ASSERT_THAT(Open(), IsOk());
  ExpectAllAcknowledged();
}

TEST_P(StoppedStoreTest, WhatIsOnlyInTheWalIsReadToo) {
  MakeAndStop(3);
  const Result<Verification> found = VerifyAll();
  ASSERT_THAT(found.status(), IsOk());
  EXPECT_EQ(found->entries, 5U);
  EXPECT_THAT(found->findings, IsEmpty());
}

TEST_P(StoppedStoreTest, ARunningNodeIsNotLookedInto) {
  MakeAndStop(1);
  ASSERT_THAT(Open(), IsOk());
  EXPECT_THAT(VerifyAll().status(), FailsWith(Reason::kDirectoryLocked));
}

TEST_P(StoppedStoreTest, ANodeDoesNotStartWhileItIsLookedAt) {
  MakeAndStop(1);
  const auto looking = StoppedStore::Open(directory());
  ASSERT_THAT(looking.status(), IsOk());
  EXPECT_THAT(Open(), FailsWith(Reason::kDirectoryLocked));
}

TEST_P(StoppedStoreTest, WhatIsNoDataDirectoryIsNotMadeOne) {
  std::filesystem::create_directory(directory());
  EXPECT_THAT(VerifyAll().status(), FailsWith(Reason::kDirectoryMismatch));
  EXPECT_TRUE(std::filesystem::is_empty(directory()));
}

TEST_P(StoppedStoreTest, AFlippedBitInATableIsFoundWhereverItIs) {
  MakeAndStop(200);
  const auto tables = FilesOfKind(database(), FileKind::kTable);
  ASSERT_FALSE(tables.empty());
  CopyTo(directory(), scratch_ / "good");
  for (const std::string& table : tables) {
    const uint64_t size = FileSize(table);
    // The properties at its end are not data.
    for (uint64_t offset = 0; offset < size / 2; offset += std::max<uint64_t>(size / 16, 1)) {
      SCOPED_TRACE(testing::Message() << table << " offset " << offset << " of " << size);
      CopyTo(scratch_ / "good", directory());
      FlipBitInFile(table, offset, static_cast<int>(offset % 8));
      const auto before = Contents();
      const Result<Verification> found = VerifyAll();
      if (found.ok()) {
        EXPECT_THAT(found->findings, Not(IsEmpty()));
      } else {
        EXPECT_THAT(found.status(), FailsWith(Reason::kDataLoss));
      }
      EXPECT_TRUE(Contents() == before);
    }
  }
}

TEST_P(StoppedStoreTest, AFlippedBitInTheWalIsDataLoss) {
  MakeAndStop(3);
  const auto wals = FilesOfKind(database(), FileKind::kWal);
  ASSERT_FALSE(wals.empty());
  const auto largest = std::max_element(wals.begin(), wals.end(), [](const auto& a, const auto& b) { return FileSize(a) < FileSize(b); });
  FlipBitInFile(*largest, FileSize(*largest) / 2);
  EXPECT_THAT(VerifyAll().status(), FailsWith(Reason::kDataLoss));
}

TEST_P(StoppedStoreTest, TheIdentityAndTheEvidenceAreLookedAt) {
  MakeAndStop(1);
  CopyTo(directory(), scratch_ / "good");
  std::filesystem::remove(directory() + "/EVIDENCE");
  EXPECT_THAT(VerifyAll().status(), FailsWith(Reason::kDataLoss));
  CopyTo(scratch_ / "good", directory());
  FlipBitInFile(directory() + "/IDENTITY", 40);
  EXPECT_THAT(VerifyAll().status(), FailsWith(Reason::kDataLoss));
  std::filesystem::remove(directory() + "/IDENTITY");
  EXPECT_THAT(VerifyAll().status(), FailsWith(Reason::kDataLoss));
}

TEST_P(StoppedStoreTest, ASnapshotIsCheckedAsAWhole) {
  MakeAndStop(1);
  AddSnapshot("all of it", "all of it");
  Result<Verification> found = VerifyAll();
  ASSERT_THAT(found.status(), IsOk());
  EXPECT_EQ(found->chunks, 1U);
  EXPECT_THAT(found->findings, IsEmpty());
}

TEST_P(StoppedStoreTest, DamageInOneGroupDoesNotHideTheOthers) {
  MakeAndStop(1);
  AddSnapshot("something else", "all of it");
  const Result<Verification> found = VerifyAll();
  ASSERT_THAT(found.status(), IsOk());
  ASSERT_EQ(found->findings.size(), 1U);
  EXPECT_EQ(found->findings[0].group, kGroup);
  EXPECT_THAT(std::string(found->findings[0].status.message()), HasSubstr("snapshot"));
  EXPECT_EQ(found->groups, 2U);
  EXPECT_EQ(found->entries, 2U) << "those of the other group";
}

FLOTILLA_DISK_SUITE(StoppedStoreTest);

}  // namespace
}  // namespace flotilla::storage
