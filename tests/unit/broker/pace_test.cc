#include "server/broker/pace.h"

#include <gtest/gtest.h>

namespace flotilla::broker {
namespace {

constexpr Duration kSecond = std::chrono::seconds(1);

class PaceTest : public ::testing::Test {
 protected:
  Pace Look(uint64_t left, Duration later, Paces::Key key = {.what = 1, .since = 1}) {
    now_ += later;
    return paces_.Look(key, left, now_);
  }

  Paces paces_{3};
  MonotonicTime now_{};
};

TEST_F(PaceTest, NothingIsKnownBeforeTheSecondLook) {
  EXPECT_EQ(Look(1000, kSecond).remaining_ms, -1);
  EXPECT_EQ(Look(900, kSecond).remaining_ms, 9000);  // 100 a second
}

TEST_F(PaceTest, LooksThatComeTooSoonUseTheSpeedOfBefore) {
  Look(1000, kSecond);
  Look(900, kSecond);
  EXPECT_EQ(Look(899, kSecond / 100).remaining_ms, 8990);
}

TEST_F(PaceTest, TheSpeedFollows) {
  Look(1000, kSecond);
  Look(900, kSecond);
  EXPECT_EQ(Look(600, kSecond).remaining_ms, 3000);  // between 100 and 300 a second: 200
}

TEST_F(PaceTest, WhatStandsStillTakesEverLonger) {
  Look(1000, kSecond);
  EXPECT_EQ(Look(900, kSecond).remaining_ms, 9000);
  EXPECT_EQ(Look(900, kSecond).remaining_ms, 18000);
  for (int i = 0; i < 40; ++i) Look(900, kSecond);
  EXPECT_EQ(Look(900, kSecond).remaining_ms, -1);
}

TEST_F(PaceTest, WhatGrowsHasNoEnd) {
  Look(1000, kSecond);
  EXPECT_EQ(Look(1100, kSecond).remaining_ms, -1);
}

TEST_F(PaceTest, NothingLeftTakesNoTime) { EXPECT_EQ(Look(0, kSecond).remaining_ms, 0); }

TEST_F(PaceTest, TheMostIsRememberedPerThing) {
  Look(500, kSecond);
  EXPECT_EQ(Look(100, kSecond).most, 500U);
  EXPECT_EQ(Look(100, kSecond, {.what = 1, .since = 2}).most, 100U);  // begun anew
}

TEST_F(PaceTest, WhatNobodyLooksAtIsForgotten) {
  for (uint64_t what = 1; what <= 3; ++what) Look(what * 100, kSecond, {.what = what, .since = 1});
  Look(100, kSecond, {.what = 1, .since = 1});
  Look(400, kSecond, {.what = 4, .since = 1});
  EXPECT_EQ(paces_.size(), 3U);
  // 2 was not looked at for the longest time.
  EXPECT_EQ(Look(1, kSecond, {.what = 3, .since = 1}).most, 300U);
  EXPECT_EQ(Look(1, kSecond, {.what = 2, .since = 1}).most, 1U);
}

}  // namespace
}  // namespace flotilla::broker
