// Each rule of the clients' history is shown a history that breaks it.
#include "tests/sim/broker/ledger.h"

#include <gmock/gmock.h>

namespace flotilla::sim::broker {
namespace {

using ::testing::StartsWith;

class LedgerTest : public ::testing::Test {
 protected:
  LedgerTest() { ledger.topics()["t"] = {.name = "t", .id = "id", .partitions = 1, .created = true}; }
  uint64_t Sent(RecordFate fate = {}) {
    fate.topic = "id";
    fate.durable = true;
    const uint64_t record = ledger.NewRecord(fate);
    ledger.Attempt(record);
    return record;
  }
  uint64_t AppendedAt(int64_t offset, RecordFate fate = {}) {
    const uint64_t record = Sent(fate);
    ledger.Appended(record, 0, offset, false);
    return record;
  }

  Verdict verdict;
  Tally tally;
  Ledger ledger{verdict, tally};
  const PartitionName partition{"id", 0};
};

TEST_F(LedgerTest, AHistoryThatKeepsTheRulesPasses) {
  const uint64_t first = AppendedAt(0, {.producer = 1, .sequence = 0, .ordered = true});
  const uint64_t second = AppendedAt(1, {.producer = 1, .sequence = 1, .ordered = true});
  ledger.Saw(partition, 0, first, "Fetch");
  ledger.Saw(partition, 1, second, "Fetch");
  ledger.CheckEnd(partition, {.log_start = 0, .end = 2, .records = {first, second}});
  ledger.CheckFates();
  EXPECT_TRUE(verdict.ok()) << verdict.first();
}

TEST_F(LedgerTest, AnAcknowledgedRecordThatIsGoneIsALostWrite) {
  AppendedAt(0);
  ledger.CheckEnd(partition, {.log_start = 0, .end = 0, .records = {}});
  EXPECT_THAT(verdict.first(), StartsWith("lost write"));
}

TEST_F(LedgerTest, ATrimmedRecordIsNotLost) {
  AppendedAt(0);
  ledger.TrimAsked(partition, 1);
  ledger.CheckEnd(partition, {.log_start = 1, .end = 1, .records = {}});
  EXPECT_TRUE(verdict.ok()) << verdict.first();
}

TEST_F(LedgerTest, AnotherRecordAtAnAcknowledgedOffsetIsADivergentValue) {
  AppendedAt(0);
  ledger.Saw(partition, 0, Sent(), "Fetch");
  EXPECT_THAT(verdict.first(), StartsWith("divergent value"));
}

TEST_F(LedgerTest, ARecordThatStandsTwiceIsADuplicate) {
  const uint64_t record = Sent();
  ledger.Saw(partition, 0, record, "Fetch");
  ledger.Saw(partition, 1, record, "Fetch");
  EXPECT_THAT(verdict.first(), StartsWith("duplicate"));
}

TEST_F(LedgerTest, ARefusedRecordThatIsReadIsAnAbortedRead) {
  const uint64_t record = Sent();
  ledger.Refused(record);
  ledger.Saw(partition, 0, record, "Fetch");
  ledger.CheckFates();
  EXPECT_THAT(verdict.first(), StartsWith("aborted read"));
}

TEST_F(LedgerTest, ARecordOfWhichNothingIsKnownMayBeRead) {
  const uint64_t record = Sent();
  ledger.Unknown(record);
  ledger.Saw(partition, 0, record, "Fetch");
  ledger.CheckFates();
  EXPECT_TRUE(verdict.ok()) << verdict.first();
}

TEST_F(LedgerTest, ALaterSequenceInFrontBreaksTheWriteOrder) {
  const uint64_t second = AppendedAt(0, {.producer = 1, .sequence = 1, .ordered = true});
  const uint64_t first = AppendedAt(1, {.producer = 1, .sequence = 0, .ordered = true});
  ledger.CheckEnd(partition, {.log_start = 0, .end = 2, .records = {second, first}});
  EXPECT_THAT(verdict.first(), StartsWith("write order"));
}

TEST_F(LedgerTest, FewerRecordsThanOffsetsAreAGap) {
  ledger.CheckEnd(partition, {.log_start = 0, .end = 2, .records = {Sent()}});
  EXPECT_THAT(verdict.first(), StartsWith("offsets have no gaps"));
}

TEST_F(LedgerTest, AnEndThatIsOlderThanWhatWasKnownIsStale) {
  AppendedAt(7);
  ledger.Listed(partition, ledger.FloorOf(partition), 0, 7);
  EXPECT_THAT(verdict.first(), StartsWith("stale ListOffsets"));
}

TEST_F(LedgerTest, AStartThatNobodyAskedForIsNoTrim) {
  ledger.Listed(partition, ledger.FloorOf(partition), 1, 1);
  EXPECT_THAT(verdict.first(), StartsWith("only what was asked for is trimmed"));
}

TEST_F(LedgerTest, NoTwoProducersHaveOneId) {
  ledger.Given(7);
  ledger.Given(8);
  EXPECT_TRUE(verdict.ok()) << verdict.first();
  ledger.Given(7);
  EXPECT_THAT(verdict.first(), StartsWith("a producer id is given once"));
}

}  // namespace
}  // namespace flotilla::sim::broker
