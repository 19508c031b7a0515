// Where the time of appends goes, in buckets: counted where it passes, read at a scrape. Executor only.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "storage/base/clock.h"

namespace flotilla::broker {

// Bucket i counts what took less than 2^i microseconds and not less than half of it; the last one all that took longer.
class DurationBuckets {
 public:
  static constexpr size_t kBuckets = 28;

  void Add(Duration time) {
    const auto micros = static_cast<uint64_t>(std::max<int64_t>(0, time.count() / 1000));
    ++counts_[std::min<size_t>(std::bit_width(micros), kBuckets - 1)];
    sum_micros_ += micros;
  }
  const std::array<uint64_t, kBuckets>& counts() const { return counts_; }
  uint64_t sum_micros() const { return sum_micros_; }

 private:
  std::array<uint64_t, kBuckets> counts_{};
  uint64_t sum_micros_ = 0;
};

struct StageTimes {
  // How long work waits for the executor: sampled, a few times a second.
  DurationBuckets queue;
  // From the proposal on this node until a majority has it on disk and it is applied here.
  DurationBuckets replicate;
  // From handing an append to another node until its answer.
  DurationBuckets forward;
};

}  // namespace flotilla::broker
