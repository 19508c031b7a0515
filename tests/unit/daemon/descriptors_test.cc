#include "server/daemon/descriptors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace flotilla {
namespace {

TEST(DescriptorsTest, WithManyEveryConnectionIsAllowed) {
  EXPECT_EQ(ConnectionsWithin(1'048'576, 10'000), 10'000u);
  EXPECT_EQ(ConnectionsWithin(1'048'576, 17), 17u);
}

TEST(DescriptorsTest, WhatTheStoreNeedsIsLeftOut) {
  EXPECT_EQ(ConnectionsWithin(4096 + 512 + 1000 + 1000, 10'000), 1000u);
  EXPECT_EQ(ConnectionsWithin(10'000, 10'000), 4392u);
}

TEST(DescriptorsTest, AFewAreAlwaysAllowed) {
  EXPECT_EQ(ConnectionsWithin(1024, 10'000), 64u);
  EXPECT_EQ(ConnectionsWithin(0, 10'000), 64u);
}

TEST(DescriptorsTest, TheLimitIsRaisedToWhatTheProcessMayHave) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = 100;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(RaiseDescriptorLimit(), limit.rlim_max);
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, limit.rlim_max);
}

}  // namespace
}  // namespace flotilla
