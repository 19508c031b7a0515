// Producers: ids that are never given twice, epochs that only rise.
#include "server/metadata/producers.h"

#include "server/metadata/limits.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kDayMillis = 24 * 60 * 60 * 1000;

class ProducersTest : public ::testing::Test {
 protected:
  ProducersTest() { scene_.Found({.nodes = 3}); }

  Result<Decision> Init(const InitProducer& request = {}) { return scene_.Do(DecideProducer(request, scene_.image(), scene_.Draw())); }
  Result<Decision> Raise(uint64_t id, uint32_t epoch, std::string request_id = "") {
    return Init({.existing = ProducerEpoch{id, epoch}, .tag = {.request_id = std::move(request_id)}});
  }
  Result<Decision> Reserve(uint64_t node, uint32_t count = limits::kProducerIdBlock) {
    return scene_.Do(DecideProducerIds({.node = NodeId{node}, .count = count}, scene_.image()));
  }
  Status Replay(const Record& record) {
    Batch batch;
    batch.set_previous_version(scene_.image().version.value());
    *batch.add_records() = record;
    return ReplayBatch(scene_.shared(), batch, scene_.image().version + 1).status();
  }
  Shared<Image> Restored() {
    const Result<Shared<Image>> image = DecodeImage(EncodeImage(scene_.image()), kSupportedFeatures);
    EXPECT_TRUE(image.ok()) << image.status();
    return *image;
  }

  Scene scene_;
};

// --- ids

TEST_F(ProducersTest, NodesGetBlocksThatDoNotOverlap) {
  const Result<Decision> first = Reserve(1);
  const Result<Decision> second = Reserve(3, 10);
  const Result<Decision> third = Reserve(1, 1);
  EXPECT_EQ(first->outcome.producer_ids_first, 1u);
  EXPECT_EQ(first->outcome.producer_ids_count, 1000u);
  EXPECT_EQ(second->outcome.producer_ids_first, 1001u);
  EXPECT_EQ(third->outcome.producer_ids_first, 1011u);
  EXPECT_EQ(scene_.image().next_producer, 1012u);
}

TEST_F(ProducersTest, ABlockIsOneToAThousandIdsForANodeOfTheCluster) {
  EXPECT_EQ(ReasonOf(Reserve(1, 0)), "INVALID_ARGUMENT");
  const Result<Decision> too_many = Reserve(1, 1001);
  EXPECT_EQ(ReasonOf(too_many), "LIMIT_EXCEEDED");
  EXPECT_EQ(TextOf(too_many), "1001 ids of producers at once; the limit is 1000");
  EXPECT_EQ(ReasonOf(Reserve(4)), "NODE_NOT_FOUND");
  EXPECT_EQ(scene_.image().next_producer, 1u);
}

TEST_F(ProducersTest, ANewProducerHasAnIdOfItsOwnAndEpochZero) {
  ASSERT_TRUE(Reserve(2, 5).ok());
  const Result<Decision> first = Init();
  const Result<Decision> second = Init();
  EXPECT_EQ(first->outcome.producer_id, 6u);
  EXPECT_EQ(first->outcome.producer_epoch, 0u);
  EXPECT_EQ(second->outcome.producer_id, 7u);
}

TEST_F(ProducersTest, WithoutAClusterThereAreNoProducers) {
  Scene empty;
  EXPECT_EQ(ReasonOf(DecideProducer({}, empty.image(), empty.Draw())), "NOT_INITIALIZED");
  EXPECT_EQ(ReasonOf(DecideProducerIds({.node = NodeId{1}}, empty.image())), "NOT_INITIALIZED");
}

TEST_F(ProducersTest, TheTopicIsAnsweredWithItsNumberOfPartitions) {
  scene_.Create("logs", {.partitions = 7});
  const Result<Decision> known = Init({.topic = TopicSelector{.name = "logs"}});
  EXPECT_EQ(known->outcome.partition_count, 7u);
  EXPECT_EQ(known->outcome.topic, scene_.topic("logs").id);
  EXPECT_EQ(ReasonOf(Init({.topic = TopicSelector{.name = "lgs"}})), "TOPIC_NOT_FOUND");
  EXPECT_EQ(Init()->outcome.partition_count, 0u);
}

// --- the same request, the same answer

TEST_F(ProducersTest, TheSameRequestIdGetsTheSameProducer) {
  const InitProducer request{.tag = {.request_id = "r1"}};
  const Result<Decision> first = Init(request);
  ASSERT_TRUE(Init().ok());
  const Result<Decision> again = Init(request);
  EXPECT_TRUE(again->outcome.repeated);
  EXPECT_THAT(again->records, IsEmpty());
  EXPECT_EQ(again->outcome.producer_id, first->outcome.producer_id);
  EXPECT_EQ(again->outcome.producer_epoch, 0u);
}

