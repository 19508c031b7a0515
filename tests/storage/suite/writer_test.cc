// The queue, the order of completions, and what happens when the disk is full or fails. log_store.h, LogWriter.
#include <map>

#include "tests/storage/suite/store_test.h"

namespace flotilla::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class WriterTest : public StoreTest {
 protected:
  // Submits without waiting.
  Status Queue(WriteTask task) { return store().Submit(std::move(task), sink_); }
  bool AllDone(size_t count) {
    machine().Drive();
    return sink_.WaitFor(count);
  }
  std::vector<uint64_t> TokensOf(GroupId group) {
    std::vector<uint64_t> tokens;
    for (const WriteDone& done : sink_.done()) {
      if (done.group == group) tokens.push_back(done.token);
    }
    return tokens;
  }

  RecordingSink sink_;
};
FLOTILLA_STORE_SUITE(WriterTest);

TEST_P(WriterTest, TasksOfAGroupCompleteInTheirOrderWithTheirTokens) {
  EntryMaker make = AtEnd();
  for (uint64_t token = 1; token <= 100; ++token) {
    ASSERT_THAT(Queue({.group = kGroup, .token = token, .entries = {make.Data("x")}}), IsOk());
  }
  ASSERT_TRUE(AllDone(100));
  const std::vector<uint64_t> tokens = TokensOf(kGroup);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_EQ(tokens[i], i + 1);
  EXPECT_THAT(All(), SizeIs(100));
}

TEST_P(WriterTest, TasksThatWaitedTogetherShareASync) {
  EntryMaker make = AtEnd();
  const uint64_t before = store().Counters().syncs;
  machine().HoldSyncs();
  for (uint64_t token = 1; token <= 50; ++token) {
    ASSERT_THAT(Queue({.group = kGroup, .token = token, .entries = {make.Data("x")}}), IsOk());
  }
  machine().ReleaseSyncs();
  ASSERT_TRUE(AllDone(50));
  EXPECT_LE(store().Counters().syncs - before, 3u) << "one under way when the rest came, one or two for the rest";
}

TEST_P(WriterTest, AnOverwriteQueuedBehindItsAppendSeesIt) {
  EntryMaker make = AtEnd();
  machine().HoldSyncs();
  ASSERT_THAT(Queue({.group = kGroup, .entries = {make.Data("a"), make.Data("b"), make.Data("c")}}), IsOk());
  EntryMaker next = EntryMaker(kGroup);
  next.Data("a");
  next.InTerm(Term{2});
  ASSERT_THAT(Queue({.group = kGroup, .entries = {next.Data("B")}}), IsOk());
  ASSERT_THAT(Queue({.group = kGroup, .snapshot = SnapshotMeta{.anchor = AnchorAfter(EntryMaker(kGroup).Data("a").header)}}), IsOk());
  ASSERT_THAT(Queue({.group = kGroup, .entries = {next.Data("C")}}), IsOk());
  machine().ReleaseSyncs();
  ASSERT_TRUE(AllDone(4));
  for (const WriteDone& done : sink_.done()) EXPECT_THAT(done.status, IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("B", "C")));
}

TEST_P(WriterTest, CreateFillDestroyAndCreateAgainWithoutWaiting) {
  machine().HoldSyncs();
  ASSERT_THAT(Queue({.group = kOther, .create = kIdentity}), IsOk());
  ASSERT_THAT(Queue({.group = kOther, .entries = {EntryMaker(kOther).Data("old")}}), IsOk());
  ASSERT_THAT(Queue({.group = kOther, .destroy = true}), IsOk());
  ASSERT_THAT(Queue({.group = kOther, .create = kIdentity}), IsOk());
  ASSERT_THAT(Queue({.group = kOther, .entries = {EntryMaker(kOther).Data("new")}}), IsOk());
  machine().ReleaseSyncs();
  ASSERT_TRUE(AllDone(5));
  for (const WriteDone& done : sink_.done()) EXPECT_THAT(done.status, IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(kOther), ElementsAre("new")));
}

TEST_P(WriterTest, ARefusedTaskDoesNotStopTheOthersOfItsBatch) {
  EntryMaker make = AtEnd();
  ASSERT_THAT(Create(kOther), IsOk());
  machine().HoldSyncs();
  ASSERT_THAT(Queue({.group = kGroup, .token = 1, .entries = {make.Data("a")}}), IsOk());
  ASSERT_THAT(Queue({.group = kGroup, .token = 2, .create = kIdentity}), IsOk());
  ASSERT_THAT(Queue({.group = kOther, .token = 3, .entries = {EntryMaker(kOther).Data("x")}}), IsOk());
  ASSERT_THAT(Queue({.group = kGroup, .token = 4, .entries = {make.Data("b")}}), IsOk());
  machine().ReleaseSyncs();
  ASSERT_TRUE(AllDone(4));
  std::map<uint64_t, Reason> outcomes;
  for (const WriteDone& done : sink_.done()) outcomes[done.token] = done.status.reason();
  EXPECT_EQ(outcomes, (std::map<uint64_t, Reason>{{1, Reason::kNone}, {2, Reason::kGroupExists}, {3, Reason::kNone}, {4, Reason::kNone}}));
  EXPECT_THAT(TokensOf(kGroup), ElementsAre(1, 2, 4));
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("a", "b")); EXPECT_THAT(All(kOther), ElementsAre("x")));
}

