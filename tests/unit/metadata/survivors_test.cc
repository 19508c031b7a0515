// What people decide about a partition that lost its majority for good, and how it gets its replicas back.
#include "server/metadata/survivors.h"

#include "server/metadata/image_codec.h"
#include "server/metadata/moves.h"
#include "server/metadata/records.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ReplicaId On(uint64_t node, uint64_t life = 0) { return {NodeId{node}, life}; }

class SurvivorsTest : public ::testing::Test {
 protected:
  // Five nodes and "orders" with one partition on 1, 2 and 3 in their first lives, led by 1.
  SurvivorsTest() {
    scene_.Found({.nodes = 3});
    scene_.Create("orders", {.partitions = 1, .replication_factor = 3});
    scene_.Place("orders", 0, {1, 2, 3});
    scene_.Join(4);
    scene_.Join(5);
  }
  const Partition& orders() const { return scene_.partition("orders", 0); }
  const Survival& survival() const { return **scene_.image().survivals.Find(orders().group); }

  Result<Decision> Choose(uint64_t keep, std::vector<ReplicaId> sound, RequestTag tag = {}) {
    return scene_.Do(DecideSurvivor({.topic = {.name = "orders"},
                                     .partition = 0,
                                     .keep = NodeId{keep},
                                     .sound = std::move(sound),
                                     .end = Offset{40},
                                     .committed = Offset{30},
                                     .tag = std::move(tag)},
                                    scene_.image(), scene_.Draw()));
  }
  std::vector<Record> Regrowth() { return PlanRegrowth(scene_.image(), scene_.Draw()); }

  Scene scene_;
};

TEST_F(SurvivorsTest, TheOneThatIsKeptIsAllThereIs) {
  const Result<Decision> decided = Choose(3, {On(3)});
  ASSERT_TRUE(decided.ok()) << decided.status();
  EXPECT_EQ(Told(orders()), "3.1 leader 3");
  EXPECT_EQ(survival(), (Survival{.kept = On(3),
                                  .next_life = On(3, 1),
                                  .lost = {On(1), On(2)},
                                  .end = Offset{40},
                                  .committed = Offset{30},
                                  .at_ms = scene_.now_ms}));
}

TEST_F(SurvivorsTest, NothingIsGivenUpThatAMajorityHas) {
  const Result<Decision> refused = Choose(3, {On(2), On(3)});
  EXPECT_EQ(ReasonOf(refused), "QUORUM_ALIVE");
  EXPECT_EQ(refused.status().Detail("topic"), "orders");
  EXPECT_EQ(refused.status().Detail("partition"), "0");
}

// An earlier life, or one on a node that has none, does not count.
TEST_F(SurvivorsTest, OnlyASoundReplicaIsKept) {
  EXPECT_EQ(ReasonOf(Choose(3, {})), "REPLICA_NOT_FOUND");
  EXPECT_THAT(TextOf(Choose(3, {})), HasSubstr("no node that answers has"));
  EXPECT_EQ(ReasonOf(Choose(3, {On(2)})), "REPLICA_NOT_FOUND");
  EXPECT_THAT(TextOf(Choose(3, {On(2)})), HasSubstr("these nodes have: 2"));
  EXPECT_EQ(ReasonOf(Choose(3, {On(3, 5)})), "REPLICA_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Choose(4, {On(4)})), "REPLICA_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Choose(9, {On(3)})), "NODE_NOT_FOUND");
  EXPECT_EQ(Told(orders()), "1,2,3 leader 1");
}

TEST_F(SurvivorsTest, WhileItMovesBothMajoritiesCount) {
  scene_.Move("orders", 0, 1, 4);  // 4.1, 2, 3, from 1, 2, 3
  ASSERT_EQ(ReasonOf(Choose(3, {On(2), On(3)})), "QUORUM_ALIVE");
  ASSERT_TRUE(Choose(3, {On(3), On(4, 1)}).ok());  // of those from before one is left
  EXPECT_EQ(Told(orders()), "3.2 leader 3");
  EXPECT_THAT(survival().lost, ElementsAre(On(1), On(2), On(4, 1)));
  EXPECT_FALSE(scene_.image().moving.Contains(orders().group));
}

TEST_F(SurvivorsTest, AskedAgainItIsAnsweredAndNotDoneAgain) {
  ASSERT_TRUE(Choose(3, {On(3)}, {.request_id = "r"}).ok());
  const Result<Decision> again = Choose(3, {On(3, 1)}, {.request_id = "r"});
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->outcome.repeated);
  EXPECT_EQ(Told(orders()), "3.1 leader 3");
}

// Whoever leaves the choice to the broker repeats the same request, whatever is newest by then.
TEST_F(SurvivorsTest, AskedAgainWithAnotherNewestLogItIsTheSameRequest) {
  ASSERT_TRUE(Choose(3, {On(3)}, {.request_id = "once"}).ok());
  const Result<Decision> again = Choose(2, {On(2)}, {.request_id = "once"});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->records.empty());
  EXPECT_EQ(Told(orders()), "3.1 leader 3");
}

