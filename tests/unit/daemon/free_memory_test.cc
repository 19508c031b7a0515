#include "server/daemon/free_memory.h"

#include <gtest/gtest.h>

#include "storage/base/limits.h"

namespace flotilla {

using limits::kMiB;
using std::chrono::milliseconds;
using std::chrono::seconds;

class FreeMemoryTest : public ::testing::Test {
 protected:
  // 10 seconds later, when so much processor time was used in between.
  bool AtRest(Duration cpu) {
    now_ += seconds(10);
    cpu_time_ += cpu;
    return memory_.IsAtRest(now_, cpu_time_);
  }
  bool WorthIt(uint64_t free_mib) { return memory_.IsWorthIt(free_mib * kMiB); }

  MonotonicTime now_ = MonotonicTime{} + seconds(1000);
  Duration cpu_time_{};
  FreeMemory memory_;
};

namespace {

TEST_F(FreeMemoryTest, WhatWasFreedIsGivenBackOnce) {
  EXPECT_FALSE(WorthIt(10));
  EXPECT_TRUE(WorthIt(200));
  EXPECT_FALSE(WorthIt(200)) << "it was given back, and is in the pools all the same";
  EXPECT_FALSE(WorthIt(220));
}

TEST_F(FreeMemoryTest, WhatIsUsedAndFreedAgainIsGivenBackAgain) {
  EXPECT_TRUE(WorthIt(200));
  EXPECT_FALSE(WorthIt(20));
  EXPECT_FALSE(WorthIt(40));
  EXPECT_TRUE(WorthIt(200));
}

TEST_F(FreeMemoryTest, WhoHasWorkToDoIsNotAtRest) {
  EXPECT_FALSE(AtRest(Duration{})) << "the first look knows too little";
  EXPECT_FALSE(AtRest(seconds(8)));
  EXPECT_FALSE(AtRest(milliseconds(1001)));
  EXPECT_TRUE(AtRest(milliseconds(999)));
}

}  // namespace
}  // namespace flotilla
