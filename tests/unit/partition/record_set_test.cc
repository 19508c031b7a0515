#include "server/partition/record_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "server/errors/refusal.h"
#include "storage/base/random.h"
#include "tests/unit/partition/records.h"

namespace flotilla::partition {
namespace {

using testing::HasSubstr;

// "CORRUPT_RECORDS: ..." or "LIMIT_EXCEEDED: ...".
std::string Complaint(const std::string& set, RecordLimits limits = {}) {
  const Result<RecordSetSummary> summary = WalkRecordSet(set, limits);
  if (summary.ok()) return "OK";
  const Refusal refusal = RefusalOf(summary.status());
  const std::string_view name = refusal == Refusal::kNone ? ReasonName(summary.status().reason()) : RefusalName(refusal);
  return std::string(name) + ": " + std::string(summary.status().message());
}

TEST(RecordSetTest, CountsAndFindsWhatIsRemarkable) {
  const std::string set = EncodeSet({{.key = "k", .value = "longest of all", .headers = {{"h", "1"}, {"h", "2"}}, .timestamp_ms = 7},
                                     {.value = "b", .timestamp_ms = 9},
                                     {.value = "c"},
                                     {.timestamp_ms = 3}});
  const Result<RecordSetSummary> summary = WalkRecordSet(set, {});
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->records, 4u);
  EXPECT_EQ(
      summary->largest,
      (NumberedBytes{
          .record = 0,
          .bytes = EncodeRecord({.key = "k", .value = "longest of all", .headers = {{"h", "1"}, {"h", "2"}}, .timestamp_ms = 7}).size()}));
  EXPECT_EQ(summary->min_timestamp_ms, 3);
  EXPECT_EQ(summary->latest, (NumberedTime{.record = 1, .timestamp_ms = 9}));
  EXPECT_EQ(summary->without_timestamp, 1u);
}

TEST(RecordSetTest, ARecordMayBeEmpty) {
  const Result<RecordSetSummary> summary = WalkRecordSet(EncodeSet({{}, {}}), {});
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->records, 2u);
  EXPECT_EQ(summary->without_timestamp, 2u);
}

TEST(RecordSetTest, NoRecordIsNoBatch) {
  EXPECT_THAT(Complaint(""), HasSubstr("CORRUPT_RECORDS: records are damaged at byte 0: there is no record"));
}

TEST(RecordSetTest, BytesThatAreSomethingElseAreRefused) {
  EXPECT_THAT(Complaint("hello world"),
              HasSubstr("CORRUPT_RECORDS: records are damaged at byte 0: byte 104 where a record begins with 10"));
  EXPECT_THAT(Complaint(SetOf(2) + "x"), HasSubstr("at byte 10"));
  EXPECT_THAT(Complaint("{\"key\": 1}"), HasSubstr("CORRUPT_RECORDS"));
}

TEST(RecordSetTest, ARecordThatReachesPastTheEndIsRefusedWithItsNumber) {
  const std::string set = SetOf(3);
  EXPECT_THAT(Complaint(set.substr(0, set.size() - 1)), HasSubstr("at byte 10: record 2 of 3 bytes: a field reaches past the end"));
}

TEST(RecordSetTest, AFieldThatReachesPastItsRecordIsRefused) {
  // A record of 3 bytes whose value claims 5.
  EXPECT_THAT(Complaint(std::string("\x0a\x03\x12\x05\x61", 5)), HasSubstr("record 0: a field reaches past the end"));
}

TEST(RecordSetTest, EveryCutOfASetIsRefusedOrAShorterSet) {
  const std::string set = EncodeSet({{.key = "k", .value = "v", .headers = {{"n", "w"}}, .timestamp_ms = 1234567}, {.value = "second"}});
  const size_t first = FindRecord(set, 1);
  for (size_t size = 0; size < set.size(); ++size) {
    EXPECT_EQ(WalkRecordSet(set.substr(0, size), {}).ok(), size == first) << size;
  }
}

TEST(RecordSetTest, FieldsToComeAreAcceptedInsideOfRecords) {
  std::string record = EncodeRecord({.value = "v"});
  AppendField(19, "new", &record);
  AppendVarint(20 << 3 | 0, &record);
  AppendVarint(77, &record);
  record += std::string("\xad\x01", 2) + "1234";      // field 21, fixed32
  record += std::string("\xb1\x01", 2) + "12345678";  // field 22, fixed64
  std::string set;
  AppendField(1, record, &set);
  EXPECT_EQ(Complaint(set), "OK");
  // But not beside them: a set is counted, and this would be counted by nobody.
  AppendField(2, "x", &set);
  EXPECT_THAT(Complaint(set), HasSubstr("byte 18 where a record begins"));
}

