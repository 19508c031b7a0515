// Client, producer and consumer against brokers in memory, over real connections.
#include "client/cpp/client.h"

#include <gmock/gmock.h>

#include <atomic>
#include <limits>
#include <mutex>

#include "client/cpp/consumer.h"
#include "client/cpp/producer.h"
#include "flotilla/v1/cluster.pb.h"
#include "tests/unit/client/fake_broker.h"

namespace flotilla::client {
namespace {

using flotilla::testing::FakeBroker;
using flotilla::testing::FakeLog;
using flotilla::testing::MakeError;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Duration kPatience = std::chrono::seconds(20);
constexpr Duration kSilence = std::chrono::milliseconds(1'500);
// A connection that is silent breaks after 10 seconds at the earliest, a request is given up after 15.
constexpr Duration kBeforeAnyOtherTimeout = std::chrono::seconds(8);

std::vector<std::string> Numbers(int count) {
  std::vector<std::string> numbers;
  for (int i = 0; i < count; ++i) numbers.push_back(std::to_string(i));
  return numbers;
}

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() { log->CreateTopic("logs", 1); }

  std::unique_ptr<Producer> OpenProducer(ProducerOptions options) {
    options.topic = "logs";
    options.delivery_timeout = kPatience;
    auto producer = Producer::Open(client, options);
    EXPECT_TRUE(producer.ok()) << producer.error();
    return *std::move(producer);
  }
  // One record per batch, so that many batches are on their way.
  void SendNumbers(Producer& producer, int count) {
    for (const std::string& number : Numbers(count)) {
      const Error error = producer.Send({.value = number});
      ASSERT_TRUE(error.ok()) << error;
    }
  }
  // Reads until nothing follows or so many values have come.
  std::vector<std::string> ReadValues(Consumer& consumer, size_t count) {
    std::vector<std::string> values;
    const MonotonicTime give_up = client.clock().Now() + kPatience;
    while (values.size() < count && client.clock().Now() < give_up) {
      auto event = consumer.Next(std::chrono::milliseconds(100));
      if (!event.ok()) {
        ADD_FAILURE() << event.error();
        break;
      }
      if (event->kind == ConsumerEvent::Kind::kEnded) break;
      for (RecordCursor cursor(event->message); cursor.Next();) values.emplace_back(cursor.value().value_or(""));
    }
    return values;
  }

  const std::shared_ptr<FakeLog> log = std::make_shared<FakeLog>();
  FakeBroker broker{log};
  Client client{{.brokers = {broker.address()}}};
};

TEST_F(ClientTest, ADeadBrokerAmongTheBootstrapAddressesDoesNoHarm) {
  FakeBroker dead(log);
  dead.Stop();
  Client both({.brokers = {dead.address(), broker.address()}});
  v1::GetHealthResponse health;
  const Error error = both.Call("/flotilla.v1.ClusterService/GetHealth", v1::GetHealthRequest(), &health);
  EXPECT_TRUE(error.ok()) << error;
  EXPECT_EQ(health.nodes(), 3);
}

TEST_F(ClientTest, WithoutAnyLivingBrokerTheErrorNamesAllOfThem) {
  broker.Stop();
  v1::GetHealthResponse health;
  const Error error = client.Call("/flotilla.v1.ClusterService/GetHealth", v1::GetHealthRequest(), &health);
  EXPECT_EQ(error.reason(), reasons::kUnreachable);
  EXPECT_THAT(std::string(error.message()), HasSubstr(broker.address()));
}

TEST(ErrorTest, NobodyIsWaitedForForAges) {
  v1::Error error;
  const auto waits = [&error](int64_t millis) {
    error.set_retry_after_ms(millis);
    return Error::From(error).retry_after();
  };
  EXPECT_EQ(waits(250), std::chrono::milliseconds(250));
  EXPECT_EQ(waits(std::numeric_limits<int64_t>::max()), std::chrono::minutes(1));
  EXPECT_EQ(waits(std::numeric_limits<int64_t>::min()), Duration{});
}

TEST_F(ClientTest, AnErrorBringsReasonAndMetadataFromTheTrailer) {
  const auto producer = Producer::Open(client, {.topic = "missing"});
  ASSERT_FALSE(producer.ok());
  EXPECT_EQ(producer.error().reason(), reasons::kTopicNotFound);
  EXPECT_EQ(producer.error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(producer.error().Metadata("topic"), "missing");
}

TEST_F(ClientTest, WhoRunsOutOfTimeIsToldWhatWasSaidBefore) {
  broker.Script("GetNode", MakeError(v1::ERROR_REASON_NO_LEADER, 14, v1::RETRY_SAFE, "nobody leads"));
  v1::GetNodeResponse response;
  CallOptions options{.timeout = std::chrono::seconds(1)};
  options.on_retry = [this](const Error& why) {
    EXPECT_EQ(why.reason(), reasons::kNoLeader);
    broker.Hold(FakeBroker::Held::kAll);
  };
  const Error error = client.Call("/flotilla.v1.ClusterService/GetNode", v1::GetNodeRequest(), &response, options);
  broker.Hold(FakeBroker::Held::kNothing);
  EXPECT_EQ(error.reason(), reasons::kDeadlineExceeded);
  EXPECT_THAT(std::string(error.message()), HasSubstr("before, the answer was: nobody leads"));
}

TEST_F(ClientTest, ARecordIsWrittenAndItsPlaceIsTold) {
  const auto producer = OpenProducer({});
  const auto first = producer->SendAndWait({.key = "k", .value = "a"});
  const auto second = producer->SendAndWait({.value = "b"});
  ASSERT_TRUE(first.ok()) << first.error();
  ASSERT_TRUE(second.ok()) << second.error();
  EXPECT_EQ(first->offset, 0);
  EXPECT_EQ(second->offset, 1);
  EXPECT_THAT(log->Values("logs", 0), ElementsAre("a", "b"));
}

TEST_F(ClientTest, RecordsTravelTogether) {
  const auto producer = OpenProducer({.linger = std::chrono::seconds(10)});
  SendNumbers(*producer, 1000);
  ASSERT_TRUE(producer->Flush(kPatience).ok());
  EXPECT_EQ(log->Values("logs", 0), Numbers(1000));
  EXPECT_EQ(broker.produce_requests(), 1);
}

TEST_F(ClientTest, LingerEndsTheWaitOfABatchThatIsNotFull) {
  std::atomic<int> acknowledged{0};
  std::mutex mutex;
  std::condition_variable told;
  ProducerOptions options{.linger = std::chrono::milliseconds(5)};
  options.on_delivery = [&](const Delivery& delivery) {
    const std::lock_guard lock(mutex);
    acknowledged += delivery.record_count;
    told.notify_all();
  };
  const auto producer = OpenProducer(options);
  SendNumbers(*producer, 3);
  std::unique_lock lock(mutex);
  EXPECT_TRUE(told.wait_for(lock, kPatience, [&] { return acknowledged == 3; }));
}

TEST_F(ClientTest, ABrokenStreamLosesNothingDuplicatesNothingAndKeepsTheOrder) {
  broker.BreakStreamAfterAppends(3);
  const auto producer = OpenProducer({.batch_bytes = 1, .linger = Duration::zero()});
  SendNumbers(*producer, 50);
  const Error error = producer->Flush(kPatience);
  EXPECT_TRUE(error.ok()) << error;
  EXPECT_EQ(log->Values("logs", 0), Numbers(50));
  EXPECT_GE(broker.produce_streams(), 2);
}

TEST_F(ClientTest, WhatIsRefusedForNowIsSentAgainInOrder) {
  std::atomic<int> refusals{0};
  log->refuse = [&](const v1::ProduceItem&) -> std::unique_ptr<v1::Error> {
    if (++refusals > 7) return nullptr;
    return std::make_unique<v1::Error>(MakeError(v1::ERROR_REASON_NO_LEADER, 14, v1::RETRY_SAFE, "an election is on"));
  };
  const auto producer = OpenProducer({.batch_bytes = 1, .linger = Duration::zero()});
  SendNumbers(*producer, 20);
  ASSERT_TRUE(producer->Flush(kPatience).ok());
  EXPECT_EQ(log->Values("logs", 0), Numbers(20));
}

TEST_F(ClientTest, ARecordThatFailsForGoodTakesNoOtherWithIt) {
  log->refuse = [](const v1::ProduceItem& item) -> std::unique_ptr<v1::Error> {
    if (item.batch().records().records(0).value() != "5") return nullptr;
    return std::make_unique<v1::Error>(MakeError(v1::ERROR_REASON_RECORD_TOO_LARGE, 3, v1::RETRY_NEVER, "too large"));
  };
  std::atomic<int> failed{0};
  ProducerOptions options{.batch_bytes = 1, .linger = Duration::zero()};
  options.on_delivery = [&](const Delivery& delivery) { failed += delivery.error.ok() ? 0 : 1; };
  const auto producer = OpenProducer(options);
  SendNumbers(*producer, 20);
  ASSERT_TRUE(producer->Flush(kPatience).ok());
  std::vector<std::string> expected = Numbers(20);
  expected.erase(expected.begin() + 5);
  EXPECT_EQ(log->Values("logs", 0), expected);
  EXPECT_EQ(failed, 1);
}

TEST_F(ClientTest, APartitionThatForgotTheProducerGetsANewOne) {
  const auto producer = OpenProducer({});
  ASSERT_TRUE(producer->SendAndWait({.value = "a"}).ok());
  log->ForgetProducers("logs", 0);
  const auto second = producer->SendAndWait({.value = "b"});
  EXPECT_TRUE(second.ok()) << second.error();
  EXPECT_THAT(log->Values("logs", 0), ElementsAre("a", "b"));
}

TEST_F(ClientTest, TheProducerGoesOnThroughAnotherNodeWhenTheLeaderDies) {
  FakeBroker second(log, {.node_id = 2});
  const std::map<int32_t, std::string> nodes = {{1, broker.address()}, {2, second.address()}};
  broker.SetCluster(nodes, 1);
  second.SetCluster(nodes, 2);
  const auto producer = OpenProducer({.batch_bytes = 1, .linger = Duration::zero()});
  SendNumbers(*producer, 10);
  ASSERT_TRUE(producer->Flush(kPatience).ok());
  EXPECT_EQ(second.produce_requests(), 0);
  broker.Stop();
  ASSERT_TRUE(producer->Send({.value = "10"}).ok());
  const Error error = producer->Flush(kPatience);
  EXPECT_TRUE(error.ok()) << error;
  EXPECT_EQ(log->Values("logs", 0), Numbers(11));
}

TEST_F(ClientTest, ANodeThatIsFrozenIsLeftForAnother) {
  FakeBroker second(log, {.node_id = 2});
  const std::map<int32_t, std::string> nodes = {{1, broker.address()}, {2, second.address()}};
  broker.SetCluster(nodes, 1);
  second.SetCluster(nodes, 1);
  const auto producer = OpenProducer({.batch_bytes = 1, .linger = Duration::zero(), .silence_max = kSilence});
  SendNumbers(*producer, 10);
  ASSERT_TRUE(producer->Flush(kPatience).ok());
  broker.Hold(FakeBroker::Held::kAll);
  second.SetCluster(nodes, 2);
  ASSERT_TRUE(producer->Send({.value = "10"}).ok());
  const Error error = producer->Flush(kBeforeAnyOtherTimeout);
  EXPECT_TRUE(error.ok()) << error;
  EXPECT_EQ(second.produce_requests(), 1);
  broker.Hold(FakeBroker::Held::kNothing);  // it may append what it had got, a second time
  ASSERT_TRUE(producer->SendAndWait({.value = "11"}).ok());
  EXPECT_EQ(log->Values("logs", 0), Numbers(12));
}

TEST_F(ClientTest, ANodeThatIsSlowIsKeptWhileItAnswersOtherwise) {
  const auto producer = OpenProducer({.silence_max = kSilence});
  broker.Hold(FakeBroker::Held::kAppends);
  ASSERT_TRUE(producer->Send({.value = "0"}).ok());
  EXPECT_FALSE(producer->Flush(2 * kSilence).ok());
  EXPECT_GE(broker.server_info_calls(), 2);
  broker.Hold(FakeBroker::Held::kNothing);
  const Error error = producer->Flush(kPatience);
  EXPECT_TRUE(error.ok()) << error;
  EXPECT_EQ(broker.produce_streams(), 1);
  EXPECT_EQ(broker.produce_requests(), 1);
}

TEST_F(ClientTest, WhatMayNotBeRepeatedStaysWithASilentNode) {
  const auto producer = OpenProducer({.idempotent = false, .silence_max = kSilence});
  broker.Hold(FakeBroker::Held::kAll);
  ASSERT_TRUE(producer->Send({.value = "0"}).ok());
  EXPECT_FALSE(producer->Flush(2 * kSilence).ok());
  broker.Hold(FakeBroker::Held::kNothing);
  const Error error = producer->Flush(kPatience);
  EXPECT_TRUE(error.ok()) << error;
  EXPECT_EQ(broker.produce_streams(), 1);
  EXPECT_EQ(log->Values("logs", 0), Numbers(1));
}

TEST_F(ClientTest, BatchesGrowWhileTheNodeOwesMuch) {
  constexpr int32_t kPartitions = 64;
  log->CreateTopic("many", kPartitions);
  ProducerOptions options{.linger = Duration::zero()};
  options.topic = "many";
  options.delivery_timeout = kPatience;
  auto producer = Producer::Open(client, options);
  ASSERT_TRUE(producer.ok()) << producer.error();
  broker.Hold(FakeBroker::Held::kAppends);
  const auto send_to_all = [&](const std::string& value) {
    for (int32_t partition = 0; partition < kPartitions; ++partition) {
      ASSERT_TRUE((*producer)->Send({.value = value}, {.partition = partition}).ok());
    }
  };
  // 2.5 MiB on their way: what comes then is due at once, and waits.
  send_to_all(std::string(40 << 10, 'x'));
  for (int i = 0; i < 20; ++i) send_to_all(std::to_string(i));
  broker.Hold(FakeBroker::Held::kNothing);
  const Error error = (*producer)->Flush(kPatience);
  ASSERT_TRUE(error.ok()) << error;
  int batches = 0;
  for (int32_t partition = 0; partition < kPartitions; ++partition) {
    batches += log->Read("many", partition, 0, 1 << 20).batches_size();
    const std::vector<std::string> values = log->Values("many", partition);
    ASSERT_EQ(values.size(), 21U);
    EXPECT_EQ(std::vector(values.begin() + 1, values.end()), Numbers(20));
  }
  // Those that were within the bound when it was reached may have sent one of their own before.
  EXPECT_LE(batches, 3 * kPartitions);
}

TEST_F(ClientTest, AFullBufferRefusesWhoDoesNotWant) {
  const auto producer = OpenProducer({.linger = std::chrono::seconds(10), .buffer_bytes = 1000});
  const std::string value(600, 'x');
  ASSERT_TRUE(producer->Send({.value = value}, {.wait = false}).ok());
  EXPECT_EQ(producer->Send({.value = value}, {.wait = false}).reason(), reasons::kBufferFull);
}

TEST_F(ClientTest, TheConsumerReadsToTheEndAndStops) {
  const auto producer = OpenProducer({});
  SendNumbers(*producer, 100);
  ASSERT_TRUE(producer->Flush(kPatience).ok());
  auto consumer = Consumer::Open(client, {.topic = "logs", .until_end = true});
  ASSERT_TRUE(consumer.ok()) << consumer.error();
  EXPECT_EQ(ReadValues(**consumer, 1000), Numbers(100));
}

TEST_F(ClientTest, TheConsumerResumesWhereABrokenStreamStopped) {
  const auto producer = OpenProducer({.batch_bytes = 1, .linger = Duration::zero()});
  SendNumbers(*producer, 30);
  ASSERT_TRUE(producer->Flush(kPatience).ok());
  broker.BreakSubscriptionsAfter(7);
  auto consumer = Consumer::Open(client, {.topic = "logs"});
  ASSERT_TRUE(consumer.ok()) << consumer.error();
  EXPECT_EQ(ReadValues(**consumer, 30), Numbers(30));
  EXPECT_GE(broker.subscriptions(), 4);
}

TEST_F(ClientTest, TheConsumerStartsWhereItIsTold) {
  const auto producer = OpenProducer({.batch_bytes = 1, .linger = Duration::zero()});
  SendNumbers(*producer, 10);
  ASSERT_TRUE(producer->Flush(kPatience).ok());
  auto last = Consumer::Open(client, {.topic = "logs", .start = StartAt::Last(2), .until_end = true});
  auto offset = Consumer::Open(client, {.topic = "logs", .start = StartAt::Offset(7), .until_end = true});
  EXPECT_THAT(ReadValues(**last, 100), ElementsAre("8", "9"));
  EXPECT_THAT(ReadValues(**offset, 100), ElementsAre("7", "8", "9"));
}

}  // namespace
}  // namespace flotilla::client
