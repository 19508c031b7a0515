#include "server/http/latency_histogram.h"

#include <gmock/gmock.h>

#include <cmath>
#include <random>
#include <thread>

namespace flotilla::http {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

TEST(LatencyHistogramTest, BucketsFollowEachOtherWithoutAGap) {
  for (size_t bucket = 0; bucket < latency::kBuckets; ++bucket) {
    EXPECT_EQ(latency::BucketOf(latency::LowerEnd(bucket)), bucket);
    EXPECT_EQ(latency::BucketOf(latency::LowerEnd(bucket + 1) - 1ns), bucket);
  }
}

TEST(LatencyHistogramTest, AValueIsKnownToOnePercentFromOneMicrosecondToAMinute) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> exponent(3.0, std::log10(60e9));
  for (int i = 0; i < 10'000; ++i) {
    const Duration duration(static_cast<int64_t>(std::pow(10.0, exponent(random))));
    LatencyHistogram histogram;
    histogram.Record(duration);
    const double read = static_cast<double>(histogram.Snapshot().Quantile(0.5).count());
    EXPECT_NEAR(read / static_cast<double>(duration.count()), 1.0, 0.01) << duration.count() << " ns";
  }
}

TEST(LatencyHistogramTest, QuantilesAreThoseOfTheValues) {
  LatencyHistogram histogram;
  for (int i = 1; i <= 1000; ++i) histogram.Record(i * 1ms);
  const LatencySnapshot snapshot = histogram.Snapshot();
  EXPECT_EQ(snapshot.count(), 1000u);
  EXPECT_EQ(snapshot.sum(), 500'500ms);
  for (const auto& [fraction, expected] : {std::pair(0.0, 1.0), std::pair(0.5, 500.0), std::pair(0.99, 990.0), std::pair(1.0, 1000.0)}) {
    const double milliseconds = std::chrono::duration<double, std::milli>(snapshot.Quantile(fraction)).count();
    EXPECT_NEAR(milliseconds / expected, 1.0, 0.01) << fraction;
  }
}

TEST(LatencyHistogramTest, WithoutValuesEveryQuantileIsZero) {
  EXPECT_EQ(LatencyHistogram().Snapshot().Quantile(0.99), 0ns);
  EXPECT_EQ(LatencySnapshot().count(), 0u);
}

TEST(LatencyHistogramTest, WhatIsOutOfRangeCountsAtItsEnds) {
  LatencyHistogram histogram;
  histogram.Record(-5s);
  EXPECT_LT(histogram.Snapshot().Quantile(1.0), 16ns);
  EXPECT_EQ(histogram.Snapshot().sum(), 0ns);
  histogram.Record(24h);
  EXPECT_GT(histogram.Snapshot().Quantile(1.0), 60s);
  EXPECT_LT(histogram.Snapshot().Quantile(1.0), 70s);
}

TEST(LatencyHistogramTest, SnapshotsAdd) {
  LatencyHistogram fast;
  LatencyHistogram slow;
  for (int i = 0; i < 90; ++i) fast.Record(1ms);
  for (int i = 0; i < 10; ++i) slow.Record(1s);
  LatencySnapshot both = fast.Snapshot();
  both.Merge(slow.Snapshot());
  EXPECT_EQ(both.count(), 100u);
  EXPECT_EQ(both.sum(), 10'090ms);
  EXPECT_LT(both.Quantile(0.9), 2ms);
  EXPECT_GT(both.Quantile(0.91), 900ms);
}

TEST(LatencyHistogramTest, IsExportedInSecondsPerBucket) {
  LatencyHistogram histogram;
  for (const Duration duration : {Duration(100us), Duration(200us), Duration(3ms), Duration(2s)}) histogram.Record(duration);
  const std::vector<double> bounds = {0.001, 0.01, 1.0};
  const HistogramData data = histogram.Snapshot().Export(bounds);
  EXPECT_THAT(data.bounds, ElementsAre(0.001, 0.01, 1.0));
  EXPECT_THAT(data.counts, ElementsAre(2, 1, 0, 1));
  EXPECT_DOUBLE_EQ(data.sum, 2.0033);
  const HistogramData usual = histogram.Snapshot().Export();
  EXPECT_EQ(usual.counts.size(), usual.bounds.size() + 1);
}

TEST(LatencyHistogramTest, NothingIsLostWhenThreadsRecordAtOnce) {
  LatencyHistogram histogram;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&histogram, t] {
      for (int i = 0; i < 50'000; ++i) histogram.Record((i % 100 + t) * 1us);
    });
  }
  uint64_t seen = 0;
  while (seen < 200'000) {
    const uint64_t count = histogram.Snapshot().count();
    ASSERT_GE(count, seen);
    ASSERT_LE(count, 200'000u);
    seen = count;
  }
  for (std::thread& thread : threads) thread.join();
  // 500 times 0..99 us from each thread, and the thread's number on top.
  EXPECT_EQ(histogram.Snapshot().sum(), 4 * 500 * 4950us + 50'000 * (0 + 1 + 2 + 3) * 1us);
}

}  // namespace
}  // namespace flotilla::http
