// Scenes of fetching: where reading starts, what is visible, long polls, limits, where bytes come from.
#include "server/partition/fetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/base/crc32c.h"
#include "tests/unit/partition/partition_cluster.h"

namespace flotilla::partition {
namespace {

using testing::HasSubstr;

std::string FetchNow(PartitionCluster& cluster, const StartPosition& start, uint64_t id = 1) {
  const uint64_t token = cluster.Fetch(id, {.start = start});
  cluster.Settle();
  return cluster.Fetched(id, token);
}

PartitionCluster::Options NothingInMemory() { return {.store = {.tail_bytes = 1}, .raft_tail_bytes = 1}; }

// A leader with records [0,2) [2,3) [3,6).
class FetchTest : public testing::Test {
 protected:
  FetchTest() : FetchTest(PartitionCluster::Options{}) {}
  explicit FetchTest(const PartitionCluster::Options& options) : cluster(1, options) {
    cluster.WaitForLeader();
    cluster.Append(1, SetOf(2));
    cluster.Append(1, SetOf(1));
    cluster.Append(1, SetOf(3));
  }
  std::string FetchAt(const StartPosition& start) { return FetchNow(cluster, start); }
  std::string Located(const StartPosition& start) {
    const uint64_t token = cluster.Locate(1, start);
    cluster.Settle();
    return cluster.Fetched(1, token);
  }
  PartitionCluster cluster;
};

TEST_F(FetchTest, BeginsWhereItIsAskedTo) {
  EXPECT_EQ(FetchAt(Earliest{}), "[0,2) [2,3) [3,6) next 6");
  EXPECT_EQ(FetchAt(Offset{2}), "[2,3) [3,6) next 6");
  EXPECT_EQ(FetchAt(Offset{4}), "[3,6) next 6");  // whole batches: the first one begins earlier
  EXPECT_EQ(FetchAt(Latest{}), "next 6");
  EXPECT_EQ(FetchAt(LastRecords{1}), "[3,6) next 6");
  EXPECT_EQ(FetchAt(LastRecords{4}), "[2,3) [3,6) next 6");
  EXPECT_EQ(FetchAt(LastRecords{99}), "[0,2) [2,3) [3,6) next 6");
  EXPECT_EQ(FetchAt(LastRecords{0}), "next 6");
}

TEST_F(FetchTest, TellsBothEndsAndWhereItBegan) {
  const uint64_t token = cluster.Fetch(1, {.start = LastRecords{2}});
  cluster.Settle();
  const FetchResult& result = cluster.node(1).sinks.fetched.at(token);
  EXPECT_EQ(result.start_offset, Offset{4});
  EXPECT_EQ(result.next_offset, Offset{6});
  EXPECT_EQ(result.log_start_offset, Offset{0});
  EXPECT_EQ(result.high_watermark, Offset{6});
  EXPECT_EQ(result.batches.front().leader_epoch, Term{1});
  EXPECT_EQ(result.batches.front().records.view(), SetOf(3));
  EXPECT_EQ(result.batches.front().header.crc32c, crc32c::Value(SetOf(3)));
}

TEST_F(FetchTest, OutsideOfTheLogBothEndsAreNamed) {
  const uint64_t token = cluster.Fetch(1, {.start = Offset{7}});
  cluster.Settle();  // it makes sure that it leads before it says so
  EXPECT_EQ(cluster.Fetched(1, token), "OFFSET_OUT_OF_RANGE");
  const Status& status = cluster.node(1).sinks.fetched.at(token).status;
  EXPECT_EQ(status.Detail("log_start_offset"), "0");
  EXPECT_EQ(status.Detail("high_watermark"), "6");
  EXPECT_THAT(status.ToString(), HasSubstr("offset 7 is outside of [0, 6]; seek to one of the ends"));
}

TEST_F(FetchTest, LooksUpPlaces) {
  EXPECT_EQ(Located(Earliest{}), "next 0");
  EXPECT_EQ(Located(Latest{}), "next 6");
  EXPECT_EQ(Located(LastRecords{2}), "next 4");
  EXPECT_EQ(Located(Offset{9}), "OFFSET_OUT_OF_RANGE");
}

TEST(FetchTimeTest, ATimeIsFoundToTheRecord) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  cluster.Append(1, EncodeSet({{.timestamp_ms = 10}, {.timestamp_ms = 20}}));
  cluster.Append(1, EncodeSet({{.timestamp_ms = 5}, {.timestamp_ms = 15}}));  // late ones
  const std::string compressed = EncodeSet({{.timestamp_ms = 30}, {.timestamp_ms = 40}});
  cluster.Produce(1, {.batch = PreparedCompressed(Codec::kLz4, compressed, 2)});
  cluster.Settle();
  const auto start_of = [&](int64_t time) {
    const uint64_t token = cluster.Fetch(1, {.start = AtTime{time}});
    cluster.Settle();
    return cluster.node(1).sinks.fetched.at(token).start_offset.value();
  };
  EXPECT_EQ(start_of(0), 0u);
  EXPECT_EQ(start_of(10), 0u);
  EXPECT_EQ(start_of(11), 1u);
  EXPECT_EQ(start_of(21), 4u);
  EXPECT_EQ(start_of(40), 4u);  // in a compressed batch: the batch's first
  EXPECT_EQ(start_of(41), 6u);  // all are older: the end
}

TEST(FetchTimeTest, ATimeInATrimmedPartIsFoundAtTheStart) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  cluster.Append(1, EncodeSet({{.timestamp_ms = 10}, {.timestamp_ms = 20}}));
  cluster.Append(1, EncodeSet({{.timestamp_ms = 30}}));
  cluster.Trim(1, 1);
  cluster.Settle();
  const uint64_t token = cluster.Fetch(1, {.start = AtTime{5}});
  cluster.Settle();
  EXPECT_EQ(cluster.node(1).sinks.fetched.at(token).start_offset, Offset{1});
}