TEST_P(WriterTest, AnEmptyTaskCompletesInItsTurnAndCostsNoSync) {
  ASSERT_THAT(Append({"a"}), IsOk());
  const uint64_t before = store().Counters().syncs;
  ASSERT_THAT(Write({.group = kGroup, .token = 1}), IsOk());
  EXPECT_EQ(store().Counters().syncs, before);

  EntryMaker make = AtEnd();
  machine().HoldSyncs();
  ASSERT_THAT(Queue({.group = kGroup, .token = 1, .entries = {make.Data("b")}}), IsOk());
  ASSERT_THAT(Queue({.group = kGroup, .token = 2}), IsOk());
  ASSERT_THAT(Queue({.group = kGroup, .token = 3, .entries = {make.Data("c")}}), IsOk());
  machine().ReleaseSyncs();
  ASSERT_TRUE(AllDone(3));
  EXPECT_THAT(TokensOf(kGroup), ElementsAre(1, 2, 3));
}

TEST_P(WriterTest, AGreedyGroupDoesNotKeepAnotherWaiting) {
  ASSERT_THAT(Create(kOther), IsOk());
  EntryMaker greedy = AtEnd();
  const std::string large(256 * limits::kKiB, 'x');
  machine().HoldSyncs();
  for (uint64_t token = 1; token <= 64; ++token) {
    ASSERT_THAT(Queue({.group = kGroup, .token = token, .entries = {greedy.Data(large)}}), IsOk());
  }
  ASSERT_THAT(Queue({.group = kOther, .token = 1000, .entries = {EntryMaker(kOther).Data("small")}}), IsOk());
  machine().ReleaseSyncs();
  ASSERT_TRUE(AllDone(65));
  size_t place = 0;
  const std::vector<WriteDone> done = sink_.done();
  while (done[place].group != kOther) ++place;
  // At most the batch that was under way, and the greedy group's share of the next one, go first.
  EXPECT_LE(place, 2 * limits::kWriteGroupBytesMax / large.size()) << "16 MiB were queued before it";
}

TEST_P(WriterTest, EachSinkHearsOfItsOwnTasks) {
  ASSERT_THAT(Create(kOther), IsOk());
  RecordingSink other;
  EntryMaker make = AtEnd();
  ASSERT_THAT(Queue({.group = kGroup, .token = 1, .entries = {make.Data("a")}}), IsOk());
  ASSERT_THAT(store().Submit({.group = kOther, .token = 2, .entries = {EntryMaker(kOther).Data("b")}}, other), IsOk());
  ASSERT_TRUE(AllDone(1));
  ASSERT_TRUE(other.WaitFor(1));
  EXPECT_EQ(sink_.done().front().token, 1u);
  EXPECT_EQ(other.done().front().token, 2u);
}

TEST_P(WriterTest, AFullQueueRefusesAndTakesNothing) {
  EntryMaker make = AtEnd();
  const Bytes large = Bytes::Copy(std::string(limits::kEntryPayloadBytesMax, 'x'));  // shared by all entries
  machine().HoldSyncs();
  Status refused;
  uint64_t accepted = 0;
  while (refused.ok() && accepted < 100) {
    refused = Queue({.group = kGroup, .token = accepted + 1, .entries = {make.Data(large)}});
    if (refused.ok()) ++accepted;
  }
  EXPECT_THAT(refused, FailsWith(Reason::kOverloaded));
  EXPECT_LT(accepted, 40u);
  machine().ReleaseSyncs();
  ASSERT_TRUE(AllDone(accepted));
  EXPECT_EQ(BoundsOf(kGroup).last_index(), LogIndex{accepted});
  EXPECT_EQ(store().Counters().queue_bytes, 0u);
  EXPECT_EQ(store().Counters().queue_tasks, 0u);
}

TEST_P(WriterTest, CountersCount) {
  const StoreCounters before = store().Counters();
  ASSERT_THAT(Append({"aaaa", "bbbb"}), IsOk());
  const StoreCounters after = store().Counters();
  EXPECT_EQ(after.tasks - before.tasks, 1u);
  EXPECT_EQ(after.entries - before.entries, 2u);
  EXPECT_EQ(after.syncs - before.syncs, 1u);
  EXPECT_GE(after.bytes_written - before.bytes_written, 8u);
  EXPECT_FALSE(after.failed);
}

