// What a task does to a log: append, overwrite, trim, replace. log_store.h, WriteTask.
#include "tests/storage/suite/store_test.h"

namespace flotilla::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class AppendTest : public StoreTest {};
FLOTILLA_STORE_SUITE(AppendTest);

TEST_P(AppendTest, WhatWasAppendedIsRead) {
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  ASSERT_THAT(Append({"c"}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("a", "b", "c")));
}

TEST_P(AppendTest, EveryFieldOfAnEntryComesBack) {
  EntryMaker make = AtEnd(Term{3});
  const Entry noop = make.Noop();
  const Entry data = make.Data("records", {.records = 5, .min_timestamp_ms = -7, .max_timestamp_ms = 90});
  const Entry configuration = make.Configuration("1,2,3");
  ASSERT_THAT(Append({noop, data, configuration}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Read(LogIndex{1}, LogIndex{4}), ElementsAre(noop, data, configuration)));
}

TEST_P(AppendTest, AnEmptyPayloadIsAnEntryToo) {
  ASSERT_THAT(Append({""}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("")));
}

TEST_P(AppendTest, TheLargestPayloadFits) {
  const std::string large(limits::kEntryPayloadBytesMax, 'x');
  EntryMaker make = AtEnd();
  ASSERT_THAT(Append({make.Data(large)}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_TRUE(All().front() == large));
}

TEST_P(AppendTest, AByteMoreThanTheLargestPayloadIsRefused) {
  Entry entry = AtEnd().Data("x");
  entry.payload = Bytes(std::string(limits::kEntryPayloadBytesMax + 1, 'x'));
  entry.header.payload_bytes = static_cast<uint32_t>(entry.payload.size());
  entry.header.checksum = EntryChecksum(entry.header, entry.payload.view());
  EXPECT_THAT(Append({entry}), FailsWith(Reason::kLimitExceeded));
  EXPECT_TRUE(BoundsOf(kGroup).empty());
}

TEST_P(AppendTest, AnEntryThatWasDamagedBeforeItWasWrittenIsRefused) {
  Entry entry = AtEnd().Data("a");
  entry.payload = Bytes::Static("b");
  EXPECT_THAT(Append({entry}), FailsWith(Reason::kCorruptMessage));
  EXPECT_TRUE(BoundsOf(kGroup).empty());
}

TEST_P(AppendTest, BoundsFollowTheEntries) {
  EntryMaker make = AtEnd(Term{2});
  ASSERT_THAT(Append({make.Noop(), make.Data("a", {.records = 4, .min_timestamp_ms = 5, .max_timestamp_ms = 9})}), IsOk());
  const LogAnchor end{.last = {Term{2}, LogIndex{2}}, .end_offset = Offset{4}, .running_max_timestamp_ms = 9};
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(BoundsOf(kGroup).start, LogAnchor{}); EXPECT_EQ(BoundsOf(kGroup).end, end));
}

TEST_P(AppendTest, AConflictingSuffixIsOverwritten) {
  ASSERT_THAT(Append({"a", "b", "c", "d"}), IsOk());
  ASSERT_THAT(Overwrite(LogIndex{3}, {"C"}, Term{2}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("a", "b", "C")));
}

TEST_P(AppendTest, OverwrittenEntriesStayGoneWhenTheLogGrowsBack) {
  ASSERT_THAT(Append({"a", "b", "c", "d"}), IsOk());
  ASSERT_THAT(Overwrite(LogIndex{2}, {"B"}, Term{2}), IsOk());
  Reopen();
  ASSERT_THAT(Append({"C"}, Term{2}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("a", "B", "C")));
}

TEST_P(AppendTest, TheWholeLogCanBeOverwritten) {
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  ASSERT_THAT(Overwrite(LogIndex{1}, {"A", "B", "C"}, Term{2}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("A", "B", "C")));
}

