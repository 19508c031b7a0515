#include "server/partition/producer_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "server/errors/refusal.h"
#include "server/partition/pending_batches.h"
#include "storage/base/random.h"

namespace flotilla::partition {
namespace {

using testing::HasSubstr;

constexpr int64_t kDay = 24 * 60 * 60 * 1000;

SequencedBatch Batch(uint64_t producer, uint64_t base_sequence, uint32_t count, uint32_t epoch = 0,
                     SequenceScope scope = SequenceScope::kPartition) {
  return {.producer = {.producer_id = producer, .epoch = epoch, .base_sequence = base_sequence, .scope = scope}, .count = count};
}
SequencedBatch Item(uint64_t producer, uint64_t base_sequence, uint32_t count, std::optional<uint64_t> after = {}) {
  SequencedBatch batch = Batch(producer, base_sequence, count, 0, SequenceScope::kTopic);
  batch.after = after;
  return batch;
}

// "new", "duplicate of 7", "OUT_OF_ORDER expected 3", "FENCED".
std::string Show(const SequenceVerdict& verdict) {
  if (verdict.kind == SequenceVerdict::Kind::kNew) return "new";
  if (verdict.kind == SequenceVerdict::Kind::kDuplicate) return "duplicate of " + std::to_string(verdict.offset.value());
  const Refusal refusal = RefusalOf(verdict.status);
  if (refusal == Refusal::kNone) return std::string(ReasonName(verdict.status.reason()));
  const auto expected = verdict.status.Detail("expected");
  return std::string(RefusalName(refusal)) + (expected ? " expected " + *expected : "");
}

// A log that holds what the state has seen.
class ProducerStateTest : public testing::Test {
 protected:
  // Appends; where.
  uint64_t Append(const SequencedBatch& batch) {
    const uint64_t offset = end_;
    state_.AdvanceTo(now_);
    state_.Apply(batch, Offset{offset});
    end_ += batch.count;
    return offset;
  }
  std::string Judge(const SequencedBatch& batch) { return Show(state_.Judge(batch)); }
  // Somebody else's records.
  void Others(uint64_t count) { end_ += count; }

