#include "server/rpc/peer/forward_codec.h"

#include <gmock/gmock.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "flotilla/internal/v1/forward.pb.h"
#include "server/errors/error_codec.h"
#include "server/errors/refusal.h"
#include "storage/base/crc32c.h"
#include "storage/base/random.h"

namespace flotilla::rpc {
namespace {

namespace wire = flotilla::internal::v1;
using broker::ForwardAnswer;
using broker::ForwardAppend;
using broker::ForwardRequest;
using partition::FetchResult;
using partition::ProduceResult;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr uint64_t kLargest = std::numeric_limits<int64_t>::max();

// A RecordSet with one record of this value.
std::string SetOf(const std::string& value) {
  v1::RecordSet set;
  set.add_records()->set_value(value);
  return set.SerializeAsString();
}

partition::PreparedBatch Batch(const std::string& records) {
  partition::Decompressor decompressor;
  auto batch = partition::PrepareBatch(partition::RecordBuffer::CopyOf(records), {}, decompressor);
  CHECK(batch.ok()) << batch.status();
  return *std::move(batch);
}

const Uuid kTopic = *Uuid::FromText("6f9619ff-8b86-4d01-b42d-00cf4fc964ff");

template <typename Operation>
ForwardRequest Part(Operation operation) {
  return {.id = 7,
          .origin = NodeId{1},
          .target = NodeId{2},
          .principal = "alice",
          .client_address = "10.0.0.9:5000",
          .timeout = milliseconds(1500),
          .topic = kTopic,
          .partition = 3,
          .operation = std::move(operation)};
}
ForwardRequest Append(const std::string& records) {
  return Part(
      ForwardAppend{.batch = Batch(records),
                    .producer = {.producer_id = kLargest, .epoch = 4, .base_sequence = 5, .scope = partition::SequenceScope::kTopic},
                    .after = 0,
                    .acks = partition::Acks::kLeader,
                    .expected_next_offset = Offset{0}});
}
wire::ForwardStreamRequest GeneratedPart() {
  wire::ForwardStreamRequest twin;
  twin.set_id(7);
  twin.mutable_context()->set_origin_node_id(1);
  twin.mutable_context()->set_target_node_id(2);
  twin.mutable_context()->set_principal("alice");
  twin.mutable_context()->set_client_address("10.0.0.9:5000");
  twin.mutable_context()->set_timeout_ms(1500);
  twin.set_topic_id(std::string(kTopic.bytes()));
  twin.set_partition(3);
  return twin;
}
wire::ForwardStreamRequest GeneratedAppend(const std::string& records) {
  wire::ForwardStreamRequest twin = GeneratedPart();
  wire::ForwardedAppend* append = twin.mutable_append();
  append->mutable_batch()->set_codec(v1::CODEC_NONE);
  append->mutable_batch()->set_record_count(1);
  append->mutable_batch()->set_crc32c(crc32c::Value(records));
  append->mutable_batch()->set_producer_id(kLargest);
  append->mutable_batch()->set_producer_epoch(4);
  append->mutable_batch()->set_base_sequence(5);
  append->mutable_batch()->set_sequence_scope(v1::SEQUENCE_SCOPE_TOPIC);
  append->mutable_batch()->set_records(records);
  append->set_acks(v1::ACKS_LEADER);
  append->set_expected_next_offset(0);
  append->set_previous_base_sequence(0);
  return twin;
}

Result<DecodedForward> Decode(const std::string& bytes, int piece_bytes = -1) {
  partition::Decompressor decompressor;
  google::protobuf::io::ArrayInputStream pieces(bytes.data(), static_cast<int>(bytes.size()), piece_bytes);
  return DecodeForwardRequest(pieces, bytes.size(), decompressor);
}
template <typename Operation>
Operation Again(const ForwardRequest& request) {
  Result<DecodedForward> got = Decode(EncodeForwardRequest(request).Flatten());
  EXPECT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(got->refusal.ok()) << got->refusal;
  return std::get<Operation>(got->request.operation);
}

TEST(ForwardRequestCodec, WritesWhatGeneratedCodeWrites) {
  for (const std::string& records : {SetOf("x"), SetOf(std::string(5000, 'x'))}) {
    EXPECT_EQ(EncodeForwardRequest(Append(records)).Flatten(), GeneratedAppend(records).SerializeAsString());
  }
  wire::ForwardStreamRequest fetch = GeneratedPart();
  fetch.mutable_fetch()->mutable_start()->set_offset(0);
  fetch.mutable_fetch()->set_min_bytes(10);
  fetch.mutable_fetch()->set_max_wait_ms(500);
  fetch.mutable_fetch()->set_max_bytes(1 << 20);
  EXPECT_EQ(EncodeForwardRequest(
                Part(broker::ForwardFetch{.start = Offset{0}, .min_bytes = 10, .max_wait = milliseconds(500), .max_bytes = 1 << 20}))
                .Flatten(),
            fetch.SerializeAsString());
  wire::ForwardStreamRequest cancel = GeneratedPart();
  cancel.mutable_cancel();
  EXPECT_EQ(EncodeForwardRequest(Part(broker::ForwardCancel{})).Flatten(), cancel.SerializeAsString());
}

TEST(ForwardRequestCodec, WritesEveryPosition) {
  std::vector<v1::StartPosition> twins(5);
  twins[0].set_point(v1::START_POINT_EARLIEST);
  twins[1].set_point(v1::START_POINT_LATEST);
  twins[2].set_offset(9);
  twins[3].set_timestamp_ms(0);
  twins[4].set_last_records(0);
  const partition::StartPosition positions[] = {partition::Earliest{}, partition::Latest{}, Offset{9}, partition::AtTime{0},
                                                partition::LastRecords{0}};
  for (size_t i = 0; i < twins.size(); ++i) {
    wire::ForwardStreamRequest twin = GeneratedPart();
    *twin.mutable_list_offsets() = twins[i];
    const ForwardRequest request = Part(broker::ForwardLocate{positions[i]});
    EXPECT_EQ(EncodeForwardRequest(request).Flatten(), twin.SerializeAsString()) << "position " << i;
    EXPECT_EQ(Again<broker::ForwardLocate>(request).position.index(), positions[i].index());
  }
}

// However the bytes came in pieces.
TEST(ForwardRequestCodec, ReadsWhatItWrote) {
  const std::string records = SetOf(std::string(5000, 'x'));
  for (const int piece_bytes : {1, 7, 4096, -1}) {
    const Result<DecodedForward> got = Decode(EncodeForwardRequest(Append(records)).Flatten(), piece_bytes);
    ASSERT_TRUE(got.ok()) << got.status();
    ASSERT_TRUE(got->refusal.ok()) << got->refusal;
    const ForwardRequest& request = got->request;
    EXPECT_EQ(request.id, 7u);
    EXPECT_EQ(request.origin, NodeId{1});
    EXPECT_EQ(request.target, NodeId{2});
    EXPECT_EQ(request.principal, "alice");
    EXPECT_EQ(request.client_address, "10.0.0.9:5000");
    EXPECT_EQ(request.timeout, milliseconds(1500));
    EXPECT_EQ(request.topic, kTopic);
    EXPECT_EQ(request.partition, 3u);
    const auto& append = std::get<ForwardAppend>(request.operation);
    const auto sent = std::get<ForwardAppend>(Append(records).operation);
    EXPECT_EQ(append.batch.records.view(), records);
    EXPECT_EQ(append.batch.summary, sent.batch.summary);
    EXPECT_EQ(append.producer, sent.producer);
    EXPECT_EQ(append.after, sent.after);
    EXPECT_EQ(append.acks, sent.acks);
    EXPECT_EQ(append.expected_next_offset, sent.expected_next_offset);
  }
}

TEST(ForwardRequestCodec, WhatIsAbsentStaysAbsent) {
  const auto got = Again<ForwardAppend>(Part(ForwardAppend{.batch = Batch(SetOf("a"))}));
  EXPECT_EQ(got.after, std::nullopt);
  EXPECT_EQ(got.expected_next_offset, std::nullopt);
  EXPECT_EQ(got.producer, partition::ProducerBatch{});
  EXPECT_EQ(got.acks, partition::Acks::kQuorum);
}

TEST(ForwardRequestCodec, LargeRecordsAreShared) {
  const ForwardRequest request = Append(SetOf(std::string(5000, 'x')));
  const EncodedMessage encoded = EncodeForwardRequest(request);
  ASSERT_EQ(encoded.pieces.size(), 3u);
  EXPECT_EQ(encoded.pieces[1].data(), std::get<ForwardAppend>(request.operation).batch.records.view().data());
}

// The stream goes on: the part alone is answered.
TEST(ForwardRequestCodec, ADamagedBatchIsRefusedWithItsId) {
  wire::ForwardStreamRequest twin = GeneratedAppend(SetOf("x"));
  twin.mutable_append()->mutable_batch()->set_crc32c(1);
  const Result<DecodedForward> got = Decode(twin.SerializeAsString());
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->request.id, 7u);
  EXPECT_EQ(RefusalOf(got->refusal), Refusal::kCrcMismatch);
  twin.mutable_append()->mutable_batch()->set_codec(static_cast<v1::Codec>(9));
  EXPECT_EQ(RefusalOf(Decode(twin.SerializeAsString())->refusal), Refusal::kUnknownCodec);
}

void ExpectCorrupt(const Status& status, const std::string& what) {
  EXPECT_EQ(status.reason(), Reason::kCorruptMessage);
  EXPECT_THAT(status.ToString(), HasSubstr(what));
}
TEST(ForwardRequestCodec, DamageIsNamed) {
  ExpectCorrupt(Decode("\x08").status(), "field 1: a broken number");
  ExpectCorrupt(Decode(std::string("\x08\x07")).status(), "without an operation");
  wire::ForwardStreamRequest twin = GeneratedAppend(SetOf("x"));
  twin.set_topic_id("short");
  ExpectCorrupt(Decode(twin.SerializeAsString()).status(), "a topic id of 5 bytes");
  twin = GeneratedAppend(SetOf("x"));
  twin.mutable_append()->mutable_batch()->clear_producer_id();
  ExpectCorrupt(Decode(twin.SerializeAsString()).status(), "a sequence scope of 2 with producer id 0");
  twin = GeneratedAppend(std::string(partition::kBatchRecordsBytesMax + 1, 'x'));
  ExpectCorrupt(Decode(twin.SerializeAsString()).status(), "the limit is");
}

TEST(ForwardRequestCodec, RandomDamageNeverCrashes) {
  Random random(1);
  const std::string seed = EncodeForwardRequest(Append(SetOf(std::string(300, 'x')))).Flatten();
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = seed.substr(0, 1 + random.Below(seed.size()));
    for (uint64_t i = random.Below(8); i > 0; --i) bytes[random.Below(bytes.size())] = static_cast<char>(random.Below(256));
    const Result<DecodedForward> got = Decode(bytes, 1 + static_cast<int>(random.Below(50)));
    EXPECT_TRUE(got.ok() || got.status().reason() == Reason::kCorruptMessage) << got.status();
  }
}

