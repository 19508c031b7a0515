// What a replica makes of its log, by itself: checkpoints, snapshots, trims, and that all replicas make the
// same of it.
#include "server/partition/partition_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/base/random.h"
#include "storage/memory/memory_store.h"
#include "tests/support/entry_maker.h"
#include "tests/unit/partition/records.h"

namespace flotilla::partition {
namespace {

using storage::Entry;
using storage::EntryKind;
using testing::HasSubstr;

constexpr GroupId kGroup{7};

class Quiet final : public PartitionMachine::Observer {
 public:
  void OnAdvanced() override { ++advanced; }
  void OnLeadership() override {}
  void OnFault() override { ++faults; }
  int advanced = 0;
  int faults = 0;
};

// A snapshot in memory.
class Chunks final : public raft::SnapshotReader {
 public:
  explicit Chunks(std::vector<Bytes> chunks) : chunks_(std::move(chunks)) {}
  uint32_t chunks() const override { return static_cast<uint32_t>(chunks_.size()); }
  Result<Bytes> Chunk(uint32_t number) override { return chunks_.at(number); }

 private:
  std::vector<Bytes> chunks_;
};

Entry Finish(Entry entry) {
  storage::SealEntry(&entry);
  return entry;
}

// A replica over a store of its own, and the log that it applies.
class PartitionMachineTest : public testing::Test {
 protected:
  PartitionMachineTest() { Open(); }

  void Open(PartitionOptions options = {}) {
    machine_ = std::make_unique<PartitionMachine>(options, quiet_);
    storage::GroupState state;
    state.group = kGroup;
    state.bounds.start = start_;
    opened_at_ = machine_->AppliedOnOpen(state, RowsOnly(rows_));
    if (opened_at_ == start_.last.index && opened_at_ != LogIndex{0}) Restore();
  }
  void Restore() {
    Chunks chunks(snapshot_);
    const Status restored = machine_->Restore({.anchor = start_}, chunks);
    ASSERT_TRUE(restored.ok()) << restored;
  }
  // Everything after what the machine has.
  void ApplyAll(size_t per_turn = 1000) {
    std::vector<Entry> turn;
    for (const Entry& entry : log_) {
      if (entry.index() <= machine_->applied()) continue;
      turn.push_back(entry);
      if (turn.size() == per_turn) Apply(&turn);
    }
    Apply(&turn);
  }
  void Apply(std::vector<Entry>* entries) {
    if (entries->empty()) return;
    std::vector<storage::StateWrite> rows;
    machine_->Apply(*entries, &rows);
    for (storage::StateWrite& row : rows) rows_[row.key] = row.value;
    entries->clear();
  }
  std::string State() { return std::string(machine_->Snapshot()->chunks.front().view()); }

  Entry Batch(uint32_t count, ProducerBatch producer = {}, int64_t append_timestamp_ms = 1000) {
    RecordBuffer records = RecordBuffer::CopyOf(SetOf(count));
    const Bytes payload = std::move(records).Seal({.producer = producer, .append_timestamp_ms = append_timestamp_ms});
    return make_.Data(payload, {.records = count});
  }
  Entry Sequence(uint64_t id, uint64_t base, uint32_t count, int64_t time = 1000) {
    return Batch(count, {.producer_id = id, .base_sequence = base, .scope = SequenceScope::kPartition}, time);
  }
  Entry Trim(uint64_t log_start) {
    Entry entry = make_.Noop();
    entry.header.kind = EntryKind::kTrim;
    entry.payload = EncodeTrim(Offset{log_start});
    return Finish(entry);
  }

  // A reader that only knows rows.
  class RowsOnly final : public storage::LogReader {
   public:
    explicit RowsOnly(const std::map<std::string, Bytes>& rows) : rows_(rows) {}
    Result<std::optional<Bytes>> GetState(GroupId, std::string_view key) const override {
      const auto row = rows_.find(std::string(key));
      return row == rows_.end() ? std::optional<Bytes>() : std::optional(row->second);
    }
    std::vector<GroupId> Groups() const override { return {}; }
    Result<storage::GroupState> Load(GroupId) const override { return Nothing(); }
    Result<storage::GroupIdentity> Identity(GroupId) const override { return Nothing(); }
    Result<storage::LogBounds> Bounds(GroupId) const override { return Nothing(); }
    Result<uint64_t> ApproximateBytes(GroupId) const override { return Nothing(); }
    Result<std::vector<Entry>> Read(GroupId, LogIndex, LogIndex, storage::ReadLimits) const override { return Nothing(); }
    std::optional<std::vector<Entry>> ReadCached(GroupId, LogIndex, LogIndex, storage::ReadLimits) const override { return {}; }
    Result<storage::EntryHeader> FindOffset(GroupId, Offset) const override { return Nothing(); }
    Result<std::optional<storage::EntryHeader>> FindTimestamp(GroupId, int64_t) const override { return Nothing(); }
    Result<std::vector<StateRow>> ScanState(GroupId, std::string_view, std::string_view, size_t) const override { return Nothing(); }
    Result<Bytes> ReadSnapshotChunk(GroupId, uint64_t, uint32_t) const override { return Nothing(); }

