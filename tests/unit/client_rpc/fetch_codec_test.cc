#include "server/rpc/client/fetch_codec.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "flotilla/v1/consume.pb.h"
#include "storage/base/crc32c.h"
#include "tests/unit/partition/records.h"

namespace flotilla::rpc::client {
namespace {

using google::protobuf::util::MessageDifferencer;
using partition::Codec;

partition::FetchedBatch Batch(uint64_t base_offset, const std::string& records, Codec codec = Codec::kNone) {
  partition::FetchedBatch batch;
  batch.base_offset = Offset{base_offset};
  batch.record_count = 1;
  batch.leader_epoch = Term{3};
  batch.header.codec = codec;
  batch.header.append_timestamp_ms = 1700000000000;
  std::string stored = records;
  if (codec != Codec::kNone) {
    batch.header.uncompressed_bytes = static_cast<uint32_t>(records.size());
    stored = partition::Compress(codec, records);
  }
  batch.header.crc32c = crc32c::Value(stored);
  batch.records = Bytes(stored);
  return batch;
}

broker::FetchedPartition Fetched(std::vector<partition::FetchedBatch> batches) {
  broker::FetchedPartition fetched;
  fetched.topic.set_name("orders");
  fetched.partition = 2;
  fetched.start_offset = Offset{5};
  fetched.next_offset = Offset{7};
  fetched.log_start_offset = Offset{1};
  fetched.high_watermark = Offset{9};
  fetched.batches = std::move(batches);
  return fetched;
}

TEST(FetchCodecTest, WritesTheVeryBytesOfGeneratedCode) {
  broker::FetchAnswer answer;
  partition::FetchedBatch full = Batch(5, partition::SetOf(1, std::string(5000, 'x')), Codec::kLz4);
  full.min_timestamp_ms = 0;
  full.max_timestamp_ms = 77;
  full.header.timestamp_type = partition::TimestampType::kAppendTime;
  full.header.producer = {.producer_id = 9, .epoch = 2, .base_sequence = 100, .scope = partition::SequenceScope::kTopic};
  full.header.crc32c = 0;  // is a checksum, too
  answer.partitions.push_back(Fetched({full, Batch(6, partition::SetOf(1))}));
  answer.partitions[0].caught_up = true;
  answer.partitions.push_back(Fetched({}));
  answer.partitions[1].status = Status(Reason::kOffsetOutOfRange, "offset 5").With("offset", 5);
  answer.leaders.emplace_back().set_node_id(3);

  const EncodedMessage encoded = EncodeFetchResponse(answer);
  v1::FetchResponse read;
  ASSERT_TRUE(read.ParseFromString(encoded.Flatten()));
  EXPECT_EQ(encoded.bytes, encoded.Flatten().size());
  EXPECT_EQ(read.SerializeAsString(), encoded.Flatten());
  ASSERT_EQ(read.partitions_size(), 2);
  ASSERT_EQ(read.partitions(0).batches_size(), 2);
  const v1::RecordBatch& batch = read.partitions(0).batches(0);
  EXPECT_EQ(batch.base_offset(), 5);
  EXPECT_EQ(batch.leader_epoch(), 3);
  EXPECT_EQ(batch.append_timestamp_ms(), 1700000000000);
  EXPECT_EQ(batch.timestamp_type(), v1::TIMESTAMP_TYPE_APPEND_TIME);
  EXPECT_EQ(batch.codec(), v1::CODEC_LZ4);
  EXPECT_EQ(batch.record_count(), 1);
  EXPECT_EQ(batch.uncompressed_bytes(), static_cast<int>(full.header.uncompressed_bytes));
  EXPECT_TRUE(batch.has_min_timestamp_ms());
  EXPECT_EQ(batch.min_timestamp_ms(), 0);
  EXPECT_EQ(batch.max_timestamp_ms(), 77);
  EXPECT_TRUE(batch.has_crc32c());
  EXPECT_EQ(batch.producer_id(), 9);
  EXPECT_EQ(batch.producer_epoch(), 2);
  EXPECT_EQ(batch.base_sequence(), 100);
  EXPECT_EQ(batch.sequence_scope(), v1::SEQUENCE_SCOPE_TOPIC);
  EXPECT_EQ(batch.compressed_records(), full.records.view());
  EXPECT_FALSE(read.partitions(0).batches(1).has_min_timestamp_ms());
  EXPECT_EQ(read.partitions(0).batches(1).records().records_size(), 1);
  EXPECT_EQ(read.partitions(0).topic().name(), "orders");
  EXPECT_EQ(read.partitions(0).partition(), 2);
  EXPECT_EQ(read.partitions(0).start_offset(), 5);
  EXPECT_EQ(read.partitions(0).next_offset(), 7);
  EXPECT_EQ(read.partitions(0).log_start_offset(), 1);
  EXPECT_EQ(read.partitions(0).high_watermark(), 9);
  EXPECT_TRUE(read.partitions(0).caught_up());
  EXPECT_FALSE(read.partitions(0).has_error());
  EXPECT_EQ(read.partitions(1).error().reason(), v1::ERROR_REASON_OFFSET_OUT_OF_RANGE);
  EXPECT_EQ(read.leaders(0).node_id(), 3);
}

TEST(FetchCodecTest, LargeBatchesShareTheLogsMemory) {
  const partition::FetchedBatch batch = Batch(0, partition::SetOf(1, std::string(100'000, 'x')));
  const EncodedMessage encoded = EncodeFetchResponse({.partitions = {Fetched({batch})}, .leaders = {}});
  const auto shared =
      std::count_if(encoded.pieces.begin(), encoded.pieces.end(), [&](const Bytes& piece) { return piece.data() == batch.records.data(); });
  EXPECT_EQ(shared, 1);
}

TEST(FetchCodecTest, ASubscriptionsBatchesAreAFetchedPartition) {
  const broker::FetchedPartition fetched = Fetched({Batch(5, partition::SetOf(3))});
  v1::SubscribeResponse event;
  ASSERT_TRUE(event.ParseFromString(EncodeSubscribeBatches(fetched).Flatten()));
  v1::FetchResponse response;
  ASSERT_TRUE(response.ParseFromString(EncodeFetchResponse({.partitions = {fetched}, .leaders = {}}).Flatten()));
  EXPECT_TRUE(MessageDifferencer::Equals(event.batches(), response.partitions(0)));
}

TEST(FetchCodecTest, DecompressesForWhoCannot) {
  const std::string records = partition::SetOf(1, std::string(3000, 'x'));
  for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
    broker::FetchedPartition fetched = Fetched({Batch(5, records, codec)});
    partition::Decompressor decompressor;
    EXPECT_TRUE(Accept(partition::CodecSet().Add(codec), decompressor, &fetched).ok());
    EXPECT_EQ(fetched.batches[0].header.codec, codec);
    EXPECT_TRUE(Accept(partition::CodecSet(), decompressor, &fetched).ok());
    EXPECT_EQ(fetched.batches[0].header.codec, Codec::kNone);
    EXPECT_EQ(fetched.batches[0].records.view(), records);
    EXPECT_EQ(fetched.batches[0].header.crc32c, crc32c::Value(records));
  }
}

TEST(FetchCodecTest, ADamagedBatchEndsTheAnswerBeforeIt) {
  partition::FetchedBatch damaged = Batch(6, partition::SetOf(1), Codec::kLz4);
  damaged.records = Bytes(std::string("no frame"));
  partition::Decompressor decompressor;

  broker::FetchedPartition behind = Fetched({Batch(5, partition::SetOf(1)), damaged});
  behind.caught_up = true;
  EXPECT_EQ(Accept(partition::CodecSet(), decompressor, &behind).reason(), Reason::kDataLoss);
  EXPECT_TRUE(behind.status.ok());
  EXPECT_EQ(behind.batches.size(), 1U);
  EXPECT_EQ(behind.next_offset, Offset{6});
  EXPECT_FALSE(behind.caught_up);

  broker::FetchedPartition first = Fetched({damaged});
  EXPECT_EQ(Accept(partition::CodecSet(), decompressor, &first).reason(), Reason::kDataLoss);
  EXPECT_EQ(first.status.reason(), Reason::kDataLoss);
  EXPECT_TRUE(first.batches.empty());
  EXPECT_EQ(first.next_offset, first.start_offset);
}

TEST(FetchCodecTest, ClientsAcceptWhatTheySayAndWeKnow) {
  v1::FetchRequest request;
  request.add_accepted_codecs(v1::CODEC_ZSTD);
  request.add_accepted_codecs(static_cast<v1::Codec>(7));
  const partition::CodecSet codecs = CodecsOf(request.accepted_codecs());
  EXPECT_TRUE(codecs.Has(Codec::kZstd));
  EXPECT_TRUE(codecs.Has(Codec::kNone));
  EXPECT_FALSE(codecs.Has(Codec::kLz4));
}

}  // namespace
}  // namespace flotilla::rpc::client