// --- Answers

FetchResult Fetched(const std::string& records) {
  FetchResult result;
  result.start_offset = Offset{10};
  result.next_offset = Offset{11};
  result.log_start_offset = Offset{1};
  result.high_watermark = Offset{11};
  partition::FetchedBatch batch;
  batch.base_offset = Offset{10};
  batch.record_count = 1;
  batch.leader_epoch = Term{6};
  batch.min_timestamp_ms = 100;
  batch.max_timestamp_ms = 200;
  batch.header.append_timestamp_ms = 300;
  batch.header.timestamp_type = partition::TimestampType::kAppendTime;
  batch.header.codec = partition::Codec::kZstd;
  batch.header.uncompressed_bytes = 9;
  batch.header.crc32c = 0;
  batch.header.producer = {.producer_id = 1, .epoch = 2, .base_sequence = 3, .scope = partition::SequenceScope::kPartition};
  batch.records = Bytes::Copy(records);
  result.batches.push_back(batch);
  return result;
}
wire::ForwardStreamResponse GeneratedFetched(const std::string& records) {
  wire::ForwardStreamResponse twin;
  twin.set_id(7);
  wire::RawFetchedPartition* fetched = twin.mutable_fetched();
  fetched->set_start_offset(10);
  fetched->set_next_offset(11);
  fetched->set_log_start_offset(1);
  fetched->set_high_watermark(11);
  fetched->set_caught_up(true);
  wire::RawRecordBatch* batch = fetched->add_batches();
  batch->set_base_offset(10);
  batch->set_leader_epoch(6);
  batch->set_append_timestamp_ms(300);
  batch->set_timestamp_type(v1::TIMESTAMP_TYPE_APPEND_TIME);
  batch->set_codec(v1::CODEC_ZSTD);
  batch->set_record_count(1);
  batch->set_uncompressed_bytes(9);
  batch->set_min_timestamp_ms(100);
  batch->set_max_timestamp_ms(200);
  batch->set_crc32c(0);
  batch->set_producer_id(1);
  batch->set_producer_epoch(2);
  batch->set_base_sequence(3);
  batch->set_sequence_scope(v1::SEQUENCE_SCOPE_PARTITION);
  batch->set_compressed_records(records);
  return twin;
}
Bytes Received(const ForwardAnswer& answer, Asked asked = Asked::kOther) { return Bytes(EncodeForwardAnswer(answer, asked).Flatten()); }

