// What is built and read without protobuf is what protobuf would build and read.
#include <gmock/gmock.h>

#include "client/cpp/produce_wire.h"
#include "client/cpp/record_cursor.h"
#include "client/cpp/record_set_writer.h"
#include "flotilla/v1/consume.pb.h"
#include "flotilla/v1/produce.pb.h"
#include "storage/base/crc32c.h"

namespace flotilla::client {
namespace {

using ::testing::ElementsAre;

Bytes BytesOf(const std::vector<RecordView>& records) {
  const auto pool = std::make_shared<ChunkPool>(1024, 4096);
  RecordSetWriter writer(*pool, 8, 1024);  // has to grow
  for (const RecordView& record : records) writer.Append(record, EncodedSize(record));
  return writer.Finish();
}

TEST(RecordSetWriterTest, WritesWhatProtobufReads) {
  const HeaderView headers[] = {{.key = "trace", .value = "1"}, {.key = "", .value = ""}};
  const std::string large(100'000, 'x');
  const Bytes bytes = BytesOf(
      {{.key = "k", .value = "v", .headers = headers, .timestamp_ms = 1'700'000'000'000}, {.key = "", .value = {}}, {.value = large}});
  v1::RecordSet set;
  ASSERT_TRUE(set.ParseFromString(std::string(bytes.view())));
  ASSERT_EQ(set.records_size(), 3);
  EXPECT_EQ(set.records(0).key(), "k");
  EXPECT_EQ(set.records(0).value(), "v");
  ASSERT_EQ(set.records(0).headers_size(), 2);
  EXPECT_EQ(set.records(0).headers(0).key(), "trace");
  EXPECT_EQ(set.records(0).headers(0).value(), "1");
  EXPECT_EQ(set.records(0).timestamp_ms(), 1'700'000'000'000);
  EXPECT_TRUE(set.records(1).has_key());
  EXPECT_FALSE(set.records(1).has_value());
  EXPECT_FALSE(set.records(1).has_timestamp_ms());
  EXPECT_EQ(set.records(2).value(), large);
  EXPECT_EQ(set.SerializeAsString(), bytes.view());
}

TEST(ProduceWireTest, IsAProduceStreamRequest) {
  ProduceBatch batch;
  batch.records = BytesOf({{.key = "k", .value = "v"}});
  batch.record_count = 1;
  batch.crc32c = 0xdeadbeef;
  batch.identity = {.producer_id = 12345, .epoch = 2};
  batch.base_sequence = 1'000'000;
  std::string flat;
  for (const Bytes& piece : EncodeProduce(77, {.topic = "logs", .partition = 300, .acks = 2}, batch, true)) flat += piece.view();
  v1::ProduceStreamRequest request;
  ASSERT_TRUE(request.ParseFromString(flat));
  EXPECT_EQ(request.correlation_id(), 77);
  EXPECT_EQ(request.request().topic().name(), "logs");
  EXPECT_EQ(request.request().acks(), v1::ACKS_LEADER);
  ASSERT_EQ(request.request().items_size(), 1);
  const v1::ProduceItem& item = request.request().items(0);
  EXPECT_EQ(item.partition(), 300);
  EXPECT_EQ(item.batch().crc32c(), 0xdeadbeef);
  EXPECT_EQ(item.batch().producer_id(), 12345);
  EXPECT_EQ(item.batch().producer_epoch(), 2);
  EXPECT_EQ(item.batch().base_sequence(), 1'000'000);
  EXPECT_EQ(item.batch().record_count(), 1);
  EXPECT_EQ(item.batch().records().records(0).value(), "v");
}

class RecordCursorTest : public ::testing::Test {
 protected:
  RecordCursorTest() {
    fetched.mutable_topic()->set_name("logs");
    fetched.set_partition(4);
    fetched.set_start_offset(11);
    fetched.set_next_offset(13);
    v1::RecordBatch& batch = *fetched.add_batches();
    batch.set_base_offset(10);
    batch.set_append_timestamp_ms(500);
    for (const char* value : {"a", "b", "c"}) batch.mutable_records()->add_records()->set_value(value);
    batch.mutable_records()->mutable_records(2)->set_timestamp_ms(400);
    batch.set_record_count(3);
  }
  Result<FetchedMessage> Parse() { return ParseFetchedPartition(Bytes(fetched.SerializeAsString()), true); }

  v1::FetchedPartition fetched;
};

TEST_F(RecordCursorTest, BeginsWhereItWasAskedFor) {
  const auto message = Parse();
  ASSERT_TRUE(message.ok()) << message.error();
  EXPECT_EQ(message->topic, "logs");
  EXPECT_EQ(message->partition, 4);
  std::vector<std::pair<int64_t, std::string>> seen;
  std::vector<int64_t> times;
  RecordCursor cursor(*message);
  while (cursor.Next()) {
    seen.emplace_back(cursor.offset(), cursor.value().value());
    times.push_back(cursor.timestamp_ms());
  }
  EXPECT_TRUE(cursor.ok());
  EXPECT_THAT(seen, ElementsAre(std::pair(11, "b"), std::pair(12, "c")));
  EXPECT_THAT(times, ElementsAre(500, 400));
}

TEST_F(RecordCursorTest, AppendTimeCountsWhereTheTopicSaysSo) {
  fetched.mutable_batches(0)->set_timestamp_type(v1::TIMESTAMP_TYPE_APPEND_TIME);
  const auto message = Parse();
  RecordCursor cursor(*message);
  cursor.Next();
  cursor.Next();
  EXPECT_EQ(cursor.timestamp_ms(), 500);
}

TEST_F(RecordCursorTest, ABatchThatChangedOnItsWayIsRefused) {
  const std::string records = fetched.batches(0).records().SerializeAsString();
  fetched.mutable_batches(0)->set_crc32c(crc32c::Value(records));
  EXPECT_TRUE(Parse().ok());
  fetched.mutable_batches(0)->set_crc32c(crc32c::Value(records) + 1);
  EXPECT_EQ(Parse().error().reason(), reasons::kCorruptMessage);
}

TEST_F(RecordCursorTest, CutBytesAreRefusedAtEveryLength) {
  const std::string whole = fetched.SerializeAsString();
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto message = ParseFetchedPartition(Bytes(whole.substr(0, length)), false);
    if (!message.ok()) continue;
    for (RecordCursor cursor(*message); cursor.Next();) EXPECT_LE(cursor.offset(), 12);
  }
}

}  // namespace
}  // namespace flotilla::client
