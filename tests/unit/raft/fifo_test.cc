#include "raft/core/fifo.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>

#include "storage/base/random.h"

namespace flotilla::raft {
namespace {

TEST(FifoTest, FirstInFirstOut) {
  Fifo<int> fifo;
  EXPECT_TRUE(fifo.empty());
  fifo.push_back(1);
  fifo.push_back(2);
  fifo.push_back(3);
  EXPECT_EQ(fifo.size(), 3u);
  fifo.pop_front();
  EXPECT_EQ(fifo.front(), 2);
  EXPECT_EQ(fifo[1], 3);
  fifo.pop_back();
  EXPECT_EQ(fifo.back(), 2);
  EXPECT_EQ(fifo.size(), 1u);
}

TEST(FifoTest, WhatLeavesIsLetGoOfAtOnce) {
  Fifo<std::shared_ptr<int>> fifo;
  auto item = std::make_shared<int>(7);
  fifo.push_back(item);
  fifo.push_back(nullptr);
  EXPECT_EQ(item.use_count(), 2);
  fifo.pop_front();
  EXPECT_EQ(item.use_count(), 1);
}

TEST(FifoTest, BehavesAsADeque) {
  Random random(1);
  Fifo<uint64_t> fifo;
  std::deque<uint64_t> model;
  for (int step = 0; step < 100'000; ++step) {
    switch (random.Below(8)) {
      case 0:
      case 1:
      case 2:
        fifo.push_back(step);
        model.push_back(step);
        break;
      case 3:
      case 4:
        if (model.empty()) break;
        fifo.pop_front();
        model.pop_front();
        break;
      case 5:
        if (model.empty()) break;
        fifo.pop_back();
        model.pop_back();
        break;
      case 6:
        if (!random.OneIn(100)) break;
        fifo.clear();
        model.clear();
        break;
      case 7:
        if (!random.OneIn(50)) break;
        while (model.size() > 2) {
          fifo.pop_front();
          model.pop_front();
        }
        break;
    }
    ASSERT_EQ(fifo.size(), model.size());
    ASSERT_EQ(fifo.empty(), model.empty());
    if (model.empty()) continue;
    ASSERT_EQ(fifo.front(), model.front());
    ASSERT_EQ(fifo.back(), model.back());
    const size_t any = random.Below(model.size());
    ASSERT_EQ(fifo[any], model[any]);
    if (step % 97 == 0) {
      ASSERT_TRUE(std::equal(fifo.begin(), fifo.end(), model.begin(), model.end()));
    }
  }
}

}  // namespace
}  // namespace flotilla::raft
