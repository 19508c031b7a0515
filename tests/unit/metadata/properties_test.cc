// Whatever is asked in whatever order: all replays agree, and an image keeps its promises.
#include <algorithm>
#include <set>

#include "server/metadata/balance.h"
#include "server/metadata/limits.h"
#include "server/metadata/liveness.h"
#include "server/metadata/producers.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

// What has to hold of every image.
void CheckPromises(const Image& image, std::set<GroupId>* groups_ever, std::set<GroupId>* groups_before) {
  std::set<GroupId> groups;
  std::map<NodeId, NodeLoad> loads;
  size_t replicas = 0;
  size_t moving = 0;
  image.topics.ForEach([&](const Uuid& id, const Shared<Topic>& topic) {
    ASSERT_EQ(topic->id, id);
    ASSERT_EQ(image.FindTopic(topic->topic_namespace, topic->name), topic.get());
    for (size_t i = 0; i < topic->partitions.size(); ++i) {
      const Partition& partition = *topic->partitions[i];
      ASSERT_EQ(partition.number, i);
      ASSERT_EQ(partition.replicas.size(), topic->replication_factor);
      ASSERT_TRUE(partition.WantedOn(partition.preferred_leader).valid());
      ASSERT_TRUE(groups.insert(partition.group).second) << "two partitions with group " << partition.group;
      ASSERT_LT(partition.group, image.next_group);
      ASSERT_EQ(image.FindPartition(partition.group), &partition);
      std::set<NodeId> nodes;
      for (const ReplicaId& replica : partition.Existing()) {
        ASSERT_LT(replica.incarnation, partition.next_incarnation);
        ASSERT_TRUE(nodes.insert(replica.node).second) << "two replicas on node " << replica.node;
        ASSERT_NE(image.FindNode(replica.node), nullptr);
        ASSERT_NE(image.replicas.Find(NodeGroup{replica.node, partition.group}), nullptr);
        ++loads[replica.node].replicas;
        ++replicas;
      }
      moving += partition.movement ? 1 : 0;
      ASSERT_EQ(image.moving.Contains(partition.group), partition.movement.has_value());
      if (partition.movement) {
        ASSERT_EQ(partition.movement->settled.size(), topic->replication_factor);
      }
      ++loads[partition.preferred_leader].preferred_leaders;
    }
  });
  ASSERT_EQ(image.groups.size(), groups.size());
  ASSERT_EQ(image.replicas.size(), replicas);
  ASSERT_EQ(image.moving.size(), moving);
  ASSERT_EQ(image.topic_names.size(), image.topics.size());
  ASSERT_EQ(image.requests.size(), image.request_order.size());
  ASSERT_EQ(image.raised_producers.size(), image.raised_order.size());
  image.raised_producers.ForEach([&](uint64_t order, const RaisedProducer& producer) {
    ASSERT_EQ(*image.raised_order.Find(producer.latest.id), order);
    ASSERT_LT(producer.latest.id, image.next_producer);
    ASSERT_GT(producer.latest.epoch, 0u);
  });
  image.nodes.ForEach([&](NodeId id, const Shared<Node>&) {
    ASSERT_LT(id, image.next_node);
    ASSERT_EQ(image.LoadOf(id), loads[id]);
    ASSERT_LE(image.LoadOf(id).replicas, limits::kReplicasPerNodeMax);
  });
  for (const GroupId group : groups) {
    if (groups_before->contains(group)) continue;
    ASSERT_TRUE(groups_ever->insert(group).second) << "group " << group << " was given twice";
  }
  *groups_before = groups;
}

// Draws requests, some of which make no sense.
class Asker {
 public:
  explicit Asker(uint64_t seed) : random_(seed), scene_(seed) { scene_.Found({.nodes = 3 + random_.Below(4), .racks = {"a", "b", "c"}}); }

  Scene& scene() { return scene_; }

