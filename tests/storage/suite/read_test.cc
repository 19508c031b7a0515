// Reading entries, and finding them by offset and by time. log_store.h, LogReader.
#include "tests/storage/suite/store_test.h"

namespace flotilla::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;

class ReadTest : public StoreTest {
 protected:
  // Indexes; 0 for "none".
  uint64_t IndexAtTime(int64_t timestamp_ms) {
    auto found = store().FindTimestamp(kGroup, timestamp_ms);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() && found->has_value() ? (*found)->index.value() : 0;
  }
  uint64_t IndexOfOffset(uint64_t offset) {
    auto found = store().FindOffset(kGroup, Offset{offset});
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? found->index.value() : 0;
  }
};
FLOTILLA_STORE_SUITE(ReadTest);

TEST_P(ReadTest, ARangeIsHalfOpen) {
  ASSERT_THAT(Append({"a", "b", "c", "d"}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Payloads(Read(LogIndex{2}, LogIndex{4})), ElementsAre("b", "c")));
}

TEST_P(ReadTest, AnEmptyRangeReadsNothing) {
  ASSERT_THAT(Append({"a"}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Read(LogIndex{1}, LogIndex{1}), IsEmpty());
                                  EXPECT_THAT(Read(LogIndex{2}, LogIndex{2}), IsEmpty()));
}

TEST_P(ReadTest, TheByteLimitStopsBeforeTheEntryThatWouldPassIt) {
  ASSERT_THAT(Append({"aaaa", "bbbb", "cccc"}), IsOk());
  const size_t two = 2 * (Entry::kEntryOverheadBytes + 4);
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Payloads(Read(LogIndex{1}, LogIndex{4}, {.bytes = two})), ElementsAre("aaaa", "bbbb"));
                                  EXPECT_THAT(Payloads(Read(LogIndex{1}, LogIndex{4}, {.bytes = two - 1})), ElementsAre("aaaa")));
}

TEST_P(ReadTest, TheFirstEntryComesEvenIfItIsLargerThanTheLimit) {
  ASSERT_THAT(Append({"a long one", "b"}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Payloads(Read(LogIndex{1}, LogIndex{3}, {.bytes = 1})), ElementsAre("a long one"));
                                  EXPECT_THAT(Read(LogIndex{1}, LogIndex{3}, {.bytes = 0, .entries = 0}), SizeIs(1)));
}

TEST_P(ReadTest, TheEntryLimitCounts) {
  ASSERT_THAT(Append({"a", "b", "c"}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Payloads(Read(LogIndex{1}, LogIndex{4}, {.entries = 2})), ElementsAre("a", "b")));
}