TEST_P(AppendTest, AGapInTheIndexIsRefused) {
  ASSERT_THAT(Append({"a"}), IsOk());
  EntryMaker make = AtEnd();
  (void)make.Data("skipped", {.records = 0});
  const Status refused = Append({make.Data("c")});
  EXPECT_THAT(refused, FailsWith(Reason::kInvalidArgument));
  EXPECT_EQ(refused.Detail("group"), "7");
  EXPECT_EQ(refused.Detail("index"), "3");
  EXPECT_THAT(All(), ElementsAre("a"));
}

TEST_P(AppendTest, AGapInTheOffsetIsRefused) {
  ASSERT_THAT(Append({"a"}), IsOk());
  LogAnchor at = BoundsOf(kGroup).end;
  at.end_offset += 1;
  EXPECT_THAT(Append({AtEnd().ContinueAfter(at).Data("b")}), FailsWith(Reason::kInvalidArgument));
}

TEST_P(AppendTest, AnOffsetThatDoesNotFollowTheKeptEntryIsRefusedWhenOverwriting) {
  ASSERT_THAT(Append({"a", "b", "c"}), IsOk());
  LogAnchor at = AnchorAt(LogIndex{1});
  at.end_offset += 5;
  EXPECT_THAT(Append({AtEnd(Term{2}).ContinueAfter(at).Data("B")}), FailsWith(Reason::kInvalidArgument));
  EXPECT_THAT(All(), ElementsAre("a", "b", "c"));
}

TEST_P(AppendTest, ATermThatGoesBackIsRefused) {
  ASSERT_THAT(Append({"a"}, Term{3}), IsOk());
  EXPECT_THAT(Append({"b"}, Term{2}), FailsWith(Reason::kInvalidArgument));
  EXPECT_THAT(All(), ElementsAre("a"));
}

TEST_P(AppendTest, AnEntryOfAnotherGroupIsRefused) {
  EntryMaker make(kOther);
  EXPECT_THAT(Write({.group = kGroup, .entries = {make.Data("a")}}), FailsWith(Reason::kInvalidArgument));
}

TEST_P(AppendTest, ATrimmedPrefixIsGoneAndTheRestStays) {
  ASSERT_THAT(Append({"a", "b", "c"}), IsOk());
  ASSERT_THAT(TrimTo(LogIndex{2}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("c")); EXPECT_EQ(BoundsOf(kGroup).first_index(), LogIndex{3});
                                  EXPECT_THAT(ReadError(LogIndex{2}, LogIndex{3}), FailsWith(Reason::kTrimmed)));
}

TEST_P(AppendTest, ALogTrimmedToItsEndGoesOnThere) {
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  ASSERT_THAT(TrimTo(LogIndex{2}), IsOk());
  Reopen();
  EXPECT_THAT(All(), IsEmpty());
  ASSERT_THAT(Append({"c"}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("c")); EXPECT_EQ(BoundsOf(kGroup).last_index(), LogIndex{3});
                                  EXPECT_EQ(BoundsOf(kGroup).end.end_offset, Offset{3}));
}

TEST_P(AppendTest, TrimmingTwiceToTheSamePlaceIsHarmless) {
  ASSERT_THAT(Append({"a", "b", "c"}), IsOk());
  ASSERT_THAT(TrimTo(LogIndex{1}), IsOk());
  ASSERT_THAT(TrimTo(LogIndex{1}), IsOk());
  EXPECT_THAT(All(), ElementsAre("b", "c"));
}

TEST_P(AppendTest, TheStartNeverMovesBack) {
  ASSERT_THAT(Append({"a", "b", "c"}), IsOk());
  const LogAnchor first = AnchorAt(LogIndex{1});
  ASSERT_THAT(TrimTo(LogIndex{2}), IsOk());
  EXPECT_THAT(Write({.group = kGroup, .snapshot = SnapshotMeta{.anchor = first}}), FailsWith(Reason::kInvalidArgument));
}

TEST_P(AppendTest, TheStartDoesNotMovePastTheEnd) {
  ASSERT_THAT(Append({"a"}), IsOk());
  LogAnchor beyond = BoundsOf(kGroup).end;
  beyond.last.index += 1;
  EXPECT_THAT(Write({.group = kGroup, .snapshot = SnapshotMeta{.anchor = beyond}}), FailsWith(Reason::kInvalidArgument));
}

