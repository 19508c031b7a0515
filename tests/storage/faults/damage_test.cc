// A disk that lies: what was synced comes back damaged, short, old, mixed up, or not at all. It is found and refused, and
// nothing is "repaired". (Storage §2: damage at or below what was ever synced.)
#include <rocksdb/db.h>

#include <algorithm>

#include "tests/storage/faults/disk_test.h"
#include "tests/support/file_content.h"

namespace flotilla::storage {
namespace {

class DamageTest : public DiskTest {
 protected:
  // A closed store whose few entries are in the WAL.
  void MakeWithWal() {
    Make();
    for (int i = 0; i < 5; ++i) ASSERT_THAT(AppendLarge(i), IsOk());
    PowerCut();  // closes without writing anything more
    ASSERT_FALSE(FilesOfKind(database(), FileKind::kWal).empty());
  }
  // A closed store most of whose entries are in tables.
  void MakeWithTables() {
    Make();
    for (int i = 0; i < 200; ++i) ASSERT_THAT(AppendLarge(i), IsOk());
    WaitForTables();
    PowerCut();
    ASSERT_FALSE(Tables().empty());
  }
  void WaitForTables() {
    for (int i = 0; i < 500 && FilesOfKind(database(), FileKind::kTable).empty(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  // The tables that the manifest names: the power cut may have left others, which were about to be deleted.
  std::vector<std::string> Tables() const {
    std::vector<std::string> names;
    EXPECT_TRUE(rocksdb::DB::ListColumnFamilies({}, database(), &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DBOptions options;
    options.track_and_verify_wals_in_manifest = true;  // as they were written; else it would want to write that they are not
    rocksdb::DB* opened = nullptr;
    EXPECT_TRUE(rocksdb::DB::OpenForReadOnly(options, database(), families, &handles, &opened).ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    std::vector<rocksdb::LiveFileMetaData> live;
    db->GetLiveFilesMetaData(&live);
    for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
    std::vector<std::string> paths;
    for (const rocksdb::LiveFileMetaData& file : live) paths.push_back(database() + file.name);
    std::sort(paths.begin(), paths.end());
    return paths;
  }
  // The manifest in use; an older one may wait to be deleted.
  std::string Manifest() const {
    std::ifstream in(database() + "/CURRENT");
    std::string name;
    std::getline(in, name);
    return database() + "/" + name;
  }
  std::string LargestWal() const {
    std::string largest;
    for (const std::string& path : FilesOfKind(database(), FileKind::kWal)) {
      if (largest.empty() || FileSize(path) > FileSize(largest)) largest = path;
    }
    return largest;
  }
  // Where its batches end: behind them there may be zeros, up to the end of a page.
  static uint64_t EndOf(const std::string& wal) { return FileContent(wal).value_or("").find_last_not_of('\0') + 1; }
  // After the damage: refused at once, or every single answer is right or an error that names the place.
  // Returns whether anything was noticed.
  bool ExpectNoLies() {
    const Status opened = Open();
    if (!opened.ok()) {
      EXPECT_THAT(opened, FailsWith(Reason::kDataLoss));
      return true;
    }
    bool noticed = false;
    auto bounds = store_->Bounds(kGroup);
    EXPECT_THAT(bounds.status(), IsOk());
    if (!bounds.ok()) return true;
    EXPECT_EQ(bounds->last_index(), LogIndex{acknowledged_.size()});
    for (uint64_t i = 0; i < acknowledged_.size(); ++i) {
      auto entries = store_->Read(kGroup, LogIndex{i + 1}, LogIndex{i + 2}, {});
      if (entries.ok()) {
        EXPECT_EQ(entries->front().payload.view(), acknowledged_[i]);
      } else {
        noticed = true;
        EXPECT_THAT(entries.status(), FailsWith(Reason::kDataLoss));
        EXPECT_EQ(entries.status().Detail("group"), "7");
        EXPECT_TRUE(entries.status().Detail("index").has_value()) << entries.status();
      }
    }
    Close();
    return noticed;
  }
};
FLOTILLA_DISK_SUITE(DamageTest);

TEST_P(DamageTest, AnUndamagedDirectoryOpens) {
  MakeWithWal();
  ASSERT_THAT(Open(), IsOk());
  ExpectAllAcknowledged();
}

TEST_P(DamageTest, AFlippedBitAnywhereInTheWalIsDataLossAndTheDirectoryStaysUntouched) {
  MakeWithWal();
  const std::string wal = LargestWal();
  CopyTo(directory(), scratch_ / "good");
  const uint64_t size = EndOf(wal);
  for (uint64_t offset = 0; offset < size; offset += 419) {
    SCOPED_TRACE(testing::Message() << "offset " << offset << " of " << size);
    CopyTo(scratch_ / "good", directory());
    FlipBitInFile(wal, offset, static_cast<int>(offset % 8));
    ExpectRefusedUntouched(Reason::kDataLoss);
    if (HasFailure()) return;
  }
}

TEST_P(DamageTest, AFlippedBitInTheVeryLastSyncedBatchIsDataLoss) {
  MakeWithWal();
  FlipBitInFile(LargestWal(), EndOf(LargestWal()) - 1);
  ExpectRefusedUntouched(Reason::kDataLoss);
}

TEST_P(DamageTest, AFlippedBitBehindTheLastBatchIsHarmless) {
  MakeWithWal();
  const std::string wal = LargestWal();
  CopyTo(directory(), scratch_ / "good");
  const uint64_t size = FileSize(wal);
  for (uint64_t offset = EndOf(wal); offset < size; offset += 1 + (size - EndOf(wal)) / 40) {
    SCOPED_TRACE(testing::Message() << "offset " << offset << " of " << size);
    CopyTo(scratch_ / "good", directory());
    FlipBitInFile(wal, offset, static_cast<int>(offset % 8));
    ASSERT_THAT(Open(), IsOk());
    ExpectAllAcknowledged();
    Close();
  }
}

TEST_P(DamageTest, AMissingWalIsDataLoss) {
  MakeWithWal();
  std::filesystem::remove(LargestWal());
  ExpectRefusedUntouched(Reason::kDataLoss);
}

TEST_P(DamageTest, AnEmptyWalIsDataLoss) {
  MakeWithWal();
  TruncateFile(LargestWal(), 0);
  ExpectRefusedUntouched(Reason::kDataLoss);
}

TEST_P(DamageTest, AShortWalIsDataLossWhereverItEnds) {
  MakeWithWal();
  const std::string wal = LargestWal();
  CopyTo(directory(), scratch_ / "good");
  const uint64_t size = EndOf(wal);
  for (const uint64_t cut : {uint64_t{1}, uint64_t{7}, uint64_t{100}, uint64_t{3100}, size / 2, size - 8}) {
    SCOPED_TRACE(testing::Message() << cut << " bytes short of " << size);
    CopyTo(scratch_ / "good", directory());
    TruncateFile(wal, size - cut);
    ExpectRefusedUntouched(Reason::kDataLoss);
  }
}

TEST_P(DamageTest, AMissingTableIsDataLoss) {
  MakeWithTables();
  const auto tables = Tables();
  CopyTo(directory(), scratch_ / "good");
  for (const std::string& table : tables) {
    SCOPED_TRACE(table);
    CopyTo(scratch_ / "good", directory());
    std::filesystem::remove(table);
    ExpectRefusedUntouched(Reason::kDataLoss);
  }
}

TEST_P(DamageTest, AShortTableIsDataLoss) {
  MakeWithTables();
  const auto tables = Tables();
  CopyTo(directory(), scratch_ / "good");
  for (const std::string& table : tables) {
    SCOPED_TRACE(table);
    CopyTo(scratch_ / "good", directory());
    TruncateFile(table, FileSize(table) - 1);
    ExpectRefusedUntouched(Reason::kDataLoss);
  }
}

TEST_P(DamageTest, NoFlippedBitOfATableLeadsToAWrongAnswer) {
  MakeWithTables();
  const auto tables = Tables();
  CopyTo(directory(), scratch_ / "good");
  int noticed = 0;
  for (const std::string& table : tables) {
    const uint64_t size = FileSize(table);
    for (uint64_t part = 0; part < 5; ++part) {
      const uint64_t offset = size * part / 5 + 11;
      if (offset >= size) continue;
      SCOPED_TRACE(testing::Message() << table << " offset " << offset);
      CopyTo(scratch_ / "good", directory());
      FlipBitInFile(table, offset);
      noticed += ExpectNoLies() ? 1 : 0;
    }
  }
  EXPECT_GT(noticed, 0);
}

TEST_P(DamageTest, TwoTablesMixedUpAreDataLoss) {
  MakeWithTables();
  const auto tables = Tables();
  ASSERT_GE(tables.size(), 2u);
  std::filesystem::rename(tables[0], scratch_ / "aside");
  std::filesystem::rename(tables[1], tables[0]);
  std::filesystem::rename(scratch_ / "aside", tables[1]);
  EXPECT_TRUE(ExpectNoLies());
}

TEST_P(DamageTest, AFlippedBitInTheManifestIsDataLoss) {
  MakeWithTables();
  FlipBitInFile(Manifest(), FileSize(Manifest()) / 2);
  ExpectRefusedUntouched(Reason::kDataLoss);
}

TEST_P(DamageTest, AShortManifestIsDataLossOrHarmless) {
  MakeWithTables();
  TruncateFile(Manifest(), FileSize(Manifest()) - 1);
  ExpectNoLies();
}

TEST_P(DamageTest, AMissingManifestOrCurrentIsDataLoss) {
  MakeWithWal();
  CopyTo(directory(), scratch_ / "good");
  for (const std::string& path : {Manifest(), database() + "/CURRENT"}) {
    SCOPED_TRACE(path);
    CopyTo(scratch_ / "good", directory());
    std::filesystem::remove(path);
    ExpectRefusedUntouched(Reason::kDataLoss);
  }
}

TEST_P(DamageTest, AnOlderCopyOfTheDatabaseIsDataLoss) {
  MakeWithWal();
  CopyTo(database(), scratch_ / "older");
  ASSERT_THAT(Open(), IsOk());
  ASSERT_THAT(AppendLarge(6), IsOk());
  PowerCut();
  CopyTo(scratch_ / "older", database());
  ExpectRefusedUntouched(Reason::kDataLoss);
}

TEST_P(DamageTest, AnEmptyDatabaseBesideEvidenceIsDataLoss) {
  MakeWithWal();
  std::filesystem::remove_all(database());
  ExpectRefusedUntouched(Reason::kDataLoss);
}

TEST_P(DamageTest, TheDatabaseOfAnotherNodeIsRefused) {
  MakeWithWal();
  CopyTo(database(), scratch_ / "first");
  options_.directory = scratch_ / "other";
  make_ = EntryMaker(kGroup);
  acknowledged_.clear();
  Make();
  for (int i = 0; i < 3; ++i) ASSERT_THAT(AppendLarge(i), IsOk());
  PowerCut();
  CopyTo(scratch_ / "first", database());
  const Status refused = Open();
  EXPECT_TRUE(refused.reason() == Reason::kDataLoss || refused.reason() == Reason::kDirectoryMismatch) << refused;
}

TEST_P(DamageTest, MissingEvidenceIsDataLoss) {
  MakeWithWal();
  std::filesystem::remove(directory() + "/EVIDENCE");
  ExpectRefusedUntouched(Reason::kDataLoss);
}

TEST_P(DamageTest, DamagedEvidenceIsDataLoss) {
  MakeWithWal();
  for (const uint64_t slot : {0, 4096}) FlipBitInFile(directory() + "/EVIDENCE", slot + 8);
  ExpectRefusedUntouched(Reason::kDataLoss);
}

// One slot may be torn by a power cut while it is written; the other one is at most one batch behind.
TEST_P(DamageTest, EvidenceWithOneTornSlotIsEnough) {
  MakeWithWal();
  CopyTo(directory(), scratch_ / "good");
  for (const uint64_t slot : {0, 4096}) {
    CopyTo(scratch_ / "good", directory());
    FlipBitInFile(directory() + "/EVIDENCE", slot + 8);
    ASSERT_THAT(Open(), IsOk());
    ExpectAllAcknowledged();
    Close();
  }
}

TEST_P(DamageTest, AMissingIdentityBesideDataIsDataLoss) {
  MakeWithWal();
  std::filesystem::remove(directory() + "/IDENTITY");
  ExpectRefusedUntouched(Reason::kDataLoss);
}

TEST_P(DamageTest, ARefusalSaysWhatToDo) {
  MakeWithWal();
  FlipBitInFile(LargestWal(), EndOf(LargestWal()) / 2);
  const Status refused = Open();
  EXPECT_THAT(std::string(refused.message()), testing::HasSubstr("join"));
  EXPECT_TRUE(refused.Detail("file").has_value()) << refused;
}

}  // namespace
}  // namespace flotilla::storage
