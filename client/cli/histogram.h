// Latencies from nanoseconds to minutes, counted in buckets no wider than 1/64 of their value. Not thread-safe.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace flotilla::cli {

class Histogram {
 public:
  void Add(int64_t value) {
    const uint64_t counted = value < 0 ? 0 : static_cast<uint64_t>(value);
    ++buckets_[BucketOf(counted)];
    ++count_;
    if (counted > max_) max_ = counted;
  }
  // The value that this part of all values (0 to 1) does not exceed; 0 without any.
  int64_t Quantile(double part) const;
  int64_t max() const { return static_cast<int64_t>(max_); }
  uint64_t count() const { return count_; }
  void Merge(const Histogram& other);

 private:
  static constexpr unsigned kBits = 6;  // 64 buckets for each power of two
  static constexpr size_t kBuckets = (64 - kBits + 1) << kBits;

  static size_t BucketOf(uint64_t value) {
    if (value < (1U << kBits)) return value;
    const auto power = static_cast<unsigned>(std::bit_width(value)) - 1;
    const uint64_t step = value >> (power - kBits) & ((1U << kBits) - 1);
    return ((power - kBits + 1) << kBits) + step;
  }
  // The largest value of a bucket.
  static uint64_t UpperEnd(size_t bucket);

  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace flotilla::cli
