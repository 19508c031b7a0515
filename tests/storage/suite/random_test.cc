// Random operations against a store and against a model so simple that it is right: a vector, a few maps. The same seed, the
// same operations. To repeat a failure: FLOTILLA_SEED=<seed> store_suite_test --gtest_filter=<name>
#include "storage/base/random.h"

#include <cstdlib>
#include <map>

#include "tests/storage/suite/store_test.h"

namespace flotilla::storage {
namespace {

// One group as it should be.
struct ModelGroup {
  LogAnchor start;
  std::vector<Entry> entries;
  HardState hard_state;
  std::map<std::string, std::string> rows;
  std::map<std::pair<uint64_t, uint32_t>, std::string> chunks;

  LogAnchor AnchorAt(LogIndex index) const {
    return index == start.last.index ? start : AnchorAfter(entries[index - start.last.index - 1].header);
  }
  LogIndex last() const { return start.last.index + entries.size(); }
};

class RandomTest : public StoreTest {
 protected:
  static uint64_t Seed() {
    const char* seed = std::getenv("FLOTILLA_SEED");
    return seed != nullptr ? std::strtoull(seed, nullptr, 10) : 20240229;
  }
  static int Rounds() {
    const char* rounds = std::getenv("FLOTILLA_ROUNDS");
    return rounds != nullptr ? std::atoi(rounds) : 600;
  }

  GroupId AnyGroup() { return GroupId{1 + random_.Below(4)}; }

  void Step() {
    const GroupId group = AnyGroup();
    auto found = model_.find(group);
    if (found == model_.end()) {
      Do({.group = group, .create = kIdentity});
      model_[group];
      return;
    }
    ModelGroup& model = found->second;
    if (random_.OneIn(60)) {
      Do({.group = group, .destroy = true});
      model_.erase(found);
      return;
    }
    WriteTask task{.group = group};
    if (random_.OneIn(8)) PlanSnapshot(&task, &model);
    if (!random_.OneIn(3)) PlanEntries(&task, &model);
    if (random_.OneIn(3)) PlanHardState(&task, &model);
    if (random_.OneIn(3)) PlanRows(&task, &model);
    if (random_.OneIn(6)) PlanChunks(&task, &model);
    Do(std::move(task));
  }

  void PlanSnapshot(WriteTask* task, ModelGroup* model) {
    LogAnchor anchor = model->AnchorAt(LogIndex{random_.Between(model->start.last.index.value(), model->last().value())});
    task->replace_log = random_.OneIn(4);
    if (task->replace_log) {
      // Anywhere: further on, or back.
      anchor.last.index = LogIndex{random_.Below(300)};
      anchor.last.term = Term{random_.Between(1, 5)};
      anchor.end_offset = Offset{random_.Below(1000)};
      model->entries.clear();
    } else {
      const uint64_t gone = anchor.last.index - model->start.last.index;
      model->entries.erase(model->entries.begin(), model->entries.begin() + static_cast<ptrdiff_t>(gone));
    }
    model->start = anchor;
    task->snapshot = SnapshotMeta{.anchor = anchor, .id = random_.Next()};
  }

