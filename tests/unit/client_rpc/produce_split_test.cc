#include "server/rpc/client/produce_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "flotilla/v1/produce.pb.h"
#include "proto/partitioner.h"
#include "server/errors/error_codec.h"
#include "server/errors/refusal.h"
#include "storage/base/crc32c.h"
#include "tests/unit/client_rpc/scene.h"

namespace flotilla::rpc::client {
namespace {

using ::testing::ElementsAre;

class ProduceSplitTest : public ::testing::Test {
 protected:
  // An item with these records, "key=value" or "value".
  static v1::ProduceItem Item(const std::vector<std::string>& records) {
    v1::ProduceItem item;
    for (const std::string& text : records) {
      v1::Record& record = *item.mutable_batch()->mutable_records()->add_records();
      const size_t equals = text.find('=');
      if (equals != std::string::npos) record.set_key(text.substr(0, equals));
      record.set_value(text.substr(equals == std::string::npos ? 0 : equals + 1));
    }
    return item;
  }
  static v1::ProduceRequest RequestOf(const std::vector<v1::ProduceItem>& items) {
    v1::ProduceRequest request;
    request.mutable_topic()->set_name("orders");
    for (const v1::ProduceItem& item : items) *request.add_items() = item;
    return request;
  }
  Result<broker::ProduceCommand> Split(const v1::ProduceRequest& request) {
    Slices slices(request.SerializeAsString(), 64);
    Result<RawProduce> raw = ReadProduceRequest(slices.stream(), slices.size());
    CHECK(raw.ok()) << raw.status();
    return splitter_.Split(*std::move(raw), *image_);
  }
  // The only item of the request.
  broker::ProduceItem SplitItem(const v1::ProduceRequest& request) {
    Result<broker::ProduceCommand> command = Split(request);
    CHECK(command.ok()) << command.status();
    CHECK_EQ(command->items.size(), 1U);
    return command->items[0];
  }
  broker::ProduceItem SplitItem(const v1::ProduceItem& item) { return SplitItem(RequestOf({item})); }
  static std::string ReasonOfItem(const broker::ProduceItem& item) {
    return item.refusal.ok() ? "OK" : v1::ErrorReason_Name(ReasonOf(item.refusal)).substr(13);
  }
  static std::vector<std::string> Values(const broker::ProducePart& part) {
    v1::RecordSet set;
    CHECK(set.ParseFromString(std::string(part.batch.records.view())));
    std::vector<std::string> values;
    for (const v1::Record& record : set.records()) values.push_back(record.value());
    return values;
  }