TEST_F(ProducersTest, ARepetitionIsAnsweredAsBeforeAlthoughTheTopicGrewAndTheEpochRose) {
  scene_.Create("logs", {.partitions = 2});
  const Result<Decision> created = Init({.topic = TopicSelector{.name = "logs"}});
  const uint64_t id = created->outcome.producer_id;
  const InitProducer request{.existing = ProducerEpoch{id, 0}, .topic = TopicSelector{.name = "logs"}, .tag = {.request_id = "r1"}};
  EXPECT_EQ(Init(request)->outcome.producer_epoch, 1u);
  ASSERT_TRUE(Raise(id, 1).ok());
  ASSERT_TRUE(scene_.Do(DecideMorePartitions({.topic = {.name = "logs"}, .partition_count = 5}, scene_.image(), scene_.Draw())).ok());
  const Result<Decision> again = Init(request);
  EXPECT_TRUE(again->outcome.repeated);
  EXPECT_EQ(again->outcome.producer_epoch, 1u);
  EXPECT_EQ(again->outcome.partition_count, 2u);
}

TEST_F(ProducersTest, OneRequestIdForTwoProducersIsRefused) {
  const uint64_t id = Init({.tag = {.request_id = "r1"}})->outcome.producer_id;
  EXPECT_EQ(ReasonOf(Raise(id, 0, "r1")), "REQUEST_ID_REUSED");
  EXPECT_EQ(ReasonOf(scene_.TryCreate("logs", {.request_id = "r1"})), "REQUEST_ID_REUSED");
}

TEST_F(ProducersTest, AfterTenMinutesTheSameRequestIdIsANewProducer) {
  const InitProducer request{.tag = {.request_id = "r1"}};
  EXPECT_EQ(Init(request)->outcome.producer_id, 1u);
  scene_.now_ms += 11 * 60 * 1000;
  ASSERT_TRUE(Init({.tag = {.request_id = "r2"}}).ok());
  EXPECT_EQ(Init(request)->outcome.producer_id, 3u);
}

TEST_F(ProducersTest, ValidateOnlyGivesNothing) {
  const Result<Decision> valid = Init({.tag = {.request_id = "r1", .validate_only = true}});
  ASSERT_TRUE(valid.ok());
  EXPECT_THAT(valid->records, IsEmpty());
  EXPECT_EQ(valid->outcome.producer_id, 0u);
}

// --- epochs

TEST_F(ProducersTest, AnEpochRisesOneByOneAndOlderOnesAreFenced) {
  const uint64_t id = Init()->outcome.producer_id;
  EXPECT_EQ(Raise(id, 0)->outcome.producer_epoch, 1u);
  EXPECT_EQ(Raise(id, 1)->outcome.producer_epoch, 2u);
  const Result<Decision> late = Raise(id, 1);
  EXPECT_EQ(ReasonOf(late), "FENCED");
  EXPECT_EQ(TextOf(late),
            "producer 1 is at epoch 2, not 1; somebody else goes on with it. Stop this one, or start it anew with "
            "a producer of its own");
  EXPECT_EQ(late.status().Detail("producer_id"), "1");
  EXPECT_EQ(late.status().Detail("epoch"), "2");
  EXPECT_EQ(ReasonOf(Raise(id, 3)), "FENCED");
}

TEST_F(ProducersTest, AnIdOfABlockHasEpochZeroUntilItIsRaised) {
  ASSERT_TRUE(Reserve(1, 10).ok());
  EXPECT_EQ(Raise(4, 0)->outcome.producer_epoch, 1u);
  EXPECT_EQ(scene_.image().raised_producers.size(), 1u);
}

TEST_F(ProducersTest, AnIdThatWasNeverGivenIsNobodys) {
  ASSERT_TRUE(Reserve(1, 10).ok());
  EXPECT_TRUE(Raise(10, 0).ok());
  const Result<Decision> refused = Raise(11, 0);
  EXPECT_EQ(ReasonOf(refused), "INVALID_ARGUMENT");
  EXPECT_EQ(TextOf(refused), "producer 11 was never given to anybody; leave producer_id at 0 to get a new one");
  EXPECT_EQ(ReasonOf(Raise(0, 0)), "INVALID_ARGUMENT");
}

TEST_F(ProducersTest, AboveTheLastEpochThereIsNone) {
  ASSERT_TRUE(Reserve(1, 10).ok());
  EXPECT_EQ(Raise(1, limits::kProducerEpochMax - 1)->outcome.producer_epoch, limits::kProducerEpochMax);
  EXPECT_EQ(ReasonOf(Raise(1, limits::kProducerEpochMax)), "LIMIT_EXCEEDED");
}

// --- what is forgotten

TEST_F(ProducersTest, ARaisedEpochIsForgottenAfterAWeekAndThenTheCallersIsTheLatest) {
  ASSERT_TRUE(Reserve(1, 10).ok());
  ASSERT_TRUE(Raise(1, 0).ok());
  scene_.now_ms += 7 * kDayMillis;
  ASSERT_TRUE(Raise(2, 0).ok());
  EXPECT_EQ(ReasonOf(Raise(1, 0)), "FENCED");
  scene_.now_ms += 1;
  ASSERT_TRUE(Raise(3, 0).ok());
  EXPECT_EQ(scene_.image().FindRaised(1), nullptr);
  EXPECT_EQ(Raise(1, 5)->outcome.producer_epoch, 6u);
}

