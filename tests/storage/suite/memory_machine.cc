#include <utility>

#include "storage/memory/memory_store.h"
#include "tests/storage/suite/machine.h"

namespace flotilla::storage {
namespace {

class MemoryMachine final : public Machine {
 public:
  Status Open() override {
    auto store = MemoryStore::Open(disk_);
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return {};
  }
  void Close() override {
    held_ = false;
    Drive();
    store_.reset();
  }
  void PowerCut() override {
    held_ = false;
    store_.reset();
    disk_.PowerCut(0);
  }
  LogStore& store() override { return *store_; }

  void Drive() override {
    while (!held_ && !store_->idle()) {
      store_->BeginSync();
      store_->CompleteSync();
    }
  }
  // The first batch is under way while the rest queues up, as with a slow disk.
  void HoldSyncs() override { held_ = true; }
  void ReleaseSyncs() override {
    held_ = false;
    Drive();
  }

  void SetFreeBytes(uint64_t bytes) override { disk_.SetFreeBytes(bytes); }
  void FailNextSync() override { disk_.FailSync(); }

 private:
  MemoryDisk disk_;
  std::unique_ptr<MemoryStore> store_;
  bool held_ = false;
};

}  // namespace

std::unique_ptr<Machine> MakeMemoryMachine() { return std::make_unique<MemoryMachine>(); }

}  // namespace flotilla::storage