  ProducerState state_;
  uint64_t end_ = 0;
  int64_t now_ = 1000;
};

TEST_F(ProducerStateTest, TheFirstBatchIsNumberZero) {
  EXPECT_EQ(Judge(Batch(7, 0, 3)), "new");
  EXPECT_EQ(Judge(Batch(7, 3, 3)), "UNKNOWN_PRODUCER");
}

TEST_F(ProducerStateTest, TheNextBatchBeginsWhereTheLastEnded) {
  Append(Batch(7, 0, 3));
  EXPECT_EQ(Judge(Batch(7, 3, 1)), "new");
  EXPECT_EQ(Judge(Batch(7, 4, 1)), "OUT_OF_ORDER expected 3");
}

TEST_F(ProducerStateTest, ADuplicateIsAnsweredWithItsOriginalOffset) {
  Append(Batch(7, 0, 3));
  Others(10);
  Append(Batch(7, 3, 2));
  Others(5);
  EXPECT_EQ(Judge(Batch(7, 0, 3)), "duplicate of 0");
  EXPECT_EQ(Judge(Batch(7, 3, 2)), "duplicate of 13");
}

TEST_F(ProducerStateTest, AProducerAloneIsRememberedFromItsFirstBatchOn) {
  for (uint64_t i = 0; i < 1000; ++i) Append(Batch(7, i, 1));
  EXPECT_EQ(Judge(Batch(7, 0, 1)), "duplicate of 0");
  EXPECT_EQ(Judge(Batch(7, 500, 1)), "duplicate of 500");
  EXPECT_EQ(state_.Find(7)->runs().size(), 1u);
}

TEST_F(ProducerStateTest, AmongOthersAtLeastSixteenBatchesAreRemembered) {
  for (uint64_t i = 0; i < 20; ++i) {
    Append(Batch(7, i, 1));
    Others(1);
  }
  EXPECT_EQ(Judge(Batch(7, 4, 1)), "duplicate of 8");
  EXPECT_EQ(Judge(Batch(7, 3, 1)), "OUT_OF_ORDER expected 20");
}

TEST_F(ProducerStateTest, OtherBatchesOfTheSameRecordsAreRefusedWhereTheyAreNotTogether) {
  Append(Batch(7, 0, 3));
  Others(1);
  Append(Batch(7, 3, 3));
  EXPECT_EQ(Judge(Batch(7, 1, 2)), "duplicate of 1");
  EXPECT_EQ(Judge(Batch(7, 2, 2)), "OUT_OF_ORDER expected 6");  // its records are at 2 and 4
  EXPECT_EQ(Judge(Batch(7, 5, 2)), "OUT_OF_ORDER expected 6");  // half of it is new
}

TEST_F(ProducerStateTest, ANewEpochBeginsAnewAndShutsTheOldOneOut) {
  Append(Batch(7, 0, 3, 1));
  EXPECT_EQ(Judge(Batch(7, 3, 1, 2)), "OUT_OF_ORDER expected 0");
  EXPECT_EQ(Judge(Batch(7, 0, 1, 2)), "new");
  Append(Batch(7, 0, 1, 2));
  EXPECT_EQ(Judge(Batch(7, 0, 3, 1)), "FENCED");
  EXPECT_EQ(Judge(Batch(7, 3, 1, 1)), "FENCED");
  EXPECT_EQ(Judge(Batch(7, 1, 1, 2)), "new");
}

TEST_F(ProducerStateTest, WithoutAPartitionNumbersGrowWithGaps) {
  EXPECT_EQ(Judge(Item(7, 40, 2)), "new");
  Append(Item(7, 40, 2));
  Append(Item(7, 50, 1));
  EXPECT_EQ(Judge(Item(7, 51, 1)), "new");
  EXPECT_EQ(Judge(Item(7, 90, 1)), "new");
  EXPECT_EQ(Judge(Item(7, 40, 2)), "duplicate of 0");
  EXPECT_EQ(Judge(Item(7, 50, 1)), "duplicate of 2");
  EXPECT_EQ(Judge(Item(7, 45, 1)), "OUT_OF_ORDER expected 51");
  EXPECT_EQ(Judge(Item(7, 40, 1)), "OUT_OF_ORDER expected 51");  // another request under the same number
}

TEST_F(ProducerStateTest, OnAStreamAnItemWhosePredecessorFailedIsRefused) {
  EXPECT_EQ(Judge(Item(7, 10, 1, 5)), "OUT_OF_ORDER expected 5");
  Append(Item(7, 5, 1));
  EXPECT_EQ(Judge(Item(7, 10, 1, 5)), "new");
  EXPECT_EQ(Judge(Item(7, 20, 1, 10)), "OUT_OF_ORDER expected 6");
  Append(Item(7, 10, 1));
  EXPECT_EQ(Judge(Item(7, 20, 1, 10)), "new");
}

TEST_F(ProducerStateTest, OneEpochCountsInOneWay) {
  Append(Batch(7, 0, 1));
  EXPECT_EQ(Judge(Item(7, 1, 1)), "INVALID_ARGUMENT");
}

TEST_F(ProducerStateTest, SequencesDoNotWrap) {
  EXPECT_EQ(Judge(Item(7, ~uint64_t{0}, 1)), "INVALID_ARGUMENT");
  EXPECT_EQ(Judge(Item(7, uint64_t{1} << 63, 1)), "INVALID_ARGUMENT");
}

TEST_F(ProducerStateTest, AProducerSilentForADayByTheLogsTimeIsForgotten) {
  state_ = ProducerState({.producers_kept = 1});
  Append(Batch(7, 0, 1));
  now_ += kDay;
  Append(Batch(8, 0, 1));
  EXPECT_EQ(Judge(Batch(7, 1, 1)), "new");
  now_ += 1;
  Append(Batch(8, 1, 1));
  EXPECT_EQ(Judge(Batch(7, 1, 1)), "UNKNOWN_PRODUCER");
  EXPECT_EQ(Judge(Batch(8, 2, 1)), "new");
}

TEST_F(ProducerStateTest, AClockThatLeapsForgetsNoneOfTheLastOnes) {
  for (uint64_t id = 1; id <= limits::kProducersKept + 1; ++id) Append(Batch(id, 0, 1));
  now_ += 30 * kDay;
  Append(Batch(2, 1, 1));
  EXPECT_EQ(state_.producers(), limits::kProducersKept);
  EXPECT_EQ(Judge(Batch(1, 1, 1)), "UNKNOWN_PRODUCER");
  EXPECT_EQ(Judge(Batch(2, 1, 1)), "duplicate of " + std::to_string(limits::kProducersKept + 1));
  EXPECT_EQ(Judge(Batch(3, 1, 1)), "new");
}

TEST_F(ProducerStateTest, AClockThatGoesBackForgetsNobody) {
  Append(Batch(7, 0, 1));
  now_ -= 5 * kDay;
  Append(Batch(8, 0, 1));
  EXPECT_EQ(state_.producers(), 2u);
  EXPECT_EQ(state_.time_ms(), 1000);
}

TEST_F(ProducerStateTest, AtTheLimitWhoWasSilentForLongestIsForgotten) {
  state_ = ProducerState({.producers_max = 3});
  for (uint64_t id : {1, 2, 3}) Append(Batch(id, 0, 1));
  Append(Batch(1, 1, 1));
  Append(Batch(4, 0, 1));
  EXPECT_EQ(Judge(Batch(2, 1, 1)), "UNKNOWN_PRODUCER");
  EXPECT_EQ(Judge(Batch(1, 2, 1)), "new");
  EXPECT_EQ(state_.producers(), 3u);
}

TEST_F(ProducerStateTest, AnswersTellWhatToDo) {
  Append(Batch(7, 0, 3, 2));
  EXPECT_THAT(state_.Judge(Batch(7, 5, 1, 2)).status.ToString(),
              HasSubstr("producer 7 of epoch 2: base_sequence 5 where 3 comes next; send what is missing first"));
  EXPECT_THAT(state_.Judge(Batch(7, 0, 1, 1)).status.ToString(), HasSubstr("producer 7 of epoch 1 was replaced by epoch 2"));
  EXPECT_THAT(state_.Judge(Batch(9, 5, 1)).status.ToString(), HasSubstr("producer 9 of epoch 0 is not known here (any more)"));
}

TEST_F(ProducerStateTest, ComesBackFromItsBytesAndGoesOnAlike) {
  state_ = ProducerState({.producers_max = 2});
  Append(Batch(1, 0, 3));
  Append(Item(2, 9, 1));
  Append(Batch(1, 3, 3));
  std::string bytes;
  state_.EncodeTo(&bytes);
  EXPECT_EQ(bytes.size(), state_.encoded_bytes());
  Result<ProducerState> copy = ProducerState::Decode(bytes, {.producers_max = 2});
  ASSERT_TRUE(copy.ok()) << copy.status();
  std::string again;
  copy->EncodeTo(&again);
  EXPECT_EQ(again, bytes);
  for (ProducerState* state : {&state_, &*copy}) {
    state->Apply(Batch(3, 0, 1), Offset{50});  // puts out the same one
    EXPECT_EQ(Show(state->Judge(Batch(2, 1, 1))), "UNKNOWN_PRODUCER");
    EXPECT_EQ(Show(state->Judge(Batch(1, 0, 3))), "duplicate of 0");
  }
}

// On disks and on their way between nodes of different versions.
TEST_F(ProducerStateTest, GoldenBytes) {
  Append(Batch(7, 0, 2, 1));
  std::string bytes;
  state_.EncodeTo(&bytes);
  const std::string expected(
      "\x01"                  // version
      "\xe8\x03\0\0\0\0\0\0"  // time 1000
      "\x01\0\0\0"            // one producer
      "\x07\0\0\0\0\0\0\0"
      "\x01\0\0\0"  // id, epoch
      "\x01"        // scope: partition
      "\xe8\x03\0\0\0\0\0\0"
      "\x01"  // last heard of, one run
      "\0\0\0\0\0\0\0\0"
      "\0\0\0\0\0\0\0\0"
      "\x02\0\0\0\0\0\0\0",
      1 + 8 + 4 + 8 + 4 + 1 + 8 + 1 + 24);
  EXPECT_EQ(bytes, expected);
}

TEST_F(ProducerStateTest, DamagedBytesAreRefused) {
  Append(Batch(7, 0, 2));
  Append(Batch(8, 0, 2));
  std::string bytes;
  state_.EncodeTo(&bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(ProducerState::Decode(bytes.substr(0, size)).status().reason(), Reason::kCorruptMessage) << size;
  }
  EXPECT_FALSE(ProducerState::Decode(bytes + "x").ok());
  bytes[0] = 2;
  EXPECT_THAT(ProducerState::Decode(bytes).status().ToString(), HasSubstr("version 2, not 1"));
}

// --- What is on its way

TEST_F(ProducerStateTest, SeveralBatchesMayBeOnTheirWay) {
  PendingBatches pending;
  for (uint64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(Show(pending.Judge(state_, Batch(7, i, 1))), "new");
    pending.Add(state_, Batch(7, i, 1), {.index = LogIndex{10 + i}, .base_offset = Offset{i}});
  }
  EXPECT_EQ(Show(pending.Judge(state_, Batch(7, 6, 1))), "OUT_OF_ORDER expected 5");
  EXPECT_EQ(Show(pending.Judge(state_, Batch(7, 2, 1))), "duplicate of 2");
}

TEST_F(ProducerStateTest, WhatIsAppliedIsNoLongerPending) {
  PendingBatches pending;
  pending.Add(state_, Batch(7, 0, 1), {.index = LogIndex{1}, .base_offset = Offset{0}});
  pending.Add(state_, Batch(7, 1, 1), {.index = LogIndex{2}, .base_offset = Offset{1}});
  Append(Batch(7, 0, 1));
  pending.AppliedTo(LogIndex{1});
  EXPECT_EQ(pending.producers(), 1u);
  EXPECT_EQ(Show(pending.Judge(state_, Batch(7, 2, 1))), "new");
  Append(Batch(7, 1, 1));
  pending.AppliedTo(LogIndex{2});
  EXPECT_EQ(pending.producers(), 0u);
  EXPECT_EQ(Show(pending.Judge(state_, Batch(7, 2, 1))), "new");
}

TEST_F(ProducerStateTest, WhatWasOnlyPendingIsForgottenWithTheLeadership) {
  PendingBatches pending;
  pending.Add(state_, Batch(7, 0, 1), {.index = LogIndex{1}, .base_offset = Offset{0}});
  pending.Clear();
  EXPECT_EQ(Show(pending.Judge(state_, Batch(7, 1, 1))), "UNKNOWN_PRODUCER");
  EXPECT_EQ(Show(pending.Judge(state_, Batch(7, 0, 1))), "new");
}

TEST_F(ProducerStateTest, ANewEpochMayBePending) {
  PendingBatches pending;
  Append(Batch(7, 0, 3));
  pending.Add(state_, Batch(7, 0, 1, 1), {.index = LogIndex{2}, .base_offset = Offset{3}});
  EXPECT_EQ(Show(pending.Judge(state_, Batch(7, 3, 1, 0))), "FENCED");
  EXPECT_EQ(Show(pending.Judge(state_, Batch(7, 1, 1, 1))), "new");
}

// --- Against a model that remembers everything

// Where every record of every producer is.
class Model {
 public:
  explicit Model(SequenceScope scope) : scope_(scope) {}
  struct Kept {
    uint32_t epoch = 0;
    uint64_t next = 0;
    std::map<uint64_t, std::pair<uint64_t, uint32_t>> batches;  // base sequence -> offset, count
  };

