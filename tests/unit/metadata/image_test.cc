// Images: how records become one, what it answers, and that it survives as bytes.
#include <set>

#include "server/metadata/difference.h"
#include "server/metadata/limits.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ImageTest : public ::testing::Test {
 protected:
  Scene scene_;
};

// --- what it answers

TEST_F(ImageTest, ATopicIsFoundByNameIdAndGroup) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 2});
  const Topic& topic = scene_.topic("orders");
  EXPECT_EQ(scene_.image().FindTopic(topic.id), &topic);
  EXPECT_EQ(scene_.image().FindPartition(GroupId{2}), topic.partitions[1].get());
  EXPECT_EQ(scene_.image().FindTopic(kDefaultNamespace, "payments"), nullptr);
  EXPECT_EQ(scene_.image().FindPartition(GroupId{3}), nullptr);
}

TEST_F(ImageTest, ReplicasAreFoundByNode) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 2, .replication_factor = 3});
  scene_.Create("logs", {.partitions = 1, .replication_factor = 3});
  std::vector<uint64_t> groups;
  scene_.image().ForEachReplicaOn(NodeId{2}, [&](GroupId group, ReplicaId) { groups.push_back(group.value()); });
  EXPECT_THAT(groups, ElementsAre(1, 2, 3));
  EXPECT_EQ(scene_.image().LoadOf(NodeId{2}).replicas, 3u);
}

TEST_F(ImageTest, AnOldImageStaysAsItWas) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders");
  const Shared<Image> before = scene_.shared();
  scene_.Delete("orders");
  EXPECT_NE(before->FindTopic(kDefaultNamespace, "orders"), nullptr);
  EXPECT_EQ(scene_.image().FindTopic(kDefaultNamespace, "orders"), nullptr);
}

TEST_F(ImageTest, TopicsThatDidNotChangeAreShared) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders");
  const Topic* orders = &scene_.topic("orders");
  scene_.Create("logs");
  EXPECT_EQ(&scene_.topic("orders"), orders);
}

TEST_F(ImageTest, GroupIdsOfADeletedTopicAreNotGivenAgain) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 4});
  scene_.Delete("orders");
  scene_.Create("orders", {.partitions = 1});
  EXPECT_EQ(scene_.topic("orders").partitions[0]->group, GroupId{5});
  EXPECT_EQ(scene_.image().LoadOf(NodeId{1}).replicas, 1u);
}

// --- what it refuses

TEST_F(ImageTest, ABatchOfAnotherImageIsNotReplayed) {
  scene_.Found({.nodes = 3});
  Batch batch;
  batch.set_previous_version(scene_.image().version.value() + 5);
  const auto next = ReplayBatch(scene_.shared(), batch, scene_.image().version + 9);
  EXPECT_EQ(ReasonOf(next), "REPLICA_FAULTED");
  EXPECT_THAT(TextOf(next), HasSubstr("follows version"));
}

TEST_F(ImageTest, ARecordThatContradictsTheImageStopsTheReplayAndIsNamed) {
  scene_.Found({.nodes = 3});
  Batch batch;
  batch.set_previous_version(scene_.image().version.value());
  batch.add_records()->mutable_topic_deleted()->set_topic_id(std::string(UuidOf(5).bytes()));
  const auto next = ReplayBatch(scene_.shared(), batch, scene_.image().version + 1);
  EXPECT_EQ(ReasonOf(next), "REPLICA_FAULTED");
  EXPECT_THAT(TextOf(next), HasSubstr("record 0 (topic_deleted)"));
}

TEST_F(ImageTest, ATopicWithoutAllOfItsPartitionsIsNoTopic) {
  scene_.Found({.nodes = 3});
  Batch batch;
  batch.set_previous_version(scene_.image().version.value());
  auto& topic = *batch.add_records()->mutable_topic_created();
  topic.set_topic_id(std::string(UuidOf(5).bytes()));
  topic.set_name("orders");
  topic.set_partition_count(2);
  EXPECT_THAT(TextOf(ReplayBatch(scene_.shared(), batch, scene_.image().version + 1)), HasSubstr("has 0 of 2 partitions"));
}