TEST(ForwardAnswerCodec, WritesWhatGeneratedCodeWrites) {
  const std::string records(5000, 'x');
  EXPECT_EQ(Received({.id = 7, .result = Fetched(records)}).view(), GeneratedFetched(records).SerializeAsString());

  wire::ForwardStreamResponse placed;
  placed.set_id(7);
  placed.mutable_placement()->set_base_offset(0);
  placed.mutable_placement()->set_record_count(2);
  placed.mutable_placement()->set_deduplicated(true);
  placed.mutable_placement()->set_append_timestamp_ms(5);
  const ProduceResult result{.base_offset = Offset{0}, .record_count = 2, .deduplicated = true, .append_timestamp_ms = 5};
  EXPECT_EQ(Received({.id = 7, .result = result}).view(), placed.SerializeAsString());

  wire::ForwardStreamResponse located;
  located.set_id(7);
  located.mutable_offsets()->mutable_offsets()->set_offset(10);
  located.mutable_offsets()->mutable_offsets()->set_log_start_offset(1);
  located.mutable_offsets()->mutable_offsets()->set_high_watermark(11);
  located.mutable_offsets()->set_leader_epoch(6);
  FetchResult place = Fetched("");
  place.leader_epoch = Term{6};
  EXPECT_EQ(Received({.id = 7, .result = place}, Asked::kLocate).view(), located.SerializeAsString());
}