TEST(RecordSetTest, WhatOtherParsersRefuseIsRefused) {
  const auto set_of = [](const std::string& record) {
    std::string set;
    AppendField(1, record, &set);
    return set;
  };
  EXPECT_THAT(Complaint(set_of(std::string("\x00\x01", 2))), HasSubstr("field number 0"));
  EXPECT_THAT(Complaint(set_of("\x2b\x2c")), HasSubstr("a wire type that is not in use"));  // a group
  EXPECT_THAT(Complaint(set_of("\x0d"
                               "1234")),
              HasSubstr("the wrong wire type"));  // key as fixed32
  EXPECT_THAT(Complaint(set_of("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")), HasSubstr("a number of too many bytes"));
  EXPECT_THAT(Complaint(set_of("\x12\x80\x80\x80\x80\x80\x01")), HasSubstr("a number of too many bytes"));
  EXPECT_THAT(Complaint(set_of("\x20\xff")), HasSubstr("the bytes end inside of a number"));
}

TEST(RecordSetTest, AHeaderNameMustBeUtf8BecauseOneThatIsNotSpoilsTheWholeAnswer) {
  EXPECT_EQ(Complaint(EncodeSet({{.headers = {{"gr\xc3\xb6\xc3\x9f"
                                               "e \xe2\x82\xac \xf0\x9f\x9a\xa2",
                                               "\xff\xfe"}}}})),
            "OK");
  for (const char* name : {"\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    EXPECT_THAT(Complaint(EncodeSet({{.headers = {{name, ""}}}})), HasSubstr("the name of a header is not UTF-8"));
  }
}

TEST(RecordSetTest, LimitsAreNamedWithTheValue) {
  EXPECT_THAT(Complaint(EncodeSet({{.value = "a"}, {.value = std::string(100, 'x')}}), {.record_bytes = 99}),
              HasSubstr("RECORD_TOO_LARGE: record 1 takes 102 bytes; the limit is 99"));
  EXPECT_THAT(Complaint(SetOf(3), {.records = 2}), HasSubstr("LIMIT_EXCEEDED: 3 records or more in a batch; the limit is 2"));
  EXPECT_EQ(Complaint(SetOf(2), {.records = 2}), "OK");
  EXPECT_THAT(Complaint(EncodeSet({{.headers = {{"a", ""}, {"b", ""}, {"c", ""}}}}), {.headers = 2}),
              HasSubstr("LIMIT_EXCEEDED: 3 headers in record 0; the limit is 2"));
}

TEST(RecordSetTest, ATimeBefore1970IsRefused) {
  EXPECT_THAT(Complaint(EncodeSet({{.timestamp_ms = -5}})), HasSubstr("TIMESTAMP_OUT_OF_RANGE: record 0 has the timestamp -5"));
}

TEST(RecordSetTest, TheSetFromARecordOnIsASetAgain) {
  const std::string set = EncodeSet({{.value = "zero"}, {.value = "one"}, {.value = "two"}});
  EXPECT_EQ(set.substr(FindRecord(set, 1)), EncodeSet({{.value = "one"}, {.value = "two"}}));
  EXPECT_EQ(FindRecord(set, 0), 0u);
  EXPECT_EQ(FindRecord(set, 3), set.size());
  EXPECT_EQ(FindRecord(set, 99), set.size());
}

TEST(RecordSetTest, ATimeIsFoundByTheRecordsOwnTimesAndTheBatchsForThoseWithout) {
  const std::string set = EncodeSet({{.timestamp_ms = 5}, {}, {.timestamp_ms = 20}});
  EXPECT_EQ(FindRecordByTime(set, 5, 10), 0u);
  EXPECT_EQ(FindRecordByTime(set, 6, 10), 1u);
  EXPECT_EQ(FindRecordByTime(set, 11, 10), 2u);
  EXPECT_EQ(FindRecordByTime(set, 21, 10), std::nullopt);
}

TEST(RecordSetTest, DamageNeverReadsOutsideAndNeverMiscounts) {
  const std::string good = EncodeSet({{.key = "key", .value = "value", .headers = {{"n", "v"}}, .timestamp_ms = 99}, {.value = "x"}});
  Random random(1);
  for (int i = 0; i < 100'000; ++i) {
    std::string set = good;
    for (uint64_t flips = random.Between(1, 3); flips > 0; --flips) {
      set[random.Below(set.size())] ^= static_cast<char>(1 << random.Below(8));
    }
    const Result<RecordSetSummary> summary = WalkRecordSet(set, {});
    if (!summary.ok()) continue;
    EXPECT_EQ(FindRecord(set, summary->records), set.size());
    EXPECT_LT(FindRecord(set, summary->records - 1), set.size());
  }
}

}  // namespace
}  // namespace flotilla::partition
