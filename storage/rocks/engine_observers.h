// What RocksDB tells us: its log lines go to glog, its events into numbers and into the latch.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/listener.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "storage/base/mutex.h"
#include "storage/base/status.h"

namespace flotilla::storage {

// The first failure of a store, for ever: after it nothing is acknowledged. Any thread.
class FailureLatch {
 public:
  // Only the first one counts.
  void Set(Status failure) FLOTILLA_EXCLUDES(mutex_);
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  Status status() const FLOTILLA_EXCLUDES(mutex_);

 private:
  std::atomic<bool> failed_{false};
  mutable Mutex mutex_;
  Status failure_ FLOTILLA_GUARDED_BY(mutex_);
};

// How long the WAL is, counted from the start, and from where on each family needs it. Any thread.
class WalPins {
 public:
  explicit WalPins(size_t families) : pinned_from_(families) {}

  // The family holds data that was written at `position`.
  void Written(size_t family, uint64_t position) {
    uint64_t clean = 0;
    pinned_from_[family].compare_exchange_strong(clean, position + 1);
  }
  // What the family held is being flushed.
  void Sealed(size_t family) { pinned_from_[family].store(0); }
  // Bytes of the WAL that are kept for the family, with the log at `position`.
  uint64_t PinnedBytes(size_t family, uint64_t position) const {
    const uint64_t from = pinned_from_[family].load();
    return from == 0 || from > position ? 0 : position + 1 - from;
  }
  size_t size() const { return pinned_from_.size(); }

 private:
  std::vector<std::atomic<uint64_t>> pinned_from_;  // position + 1; 0: holds nothing
};

std::shared_ptr<rocksdb::Logger> GlogLoggerForRocks();

class EngineListener : public rocksdb::EventListener {
 public:
  // Both outlive the database. `pins` knows families by their place in `families`.
  EngineListener(FailureLatch& latch, WalPins& pins, std::map<std::string, size_t> families)
      : latch_(latch), pins_(pins), families_(std::move(families)) {}

  void OnMemTableSealed(const rocksdb::MemTableInfo& info) override;
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* status) override;
  void OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) override;

  uint64_t background_errors() const { return background_errors_.load(std::memory_order_relaxed); }

 private:
  FailureLatch& latch_;
  WalPins& pins_;
  const std::map<std::string, size_t> families_;
  std::atomic<uint64_t> background_errors_{0};
};

}  // namespace flotilla::storage
