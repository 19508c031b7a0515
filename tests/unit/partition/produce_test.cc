// Scenes of producing: what is refused and how, acks, order, duplicates, failover.
#include "server/partition/produce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/errors/refusal.h"
#include "storage/base/random.h"
#include "tests/unit/partition/partition_cluster.h"

namespace flotilla::partition {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kHour = 60 * 60 * 1000;

std::string Message(PartitionCluster& cluster, uint64_t token, uint64_t id = 1) {
  return cluster.node(id).sinks.produced.at(token).status.ToString();
}

TEST(ProduceTest, OffsetsAreDense) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  EXPECT_EQ(cluster.Append(1, SetOf(2)), 0u);
  EXPECT_EQ(cluster.Append(1, SetOf(3)), 2u);
  EXPECT_EQ(cluster.Append(1, SetOf(1)), 5u);
  EXPECT_EQ(cluster.partition(1).high_watermark(), Offset{6});
}

TEST(ProduceTest, AnAnswerTellsWhereAndWhen) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  const uint64_t token = cluster.Produce(1, SetOf(2));
  cluster.Settle();
  const ProduceResult& result = cluster.node(1).sinks.produced.at(token);
  EXPECT_EQ(result.record_count, 2u);
  EXPECT_EQ(result.append_timestamp_ms, cluster.clock.wall_ms);
}

TEST(ProduceTest, TheEntryHoldsTheRecordsAsSentAndTheirTimes) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  const std::string set = EncodeSet({{.value = "a", .timestamp_ms = 50}, {.value = "b", .timestamp_ms = 40}});
  cluster.Append(1, set);
  cluster.Append(1, EncodeSet({{.value = "a", .timestamp_ms = 60}, {.value = "without"}}));
  const auto& entries = cluster.node(1).disk.Find(kGroup)->entries;
  const storage::Entry& first = entries[entries.size() - 2];
  EXPECT_EQ(RecordsOf(first.payload).view(), set);
  EXPECT_EQ(first.header.min_timestamp_ms, 40);
  EXPECT_EQ(first.header.max_timestamp_ms, 50);
  EXPECT_EQ(entries.back().header.min_timestamp_ms, 60);
  EXPECT_EQ(entries.back().header.max_timestamp_ms, cluster.clock.wall_ms);  // of the record without a time
}

TEST(ProduceTest, WithAppendTimeOnlyTheBrokersClockCounts) {
  PartitionCluster cluster(1, {.config = {.timestamp_type = TimestampType::kAppendTime}});
  cluster.WaitForLeader();
  cluster.Append(1, EncodeSet({{.timestamp_ms = cluster.clock.wall_ms + 100 * kHour}}));
  const storage::EntryHeader& header = cluster.node(1).disk.Find(kGroup)->entries.back().header;
  EXPECT_EQ(header.min_timestamp_ms, cluster.clock.wall_ms);
  EXPECT_EQ(header.max_timestamp_ms, cluster.clock.wall_ms);
}

// --- Refused

TEST(ProduceTest, ARecordAboveTheTopicsLimitIsRefusedWithNumberSizeAndLimit) {
  PartitionCluster cluster(1, {.config = {.record_bytes_max = 100}});
  cluster.WaitForLeader();
  const uint64_t token = cluster.Produce(1, EncodeSet({{.value = "ok"}, {.value = std::string(100, 'x')}}));
  EXPECT_EQ(cluster.Produced(1, token), "RECORD_TOO_LARGE");
  EXPECT_THAT(Message(cluster, token), HasSubstr("record 1 takes 102 bytes; the limit of the topic is 100"));
  cluster.partition(1).Configure({.record_bytes_max = 102});
  cluster.Append(1, EncodeSet({{.value = std::string(100, 'x')}}));
}

