// The WAL past the page cache: what is synced is on the disk, whole pages of it, and RocksDB finds its end.
#include "storage/rocks/wal_file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <filesystem>
#include <iterator>
#include <memory>
#include <string>

#include "storage/base/limits.h"
#include "storage/base/random.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/file_content.h"
#include "tests/support/scratch_directory.h"

namespace flotilla::storage {
namespace {

using rocksdb::FSWritableFile;
using rocksdb::IOOptions;

class WalFileSystemTest : public testing::Test {
 protected:
  std::unique_ptr<FSWritableFile> Create(const std::string& name) {
    std::unique_ptr<FSWritableFile> file;
    const rocksdb::IOStatus created = files_.NewWritableFile(scratch_ / name, {}, &file, nullptr);
    EXPECT_TRUE(created.ok()) << created.ToString();
    return file;
  }
  static bool Append(FSWritableFile& file, const std::string& text) { return file.Append(text, IOOptions(), nullptr).ok(); }
  static bool Sync(FSWritableFile& file) { return file.Sync(IOOptions(), nullptr).ok(); }
  static bool Close(FSWritableFile& file) { return file.Close(IOOptions(), nullptr).ok(); }
  std::string Content(const std::string& name) { return FileContent(scratch_ / name).value_or(""); }
  static std::string Noise(Random& random, size_t bytes) {
    std::string noise(bytes, '\0');
    for (char& byte : noise) byte = static_cast<char>(random.Between(1, 255));
    return noise;
  }

  ScratchDirectory scratch_;
  std::shared_ptr<FaultFileSystem> disk_ = std::make_shared<FaultFileSystem>();
  WalFileSystem files_{disk_};
};

TEST_F(WalFileSystemTest, WhatWasSyncedIsOnTheDiskAndZerosBehindItUntilItIsClosed) {
  for (const uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    Random random(seed);
    auto file = Create("a.log");
    std::string expected;
    for (int sync = 0; sync < 40; ++sync) {
      // Small ones, some that fill the page, and one that is larger than what is kept in memory.
      for (uint64_t parts = random.Below(4); parts > 0; --parts) {
        const std::string part = Noise(random, sync == 17 ? 3 * limits::kMiB : random.Below(random.OneIn(4) ? 70'000 : 3000));
        ASSERT_TRUE(Append(*file, part));
        expected += part;
        EXPECT_EQ(file->GetFileSize(IOOptions(), nullptr), expected.size());
      }
      ASSERT_TRUE(Sync(*file));
      EXPECT_EQ(disk_->UnsyncedBytes(FileKind::kWal), 0u);
      const std::string found = Content("a.log");
      ASSERT_EQ(found.size() % 4096, 0u);
      ASSERT_TRUE(found.substr(0, expected.size()) == expected) << "after sync " << sync;
      ASSERT_EQ(found.find_first_not_of('\0', expected.size()), std::string::npos);
    }
    ASSERT_TRUE(Close(*file));
    EXPECT_TRUE(Content("a.log") == expected);
  }
}

TEST_F(WalFileSystemTest, NothingIsWrittenBeforeItIsSynced) {
  auto file = Create("a.log");
  ASSERT_TRUE(Append(*file, "abc"));
  ASSERT_TRUE(file->Flush(IOOptions(), nullptr).ok());
  EXPECT_EQ(Content("a.log"), "");
  const uint64_t before = disk_->operations();
  ASSERT_TRUE(Sync(*file));
  EXPECT_EQ(disk_->operations() - before, 2u) << "one write, one sync";
}

TEST_F(WalFileSystemTest, NothingThatWasSyncedIsLostWithWhatComesAfterIt) {
  for (const auto unsynced : {Unsynced::kLost, Unsynced::kTorn, Unsynced::kKept, Unsynced::kHole}) {
    SCOPED_TRACE(static_cast<int>(unsynced));
    auto file = Create("a.log");
    std::unique_ptr<rocksdb::FSDirectory> directory;
    ASSERT_TRUE(disk_->NewDirectory(scratch_.path(), IOOptions(), &directory, nullptr).ok());
    ASSERT_TRUE(directory->Fsync(IOOptions(), nullptr).ok());
    const std::string synced(5000, 's');
    ASSERT_TRUE(Append(*file, synced) && Sync(*file));
    disk_->Fail(FaultFileSystem::Operation::kSync, FileKind::kWal);
    ASSERT_TRUE(Append(*file, std::string(5000, 'u')));
    ASSERT_FALSE(Sync(*file));
    file.reset();
    disk_->PowerCut({.unsynced = unsynced, .keep_bytes = 2000});
    EXPECT_EQ(Content("a.log").substr(0, synced.size()), synced);
  }
}

TEST_F(WalFileSystemTest, AFailureIsTheLastWord) {
  auto file = Create("a.log");
  disk_->Fail(FaultFileSystem::Operation::kWrite, FileKind::kWal);
  ASSERT_TRUE(Append(*file, "abc"));
  EXPECT_FALSE(Sync(*file));
  EXPECT_FALSE(Sync(*file));
  EXPECT_FALSE(Append(*file, "d"));
  EXPECT_FALSE(Close(*file));
  EXPECT_EQ(Content("a.log"), "");
}

TEST_F(WalFileSystemTest, OtherFilesAreWrittenAsBefore) {
  auto file = Create("a.sst");
  ASSERT_TRUE(Append(*file, "abc"));
  EXPECT_EQ(Content("a.sst"), "abc");
}

// A process that is killed leaves zeros behind its last batch. RocksDB has to take them for the end, not for damage, however many
// they are: its strictest mode refuses a file that ends in a torn header.
TEST_F(WalFileSystemTest, RocksDbFindsTheEndWhereverInAPageItIs) {
  auto env = rocksdb::NewCompositeEnv(std::make_shared<WalFileSystem>(rocksdb::FileSystem::Default()));
  rocksdb::Options options;
  options.env = env.get();
  options.create_if_missing = true;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kAbsoluteConsistency;
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const auto open = [&](const std::string& path) {
    rocksdb::DB* opened = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(options, path, &opened);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return std::unique_ptr<rocksdb::DB>(opened);
  };
  for (size_t bytes = 4058; bytes < 4078; ++bytes) {
    SCOPED_TRACE(testing::Message() << "a value of " << bytes << " bytes");
    const std::string path = scratch_ / ("db" + std::to_string(bytes));
    auto db = open(path);
    ASSERT_TRUE(db->Put(synced, "key", std::string(bytes, 'v')).ok());
    std::filesystem::copy(path, path + "-killed");
    db = open(path + "-killed");
    ASSERT_NE(db, nullptr);
    std::string value;
    EXPECT_TRUE(db->Get(rocksdb::ReadOptions(), "key", &value).ok());
    EXPECT_EQ(value.size(), bytes);
  }
}

}  // namespace
}  // namespace flotilla::storage
