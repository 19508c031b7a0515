#include "server/daemon/liveness.h"

#include <gtest/gtest.h>

namespace flotilla {
namespace {

class LivenessTest : public ::testing::Test {
 protected:
  uint64_t ticks_ = 5;
  uint64_t answers_ = 3;
  int asked_ = 0;
  Liveness liveness_{{.ticks = [this] { return ticks_; }, .answers = [this] { return answers_; }, .ask = [this] { ++asked_; }}};
};

TEST_F(LivenessTest, BothHaveToMove) {
  EXPECT_FALSE(liveness_.Moved());
  ++ticks_;
  EXPECT_FALSE(liveness_.Moved()) << "the port has not answered";
  ++answers_;
  EXPECT_TRUE(liveness_.Moved());
}

TEST_F(LivenessTest, APortThatAnswersIsNotEnough) {
  answers_ += 100;
  EXPECT_FALSE(liveness_.Moved());
}

TEST_F(LivenessTest, WhatMovedOnceCountsOnce) {
  ++ticks_;
  ++answers_;
  EXPECT_TRUE(liveness_.Moved());
  EXPECT_FALSE(liveness_.Moved());
}

TEST_F(LivenessTest, ThePortIsAskedBeforeAnybodyWaits) {
  EXPECT_EQ(asked_, 1);
  liveness_.Moved();
  EXPECT_EQ(asked_, 2);
}

}  // namespace
}  // namespace flotilla