TEST(ProduceTest, TheLimitOfARecordHoldsForWhatItIsUncompressed) {
  PartitionCluster cluster(1, {.config = {.record_bytes_max = 1000}});
  cluster.WaitForLeader();
  const std::string set = EncodeSet({{.value = std::string(5000, 'x')}});
  const uint64_t token = cluster.Produce(1, {.batch = PreparedCompressed(Codec::kZstd, set, 1)});
  EXPECT_EQ(cluster.Produced(1, token), "RECORD_TOO_LARGE");
}

TEST(ProduceTest, ABatchAboveTheTopicsLimitIsRefused) {
  PartitionCluster cluster(1, {.config = {.batch_bytes_max = 30}});
  cluster.WaitForLeader();
  const uint64_t token = cluster.Produce(1, SetOf(10));
  EXPECT_EQ(cluster.Produced(1, token), "LIMIT_EXCEEDED");
  EXPECT_THAT(Message(cluster, token), HasSubstr("a batch of 50 bytes; the limit of the topic is 30"));
}

TEST(ProduceTest, ATimeTooFarAheadIsRefusedWithItsRecord) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  const int64_t now = cluster.clock.wall_ms;
  cluster.Append(1, EncodeSet({{.timestamp_ms = now + kHour}}));
  const uint64_t token = cluster.Produce(1, EncodeSet({{}, {.timestamp_ms = now + kHour + 1}}));
  EXPECT_EQ(cluster.Produced(1, token), "TIMESTAMP_OUT_OF_RANGE");
  EXPECT_THAT(Message(cluster, token), HasSubstr("record 1 has the timestamp " + std::to_string(now + kHour + 1)));
}

TEST(ProduceTest, AFollowerSaysWhoLeads) {
  PartitionCluster cluster(3);
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.Ticks(3);
  const uint64_t token = cluster.Produce(2, SetOf(1));
  EXPECT_EQ(cluster.Produced(2, token), "NOT_LEADER");
  EXPECT_EQ(cluster.node(2).sinks.produced.at(token).status.Detail("leader_node_id"), "1");
}

TEST(ProduceTest, WithoutALeaderNothingIsAppended) {
  PartitionCluster cluster(3);
  cluster.WaitForLeader();
  cluster.Ticks(3);
  cluster.Isolate(1);
  cluster.Isolate(2);
  cluster.Ticks(60);
  EXPECT_EQ(cluster.Produced(1, cluster.Produce(1, SetOf(1))), "NO_LEADER");
}

TEST(ProduceTest, AFullDiskRefusesAndGoesOnWhenThereIsRoom) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  cluster.Append(1, SetOf(1));
  cluster.node(1).disk.SetFreeBytes(1);
  const uint64_t first = cluster.Produce(1, SetOf(1));  // finds it out
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, first), "waiting");
  EXPECT_EQ(cluster.Produced(1, cluster.Produce(1, SetOf(1))), "waiting");  // in its turn
  cluster.node(1).disk.SetFreeBytes(uint64_t{1} << 40);
  cluster.Ticks(30);
  EXPECT_EQ(cluster.Produced(1, first), "OK at 1");
  EXPECT_THAT(cluster.node(1).sinks.produced.rbegin()->second.status.ToString(), HasSubstr("DISK_FULL"));
}

TEST(ProduceTest, TooManyWaitingCallsAreRefusedAtOnce) {
  PartitionCluster cluster(1, {.partition = {.produce_calls_max = 2}});
  cluster.WaitForLeader();
  cluster.node(1).hold_disk = true;
  cluster.Produce(1, SetOf(1));
  cluster.Produce(1, SetOf(1));
  EXPECT_EQ(cluster.Produced(1, cluster.Produce(1, SetOf(1))), "OVERLOADED");
}

// --- Conditions

TEST(ProduceTest, AConditionalAppendHappensOnlyAtItsOffset) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  cluster.Append(1, SetOf(2));
  const uint64_t here = cluster.Produce(1, {.batch = Prepared(SetOf(1)), .expected_next_offset = Offset{2}});
  // The first one is on its way, so the second one comes too late.
  const uint64_t late = cluster.Produce(1, {.batch = Prepared(SetOf(1)), .expected_next_offset = Offset{2}});
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, here), "OK at 2");
  EXPECT_EQ(cluster.Produced(1, late), "OFFSET_MISMATCH");
  EXPECT_THAT(Message(cluster, late), HasSubstr("expects to get offset 2, and 3 is next"));
  EXPECT_EQ(cluster.node(1).sinks.produced.at(late).status.Detail("actual"), "3");
}

