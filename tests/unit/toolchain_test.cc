#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

TEST(ToolchainTest, CompilesLinksAndRuns) { EXPECT_THAT((std::vector{1, 2}), testing::ElementsAre(1, 2)); }
