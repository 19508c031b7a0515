// Streams over a real connection.
#include "server/errors/refusal.h"
#include "storage/base/crc32c.h"
#include "tests/unit/client_rpc/port_scene.h"
#include "tests/unit/partition/records.h"

namespace flotilla::rpc::client {
namespace {

class ProduceStreamTest : public PortScene {
 protected:
  void Open() {
    Start();
    context_ = std::make_unique<grpc::ClientContext>();
    stream_ = produce_->ProduceStream(context_.get());
  }
  ~ProduceStreamTest() override {
    if (context_ != nullptr) context_->TryCancel();
    if (stream_ != nullptr) (void)stream_->Finish();
    stream_.reset();
  }
  void Send(int64_t correlation_id, const v1::ProduceRequest& request) {
    v1::ProduceStreamRequest message;
    message.set_correlation_id(correlation_id);
    *message.mutable_request() = request;
    EXPECT_TRUE(stream_->Write(message)) << correlation_id;
  }
  v1::ProduceStreamResponse Receive() {
    v1::ProduceStreamResponse response;
    EXPECT_TRUE(stream_->Read(&response));
    return response;
  }
  grpc::Status Finish() {
    v1::ProduceStreamResponse more;
    EXPECT_FALSE(stream_->Read(&more)) << more.DebugString();
    const grpc::Status status = stream_->Finish();
    stream_.reset();
    return status;
  }