// --- What is visible

TEST(FetchVisibilityTest, OnlyWhatIsCommitted) {
  PartitionCluster cluster(3);
  cluster.WaitForLeader();
  cluster.Append(1, SetOf(1));
  cluster.node(2).hold_disk = cluster.node(3).hold_disk = true;
  cluster.Produce(1, SetOf(1));
  cluster.Settle();
  EXPECT_EQ(FetchNow(cluster, Earliest{}), "[0,1) next 1");
  EXPECT_EQ(FetchNow(cluster, Offset{2}), "OFFSET_OUT_OF_RANGE");
}

TEST(FetchVisibilityTest, ANewLeaderAnswersNobodyBeforeItIsSure) {
  PartitionCluster cluster(3);
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.Append(1, SetOf(1));
  ASSERT_TRUE(cluster.host(1).TransferLeadership(kGroup, {NodeId{2}, 1}).ok());
  const auto leadership = [&] { return cluster.partition(2).status().leadership; };
  while (leadership().role != raft::Role::kLeader) cluster.Rounds(1);
  ASSERT_FALSE(leadership().surely);
  EXPECT_EQ(cluster.Fetched(2, cluster.Fetch(2, {.start = Earliest{}})), "NO_LEADER");
  EXPECT_EQ(cluster.Fetched(2, cluster.Locate(2, Latest{})), "NO_LEADER");
  EXPECT_EQ(cluster.Produced(2, cluster.Produce(2, SetOf(1))), "NO_LEADER");
  cluster.Settle();
  ASSERT_TRUE(leadership().surely);
  EXPECT_EQ(FetchNow(cluster, Earliest{}, 2), "[0,1) next 1");
}

TEST(FetchVisibilityTest, AFollowerSaysWhoLeads) {
  PartitionCluster cluster(3);
  cluster.WaitForLeader();
  cluster.Ticks(3);
  EXPECT_EQ(FetchNow(cluster, Earliest{}, 2), "NOT_LEADER");
}

TEST(FetchVisibilityTest, ALongPollEndsWhenTheLeadershipDoes) {
  PartitionCluster cluster(3);
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  const uint64_t token = cluster.Fetch(1, {.start = Latest{}, .deadline = cluster.now(1) + 1000});
  cluster.Isolate(1);
  cluster.Ticks(60);
  EXPECT_EQ(cluster.Fetched(1, token), "NO_LEADER");
}

TEST(FetchVisibilityTest, ALeaderThatLostItsQuorumDoesNotLocate) {
  PartitionCluster cluster(3);
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.Append(1, SetOf(2));
  const uint64_t good = cluster.Locate(1, Latest{});
  cluster.Settle();
  EXPECT_EQ(cluster.Fetched(1, good), "next 2");
  cluster.Isolate(1);
  const uint64_t stale = cluster.Locate(1, Latest{});
  cluster.Ticks(3);
  EXPECT_EQ(cluster.Fetched(1, stale), "waiting");
  cluster.Ticks(60);
  EXPECT_EQ(cluster.Fetched(1, stale), "NO_LEADER");
}