TEST(ProduceTest, ARepeatedConditionalAppendIsADuplicate) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  const ProducerBatch producer{.producer_id = 5, .scope = SequenceScope::kPartition};
  const uint64_t first = cluster.Produce(1, {.batch = Prepared(SetOf(1)), .producer = producer, .expected_next_offset = Offset{0}});
  cluster.Settle();
  const uint64_t again = cluster.Produce(1, {.batch = Prepared(SetOf(1)), .producer = producer, .expected_next_offset = Offset{0}});
  EXPECT_EQ(cluster.Produced(1, first), "OK at 0");
  EXPECT_EQ(cluster.Produced(1, again), "duplicate at 0");
}

// --- Acks

TEST(ProduceTest, QuorumWaitsForAMajorityOfDisks) {
  PartitionCluster cluster(3);
  cluster.WaitForLeader();
  cluster.node(2).hold_disk = cluster.node(3).hold_disk = true;
  const uint64_t token = cluster.Produce(1, SetOf(1));
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, token), "waiting");
  cluster.node(3).hold_disk = false;
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, token), "OK at 0");
}

TEST(ProduceTest, LeaderWaitsForTheLeadersDiskAndNoOther) {
  PartitionCluster cluster(3);
  cluster.WaitForLeader();
  for (uint64_t id : {1, 2, 3}) cluster.node(id).hold_disk = true;
  const uint64_t token = cluster.Produce(1, {.batch = Prepared(SetOf(1)), .acks = Acks::kLeader});
  cluster.Settle();
  cluster.Ticks(1);
  EXPECT_EQ(cluster.Produced(1, token), "waiting");
  cluster.node(1).hold_disk = false;
  cluster.Settle();  // its disk has it now, which is noticed at the next tick
  cluster.Ticks(1);
  EXPECT_EQ(cluster.Produced(1, token), "OK at 0");
  EXPECT_EQ(cluster.partition(1).high_watermark(), Offset{0});  // nobody can read it yet
}

TEST(ProduceTest, NoneIsAnsweredAtOnceAndTellsNoOffset) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  cluster.Append(1, SetOf(3));
  const uint64_t token = cluster.Produce(1, {.batch = Prepared(SetOf(1)), .acks = Acks::kNone});
  EXPECT_EQ(cluster.Produced(1, token), "OK at 0");
  cluster.Settle();
  EXPECT_EQ(cluster.partition(1).high_watermark(), Offset{4});
}

TEST(ProduceTest, AnswersComeInTheOrderOfTheCalls) {
  PartitionCluster cluster(1, {.config = {.record_bytes_max = 100}});
  cluster.WaitForLeader();
  const uint64_t first = cluster.Produce(1, SetOf(1));
  const uint64_t refused = cluster.Produce(1, SetOf(1, std::string(200, 'x')));
  const uint64_t none = cluster.Produce(1, {.batch = Prepared(SetOf(1)), .acks = Acks::kNone});
  const uint64_t last = cluster.Produce(1, SetOf(1));
  EXPECT_THAT(cluster.node(1).sinks.order, ElementsAre());
  cluster.Settle();
  EXPECT_THAT(cluster.node(1).sinks.order, ElementsAre(first, refused, none, last));
}

TEST(ProduceTest, ASinkThatIsGoneHearsNothingAndItsBatchesStay) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  const uint64_t token = cluster.Produce(1, SetOf(1));
  cluster.partition(1).Forget(static_cast<ProduceSink&>(cluster.node(1).sinks));
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, token), "waiting");
  EXPECT_EQ(cluster.partition(1).high_watermark(), Offset{1});
  EXPECT_EQ(cluster.partition(1).status().produce.waiting, 0u);
}

// --- Idempotence

