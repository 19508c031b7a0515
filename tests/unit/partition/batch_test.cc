#include "server/partition/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/errors/refusal.h"
#include "storage/base/crc32c.h"
#include "tests/unit/partition/records.h"

namespace flotilla::partition {
namespace {

using testing::HasSubstr;

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<uint8_t>(c) >> 4];
    out += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return out;
}

const BatchHeader kHeader{
    .codec = Codec::kZstd,
    .timestamp_type = TimestampType::kAppendTime,
    .producer = {.producer_id = 0x1122334455667788, .epoch = 0x0A0B0C0D, .base_sequence = 0x99AABBCCDDEEFF, .scope = SequenceScope::kTopic},
    .append_timestamp_ms = 1'700'000'000'123,
    .crc32c = 0xDEADBEEF,
    .uncompressed_bytes = 0x00010203};

// The format is on disks: if this fails, a new version is needed, not a new expectation.
TEST(BatchHeaderTest, GoldenBytes) {
  char bytes[kBatchHeaderBytes];
  EncodeBatchHeader(kHeader, bytes);
  EXPECT_EQ(Hex({bytes, sizeof bytes}),
            "01"                // version
            "03"                // codec: zstd
            "0500"              // attributes: append time, scope topic
            "efbeadde"          // crc32c
            "03020100"          // uncompressed bytes
            "0d0c0b0a"          // epoch
            "7b68e5cf8b010000"  // append timestamp
            "8877665544332211"  // producer id
            "ffeeddccbbaa9900");
  EncodeBatchHeader({.append_timestamp_ms = 1, .crc32c = 2}, bytes);
  EXPECT_EQ(Hex({bytes, sizeof bytes}), "010100000200000000000000000000000100000000000000" + std::string(32, '0'));
}

TEST(BatchHeaderTest, ComesBackAsItWas) {
  char bytes[kBatchHeaderBytes];
  EncodeBatchHeader(kHeader, bytes);
  const Result<BatchHeader> decoded = DecodeBatchHeader({bytes, sizeof bytes});
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, kHeader);
}

TEST(BatchHeaderTest, WhatIsNotOneIsRefused) {
  char good[kBatchHeaderBytes];
  EncodeBatchHeader(kHeader, good);
  const auto complaint = [&](size_t at, char value) {
    std::string bytes(good, sizeof good);
    bytes[at] = value;
    const Result<BatchHeader> decoded = DecodeBatchHeader(bytes);
    return decoded.ok() ? "OK" : decoded.status().ToString();
  };
  EXPECT_THAT(complaint(0, 2), HasSubstr("CORRUPT_MESSAGE: batch header: version 2, not 1"));
  EXPECT_THAT(complaint(1, 9), HasSubstr("unknown codec 9"));
  EXPECT_THAT(complaint(2, 0x0D),
              HasSubstr("unknown attributes 13"));  // transactional, which does not exist yet
  EXPECT_THAT(complaint(2, 0x07), HasSubstr("a sequence scope that does not fit"));
  EXPECT_THAT(complaint(1, 1), HasSubstr("an uncompressed size that does not fit"));
  EXPECT_THAT(DecodeBatchHeader({good, sizeof good - 1}).status().ToString(), HasSubstr("39 bytes, a header takes 40"));
  std::string nobody(kBatchHeaderBytes, '\0');
  nobody[0] = nobody[1] = 1;
  nobody[32] = 5;
  EXPECT_THAT(DecodeBatchHeader(nobody).status().ToString(), HasSubstr("a sequence without a producer"));
}

TEST(RecordBufferTest, TheHeaderGoesInFrontInPlace) {
  RecordBuffer buffer(3);
  std::copy_n("abc", 3, buffer.data());
  const char* records = buffer.data();
  const Bytes payload = std::move(buffer).Seal(kHeader);
  EXPECT_EQ(payload.size(), kBatchHeaderBytes + 3);
  EXPECT_EQ(RecordsOf(payload).view(), "abc");
  EXPECT_EQ(RecordsOf(payload).data(), records);  // nothing was copied
  EXPECT_EQ(*DecodeBatchHeader(payload.view()), kHeader);
}

class PrepareTest : public testing::Test {
 protected:
  Result<PreparedBatch> Prepare(const std::string& records, const BatchClaims& claims) {
    return PrepareBatch(RecordBuffer::CopyOf(records), claims, decompressor_);
  }
  std::string Complaint(const std::string& records, const BatchClaims& claims) {
    const Result<PreparedBatch> batch = Prepare(records, claims);
    if (batch.ok()) return "OK";
    const Refusal refusal = RefusalOf(batch.status());
    const std::string_view name = refusal == Refusal::kNone ? ReasonName(batch.status().reason()) : RefusalName(refusal);
    return std::string(name) + ": " + std::string(batch.status().message());
  }
  Decompressor decompressor_;
};