   private:
    static Status Nothing() { return Status(Reason::kGroupNotFound, "only rows here"); }
    const std::map<std::string, Bytes>& rows_;
  };

  storage::EntryMaker make_{kGroup};
  std::vector<Entry> log_;
  storage::LogAnchor start_;
  std::vector<Bytes> snapshot_;  // that stands before start_
  std::map<std::string, Bytes> rows_;
  Quiet quiet_;
  std::unique_ptr<PartitionMachine> machine_;
  LogIndex opened_at_;
};

TEST_F(PartitionMachineTest, TheWatermarkIsTheEndOfWhatIsApplied) {
  log_ = {make_.Noop(), Batch(3), make_.Configuration("members"), Batch(2)};
  ApplyAll();
  EXPECT_EQ(machine_->high_watermark(), Offset{5});
  EXPECT_EQ(machine_->applied(), LogIndex{4});
  EXPECT_EQ(machine_->log_start(), Offset{0});
  EXPECT_EQ(quiet_.advanced, 1);
}

TEST_F(PartitionMachineTest, ATrimMovesTheStartForwardOnlyAndNotPastTheEnd) {
  log_ = {Batch(5), Trim(3)};
  ApplyAll();
  EXPECT_EQ(machine_->log_start(), Offset{3});
  log_.push_back(Trim(1));
  log_.push_back(Trim(99));
  ApplyAll();
  EXPECT_EQ(machine_->log_start(), Offset{5});
}

TEST_F(PartitionMachineTest, ARestartAppliesOnlyWhatCameAfterTheCheckpoint) {
  Open({.checkpoint_bytes = 1000});
  for (int i = 0; i < 100; ++i) log_.push_back(Sequence(9, i, 1));
  ApplyAll(1);
  const std::string before = State();
  EXPECT_GT(machine_->checkpoints(), 3u);
  Open();
  EXPECT_GT(opened_at_, LogIndex{80});
  EXPECT_LT(opened_at_, LogIndex{100});
  EXPECT_EQ(machine_->high_watermark(), Offset{opened_at_.value()});
  ApplyAll();
  EXPECT_EQ(State(), before);
}

TEST_F(PartitionMachineTest, ManySmallEntriesAreCheckpointedByTheirNumber) {
  Open({.checkpoint_bytes = 1'000'000'000, .checkpoint_entries = 10});
  for (int i = 0; i < 25; ++i) log_.push_back(Batch(1));
  ApplyAll(1);
  EXPECT_EQ(machine_->checkpoints(), 2u);
}

TEST_F(PartitionMachineTest, ACheckpointThatCannotBeReadCostsTimeAndNothingElse) {
  log_ = {Sequence(9, 0, 2), Sequence(9, 2, 2)};
  ApplyAll();
  const std::string before = State();
  rows_["checkpoint"] = Bytes::Static("damaged");
  Open();
  EXPECT_EQ(opened_at_, LogIndex{0});
  ApplyAll();
  EXPECT_EQ(State(), before);
}

TEST_F(PartitionMachineTest, ASnapshotAnchoredAtTheLogsStartRestoresTheSameState) {
  for (int i = 0; i < 20; ++i) log_.push_back(Sequence(1 + i % 3, i / 3, 1));
  log_.push_back(Trim(12));
  log_.push_back(Sequence(8, 0, 4));
  ApplyAll();
  machine_->MoveAnchor(LogIndex{12});
  const std::string before = State();
  const Result<raft::SnapshotContent> content = machine_->Snapshot();
  ASSERT_TRUE(content.ok());
  EXPECT_EQ(content->anchor, LogIndex{12});

  // Another replica gets the snapshot, and after it the log from the anchor on.
  const storage::LogAnchor anchor = storage::AnchorAfter(log_[11].header);
  start_ = anchor;
  snapshot_ = content->chunks;
  Open();
  EXPECT_EQ(machine_->high_watermark(), Offset{12});  // what it has, not what the snapshot knows
  EXPECT_EQ(machine_->log_start(), Offset{12});
  EXPECT_EQ(machine_->Snapshot().status().reason(), Reason::kNotCaughtUp);
  ApplyAll(1);
  EXPECT_EQ(State(), before);
  EXPECT_EQ(machine_->high_watermark(), Offset{24});
}

TEST_F(PartitionMachineTest, ALargeStateTravelsInChunks) {
  for (uint64_t id = 1; id <= 4000; ++id) {
    for (uint64_t i = 0; i < 4; ++i) {
      log_.push_back(Sequence(id, i, 1));
      log_.push_back(Batch(1));
    }
  }
  ApplyAll();
  const Result<raft::SnapshotContent> content = machine_->Snapshot();
  ASSERT_TRUE(content.ok());
  EXPECT_GT(content->chunks.size(), 1u);
  for (const Bytes& chunk : content->chunks) EXPECT_LE(chunk.size(), flotilla::limits::kSnapshotChunkBytes);
  Chunks chunks(content->chunks);
  PartitionMachine other({}, quiet_);
  EXPECT_TRUE(other.Restore({}, chunks).ok());
  EXPECT_EQ(other.producers().producers(), 4000u);
}

TEST_F(PartitionMachineTest, ADamagedSnapshotIsDataLoss) {
  Chunks chunks({Bytes::Static("not one")});
  EXPECT_EQ(machine_->Restore({}, chunks).reason(), Reason::kDataLoss);
}

TEST_F(PartitionMachineTest, AnEntryThatThisVersionCannotReadStopsThePartition) {
  log_ = {Batch(2), make_.Data("of another version")};
  ApplyAll();
  EXPECT_EQ(machine_->fault().reason(), Reason::kDataLoss);
  EXPECT_THAT(machine_->fault().ToString(), HasSubstr("entry 2 of group 7"));
  EXPECT_EQ(machine_->high_watermark(), Offset{2});
  EXPECT_EQ(quiet_.faults, 1);
  EXPECT_FALSE(machine_->Snapshot().ok());
}

TEST_F(PartitionMachineTest, ProducersAreForgottenByTheTimesInTheLog) {
  log_ = {Sequence(1, 0, 1, 1000), Sequence(2, 0, 1, 1000 + limits::kProducerIdleMillisMax),
          Batch(1, {}, 1001 + limits::kProducerIdleMillisMax)};
  Open({.producers = {.producers_kept = 1}});
  ApplyAll();
  EXPECT_EQ(machine_->producers().Find(1), nullptr);
  EXPECT_NE(machine_->producers().Find(2), nullptr);
}

// Whatever a replica went through (turns of any size, restarts, snapshots), it knows what one knows that
// applied all in one go.
class ReplicasAgreeTest : public PartitionMachineTest, public testing::WithParamInterface<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, ReplicasAgreeTest, testing::Range<uint64_t>(1, 31));

TEST_P(ReplicasAgreeTest, WhateverTheyWentThrough) {
  Random random(GetParam());
  std::map<uint64_t, uint64_t> next;
  uint64_t end = 0;
  int64_t time = 1000;
  for (int i = 0; i < 600; ++i) {
    time += static_cast<int64_t>(random.Below(400'000));  // some are forgotten on the way
    const auto count = static_cast<uint32_t>(random.Between(1, 4));
    const uint64_t id = random.Between(1, 8);
    const uint64_t what = random.Below(20);
    if (what == 0) {
      log_.push_back(make_.Noop());
    } else if (what == 1) {
      log_.push_back(Trim(random.Below(end + 2)));
    } else if (what < 6) {
      log_.push_back(Batch(count, {}, time));
      end += count;
    } else {
      log_.push_back(Sequence(id, next[id], count, time));
      next[id] += count;
      end += count;
    }
  }
  const PartitionOptions options{.producers = {.producers_max = 5, .idle_ms_max = 3'000'000, .producers_kept = 2},
                                 .checkpoint_bytes = 2000};
  Open(options);
  ApplyAll();
  const std::string expected = State();
  rows_.clear();

  Open(options);
  while (machine_->applied() < log_.back().index()) {
    std::vector<Entry> turn;
    for (uint64_t n = random.Between(1, 60); n > 0 && machine_->applied() + turn.size() < log_.back().index(); --n) {
      turn.push_back(log_[machine_->applied().value() + turn.size()]);
    }
    Apply(&turn);
    if (random.OneIn(6)) {
      Open(options);
    } else if (random.OneIn(6)) {
      // Becomes a replica that was given this one's snapshot.
      const LogIndex anchor{random.Between(machine_->anchor().value(), machine_->applied().value())};
      if (anchor == LogIndex{0}) continue;
      machine_->MoveAnchor(anchor);
      const Result<raft::SnapshotContent> content = machine_->Snapshot();
      if (!content.ok()) continue;
      start_ = storage::AnchorAfter(log_[anchor.value() - 1].header);
      snapshot_ = content->chunks;
      rows_.clear();
      Open(options);
    }
  }
  // The start of the log of this one may be a later one; the rest is the same.
  Result<Checkpoint> mine = DecodeCheckpoint(State(), options.producers);
  Result<Checkpoint> other = DecodeCheckpoint(expected, options.producers);
  ASSERT_TRUE(mine.ok() && other.ok());
  std::string producers[2];
  mine->producers.EncodeTo(&producers[0]);
  other->producers.EncodeTo(&producers[1]);
  EXPECT_EQ(producers[0], producers[1]);
  EXPECT_EQ(mine->end_offset, other->end_offset);
  EXPECT_EQ(mine->applied, other->applied);
}

}  // namespace
}  // namespace flotilla::partition
