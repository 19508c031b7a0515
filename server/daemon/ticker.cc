#include "server/daemon/ticker.h"

#include <pthread.h>

#include <chrono>

namespace flotilla {

void Ticker::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Ticker::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Ticker::Run() {
  pthread_setname_np(pthread_self(), "ticker");
  auto next = std::chrono::steady_clock::now() + interval_;
  std::unique_lock lock(mutex_);
  while (!stop_.wait_until(lock, next, [this] { return stopping_; })) {
    const auto now = std::chrono::steady_clock::now();
    if (now - next > interval_ * static_cast<int64_t>(kBehindMax)) next = now;
    next += interval_;
    // An executor that is behind gets no more to do.
    if (posted_.load() - ticks_.load() >= kBehindMax) continue;
    posted_.fetch_add(1);
    executor_.Post([this] {
      work_();
      ticks_.fetch_add(1);
    });
  }
}

}  // namespace flotilla