TEST(ProduceTest, ADuplicateGetsTheOriginalOffset) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  cluster.Append(1, SetOf(4));
  cluster.ProduceSequence(1, 0, 2);
  cluster.Settle();
  cluster.Append(1, SetOf(1));
  EXPECT_EQ(cluster.Produced(1, cluster.ProduceSequence(1, 0, 2)), "duplicate at 4");
  EXPECT_EQ(cluster.partition(1).high_watermark(), Offset{7});
}

TEST(ProduceTest, ADuplicateOfABatchOnItsWayWaitsForIt) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  cluster.node(1).hold_disk = true;
  const uint64_t first = cluster.ProduceSequence(1, 0);
  const uint64_t again = cluster.ProduceSequence(1, 0);
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, again), "waiting");
  cluster.node(1).hold_disk = false;
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, first), "OK at 0");
  EXPECT_EQ(cluster.Produced(1, again), "duplicate at 0");
}

TEST(ProduceTest, AGapAnOldEpochAndAnUnknownProducerEachHaveTheirError) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  // Refusals for what the log lacks are told when it is sure that this replica leads.
  const uint64_t unknown = cluster.ProduceSequence(1, 9);
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, unknown), "UNKNOWN_PRODUCER");
  cluster.ProduceSequence(1, 0, 1, 1);
  cluster.Settle();
  const uint64_t gap = cluster.ProduceSequence(1, 2, 1, 1);
  const uint64_t old = cluster.ProduceSequence(1, 0, 1, 0);
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, gap), "OUT_OF_ORDER");
  EXPECT_EQ(cluster.Produced(1, old), "FENCED");
}

TEST(ProduceTest, WhenOneOfSeveralFailsThoseBehindItFailToo) {
  PartitionCluster cluster(1, {.config = {.record_bytes_max = 100}});
  cluster.WaitForLeader();
  const uint64_t a = cluster.ProduceSequence(1, 0);
  const uint64_t b = cluster.Produce(1, {.batch = Prepared(SetOf(1, std::string(200, 'x'))),
                                         .producer = {.producer_id = 5, .base_sequence = 1, .scope = SequenceScope::kPartition}});
  const uint64_t c = cluster.ProduceSequence(1, 2);
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, a), "OK at 0");
  EXPECT_EQ(cluster.Produced(1, b), "RECORD_TOO_LARGE");
  EXPECT_EQ(cluster.Produced(1, c), "OUT_OF_ORDER");
}

TEST(ProduceTest, ProducersAreRememberedThroughARestart) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  cluster.ProduceSequence(1, 0, 3);
  cluster.Settle();
  cluster.Restart(1);
  cluster.WaitForLeader();
  EXPECT_EQ(cluster.Produced(1, cluster.ProduceSequence(1, 0, 3)), "duplicate at 0");
  const uint64_t next = cluster.ProduceSequence(1, 3, 1);
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, next), "OK at 3");
}

// --- Failover

TEST(ProduceTest, WhatALostLeaderProposedInVainIsNotLeader) {
  PartitionCluster cluster(3);
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.Append(1, SetOf(1));
  cluster.Isolate(1);
  const uint64_t lost = cluster.ProduceSequence(1, 0);
  cluster.Ticks(25);  // it notices that nobody hears it, and does not give up hope yet
  EXPECT_EQ(cluster.Produced(1, lost), "waiting");
  const uint64_t leader = cluster.WaitForLeader();
  ASSERT_NE(leader, 1u);
  const uint64_t again = cluster.ProduceSequence(leader, 0);
  cluster.Heal();
  cluster.Ticks(10);
  EXPECT_EQ(cluster.Produced(1, lost), "NOT_LEADER");
  EXPECT_EQ(cluster.Produced(leader, again), "OK at 1");
}

