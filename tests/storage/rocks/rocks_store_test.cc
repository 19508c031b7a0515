#include "storage/rocks/rocks_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "tests/support/entry_maker.h"
#include "tests/support/recording_sink.h"
#include "tests/support/scratch_directory.h"

namespace flotilla::storage {
namespace {

constexpr GroupId kGroup{7};
constexpr GroupId kOther{8};

class RocksStoreTest : public testing::Test {
 protected:
  void Open() {
    auto store = OpenRocksStore(options_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void Reopen() {
    store_.reset();
    Open();
  }
  Status Write(WriteTask task) {
    RecordingSink sink;
    if (Status submitted = store_->Submit(std::move(task), sink); !submitted.ok()) return submitted;
    return sink.WaitFor(1) ? sink.done().front().status : Status(Reason::kOutcomeUnknown, "not completed");
  }
  void Create(GroupId group) { ASSERT_TRUE(Write({.group = group, .create = GroupIdentity{}}).ok()); }
  uint64_t TableBytes() const {
    uint64_t sum = 0;
    for (const auto& file : std::filesystem::directory_iterator(options_.directory + "/db")) {
      std::error_code gone;  // files come and go
      if (file.path().extension() == ".sst") sum += std::filesystem::file_size(file.path(), gone);
    }
    return sum;
  }
  // Whether it becomes true within half a minute.
  static bool Eventually(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }

  size_t heap_bytes_ = 0;
  ScratchDirectory scratch_;
  RocksStoreOptions options_{.directory = scratch_ / "data",
                             .log_families = 2,
                             .memtable_bytes = 256 * limits::kKiB,
                             .write_buffer_bytes = 8 * limits::kMiB,
                             .wal_bytes_max = 8 * limits::kMiB,
                             .tail_bytes = 64 * limits::kKiB};
  std::unique_ptr<RocksStore> store_;
};

TEST_F(RocksStoreTest, TheIdentityIsThatOfTheDirectory) {
  options_.cluster_id = "orders";
  Open();
  const DirectoryIdentity identity = store_->identity();
  EXPECT_EQ(identity.cluster_id, "orders");
  Reopen();
  EXPECT_EQ(store_->identity(), identity);
}

TEST_F(RocksStoreTest, TwoStoresCannotShareADirectory) {
  Open();
  EXPECT_EQ(OpenRocksStore(options_).status().reason(), Reason::kDirectoryLocked);
}

TEST_F(RocksStoreTest, ThePoolKeepsItsSize) {
  Open();
  Create(kGroup);
  options_.log_families = 5;
  Reopen();
  EXPECT_TRUE(store_->Load(kGroup).ok());
}

TEST_F(RocksStoreTest, ATrimGivesSpaceBack) {
  Open();
  Create(kGroup);
  EntryMaker make(kGroup);
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(Write({.group = kGroup, .entries = {make.Data(std::string(32 * 1024, 'x'))}}).ok());
  }
  ASSERT_TRUE(Eventually([&] { return TableBytes() > 4 * limits::kMiB; }));
  SnapshotMeta start;
  start.anchor = make.at();
  ASSERT_TRUE(Write({.group = kGroup, .snapshot = start}).ok());
  EXPECT_EQ(store_->Read(kGroup, LogIndex{1}, LogIndex{2}, {}).status().reason(), Reason::kTrimmed);
  // What comes later pushes the rest through compaction.
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(Write({.group = kGroup, .entries = {make.Data(std::string(32 * 1024, 'x'))}}).ok());
  }
  EXPECT_TRUE(Eventually([&] { return TableBytes() < 4 * limits::kMiB; })) << TableBytes();
  Reopen();
  EXPECT_EQ(store_->Bounds(kGroup)->first_index(), LogIndex{201});
}

TEST_F(RocksStoreTest, ADestroyedGroupCanBeMadeAgainAtOnce) {
  Open();
  Create(kGroup);
  for (int life = 0; life < 20; ++life) {
    EntryMaker make(kGroup);
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(Write({.group = kGroup, .entries = {make.Data(std::string(32 * 1024, 'x'))}}).ok());
    }
    ASSERT_TRUE(Write({.group = kGroup, .destroy = true}).ok());
    Create(kGroup);
    EXPECT_TRUE(store_->Bounds(kGroup)->empty());
  }
  EntryMaker make(kGroup);
  ASSERT_TRUE(Write({.group = kGroup, .entries = {make.Data("a"), make.Data("b")}}).ok());
  Reopen();
  EXPECT_EQ(store_->Read(kGroup, LogIndex{1}, LogIndex{3}, {})->size(), 2U);
}

TEST_F(RocksStoreTest, ReadersNeverSeeHalfOfAnOverwrite) {
  options_.tail_bytes = 0;  // from the disk, every time
  Open();
  Create(kGroup);
  EntryMaker make(kGroup);
  ASSERT_TRUE(Write({.group = kGroup, .entries = {make.Data("1"), make.Data("1"), make.Data("1"), make.Data("1")}}).ok());
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> reads{0};
  std::thread reader([&] {
    while (!stop) {
      const auto entries = store_->Read(kGroup, LogIndex{1}, LogIndex{3}, {});
      ASSERT_TRUE(entries.ok()) << entries.status();
      for (const Entry& entry : *entries) ASSERT_EQ(entry.term(), entries->front().term());
      ASSERT_TRUE(store_->FindOffset(kGroup, Offset{1}).ok());
      ++reads;
    }
  });
  for (uint64_t term = 2; term < 150; ++term) {
    EntryMaker next(kGroup, Term{term});
    std::vector<Entry> entries;
    for (uint64_t i = 0; i < 2 + term % 3; ++i) entries.push_back(next.Data("entry"));
    ASSERT_TRUE(Write({.group = kGroup, .entries = entries}).ok());
  }
  ASSERT_TRUE(Eventually([&] { return reads > 10; }));
  stop = true;
  reader.join();
  EXPECT_EQ(store_->Counters().corruptions, 0U);
}

TEST_F(RocksStoreTest, AnIdleGroupDoesNotPinTheWal) {
  Open();
  Create(kGroup);
  Create(kOther);
  EntryMaker idle(kOther);
  ASSERT_TRUE(Write({.group = kOther, .entries = {idle.Data("once")}}).ok());
  EntryMaker busy(kGroup);
  for (int i = 0; i < 600; ++i) {
    ASSERT_TRUE(Write({.group = kGroup, .entries = {busy.Data(std::string(64 * 1024, 'x'))}}).ok());
  }
  EXPECT_TRUE(Eventually([&] { return store_->Counters().wal_bytes < 2 * options_.wal_bytes_max; }));
  Reopen();
  EXPECT_EQ(store_->Bounds(kOther)->last_index(), LogIndex{1});
}

TEST_F(RocksStoreTest, TheGroupWrittenLongestAgoLosesItsTailFirst) {
  Open();
  Create(kGroup);
  Create(kOther);
  EntryMaker old(kGroup);
  EntryMaker young(kOther);
  ASSERT_TRUE(Write({.group = kGroup, .entries = {old.Data(std::string(40'000, 'x'))}}).ok());
  ASSERT_TRUE(store_->ReadCached(kGroup, LogIndex{1}, LogIndex{2}, {}).has_value());
  ASSERT_TRUE(Write({.group = kOther, .entries = {young.Data(std::string(40'000, 'x'))}}).ok());
  EXPECT_FALSE(store_->ReadCached(kGroup, LogIndex{1}, LogIndex{2}, {}).has_value());
  EXPECT_TRUE(store_->ReadCached(kOther, LogIndex{1}, LogIndex{2}, {}).has_value());
  EXPECT_TRUE(store_->Read(kGroup, LogIndex{1}, LogIndex{2}, {}).ok());
}

TEST_F(RocksStoreTest, AThousandGroupsComeBack) {
  options_.log_families = 32;
  Open();
  RecordingSink sink;
  for (uint64_t id = 0; id < 1000; ++id) {
    EntryMaker make(GroupId{id});
    ASSERT_TRUE(store_
                    ->Submit({.group = GroupId{id},
                              .create = GroupIdentity{ReplicaId{NodeId{1}, id}, "orders/" + std::to_string(id)},
                              .entries = {make.Configuration("members"), make.Data("a")},
                              .hard_state = HardState{Term{1}, ReplicaId{NodeId{1}, id}, LogIndex{1}}},
                             sink)
                    .ok());
  }
  ASSERT_TRUE(sink.WaitFor(1000));
  const auto start = std::chrono::steady_clock::now();
  Reopen();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  RecordProperty("reopen_seconds", std::to_string(took.count()));
  ASSERT_EQ(store_->Groups().size(), 1000U);
  const auto group = store_->Load(GroupId{500});
  ASSERT_TRUE(group.ok());
  EXPECT_EQ(group->identity.label, "orders/500");
  EXPECT_EQ(group->hard_state.voted_for.incarnation, 500U);
  EXPECT_EQ(group->configurations.size(), 1U);
  EXPECT_EQ(group->bounds.last_index(), LogIndex{2});
}

TEST_F(RocksStoreTest, AnIdleGroupTakesLessThanAKibibyte) {
  options_.block_cache_bytes = 0;
  const auto heap_bytes_with = [&](uint64_t groups) {
    for (uint64_t group = store_->Groups().size() + 1; group <= groups; ++group) {
      EntryMaker make(GroupId{group});
      ASSERT_TRUE(Write({.group = GroupId{group}, .create = GroupIdentity{.self = {}, .label = "orders/1"}}).ok());
      ASSERT_TRUE(Write({.group = GroupId{group}, .entries = {make.Noop()}}).ok());
    }
    Reopen();  // nothing of them is left in tails or memtables
    heap_bytes_ = ::mallinfo2().uordblks;
  };
  Open();
  heap_bytes_with(100);
  const size_t few = heap_bytes_;
  if (few == 0) GTEST_SKIP() << "this build's allocator does not count";
  heap_bytes_with(600);
  EXPECT_LT(heap_bytes_, few + 500 * limits::kKiB) << "now " << heap_bytes_ << ", before " << few;
  EXPECT_GT(heap_bytes_, few);
}

TEST_F(RocksStoreTest, CountersTellWhatTheEngineWrote) {
  Open();
  Create(kGroup);
  EntryMaker make(kGroup);
  ASSERT_TRUE(Write({.group = kGroup, .entries = {make.Data(std::string(100'000, 'x'))}}).ok());
  const StoreCounters counters = store_->Counters();
  EXPECT_EQ(counters.entries, 1U);
  EXPECT_EQ(counters.syncs, 2U);
  EXPECT_GT(counters.sync_nanos_total, 0U);
  EXPECT_GE(counters.sync_nanos_total, counters.sync_nanos_max);
  EXPECT_GE(counters.wal_written_bytes, 100'000U);
  EXPECT_GT(counters.wal_bytes, 0U);
  EXPECT_GT(counters.free_bytes, 0U);
  EXPECT_FALSE(counters.failed);
}

}  // namespace
}  // namespace flotilla::storage