TEST_P(ReadTest, BeforeTheStartIsTrimmed) {
  ASSERT_THAT(Append({"a", "b", "c"}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(ReadError(LogIndex{0}, LogIndex{1}), FailsWith(Reason::kTrimmed)));
  ASSERT_THAT(TrimTo(LogIndex{2}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(ReadError(LogIndex{1}, LogIndex{3}), FailsWith(Reason::kTrimmed));
                                  EXPECT_THAT(ReadError(LogIndex{2}, LogIndex{3}), FailsWith(Reason::kTrimmed)));
}

TEST_P(ReadTest, PastTheEndIsOutOfRange) {
  ASSERT_THAT(Append({"a"}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(ReadError(LogIndex{1}, LogIndex{3}), FailsWith(Reason::kOffsetOutOfRange));
                                  EXPECT_THAT(ReadError(LogIndex{5}, LogIndex{6}), FailsWith(Reason::kOffsetOutOfRange)));
}

TEST_P(ReadTest, AnUnknownGroupIsNotFoundByAnyCall) {
  const GroupId nobody{404};
  EXPECT_THAT(store().Load(nobody).status(), FailsWith(Reason::kGroupNotFound));
  EXPECT_THAT(store().Identity(nobody).status(), FailsWith(Reason::kGroupNotFound));
  EXPECT_THAT(store().Bounds(nobody).status(), FailsWith(Reason::kGroupNotFound));
  EXPECT_THAT(store().Read(nobody, LogIndex{1}, LogIndex{2}, {}).status(), FailsWith(Reason::kGroupNotFound));
  EXPECT_EQ(store().ReadCached(nobody, LogIndex{1}, LogIndex{2}, {}), std::nullopt);
  EXPECT_THAT(store().FindOffset(nobody, Offset{0}).status(), FailsWith(Reason::kGroupNotFound));
  EXPECT_THAT(store().FindTimestamp(nobody, 0).status(), FailsWith(Reason::kGroupNotFound));
  EXPECT_THAT(store().GetState(nobody, "key").status(), FailsWith(Reason::kGroupNotFound));
  EXPECT_THAT(store().ScanState(nobody, "", "", 100).status(), FailsWith(Reason::kGroupNotFound));
  EXPECT_THAT(store().ReadSnapshotChunk(nobody, 1, 0).status(), FailsWith(Reason::kGroupNotFound));
}

TEST_P(ReadTest, FreshEntriesAreCached) {
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  const auto cached = store().ReadCached(kGroup, LogIndex{1}, LogIndex{3}, {});
  ASSERT_TRUE(cached.has_value());
  EXPECT_THAT(Payloads(*cached), ElementsAre("a", "b"));
}

TEST_P(ReadTest, TheCacheKeepsTheLimitsOfReads) {
  ASSERT_THAT(Append({"a", "b", "c"}), IsOk());
  EXPECT_THAT(store().ReadCached(kGroup, LogIndex{1}, LogIndex{4}, {.entries = 2}), Optional(SizeIs(2)));
  EXPECT_THAT(store().ReadCached(kGroup, LogIndex{1}, LogIndex{4}, {.bytes = 1}), Optional(SizeIs(1)));
}

TEST_P(ReadTest, TheCacheNeverServesWhatIsNotInTheLog) {
  ASSERT_THAT(Append({"a", "b", "c"}), IsOk());
  ASSERT_THAT(Overwrite(LogIndex{2}, {"B"}, Term{2}), IsOk());
  EXPECT_EQ(store().ReadCached(kGroup, LogIndex{3}, LogIndex{4}, {}), std::nullopt);
  const auto cached = store().ReadCached(kGroup, LogIndex{1}, LogIndex{3}, {});
  if (cached) {
    EXPECT_THAT(Payloads(*cached), ElementsAre("a", "B"));
  }
  ASSERT_THAT(TrimTo(LogIndex{1}), IsOk());
  EXPECT_EQ(store().ReadCached(kGroup, LogIndex{1}, LogIndex{2}, {}), std::nullopt);
  ASSERT_THAT(ReplaceBy({.anchor = {.last = {Term{2}, LogIndex{50}}}}), IsOk());
  EXPECT_EQ(store().ReadCached(kGroup, LogIndex{2}, LogIndex{3}, {}), std::nullopt);
}

TEST_P(ReadTest, TheCacheIsBoundedPerGroup) {
  EntryMaker make = AtEnd();
  const std::string mebibyte(limits::kMiB, 'x');
  for (int i = 0; i < 8; ++i) ASSERT_THAT(Append({make.Data(mebibyte)}), IsOk());
  EXPECT_EQ(store().ReadCached(kGroup, LogIndex{1}, LogIndex{2}, {}), std::nullopt);
  EXPECT_THAT(store().ReadCached(kGroup, LogIndex{8}, LogIndex{9}, {}), Optional(SizeIs(1)));
}

TEST_P(ReadTest, AnOffsetLeadsToTheEntryThatHoldsIt) {
  EntryMaker make = AtEnd();
  ASSERT_THAT(Append({make.Noop(), make.Data("[0,3)", {.records = 3}), make.Noop(), make.Configuration("1"), make.Data("[3,4)"),
                      make.Data("[4,6)", {.records = 2}), make.Noop()}),
              IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(IndexOfOffset(0), 2u); EXPECT_EQ(IndexOfOffset(2), 2u); EXPECT_EQ(IndexOfOffset(3), 5u);
                                  EXPECT_EQ(IndexOfOffset(4), 6u); EXPECT_EQ(IndexOfOffset(5), 6u));
}

TEST_P(ReadTest, AnOffsetOutsideOfTheLogIsRefusedWithBothEnds) {
  EntryMaker make = AtEnd();
  ASSERT_THAT(Append({make.Data("[0,3)", {.records = 3}), make.Data("[3,6)", {.records = 3})}), IsOk());
  ASSERT_THAT(TrimTo(LogIndex{1}), IsOk());
  for (const uint64_t offset : {0, 2, 6, 100}) {
    const Status status = store().FindOffset(kGroup, Offset{offset}).status();
    EXPECT_THAT(status, FailsWith(Reason::kOffsetOutOfRange)) << offset;
    EXPECT_EQ(status.Detail("start_offset"), "3");
    EXPECT_EQ(status.Detail("end_offset"), "6");
  }
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(IndexOfOffset(3), 2u); EXPECT_EQ(IndexOfOffset(5), 2u));
}

TEST_P(ReadTest, OffsetsAreFoundAmongThousandsOfEntries) {
  EntryMaker make = AtEnd();
  std::vector<Entry> entries;
  for (int i = 0; i < 3000; ++i) entries.push_back(make.Data("x", {.records = 2}));
  ASSERT_THAT(Append(std::move(entries)), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(
      for (uint64_t offset = 0; offset < 6000; offset += 97) { ASSERT_EQ(IndexOfOffset(offset), offset / 2 + 1); });
}

TEST_P(ReadTest, ATimeLeadsToTheFirstEntryAtOrAfterIt) {
  EntryMaker make = AtEnd();
  ASSERT_THAT(Append({make.DataAt(100), make.DataAt(200), make.Noop(), make.DataAt(300)}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(IndexAtTime(50), 1u); EXPECT_EQ(IndexAtTime(100), 1u); EXPECT_EQ(IndexAtTime(101), 2u);
                                  EXPECT_EQ(IndexAtTime(201), 4u); EXPECT_EQ(IndexAtTime(301), 0u));
}

TEST_P(ReadTest, TimesThatGoBackAreFoundToo) {
  EntryMaker make = AtEnd();
  ASSERT_THAT(Append({make.DataAt(100), make.DataAt(500), make.DataAt(200), make.DataAt(600)}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(IndexAtTime(150), 2u); EXPECT_EQ(IndexAtTime(200), 2u); EXPECT_EQ(IndexAtTime(501), 4u));
}

// The running maximum of the trimmed entry still stands in every header.
TEST_P(ReadTest, ATrimmedLateTimeDoesNotHideTheEntriesAfterIt) {
  EntryMaker make = AtEnd();
  ASSERT_THAT(Append({make.DataAt(900), make.DataAt(100), make.Noop(), make.DataAt(300), make.DataAt(200)}), IsOk());
  ASSERT_THAT(TrimTo(LogIndex{1}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(IndexAtTime(50), 2u); EXPECT_EQ(IndexAtTime(150), 4u); EXPECT_EQ(IndexAtTime(300), 4u);
                                  EXPECT_EQ(IndexAtTime(301), 0u); EXPECT_EQ(IndexAtTime(900), 0u));
}

TEST_P(ReadTest, AnEmptyLogHasNoTimes) {
  EXPECT_EQ(IndexAtTime(0), 0u);
  ASSERT_THAT(Append({"a"}), IsOk());
  ASSERT_THAT(TrimTo(LogIndex{1}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(IndexAtTime(0), 0u));
}

TEST_P(ReadTest, WhatIsNotYetDurableIsNotRead) {
  ASSERT_THAT(Append({"a"}), IsOk());
  EntryMaker make = AtEnd();
  RecordingSink sink;
  machine().HoldSyncs();
  ASSERT_THAT(store().Submit({.group = kGroup, .entries = {make.Data("b")}}, sink), IsOk());
  machine().Drive();
  EXPECT_THAT(All(), ElementsAre("a")) << "and the read did not wait for the sync";
  EXPECT_EQ(sink.count(), 0u);
  machine().ReleaseSyncs();
  ASSERT_TRUE(sink.WaitFor(1));
  EXPECT_THAT(All(), ElementsAre("a", "b"));
}

TEST_P(ReadTest, TheSizeOfALogIsAboutWhatItsEntriesTake) {
  const std::string payload(10'000, 'x');
  EntryMaker make = AtEnd();
  for (int task = 0; task < 20; ++task) {
    std::vector<Entry> entries;
    for (int i = 0; i < 20; ++i) entries.push_back(make.Data(payload));
    ASSERT_THAT(Append(std::move(entries)), IsOk());
  }
  const auto size = [this](GroupId group) { return *store().ApproximateBytes(group); };
  ASSERT_THAT(Create(kOther), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_GT(size(kGroup), 2'000'000u); EXPECT_LT(size(kGroup), 8'000'000u);
                                  EXPECT_LT(size(kOther), 10'000u));
  ASSERT_THAT(TrimTo(LogIndex{300}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_GT(size(kGroup), 500'000u); EXPECT_LT(size(kGroup), 2'000'000u));
  EXPECT_THAT(store().ApproximateBytes(GroupId{99}).status(), FailsWith(Reason::kGroupNotFound));
}

}  // namespace
}  // namespace flotilla::storage