TEST(ProduceTest, ALeaderThatComesBackHasForgottenWhatItProposedInVain) {
  PartitionCluster cluster(3);
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.Isolate(1);
  for (uint64_t sequence = 0; sequence < 5; ++sequence) cluster.ProduceSequence(1, sequence);
  cluster.Ticks(60);
  const uint64_t other = cluster.WaitForLeader();
  ASSERT_NE(other, 1u);
  cluster.Heal();
  cluster.Ticks(20);
  ASSERT_TRUE(cluster.host(other).TransferLeadership(kGroup, {NodeId{1}, 1}).ok());
  cluster.Ticks(5);
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  const uint64_t unknown = cluster.ProduceSequence(1, 3);
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, unknown), "UNKNOWN_PRODUCER");
  const uint64_t again = cluster.ProduceSequence(1, 0);
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, again), "OK at 0");
}

TEST(ProduceTest, WhenNobodyTellsTheOutcomeIsUnknown) {
  PartitionCluster cluster(3);
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.Isolate(1);
  const uint64_t lost = cluster.Produce(1, SetOf(1));
  cluster.Ticks(100);
  EXPECT_EQ(cluster.Produced(1, lost), "OUTCOME_UNKNOWN");
}

TEST(ProduceTest, AtItsDeadlineACallEndsWithOutcomeUnknown) {
  PartitionCluster cluster(3);
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.node(2).hold_disk = cluster.node(3).hold_disk = true;
  const uint64_t token = cluster.Produce(1, {.batch = Prepared(SetOf(1)), .deadline = cluster.now(1) + 5});
  cluster.Ticks(4);
  EXPECT_EQ(cluster.Produced(1, token), "waiting");
  cluster.Ticks(1);
  EXPECT_EQ(cluster.Produced(1, token), "OUTCOME_UNKNOWN");
}

TEST(ProduceTest, AClosedPartitionLeavesNobodyWaiting) {
  PartitionCluster cluster(1);
  cluster.WaitForLeader();
  cluster.node(1).hold_disk = true;
  const uint64_t proposed = cluster.ProduceSequence(1, 0);
  const uint64_t duplicate = cluster.ProduceSequence(1, 0);
  cluster.host(1).CloseGroup(kGroup);
  cluster.node(1).partition.reset();
  EXPECT_EQ(cluster.Produced(1, proposed), "OUTCOME_UNKNOWN");
  EXPECT_EQ(cluster.Produced(1, duplicate), "OUTCOME_UNKNOWN");
}

// The refusal rests on what the log lacks, and waits until that is sure. A read that began on a leader is released when another one leads
// by then, too: it proves what is applied here, and not who leads.
TEST(ProduceTest, ALeaderThatWasDeposedMeanwhileDoesNotRefuseFromItsPast) {
  PartitionCluster cluster(3, {.store = {.tail_bytes = 1}, .raft_tail_bytes = 1});
  ASSERT_EQ(cluster.WaitForLeader(), 1u);
  cluster.node(1).hold_readers = true;  // what is committed will be applied later
  cluster.Produce(1, SetOf(1));
  cluster.Settle();
  const uint64_t gap = cluster.ProduceSequence(1, 1);  // 0 is not there
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, gap), "waiting");
  cluster.Isolate(1);
  cluster.Ticks(60);
  const uint64_t leader = cluster.WaitForLeader();
  ASSERT_NE(leader, 1u);
  const uint64_t first = cluster.ProduceSequence(leader, 0);
  cluster.Settle();
  ASSERT_EQ(cluster.Produced(leader, first), "OK at 1");
  cluster.node(1).hold_readers = false;
  cluster.Settle();
  EXPECT_EQ(cluster.Produced(1, gap), "NO_LEADER");
}

// A producer with several batches on their way, nodes that die in the middle: every batch is appended once,
// in order, and every answer names its place.
class FailoverTest : public testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, FailoverTest, testing::Range<uint64_t>(1, 61));

