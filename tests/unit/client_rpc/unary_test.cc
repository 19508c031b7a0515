// Unary calls over a real connection.
#include "flotilla/internal/v1/raw.pb.h"
#include "server/errors/refusal.h"
#include "storage/base/crc32c.h"
#include "tests/unit/client_rpc/port_scene.h"
#include "tests/unit/partition/records.h"

namespace flotilla::rpc::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kProduce[] = "/flotilla.v1.ProduceService/Produce";
constexpr char kGetTopic[] = "/flotilla.v1.AdminService/GetTopic";

class UnaryTest : public PortScene {};

TEST_F(UnaryTest, ProduceAppendsWithAndWithoutPartitionAndCrc) {
  Start();
  v1::ProduceRequest request = Records({"a", "b"});
  request.mutable_items(0)->mutable_batch()->set_crc32c(crc32c::Value(request.items(0).batch().records().SerializeAsString()));
  v1::ProduceItem& keyed = *request.add_items();
  for (const char* key : {"abc", "foobar", "abc"}) {
    keyed.mutable_batch()->mutable_records()->add_records()->set_key(key);
  }
  v1::ProduceResponse response;
  const grpc::Status status = Produce(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.results_size(), 2);
  EXPECT_FALSE(response.results(0).has_error()) << response.DebugString();
  EXPECT_EQ(response.results(0).placements(0).record_count(), 2);
  ASSERT_EQ(response.results(1).placements_size(), 2);
  EXPECT_EQ(response.results(1).placements(0).partition(), 3);
  EXPECT_EQ(response.results(1).placements(0).record_count(), 2);
  EXPECT_EQ(response.results(1).placements(1).partition(), 6);
  broker_.Run([&] {
    EXPECT_THAT(broker_.stored[0], ElementsAre(request.items(0).batch().records().SerializeAsString()));
    EXPECT_EQ(broker_.commands[0].topic.name(), "orders");
  });
}

TEST_F(UnaryTest, AWrongCrcIsTheItemsErrorAndTheCallIsOk) {
  Start();
  v1::ProduceRequest request = Records({"a"});
  request.mutable_items(0)->mutable_batch()->set_crc32c(1);
  v1::ProduceResponse response;
  ASSERT_TRUE(Produce(request, &response).ok());
  EXPECT_EQ(response.results(0).error().reason(), v1::ERROR_REASON_CRC_MISMATCH);
  EXPECT_EQ(response.results(0).error().metadata().at("expected"), "1");
}

TEST_F(UnaryTest, RecordsTwiceAreCorrupt) {
  Start();
  internal::v1::RawRecordBatch batch;
  batch.set_records(partition::SetOf(1));
  std::string twice = batch.SerializeAsString() + batch.SerializeAsString();
  internal::v1::RawProduceRequest request;
  request.mutable_topic()->set_name("orders");
  std::string item;
  partition::AppendField(2, twice, &item);
  std::string bytes = request.SerializeAsString();
  partition::AppendField(2, item, &bytes);
  std::string answer;
  ASSERT_TRUE(CallRaw(kProduce, bytes, &answer).ok());
  v1::ProduceResponse response;
  ASSERT_TRUE(response.ParseFromString(answer));
  EXPECT_EQ(response.results(0).error().reason(), v1::ERROR_REASON_CORRUPT_RECORDS);
}

TEST_F(UnaryTest, ATruncatedRequestIsCorruptAndBothFormsOfTheErrorSaySo) {
  Start();
  const std::string bytes = Records({"abc"}).SerializeAsString();
  std::string answer;
  const grpc::Status status = CallRaw(kProduce, bytes.substr(0, bytes.size() - 2), &answer);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Trailer().reason(), v1::ERROR_REASON_CORRUPT_MESSAGE);
  EXPECT_EQ(Trailer().message(), status.error_message());
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "CORRUPT_MESSAGE");
  EXPECT_EQ(info.domain(), "flotilla");
}

