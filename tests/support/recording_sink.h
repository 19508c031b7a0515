// A WriteSink that remembers every completion, in order, and lets a test wait for them. Any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <span>
#include <vector>

#include "storage/log/log_store.h"

namespace flotilla::storage {

class RecordingSink final : public WriteSink {
 public:
  void OnWritten(std::span<const WriteDone> done) override {
    std::lock_guard lock(mutex_);
    done_.insert(done_.end(), done.begin(), done.end());
    changed_.notify_all();
  }

  // False: there were not `count` completions within half a minute.
  bool WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return done_.size() >= count; });
  }
  std::vector<WriteDone> done() const {
    std::lock_guard lock(mutex_);
    return done_;
  }
  size_t count() const {
    std::lock_guard lock(mutex_);
    return done_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<WriteDone> done_;
};

}  // namespace flotilla::storage