TEST_P(FailoverTest, NothingIsLostAndNothingIsThereTwice) {
  Random random(GetParam());
  PartitionCluster cluster(3, {.partition = {.checkpoint_bytes = 500}});
  struct Sent {
    uint64_t base_sequence;
    uint64_t node;
    uint64_t token;
  };
  std::map<uint64_t, uint64_t> acknowledged;  // base sequence -> offset
  std::vector<Sent> flying;
  uint64_t next = 0;
  uint64_t duplicates = 0;
  constexpr uint64_t kBatches = 120;
  constexpr size_t kInFlight = 5;
  for (int round = 0; acknowledged.size() < kBatches; ++round) {
    ASSERT_LT(round, 4000);
    const uint64_t leader = cluster.WaitForLeader();
    while (flying.size() < kInFlight && next < kBatches) {
      flying.push_back({next, leader, cluster.ProduceSequence(leader, next)});
      ++next;
      cluster.Rounds(random.Below(4));
    }
    if (random.OneIn(12)) {
      // Some of the batches have left, some are on a disk, and perhaps nobody was told.
      cluster.hold_network = random.OneIn(3);
      for (uint64_t id = 1; id <= 3; ++id) cluster.node(id).hold_disk = random.OneIn(3);
      cluster.Rounds(random.Below(20));
      for (uint64_t id = 1; id <= 3; ++id) cluster.node(id).hold_disk = false;
      cluster.hold_network = false;
      const uint64_t victim = random.OneIn(3) ? random.Between(1, 3) : leader;
      if (random.OneIn(3)) {
        cluster.Isolate(victim);
        cluster.Ticks(random.Between(1, 80));
        cluster.Heal();
      } else {
        cluster.Restart(victim);
      }
    }
    cluster.Ticks(random.Between(0, 2));
    cluster.Settle();
    // Answers in order; at the first one that is not good, all from there are sent again.
    while (!flying.empty()) {
      const Sent& oldest = flying.front();
      const std::string answer = cluster.Produced(oldest.node, oldest.token);
      const bool ok = answer.starts_with("OK") || answer.starts_with("duplicate");
      if (ok) {
        duplicates += answer.starts_with("duplicate");
        acknowledged[oldest.base_sequence] = cluster.node(oldest.node).sinks.produced.at(oldest.token).base_offset.value();
        flying.erase(flying.begin());
        continue;
      }
      ASSERT_THAT(answer, testing::AnyOf("waiting", "NOT_LEADER", "NO_LEADER", "OUTCOME_UNKNOWN", "OUT_OF_ORDER", "TRANSFERRING"));
      const uint64_t now = cluster.WaitForLeader();
      if (answer == "waiting" && now == oldest.node && cluster.Produced(oldest.node, oldest.token) == "waiting" && !random.OneIn(4)) break;
      for (Sent& sent : flying) sent = {sent.base_sequence, now, cluster.ProduceSequence(now, sent.base_sequence)};
      break;
    }
  }
  RecordProperty("duplicates", static_cast<int>(duplicates));
  cluster.WaitForLeader();
  cluster.Ticks(60);
  const uint64_t leader = cluster.WaitForLeader();
  EXPECT_EQ(cluster.partition(leader).high_watermark(), Offset{kBatches});
  for (const auto& [sequence, offset] : acknowledged) EXPECT_EQ(offset, sequence);
  const uint64_t token = cluster.Fetch(leader, {.start = Earliest{}, .max_bytes = limits::kFetchBytesMax});
  cluster.Settle();
  uint64_t sequence = 0;
  for (const FetchedBatch& batch : cluster.node(leader).sinks.fetched.at(token).batches) {
    EXPECT_EQ(batch.records.view(), SetOf(1, std::to_string(sequence)));
    EXPECT_EQ(batch.base_offset.value(), sequence++);
  }
  EXPECT_EQ(sequence, kBatches);
  // Every replica remembers the same.
  std::string state;
  for (uint64_t id = 1; id <= 3; ++id) {
    const Result<raft::SnapshotContent> content = cluster.partition(id).machine().Snapshot();
    ASSERT_TRUE(content.ok());
    const std::string mine(content->chunks.front().view());
    if (state.empty()) state = mine;
    EXPECT_EQ(mine, state) << "node " << id;
  }
}

}  // namespace
}  // namespace flotilla::partition