TEST_F(PrepareTest, ABareBatchGetsItsCrcAndCountFromTheBroker) {
  const std::string set = SetOf(3);
  const Result<PreparedBatch> batch = Prepare(set, {});
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_EQ(batch->crc32c, crc32c::Value(set));
  EXPECT_EQ(batch->summary.records, 3u);
  EXPECT_EQ(batch->records.view(), set);
}

TEST_F(PrepareTest, ACompressedBatchIsWalkedInsideAndKeptAsItWasSent) {
  const std::string set = SetOf(1000, "over and over");
  for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
    const std::string compressed = Compress(codec, set);
    const Result<PreparedBatch> batch = Prepare(compressed, {.codec = codec,
                                                             .crc32c = crc32c::Value(compressed),
                                                             .record_count = 1000,
                                                             .uncompressed_bytes = static_cast<uint32_t>(set.size())});
    ASSERT_TRUE(batch.ok()) << batch.status();
    EXPECT_EQ(batch->summary.records, 1000u);
    EXPECT_EQ(batch->records.view(), compressed);
    EXPECT_EQ(batch->crc32c, crc32c::Value(compressed));
  }
}

TEST_F(PrepareTest, WrongClaimsAreRefusedWithBothValues) {
  const std::string set = SetOf(3);
  const auto size = static_cast<uint32_t>(set.size());
  const std::string crc = std::to_string(crc32c::Value(set));
  EXPECT_THAT(Complaint(set, {.crc32c = 5}), HasSubstr("CRC_MISMATCH: the records' CRC-32C is " + crc + " and the batch says 5"));
  EXPECT_THAT(Complaint(set, {.crc32c = {}, .record_count = 4}), HasSubstr("CORRUPT_RECORDS: the batch says 4 records and holds 3"));
  EXPECT_THAT(Complaint(set, {.crc32c = {}, .uncompressed_bytes = 7}), HasSubstr("uncompressed_bytes is 7 in a batch without codec"));
  EXPECT_THAT(Complaint(Lz4(set), {.codec = Codec::kLz4, .crc32c = {}, .uncompressed_bytes = size}), HasSubstr("without record_count"));
  EXPECT_THAT(Complaint(Lz4(set), {.codec = Codec::kLz4, .crc32c = {}, .record_count = 3}), HasSubstr("without uncompressed_bytes"));
  EXPECT_THAT(Complaint(Lz4(set), {.codec = Codec::kLz4, .crc32c = {}, .record_count = 2, .uncompressed_bytes = size}),
              HasSubstr("says 2 records and holds 3"));
}

TEST_F(PrepareTest, CompressedGarbageIsRefusedFromOutsideAndFromInside) {
  EXPECT_THAT(Complaint("garbage", {.codec = Codec::kZstd, .crc32c = {}, .record_count = 1, .uncompressed_bytes = 10}),
              HasSubstr("CORRUPT_RECORDS: compressed records"));
  EXPECT_THAT(Complaint(Zstd("not records"), {.codec = Codec::kZstd, .crc32c = {}, .record_count = 1, .uncompressed_bytes = 11}),
              HasSubstr("CORRUPT_RECORDS: records are damaged at byte 0"));
}

TEST_F(PrepareTest, ABombIsRefusedByWhatItClaimsOrByWhatItDoes) {
  const std::string bomb = Zstd(std::string(64 << 20, '\0'));
  EXPECT_THAT(Complaint(bomb, {.codec = Codec::kZstd, .crc32c = {}, .record_count = 1, .uncompressed_bytes = 64 << 20}),
              HasSubstr("LIMIT_EXCEEDED: a compressed batch that would grow to records of 67108864 bytes; the limit "
                        "is 33554432"));
  EXPECT_THAT(Complaint(bomb, {.codec = Codec::kZstd, .crc32c = {}, .record_count = 1, .uncompressed_bytes = 1000}),
              HasSubstr("CORRUPT_RECORDS: compressed records: the zstd frame holds 67108864 bytes, and "
                        "uncompressed_bytes says 1000"));
}

TEST_F(PrepareTest, ABatchThatFitsIntoNoEntryIsRefused) {
  EXPECT_THAT(Complaint(std::string(kBatchRecordsBytesMax + 1, 'x'), {}),
              HasSubstr("LIMIT_EXCEEDED: a batch of 8388569 bytes; the limit is 8388568"));
}

}  // namespace
}  // namespace flotilla::partition