TEST(ForwardAnswerCodec, ReadsBatchesAsSlices) {
  const Bytes received = Received({.id = 7, .result = Fetched(std::string(5000, 'x'))});
  const Result<ForwardAnswer> got = DecodeForwardAnswer(received);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(got->status.ok());
  const auto& result = std::get<FetchResult>(got->result);
  const FetchResult sent = Fetched(std::string(5000, 'x'));
  EXPECT_EQ(result.start_offset, sent.start_offset);
  EXPECT_EQ(result.next_offset, sent.next_offset);
  EXPECT_EQ(result.log_start_offset, sent.log_start_offset);
  EXPECT_EQ(result.high_watermark, sent.high_watermark);
  ASSERT_EQ(result.batches.size(), 1u);
  EXPECT_EQ(result.batches[0].base_offset, sent.batches[0].base_offset);
  EXPECT_EQ(result.batches[0].record_count, 1u);
  EXPECT_EQ(result.batches[0].leader_epoch, Term{6});
  EXPECT_EQ(result.batches[0].min_timestamp_ms, 100);
  EXPECT_EQ(result.batches[0].max_timestamp_ms, 200);
  EXPECT_EQ(result.batches[0].header, sent.batches[0].header);
  EXPECT_EQ(result.batches[0].records, sent.batches[0].records);
  EXPECT_GE(result.batches[0].records.data(), received.data());
  EXPECT_LT(result.batches[0].records.data(), received.data() + received.size());
}

