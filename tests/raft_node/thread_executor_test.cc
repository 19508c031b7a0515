#include "raft/node/thread_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>

namespace flotilla::raft {
namespace {

TEST(ThreadExecutorTest, WorkRunsInTheOrderPosted) {
  ThreadExecutor executor("test");
  executor.Start();
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) executor.Post([&order, i] { order.push_back(i); });
  executor.Stop();
  ASSERT_EQ(order.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(ThreadExecutorTest, WorkPostedBeforeTheStartWaitsForIt) {
  ThreadExecutor executor("test");
  int ran = 0;
  executor.Post([&ran] { ++ran; });
  EXPECT_EQ(ran, 0);
  executor.Start();
  executor.Stop();
  EXPECT_EQ(ran, 1);
}

TEST(ThreadExecutorTest, ManyThreadsPostAndNothingIsLost) {
  ThreadExecutor executor("test");
  executor.Start();
  constexpr int kThreads = 4;
  constexpr int kEach = 5000;
  std::vector<int> last(kThreads, -1);  // touched by the executor only
  int ran = 0;
  std::vector<std::thread> posters;
  for (int thread = 0; thread < kThreads; ++thread) {
    posters.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) {
        executor.Post([&, thread, i] {
          EXPECT_TRUE(executor.InThread());
          EXPECT_EQ(last[static_cast<size_t>(thread)], i - 1);
          last[static_cast<size_t>(thread)] = i;
          ++ran;
        });
      }
    });
  }
  for (std::thread& poster : posters) poster.join();
  executor.Stop();
  EXPECT_EQ(ran, kThreads * kEach);
}

TEST(ThreadExecutorTest, WorkMayPostMoreWork) {
  ThreadExecutor executor("test");
  std::atomic<int> ran = 0;
  executor.Start();
  executor.Post([&] {
    ++ran;
    executor.Post([&] { ++ran; });
  });
  while (ran.load() < 2) std::this_thread::yield();
  executor.Stop();
  EXPECT_EQ(ran.load(), 2);
}

TEST(ThreadExecutorTest, WorkAfterTheStopIsDroppedAndFreed) {
  ThreadExecutor executor("test");
  executor.Start();
  executor.Stop();
  auto held = std::make_shared<int>(1);
  bool ran = false;
  executor.Post([held, &ran] { ran = true; });
  EXPECT_FALSE(ran);
  EXPECT_EQ(held.use_count(), 1);
  executor.Stop();  // once more does nothing
}

TEST(ThreadExecutorTest, WorkThatRanIsFreedBeforeTheNextRuns) {
  ThreadExecutor executor("test");
  auto held = std::make_shared<int>(1);
  long count = 0;
  executor.Post([copy = held] {});
  executor.Post([&] { count = held.use_count(); });
  executor.Start();
  executor.Stop();
  EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace flotilla::raft
