#include "proto/partitioner.h"

#include <gtest/gtest.h>

#include <algorithm>
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

std::vector<long long> NumbersIn(const std::string& text) {
  std::istringstream words(text);
  std::vector<long long> numbers;
  for (long long number; words >> number;) numbers.push_back(number);
  return numbers;
}
void ExpectPartitions(const std::vector<int>& of_3_12_100, const std::vector<long long>& row, const std::string& line) {
  ASSERT_EQ(row.size(), 5u) << line;
  EXPECT_EQ(of_3_12_100, (std::vector<int>(row.begin() + 2, row.end()))) << line;
}

TEST(Partitioner, KeysGoWhereTheProtoSays) {
  const std::string start = "//     \"";
  int rows = 0;
  for (const std::string& line : RecordsComment()) {
    if (line.rfind(start, 0) != 0) continue;
    ++rows;
    const size_t end = line.rfind('"');
    const std::string key = line.substr(start.size(), end - start.size());
    // Behind the key there may be a remark in brackets.
    const size_t remark = line.find(')', end);
    std::vector<long long> row = NumbersIn(line.substr(remark == std::string::npos ? end + 1 : remark + 1));
    row.insert(row.begin(), 0);
    ASSERT_EQ(row.size(), 5u) << line;
    EXPECT_EQ(static_cast<int32_t>(Murmur2(key)), row[1]) << line;
    ExpectPartitions({PartitionForKey(key, 3), PartitionForKey(key, 12), PartitionForKey(key, 100)}, row, line);
  }
  EXPECT_GE(rows, 8);
}

TEST(Partitioner, ItemsGoWhereTheProtoSays) {
  int rows = 0;
  for (const std::string& line : RecordsComment()) {
    const std::vector<long long> row = NumbersIn(line.substr(2));
    if (row.size() != 5) continue;
    ++rows;
    const ProducerItem item{.producer_id = row[0], .base_sequence = row[1]};
    ExpectPartitions({PartitionForItem(item, 3), PartitionForItem(item, 12), PartitionForItem(item, 100)}, row, line);
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
  for (int i = 0; i < kItems; ++i) ++items[PartitionForItem({.producer_id = 42, .base_sequence = i * 500LL}, 12)];
  EXPECT_GT(*std::min_element(items.begin(), items.end()), 850);
  EXPECT_LT(*std::max_element(items.begin(), items.end()), 1150);
}

}  // namespace
}  // namespace flotilla::proto_test