// --- Waiting

TEST_F(FetchTest, ALongPollIsWokenByTheNextRecord) {
  const uint64_t token = cluster.Fetch(1, {.start = Latest{}, .deadline = cluster.now(1) + 100});
  cluster.Ticks(50);
  EXPECT_EQ(cluster.Fetched(1, token), "waiting");
  cluster.Append(1, SetOf(2));
  EXPECT_EQ(cluster.Fetched(1, token), "[6,8) next 8");
}

TEST_F(FetchTest, ALongPollEndsEmptyAtItsDeadline) {
  const uint64_t token = cluster.Fetch(1, {.start = Latest{}, .deadline = cluster.now(1) + 5});
  cluster.Ticks(4);
  EXPECT_EQ(cluster.Fetched(1, token), "waiting");
  cluster.Ticks(1);
  EXPECT_EQ(cluster.Fetched(1, token), "next 6");
}

TEST_F(FetchTest, MinBytesWaitsForEnough) {
  const uint64_t token = cluster.Fetch(1, {.start = Offset{3}, .min_bytes = 300, .deadline = cluster.now(1) + 100});
  cluster.Settle();
  EXPECT_EQ(cluster.Fetched(1, token), "waiting");  // 55 bytes are there
  cluster.Append(1, SetOf(1, std::string(100, 'x')));
  EXPECT_EQ(cluster.Fetched(1, token), "waiting");
  cluster.Append(1, SetOf(1, std::string(100, 'x')));
  EXPECT_EQ(cluster.Fetched(1, token), "[3,6) [6,7) [7,8) next 8");
}

