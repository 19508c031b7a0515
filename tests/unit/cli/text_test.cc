#include "client/cli/text.h"

#include <gtest/gtest.h>

#include <sstream>

#include "client/cli/histogram.h"
#include "client/cli/record_text.h"
#include "client/cli/table.h"

namespace flotilla::cli {
namespace {

TEST(TextTest, Base64GoesBothWays) {
  for (const std::string text : {"", "f", "fo", "foo", "foob"}) EXPECT_EQ(FromBase64(ToBase64(text)), text);
  EXPECT_EQ(ToBase64("fo"), "Zm8=");
  EXPECT_EQ(FromBase64("!"), std::nullopt);
}

TEST(TextTest, Utf8IsToldFromBytes) {
  EXPECT_TRUE(IsUtf8("caf\xc3\xa9"));
  EXPECT_FALSE(IsUtf8("\xff"));
  EXPECT_FALSE(IsUtf8("\xc3"));
  EXPECT_FALSE(IsUtf8("\xc0\x80")) << "longer than need be";
  EXPECT_FALSE(IsUtf8("\xed\xa0\x80")) << "half a surrogate pair";
}

TEST(TextTest, TimesAreReadInAllTheirForms) {
  EXPECT_EQ(ParseTime("1700000000123", 0), 1'700'000'000'123);
  EXPECT_EQ(ParseTime("2023-11-14T22:13:20Z", 0), 1'700'000'000'000);
  EXPECT_EQ(ParseTime("2023-11-14T22:13:20.5Z", 0), 1'700'000'000'500);
  EXPECT_EQ(ParseTime("-10m", 1'000'000), 400'000);
  EXPECT_EQ(ParseTime("yesterday", 0), std::nullopt);
  EXPECT_EQ(TimeText(1'700'000'000'123), "2023-11-14T22:13:20.123Z");
}

TEST(TextTest, DurationsAndSizesHaveUnits) {
  EXPECT_EQ(ParseDuration("500ms"), std::chrono::milliseconds(500));
  EXPECT_EQ(ParseDuration("2m"), std::chrono::minutes(2));
  EXPECT_EQ(ParseDuration("2x"), std::nullopt);
  EXPECT_EQ(ParseBytes("64KiB"), 65536);
  EXPECT_EQ(ParseBytes("-1"), std::nullopt);
}

TEST(HistogramTest, QuantilesAreWithinABucket) {
  Histogram histogram;
  for (int i = 1; i <= 100'000; ++i) histogram.Add(i);
  EXPECT_NEAR(static_cast<double>(histogram.Quantile(0.5)), 50'000, 50'000.0 / 64);
  EXPECT_NEAR(static_cast<double>(histogram.Quantile(0.999)), 99'900, 99'900.0 / 64);
  EXPECT_EQ(histogram.Quantile(1), 100'000);
}

TEST(TableTest, ColumnsStandUnderTheirNames) {
  Table table({"A", "LONG"});
  table.Add({"caf\xc3\xa9", ""});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(), "A     LONG\ncaf\xc3\xa9  -\n");
}

TEST(RecordTextTest, AnUnknownVerbIsRefused) {
  EXPECT_FALSE(RecordFormat::Parse("%x").ok());
  EXPECT_FALSE(RecordFormat::Parse("%").ok());
}

TEST(RecordTextTest, JsonKeepsBytesAndAbsence) {
  const auto record = ParseRecordJson(R"({"key":{"base64":"AP8="},"value":null,"headers":{"a":"1"},"timestamp_ms":5})");
  ASSERT_TRUE(record.ok()) << record.error();
  EXPECT_EQ(record->key, std::string("\0\xff", 2));
  EXPECT_EQ(record->value, std::nullopt);
  EXPECT_EQ(record->headers.at(0).second, "1");
  EXPECT_EQ(record->timestamp_ms, 5);
  EXPECT_FALSE(ParseRecordJson(R"({"valeu":"typo"})").ok());
}

TEST(RecordTextTest, NumbersThatDoNotFitAreRefusedInsteadOfCut) {
  EXPECT_EQ(ParseRecordJson(R"({"partition":2147483647})")->partition, 2147483647);
  EXPECT_FALSE(ParseRecordJson(R"({"partition":4294967296})").ok());
  EXPECT_FALSE(ParseRecordJson(R"({"partition":-1})").ok());
  EXPECT_EQ(ParseRecordJson(R"({"timestamp_ms":-1})")->timestamp_ms, -1);
  EXPECT_FALSE(ParseRecordJson(R"({"timestamp_ms":9223372036854775808})").ok());
}

}  // namespace
}  // namespace flotilla::cli
