#include "server/daemon/free_memory.h"

#include <gtest/gtest.h>

#include "storage/base/limits.h"

namespace flotilla {

using limits::kMiB;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A friend of FreeMemory.
class FreeMemoryTest : public ::testing::Test {
 protected:
  // 10 seconds later, when so much processor time was used in between.
  bool AtRest(Duration cpu) {
    now_ += seconds(10);
    cpu_time_ += cpu;
    return memory_.IsAtRest(now_, cpu_time_);
  }
  bool WorthIt(uint64_t resident_mib, uint64_t free_mib) {
    return memory_.IsWorthIt({.resident = resident_mib * kMiB, .free = free_mib * kMiB});
  }
  void GaveBack(uint64_t resident_mib, uint64_t free_mib) { memory_.low_ = {.resident = resident_mib * kMiB, .free = free_mib * kMiB}; }

  MonotonicTime now_ = MonotonicTime{} + seconds(1000);
  Duration cpu_time_{};
  FreeMemory memory_;
};

namespace {

TEST_F(FreeMemoryTest, WhatHasGrownIsGivenBackOnce) {
  EXPECT_TRUE(WorthIt(40, 10)) << "what it was before nobody knows";
  GaveBack(40, 10);
  EXPECT_FALSE(WorthIt(60, 20)) << "little more";
  EXPECT_TRUE(WorthIt(240, 10)) << "it may be in use, or free";
  GaveBack(240, 10);
  EXPECT_FALSE(WorthIt(250, 10)) << "it was in use: trying again would not help";
}

TEST_F(FreeMemoryTest, WhatWasInUseAndIsFreedIsGivenBackThen) {
  GaveBack(240, 10);
  EXPECT_TRUE(WorthIt(240, 200));
  GaveBack(40, 200);
  EXPECT_FALSE(WorthIt(40, 200)) << "it stays in the pools as addresses";
}

TEST_F(FreeMemoryTest, WhatWasGivenBackAndUsedWhileNobodyLookedIsGivenBackAgain) {
  GaveBack(40, 200);
  EXPECT_TRUE(WorthIt(240, 200));
}

TEST_F(FreeMemoryTest, WhatBecomesLessByItselfIsWhereItStartsFrom) {
  GaveBack(240, 10);
  EXPECT_FALSE(WorthIt(100, 10));
  EXPECT_TRUE(WorthIt(140, 10));
}

TEST_F(FreeMemoryTest, WhoHasWorkToDoIsNotAtRest) {
  EXPECT_FALSE(AtRest(Duration{})) << "the first look knows too little";
  EXPECT_FALSE(AtRest(seconds(8)));
  EXPECT_FALSE(AtRest(milliseconds(1001)));
  EXPECT_TRUE(AtRest(milliseconds(999)));
}

}  // namespace
}  // namespace flotilla