  metadata::Shared<metadata::Image> image_ = ImageWithOrders(12);
  ProduceSplitter splitter_{7};
};

TEST_F(ProduceSplitTest, AnItemWithAPartitionGoesThereAsItIs) {
  v1::ProduceItem item = Item({"a=1", "b=2"});
  item.set_partition(11);
  item.set_expected_next_offset(40);
  item.mutable_batch()->set_producer_id(5);
  item.mutable_batch()->set_producer_epoch(2);
  item.mutable_batch()->set_base_sequence(30);
  const broker::ProduceItem split = SplitItem(item);
  ASSERT_EQ(ReasonOfItem(split), "OK") << split.refusal;
  ASSERT_EQ(split.parts.size(), 1U);
  const broker::ProducePart& part = split.parts[0];
  EXPECT_EQ(part.partition, 11U);
  EXPECT_EQ(part.expected_next_offset, Offset{40});
  EXPECT_EQ(part.batch.records.view(), item.batch().records().SerializeAsString());
  EXPECT_EQ(part.batch.summary.records, 2U);
  EXPECT_EQ(part.batch.crc32c, crc32c::Value(part.batch.records.view()));
  EXPECT_EQ(part.producer,
            (partition::ProducerBatch{.producer_id = 5, .epoch = 2, .base_sequence = 30, .scope = partition::SequenceScope::kPartition}));
}

TEST_F(ProduceSplitTest, RecordsWithKeysGoByThePartitionerAndStayInOrder) {
  // records.proto: of 12, "abc" goes to 3, "foobar" to 6, "21" to 0.
  const broker::ProduceItem split = SplitItem(Item({"abc=1", "foobar=2", "abc=3", "21=4", "foobar=5"}));
  ASSERT_EQ(ReasonOfItem(split), "OK") << split.refusal;
  ASSERT_EQ(split.parts.size(), 3U);
  EXPECT_EQ(split.parts[0].partition, 0U);
  EXPECT_THAT(Values(split.parts[0]), ElementsAre("4"));
  EXPECT_EQ(split.parts[1].partition, 3U);
  EXPECT_THAT(Values(split.parts[1]), ElementsAre("1", "3"));
  EXPECT_EQ(split.parts[2].partition, 6U);
  EXPECT_THAT(Values(split.parts[2]), ElementsAre("2", "5"));
  EXPECT_EQ(split.parts[2].batch.summary.records, 2U);
  EXPECT_EQ(split.parts[2].batch.crc32c, crc32c::Value(split.parts[2].batch.records.view()));
}

TEST_F(ProduceSplitTest, AnEmptyKeyIsAKeyAndTheCountIsTheRequests) {
  v1::ProduceRequest request = RequestOf({Item({"=1"})});
  EXPECT_EQ(SplitItem(request).parts.at(0).partition, 9U);
  request.set_partition_count(3);
  EXPECT_EQ(SplitItem(request).parts.at(0).partition, 0U);
}

TEST_F(ProduceSplitTest, RecordsWithoutKeyOfAnItemStayTogether) {
  std::set<uint32_t> seen;
  for (int i = 0; i < 200; ++i) {
    const broker::ProduceItem split = SplitItem(Item({"1", "2", "3"}));
    ASSERT_EQ(split.parts.size(), 1U);
    EXPECT_THAT(Values(split.parts[0]), ElementsAre("1", "2", "3"));
    seen.insert(split.parts[0].partition);
  }
  EXPECT_EQ(seen.size(), 12U) << "items are spread";
}

TEST_F(ProduceSplitTest, AProducersRecordsWithoutKeyGoByItsSequence) {
  v1::ProduceItem item = Item({"1", "abc=2"});
  item.mutable_batch()->set_producer_id(7);
  item.mutable_batch()->set_base_sequence(1000);
  v1::ProduceRequest request = RequestOf({item});
  request.set_partition_count(12);
  const broker::ProduceItem split = SplitItem(request);  // records.proto: of 12, producer 7 at 1000 goes to 4
  ASSERT_EQ(split.parts.size(), 2U) << split.refusal;
  EXPECT_EQ(split.parts[0].partition, 3U);
  EXPECT_EQ(split.parts[1].partition, 4U);
  for (const broker::ProducePart& part : split.parts) {
    EXPECT_EQ(part.producer.scope, partition::SequenceScope::kTopic);
    EXPECT_EQ(part.producer.base_sequence, 1000U);
  }
}

TEST_F(ProduceSplitTest, WhatIsWrongWithOneItemIsItsOwnAffair) {
  v1::ProduceItem damaged = Item({"1"});
  damaged.set_partition(0);
  damaged.mutable_batch()->set_crc32c(1);
  v1::ProduceItem good = Item({"1"});
  good.set_partition(0);
  const Result<broker::ProduceCommand> command = Split(RequestOf({damaged, good}));
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(ReasonOfItem(command->items[0]), "CRC_MISMATCH");
  EXPECT_TRUE(command->items[0].refusal.Detail("expected").has_value());
  EXPECT_TRUE(command->items[0].parts.empty());
  EXPECT_EQ(ReasonOfItem(command->items[1]), "OK");
}

TEST_F(ProduceSplitTest, ItemsAreRefusedWithTheirReason) {
  struct Case {
    std::string reason;
    std::string field;
    void (*change)(v1::ProduceItem*);
  };
  const std::vector<Case> cases = {
      {"PARTITION_NOT_FOUND", "", [](v1::ProduceItem* item) { item->set_partition(12); }},
      {"PARTITION_NOT_FOUND", "", [](v1::ProduceItem* item) { item->set_partition(-1); }},
      {"INVALID_ARGUMENT", "batch.records", [](v1::ProduceItem* item) { item->clear_batch(); }},
      {"INVALID_ARGUMENT", "batch.records", [](v1::ProduceItem* item) { item->mutable_batch()->clear_records(); }},
      {"CORRUPT_RECORDS", "", [](v1::ProduceItem* item) { item->mutable_batch()->mutable_records()->clear_records(); }},
      {"INVALID_ARGUMENT", "batch.producer_id", [](v1::ProduceItem* item) { item->mutable_batch()->set_producer_id(-1); }},
      {"INVALID_ARGUMENT", "batch.producer_epoch", [](v1::ProduceItem* item) { item->mutable_batch()->set_producer_epoch(-1); }},
      {"INVALID_ARGUMENT", "batch.base_sequence", [](v1::ProduceItem* item) { item->mutable_batch()->set_base_sequence(-1); }},
      {"INVALID_ARGUMENT", "expected_next_offset", [](v1::ProduceItem* item) { item->set_expected_next_offset(-1); }},
      {"INVALID_ARGUMENT", "expected_next_offset",
       [](v1::ProduceItem* item) {
         item->clear_partition();
         item->set_expected_next_offset(1);
       }},
      {"CORRUPT_RECORDS", "", [](v1::ProduceItem* item) { item->mutable_batch()->set_record_count(2); }},
      {"CORRUPT_RECORDS", "", [](v1::ProduceItem* item) { item->mutable_batch()->set_codec(v1::CODEC_LZ4); }},
      {"UNKNOWN_CODEC", "", [](v1::ProduceItem* item) { item->mutable_batch()->set_codec(static_cast<v1::Codec>(5)); }},
      {"CORRUPT_RECORDS", "", [](v1::ProduceItem* item) { item->mutable_batch()->set_compressed_records("x"); }},
      {"INVALID_ARGUMENT", "partition",
       [](v1::ProduceItem* item) {
         item->clear_partition();
         item->mutable_batch()->set_codec(v1::CODEC_LZ4);
         item->mutable_batch()->set_compressed_records("x");
       }},
      {"INVALID_ARGUMENT", "partition_count",
       [](v1::ProduceItem* item) {
         item->clear_partition();
         item->mutable_batch()->set_producer_id(1);
       }},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    v1::ProduceItem item = Item({"1"});
    item.set_partition(0);
    cases[i].change(&item);
    const broker::ProduceItem split = SplitItem(item);
    EXPECT_EQ(ReasonOfItem(split), cases[i].reason) << i << ": " << split.refusal;
    if (!cases[i].field.empty()) {
      EXPECT_EQ(split.refusal.Detail("field"), cases[i].field) << i;
    }
  }
}

TEST_F(ProduceSplitTest, RequestsAreRefusedWithTheirReason) {
  struct Case {
    std::string reason;
    void (*change)(v1::ProduceRequest*);
  };
  const std::vector<Case> cases = {
      {"INVALID_ARGUMENT", [](v1::ProduceRequest* request) { request->clear_items(); }},
      {"INVALID_ARGUMENT", [](v1::ProduceRequest* request) { request->set_acks(static_cast<v1::Acks>(9)); }},
      {"INVALID_ARGUMENT", [](v1::ProduceRequest* request) { request->set_partition_count(13); }},
      {"INVALID_ARGUMENT", [](v1::ProduceRequest* request) { request->set_partition_count(-1); }},
      {"INVALID_ARGUMENT", [](v1::ProduceRequest* request) { request->clear_topic(); }},
      {"INVALID_ARGUMENT", [](v1::ProduceRequest* request) { request->mutable_topic()->set_name("or ders"); }},
      {"INVALID_ARGUMENT", [](v1::ProduceRequest* request) { request->mutable_topic()->set_topic_id("orders"); }},
      {"INVALID_ARGUMENT", [](v1::ProduceRequest* request) { request->mutable_topic()->set_topic_namespace("mine"); }},
      {"TOPIC_NOT_FOUND", [](v1::ProduceRequest* request) { request->mutable_topic()->set_name("bills"); }},
      {"TOPIC_NOT_FOUND",
       [](v1::ProduceRequest* request) { request->mutable_topic()->set_topic_id("00000000-8b86-4d01-b42d-00cf4fc964ff"); }},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    v1::ProduceRequest request = RequestOf({Item({"1"})});
    cases[i].change(&request);
    const Result<broker::ProduceCommand> command = Split(request);
    ASSERT_FALSE(command.ok()) << i;
    EXPECT_EQ(v1::ErrorReason_Name(ReasonOf(command.status())).substr(13), cases[i].reason) << i << ": " << command.status();
  }
}

TEST_F(ProduceSplitTest, TheCommandNamesTheTopicInFull) {
  v1::ProduceRequest request = RequestOf({Item({"1"})});
  request.mutable_topic()->clear_name();
  request.mutable_topic()->set_topic_id("6f9619ff-8b86-4d01-b42d-00cf4fc964ff");
  const Result<broker::ProduceCommand> command = Split(request);
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->topic.name(), "orders");
  EXPECT_EQ(command->topic.topic_namespace(), "default");
  EXPECT_EQ(command->topic_id.ToString(), "6f9619ff-8b86-4d01-b42d-00cf4fc964ff");
}

}  // namespace
}  // namespace flotilla::rpc::client