  void Ask() {
    scene_.now_ms += static_cast<int64_t>(random_.Below(60'000));
    const Image& image = scene_.image();
    switch (random_.Below(15)) {
      case 0:
      case 1:
        (void)scene_.TryCreate(Name(), {.partitions = Number(12), .replication_factor = Number(4) + 1, .request_id = RequestId()}).ok();
        return;
      case 2: (void)scene_.Do(DecideTopicDeletion({.topic = {.name = Name()}, .tag = Tag()}, image, scene_.Draw())).ok(); return;
      case 3:
        (void)scene_
            .Do(DecideMorePartitions({.topic = {.name = Name()}, .partition_count = Number(30), .tag = Tag()}, image, scene_.Draw()))
            .ok();
        return;
      case 4: (void)scene_.Do(DecideConfigChange(Config(), image, scene_.Draw())).ok(); return;
      case 5:
        (void)scene_
            .Do(DecideLeaderPreference({.topic = {.name = Name()}, .partition = Number(5), .node = AnyNode(), .tag = Tag()}, image,
                                       scene_.Draw()))
            .ok();
        return;
      case 6: {
        const Node* node = image.FindNode(AnyNode());
        if (node != nullptr) scene_.SetAlive(node->id.value(), !node->alive);
        return;
      }
      case 10:
      case 11: AskForMoves(); return;
      case 12: SettleSome(); return;
      case 13: AskForModes(); return;
      case 7: (void)scene_.Do(DecideProducerIds({.node = AnyNode(), .count = 3}, image)).ok(); return;
      case 8: {
        InitProducer request{.tag = Tag()};
        if (random_.OneIn(2)) request.existing = ProducerEpoch{1 + random_.Below(60), static_cast<uint32_t>(random_.Below(3))};
        if (random_.OneIn(4)) request.topic = TopicSelector{.name = Name()};
        // Now and then a week passes between two of them.
        if (random_.OneIn(20)) scene_.now_ms += limits::kRaisedProducerMillis;
        (void)scene_.Do(DecideProducer(request, image, scene_.Draw())).ok();
        return;
      }
      default:
        (void)scene_
            .Register({.cluster = {}, .claimed = {}, .description = NodeCalled(1 + random_.Below(12), random_.OneIn(2) ? "a" : "b")})
            .ok();
    }
  }

 private:
  void AskForMoves() {
    const Image& image = scene_.image();
    const TopicSelector topic{.name = Name()};
    switch (random_.Below(5)) {
      case 0:
        (void)scene_.Do(DecideRebuild({.topic = topic, .partition = Number(4), .node = AnyNode(), .tag = Tag()}, image, scene_.Draw()))
            .ok();
        return;
      case 1:
        (void)scene_.Do(DecideMoveCancellation({.topic = topic, .partition = Number(4), .tag = Tag()}, image, scene_.Draw())).ok();
        return;
      case 2:
        if (random_.OneIn(2)) {
          (void)scene_.Do(DecideBalanceStart({.planned_moves = random_.Below(9)}, image, scene_.Draw())).ok();
        } else {
          (void)scene_.Do(DecideBalanceCancellation({}, image, scene_.Draw())).ok();
        }
        return;
      default: {
        MoveReplica request{.topic = topic, .partition = Number(4), .from = AnyNode(), .to = {}, .tag = Tag()};
        if (random_.OneIn(2)) request.to = AnyNode();
        (void)scene_.Do(DecideMove(request, image, scene_.Draw())).ok();
      }
    }
  }
  // What leaders of groups say, some of them of a time that is past.
  void SettleSome() {
    const Shared<Image> before = scene_.shared();
    before->moving.ForEach([&](GroupId group, MoveCause) {
      const Partition& partition = *before->FindPartition(group);
      (void)scene_
          .Do(DecideSettled({.group = group,
                             .placement_epoch = partition.placement_epoch - (random_.OneIn(3) ? 1 : 0),
                             .voters = random_.OneIn(4) ? partition.movement->settled : partition.replicas},
                            scene_.image()))
          .ok();
    });
  }
  void AskForModes() {
    const Image& image = scene_.image();
    if (random_.OneIn(3)) {
      (void)scene_.Do(DecideNodeRemoval({.node = AnyNode()}, image, scene_.Draw())).ok();
      return;
    }
    if (random_.OneIn(4)) {
      std::vector<Record> due = RemovalsDue(image, {NodeId{1}});
      if (!due.empty()) scene_.Replay(std::move(due));
      return;
    }
    static constexpr NodeMode kModes[] = {NodeMode::kActive, NodeMode::kDraining, NodeMode::kDecommissioning};
    (void)scene_
        .Do(DecideNodeMode({.node = AnyNode(), .mode = kModes[random_.Below(3)], .recommission = random_.OneIn(2)}, image, scene_.Draw()))
        .ok();
  }
  int64_t Number(uint64_t bound) { return static_cast<int64_t>(random_.Below(bound)); }
  std::string Name() { return "t" + std::to_string(random_.Below(12)); }
  std::string RequestId() { return random_.OneIn(2) ? "" : "r" + std::to_string(random_.Below(40)); }
  RequestTag Tag() { return {.request_id = RequestId(), .validate_only = random_.OneIn(8)}; }
  NodeId AnyNode() { return NodeId{1 + random_.Below(8)}; }
  ChangeConfig Config() {
    ChangeConfig request{.tag = Tag()};
    const bool topic = random_.OneIn(2);
    if (topic) request.topic = TopicSelector{.name = Name()};
    const std::string name = topic ? "timestamp_ahead_ms_max" : "topic.timestamp_ahead_ms_max";
    if (random_.OneIn(3)) {
      request.reset = {name};
    } else {
      request.set = {{name, std::to_string(random_.Below(4))}};
    }
    return request;
  }

  Random random_;
  Scene scene_;
};

class PropertiesTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(PropertiesTest, EveryImageKeepsItsPromises) {
  Asker asker(GetParam());
  std::set<GroupId> ever;
  std::set<GroupId> before;
  for (int step = 0; step < 400; ++step) {
    asker.Ask();
    ASSERT_NO_FATAL_FAILURE(CheckPromises(asker.scene().image(), &ever, &before)) << "step " << step;
  }
  EXPECT_GT(ever.size(), 50u);  // something happened
}

TEST_P(PropertiesTest, ASnapshotAtAnyPointAndTheRestOfTheLogAreTheWholeLog) {
  Asker asker(GetParam());
  for (int step = 0; step < 300; ++step) asker.Ask();
  const auto& log = asker.scene().log();
  const uint32_t expected = ImageChecksum(asker.scene().image());
  Random random(GetParam() * 31);
  for (int replica = 0; replica < 5; ++replica) {
    Shared<Image> image = std::make_shared<const Image>();
    for (const auto& [index, batch] : log) {
      if (random.OneIn(20)) image = *DecodeImage(EncodeImage(*image), kSupportedFeatures);
      const Result<Batch> decoded = DecodeBatch(EncodeBatch(batch).view(), kSupportedFeatures);
      ASSERT_TRUE(decoded.ok()) << decoded.status();
      Result<Shared<Image>> next = ReplayBatch(image, *decoded, index);
      ASSERT_TRUE(next.ok()) << next.status();
      image = *std::move(next);
    }
    ASSERT_EQ(ImageChecksum(*image), expected) << "replica " << replica;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PropertiesTest, ::testing::Range<uint64_t>(1, 9));

}  // namespace
}  // namespace flotilla::metadata
