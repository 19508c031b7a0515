// The machine of group 0 and its feed: entries in, images and changes out.
#include "server/metadata/metadata_machine.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

storage::Entry EntryOf(LogIndex index, Bytes payload, storage::EntryKind kind = storage::EntryKind::kControl) {
  storage::Entry entry;
  entry.header.index = index;
  entry.header.term = Term{1};
  entry.header.kind = kind;
  entry.payload = std::move(payload);
  return entry;
}

// The log of a scene as group 0 has it: what is not a batch is a no-op.
std::vector<storage::Entry> EntriesOf(const Scene& scene) {
  std::vector<storage::Entry> entries;
  for (const auto& [index, batch] : scene.log()) {
    while (entries.size() + 1 < index.value()) {
      entries.push_back(EntryOf(LogIndex{entries.size() + 1}, {}, storage::EntryKind::kNoop));
    }
    entries.push_back(EntryOf(index, EncodeBatch(batch)));
  }
  return entries;
}

class ChunkReader final : public raft::SnapshotReader {
 public:
  explicit ChunkReader(std::vector<Bytes> chunks) : chunks_(std::move(chunks)) {}
  uint32_t chunks() const override { return static_cast<uint32_t>(chunks_.size()); }
  Result<Bytes> Chunk(uint32_t number) override { return chunks_[number]; }

 private:
  std::vector<Bytes> chunks_;
};

class Listener final : public MetadataListener {
 public:
  std::vector<std::pair<LogIndex, LogIndex>> steps;
  std::vector<Status> halts;
  void OnImage(const Shared<Image>& before, const Shared<Image>& after) override { steps.emplace_back(before->version, after->version); }
  void OnHalt(const Status& reason) override { halts.push_back(reason); }
};

class MachineTest : public ::testing::Test {
 protected:
  MachineTest() {
    scene_.Found({.nodes = 3});
    scene_.Create("orders");
    scene_.Create("logs", {.partitions = 5});
    scene_.Delete("orders");
    entries_ = EntriesOf(scene_);
    machine_.AddListener(listener_);
  }
  void Apply(std::span<const storage::Entry> entries) {
    std::vector<storage::StateWrite> rows;
    machine_.Apply(entries, &rows);
    EXPECT_THAT(rows, IsEmpty());
  }

  Scene scene_;
  std::vector<storage::Entry> entries_;
  Listener listener_;
  MetadataMachine machine_{kSupportedFeatures};
};

TEST_F(MachineTest, HoweverEntriesAreCutIntoTurnsTheImageIsTheSame) {
  for (size_t turn = 1; turn <= entries_.size(); ++turn) {
    MetadataMachine machine(kSupportedFeatures);
    for (size_t at = 0; at < entries_.size(); at += turn) {
      std::vector<storage::StateWrite> rows;
      machine.Apply(std::span(entries_).subspan(at, std::min(turn, entries_.size() - at)), &rows);
    }
    EXPECT_EQ(ImageChecksum(*machine.image()), ImageChecksum(scene_.image())) << turn;
    EXPECT_EQ(machine.applied(), entries_.back().index());
  }
}

TEST_F(MachineTest, ListenersSeeOneStepPerTurnAndNoneForNoops) {
  const std::vector<storage::Entry> noop = {EntryOf(LogIndex{1}, {}, storage::EntryKind::kNoop)};
  Apply(noop);
  EXPECT_THAT(listener_.steps, IsEmpty());
  MetadataMachine machine(kSupportedFeatures);
  Listener listener;
  machine.AddListener(listener);
  std::vector<storage::StateWrite> rows;
  machine.Apply(entries_, &rows);
  EXPECT_THAT(listener.steps, ::testing::ElementsAre(std::pair(LogIndex{0}, scene_.image().version)));
}

TEST_F(MachineTest, ASnapshotRestoresAnotherMachine) {
  Apply(entries_);
  Result<raft::SnapshotContent> content = machine_.Snapshot();
  ASSERT_TRUE(content.ok());
  EXPECT_EQ(content->anchor, entries_.back().index());
  MetadataMachine other(kSupportedFeatures);
  ChunkReader reader(content->chunks);
  storage::SnapshotMeta meta;
  meta.anchor.last.index = content->anchor;
  ASSERT_TRUE(other.Restore(meta, reader).ok());
  EXPECT_EQ(ImageChecksum(*other.image()), ImageChecksum(*machine_.image()));
  EXPECT_EQ(other.applied(), content->anchor);
}