TEST_P(AppendTest, AnAnchorThatDisagreesWithTheLogIsRefused) {
  ASSERT_THAT(Append({"a", "b", "c"}), IsOk());
  LogAnchor wrong = AnchorAt(LogIndex{2});
  wrong.last.term = Term{9};
  EXPECT_THAT(Write({.group = kGroup, .snapshot = SnapshotMeta{.anchor = wrong}}), FailsWith(Reason::kInvalidArgument));
  EXPECT_THAT(All(), ElementsAre("a", "b", "c"));
}

TEST_P(AppendTest, EntriesBeforeTheStartCannotBeOverwritten) {
  ASSERT_THAT(Append({"a", "b", "c"}), IsOk());
  ASSERT_THAT(TrimTo(LogIndex{2}), IsOk());
  EntryMaker make(kGroup, Term{2});
  EXPECT_THAT(Append({make.Data("A")}), FailsWith(Reason::kInvalidArgument));
}

TEST_P(AppendTest, ASnapshotReplacesTheWholeLog) {
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  const LogAnchor anchor{.last = {Term{5}, LogIndex{100}}, .end_offset = Offset{1000}, .running_max_timestamp_ms = 77};
  ASSERT_THAT(ReplaceBy({.anchor = anchor, .configuration = Bytes::Static("1,2")}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(BoundsOf(kGroup), (LogBounds{anchor, anchor})); EXPECT_THAT(All(), IsEmpty());
                                  EXPECT_EQ(Loaded().snapshot.configuration.view(), "1,2"));
  ASSERT_THAT(Append({"c"}, Term{5}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("c")); EXPECT_EQ(BoundsOf(kGroup).last_index(), LogIndex{101}));
}

TEST_P(AppendTest, ASnapshotOlderThanTheLogReplacesItTooAndNothingShinesThrough) {
  ASSERT_THAT(Append({"a", "b", "c", "d"}), IsOk());
  const LogAnchor anchor{.last = {Term{1}, LogIndex{2}}, .end_offset = Offset{2}, .running_max_timestamp_ms = 1000};
  ASSERT_THAT(ReplaceBy({.anchor = anchor}), IsOk());
  ASSERT_THAT(Append({"C"}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("C")));
}

TEST_P(AppendTest, SnapshotAndEntriesAfterItInOneTask) {
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  const LogAnchor anchor{.last = {Term{4}, LogIndex{10}}, .end_offset = Offset{20}};
  EntryMaker make(kGroup, Term{4});
  make.ContinueAfter(anchor);
  ASSERT_THAT(Write({.group = kGroup, .snapshot = SnapshotMeta{.anchor = anchor}, .replace_log = true, .entries = {make.Data("k")}}),
              IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("k")); EXPECT_EQ(BoundsOf(kGroup).start, anchor));
}

TEST_P(AppendTest, TrimAndOverwriteInOneTask) {
  ASSERT_THAT(Append({"a", "b", "c", "d"}), IsOk());
  EntryMaker make(kGroup, Term{2});
  make.ContinueAfter(AnchorAt(LogIndex{2}));
  ASSERT_THAT(Write({.group = kGroup, .snapshot = SnapshotMeta{.anchor = AnchorAt(LogIndex{1})}, .entries = {make.Data("C")}}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("b", "C")));
}

