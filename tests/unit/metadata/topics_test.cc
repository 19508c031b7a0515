// Topics and settings: what is decided, and what is refused with which words.
#include "server/metadata/topics.h"

#include "server/metadata/config_schema.h"
#include "server/metadata/limits.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class TopicsTest : public ::testing::Test {
 protected:
  TopicsTest() { scene_.Found({.nodes = 3}); }

  std::string TextOfName(const std::string& name) {
    const Result<Decision> decided = scene_.TryCreate(name);
    return decided.ok() ? "created" : TextOf(decided);
  }
  Result<Decision> Change(const ChangeConfig& request) { return scene_.Do(DecideConfigChange(request, scene_.image(), scene_.Draw())); }
  Result<Decision> Grow(const AddPartitions& request) { return scene_.Do(DecideMorePartitions(request, scene_.image(), scene_.Draw())); }

  Scene scene_;
};

// --- creation

TEST_F(TopicsTest, ATopicGetsTheDefaultsOfTheCluster) {
  scene_.Create("orders");
  EXPECT_THAT(scene_.topic("orders").partitions, SizeIs(3));
  EXPECT_EQ(scene_.topic("orders").replication_factor, 3u);
  ASSERT_TRUE(Change({.set = {{"default_partition_count", "7"}, {"default_replication_factor", "1"}}}).ok());
  scene_.Create("logs");
  EXPECT_THAT(scene_.topic("logs").partitions, SizeIs(7));
  EXPECT_EQ(scene_.topic("logs").replication_factor, 1u);
}

TEST_F(TopicsTest, AClusterOfOneNodeMakesOneReplica) {
  Scene single;
  single.Found({.nodes = 1});
  single.Create("orders");
  EXPECT_EQ(single.topic("orders").replication_factor, 1u);
}

TEST_F(TopicsTest, ADeadNodeDoesNotSilentlyCostReplicas) {
  scene_.SetAlive(2, false);
  const Result<Decision> refused = scene_.TryCreate("orders");
  EXPECT_EQ(ReasonOf(refused), "NOT_ENOUGH_NODES");
  EXPECT_EQ(TextOf(refused),
            "replication factor 3 needs as many living nodes, there are 2 of 3; start more, or ask for fewer "
            "replicas");
  EXPECT_EQ(refused.status().Detail("replication_factor"), "3");
  EXPECT_EQ(refused.status().Detail("live_nodes"), "2");
}

TEST_F(TopicsTest, IllegalNamesAreRefusedWithWhatIsWrong) {
  EXPECT_THAT(TextOfName(""), HasSubstr("no name"));
  EXPECT_EQ(TextOfName(".."), "a topic cannot be called \"..\"; that is a directory");
  EXPECT_EQ(TextOfName("."), "a topic cannot be called \".\"; that is a directory");
  EXPECT_EQ(TextOfName("a b"), "topic name \"a b\" has a space; use letters, digits, '.', '_', '-'");
  EXPECT_THAT(TextOfName("a/b"), HasSubstr("has a slash"));
  EXPECT_EQ(TextOfName(std::string("a\0b", 3)), "topic name \"a\\x00b\" has a NUL byte; use letters, digits, '.', '_', '-'");
  EXPECT_THAT(TextOfName("caf\xc3\xa9"), HasSubstr("the character \"\\xc3\""));
  EXPECT_THAT(TextOfName(std::string(250, 'x')), HasSubstr("has 250 characters; the limit is 249"));
  EXPECT_EQ(TextOfName(std::string(249, 'x')), "created");
  EXPECT_EQ(TextOfName("A-z_0.9"), "created");
}

TEST_F(TopicsTest, OnlyOneThreeOrFiveReplicas) {
  for (const int64_t factor : {-1, 0, 2, 4, 7}) {
    const Result<Decision> refused = scene_.TryCreate("orders", {.replication_factor = factor});
    EXPECT_EQ(ReasonOf(refused), "INVALID_ARGUMENT") << factor;
    EXPECT_EQ(refused.status().Detail("field"), "replication_factor");
  }
  EXPECT_EQ(ReasonOf(scene_.TryCreate("orders", {.replication_factor = 5})), "NOT_ENOUGH_NODES");
}

