// A machine's clocks: the monotonic one goes at a rate of its own, the one on the wall can also jump.
#pragma once

#include "storage/base/clock.h"
#include "tests/sim/event_queue.h"

namespace flotilla::sim::broker {

class SimClock final : public Clock {
 public:
  explicit SimClock(const EventQueue& events) : events_(events) {}

  MonotonicTime Now() const override { return MonotonicTime(std::chrono::microseconds(Micros())); }
  int64_t WallMillis() const override { return kBeginMillis + jumped_ms_ + Micros() / 1000; }

  double rate() const { return rate_; }
  // From now on a virtual second counts as `rate` seconds.
  void SetRate(double rate) {
    base_ = Micros();
    since_ = events_.now();
    rate_ = rate;
  }
  void Jump(int64_t milliseconds) { jumped_ms_ += milliseconds; }

 private:
  // A day of the year 2026; any will do.
  static constexpr int64_t kBeginMillis = 1'780'000'000'000;
  // Not near zero: deadlines in the past are no special case.
  static constexpr Time kBeginMicros = 1000 * kSecond;

  Time Micros() const { return base_ + static_cast<Time>(static_cast<double>(events_.now() - since_) * rate_); }

  const EventQueue& events_;
  Time base_ = kBeginMicros;
  Time since_ = 0;
  double rate_ = 1;
  int64_t jumped_ms_ = 0;
};

}  // namespace flotilla::sim::broker
