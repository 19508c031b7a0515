#include "client/cpp/produce_lane.h"

#include <gmock/gmock.h>

namespace flotilla::client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Error kLost(ErrorCode::kUnavailable, reasons::kConnectionLost, Retry::kIfIdempotent, "broke");
const Error kNoLeader(ErrorCode::kUnavailable, reasons::kNoLeader, Retry::kSafe, "no leader");
const Error kOutOfOrder(ErrorCode::kFailedPrecondition, reasons::kOutOfOrder, Retry::kNever, "out of order");
const Error kUnknownProducer(ErrorCode::kFailedPrecondition, reasons::kUnknownProducer, Retry::kNever, "who?");
const Error kTooLarge(ErrorCode::kInvalidArgument, "RECORD_TOO_LARGE", Retry::kNever, "too large");

// Each batch has two records.
class ProduceLaneTest : public ::testing::Test {
 protected:
  void Add(uint64_t id) {
    auto batch = std::make_unique<ProduceBatch>();
    batch->id = id;
    batch->record_count = 2;
    batch->deadline = now + std::chrono::seconds(60);
    lane.Add(std::move(batch));
  }
  // Sends what can be sent; id and base sequence of each.
  std::vector<std::pair<uint64_t, int64_t>> SendAll() {
    std::vector<std::pair<uint64_t, int64_t>> sent;
    while (const ProduceBatch* batch = lane.NextToSend(now)) sent.emplace_back(batch->id, batch->base_sequence);
    return sent;
  }
  void Answer(uint64_t id, const Error& error = {}) { lane.OnAnswer(id, {.error = error, .base_offset = 7}, now, &settled); }
  void Lose(uint64_t id) { lane.OnLost(id, kLost, true, now, &settled); }
  std::vector<std::pair<uint64_t, std::string>> Settled() {
    std::vector<std::pair<uint64_t, std::string>> list;
    for (const SettledBatch& one : settled) list.emplace_back(one.batch->id, std::string(one.delivery.error.reason()));
    settled.clear();
    return list;
  }
  void Wait() { now += std::chrono::seconds(2); }

  MonotonicTime now{std::chrono::hours(1)};
  ProduceLane lane{{.partition = 3}, {.producer_id = 9}};
  std::vector<SettledBatch> settled;
};

using Sent = std::pair<uint64_t, int64_t>;
using Told = std::pair<uint64_t, std::string>;

TEST_F(ProduceLaneTest, SequencesCountRecordsWithoutGap) {
  for (uint64_t id = 1; id <= 3; ++id) Add(id);
  EXPECT_THAT(SendAll(), ElementsAre(Sent(1, 0), Sent(2, 2), Sent(3, 4)));
}

TEST_F(ProduceLaneTest, AtMostFiveAreOnTheirWay) {
  for (uint64_t id = 1; id <= 7; ++id) Add(id);
  EXPECT_EQ(SendAll().size(), 5U);
  Answer(1);
  EXPECT_THAT(SendAll(), ElementsAre(Sent(6, 10)));
}

TEST_F(ProduceLaneTest, AfterALostConnectionAllIsSentAgainUnchangedOnceNothingIsOnItsWay) {
  for (uint64_t id = 1; id <= 3; ++id) Add(id);
  SendAll();
  Lose(1);
  Wait();
  EXPECT_THAT(SendAll(), IsEmpty()) << "2 and 3 are not answered yet";
  Lose(2);
  Lose(3);
  EXPECT_THAT(SendAll(), ElementsAre(Sent(1, 0), Sent(2, 2), Sent(3, 4)));
  EXPECT_THAT(Settled(), IsEmpty());
}

TEST_F(ProduceLaneTest, WhatIsRefusedBehindAFailedBatchIsSentAgainAfterIt) {
  for (uint64_t id = 1; id <= 3; ++id) Add(id);
  SendAll();
  Answer(1, kNoLeader);
  Answer(2, kOutOfOrder);
  Answer(3, kOutOfOrder);
  Wait();
  EXPECT_THAT(SendAll(), ElementsAre(Sent(1, 0), Sent(2, 2), Sent(3, 4)));
  EXPECT_FALSE(lane.NeedsIdentity());
}

