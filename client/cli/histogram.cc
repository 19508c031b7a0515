#include "client/cli/histogram.h"

#include <algorithm>
#include <cmath>

namespace flotilla::cli {

int64_t Histogram::Quantile(double part) const {
  if (count_ == 0) return 0;
  const auto rank = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(part * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    seen += buckets_[bucket];
    if (seen >= rank) return static_cast<int64_t>(std::min(UpperEnd(bucket), max_));
  }
  return max();
}

void Histogram::Merge(const Histogram& other) {
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) buckets_[bucket] += other.buckets_[bucket];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

uint64_t Histogram::UpperEnd(size_t bucket) {
  if (bucket < (1U << kBits)) return bucket;
  const unsigned shift = static_cast<unsigned>(bucket >> kBits) - 1;
  const uint64_t step = (bucket & ((1U << kBits) - 1)) | (1U << kBits);
  return (step << shift) + ((uint64_t{1} << shift) - 1);
}

}  // namespace flotilla::cli