TEST_F(FetchTest, AtTheDeadlineThereIsWhatThereIs) {
  const uint64_t token = cluster.Fetch(1, {.start = Offset{3}, .min_bytes = 10'000, .deadline = cluster.now(1) + 3});
  cluster.Ticks(3);
  EXPECT_EQ(cluster.Fetched(1, token), "[3,6) next 6");
}

TEST_F(FetchTest, AControlEntryWakesNobody) {
  const uint64_t token = cluster.Fetch(1, {.start = Latest{}, .deadline = cluster.now(1) + 100});
  cluster.Trim(1, 1);
  cluster.Settle();
  EXPECT_EQ(cluster.Fetched(1, token), "waiting");
}

TEST_F(FetchTest, ACancelledCallIsNotAnswered) {
  Sinks& sinks = cluster.node(1).sinks;
  const Result<uint64_t> ticket = cluster.partition(1).Fetch({.start = Latest{}, .deadline = cluster.now(1) + 9}, 77, sinks);
  cluster.Fetch(1, {.start = Latest{}, .deadline = cluster.now(1) + 9});
  cluster.partition(1).CancelFetch(*ticket);
  EXPECT_EQ(cluster.partition(1).status().fetch.waiting, 1u);
  cluster.partition(1).Forget(static_cast<FetchSink&>(sinks));
  EXPECT_EQ(cluster.partition(1).status().fetch.waiting, 0u);
  cluster.Append(1, SetOf(1));
  cluster.Ticks(10);
  EXPECT_TRUE(sinks.fetched.empty());
}

TEST(FetchLimitTest, TooManyWaitersAreRefused) {
  PartitionCluster cluster(1, {.partition = {.fetch_calls_max = 2}});
  cluster.WaitForLeader();
  const FetchCall poll{.start = Latest{}, .deadline = 1000};
  cluster.Fetch(1, poll);
  cluster.Fetch(1, poll);
  EXPECT_EQ(cluster.Fetched(1, cluster.Fetch(1, poll)), "OVERLOADED");
}

// --- How much

TEST_F(FetchTest, StopsAtMaxBytesButReturnsOneBatch) {
  const auto fetch = [&](size_t max_bytes) {
    const uint64_t token = cluster.Fetch(1, {.start = Earliest{}, .max_bytes = max_bytes});
    cluster.Settle();
    return cluster.Fetched(1, token);
  };
  const size_t first = kBatchHeaderBytes + SetOf(2).size();
  const size_t second = kBatchHeaderBytes + SetOf(1).size();
  EXPECT_EQ(fetch(0), "[0,2) next 2");
  EXPECT_EQ(fetch(first), "[0,2) next 2");
  // Limits of the log count its own bytes of an entry, too.
  EXPECT_EQ(fetch(first + second + 2 * storage::Entry::kEntryOverheadBytes), "[0,2) [2,3) next 3");
}

TEST(FetchLimitTest, ABatchLargerThanTheLimitIsReturnedAlone) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  cluster.Append(1, SetOf(1, std::string(500'000, 'x')));
  cluster.Append(1, SetOf(1));
  const uint64_t token = cluster.Fetch(1, {.start = Earliest{}, .max_bytes = 1000});
  cluster.Settle();
  EXPECT_EQ(cluster.Fetched(1, token), "[0,1) next 1");
}

// --- Where the bytes come from

TEST_F(FetchTest, ATailReaderIsServedFromMemoryAndKeepsItsPlace) {
  EXPECT_EQ(FetchAt(Offset{3}), "[3,6) next 6");  // looked up once
  const uint64_t looked_up = cluster.partition(1).status().fetch.places_looked_up;
  uint64_t next = 6;
  for (int i = 0; i < 20; ++i) {
    cluster.Append(1, SetOf(1));
    EXPECT_EQ(FetchAt(Offset{next}), "[" + std::to_string(next) + "," + std::to_string(next + 1) + ") next " + std::to_string(next + 1));
    ++next;
  }
  const FetchCounters counters = cluster.partition(1).status().fetch;
  EXPECT_EQ(counters.places_looked_up, looked_up);
  EXPECT_EQ(counters.from_disk, 0u);
}

class ColdFetchTest : public FetchTest {
 protected:
  ColdFetchTest() : FetchTest(NothingInMemory()) {}
};

TEST_F(ColdFetchTest, WhatIsNotInMemoryIsReadOnAReader) {
  cluster.node(1).hold_readers = true;
  const uint64_t token = cluster.Fetch(1, {.start = Offset{2}});
  cluster.Settle();
  EXPECT_EQ(cluster.Fetched(1, token), "waiting");
  cluster.node(1).hold_readers = false;
  cluster.Settle();
  EXPECT_EQ(cluster.Fetched(1, token), "[2,3) [3,6) next 6");
  EXPECT_GT(cluster.partition(1).status().fetch.from_disk, 0u);
}

TEST_F(ColdFetchTest, ASequentialReaderLooksItsPlaceUpOnce) {
  uint64_t next = 0;
  std::string all;
  while (next < 6) {
    const uint64_t token = cluster.Fetch(1, {.start = Offset{next}, .max_bytes = 1});
    cluster.Settle();
    all += cluster.Fetched(1, token) + "; ";
    next = cluster.node(1).sinks.fetched.at(token).next_offset.value();
  }
  EXPECT_EQ(all, "[0,2) next 2; [2,3) next 3; [3,6) next 6; ");
  EXPECT_EQ(cluster.partition(1).status().fetch.places_looked_up, 1u);
}

TEST_F(ColdFetchTest, APlaceThatWasCutOffIsLookedUpAnew) {
  EXPECT_EQ(FetchAt(Offset{3}), "[3,6) next 6");  // the next one is at the next entry
  cluster.Trim(1, 6);                             // which is this one, and goes with what it trims
  cluster.Ticks(5);
  ASSERT_EQ(cluster.Append(1, SetOf(1)), 6u);
  cluster.Append(1, SetOf(1));
  EXPECT_EQ(FetchAt(Offset{6}), "[6,7) [7,8) next 8");
}

TEST_F(ColdFetchTest, ADamagedEntryIsDataLossAndNotAnEmptyAnswer) {
  const storage::GroupImage* image = cluster.node(1).disk.Find(kGroup);
  ASSERT_TRUE(cluster.node(1).disk.FlipBit(kGroup, image->entries.back().index(), 9));
  EXPECT_EQ(FetchAt(Offset{3}), "DATA_LOSS");
}

// Others have what is damaged here: they take over, and this replica serves nothing any more.
TEST(DamagedReplicaTest, AnotherReplicaTakesItsPlace) {
  PartitionCluster cluster(3, NothingInMemory());
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.Append(1, SetOf(2));
  cluster.Append(1, SetOf(1));
  cluster.Ticks(3);
  const storage::GroupImage* image = cluster.node(1).disk.Find(kGroup);
  ASSERT_TRUE(cluster.node(1).disk.FlipBit(kGroup, image->entries.back().index() - 1, 9));
  const uint64_t waiting = cluster.Fetch(1, {.start = Latest{}, .deadline = cluster.now(1) + 1000});
  const uint64_t damaged = cluster.Fetch(1, {.start = Earliest{}});
  cluster.Settle();
  EXPECT_EQ(cluster.Fetched(1, damaged), "NO_LEADER");
  EXPECT_EQ(cluster.Fetched(1, waiting), "NO_LEADER");
  EXPECT_EQ(cluster.partition(1).fault().reason(), Reason::kDataLoss);
  const uint64_t leader = cluster.WaitForLeader();
  ASSERT_NE(leader, 1u);
  EXPECT_EQ(FetchNow(cluster, Earliest{}, leader), "[0,2) [2,3) next 3");
  EXPECT_EQ(cluster.Append(leader, SetOf(1)), 3u);
  const uint64_t refused = cluster.Produce(1, SetOf(1));
  cluster.Ticks(5);
  EXPECT_EQ(cluster.Produced(1, refused), "NO_LEADER");
  // It does not vote either: with one of the others gone nobody leads.
  cluster.Kill(leader);
  cluster.Ticks(100);
  EXPECT_EQ(cluster.Leader(), 0u);
}

TEST_F(ColdFetchTest, APartitionThatGoesAwayLeavesNobodyWaiting) {
  cluster.node(1).hold_readers = true;
  const uint64_t reading = cluster.Fetch(1, {.start = Offset{2}});
  const uint64_t polling = cluster.Fetch(1, {.start = Latest{}, .deadline = cluster.now(1) + 100});
  cluster.Settle();
  cluster.host(1).CloseGroup(kGroup);
  cluster.node(1).partition.reset();
  EXPECT_EQ(cluster.Fetched(1, reading), "CANCELLED");
  EXPECT_EQ(cluster.Fetched(1, polling), "CANCELLED");
  cluster.node(1).hold_readers = false;
  cluster.Settle();  // the reader comes back to nobody
}

// --- Codecs

TEST(FetchCodecTest, ACompressedBatchComesAsItWasSentAndIsDecompressedOnDemand) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  const std::string set = SetOf(100, "again and again");
  for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
    cluster.Produce(1, {.batch = PreparedCompressed(codec, set, 100)});
  }
  cluster.Settle();
  const uint64_t token = cluster.Fetch(1, {.start = Earliest{}});
  cluster.Settle();
  FetchResult& result = cluster.node(1).sinks.fetched.at(token);
  ASSERT_EQ(result.batches.size(), 2u);
  EXPECT_EQ(result.batches[0].records.view(), Lz4(set));
  EXPECT_EQ(result.batches[1].records.view(), Zstd(set));
  Decompressor decompressor;
  for (FetchedBatch& batch : result.batches) {
    ASSERT_TRUE(DecompressBatch(&batch, decompressor).ok());
    EXPECT_EQ(batch.records.view(), set);
    EXPECT_EQ(batch.header.codec, Codec::kNone);
    EXPECT_EQ(batch.header.uncompressed_bytes, 0u);
    EXPECT_EQ(batch.header.crc32c, crc32c::Value(set));
  }
}

// --- Trimming

TEST_F(FetchTest, WhatIsTrimmedIsOutOfRangeAtOnce) {
  const uint64_t trim = cluster.Trim(1, 4);
  cluster.Settle();
  EXPECT_TRUE(cluster.node(1).sinks.trimmed.at(trim).ok());
  EXPECT_EQ(FetchAt(Offset{3}), "OFFSET_OUT_OF_RANGE");
  EXPECT_EQ(FetchAt(Earliest{}), "[3,6) next 6");
  EXPECT_EQ(FetchAt(LastRecords{99}), "[3,6) next 6");
  EXPECT_EQ(cluster.partition(1).log_start(), Offset{4});
}

TEST_F(FetchTest, ALogCannotBeginAfterItsEndNorGoBack) {
  const uint64_t beyond = cluster.Trim(1, 7);
  cluster.Settle();  // it makes sure that it leads before it says so
  EXPECT_EQ(cluster.node(1).sinks.trimmed.at(beyond).reason(), Reason::kOffsetOutOfRange);
  cluster.Trim(1, 3);
  cluster.Settle();
  const uint64_t back = cluster.Trim(1, 1);
  EXPECT_TRUE(cluster.node(1).sinks.trimmed.at(back).ok());
  EXPECT_EQ(cluster.partition(1).log_start(), Offset{3});
}

TEST_F(FetchTest, TheEntriesGoFromTheDiskSoon) {
  cluster.Trim(1, 4);
  cluster.Ticks(5);
  const storage::GroupImage* image = cluster.node(1).disk.Find(kGroup);
  EXPECT_EQ(image->state.bounds.start.end_offset, Offset{3});  // the batch that holds 4 stays
  cluster.Trim(1, 6);
  cluster.Ticks(5);
  EXPECT_EQ(cluster.node(1).disk.Find(kGroup)->state.bounds.start.end_offset, Offset{6});
  EXPECT_EQ(FetchAt(Earliest{}), "next 6");
  EXPECT_EQ(cluster.Append(1, SetOf(2)), 6u);
  EXPECT_EQ(FetchAt(Earliest{}), "[6,8) next 8");
}

TEST_F(FetchTest, AFullDiskCanStillBeTrimmed) {
  cluster.node(1).disk.SetFreeBytes(1);
  cluster.Trim(1, 4);
  cluster.Settle();
  EXPECT_EQ(cluster.partition(1).log_start(), Offset{4});
  EXPECT_EQ(FetchAt(Earliest{}), "[3,6) next 6");
  // The entries go when there is room for the snapshot that replaces them.
  cluster.node(1).disk.SetFreeBytes(uint64_t{1} << 40);
  cluster.Ticks(110);
  EXPECT_EQ(cluster.node(1).disk.Find(kGroup)->state.bounds.start.end_offset, Offset{3});
}

TEST_F(FetchTest, ATrimOutlivesARestart) {
  cluster.ProduceSequence(1, 0, 2);
  cluster.Settle();
  cluster.Trim(1, 8);
  cluster.Ticks(5);
  cluster.Append(1, SetOf(1));
  cluster.Restart(1);
  cluster.WaitForLeader();
  EXPECT_EQ(cluster.partition(1).log_start(), Offset{8});
  EXPECT_EQ(FetchAt(Earliest{}), "[8,9) next 9");
  // Although its entry is gone.
  EXPECT_EQ(cluster.Produced(1, cluster.ProduceSequence(1, 0, 2)), "duplicate at 6");
}

// As of a batch that is refused (ProduceTest): a released read does not say who leads.
TEST(FetchTrimTest, ALeaderThatWasDeposedMeanwhileDoesNotSayWhereTheLogEnds) {
  PartitionCluster cluster(3, NothingInMemory());
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.node(1).hold_readers = true;  // what is committed will be applied later
  cluster.Produce(1, SetOf(1));
  cluster.Settle();
  const uint64_t beyond = cluster.Trim(1, 4);
  cluster.Settle();
  ASSERT_FALSE(cluster.node(1).sinks.trimmed.contains(beyond));
  cluster.Isolate(1);
  cluster.Ticks(60);
  const uint64_t leader = cluster.WaitForLeader();
  ASSERT_NE(leader, 1u);
  cluster.Append(leader, SetOf(5));  // the log ends at 6 now
  cluster.node(1).hold_readers = false;
  cluster.Settle();
  EXPECT_EQ(cluster.node(1).sinks.trimmed.at(beyond).reason(), Reason::kNoLeader);
}

TEST(FetchTrimTest, AReplicaThatWasAwayBeginsWithTheSnapshot) {
  PartitionCluster cluster(3, {.keep_entries_for_followers = 0});
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.Kill(3);
  cluster.ProduceSequence(1, 0, 2);
  for (int i = 0; i < 10; ++i) cluster.Append(1, SetOf(1));
  cluster.Trim(1, 11);
  cluster.Ticks(5);
  ASSERT_EQ(cluster.node(1).disk.Find(kGroup)->state.bounds.start.end_offset, Offset{11});
  cluster.Boot(3);
  cluster.Ticks(40);
  EXPECT_EQ(cluster.node(3).disk.Find(kGroup)->state.bounds.start.end_offset, Offset{11});
  for (uint64_t id : {1, 2, 3}) {
    EXPECT_EQ(cluster.partition(id).log_start(), Offset{11}) << "node " << id;
    EXPECT_EQ(cluster.partition(id).high_watermark(), Offset{12}) << "node " << id;
    EXPECT_EQ(cluster.partition(id).status().producers, 1u) << "node " << id;
  }
  // What it was given is enough to lead with.
  ASSERT_TRUE(cluster.host(1).TransferLeadership(kGroup, {NodeId{3}, 1}).ok());
  cluster.Ticks(10);
  ASSERT_EQ(cluster.WaitForLeader(), 3u);
  EXPECT_EQ(cluster.Produced(3, cluster.ProduceSequence(3, 0, 2)), "duplicate at 0");
  EXPECT_EQ(FetchNow(cluster, Earliest{}, 3), "[11,12) next 12");
}

}  // namespace
}  // namespace flotilla::partition