TEST_F(ProducersTest, AProducerThatIsRaisedAgainIsYoungAgain) {
  ASSERT_TRUE(Reserve(1, 10).ok());
  ASSERT_TRUE(Raise(1, 0).ok());
  ASSERT_TRUE(Raise(2, 0).ok());
  scene_.now_ms += 6 * kDayMillis;
  ASSERT_TRUE(Raise(1, 1).ok());
  scene_.now_ms += 2 * kDayMillis;
  ASSERT_TRUE(Raise(3, 0).ok());
  EXPECT_EQ(scene_.image().FindRaised(2), nullptr);
  ASSERT_NE(scene_.image().FindRaised(1), nullptr);
  EXPECT_EQ(scene_.image().FindRaised(1)->latest.epoch, 2u);
}

TEST_F(ProducersTest, RaisedProducersAreBoundedAndTheOldestGoesFirst) {
  for (int block = 0; block < 70; ++block) ASSERT_TRUE(Reserve(1).ok());
  std::vector<Record> records(limits::kRaisedProducersMax + 3);
  for (size_t i = 0; i < records.size(); ++i) {
    records[i].mutable_producer_epoch_raised()->set_producer_id(i + 1);
    records[i].mutable_producer_epoch_raised()->set_epoch(1);
  }
  scene_.Replay(records);
  EXPECT_EQ(scene_.image().raised_producers.size(), limits::kRaisedProducersMax);
  EXPECT_EQ(scene_.image().raised_order.size(), limits::kRaisedProducersMax);
  EXPECT_EQ(scene_.image().FindRaised(3), nullptr);
  EXPECT_NE(scene_.image().FindRaised(4), nullptr);
  EXPECT_EQ(ImageChecksum(*Restored()), ImageChecksum(scene_.image()));
}

// --- records and snapshots

TEST_F(ProducersTest, ASnapshotKnowsIdsEpochsAndAnswers) {
  ASSERT_TRUE(Reserve(1, 10).ok());
  ASSERT_TRUE(Raise(7, 0, "r1").ok());
  ASSERT_TRUE(Raise(2, 4).ok());
  const Shared<Image> restored = Restored();
  EXPECT_EQ(ImageChecksum(*restored), ImageChecksum(scene_.image()));
  EXPECT_EQ(restored->next_producer, 11u);
  EXPECT_EQ(restored->FindRaised(2)->latest, (ProducerEpoch{2, 5}));
  EXPECT_EQ(restored->FindRequest("r1")->producer, (ProducerEpoch{7, 1}));
  const Result<Decision> again = DecideProducer({.existing = ProducerEpoch{7, 0}, .tag = {.request_id = "r1"}}, *restored, scene_.Draw());
  EXPECT_TRUE(again->outcome.repeated);
}

TEST_F(ProducersTest, AClockThatJumpsBackDoesNotMakeASnapshotForgetMore) {
  ASSERT_TRUE(Reserve(1, 10).ok());
  const int64_t now = scene_.now_ms;
  ASSERT_TRUE(Raise(1, 0).ok());
  scene_.now_ms = now - 8 * kDayMillis;
  ASSERT_TRUE(Raise(2, 0).ok());
  scene_.now_ms = now;
  ASSERT_TRUE(Raise(3, 0).ok());
  scene_.now_ms = now - 8 * kDayMillis;
  ASSERT_TRUE(Raise(1, 1).ok());  // producer 2, out of date by the record of 3, is the oldest now
  ASSERT_NE(scene_.image().FindRaised(2), nullptr);
  EXPECT_NE(Restored()->FindRaised(2), nullptr);
}

TEST_F(ProducersTest, RecordsThatContradictTheImageStopTheReplay) {
  ASSERT_TRUE(Reserve(1, 10).ok());
  ASSERT_TRUE(Raise(5, 0).ok());
  Record record;
  record.mutable_producer_ids_reserved()->set_first_producer_id(10);
  record.mutable_producer_ids_reserved()->set_count(5);
  EXPECT_THAT(std::string(Replay(record).message()), HasSubstr("producer 10 is new, but the next one is 11"));
  record.mutable_producer_ids_reserved()->set_first_producer_id(11);
  record.mutable_producer_ids_reserved()->set_node_id(9);
  EXPECT_THAT(std::string(Replay(record).message()), HasSubstr("node 9 is not registered"));
  record.mutable_producer_ids_reserved()->set_node_id(0);
  record.mutable_producer_ids_reserved()->set_count(0);
  EXPECT_THAT(std::string(Replay(record).message()), HasSubstr("no producers"));
  record.mutable_producer_epoch_raised()->set_producer_id(11);
  EXPECT_THAT(std::string(Replay(record).message()), HasSubstr("producer 11 was never given"));
  record.mutable_producer_epoch_raised()->set_producer_id(5);
  record.mutable_producer_epoch_raised()->set_epoch(1);
  EXPECT_THAT(std::string(Replay(record).message()), HasSubstr("epoch 1 of producer 5 is not above 1"));
}

}  // namespace
}  // namespace flotilla::metadata