// The batch that raises the level is still of the old one.
TEST_F(MachineTest, ALevelThatItDoesNotKnowHaltsItWhereTheLevelRises) {
  const FeatureRange newer{.min = 1, .max = 2};
  Batch raise;
  raise.set_feature_level(1);
  raise.set_previous_version(scene_.image().version.value());
  raise.add_records()->mutable_feature_level_changed()->set_feature_level(2);
  std::vector<storage::Entry> entries = entries_;
  entries.push_back(EntryOf(entries.back().index() + 1, EncodeBatch(raise)));
  Apply(entries);
  EXPECT_EQ(machine_.image()->version, scene_.image().version);
  ASSERT_THAT(listener_.halts, SizeIs(1));
  EXPECT_EQ(UnknownFeatureLevelIn(listener_.halts[0]), "2");
  EXPECT_EQ(UnknownFeatureLevelIn(Status(Reason::kReplicaFaulted, "something else")), std::nullopt);

  MetadataMachine upgraded(newer);
  std::vector<storage::StateWrite> rows;
  upgraded.Apply(entries, &rows);
  EXPECT_TRUE(upgraded.health().ok()) << upgraded.health();
  EXPECT_EQ(upgraded.image()->feature_level(), 2u);
  // Nor does it begin with a snapshot of that level.
  ChunkReader reader(upgraded.Snapshot()->chunks);
  MetadataMachine old(kSupportedFeatures);
  storage::SnapshotMeta meta;
  EXPECT_EQ(UnknownFeatureLevelIn(old.Restore(meta, reader)), "2");
}

TEST_F(MachineTest, WhatItDoesNotUnderstandHaltsItAtTheLastGoodImage) {
  const size_t good = entries_.size() - 1;
  Batch newer;
  newer.set_feature_level(99);
  newer.add_records()->mutable_feature_level_changed()->set_feature_level(99);
  std::vector<storage::Entry> entries = entries_;
  const LogIndex last_good = entries[good].index();
  entries.push_back(EntryOf(last_good + 1, EncodeBatch(newer)));
  Apply(entries);
  EXPECT_EQ(machine_.image()->version, scene_.image().version);
  EXPECT_EQ(machine_.applied(), last_good);
  ASSERT_THAT(listener_.halts, SizeIs(1));
  EXPECT_THAT(std::string(listener_.halts[0].message()), HasSubstr("feature level 99"));
  EXPECT_FALSE(machine_.Snapshot().ok());
  const std::vector<storage::Entry> more = {EntryOf(last_good + 2, {}, storage::EntryKind::kNoop)};
  Apply(more);
  EXPECT_EQ(machine_.applied(), last_good);
  EXPECT_THAT(listener_.halts, SizeIs(1));
}

TEST_F(MachineTest, RecordsOfClientsDoNotBelongHere) {
  const std::vector<storage::Entry> data = {EntryOf(LogIndex{1}, Bytes::Static("x"), storage::EntryKind::kData)};
  Apply(data);
  EXPECT_FALSE(machine_.health().ok());
}

TEST_F(MachineTest, ALongLogAsksForASnapshot) {
  Apply(entries_);
  EXPECT_FALSE(machine_.WantsSnapshot());
  LogIndex index = machine_.applied();
  const storage::Entry noop = EntryOf(index, {}, storage::EntryKind::kNoop);
  for (size_t bytes = 0; bytes < kSnapshotAfterBytes; bytes += noop.bytes()) {
    const std::vector<storage::Entry> next = {EntryOf(++index, {}, storage::EntryKind::kNoop)};
    Apply(next);
  }
  EXPECT_TRUE(machine_.WantsSnapshot());
  ASSERT_TRUE(machine_.Snapshot().ok());
  EXPECT_FALSE(machine_.WantsSnapshot());
}

// --- the feed

class CountingWatcher final : public FeedWatcher {
 public:
  std::vector<LogIndex> versions;
  void OnMetadata(LogIndex version) override { versions.push_back(version); }
};

class FeedTest : public ::testing::Test {
 protected:
  FeedTest() {
    scene_.Found({.nodes = 3});
    feed_.Publish(scene_.shared());
  }
  LogIndex Create(const std::string& name) {
    scene_.Create(name, {.partitions = 1});
    feed_.Publish(scene_.shared());
    return scene_.image().version;
  }
  Scene scene_;
  ChangeFeed feed_{3};
};

TEST_F(FeedTest, AWatcherGetsTheStepsThatItMissed) {
  const LogIndex seen = feed_.Current()->version;
  Create("a");
  const LogIndex last = Create("b");
  const FeedUpdate update = feed_.After(seen);
  EXPECT_FALSE(update.reset);
  ASSERT_THAT(update.changes, SizeIs(2));
  EXPECT_EQ(update.changes[0]->from, seen);
  EXPECT_EQ(update.changes[1]->to, last);
  EXPECT_THAT(feed_.After(last).changes, IsEmpty());
  EXPECT_FALSE(feed_.After(last).reset);
}

TEST_F(FeedTest, ASlowWatcherGetsTheWholeImage) {
  const LogIndex seen = feed_.Current()->version;
  for (const char* name : {"a", "b", "c", "d"}) Create(name);
  const FeedUpdate update = feed_.After(seen);
  EXPECT_TRUE(update.reset);
  EXPECT_THAT(update.changes, IsEmpty());
  EXPECT_EQ(update.image, scene_.shared());
}

TEST_F(FeedTest, AVersionThatThisFeedNeverSawIsAReset) { EXPECT_TRUE(feed_.After(LogIndex{999'999}).reset); }

TEST_F(FeedTest, WatchersAreToldUntilTheyLeave) {
  CountingWatcher watcher;
  feed_.AddWatcher(watcher);
  const LogIndex version = Create("a");
  feed_.RemoveWatcher(watcher);
  Create("b");
  EXPECT_THAT(watcher.versions, ::testing::ElementsAre(version));
}

}  // namespace
}  // namespace flotilla::metadata
