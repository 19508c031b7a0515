// Time for an executor: a thread that posts one tick after the other. A tick that is late is made up for, one that is very late
// is not: a process that was stopped does not live through all it has missed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "raft/node/executor.h"
#include "storage/base/clock.h"

namespace flotilla {

class Ticker {
 public:
  // `work` runs on the executor. References outlive this.
  Ticker(raft::Executor& executor, Duration interval, std::function<void()> work)
      : executor_(executor), interval_(interval), work_(std::move(work)) {}
  ~Ticker() { Stop(); }

  void Start();
  void Stop();
  // Ticks that ran.
  uint64_t ticks() const { return ticks_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kBehindMax = 4;
  void Run();

  raft::Executor& executor_;
  const Duration interval_;
  const std::function<void()> work_;
  std::atomic<uint64_t> posted_{0};
  std::atomic<uint64_t> ticks_{0};
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace flotilla