TEST_F(ProduceLaneTest, ARetryWaitsLongerEachTime) {
  Add(1);
  SendAll();
  Answer(1, kNoLeader);
  now += std::chrono::milliseconds(20);
  EXPECT_EQ(SendAll().size(), 1U);
  Answer(1, kNoLeader);
  now += std::chrono::milliseconds(20);
  EXPECT_THAT(SendAll(), IsEmpty());
  now += std::chrono::milliseconds(20);
  EXPECT_EQ(SendAll().size(), 1U);
}

TEST_F(ProduceLaneTest, ABatchThatFailsForGoodLetsTheOthersGoOnUnderANewProducer) {
  for (uint64_t id = 1; id <= 3; ++id) Add(id);
  SendAll();
  Answer(1, kTooLarge);
  EXPECT_FALSE(lane.NeedsIdentity()) << "2 and 3 are not answered yet";
  Answer(2, kOutOfOrder);
  Answer(3, kOutOfOrder);
  EXPECT_THAT(Settled(), ElementsAre(Told(1, "RECORD_TOO_LARGE")));
  ASSERT_TRUE(lane.NeedsIdentity());
  EXPECT_THAT(SendAll(), IsEmpty());
  lane.SetIdentity({.producer_id = 10}, &settled);
  EXPECT_THAT(SendAll(), ElementsAre(Sent(2, 0), Sent(3, 2)));
}

TEST_F(ProduceLaneTest, WhatMayBeAppendedIsNeverSentUnderAnotherProducer) {
  for (uint64_t id = 1; id <= 2; ++id) Add(id);
  SendAll();
  Answer(1, kTooLarge);
  Lose(2);
  Settled();
  lane.SetIdentity({.producer_id = 10}, &settled);
  EXPECT_THAT(Settled(), ElementsAre(Told(2, "OUTCOME_UNKNOWN")));
  EXPECT_THAT(SendAll(), IsEmpty());
}

TEST_F(ProduceLaneTest, AForgottenProducerGoesOnUnderANewIdWhenNothingIsUnclear) {
  Add(1);
  SendAll();
  Answer(1);
  Settled();
  Add(2);
  SendAll();
  Answer(2, kUnknownProducer);
  EXPECT_THAT(Settled(), IsEmpty());
  ASSERT_TRUE(lane.NeedsIdentity());
  lane.SetIdentity({.producer_id = 10}, &settled);
  EXPECT_THAT(SendAll(), ElementsAre(Sent(2, 0)));
}

TEST_F(ProduceLaneTest, AnExpiredBatchSaysWhetherItMayBeAppended) {
  Add(1);
  Add(2);
  lane.NextToSend(now);
  now += std::chrono::minutes(2);
  lane.Expire(now, &settled);
  EXPECT_THAT(Settled(), ElementsAre(Told(1, "OUTCOME_UNKNOWN"), Told(2, "TIMED_OUT")));
}

TEST(ProduceLaneWithoutIdempotence, DoesNotRepeatWhatMayBeAppended) {
  ProduceLane lane({.idempotent = false}, {});
  auto batch = std::make_unique<ProduceBatch>();
  batch->id = 1;
  batch->record_count = 1;
  batch->deadline = MonotonicTime::max();
  lane.Add(std::move(batch));
  ASSERT_NE(lane.NextToSend(MonotonicTime{}), nullptr);
  std::vector<SettledBatch> settled;
  lane.OnLost(1, kLost, /*sent=*/true, MonotonicTime{}, &settled);
  ASSERT_EQ(settled.size(), 1U);
  EXPECT_EQ(settled[0].delivery.error.reason(), reasons::kOutcomeUnknown);
}

}  // namespace
}  // namespace flotilla::client