TEST_F(TopicsTest, PartitionsAreCountedAndLimited) {
  EXPECT_EQ(ReasonOf(scene_.TryCreate("orders", {.partitions = 0})), "INVALID_ARGUMENT");
  EXPECT_EQ(ReasonOf(scene_.TryCreate("orders", {.partitions = -3})), "INVALID_ARGUMENT");
  const Result<Decision> refused = scene_.TryCreate("orders", {.partitions = 10'001});
  EXPECT_EQ(ReasonOf(refused), "LIMIT_EXCEEDED");
  EXPECT_EQ(refused.status().Detail("limit"), "10000");
  EXPECT_EQ(refused.status().Detail("value"), "10001");
}

TEST_F(TopicsTest, ANodeHoldsAThousandReplicasAndTheErrorSaysHowManyFit) {
  scene_.Create("a", {.partitions = 600, .replication_factor = 3});
  const Result<Decision> refused = scene_.TryCreate("b", {.partitions = 500, .replication_factor = 3});
  EXPECT_EQ(ReasonOf(refused), "LIMIT_EXCEEDED");
  EXPECT_EQ(refused.status().Detail("limit"), "400");
  EXPECT_THAT(TextOf(refused), HasSubstr("room for 400 of them; a node holds at most 1000 replicas"));
  scene_.Create("b", {.partitions = 400, .replication_factor = 3});
  EXPECT_EQ(ReasonOf(scene_.TryCreate("c", {.partitions = 1, .replication_factor = 1})), "LIMIT_EXCEEDED");
}

TEST_F(TopicsTest, ANameThatIsTakenIsRefusedWithItsId) {
  scene_.Create("orders");
  const Result<Decision> refused = scene_.TryCreate("orders");
  EXPECT_EQ(ReasonOf(refused), "TOPIC_EXISTS");
  EXPECT_EQ(refused.status().Detail("topic_id"), scene_.topic("orders").id.ToString());
}

TEST_F(TopicsTest, AnotherNamespaceDoesNotExist) {
  const auto create = [&](std::string topic_namespace) {
    return DecideTopicCreation({.topic = {.topic_namespace = std::move(topic_namespace), .name = "orders"}}, scene_.image(), scene_.Draw());
  };
  EXPECT_EQ(ReasonOf(create("blue")), "INVALID_ARGUMENT");
  EXPECT_TRUE(create("default").ok());
  EXPECT_TRUE(create("").ok());
}

TEST_F(TopicsTest, UnknownSettingsAreRefusedWithTheOneThatWasMeant) {
  const Result<Decision> refused = scene_.TryCreate("orders", {.configs = {{"timestamp_ahed_ms_max", "5"}}});
  EXPECT_EQ(ReasonOf(refused), "UNKNOWN_CONFIG");
  EXPECT_EQ(TextOf(refused), "a topic has no setting \"timestamp_ahed_ms_max\"; did you mean \"timestamp_ahead_ms_max\"?");
}

TEST_F(TopicsTest, WithoutAClusterThereAreNoTopics) {
  Scene empty;
  EXPECT_EQ(ReasonOf(empty.TryCreate("orders")), "NOT_INITIALIZED");
}

TEST_F(TopicsTest, ValidateOnlyChecksEverythingAndDoesNothing) {
  const auto validate = [&](const std::string& name) {
    return DecideTopicCreation({.topic = {.name = name}, .tag = {.request_id = "r", .validate_only = true}}, scene_.image(), scene_.Draw());
  };
  EXPECT_THAT(validate("orders")->records, IsEmpty());
  EXPECT_EQ(ReasonOf(validate("a b")), "INVALID_ARGUMENT");
}

// --- once, however often

TEST_F(TopicsTest, TheSameRequestUnderTheSameNameIsDoneOnce) {
  scene_.Create("orders", {.request_id = "r1"});
  const Uuid id = scene_.topic("orders").id;
  const Result<Decision> again = scene_.TryCreate("orders", {.request_id = "r1"});
  EXPECT_TRUE(again->outcome.repeated);
  EXPECT_EQ(again->outcome.topic, id);
  EXPECT_THAT(again->records, IsEmpty());
}

TEST_F(TopicsTest, ARepeatedDeletionDoesNotHitWhatWasCreatedMeanwhile) {
  scene_.Create("orders");
  const DeleteTopic request{.topic = {.name = "orders"}, .tag = {.request_id = "d1"}};
  ASSERT_TRUE(scene_.Do(DecideTopicDeletion(request, scene_.image(), scene_.Draw())).ok());
  scene_.Create("orders");
  EXPECT_TRUE(scene_.Do(DecideTopicDeletion(request, scene_.image(), scene_.Draw()))->outcome.repeated);
  EXPECT_NE(scene_.image().FindTopic(kDefaultNamespace, "orders"), nullptr);
}

TEST_F(TopicsTest, OneNameForTwoRequestsIsRefused) {
  scene_.Create("orders", {.partitions = 3, .request_id = "r1"});
  EXPECT_EQ(ReasonOf(scene_.TryCreate("orders", {.partitions = 4, .request_id = "r1"})), "REQUEST_ID_REUSED");
}

TEST_F(TopicsTest, ARequestIsForgottenAfterTenMinutes) {
  scene_.Create("orders", {.request_id = "r1"});
  scene_.now_ms += 9 * 60 * 1000;
  scene_.Create("logs", {.request_id = "r2"});
  EXPECT_NE(scene_.image().FindRequest("r1"), nullptr);
  scene_.now_ms += 2 * 60 * 1000;
  scene_.Create("more", {.request_id = "r3"});
  EXPECT_EQ(scene_.image().FindRequest("r1"), nullptr);
  EXPECT_NE(scene_.image().FindRequest("r2"), nullptr);
}

TEST_F(TopicsTest, RememberedRequestsAreBounded) {
  std::vector<Record> records(1);
  for (size_t i = 0; i < limits::kRememberedRequestsMax + 100; ++i) {
    records[0].mutable_request_remembered()->set_request_id("r" + std::to_string(i));
    scene_.Replay(records);
  }
  EXPECT_EQ(scene_.image().requests.size(), limits::kRememberedRequestsMax);
  EXPECT_EQ(scene_.image().request_order.size(), limits::kRememberedRequestsMax);
  EXPECT_EQ(scene_.image().FindRequest("r99"), nullptr);
  EXPECT_NE(scene_.image().FindRequest("r100"), nullptr);
}

TEST_F(TopicsTest, ABadRequestIdIsRefused) {
  EXPECT_EQ(ReasonOf(scene_.TryCreate("orders", {.request_id = "a b"})), "INVALID_ARGUMENT");
  EXPECT_EQ(ReasonOf(scene_.TryCreate("orders", {.request_id = std::string(65, 'r')})), "LIMIT_EXCEEDED");
}

// --- selection and deletion

TEST_F(TopicsTest, ATopicIsNamedByNameIdOrBoth) {
  scene_.Create("orders");
  const Uuid id = scene_.topic("orders").id;
  const Image& image = scene_.image();
  EXPECT_TRUE(SelectTopic({.name = "orders"}, image).ok());
  EXPECT_TRUE(SelectTopic({.id = id}, image).ok());
  EXPECT_TRUE(SelectTopic({.name = "orders", .id = id}, image).ok());
  EXPECT_EQ(ReasonOf(SelectTopic({.name = "logs"}, image)), "TOPIC_NOT_FOUND");
  EXPECT_EQ(ReasonOf(SelectTopic({.id = UuidOf(3)}, image)), "TOPIC_NOT_FOUND");
  const auto other = SelectTopic({.name = "orders", .id = UuidOf(3)}, image);
  EXPECT_EQ(ReasonOf(other), "TOPIC_NOT_FOUND");
  EXPECT_THAT(TextOf(other), HasSubstr("deleted and created again"));
  EXPECT_EQ(ReasonOf(SelectTopic({}, image)), "INVALID_ARGUMENT");
}

TEST_F(TopicsTest, ADeletedTopicLeavesNothing) {
  scene_.Create("orders");
  scene_.Delete("orders");
  const Image& image = scene_.image();
  EXPECT_TRUE(image.topics.empty() && image.topic_names.empty() && image.groups.empty() && image.replicas.empty());
  EXPECT_EQ(ReasonOf(DecideTopicDeletion({.topic = {.name = "orders"}}, image, scene_.Draw())), "TOPIC_NOT_FOUND");
}

// --- growth

TEST_F(TopicsTest, ATopicGrowsAndItsOldPartitionsStay) {
  scene_.Create("orders", {.partitions = 2});
  const Shared<Partition> old = scene_.topic("orders").partitions[1];
  ASSERT_TRUE(Grow({.topic = {.name = "orders"}, .partition_count = 5, .expected_partition_count = 2}).ok());
  EXPECT_THAT(scene_.topic("orders").partitions, SizeIs(5));
  EXPECT_EQ(scene_.topic("orders").partitions[1], old);
}

TEST_F(TopicsTest, ATopicDoesNotShrinkNorGrowUnexpectedly) {
  scene_.Create("orders", {.partitions = 3});
  const Result<Decision> same = Grow({.topic = {.name = "orders"}, .partition_count = 3});
  EXPECT_EQ(ReasonOf(same), "INVALID_ARGUMENT");
  EXPECT_THAT(TextOf(same), HasSubstr("has 3 partitions; 3 is not more"));
  const Result<Decision> unexpected = Grow({.topic = {.name = "orders"}, .partition_count = 9, .expected_partition_count = 4});
  EXPECT_EQ(ReasonOf(unexpected), "VERSION_MISMATCH");
  EXPECT_EQ(unexpected.status().Detail("expected"), "4");
  EXPECT_EQ(unexpected.status().Detail("actual"), "3");
}

// --- settings

TEST_F(TopicsTest, SettingsChangeOnlyFromTheVersionThatWasRead) {
  scene_.Create("orders");
  const ChangeConfig first{.topic = TopicSelector{.name = "orders"}, .set = {{"timestamp_ahead_ms_max", "1000"}}, .expected_version = 1};
  EXPECT_EQ(Change(first)->outcome.config_version, 2u);
  ChangeConfig late = first;
  late.set = {{"timestamp_ahead_ms_max", "5"}};
  EXPECT_EQ(ReasonOf(Change(late)), "VERSION_MISMATCH");
  EXPECT_EQ(scene_.topic("orders").configs.at("timestamp_ahead_ms_max"), "1000");
}

TEST_F(TopicsTest, AChangeThatChangesNothingIsNoChange) {
  scene_.Create("orders", {.configs = {{"timestamp_type", "append"}}});
  const Result<Decision> same = Change({.topic = TopicSelector{.name = "orders"}, .set = {{"timestamp_type", "append"}}});
  EXPECT_TRUE(same->outcome.repeated);
  EXPECT_EQ(scene_.topic("orders").config_version, 1u);
}

TEST_F(TopicsTest, TheNarrowestSettingCountsAndSaysWhereItComesFrom) {
  scene_.Create("orders");
  const auto ahead = [&] { return EffectiveSetting(scene_.image(), scene_.topic("orders"), "timestamp_ahead_ms_max"); };
  EXPECT_EQ(ahead().source, ConfigSource::kDefault);
  ASSERT_TRUE(Change({.set = {{"topic.timestamp_ahead_ms_max", "7"}}}).ok());
  EXPECT_EQ(ahead().value, "7");
  EXPECT_EQ(ahead().source, ConfigSource::kCluster);
  ASSERT_TRUE(Change({.topic = TopicSelector{.name = "orders"}, .set = {{"timestamp_ahead_ms_max", "9"}}}).ok());
  EXPECT_EQ(IntegerOf(ahead()), 9);
  EXPECT_EQ(ahead().source, ConfigSource::kTopic);
  ASSERT_TRUE(Change({.topic = TopicSelector{.name = "orders"}, .reset = {"timestamp_ahead_ms_max"}}).ok());
  EXPECT_EQ(ahead().value, "7");
}

TEST_F(TopicsTest, TheRateOfMovesIsASettingOfTheCluster) {
  EXPECT_EQ(IntegerOf(EffectiveSetting(scene_.image(), "move_rate_bytes")), 100 * 1024 * 1024);
  const auto set = [&](const std::string& rate) {
    return scene_.Do(DecideConfigChange({.set = {{"move_rate_bytes", rate}}}, scene_.image(), scene_.Draw()));
  };
  ASSERT_TRUE(set("1000000").ok());
  EXPECT_EQ(IntegerOf(EffectiveSetting(scene_.image(), "move_rate_bytes")), 1'000'000);
  EXPECT_THAT(TextOf(set("1000")), HasSubstr("65536..1099511627776"));
  EXPECT_EQ(ReasonOf(scene_.TryCreate("slow", {.configs = {{"move_rate_bytes", "1000000"}}})), "UNKNOWN_CONFIG");
}

TEST_F(TopicsTest, BadSettingsAreRefusedWithValueAndRange) {
  const auto refusal = [&](const std::string& name, const std::string& value) { return TextOf(Change({.set = {{name, value}}})); };
  EXPECT_EQ(refusal("topic.timestamp_type", "never"), "setting topic.timestamp_type cannot be \"never\"; it takes append|create");
  EXPECT_EQ(refusal("topic.record_bytes_max", "0"), "setting topic.record_bytes_max cannot be \"0\"; it takes 1..33554432");
  EXPECT_THAT(refusal("topic.timestamp_ahead_ms_max", "7d"), HasSubstr("cannot be \"7d\"; it takes 0.."));
  EXPECT_THAT(refusal("topic.timestamp_ahead_ms_max", "007"), HasSubstr("cannot be \"007\""));
  EXPECT_THAT(refusal("default_replication_factor", "2"), HasSubstr("1|3|5"));
  EXPECT_THAT(refusal("timestamp_ahead_ms_max", "5"), HasSubstr("did you mean \"topic.timestamp_ahead_ms_max\"?"));
  EXPECT_EQ(ReasonOf(Change({})), "INVALID_ARGUMENT");
  EXPECT_EQ(ReasonOf(Change({.set = {{"topic.timestamp_type", "create"}}, .reset = {"topic.timestamp_type"}})), "INVALID_ARGUMENT");
}

TEST(ConfigSchemaTest, EveryDefaultIsAValueOfItsKey) {
  for (const ConfigKey& key : ConfigKeys()) {
    EXPECT_TRUE(CheckConfig(key.scope, key.name, key.default_value).ok()) << key.name;
    EXPECT_FALSE(key.doc.empty()) << key.name;
  }
}

// --- preference

TEST_F(TopicsTest, AnotherReplicaMayBePreferred) {
  scene_.Create("orders", {.partitions = 1});
  const NodeId other = scene_.topic("orders").partitions[0]->replicas[2].node;
  const PreferLeader request{.topic = {.name = "orders"}, .partition = 0, .node = other};
  ASSERT_TRUE(scene_.Do(DecideLeaderPreference(request, scene_.image(), scene_.Draw())).ok());
  EXPECT_EQ(scene_.topic("orders").partitions[0]->preferred_leader, other);
  EXPECT_EQ(scene_.image().LoadOf(other).preferred_leaders, 1u);
  EXPECT_TRUE(DecideLeaderPreference(request, scene_.image(), scene_.Draw())->outcome.repeated);
}

TEST_F(TopicsTest, OneWithoutAReplicaCannotBePreferred) {
  scene_.Create("orders", {.partitions = 2});
  const auto prefer = [&](int64_t partition, uint64_t node) {
    return ReasonOf(
        DecideLeaderPreference({.topic = {.name = "orders"}, .partition = partition, .node = NodeId{node}}, scene_.image(), scene_.Draw()));
  };
  EXPECT_EQ(prefer(0, 9), "NODE_NOT_FOUND");
  EXPECT_EQ(prefer(2, 1), "PARTITION_NOT_FOUND");
  EXPECT_EQ(prefer(-1, 1), "PARTITION_NOT_FOUND");
}

}  // namespace
}  // namespace flotilla::metadata