TEST(ForwardAnswerCodec, AFewBytesDoNotKeepALargeBuffer) {
  FetchResult result = Fetched("r");
  const Status long_story(Reason::kNoLeader, std::string(2000, '.'));
  const Bytes received = Received({.id = 7, .status = long_story, .result = result});
  const Result<ForwardAnswer> got = DecodeForwardAnswer(received);
  ASSERT_TRUE(got.ok()) << got.status();
  const char* records = std::get<FetchResult>(got->result).batches[0].records.data();
  EXPECT_TRUE(records < received.data() || records >= received.data() + received.size());
}

TEST(ForwardAnswerCodec, ALookupHasItsPlaceAndBothEnds) {
  FetchResult place = Fetched("");
  place.batches.clear();
  place.leader_epoch = Term{6};
  const Result<ForwardAnswer> got = DecodeForwardAnswer(Received({.id = 7, .result = place}, Asked::kLocate));
  ASSERT_TRUE(got.ok()) << got.status();
  const auto& result = std::get<FetchResult>(got->result);
  EXPECT_EQ(result.start_offset, Offset{10});
  EXPECT_EQ(result.log_start_offset, Offset{1});
  EXPECT_EQ(result.high_watermark, Offset{11});
  EXPECT_EQ(result.leader_epoch, Term{6});
}

TEST(ForwardAnswerCodec, ErrorsKeepReasonDetailsAndLeader) {
  const Status status = Status(Reason::kNotLeader, "partition 3 is led by node 2").With("topic", "logs").With("retry_after_ms", 20);
  const Result<ForwardAnswer> got =
      DecodeForwardAnswer(Received({.id = 7, .status = status, .leader = NodeId{2}, .leader_epoch = Term{9}}));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->status.ToString(), status.ToString());
  EXPECT_EQ(got->leader, NodeId{2});
  EXPECT_EQ(got->leader_epoch, Term{9});
  EXPECT_TRUE(std::holds_alternative<std::monostate>(got->result));
}

TEST(ForwardAnswerCodec, OutOfRangeKeepsBothEnds) {
  FetchResult ends;
  ends.log_start_offset = Offset{5};
  ends.high_watermark = Offset{50};
  for (const Asked asked : {Asked::kOther, Asked::kLocate}) {
    const Result<ForwardAnswer> got =
        DecodeForwardAnswer(Received({.id = 7, .status = Status(Reason::kOffsetOutOfRange, "60"), .result = ends}, asked));
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(got->status.reason(), Reason::kOffsetOutOfRange);
    EXPECT_EQ(std::get<FetchResult>(got->result).log_start_offset, Offset{5});
    EXPECT_EQ(std::get<FetchResult>(got->result).high_watermark, Offset{50});
  }
}

TEST(ForwardAnswerCodec, DamageIsNamed) {
  wire::ForwardStreamResponse twin = GeneratedFetched("records");
  twin.mutable_fetched()->mutable_batches(0)->set_codec(static_cast<v1::Codec>(9));
  ExpectCorrupt(DecodeForwardAnswer(Bytes(twin.SerializeAsString())).status(), "the unknown codec 9");
  ExpectCorrupt(DecodeForwardAnswer(Bytes(std::string("\x12\x01\xff"))).status(), "a broken error");
}

TEST(ForwardAnswerCodec, RandomDamageNeverCrashes) {
  const google::protobuf::LogSilencer silence;  // it tells of each broken UTF-8
  Random random(2);
  const std::string seed = EncodeForwardAnswer({.id = 7,
                                                .status = Status(Reason::kNoLeader, "none").With("topic", "logs"),
                                                .leader = NodeId{2},
                                                .result = Fetched(std::string(100, 'x'))},
                                               Asked::kOther)
                               .Flatten();
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = seed.substr(0, 1 + random.Below(seed.size()));
    for (uint64_t i = random.Below(8); i > 0; --i) bytes[random.Below(bytes.size())] = static_cast<char>(random.Below(256));
    const Result<ForwardAnswer> got = DecodeForwardAnswer(Bytes(bytes));
    EXPECT_TRUE(got.ok() || got.status().reason() == Reason::kCorruptMessage) << got.status();
  }
}

}  // namespace
}  // namespace flotilla::rpc
