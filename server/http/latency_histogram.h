// How long things take: recorded by any thread without a lock, read as percentiles or as a Prometheus histogram.
//
//   LatencyHistogram fsync;
//   fsync.Record(clock.Now() - begin);
//   writer.Histogram("flotilla_fsync_seconds", "One synced write.", {}, fsync.Snapshot().Export());
//
// Log-linear: 64 buckets for each doubling from 1 us to 60 s, so a value is known to 1.6 % wherever it lies; below 1 us to
// 16 ns. 14 KiB. Recording is two relaxed additions: 10 ns, and 40 while two threads do nothing else.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "server/http/metrics.h"
#include "storage/base/clock.h"

namespace flotilla::http {

namespace latency {

inline constexpr int kUnitBits = 4;      // values are counted in units of 16 ns
inline constexpr int kLinearBits = 6;    // 64 buckets for each doubling
inline constexpr int kLargestBits = 32;  // of a value in units: 2^36 ns are 68.7 s
inline constexpr size_t kLinear = size_t{1} << kLinearBits;
inline constexpr size_t kBuckets = kLinear * (kLargestBits - kLinearBits + 1);

// The bucket that `duration` falls into. Less than nothing counts as nothing, too much as the largest.
constexpr size_t BucketOf(Duration duration) {
  if (duration.count() < 0) return 0;
  const uint64_t units = static_cast<uint64_t>(duration.count()) >> kUnitBits;
  if (units < kLinear) return units;
  const int bits = std::bit_width(units);
  if (bits > kLargestBits) return kBuckets - 1;
  const int shift = bits - kLinearBits - 1;
  return kLinear * static_cast<size_t>(shift) + (units >> shift);
}

// The smallest duration of the bucket; of kBuckets, the first beyond them all.
constexpr Duration LowerEnd(size_t bucket) {
  if (bucket < kLinear) return Duration(static_cast<int64_t>(bucket << kUnitBits));
  const size_t shift = bucket / kLinear - 1;
  return Duration(static_cast<int64_t>((kLinear + bucket % kLinear) << shift << kUnitBits));
}

static_assert(BucketOf(Duration(0)) == 0);
static_assert(BucketOf(LowerEnd(kBuckets) - Duration(1)) == kBuckets - 1);
static_assert(LowerEnd(kBuckets) > std::chrono::seconds(60));

}  // namespace latency

// What a histogram held at some moment. A value.
class LatencySnapshot {
 public:
  LatencySnapshot() : counts_(latency::kBuckets) {}

  uint64_t count() const { return count_; }
  Duration sum() const { return sum_; }
  // The middle of the bucket below which `fraction` (0 to 1) of the values lie: 0.99 for p99. 0 when there is none.
  Duration Quantile(double fraction) const;
  // Adds what another one held.
  void Merge(const LatencySnapshot& other);
  // In seconds, for MetricWriter; each bucket counts where its middle lies. `bounds` ascend.
  HistogramData Export(std::span<const double> bounds) const;
  // With 18 bounds from 50 us to 60 s.
  HistogramData Export() const;

 private:
  friend class LatencyHistogram;
  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  Duration sum_{};
};

class LatencyHistogram {
 public:
  LatencyHistogram() = default;
  LatencyHistogram(const LatencyHistogram&) = delete;
  LatencyHistogram& operator=(const LatencyHistogram&) = delete;

  // Any thread.
  void Record(Duration duration) {
    counts_[latency::BucketOf(duration)].fetch_add(1, std::memory_order_relaxed);
    if (duration.count() > 0) nanos_.fetch_add(static_cast<uint64_t>(duration.count()), std::memory_order_relaxed);
  }

  // Any thread. Everything that was recorded before, and maybe some of what is being recorded; a later snapshot has at
  // least as much in each bucket. The sum may be of a moment later or earlier than the counts.
  LatencySnapshot Snapshot() const;

 private:
  std::array<std::atomic<uint64_t>, latency::kBuckets> counts_{};
  std::atomic<uint64_t> nanos_{0};
};

}  // namespace flotilla::http