TEST_F(ImageTest, NothingComesBeforeTheCluster) {
  Batch batch;
  batch.add_records()->mutable_node_registered()->set_node_id(1);
  EXPECT_THAT(TextOf(ReplayBatch(scene_.shared(), batch, LogIndex{1})), HasSubstr("not initialised"));
}

// --- what changed

TEST_F(ImageTest, TheDifferenceNamesWhatChangedAndNothingElse) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 2});
  scene_.Create("logs", {.partitions = 1});
  const Shared<Image> before = scene_.shared();
  ASSERT_TRUE(scene_.Do(DecideMorePartitions({.topic = {.name = "orders"}, .partition_count = 3}, scene_.image(), scene_.Draw())).ok());
  scene_.SetAlive(2, false);
  const Difference difference = Between(*before, scene_.image());
  ASSERT_THAT(difference.nodes, SizeIs(1));
  EXPECT_EQ(difference.nodes[0].after->id, NodeId{2});
  ASSERT_THAT(difference.topics, SizeIs(1));
  EXPECT_EQ(difference.topics[0].after->name, "orders");
  ASSERT_THAT(difference.partitions, SizeIs(1));
  EXPECT_EQ(difference.partitions[0].before, nullptr);
  EXPECT_EQ(difference.partitions[0].after->number, 2u);
  EXPECT_FALSE(difference.cluster_changed);
}

TEST_F(ImageTest, ATopicThatWasCreatedAgainIsAnotherOne) {
  scene_.Found({.nodes = 3});
  scene_.Create("orders", {.partitions = 1});
  const Shared<Image> before = scene_.shared();
  scene_.Delete("orders");
  scene_.Create("orders", {.partitions = 1});
  EXPECT_THAT(Between(*before, scene_.image()).topics, SizeIs(2));
}

TEST_F(ImageTest, NothingChangedBetweenAnImageAndItself) {
  scene_.Found({.nodes = 3});
  EXPECT_TRUE(Between(scene_.image(), scene_.image()).empty());
}

// --- as bytes

TEST_F(ImageTest, ASnapshotBringsBackEverything) {
  scene_.Found({.nodes = 4, .racks = {"a", "b"}});
  scene_.Create("orders", {.partitions = 5, .configs = {{"timestamp_ahead_ms_max", "1000"}}, .request_id = "r1"});
  scene_.Create("gone", {.partitions = 5});
  scene_.Delete("gone");
  scene_.SetAlive(3, false);
  const NodeId other = scene_.topic("orders").partitions[0]->replicas[1].node;
  ASSERT_TRUE(
      scene_.Do(DecideLeaderPreference({.topic = {.name = "orders"}, .partition = 0, .node = other}, scene_.image(), scene_.Draw())).ok());
  ASSERT_TRUE(scene_.Do(DecideConfigChange({.set = {{"topic.timestamp_type", "append"}}}, scene_.image(), scene_.Draw())).ok());

  const Result<Shared<Image>> restored = DecodeImage(EncodeImage(scene_.image()), kSupportedFeatures);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(ImageChecksum(**restored), ImageChecksum(scene_.image()));
  EXPECT_EQ((*restored)->version, scene_.image().version);
  EXPECT_EQ((*restored)->next_group, GroupId{11});
  EXPECT_EQ((*restored)->next_node, NodeId{5});
  EXPECT_FALSE((*restored)->FindNode(NodeId{3})->alive);
  EXPECT_EQ((*restored)->FindPartition(GroupId{1})->preferred_leader, other);
  EXPECT_EQ((*restored)->LoadOf(other), scene_.image().LoadOf(other));
  EXPECT_NE((*restored)->FindRequest("r1"), nullptr);
}

TEST_F(ImageTest, AnImageBeforeTheClusterIsASnapshotToo) {
  const Result<Shared<Image>> restored = DecodeImage(EncodeImage(Image{}), kSupportedFeatures);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_FALSE((*restored)->cluster.has_value());
}

