#include "server/config/values.h"

#include <gmock/gmock.h>

namespace flotilla::config {
namespace {

using namespace std::chrono_literals;

TEST(ValuesTest, CountsAreDecimalDigitsOnly) {
  EXPECT_EQ(*ParseCount("0"), 0u);
  EXPECT_EQ(*ParseCount("18446744073709551615"), std::numeric_limits<uint64_t>::max());
  for (const char* text : {"", "-1", "+1", "1.0", "1e3", "0x10", "0b1", "1_000", "1,000", " 1", "1 ", "18446744073709551616"}) {
    EXPECT_FALSE(ParseCount(text).ok()) << text;
  }
}

TEST(ValuesTest, LeadingZerosAreRefusedWithTheNumberThatIsMeant) {
  EXPECT_EQ(ParseCount("010").status().message(), "write it without leading zeros: 10");
  EXPECT_EQ(ParseCount("00").status().message(), "write it without leading zeros: 0");
  EXPECT_EQ(ParseSize("064MiB").status().message(), "write it without leading zeros: 64MiB");
}

TEST(ValuesTest, SizesAndDurationsNeedTheirUnit) {
  EXPECT_EQ(*ParseSize("64KiB"), 65536u);
  EXPECT_EQ(*ParseSize("1GiB"), uint64_t{1} << 30);
  EXPECT_EQ(*ParseSize("7B"), 7u);
  EXPECT_EQ(*ParseDuration("500ms"), 500ms);
  EXPECT_EQ(*ParseDuration("7d"), 7 * 24h);
  EXPECT_EQ(*ParseDuration("5m"), 5min);
  for (const char* text : {"64", "64MB", "64M", "64mib", "64 MiB", "MiB", "-1MiB", "1.5GiB", "", "17000000TiB"}) {
    EXPECT_FALSE(ParseSize(text).ok()) << text;
  }
  for (const char* text : {"10", "10sec", "1.5s", "1h30m", "-1s", "s", "", "300y", "200000d"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
}

TEST(ValuesTest, WhatIsFormattedIsReadAsTheSame) {
  for (const uint64_t bytes :
       {uint64_t{0}, uint64_t{1}, uint64_t{1023}, uint64_t{1024}, uint64_t{8} << 20, (uint64_t{8} << 20) + 1, uint64_t{5} << 40}) {
    EXPECT_EQ(*ParseSize(FormatSize(bytes)), bytes) << FormatSize(bytes);
  }
  for (const Duration duration : {Duration(0s), Duration(5us), Duration(1500ms), Duration(90s), Duration(36h), Duration(48h)}) {
    EXPECT_EQ(*ParseDuration(FormatDuration(duration)), duration) << FormatDuration(duration);
  }
  EXPECT_EQ(FormatSize(8 << 20), "8MiB");
  EXPECT_EQ(FormatDuration(1500ms), "1500ms");
  EXPECT_EQ(FormatDuration(48h), "2d");
}

}  // namespace
}  // namespace flotilla::config
