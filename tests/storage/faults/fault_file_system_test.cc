// The fault-injecting file system itself: a test that trusts it must be able to.
#include "tests/support/fault_file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <filesystem>
#include <iterator>

#include "tests/support/file_content.h"
#include "tests/support/scratch_directory.h"

namespace flotilla::storage {
namespace {

using rocksdb::FSDirectory;
using rocksdb::FSWritableFile;
using rocksdb::IOOptions;

class FaultFileSystemTest : public testing::Test {
 protected:
  std::unique_ptr<FSWritableFile> Create(const std::string& name) {
    std::unique_ptr<FSWritableFile> file;
    EXPECT_TRUE(files_.NewWritableFile(scratch_ / name, {}, &file, nullptr).ok());
    return file;
  }
  static bool Append(FSWritableFile& file, const char* text) { return file.Append(text, IOOptions(), nullptr).ok(); }
  static bool WriteAt(FSWritableFile& file, uint64_t offset, const char* text) {
    return file.PositionedAppend(text, offset, IOOptions(), nullptr).ok();
  }
  static bool Sync(FSWritableFile& file) { return file.Sync(IOOptions(), nullptr).ok(); }
  bool SyncDirectory() {
    std::unique_ptr<FSDirectory> directory;
    EXPECT_TRUE(files_.NewDirectory(scratch_.path(), IOOptions(), &directory, nullptr).ok());
    return directory->Fsync(IOOptions(), nullptr).ok();
  }
  std::string Content(const std::string& name) { return FileContent(scratch_ / name).value_or("(none)"); }
  // A file "a" with "synced" on the disk and "unsynced" on its way.
  void HalfSyncedFile() {
    auto file = Create("a");
    ASSERT_TRUE(Append(*file, "synced") && Sync(*file) && SyncDirectory() && Append(*file, "unsynced"));
  }

  // A file "a" with "first" and zeros on the disk; on its way there is what follows "first", and the page is written again.
  void HalfSyncedPage() {
    auto file = Create("a");
    ASSERT_TRUE(WriteAt(*file, 0, "PAGE") && WriteAt(*file, 4, "first000") && Sync(*file) && SyncDirectory());
    ASSERT_TRUE(WriteAt(*file, 4, "firstnew") && WriteAt(*file, 12, "more"));
  }

