// The broker's time: ticks of the Raft host, and what deadlines are in it. Executor only.
#pragma once

#include <algorithm>

#include "raft/core/raft_core.h"
#include "storage/base/clock.h"

namespace flotilla::broker {

class TickClock {
 public:
  // `clock` outlives this.
  TickClock(const Clock& clock, Duration tick) : clock_(clock), tick_(tick) {}

  const Clock& clock() const { return clock_; }
  raft::Tick now() const { return now_; }
  void Advance(raft::Tick now) { now_ = now; }

  Duration tick() const { return tick_; }
  // Rounded up: never earlier than asked for.
  raft::Tick Ticks(Duration duration) const {
    return duration <= Duration::zero() ? 0 : static_cast<raft::Tick>((duration + tick_ - Duration{1}) / tick_);
  }
  raft::Tick At(MonotonicTime deadline) const { return now_ + Ticks(deadline - clock_.Now()); }
  raft::Tick In(Duration duration) const { return now_ + Ticks(duration); }
  // What is left until then; at least one tick's worth of nothing: never negative.
  Duration Until(raft::Tick deadline) const { return deadline <= now_ ? Duration::zero() : tick_ * static_cast<int64_t>(deadline - now_); }
  int64_t Millis(raft::Tick ticks) const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(tick_ * static_cast<int64_t>(ticks)).count();
  }

 private:
  const Clock& clock_;
  const Duration tick_;
  raft::Tick now_ = 0;
};

}  // namespace flotilla::broker