  std::unique_ptr<grpc::ClientReaderWriter<v1::ProduceStreamRequest, v1::ProduceStreamResponse>> stream_;
};

TEST_F(ProduceStreamTest, AnswersInOrderAndAllBeforeItEnds) {
  broker_.hold = true;
  Open();
  for (int i = 1; i <= 100; ++i) Send(i, Records({std::to_string(i)}));
  stream_->WritesDone();
  ASSERT_TRUE(broker_.log.WaitFor("submit", 100));
  broker_.Release();
  for (int i = 1; i <= 100; ++i) {
    const v1::ProduceStreamResponse response = Receive();
    EXPECT_EQ(response.correlation_id(), i);
    EXPECT_EQ(response.response().results(0).placements(0).base_offset(), i - 1);
  }
  const grpc::Status status = Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(broker_.log.WaitFor("session closed"));
}

TEST_F(ProduceStreamTest, ARefusedRequestIsAnsweredAndTheStreamGoesOn) {
  Open();
  v1::ProduceRequest wrong = Records({"a"});
  wrong.mutable_topic()->set_name("bills");
  Send(1, wrong);
  Send(2, Records({std::string(9 << 20, 'x')}));
  Send(3, Records({"a"}));
  stream_->WritesDone();
  std::map<int64_t, v1::ProduceStreamResponse> answers;
  for (int i = 0; i < 3; ++i) {
    const v1::ProduceStreamResponse response = Receive();
    answers[response.correlation_id()] = response;
  }
  EXPECT_EQ(answers[1].error().reason(), v1::ERROR_REASON_TOPIC_NOT_FOUND);
  EXPECT_EQ(answers[2].error().reason(), v1::ERROR_REASON_LIMIT_EXCEEDED);
  EXPECT_TRUE(answers[3].has_response());
  EXPECT_TRUE(Finish().ok());
}

TEST_F(ProduceStreamTest, ARequestThatWaitsForNewerMetadataIsNotOvertaken) {
  broker_.hold = true;
  broker_.image_after_sync = ImageWithOrders(13);
  Open();
  v1::ProduceRequest early = Records({"first"});
  early.mutable_items(0)->set_partition(12);
  Send(1, early);
  Send(2, Records({"second"}));
  stream_->WritesDone();
  ASSERT_TRUE(broker_.log.WaitFor("sync"));
  broker_.Release();
  EXPECT_EQ(Receive().correlation_id(), 1);
  EXPECT_EQ(Receive().correlation_id(), 2);
  EXPECT_TRUE(Finish().ok());
  broker_.Run([&] { EXPECT_EQ(broker_.commands.at(0).items.at(0).parts.at(0).partition, 12U); });
}

TEST_F(ProduceStreamTest, ReadsNoFurtherThanItsLimitUntilAnswersAreRead) {
  broker_.hold = true;
  Open();
  const std::string large(3 << 20, 'x');  // the third one fills the 8 MiB
  std::thread sender([&] {
    for (int i = 1; i <= 6; ++i) Send(i, Records({large}));
    stream_->WritesDone();
  });
  ASSERT_TRUE(broker_.log.WaitFor("submit", 3));
  // A second call on the same connection overtakes nothing that the stream would have taken by then.
  v1::GetTopicResponse ignored;
  broker_.Run([&] { broker_.hold = false; });
  grpc::ClientContext other;
  EXPECT_TRUE(admin_->GetTopic(&other, {}, &ignored).ok());
  EXPECT_EQ(broker_.log.Count("submit"), 3);
  broker_.Release();
  for (int i = 1; i <= 6; ++i) EXPECT_EQ(Receive().correlation_id(), i);
  sender.join();
  EXPECT_TRUE(Finish().ok());
}

TEST_F(ProduceStreamTest, AtACrowdedNodeItIsReadOnForWhatIsPromisedAndNoFurther) {
  options_.stream_requests_max = 10;
  broker_.hold = true;
  Open();
  constexpr int kRequests = 200;
  std::thread sender([&] {
    for (int i = 1; i <= kRequests; ++i) Send(i, Records({"x"}));
    stream_->WritesDone();
  });
  ASSERT_TRUE(broker_.log.WaitFor("submit", 64));
  // A second call on the same connection overtakes nothing that the stream would have taken by then.
  v1::GetTopicResponse ignored;
  broker_.Run([&] { broker_.hold = false; });
  grpc::ClientContext other;
  EXPECT_TRUE(admin_->GetTopic(&other, {}, &ignored).ok());
  EXPECT_EQ(broker_.log.Count("submit"), 64);
  broker_.Release();
  for (int i = 1; i <= kRequests; ++i) EXPECT_EQ(Receive().correlation_id(), i);
  sender.join();
  EXPECT_TRUE(Finish().ok());
}

TEST_F(ProduceStreamTest, SaysThatItLivesWhenItHasNothingToSay) {
  options_.heartbeat_after = std::chrono::milliseconds(20);
  options_.look_after_every = std::chrono::milliseconds(5);
  Open();
  for (int i = 0; i < 2; ++i) {
    const v1::ProduceStreamResponse response = Receive();
    EXPECT_EQ(response.correlation_id(), 0);
    EXPECT_GT(response.heartbeat().time_ms(), 0);
  }
}

TEST_F(ProduceStreamTest, AClientThatGoesAwayTakesItsSessionAlong) {
  broker_.hold = true;
  Open();
  Send(1, Records({"a"}));
  ASSERT_TRUE(broker_.log.WaitFor("submit"));
  context_->TryCancel();
  EXPECT_EQ(Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(broker_.log.WaitFor("session closed"));
  broker_.Release();
  server_->Stop(std::chrono::seconds(1));
  EXPECT_EQ(server_->counters().inflight_bytes, 0U);
  EXPECT_EQ(server_->counters().streams, 0U);
}

TEST_F(ProduceStreamTest, ShutdownAnswersWhatWasTakenAndEndsTheStream) {
  broker_.hold = true;
  Open();
  Send(1, Records({"a"}));
  ASSERT_TRUE(broker_.log.WaitFor("submit"));
  server_->BeginShutdown();
  broker_.Release();
  EXPECT_EQ(Receive().correlation_id(), 1);
  EXPECT_EQ(Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Trailer().reason(), v1::ERROR_REASON_SHUTTING_DOWN);
}

TEST_F(ProduceStreamTest, OneStreamTooManyIsRefused) {
  options_.streams_max = 1;
  Open();
  Send(1, Records({"a"}));
  EXPECT_EQ(Receive().correlation_id(), 1);
  grpc::ClientContext context;
  const auto second = produce_->ProduceStream(&context);
  EXPECT_EQ(second->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonIn(context), v1::ERROR_REASON_TOO_MANY_STREAMS);
}

class SubscribeTest : public PortScene {
 protected:
  static broker::SubscribeEvent Records(uint64_t base_offset, size_t bytes) {
    broker::FetchedPartition fetched;
    fetched.topic.set_name("orders");
    fetched.next_offset = Offset{base_offset + 1};
    partition::FetchedBatch& batch = fetched.batches.emplace_back();
    batch.base_offset = Offset{base_offset};
    batch.record_count = 1;
    batch.records = Bytes(partition::SetOf(1, std::string(bytes, 'x')));
    batch.header.crc32c = crc32c::Value(batch.records.view());
    return fetched;
  }
  static broker::SubscribeEvent Started() {
    v1::SubscribeResponse event;
    event.mutable_started()->set_subscription_id("s-1");
    return event;
  }
  std::unique_ptr<grpc::ClientReader<v1::SubscribeResponse>> Subscribe(grpc::ClientContext* context, const std::string& topic = "orders") {
    v1::SubscribeRequest request;
    request.add_topics()->mutable_topic()->set_name(topic);
    return consume_->Subscribe(context, request);
  }
};

TEST_F(SubscribeTest, EventsComeInOrderOneAtATimeUntilTheEnd) {
  broker_.events = {Started(), Records(0, 10), Records(1, 100'000)};
  broker_.end_after_events = Status();
  Start();
  grpc::ClientContext context;
  const auto reader = Subscribe(&context);
  v1::SubscribeResponse event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.started().subscription_id(), "s-1");
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.batches().batches(0).base_offset(), 0);
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.batches().batches(0).base_offset(), 1);
  EXPECT_EQ(event.batches().batches(0).records().records(0).value().size(), 100'000U);
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(broker_.log.Count("ready"), 3);
  EXPECT_TRUE(broker_.log.WaitFor("unsubscribed"));
}

TEST_F(SubscribeTest, ASlowReaderHoldsUpOnlyItself) {
  constexpr int kEvents = 200;
  for (int i = 0; i < kEvents; ++i) broker_.events.push_back(Records(i, 256 << 10));
  broker_.end_after_events = Status();
  Start();
  grpc::ClientContext slow_context;
  const auto slow = Subscribe(&slow_context);  // is not read from
  grpc::ClientContext quick_context;
  const auto quick = Subscribe(&quick_context);
  v1::SubscribeResponse event;
  int seen = 0;
  while (quick->Read(&event)) ++seen;
  EXPECT_TRUE(quick->Finish().ok());
  EXPECT_EQ(seen, kEvents);
  EXPECT_LT(broker_.log.Count("ready"), 2 * kEvents) << "the slow one had only what its window takes";
  while (slow->Read(&event)) ++seen;
  EXPECT_TRUE(slow->Finish().ok());
  EXPECT_EQ(seen, 2 * kEvents);
}

TEST_F(SubscribeTest, AReaderThatDoesNotEvenTakeTheEndIsCutOff) {
  options_.end_grace = std::chrono::milliseconds(20);
  options_.look_after_every = std::chrono::milliseconds(5);
  for (int i = 0; i < 200; ++i) broker_.events.push_back(Records(i, 256 << 10));
  Start();
  grpc::ClientContext context;
  const auto reader = Subscribe(&context);
  ASSERT_TRUE(broker_.log.WaitFor("ready"));
  broker_.EndSubscriptions(Refuse(Refusal::kSlowConsumer, "read nothing for 60 seconds"));
  EXPECT_TRUE(broker_.log.WaitFor("unsubscribed"));
  context.TryCancel();
}

TEST_F(SubscribeTest, TheReasonOfTheEndReachesAReader) {
  broker_.events = {Started()};
  Start();
  grpc::ClientContext context;
  const auto reader = Subscribe(&context);
  v1::SubscribeResponse event;
  ASSERT_TRUE(reader->Read(&event));
  broker_.EndSubscriptions(Refuse(Refusal::kSlowConsumer, "read nothing for 60 seconds").With("limit_ms", 60'000));
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Trailer(context).metadata().at("limit_ms"), "60000");
}

TEST_F(SubscribeTest, AClientThatGoesAwayEndsItsSubscription) {
  broker_.events = {Started()};
  Start();
  grpc::ClientContext context;
  const auto reader = Subscribe(&context);
  v1::SubscribeResponse event;
  ASSERT_TRUE(reader->Read(&event));
  context.TryCancel();
  EXPECT_TRUE(broker_.log.WaitFor("unsubscribed"));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(SubscribeTest, BatchesThatCannotBeDecompressedAreNotPassedOver) {
  broker::SubscribeEvent damaged = Records(0, 10);
  std::get<broker::FetchedPartition>(damaged).batches[0].header.codec = partition::Codec::kLz4;
  broker_.events = {damaged, Records(1, 10)};
  Start();
  grpc::ClientContext context;
  const auto reader = Subscribe(&context);
  v1::SubscribeResponse event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DATA_LOSS);
}

TEST_F(SubscribeTest, ADeniedTopicIsTheStreamsError) {
  Start();
  grpc::ClientContext context;
  EXPECT_EQ(Subscribe(&context, "secret")->Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(SubscribeTest, ShutdownEndsIt) {
  broker_.events = {Started()};
  Start();
  grpc::ClientContext context;
  const auto reader = Subscribe(&context);
  v1::SubscribeResponse event;
  ASSERT_TRUE(reader->Read(&event));
  server_->BeginShutdown();
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonIn(context), v1::ERROR_REASON_SHUTTING_DOWN);
}

class WatchTest : public PortScene {};

TEST_F(WatchTest, EventsOfTheBrokerComeThrough) {
  Start();
  grpc::ClientContext context;
  const auto reader = cluster_->WatchMetadata(&context, {});
  v1::WatchMetadataResponse event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.heartbeat().time_ms(), 7);
  context.TryCancel();
  (void)reader->Finish();
}

}  // namespace
}  // namespace flotilla::rpc::client
