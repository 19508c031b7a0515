// Where time comes from. Nothing else in the project asks the system for it, so that a simulator can.
#pragma once

#include <chrono>
#include <cstdint>

namespace flotilla {

using Duration = std::chrono::nanoseconds;
// A point of a monotonic clock; only differences mean something.
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime Now() const = 0;
  // Milliseconds since 1970; may jump. For timestamps shown to people and written to records, never for deadlines.
  virtual int64_t WallMillis() const = 0;
};

// The machine's clocks. Any thread.
class SystemClock final : public Clock {
 public:
  MonotonicTime Now() const override;
  int64_t WallMillis() const override;
};

}  // namespace flotilla