TEST_F(ImageTest, ALargeImageComesInSeveralPartsThatBelongTogether) {
  scene_.Found({.nodes = 32});
  for (int i = 0; i < 5; ++i) scene_.Create("t" + std::to_string(i), {.partitions = 2000, .replication_factor = 3});
  const std::vector<Bytes> chunks = EncodeImage(scene_.image());
  ASSERT_GT(chunks.size(), 1u);
  for (const Bytes& chunk : chunks) EXPECT_LE(chunk.size(), limits::kSnapshotChunkBytes);
  EXPECT_EQ(ImageChecksum(**DecodeImage(chunks, kSupportedFeatures)), ImageChecksum(scene_.image()));

  EXPECT_EQ(ReasonOf(DecodeImage(std::span(chunks).first(chunks.size() - 1), kSupportedFeatures)), "DATA_LOSS");
  std::vector<Bytes> swapped = chunks;
  std::swap(swapped[0], swapped[1]);
  EXPECT_EQ(ReasonOf(DecodeImage(swapped, kSupportedFeatures)), "DATA_LOSS");
}

TEST_F(ImageTest, TheChecksumSeesEveryField) {
  scene_.Found({.nodes = 3});
  std::set<uint32_t> checksums = {ImageChecksum(scene_.image())};
  scene_.Create("orders");
  checksums.insert(ImageChecksum(scene_.image()));
  scene_.SetAlive(1, false);
  checksums.insert(ImageChecksum(scene_.image()));
  scene_.now_ms += 1;
  scene_.SetAlive(1, false);
  checksums.insert(ImageChecksum(scene_.image()));
  EXPECT_THAT(checksums, SizeIs(4));
}

// --- what newer programs write

TEST_F(ImageTest, ABatchOfANewerFeatureLevelIsRefusedWithWhatToDo) {
  Batch batch;
  batch.set_feature_level(9);
  batch.add_records()->mutable_feature_level_changed()->set_feature_level(9);
  const Result<Batch> decoded = DecodeBatch(EncodeBatch(batch).view(), {.min = 1, .max = 2});
  EXPECT_EQ(ReasonOf(decoded), "REPLICA_FAULTED");
  EXPECT_EQ(TextOf(decoded),
            "metadata of feature level 9, but this program knows 1..2; install a version on this node that "
            "knows it");
}

// A record of a kind that does not exist yet: field 99 of MetadataRecord, a message with one field.
TEST_F(ImageTest, ARecordOfAnUnknownKindIsRefusedNotSkipped) {
  Batch batch;
  batch.set_feature_level(1);
  ASSERT_TRUE(batch.add_records()->ParseFromString(std::string("\x9a\x06\x02\x08\x01", 5)));
  EXPECT_THAT(TextOf(DecodeBatch(EncodeBatch(batch).view(), kSupportedFeatures)), HasSubstr("field 99"));
}

TEST_F(ImageTest, AnUnknownFieldOrValueOfAKnownRecordIsRefusedNotIgnored) {
  Batch batch;
  batch.set_feature_level(1);
  record::NodeLivenessChanged& change = *batch.add_records()->mutable_node_liveness_changed();
  change.set_liveness(static_cast<record::NodeLiveness>(77));
  EXPECT_THAT(TextOf(DecodeBatch(EncodeBatch(batch).view(), kSupportedFeatures)), HasSubstr("liveness"));
  ASSERT_TRUE(change.ParseFromString(std::string("\x08\x01\x7a\x00", 4)));
  EXPECT_THAT(TextOf(DecodeBatch(EncodeBatch(batch).view(), kSupportedFeatures)), HasSubstr("field 15"));
}

TEST_F(ImageTest, BytesThatAreNoBatchAreRefused) {
  EXPECT_EQ(ReasonOf(DecodeBatch("\xff\xff\xff", kSupportedFeatures)), "CORRUPT_MESSAGE");
  EXPECT_EQ(ReasonOf(DecodeBatch("", kSupportedFeatures)), "CORRUPT_MESSAGE");
}

}  // namespace
}  // namespace flotilla::metadata
