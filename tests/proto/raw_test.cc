// The wire trick: what clients see as a RecordSet, the broker has as bytes (flotilla/v1/records.proto).
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <set>

#include "flotilla/internal/v1/raw.pb.h"
#include "flotilla/v1/consume.pb.h"
#include "flotilla/v1/produce.pb.h"

namespace flotilla::proto_test {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

const Descriptor* PublicTwin(const Descriptor* raw) {
  const std::string prefix = "Raw";
  if (raw->name().rfind(prefix, 0) != 0) return nullptr;
  return google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName("flotilla.v1." + raw->name().substr(prefix.size()));
}

// The type as it should read in the public message.
std::string PublicType(const FieldDescriptor* field) {
  if (field->message_type() != nullptr) {
    const Descriptor* twin = PublicTwin(field->message_type());
    return twin ? twin->full_name() : field->message_type()->full_name();
  }
  if (field->enum_type() != nullptr) return field->enum_type()->full_name();
  const bool is_record_set = field->type() == FieldDescriptor::TYPE_BYTES && field->name() == "records";
  return is_record_set ? "flotilla.v1.RecordSet" : field->type_name();
}
std::string Type(const FieldDescriptor* field) {
  if (field->message_type() != nullptr) return field->message_type()->full_name();
  return field->enum_type() != nullptr ? field->enum_type()->full_name() : field->type_name();
}
std::string Oneof(const FieldDescriptor* field) { return field->real_containing_oneof() ? field->real_containing_oneof()->name() : ""; }

TEST(Raw, MessagesAreTheirPublicTwinsButForTheRecords) {
  const FileDescriptor* file = internal::v1::RawRecordBatch::descriptor()->file();
  for (int i = 0; i < file->message_type_count(); ++i) {
    const Descriptor* raw = file->message_type(i);
    const Descriptor* twin = PublicTwin(raw);
    ASSERT_NE(twin, nullptr) << raw->name() << " has no public twin";
    EXPECT_EQ(raw->field_count(), twin->field_count()) << raw->name();
    for (int f = 0; f < twin->field_count(); ++f) {
      const FieldDescriptor* theirs = twin->field(f);
      const FieldDescriptor* ours = raw->FindFieldByNumber(theirs->number());
      ASSERT_NE(ours, nullptr) << raw->name() << " lacks " << theirs->name();
      EXPECT_EQ(ours->name(), theirs->name());
      EXPECT_EQ(PublicType(ours), Type(theirs)) << ours->full_name();
      EXPECT_EQ(ours->label(), theirs->label()) << ours->full_name();
      EXPECT_EQ(ours->has_presence(), theirs->has_presence()) << ours->full_name();
      EXPECT_EQ(Oneof(ours), Oneof(theirs)) << ours->full_name();
    }
  }
}

bool HoldsRecords(const Descriptor* message, std::set<const Descriptor*>* seen) {
  if (message->full_name() == "flotilla.v1.RecordSet") return true;
  if (!seen->insert(message).second) return false;
  for (int i = 0; i < message->field_count(); ++i) {
    const Descriptor* inner = message->field(i)->message_type();
    if (inner != nullptr && HoldsRecords(inner, seen)) return true;
  }
  return false;
}

// Whoever adds a message that holds records adds its twin.
TEST(Raw, EveryPublicMessageWithRecordsHasATwin) {
  for (const FileDescriptor* file :
       {v1::ProduceRequest::descriptor()->file(), v1::FetchRequest::descriptor()->file(), v1::RecordBatch::descriptor()->file()}) {
    for (int i = 0; i < file->message_type_count(); ++i) {
      std::set<const Descriptor*> seen;
      const Descriptor* message = file->message_type(i);
      if (message->name() == "RecordSet" || !HoldsRecords(message, &seen)) continue;
      EXPECT_NE(google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName("flotilla.internal.v1.Raw" + message->name()),
                nullptr)
          << message->full_name() << " holds records and has no twin in raw.proto";
    }
  }
}

TEST(Raw, WhatAClientSendsArrivesAsTheBytesOfItsRecords) {
  v1::ProduceRequest sent;
  sent.mutable_topic()->set_name("logs");
  v1::RecordBatch* batch = sent.add_items()->mutable_batch();
  v1::Record* record = batch->mutable_records()->add_records();
  record->set_key("k");
  record->set_value(std::string("\0\xff", 2));
  record->add_headers()->set_key("h");
  batch->mutable_records()->add_records();
  batch->set_producer_id(7);

  internal::v1::RawProduceRequest received;
  ASSERT_TRUE(received.ParseFromString(sent.SerializeAsString()));
  ASSERT_EQ(received.items(0).batch().content_case(), internal::v1::RawRecordBatch::kRecords);
  EXPECT_EQ(received.items(0).batch().records(), batch->records().SerializeAsString());
  EXPECT_EQ(received.items(0).batch().producer_id(), 7);

  internal::v1::RawFetchResponse answered;
  *answered.add_partitions()->add_batches() = received.items(0).batch();
  v1::FetchResponse read;
  ASSERT_TRUE(read.ParseFromString(answered.SerializeAsString()));
  EXPECT_EQ(read.partitions(0).batches(0).records().SerializeAsString(), batch->records().SerializeAsString());
}

// "for each record the byte 0x0a, its length as a varint, and the record": what the broker walks over.
TEST(Raw, ARecordSetIsTagLengthRecordAndSoOn) {
  v1::RecordSet set;
  set.add_records()->set_value("abc");
  set.add_records();
  EXPECT_EQ(set.SerializeAsString(), std::string("\x0a\x05\x12\x03"
                                                 "abc\x0a\x00",
                                                 9));
}

}  // namespace
}  // namespace flotilla::proto_test