  // Nothing: it has to be refused. Otherwise where it is or would go, and whether it is a duplicate.
  struct Answer {
    bool duplicate = false;
    uint64_t offset = 0;
  };
  std::optional<Answer> Judge(const SequencedBatch& batch) const {
    const auto found = kept_.find(batch.producer.producer_id);
    const bool topic = scope_ == SequenceScope::kTopic;
    const uint64_t base = batch.producer.base_sequence;
    if (found == kept_.end() || batch.producer.epoch > found->second.epoch) {
      if (topic || base == 0) return Answer{.offset = end_};
      return std::nullopt;
    }
    const Kept& kept = found->second;
    if (batch.producer.epoch < kept.epoch) return std::nullopt;
    if (base == kept.next || (topic && base > kept.next)) return Answer{.offset = end_};
    const auto same = kept.batches.find(base);
    if (same == kept.batches.end() || same->second.second != batch.count) return std::nullopt;
    return Answer{.duplicate = true, .offset = same->second.first};
  }
  void Append(const SequencedBatch& batch) {
    Kept& kept = kept_[batch.producer.producer_id];
    if (batch.producer.epoch > kept.epoch) kept = Kept{.epoch = batch.producer.epoch};
    kept.batches[batch.producer.base_sequence] = {end_, batch.count};
    kept.next = batch.end();
    end_ += batch.count;
  }
  // The batches of the producer's epoch, oldest first.
  const Kept& kept(uint64_t id) { return kept_[id]; }
  uint64_t end() const { return end_; }

