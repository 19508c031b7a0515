#include "server/rpc/client/produce_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "flotilla/internal/v1/raw.pb.h"
#include "flotilla/v1/produce.pb.h"
#include "server/errors/refusal.h"
#include "server/rpc/client/limits.h"
#include "tests/unit/client_rpc/scene.h"

namespace flotilla::rpc::client {
namespace {

Result<RawProduce> Read(const std::string& bytes, int slice_bytes = 7) {
  Slices slices(bytes, slice_bytes);
  return ReadProduceRequest(slices.stream(), slices.size());
}

Result<RawStreamRequest> ReadStream(const std::string& bytes) {
  Slices slices(bytes);
  return ReadProduceStreamRequest(slices.stream(), slices.size());
}

v1::ProduceRequest OneOfEverything() {
  v1::ProduceRequest request;
  request.mutable_topic()->set_name("orders");
  request.mutable_topic()->set_topic_namespace("default");
  request.mutable_topic()->set_topic_id("6f9619ff-8b86-4d01-b42d-00cf4fc964ff");
  request.set_acks(v1::ACKS_LEADER);
  request.set_partition_count(7);
  v1::ProduceItem& item = *request.add_items();
  item.set_partition(3);
  item.set_expected_next_offset(12);
  v1::RecordBatch& batch = *item.mutable_batch();
  batch.set_base_offset(99);  // the broker's: ignored
  batch.set_append_timestamp_ms(99);
  batch.set_record_count(2);
  batch.set_crc32c(0xDEADBEEF);
  batch.set_producer_id(1LL << 40);
  batch.set_producer_epoch(4);
  batch.set_base_sequence(1LL << 41);
  batch.mutable_records()->add_records()->set_value("first");
  batch.mutable_records()->add_records()->set_value("second");
  v1::RecordBatch& compressed = *request.add_items()->mutable_batch();
  compressed.set_codec(v1::CODEC_LZ4);
  compressed.set_uncompressed_bytes(-5);
  compressed.set_compressed_records("packed");
  return request;
}

TEST(ProduceCodecTest, ReadsWhatGeneratedCodeWrites) {
  const v1::ProduceRequest request = OneOfEverything();
  for (const int slice_bytes : {1, 7, 4096}) {
    const Result<RawProduce> read = Read(request.SerializeAsString(), slice_bytes);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->topic.name, "orders");
    EXPECT_EQ(read->topic.topic_namespace, "default");
    EXPECT_EQ(read->topic.topic_id, "6f9619ff-8b86-4d01-b42d-00cf4fc964ff");
    EXPECT_EQ(read->acks, v1::ACKS_LEADER);
    EXPECT_EQ(read->partition_count, 7);
    ASSERT_EQ(read->items.size(), 2U);
    const RawItem& item = read->items[0];
    EXPECT_EQ(item.partition, 3);
    EXPECT_EQ(item.expected_next_offset, 12);
    EXPECT_EQ(item.batch->record_count, 2);
    EXPECT_EQ(item.batch->crc32c, 0xDEADBEEF);
    EXPECT_EQ(item.batch->producer_id, 1LL << 40);
    EXPECT_EQ(item.batch->producer_epoch, 4);
    EXPECT_EQ(item.batch->base_sequence, 1LL << 41);
    EXPECT_EQ(item.batch->content->view(), request.items(0).batch().records().SerializeAsString());
    EXPECT_FALSE(item.batch->compressed);
    EXPECT_EQ(read->items[1].batch->codec, v1::CODEC_LZ4);
    EXPECT_EQ(read->items[1].batch->uncompressed_bytes, -5);
    EXPECT_EQ(read->items[1].batch->content->view(), "packed");
    EXPECT_TRUE(read->items[1].batch->compressed);
    EXPECT_EQ(read->items[1].partition, std::nullopt);
  }
}

TEST(ProduceCodecTest, AStreamRequestIsAProduceRequestWithANumber) {
  v1::ProduceStreamRequest request;
  request.set_correlation_id(-1);
  *request.mutable_request() = OneOfEverything();
  const Result<RawStreamRequest> read = ReadStream(request.SerializeAsString());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->correlation_id, -1);
  EXPECT_EQ(read->request.items.size(), 2U);
  EXPECT_EQ(read->request.topic.name, "orders");
}