TEST_F(SurvivorsTest, ItsWayBackToThreeReplicasIsNotCalledOff) {
  ASSERT_TRUE(Choose(3, {On(3)}).ok());
  scene_.Replay(Regrowth());
  const Result<Decision> refused =
      scene_.Do(DecideMoveCancellation({.topic = {.name = "orders"}, .partition = 0}, scene_.image(), scene_.Draw()));
  EXPECT_EQ(ReasonOf(refused), "MOVE_NOT_FOUND");
  EXPECT_THAT(TextOf(refused), HasSubstr("no way back"));
}

TEST_F(SurvivorsTest, ALaterLossIsAnotherSurvival) {
  ASSERT_TRUE(Choose(3, {On(3)}).ok());
  scene_.Replay(Regrowth());
  scene_.SettleAll();
  ASSERT_EQ(orders().replicas.size(), 3u);
  const ReplicaId kept = orders().replicas.back();
  ASSERT_TRUE(Choose(kept.node.value(), {kept}).ok());
  EXPECT_EQ(survival().kept, kept);
  EXPECT_THAT(survival().lost, SizeIs(2));
}

TEST_F(SurvivorsTest, ASnapshotHasItAndATopicTakesItAlong) {
  ASSERT_TRUE(Choose(3, {On(3)}).ok());
  scene_.Replay(Regrowth());
  const Result<Shared<Image>> again = DecodeImage(EncodeImage(scene_.image()), kSupportedFeatures);
  ASSERT_TRUE(again.ok()) << again.status();
  const GroupId group = orders().group;
  EXPECT_EQ(**(*again)->survivals.Find(group), survival());
  EXPECT_EQ(*(*again)->FindPartition(group), orders());
  scene_.Delete("orders");
  EXPECT_FALSE(scene_.image().survivals.Contains(group));
}

// Lost nodes are removed for good; what was decided about them stays readable.
TEST_F(SurvivorsTest, ASnapshotNamesNodesThatAreGone) {
  ASSERT_TRUE(Choose(3, {On(3)}).ok());
  scene_.SetAlive(1, false);
  ASSERT_TRUE(scene_.Do(DecideNodeRemoval({.node = NodeId{1}}, scene_.image(), scene_.Draw())).ok());
  EXPECT_TRUE(DecodeImage(EncodeImage(scene_.image()), kSupportedFeatures).ok());
}

TEST_F(SurvivorsTest, ARecordThatDoesNotFitIsRefused) {
  Record out;
  record::SurvivorChosen& record = *out.mutable_survivor_chosen();
  record.set_group_id(orders().group.value());
  record.set_placement_epoch(orders().placement_epoch + 1);
  record.mutable_kept()->set_node_id(3);
  record.set_next_incarnation(orders().next_incarnation);
  const auto refused = [&](auto change) {
    Record changed = out;
    change(changed.mutable_survivor_chosen());
    ImageBuilder builder(scene_.image(), RecordSource::kLog);
    const Status status = builder.Apply(changed);
    return status.ok() ? std::string() : std::string(status.message());
  };
  EXPECT_EQ(refused([](auto*) {}), "");
  EXPECT_THAT(refused([](auto* r) { r->set_group_id(99); }), HasSubstr("group 99"));
  EXPECT_THAT(refused([](auto* r) { r->set_placement_epoch(9); }), HasSubstr("epoch 9"));
  EXPECT_THAT(refused([](auto* r) { r->mutable_kept()->set_node_id(4); }), HasSubstr("cannot be kept"));
  EXPECT_THAT(refused([](auto* r) { r->mutable_kept()->set_incarnation(4); }), HasSubstr("cannot be kept"));
  EXPECT_THAT(refused([](auto* r) { r->clear_kept(); }), HasSubstr("cannot be kept"));
  EXPECT_THAT(refused([](auto* r) { r->set_next_incarnation(0); }), HasSubstr("is not new"));
}

// --- afterwards

TEST_F(SurvivorsTest, ItGetsAsManyReplicasAsItsTopicWants) {
  EXPECT_THAT(Regrowth(), IsEmpty());
  scene_.SetAlive(1, false);
  scene_.SetAlive(2, false);
  ASSERT_TRUE(Choose(3, {On(3)}).ok());
  scene_.Replay(Regrowth());
  EXPECT_EQ(orders().replicas.size(), 3u);
  for (const uint64_t node : {3, 4, 5}) EXPECT_TRUE(orders().WantedOn(NodeId{node}).valid()) << node;
  EXPECT_EQ(orders().WantedOn(NodeId{3}), On(3, 1));
  EXPECT_EQ(orders().preferred_leader, NodeId{3});
  EXPECT_THAT(Regrowth(), IsEmpty());  // under way
  scene_.SettleAll();
  EXPECT_THAT(Regrowth(), IsEmpty());
}

TEST_F(SurvivorsTest, ItWaitsForNodes) {
  for (const uint64_t node : {1, 2, 4}) scene_.SetAlive(node, false);
  ASSERT_TRUE(Choose(3, {On(3)}).ok());
  EXPECT_THAT(Regrowth(), IsEmpty());
  scene_.SetAlive(4, true);
  EXPECT_THAT(Regrowth(), SizeIs(1));
}

}  // namespace
}  // namespace flotilla::metadata