 private:
  SequenceScope scope_;
  std::map<uint64_t, Kept> kept_;
  uint64_t end_ = 0;
};

class ProducerStateModelTest : public testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, ProducerStateModelTest, testing::Range<uint64_t>(1, 41));

// Batches that go on, are repeated, skip something, or come of an old or a new epoch, through pending, with
// failovers in between.
TEST_P(ProducerStateModelTest, AgreesWithOneThatRemembersEverything) {
  Random random(GetParam());
  const SequenceScope scope = random.OneIn(2) ? SequenceScope::kTopic : SequenceScope::kPartition;
  Model model(scope);  // of everything proposed
  Model committed(scope);
  ProducerState state;
  PendingBatches pending;
  std::vector<SequencedBatch> flying;
  uint64_t next_index = 1;
  uint64_t duplicates = 0;
  for (int step = 0; step < 3000; ++step) {
    if (random.OneIn(200)) {  // a failover: some of what is on its way stays
      flying.resize(random.Below(flying.size() + 1));
      pending.Clear();
      for (const SequencedBatch& batch : flying) {
        state.Apply(batch, Offset{committed.end()});
        committed.Append(batch);
      }
      flying.clear();
      model = committed;
      if (random.OneIn(2)) {  // to a replica that had a snapshot
        std::string bytes;
        state.EncodeTo(&bytes);
        state = *ProducerState::Decode(bytes);
      }
    }
    if (!flying.empty() && random.OneIn(3)) {
      state.Apply(flying.front(), Offset{committed.end()});
      committed.Append(flying.front());
      flying.erase(flying.begin());
      pending.AppliedTo(LogIndex{next_index - flying.size() - 1});
    }
    const uint64_t id = random.Between(1, 3);
    const Model::Kept& kept = model.kept(id);
    uint32_t epoch = kept.epoch;
    uint64_t base = kept.next;
    auto count = static_cast<uint32_t>(random.Between(1, 3));
    const uint64_t what = random.Below(20);
    if (what < 6 && !kept.batches.empty()) {  // one of the last five again
      auto again = kept.batches.rbegin();
      std::advance(again, random.Below(std::min<uint64_t>(5, kept.batches.size())));
      base = again->first;
      count = again->second.second;
    } else if (what == 6) {
      base += random.Between(1, 4);
    } else if (what == 7 && epoch > 0) {
      --epoch;
    } else if (what == 8 && random.OneIn(10)) {
      ++epoch;
      base = 0;
    }
    const SequencedBatch batch = Batch(id, base, count, epoch, scope);
    const SequenceVerdict verdict = pending.Judge(state, batch);
    const std::optional<Model::Answer> expected = model.Judge(batch);
    ASSERT_EQ(verdict.kind != SequenceVerdict::Kind::kRefused, expected.has_value()) << "step " << step << ": " << Show(verdict);
    if (!expected) continue;
    ASSERT_EQ(verdict.kind == SequenceVerdict::Kind::kDuplicate, expected->duplicate) << "step " << step << ": " << Show(verdict);
    if (expected->duplicate) {
      ++duplicates;
      ASSERT_EQ(verdict.offset.value(), expected->offset) << "step " << step;
      continue;
    }
    pending.Add(state, batch, {.index = LogIndex{next_index++}, .base_offset = Offset{model.end()}});
    model.Append(batch);
    flying.push_back(batch);
  }
  EXPECT_GT(duplicates, 100u);
}

}  // namespace
}  // namespace flotilla::partition
