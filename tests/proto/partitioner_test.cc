#include "proto/partitioner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include "tests/proto/proto_source.h"

namespace flotilla::proto_test {
namespace {

// The comment at the top of records.proto, line by line: the vectors are tested where people read them.
std::vector<std::string> RecordsComment() {
  std::ifstream in(FLOTILLA_PROTO_DIR "/flotilla/v1/records.proto");
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line) && line.rfind("//", 0) == 0;) lines.push_back(line);
  return lines;
}

TEST(Partitioner, KeysGoWhereTheProtoSays) {
  static const std::regex kRow(R"re(//     "(.*)".*?\s(-?\d+)\s+(\d+)\s+(\d+)\s+(\d+))re");
  int rows = 0;
  for (const std::string& line : RecordsComment()) {
    std::smatch row;
    if (!std::regex_match(line, row, kRow)) continue;
    ++rows;
    const std::string key = row[1];
    EXPECT_EQ(static_cast<int32_t>(Murmur2(key)), std::stoi(row[2])) << key;
    EXPECT_EQ(PartitionForKey(key, 3), std::stoi(row[3])) << key;
    EXPECT_EQ(PartitionForKey(key, 12), std::stoi(row[4])) << key;
    EXPECT_EQ(PartitionForKey(key, 100), std::stoi(row[5])) << key;
  }
  EXPECT_GE(rows, 8);
}

TEST(Partitioner, ItemsGoWhereTheProtoSays) {
  static const std::regex kRow(R"(//     (\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+))");
  int rows = 0;
  for (const std::string& line : RecordsComment()) {
    std::smatch row;
    if (!std::regex_match(line, row, kRow)) continue;
    ++rows;
    const ProducerItem item{.producer_id = std::stoll(row[1]), .base_sequence = std::stoll(row[2])};
    EXPECT_EQ(PartitionForItem(item, 3), std::stoi(row[3])) << line;
    EXPECT_EQ(PartitionForItem(item, 12), std::stoi(row[4])) << line;
    EXPECT_EQ(PartitionForItem(item, 100), std::stoi(row[5])) << line;
  }
  EXPECT_GE(rows, 4);
}

// From the tests of Kafka's own implementation.
TEST(Partitioner, HashesAsKafkaDoes) {
  EXPECT_EQ(static_cast<int32_t>(Murmur2("21")), -973932308);
  EXPECT_EQ(static_cast<int32_t>(Murmur2("foobar")), -790332482);
  EXPECT_EQ(static_cast<int32_t>(Murmur2("a-little-bit-long-string")), -985981536);
  EXPECT_EQ(static_cast<int32_t>(Murmur2("a-little-bit-longer-string")), -1486304829);
  EXPECT_EQ(static_cast<int32_t>(Murmur2("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8")), -58897971);
  EXPECT_EQ(static_cast<int32_t>(Murmur2("abc")), 479470107);
}

TEST(Partitioner, OnePartitionTakesAll) {
  EXPECT_EQ(PartitionForKey("foobar", 1), 0);
  EXPECT_EQ(PartitionForItem({.producer_id = 3, .base_sequence = 9}, 1), 0);
}

TEST(Partitioner, ItemsOfAProducerSpreadEvenly) {
  constexpr int kItems = 12'000;
  std::vector<int> items(12);
  for (int i = 0; i < kItems; ++i)
    ++items[PartitionForItem({.producer_id = 42, .base_sequence = i * 500LL}, 12)];
  EXPECT_GT(*std::min_element(items.begin(), items.end()), 850);
  EXPECT_LT(*std::max_element(items.begin(), items.end()), 1150);
}

}  // namespace
}  // namespace flotilla::proto_test
