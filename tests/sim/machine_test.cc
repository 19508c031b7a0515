// The simulated state machines must themselves be right: the same log, the same state, however they came to
// it.
#include "tests/sim/machine.h"

#include <gmock/gmock.h>

#include "storage/memory/memory_store.h"
#include "tests/support/entry_maker.h"

namespace flotilla::sim {
namespace {

using storage::Entry;
using storage::EntryMaker;

constexpr GroupId kGroup{3};

class Silent final : public MachineObserver {
 public:
  bool BeforeApply(GroupId) override { return true; }
  void OnStarted(GroupId, LogIndex, bool) override {}
  void OnApplied(const storage::Entry&, std::optional<uint64_t>) override {}
  void OnFault(GroupId, const Status&) override {}
};

class Chunks final : public raft::SnapshotReader {
 public:
  explicit Chunks(std::vector<Bytes> chunks) : chunks_(std::move(chunks)) {}
  uint32_t chunks() const override { return static_cast<uint32_t>(chunks_.size()); }
  Result<Bytes> Chunk(uint32_t number) override { return chunks_[number]; }

 private:
  std::vector<Bytes> chunks_;
};

class MachineTest : public ::testing::TestWithParam<MachineKind> {
 protected:
  std::unique_ptr<SimMachine> Make(bool rows = false) {
    return MakeMachine(kGroup, {.kind = GetParam(), .rows = rows, .chunk_bytes = 10}, observer_);
  }
  Entry MakeEntry(uint64_t id, uint64_t producer, uint64_t sequence) {
    return make_.Data(EncodeCommand({.id = id, .producer = producer, .sequence = sequence, .key = id % 2}, 3));
  }
  Silent observer_;
  EntryMaker make_{kGroup};
  std::vector<storage::StateWrite> rows_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, MachineTest, ::testing::Values(MachineKind::kRegister, MachineKind::kPartition),
                         [](const auto& kind) { return std::string(kind.param == MachineKind::kRegister ? "Register" : "Partition"); });

TEST_P(MachineTest, TheSameEntriesInOnePieceOrInSeveralGiveTheSameState) {
  const std::vector<Entry> entries{MakeEntry(1, 1, 1), MakeEntry(2, 2, 1), MakeEntry(3, 1, 2)};
  auto whole = Make();
  auto pieces = Make();
  whole->Apply(entries, &rows_);
  for (const Entry& entry : entries) pieces->Apply(std::span(&entry, 1), &rows_);
  EXPECT_EQ(whole->StateHash(), pieces->StateHash());
}

TEST_P(MachineTest, AStateThatWasRestoredGoesOnAsTheOneItCameFrom) {
  const std::vector<Entry> entries{MakeEntry(1, 1, 1), MakeEntry(2, 2, 1), MakeEntry(3, 1, 2)};
  const Entry next = MakeEntry(4, 2, 2);
  auto source = Make();
  source->Apply(entries, &rows_);
  Result<raft::SnapshotContent> content = source->Snapshot();
  ASSERT_TRUE(content.ok());

  auto copy = Make();
  storage::SnapshotMeta meta;
  meta.anchor.last.index = content->anchor;
  Chunks chunks(content->chunks);
  ASSERT_TRUE(copy->Restore(meta, chunks).ok());
  for (const Entry& entry : entries) {
    if (entry.index() > content->anchor) copy->Apply(std::span(&entry, 1), &rows_);
  }
  EXPECT_EQ(copy->StateHash(), source->StateHash());
  source->Apply(std::span(&next, 1), &rows_);
  copy->Apply(std::span(&next, 1), &rows_);
  EXPECT_EQ(copy->StateHash(), source->StateHash());
}

TEST_P(MachineTest, RowsBringTheStateBack) {
  storage::MemoryDisk disk;
  auto store = storage::MemoryStore::Open(disk);
  class Ignore final : public storage::WriteSink {
   public:
    void OnWritten(std::span<const storage::WriteDone>) override {}
  } ignore;
  const std::vector<Entry> entries{MakeEntry(1, 1, 1), MakeEntry(2, 2, 1)};
  auto machine = Make(true);
  machine->Apply(entries, &rows_);
  storage::WriteTask task;
  task.group = kGroup;
  task.create = storage::GroupIdentity{{NodeId{1}, 1}, "test"};
  task.entries = entries;
  task.state = rows_;
  ASSERT_TRUE((*store)->Submit(task, ignore).ok());
  (*store)->SyncOnce();

  auto again = Make(true);
  EXPECT_EQ(again->AppliedOnOpen(*(*store)->Load(kGroup), **store), LogIndex{2});
  EXPECT_EQ(again->StateHash(), machine->StateHash());
}

}  // namespace
}  // namespace flotilla::sim