TEST_F(UnaryTest, ARequestAboveTheLimitIsRefusedWithLimitAndValue) {
  Start();
  const v1::ProduceRequest request = Records({std::string(9 << 20, 'x')});
  v1::ProduceResponse response;
  EXPECT_EQ(Produce(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Trailer().reason(), v1::ERROR_REASON_LIMIT_EXCEEDED);
  EXPECT_EQ(Trailer().metadata().at("limit"), "8388608");
  EXPECT_EQ(Trailer().metadata().at("value"), std::to_string(request.ByteSizeLong()));
  EXPECT_EQ(server_->counters().rejected.at("LIMIT_EXCEEDED"), 1U);
}

TEST_F(UnaryTest, ATopicThatIsNotThereIsTheCallsError) {
  Start();
  v1::ProduceRequest request = Records({"a"});
  request.mutable_topic()->set_name("bills");
  v1::ProduceResponse response;
  EXPECT_EQ(Produce(request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Trailer().metadata().at("topic"), "bills");
}

TEST_F(UnaryTest, WhatWasCreatedThroughAnotherNodeAMomentAgoIsFound) {
  broker_.image_after_sync = ImageWithOrders(13);
  Start();
  v1::ProduceRequest request = Records({"a"});
  request.mutable_items(0)->set_partition(12);
  v1::ProduceResponse response;
  ASSERT_TRUE(Produce(request, &response).ok());
  EXPECT_FALSE(response.results(0).has_error()) << response.DebugString();
  EXPECT_EQ(broker_.log.Count("sync"), 1);
  ASSERT_TRUE(Produce(Records({"a"}), &response).ok());
  EXPECT_EQ(broker_.log.Count("sync"), 1) << "what is there needs none";
}

TEST_F(UnaryTest, WithoutNewerMetadataNobodyKnowsWhetherATopicIsThere) {
  broker_.sync_answer = Status(Reason::kNoLeader, "the metadata group has no leader");
  Start();
  v1::ProduceRequest request = Records({"a"});
  request.mutable_topic()->set_name("bills");
  v1::ProduceResponse response;
  EXPECT_EQ(Produce(request, &response).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Trailer().reason(), v1::ERROR_REASON_NO_LEADER);
}

TEST_F(UnaryTest, AClientThatGoesWhileMetadataIsFetchedLeavesNothingBehind) {
  broker_.hold = true;
  Start();
  v1::ProduceRequest request = Records({"a"});
  request.mutable_topic()->set_name("bills");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  v1::ProduceResponse response;
  EXPECT_EQ(produce_->Produce(&context, request, &response).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(broker_.log.Count("sync"), 1);
  broker_.Release();
  server_->Stop(std::chrono::seconds(1));
  EXPECT_EQ(server_->counters().inflight_bytes, 0U);
  EXPECT_EQ(broker_.log.Count("submit"), 0);
}

TEST_F(UnaryTest, BeforeThereIsAClusterNothingIsProduced) {
  broker_.LeaveCluster();
  Start();
  v1::ProduceResponse response;
  EXPECT_EQ(Produce(Records({"a"}), &response).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Trailer().reason(), v1::ERROR_REASON_NOT_INITIALIZED);
  EXPECT_EQ(Trailer().retry_after_ms(), 1000);
}

TEST_F(UnaryTest, TooMuchInFlightIsRefusedAndRoomComesBack) {
  options_.inflight_bytes_max = 1000;
  broker_.hold = true;
  Start();
  grpc::ClientContext first_context;
  grpc::CompletionQueue queue;
  const auto first = produce_->AsyncProduce(&first_context, Records({std::string(900, 'x')}), &queue);
  v1::ProduceResponse first_response;
  grpc::Status first_status;
  first->Finish(&first_response, &first_status, nullptr);
  ASSERT_TRUE(broker_.log.WaitFor("submit"));
  EXPECT_GT(server_->counters().inflight_bytes, 900U);

  v1::ProduceResponse response;
  EXPECT_EQ(Produce(Records({std::string(900, 'x')}), &response).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Trailer().reason(), v1::ERROR_REASON_OVERLOADED);
  EXPECT_EQ(Trailer().metadata().at("limit"), "1000");
  EXPECT_GT(Trailer().retry_after_ms(), 0);

  broker_.Release();
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_TRUE(first_status.ok()) << first_status.error_message();
  ASSERT_TRUE(broker_.log.WaitFor("session closed"));
  EXPECT_TRUE(Produce(Records({std::string(900, 'x')}), &response).ok());
}

TEST_F(UnaryTest, MethodsAreServedByNameWithBytesAndCaller) {
  v1::GetTopicResponse answer;
  answer.mutable_topic()->mutable_topic()->set_name("orders");
  broker_.call_answer = answer.SerializeAsString();
  Start();
  grpc::ClientContext context;
  context.AddMetadata("flotilla-require-leader", "1");
  v1::GetTopicRequest request;
  request.mutable_topic()->set_name("orders");
  v1::GetTopicResponse response;
  const MonotonicTime before = clock_.Now();
  const grpc::Status status = admin_->GetTopic(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.topic().topic().name(), "orders");
  EXPECT_EQ(broker_.log.Count(std::string("call ") + kGetTopic), 1);
  broker_.Run([&] {
    EXPECT_THAT(broker_.requests, ElementsAre(request.SerializeAsString()));
    EXPECT_TRUE(broker_.caller->require_leader);
    EXPECT_THAT(broker_.caller->address, HasSubstr("127.0.0.1"));
    EXPECT_GE(broker_.caller->deadline, before + limits::kDefaultDeadline);
    EXPECT_LE(broker_.caller->deadline, clock_.Now() + limits::kDefaultDeadline);
  });
}

TEST_F(UnaryTest, TheBrokersErrorIsTheCallsStatus) {
  broker_.call_answer = Refuse(Refusal::kTopicExists, "topic \"orders\" exists; choose another name").With("topic", "orders");
  Start();
  grpc::ClientContext context;
  v1::CreateTopicResponse response;
  EXPECT_EQ(admin_->CreateTopic(&context, {}, &response).error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(Trailer(context).metadata().at("topic"), "orders");
  EXPECT_EQ(Trailer(context).retry(), v1::RETRY_NEVER);
}

TEST_F(UnaryTest, ACallWhoseTimeRanOutIsCancelled) {
  broker_.hold = true;
  Start();
  grpc::ClientContext context;
  // Long enough for a connection and the call to reach the broker on a busy machine, or there is nothing to cancel.
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  v1::GetTopicResponse response;
  EXPECT_EQ(admin_->GetTopic(&context, {}, &response).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(broker_.log.WaitFor("cancel"));
  broker_.Run([&] { EXPECT_LT(broker_.caller->deadline, clock_.Now() + std::chrono::seconds(1)); });
}

TEST_F(UnaryTest, AProduceWhoseClientIsGoneGivesUpItsSession) {
  broker_.hold = true;
  Start();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  v1::ProduceResponse response;
  EXPECT_EQ(produce_->Produce(&context, Records({"a"}), &response).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(broker_.log.WaitFor("session closed"));
}

TEST_F(UnaryTest, AnUnknownMethodIsUnimplemented) {
  Start();
  std::string answer;
  EXPECT_EQ(CallRaw("/flotilla.v1.AdminService/Dance", "", &answer).error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

class FetchTest : public PortScene {
 protected:
  static partition::FetchedBatch Batch(const std::string& records, partition::Codec codec = partition::Codec::kNone) {
    partition::FetchedBatch batch;
    batch.record_count = 1;
    batch.header.codec = codec;
    batch.records = Bytes(partition::Compress(codec, records));
    if (codec != partition::Codec::kNone) batch.header.uncompressed_bytes = static_cast<uint32_t>(records.size());
    batch.header.crc32c = crc32c::Value(batch.records.view());
    return batch;
  }
  void Stored(std::vector<partition::FetchedBatch> batches) {
    broker::FetchedPartition fetched;
    fetched.topic.set_name("orders");
    fetched.batches = std::move(batches);
    broker_.fetch_answer = {.partitions = {std::move(fetched)}, .leaders = {}};
  }
  v1::FetchResponse Fetch(const v1::FetchRequest& request) {
    context_ = std::make_unique<grpc::ClientContext>();
    v1::FetchResponse response;
    const grpc::Status status = consume_->Fetch(context_.get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  static v1::FetchRequest RequestFor(const std::vector<std::string>& topics) {
    v1::FetchRequest request;
    for (const std::string& topic : topics) request.add_partitions()->mutable_topic()->set_name(topic);
    return request;
  }
};

TEST_F(FetchTest, RecordsComeBackAsTheyAreStored) {
  const std::string records = partition::SetOf(3, std::string(2000, 'x'));
  Stored({Batch(records), Batch(partition::SetOf(1))});
  Start();
  const v1::FetchResponse response = Fetch(RequestFor({"orders"}));
  ASSERT_EQ(response.partitions(0).batches_size(), 2);
  EXPECT_EQ(response.partitions(0).batches(0).records().SerializeAsString(), records);
  EXPECT_EQ(response.partitions(0).batches(0).crc32c(), crc32c::Value(records));
}

TEST_F(FetchTest, AFirstBatchAboveAllLimitsGetsThrough) {
  const std::string records = partition::SetOf(1, std::string(7 << 20, 'x'));
  Stored({Batch(records)});
  Start();
  v1::FetchRequest request = RequestFor({"orders"});
  request.set_max_bytes(1);
  EXPECT_EQ(Fetch(request).partitions(0).batches(0).records().ByteSizeLong(), records.size());
}

TEST_F(FetchTest, ACompressedBatchIsDecompressedForWhoDoesNotAcceptIt) {
  const std::string records = partition::SetOf(1, std::string(5000, 'x'));
  Stored({Batch(records, partition::Codec::kLz4)});
  Start();
  v1::FetchRequest request = RequestFor({"orders"});
  const v1::RecordBatch plain = Fetch(request).partitions(0).batches(0);
  EXPECT_EQ(plain.records().SerializeAsString(), records);
  EXPECT_EQ(plain.codec(), v1::CODEC_NONE);
  EXPECT_EQ(plain.crc32c(), crc32c::Value(records));

  request.add_accepted_codecs(v1::CODEC_LZ4);
  const v1::RecordBatch packed = Fetch(request).partitions(0).batches(0);
  EXPECT_EQ(packed.codec(), v1::CODEC_LZ4);
  EXPECT_EQ(packed.compressed_records(), partition::Lz4(records));
}

TEST_F(FetchTest, WhatIsDeniedIsAnErrorInItsPlaceAndTheRestIsRead) {
  Stored({Batch(partition::SetOf(1))});
  Start();
  const v1::FetchResponse response = Fetch(RequestFor({"secret", "orders", "secret"}));
  ASSERT_EQ(response.partitions_size(), 3);
  EXPECT_EQ(response.partitions(0).error().reason(), v1::ERROR_REASON_PERMISSION_DENIED);
  EXPECT_EQ(response.partitions(1).batches_size(), 1);
  EXPECT_EQ(response.partitions(2).error().reason(), v1::ERROR_REASON_PERMISSION_DENIED);
  broker_.Run([&] { EXPECT_EQ(broker_.fetches[0].partitions_size(), 1); });

  EXPECT_EQ(Fetch(RequestFor({"secret"})).partitions(0).error().reason(), v1::ERROR_REASON_PERMISSION_DENIED);
  broker_.Run([&] { EXPECT_EQ(broker_.fetches.size(), 1U) << "nothing is left to ask the broker for"; });
}

class AccessTest : public PortScene {};

TEST_F(AccessTest, EveryCallAndEveryTopicIsAsked) {
  Start();
  grpc::ClientContext admin_context;
  v1::DeleteTopicResponse deleted;
  EXPECT_EQ(admin_->DeleteTopic(&admin_context, {}, &deleted).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ReasonIn(admin_context), v1::ERROR_REASON_PERMISSION_DENIED);

  v1::ProduceRequest request = Records({"a"});
  request.mutable_topic()->set_name("secret");
  v1::ProduceResponse response;
  EXPECT_EQ(Produce(request, &response).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(broker_.log.Count("call /flotilla.v1.AdminService/DeleteTopic") + broker_.log.Count("submit"), 0);
}

class ServerTest : public PortScene {
 protected:
  // grpc.health.v1.HealthCheckResponse.status, 1: SERVING; 0: no such service.
  int Health(const std::string& service) {
    std::string request;
    if (!service.empty()) partition::AppendField(1, service, &request);
    std::string response;
    if (!CallRaw("/grpc.health.v1.Health/Check", request, &response).ok()) return 0;
    return response.size() == 2 ? response[1] : -1;
  }
};

TEST_F(ServerTest, ATakenPortIsAnErrorThatNamesIt) {
  Start();
  ClientServerOptions second = options_;
  second.listen_address = "127.0.0.1:" + std::to_string(server_->port());
  const auto server = ClientServer::Start(second, broker_, workers_, access_, clock_);
  ASSERT_FALSE(server.ok());
  EXPECT_EQ(server.status().reason(), Reason::kInvalidArgument);
  EXPECT_THAT(std::string(server.status().message()), HasSubstr(second.listen_address));
}

TEST_F(ServerTest, HealthFollowsTheBroker) {
  options_.look_after_every = std::chrono::milliseconds(1);
  broker_.available = Refuse(Refusal::kNotInitialized, "no cluster");
  Start();
  ASSERT_TRUE(broker_.log.WaitFor("asked", 2));
  EXPECT_EQ(Health(""), 2);
  EXPECT_EQ(Health("flotilla.v1.ProduceService"), 2);
  broker_.Run([&] { broker_.available = {}; });
  ASSERT_TRUE(broker_.log.WaitFor("asked", broker_.log.Count("asked") + 2));
  EXPECT_EQ(Health(""), 1);
  EXPECT_EQ(Health("flotilla.v1.ProduceService"), 1);
  EXPECT_EQ(Health("flotilla.v1.DanceService"), 0);
}

TEST_F(ServerTest, ReflectionListsTheServices) {
  Start();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  // ServerReflectionRequest.list_services = 7
  std::string request;
  partition::AppendField(7, "*", &request);
  std::string answer;
  // The reflection stream as a unary call: one request, and the first answer.
  const grpc::Status status = CallRaw("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", request, &answer);
  ASSERT_TRUE(status.ok()) << status.error_message();
  for (const char* service :
       {"flotilla.v1.ProduceService", "flotilla.v1.ConsumeService", "flotilla.v1.AdminService", "flotilla.v1.ClusterService"}) {
    EXPECT_THAT(answer, HasSubstr(service));
  }
}

TEST_F(ServerTest, AfterShutdownBeganNewCallsAreRefusedAndOldOnesAreAnswered) {
  broker_.hold = true;
  Start();
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto waiting = admin_->AsyncGetTopic(&context, {}, &queue);
  v1::GetTopicResponse answer;
  grpc::Status waiting_status;
  waiting->Finish(&answer, &waiting_status, nullptr);
  ASSERT_TRUE(broker_.log.WaitFor(std::string("call ") + kGetTopic));

  server_->BeginShutdown();
  v1::ProduceResponse response;
  EXPECT_EQ(Produce(Records({"a"}), &response).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Trailer().reason(), v1::ERROR_REASON_SHUTTING_DOWN);
  broker_.Run([] {});  // behind what BeginShutdown posted
  EXPECT_EQ(Health(""), 2);

  broker_.Release();
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_TRUE(waiting_status.ok()) << waiting_status.error_message();
}

TEST_F(ServerTest, StopCancelsWhatStillWaits) {
  broker_.hold = true;
  Start();
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto waiting = admin_->AsyncGetTopic(&context, {}, &queue);
  v1::GetTopicResponse answer;
  grpc::Status waiting_status;
  waiting->Finish(&answer, &waiting_status, nullptr);
  ASSERT_TRUE(broker_.log.WaitFor(std::string("call ") + kGetTopic));
  server_->Stop(std::chrono::milliseconds(50));
  EXPECT_EQ(broker_.log.Count("cancel"), 1);
  EXPECT_EQ(server_->counters().calls, 0U);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_FALSE(waiting_status.ok());
}

TEST_F(ServerTest, CountsByMethodAndCode) {
  Start();
  v1::ProduceResponse response;
  ASSERT_TRUE(Produce(Records({"a"}), &response).ok());
  v1::ProduceRequest wrong = Records({"a"});
  wrong.mutable_topic()->set_name("bills");
  EXPECT_FALSE(Produce(wrong, &response).ok());
  const ClientCounters counters = server_->counters();
  const auto produce = std::find_if(counters.methods.begin(), counters.methods.end(),
                                    [](const ClientCounters::Method& method) { return method.method == kProduce; });
  ASSERT_NE(produce, counters.methods.end());
  EXPECT_EQ(produce->by_code[grpc::StatusCode::OK], 1U);
  EXPECT_EQ(produce->by_code[grpc::StatusCode::NOT_FOUND], 1U);
  EXPECT_EQ(produce->bytes_in, Records({"a"}).ByteSizeLong() + wrong.ByteSizeLong());
  EXPECT_GT(produce->bytes_out, 0U);
  uint64_t timed = 0;
  for (const uint64_t count : produce->latency) timed += count;
  EXPECT_EQ(timed, 2U);
}

}  // namespace
}  // namespace flotilla::rpc::client