TEST(ProduceCodecTest, SkipsFieldsOfANewerClient) {
  std::string bytes = OneOfEverything().SerializeAsString();
  bytes += std::string("\xA0\x06\x05", 3);                // field 100, number
  bytes += std::string("\xA2\x06\x03xyz", 6);             // field 100, bytes
  bytes += std::string("\xA1\x06\1\2\3\4\5\6\7\10", 10);  // field 100, 64 bits
  bytes += std::string("\xA5\x06\1\2\3\4", 6);            // field 100, 32 bits
  const Result<RawProduce> read = Read(bytes);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->items.size(), 2U);
}

TEST(ProduceCodecTest, EveryCutIsCorruptOrAShorterRequest) {
  const std::string bytes = OneOfEverything().SerializeAsString();
  int refused = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    const Result<RawProduce> read = Read(cut);
    internal::v1::RawProduceRequest generated;
    EXPECT_EQ(read.ok(), generated.ParseFromString(cut)) << size;
    if (read.ok()) continue;
    ++refused;
    EXPECT_EQ(read.status().reason(), Reason::kCorruptMessage);
    EXPECT_TRUE(read.status().Detail("field").has_value()) << read.status();
  }
  EXPECT_GT(refused, 50);
}

TEST(ProduceCodecTest, AWrongWireTypeIsCorruptAndNamesTheField) {
  const Result<RawProduce> read = Read(std::string("\x1A\x01x", 3));  // acks as bytes
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.status().reason(), Reason::kCorruptMessage);
  EXPECT_EQ(read.status().Detail("field"), "3");
}

TEST(ProduceCodecTest, ALengthPastTheEndAllocatesNothing) {
  EXPECT_EQ(Read(std::string("\x12\xFF\xFF\xFF\x7F", 5)).status().reason(), Reason::kCorruptMessage);
}

TEST(ProduceCodecTest, RecordsGivenTwiceAreRefusedWithTheirItemOnly) {
  internal::v1::RawRecordBatch once;
  once.set_records("\x0a\x03\x12\x01x");
  internal::v1::RawRecordBatch packed;
  packed.set_compressed_records("packed");
  for (const std::string& second : {once.SerializeAsString(), packed.SerializeAsString()}) {
    const std::string batch = once.SerializeAsString() + second;
    const std::string item = "\x12" + std::string(1, static_cast<char>(batch.size())) + batch;
    const std::string request = "\x12" + std::string(1, static_cast<char>(item.size())) + item;
    const Result<RawProduce> read = Read(request + OneOfEverything().SerializeAsString());
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_EQ(read->items.size(), 3U);
    EXPECT_EQ(RefusalOf(read->items[0].refusal), Refusal::kCorruptRecords);
    EXPECT_TRUE(read->items[1].refusal.ok());
  }
}

TEST(ProduceCodecTest, AThousandItemsAndNotOneMore) {
  v1::ProduceRequest request;
  for (size_t i = 0; i < limits::kItemsMax; ++i) request.add_items()->set_partition(1);
  EXPECT_TRUE(Read(request.SerializeAsString())->refusal.ok());
  request.add_items();
  const Result<RawProduce> read = Read(request.SerializeAsString());
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->refusal.reason(), Reason::kLimitExceeded);
  EXPECT_EQ(read->refusal.Detail("limit"), "1000");
}

TEST(ProduceCodecTest, ARequestAboveTheLimitIsNotRead) {
  v1::ProduceStreamRequest request;
  request.set_correlation_id(5);
  request.mutable_request()->add_items()->mutable_batch()->set_compressed_records(std::string(limits::kRequestBytesMax, 'x'));
  Slices plain(request.request().SerializeAsString(), 8192);
  EXPECT_EQ(ReadProduceRequest(plain.stream(), plain.size()).status().reason(), Reason::kLimitExceeded);

  Slices stream(request.SerializeAsString(), 8192);
  const Result<RawStreamRequest> read = ReadProduceStreamRequest(stream.stream(), stream.size());
  ASSERT_TRUE(read.ok()) << read.status();  // so that the stream can answer and go on
  EXPECT_EQ(read->correlation_id, 5);
  EXPECT_EQ(read->request.refusal.reason(), Reason::kLimitExceeded);
  EXPECT_EQ(read->request.refusal.Detail("value"), std::to_string(stream.size()));
}

}  // namespace
}  // namespace flotilla::rpc::client
