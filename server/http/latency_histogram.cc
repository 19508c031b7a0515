#include "server/http/latency_histogram.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

namespace flotilla::http {
namespace {

constexpr std::array kBounds = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                0.05,    0.1,    0.25,    0.5,    1.0,   2.5,    5.0,   10.0, 60.0};

Duration MiddleOf(size_t bucket) { return (latency::LowerEnd(bucket) + latency::LowerEnd(bucket + 1)) / 2; }

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Duration LatencySnapshot::Quantile(double fraction) const {
  if (count_ == 0) return Duration::zero();
  const double wanted = std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(count_));
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, count_);
  uint64_t below = 0;
  for (size_t bucket = 0; bucket < counts_.size(); ++bucket) {
    below += counts_[bucket];
    if (below >= rank) return MiddleOf(bucket);
  }
  LOG(FATAL) << "the buckets hold " << below << " values of " << count_;
}

void LatencySnapshot::Merge(const LatencySnapshot& other) {
  for (size_t bucket = 0; bucket < counts_.size(); ++bucket) counts_[bucket] += other.counts_[bucket];
  count_ += other.count_;
  sum_ += other.sum_;
}

HistogramData LatencySnapshot::Export(std::span<const double> bounds) const {
  HistogramData data{.bounds = {bounds.begin(), bounds.end()}, .counts = std::vector<uint64_t>(bounds.size() + 1), .sum = Seconds(sum_)};
  size_t at = 0;
  for (size_t bucket = 0; bucket < counts_.size(); ++bucket) {
    while (at < bounds.size() && Seconds(MiddleOf(bucket)) > bounds[at]) ++at;
    data.counts[at] += counts_[bucket];
  }
  return data;
}

HistogramData LatencySnapshot::Export() const { return Export(kBounds); }

LatencySnapshot LatencyHistogram::Snapshot() const {
  LatencySnapshot snapshot;
  for (size_t bucket = 0; bucket < counts_.size(); ++bucket) {
    snapshot.counts_[bucket] = counts_[bucket].load(std::memory_order_relaxed);
    snapshot.count_ += snapshot.counts_[bucket];
  }
  snapshot.sum_ = Duration(static_cast<int64_t>(nanos_.load(std::memory_order_relaxed)));
  return snapshot;
}

}  // namespace flotilla::http