  void PlanEntries(WriteTask* task, ModelGroup* model) {
    LogIndex after = model->last();
    if (random_.OneIn(4)) after = LogIndex{random_.Between(model->start.last.index.value(), after.value())};
    model->entries.resize(after - model->start.last.index);
    const LogAnchor at = model->AnchorAt(after);
    EntryMaker make(task->group, std::max(at.last.term, Term{1}) + random_.Below(2));
    make.ContinueAfter(at);
    for (uint64_t count = random_.Between(1, 8); count != 0; --count) task->entries.push_back(AnyEntry(&make));
    model->entries.insert(model->entries.end(), task->entries.begin(), task->entries.end());
  }
  Entry AnyEntry(EntryMaker* make) {
    if (random_.OneIn(8)) return make->Noop();
    if (random_.OneIn(8)) return make->Configuration("members " + std::to_string(random_.Below(100)));
    const int64_t time = static_cast<int64_t>(random_.Below(10'000));
    const size_t size = random_.OneIn(20) ? random_.Below(200'000) : random_.Below(300);
    return make->Data(std::string(size, static_cast<char>('a' + random_.Below(26))),
                      {.records = static_cast<uint32_t>(random_.Between(1, 9)), .min_timestamp_ms = time, .max_timestamp_ms = time});
  }

  void PlanHardState(WriteTask* task, ModelGroup* model) {
    HardState& state = model->hard_state;
    state.term += random_.Between(1, 2);
    state.voted_for = random_.OneIn(2) ? kNoReplica : ReplicaId{NodeId{random_.Between(1, 5)}, 1};
    state.commit = LogIndex{random_.Below(100)};
    task->hard_state = state;
  }

  void PlanRows(WriteTask* task, ModelGroup* model) {
    for (uint64_t count = random_.Between(1, 5); count != 0; --count) {
      const std::string key = std::string(1, static_cast<char>('a' + random_.Below(4))) + std::to_string(random_.Below(30));
      if (random_.OneIn(10)) {
        const std::string prefix = key.substr(0, random_.Between(1, 2));
        task->state.push_back({StateWrite::Kind::kDeletePrefix, prefix, {}});
        std::erase_if(model->rows, [&](const auto& row) { return row.first.starts_with(prefix); });
      } else if (random_.OneIn(5)) {
        task->state.push_back({StateWrite::Kind::kDelete, key, {}});
        model->rows.erase(key);
      } else {
        const std::string value = std::to_string(random_.Next());
        task->state.push_back({StateWrite::Kind::kPut, key, Bytes(value)});
        model->rows[key] = value;
      }
    }
  }

  void PlanChunks(WriteTask* task, ModelGroup* model) {
    const uint64_t id = random_.Between(1, 3);
    const auto number = static_cast<uint32_t>(random_.Below(4));
    const std::string data = std::to_string(random_.Next());
    task->chunks.push_back({.id = id, .number = number, .data = Bytes(data)});
    model->chunks[{id, number}] = data;
    if (random_.OneIn(3)) {
      const uint64_t gone = random_.Between(1, 3);
      task->drop_snapshots.push_back(gone);
      std::erase_if(model->chunks, [gone](const auto& chunk) { return chunk.first.first == gone; });
    }
  }

  void Do(WriteTask task) {
    task.token = ++submitted_;
    ASSERT_THAT(store().Submit(std::move(task), sink_), IsOk());
  }

  void Settle() {
    machine().Drive();
    ASSERT_TRUE(sink_.WaitFor(submitted_));
    for (const WriteDone& done : sink_.done()) ASSERT_THAT(done.status, IsOk()) << "token " << done.token;
  }

  // --- Model and store agree

  void CheckAll() {
    std::vector<GroupId> groups;
    for (const auto& [group, model] : model_) {
      groups.push_back(group);
      CheckGroup(group, model);
    }
    EXPECT_THAT(store().Groups(), testing::UnorderedElementsAreArray(groups));
  }

  void CheckGroup(GroupId group, const ModelGroup& model) {
    SCOPED_TRACE(testing::Message() << "group " << group);
    auto loaded = store().Load(group);
    ASSERT_THAT(loaded.status(), IsOk());
    EXPECT_EQ(loaded->hard_state, model.hard_state);
    EXPECT_EQ(loaded->bounds.start, model.start);
    EXPECT_EQ(loaded->bounds.end, model.AnchorAt(model.last()));
    ASSERT_EQ(Read(model.start.last.index + 1, model.last() + 1, kUnlimited, group), model.entries);
    CheckDerived(*loaded, model);
    CheckSearch(group, model);
    auto rows = store().ScanState(group, "", "", SIZE_MAX);
    ASSERT_THAT(rows.status(), IsOk());
    std::map<std::string, std::string> found;
    for (const auto& row : *rows) found[row.key] = row.value.view();
    EXPECT_EQ(found, model.rows);
    for (uint64_t id = 1; id <= 3; ++id) {
      for (uint32_t number = 0; number < 4; ++number) CheckChunk(group, model, id, number);
    }
  }

  void CheckDerived(const GroupState& loaded, const ModelGroup& model) {
    std::vector<TermRun> terms;
    std::vector<Entry> configurations;
    for (const Entry& entry : model.entries) {
      if (terms.empty() || terms.back().term != entry.term()) terms.push_back({entry.index(), entry.term()});
      if (entry.header.kind == EntryKind::kConfiguration) configurations.push_back(entry);
    }
    EXPECT_EQ(loaded.terms, terms);
    EXPECT_EQ(loaded.configurations, configurations);
  }

  void CheckSearch(GroupId group, const ModelGroup& model) {
    for (int i = 0; i < 5 && !model.entries.empty(); ++i) {
      const Entry& any = model.entries[random_.Below(model.entries.size())];
      if (any.header.record_count != 0) {
        const Offset offset = any.header.base_offset + random_.Below(any.header.record_count);
        auto found = store().FindOffset(group, offset);
        ASSERT_THAT(found.status(), IsOk());
        EXPECT_EQ(*found, any.header);
      }
      const auto time = static_cast<int64_t>(random_.Below(10'000));
      auto expected = std::find_if(model.entries.begin(), model.entries.end(),
                                   [time](const Entry& entry) { return entry.header.max_timestamp_ms >= time; });
      auto found = store().FindTimestamp(group, time);
      ASSERT_THAT(found.status(), IsOk());
      ASSERT_EQ(found->has_value(), expected != model.entries.end()) << "time " << time;
      if (found->has_value()) {
        EXPECT_EQ(**found, expected->header);
      }
    }
  }

  void CheckChunk(GroupId group, const ModelGroup& model, uint64_t id, uint32_t number) {
    auto chunk = store().ReadSnapshotChunk(group, id, number);
    auto expected = model.chunks.find({id, number});
    if (expected == model.chunks.end()) {
      EXPECT_THAT(chunk.status(), FailsWith(Reason::kDataLoss));
    } else {
      ASSERT_THAT(chunk.status(), IsOk());
      EXPECT_EQ(chunk->view(), expected->second);
    }
  }

  Random random_{Seed()};
  std::map<GroupId, ModelGroup> model_ = {{kGroup, {}}};
  RecordingSink sink_;
  uint64_t submitted_ = 0;
};
FLOTILLA_STORE_SUITE(RandomTest);

TEST_P(RandomTest, TheStoreDoesWhatTheModelDoes) {
  SCOPED_TRACE(testing::Message() << "FLOTILLA_SEED=" << Seed());
  for (int round = 0; round < Rounds() && !HasFailure(); ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    for (uint64_t steps = random_.Between(1, 10); steps != 0; --steps) Step();
    Settle();
    if (random_.OneIn(20)) Reopen();
    if (random_.OneIn(20)) PowerCutAndReopen();
    if (random_.OneIn(4)) CheckAll();
  }
  Settle();
  CheckAll();
}

}  // namespace
}  // namespace flotilla::storage