TEST_P(AppendTest, SnapshotMetadataComesBack) {
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  const SnapshotMeta meta{.anchor = AnchorAt(LogIndex{1}),
                          .configuration = Bytes::Static("members"),
                          .id = 99,
                          .bytes = 12345,
                          .chunks = 3,
                          .checksum = 0xABCD};
  ASSERT_THAT(Write({.group = kGroup, .snapshot = meta}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(Loaded().snapshot, meta));
}

TEST_P(AppendTest, ATaskIsAllOrNothing) {
  ASSERT_THAT(Append({"a"}), IsOk());
  EntryMaker make = AtEnd();
  (void)make.Data("skipped");
  WriteTask task{.group = kGroup, .entries = {make.Data("c")}, .hard_state = HardState{.term = Term{9}}};
  task.state.push_back({StateWrite::Kind::kPut, "key", Bytes::Static("value")});
  EXPECT_THAT(Write(task), FailsWith(Reason::kInvalidArgument));
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("a")); EXPECT_EQ(Loaded().hard_state, HardState{});
                                  EXPECT_EQ(Row("key"), "(none)"));
}

// --- Term runs and configurations: what Load tells without reading the log.

TEST_P(AppendTest, TermRunsCoverTheLog) {
  ASSERT_THAT(Append({"a", "b"}, Term{1}), IsOk());
  ASSERT_THAT(Append({"c"}, Term{4}), IsOk());
  ASSERT_THAT(Append({"d"}, Term{4}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Loaded().terms, ElementsAre(TermRun{LogIndex{1}, Term{1}}, TermRun{LogIndex{3}, Term{4}})));
}

TEST_P(AppendTest, TermRunsFollowAnOverwrite) {
  ASSERT_THAT(Append({"a", "b"}, Term{1}), IsOk());
  ASSERT_THAT(Append({"c", "d"}, Term{2}), IsOk());
  ASSERT_THAT(Overwrite(LogIndex{2}, {"B"}, Term{3}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Loaded().terms, ElementsAre(TermRun{LogIndex{1}, Term{1}}, TermRun{LogIndex{2}, Term{3}})));
}

TEST_P(AppendTest, TermRunsFollowATrim) {
  ASSERT_THAT(Append({"a", "b"}, Term{1}), IsOk());
  ASSERT_THAT(Append({"c", "d"}, Term{2}), IsOk());
  ASSERT_THAT(TrimTo(LogIndex{3}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Loaded().terms, ElementsAre(TermRun{LogIndex{4}, Term{2}})));
  ASSERT_THAT(TrimTo(LogIndex{4}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Loaded().terms, IsEmpty()); EXPECT_EQ(BoundsOf(kGroup).start.last.term, Term{2}));
}

TEST_P(AppendTest, ConfigurationsAreListedInOrder) {
  EntryMaker make = AtEnd();
  const Entry first = make.Configuration("1,2,3");
  const Entry data = make.Data("a");
  const Entry second = make.Configuration("1,2,4");
  ASSERT_THAT(Append({first, data, second}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Loaded().configurations, ElementsAre(first, second)));
}

TEST_P(AppendTest, AnOverwrittenConfigurationIsForgotten) {
  EntryMaker make = AtEnd();
  const Entry kept = make.Configuration("1,2,3");
  const Entry gone = make.Configuration("1,2,4");
  ASSERT_THAT(Append({kept, gone, make.Data("x")}), IsOk());
  ASSERT_THAT(Overwrite(LogIndex{2}, {"y"}, Term{2}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Loaded().configurations, ElementsAre(kept)));
}

TEST_P(AppendTest, ATrimmedConfigurationIsForgotten) {
  EntryMaker make = AtEnd();
  const Entry gone = make.Configuration("1,2,3");
  const Entry kept = make.Configuration("1,2,4");
  ASSERT_THAT(Append({gone, kept}), IsOk());
  ASSERT_THAT(TrimTo(LogIndex{1}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Loaded().configurations, ElementsAre(kept)));
}

TEST_P(AppendTest, ReplacingTheLogForgetsItsTermsAndConfigurations) {
  EntryMaker make = AtEnd(Term{1});
  ASSERT_THAT(Append({make.Configuration("1,2,3"), make.InTerm(Term{2}).Data("a")}), IsOk());
  ASSERT_THAT(ReplaceBy({.anchor = {.last = {Term{1}, LogIndex{1}}}}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Loaded().terms, IsEmpty()); EXPECT_THAT(Loaded().configurations, IsEmpty()));
}

}  // namespace
}  // namespace flotilla::storage