// --- A full disk

TEST_P(WriterTest, BelowTheReserveOnlyWhatGrowsIsRefused) {
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  ASSERT_THAT(Put("key", "value"), IsOk());
  machine().SetFreeBytes(limits::kDiskReserveBytes - 1);
  const Status refused = Append({"c"});
  EXPECT_THAT(refused, FailsWith(Reason::kDiskFull));
  EXPECT_EQ(refused.Detail("free_bytes"), std::to_string(limits::kDiskReserveBytes - 1));
  EXPECT_THAT(Put("key", "more"), FailsWith(Reason::kDiskFull));
  EXPECT_THAT(Create(kOther), FailsWith(Reason::kDiskFull));
  EXPECT_THAT(Write({.group = kGroup, .chunks = {{.id = 1, .number = 1, .data = Bytes::Static("x")}}}), FailsWith(Reason::kDiskFull));

  // A partition's log is cut behind a snapshot of one chunk.
  EXPECT_THAT(Write({.group = kGroup, .chunks = {{.id = 1, .number = 0, .data = Bytes::Static("x")}}}), IsOk());
  EXPECT_THAT(Vote({.term = Term{2}, .voted_for = kIdentity.self}), IsOk());
  EXPECT_THAT(TrimTo(LogIndex{1}), IsOk());
  EXPECT_THAT(Write({.group = kGroup, .drop_snapshots = {1}}), IsOk());
  EXPECT_THAT(store().health(), IsOk());
  EXPECT_EQ(store().Counters().refused_disk_full, 4u);
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("b")); EXPECT_EQ(Loaded().hard_state.term, Term{2});
                                  EXPECT_EQ(Row("key"), "value"));
}

TEST_P(WriterTest, WithSpaceAgainAppendsGoOn) {
  machine().SetFreeBytes(0);
  ASSERT_THAT(Append({"a"}), FailsWith(Reason::kDiskFull));
  machine().SetFreeBytes(uint64_t{1} << 40);
  ASSERT_THAT(Append({"a"}), IsOk());
  EXPECT_THAT(All(), ElementsAre("a"));
}

TEST_P(WriterTest, AGroupCanBeDestroyedOnAFullDisk) {
  ASSERT_THAT(Append({"a"}), IsOk());
  machine().SetFreeBytes(0);
  ASSERT_THAT(Destroy(kGroup), IsOk());
  EXPECT_THAT(store().Groups(), IsEmpty());
}

// --- A failing disk

TEST_P(WriterTest, AFailedSyncIsFinal) {
  ASSERT_THAT(Append({"a"}), IsOk());
  EntryMaker make = AtEnd();
  machine().FailNextSync();
  EXPECT_THAT(Append({make.Data("b")}), FailsWith(Reason::kStorageFailed));
  EXPECT_THAT(store().health(), FailsWith(Reason::kStorageFailed));
  EXPECT_TRUE(store().Counters().failed);
  EXPECT_THAT(Append({make.Data("c")}), FailsWith(Reason::kStorageFailed));
  EXPECT_THAT(Vote({.term = Term{2}}), FailsWith(Reason::kStorageFailed));
  EXPECT_THAT(Write({.group = kGroup}), FailsWith(Reason::kStorageFailed));
  EXPECT_THAT(All(), ElementsAre("a")) << "what is durable is still read";
}

TEST_P(WriterTest, EverythingQueuedFailsWithTheSync) {
  EntryMaker make = AtEnd();
  machine().HoldSyncs();
  for (uint64_t token = 1; token <= 10; ++token) {
    ASSERT_THAT(Queue({.group = kGroup, .token = token, .entries = {make.Data("x")}}), IsOk());
  }
  machine().FailNextSync();
  machine().ReleaseSyncs();
  ASSERT_TRUE(AllDone(10));
  for (const WriteDone& done : sink_.done()) EXPECT_THAT(done.status, FailsWith(Reason::kStorageFailed));
  EXPECT_THAT(TokensOf(kGroup), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
}

TEST_P(WriterTest, AfterARestartWhatWasAcknowledgedBeforeTheFailureIsThere) {
  ASSERT_THAT(Append({"a"}), IsOk());
  machine().FailNextSync();
  EXPECT_THAT(Append({"b"}), FailsWith(Reason::kStorageFailed));
  PowerCutAndReopen();
  EXPECT_THAT(store().health(), IsOk());
  EXPECT_THAT(All(), ElementsAre("a"));
  ASSERT_THAT(Append({"c"}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("a", "c")));
}

}  // namespace
}  // namespace flotilla::storage