  ScratchDirectory scratch_;
  FaultFileSystem files_;
};

TEST_F(FaultFileSystemTest, APowerCutDropsWhatWasNotSynced) {
  HalfSyncedFile();
  EXPECT_EQ(files_.UnsyncedBytes(), 8u);
  files_.PowerCut();
  EXPECT_EQ(Content("a"), "synced");
}

TEST_F(FaultFileSystemTest, APowerCutTearsAtAByte) {
  HalfSyncedFile();
  files_.PowerCut({.unsynced = Unsynced::kTorn, .keep_bytes = 2});
  EXPECT_EQ(Content("a"), "syncedun");
}

TEST_F(FaultFileSystemTest, APowerCutMayKeepEverything) {
  HalfSyncedFile();
  files_.PowerCut({.unsynced = Unsynced::kKept, .keep_bytes = 0});
  EXPECT_EQ(Content("a"), "syncedunsynced");
}

TEST_F(FaultFileSystemTest, APowerCutMayLeaveAHole) {
  HalfSyncedFile();
  files_.PowerCut({.unsynced = Unsynced::kHole, .keep_bytes = 3});
  EXPECT_EQ(Content("a"), std::string("synced") + std::string(3, '\0') + "ynced");
}

TEST_F(FaultFileSystemTest, APageThatWasWrittenAgainIsAsBeforeAsFarAsThePowerCutSays) {
  struct Case {
    PowerCutOptions cut;
    std::string content;
  };
  for (const auto& [cut, content] : std::vector<Case>{
           {{.unsynced = Unsynced::kLost}, "PAGEfirst000"},
           {{.unsynced = Unsynced::kTorn, .keep_bytes = 6}, "PAGEfirstn00"},
           {{.unsynced = Unsynced::kTorn, .keep_bytes = 9}, "PAGEfirstnewm"},
           {{.unsynced = Unsynced::kKept}, "PAGEfirstnewmore"},
           {{.unsynced = Unsynced::kHole, .keep_bytes = 7}, "PAGEfirst00wmore"},
           {{.unsynced = Unsynced::kHole, .keep_bytes = 9}, "PAGEfirst000" + std::string(1, '\0') + "ore"},
       }) {
    HalfSyncedPage();
    EXPECT_EQ(files_.UnsyncedBytes(), 12u);
    files_.PowerCut(cut);
    EXPECT_EQ(Content("a"), content) << "unsynced " << static_cast<int>(cut.unsynced) << " keep " << cut.keep_bytes;
  }
}

TEST_F(FaultFileSystemTest, ANewFileWhoseDirectoryWasNotSyncedIsGone) {
  auto file = Create("a");
  ASSERT_TRUE(Append(*file, "x") && Sync(*file));
  files_.PowerCut();
  EXPECT_EQ(Content("a"), "(none)");
}

TEST_F(FaultFileSystemTest, ARenameWhoseDirectoryWasNotSyncedIsUndone) {
  auto old_file = Create("current");
  ASSERT_TRUE(Append(*old_file, "old") && Sync(*old_file));
  auto new_file = Create("next");
  ASSERT_TRUE(Append(*new_file, "new") && Sync(*new_file) && SyncDirectory());
  ASSERT_TRUE(files_.RenameFile(scratch_ / "next", scratch_ / "current", IOOptions(), nullptr).ok());
  EXPECT_EQ(Content("current"), "new");
  files_.PowerCut();
  EXPECT_EQ(Content("current"), "old");
  EXPECT_EQ(Content("next"), "new");
}

TEST_F(FaultFileSystemTest, TheNthWriteFails) {
  auto file = Create("a.log");
  files_.Fail(FaultFileSystem::Operation::kWrite, FileKind::kWal, 1);
  EXPECT_TRUE(Append(*file, "1"));
  EXPECT_FALSE(Append(*file, "2"));
  EXPECT_TRUE(Append(*file, "3"));
  EXPECT_EQ(Content("a.log"), "13");
  EXPECT_EQ(files_.faults_fired(), 1u);
}

TEST_F(FaultFileSystemTest, AFaultHitsItsKindOfFileOnly) {
  auto table = Create("a.sst");
  auto wal = Create("a.log");
  files_.Fail(FaultFileSystem::Operation::kSync, FileKind::kWal);
  EXPECT_TRUE(Sync(*table));
  EXPECT_FALSE(Sync(*wal));
  EXPECT_TRUE(Sync(*wal));
}

TEST_F(FaultFileSystemTest, AFullDiskTakesWhatFits) {
  auto file = Create("a");
  files_.SetFreeBytes(3);
  const rocksdb::IOStatus full = file->Append("abcd", IOOptions(), nullptr);
  EXPECT_TRUE(full.IsNoSpace()) << full.ToString();
  EXPECT_EQ(Content("a"), "abc");
}

TEST_F(FaultFileSystemTest, AFrozenMachineChangesNothing) {
  HalfSyncedFile();
  auto file = Create("b");
  files_.FreezeAfter(1, 2);
  ASSERT_TRUE(Append(*file, "1234"));
  EXPECT_FALSE(Append(*file, "5678"));
  EXPECT_TRUE(files_.frozen());
  EXPECT_EQ(Content("b"), "123456") << "two bytes of the write that it stopped in";
  EXPECT_FALSE(Sync(*file));
  EXPECT_FALSE(files_.DeleteFile(scratch_ / "a", IOOptions(), nullptr).ok());
  EXPECT_FALSE(files_.RenameFile(scratch_ / "a", scratch_ / "c", IOOptions(), nullptr).ok());
  files_.PowerCut();
  EXPECT_FALSE(files_.frozen());
  EXPECT_EQ(Content("a"), "synced");
}

// The proof that RocksDB works over it, and that the loss is real: with syncs rows stay, without them they go.
TEST_F(FaultFileSystemTest, RocksDbKeepsSyncedRowsOverAPowerCutAndLosesOthers) {
  auto files = std::make_shared<FaultFileSystem>();
  auto env = rocksdb::NewCompositeEnv(files);
  rocksdb::Options options;
  options.env = env.get();
  options.create_if_missing = true;
  rocksdb::DB* opened = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, scratch_ / "db", &opened).ok());
  std::unique_ptr<rocksdb::DB> db(opened);
  rocksdb::WriteOptions synced;
  synced.sync = true;
  ASSERT_TRUE(db->Put(synced, "synced", "1").ok());
  ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), "unsynced", "1").ok());
  files->Freeze();
  db.reset();
  files->PowerCut();
  ASSERT_TRUE(rocksdb::DB::Open(options, scratch_ / "db", &opened).ok());
  db.reset(opened);
  std::string value;
  EXPECT_TRUE(db->Get(rocksdb::ReadOptions(), "synced", &value).ok());
  EXPECT_TRUE(db->Get(rocksdb::ReadOptions(), "unsynced", &value).IsNotFound());
}

}  // namespace
}  // namespace flotilla::storage
