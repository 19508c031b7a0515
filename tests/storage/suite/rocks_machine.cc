#include <atomic>
#include <utility>

#include "storage/rocks/rocks_store.h"
#include "storage/rocks/store_hooks.h"
#include "tests/storage/suite/machine.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/scratch_directory.h"

namespace flotilla::storage {
namespace {

class SetFreeSpace final : public FreeSpace {
 public:
  uint64_t FreeBytes() override { return bytes; }
  std::atomic<uint64_t> bytes = uint64_t{1} << 40;
};

class RocksMachine final : public Machine {
 public:
  Status Open() override {
    auto store = OpenRocksStoreWith(options_, {.file_system = files_, .free_space = &free_space_});
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return {};
  }
  void Close() override {
    files_->ReleaseSyncs();
    store_.reset();
  }
  void PowerCut() override {
    files_->Freeze();
    store_.reset();
    files_->PowerCut();
  }
  LogStore& store() override { return *store_; }

  void Drive() override {}
  void HoldSyncs() override { files_->HoldSyncs(); }
  void ReleaseSyncs() override { files_->ReleaseSyncs(); }

  void SetFreeBytes(uint64_t bytes) override { free_space_.bytes = bytes; }
  void FailNextSync() override { files_->Fail(FaultFileSystem::Operation::kSync, FileKind::kWal); }

 private:
  ScratchDirectory scratch_;
  std::shared_ptr<FaultFileSystem> files_ = std::make_shared<FaultFileSystem>();
  SetFreeSpace free_space_;
  // Small, so that a scene's few entries are flushed, split over families and read from files.
  const RocksStoreOptions options_{.directory = scratch_ / "data",
                                   .log_families = 3,
                                   .memtable_bytes = 64 * limits::kKiB,
                                   .write_buffer_bytes = 4 * limits::kMiB,
                                   .wal_bytes_max = limits::kMiB,
                                   .second_thread_bytes = 1};
  std::unique_ptr<LogStore> store_;
};

}  // namespace

std::unique_ptr<Machine> MakeRocksMachine() { return std::make_unique<RocksMachine>(); }

}  // namespace flotilla::storage
