// The fixture of the scenes with bad disks: a RocksDB store over a file system that can fail, and its directory.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "storage/rocks/rocks_store.h"
#include "storage/rocks/store_hooks.h"
#include "tests/support/entry_maker.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/file_content.h"
#include "tests/support/impatient_clock.h"
#include "tests/support/recording_sink.h"
#include "tests/support/scratch_directory.h"

namespace flotilla::storage {

inline constexpr GroupId kGroup{7};

MATCHER_P(FailsWith, reason, std::string("fails with ") + std::string(ReasonName(reason))) {
  *result_listener << arg;
  return arg.reason() == reason;
}
MATCHER(IsOk, "is OK") {
  *result_listener << arg;
  return arg.ok();
}

// Twice: with direct I/O, as it is where the file system can, and without.
#define FLOTILLA_DISK_SUITE(fixture)                                    \
  INSTANTIATE_TEST_SUITE_P(Over, fixture, testing::Values(true, false), \
                           [](const auto& direct) { return direct.param ? "Direct" : "Buffered"; })

class DiskTest : public testing::TestWithParam<bool> {
 protected:
  // A scene that ends early must not leave the writer waiting for a sync.
  ~DiskTest() override { files_->Freeze(); }

  // --- The store

  Status Open() {
    auto store = OpenRocksStoreWith(options_, {.file_system = files_, .rocks_clock = clock_});
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return {};
  }
  void Close() { store_.reset(); }
  // The machine stops, and what was not synced is lost as `options` say.
  void PowerCut(PowerCutOptions options = {}) {
    files_->Freeze();
    store_.reset();
    files_->PowerCut(options);
  }
  // A store with the group kGroup in it, open.
  void Make() {
    ASSERT_THAT(Open(), IsOk());
    ASSERT_THAT(Write({.group = kGroup, .create = GroupIdentity{}}), IsOk());
  }

  // False: not within half a minute.
  static bool WaitUntil(const std::function<bool()>& reached) {
    for (int i = 0; i < 30'000 && !reached(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return reached();
  }

  // --- Writing, each with its outcome

  Status Write(WriteTask task) {
    RecordingSink sink;
    Status submitted = store_->Submit(std::move(task), sink);
    if (!submitted.ok()) return submitted;
    if (!sink.WaitFor(1)) return Status(Reason::kOutcomeUnknown, "the store did not complete the task");
    return sink.done().front().status;
  }
  Status Append(std::string payload) {
    const Entry entry = make_.Data(payload);
    Status status = Write({.group = kGroup, .entries = {entry}});
    if (status.ok()) acknowledged_.push_back(std::move(payload));
    return status;
  }
  // A kibibyte and more, so that many of them fill memtables and blocks.
  Status AppendLarge(int number) { return Append(std::to_string(number) + std::string(3000, static_cast<char>('a' + number % 26))); }

  // --- Reading

  // What can be read of kGroup from the front, and how it ended.
  Status ReadAll(std::vector<std::string>* payloads) {
    Result<LogBounds> bounds = store_->Bounds(kGroup);
    if (!bounds.ok()) return bounds.status();
    for (LogIndex at = bounds->first_index(); at <= bounds->last_index(); ++at) {
      auto entries = store_->Read(kGroup, at, at + 1, {});
      if (!entries.ok()) return entries.status();
      payloads->emplace_back(entries->front().payload.view());
    }
    return {};
  }
  // Everything that was acknowledged is there, and at most one thing more: what was under way.
  void ExpectAllAcknowledged() {
    std::vector<std::string> payloads;
    ASSERT_THAT(ReadAll(&payloads), IsOk());
    ASSERT_GE(payloads.size(), acknowledged_.size());
    EXPECT_LE(payloads.size(), acknowledged_.size() + 1);
    payloads.resize(acknowledged_.size());
    EXPECT_EQ(payloads, acknowledged_);
  }

  // --- The directory

  std::string directory() const { return options_.directory; }
  std::string database() const { return options_.directory + "/db"; }
  // Name and content of every file but locks and RocksDB's diary.
  std::map<std::string, std::string> Contents() const {
    std::map<std::string, std::string> contents;
    for (const auto& file : std::filesystem::recursive_directory_iterator(directory())) {
      const std::string name = file.path().filename();
      if (!file.is_regular_file() || name == "LOCK" || name.starts_with("LOG")) continue;
      contents[file.path()] = FileContent(file.path()).value_or("");
    }
    return contents;
  }
  void CopyTo(const std::string& from, const std::string& to) const {
    std::filesystem::remove_all(to);
    std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
  }
  // The store refuses the directory and does not change it.
  void ExpectRefusedUntouched(Reason reason) {
    const auto before = Contents();
    const Status refused = Open();
    EXPECT_THAT(refused, FailsWith(reason));
    EXPECT_EQ(Contents().size(), before.size());
    EXPECT_TRUE(Contents() == before) << "a refused directory is evidence; leave it as it is";
    store_.reset();
  }

  ScratchDirectory scratch_;
  std::shared_ptr<FaultFileSystem> files_ = std::make_shared<FaultFileSystem>();
  std::shared_ptr<ImpatientClock> clock_ = std::make_shared<ImpatientClock>();
  RocksStoreOptions options_{.directory = scratch_ / "data",
                             .log_families = 2,
                             .memtable_bytes = 64 * limits::kKiB,
                             .write_buffer_bytes = 4 * limits::kMiB,
                             .wal_bytes_max = limits::kMiB,
                             .direct_io = GetParam(),
                             .second_thread_bytes = 1};
  std::unique_ptr<LogStore> store_;
  EntryMaker make_{kGroup};
  std::vector<std::string> acknowledged_;
};

}  // namespace flotilla::storage
