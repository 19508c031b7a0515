// Clients that want too much, or take too long, over a real connection.
#include <grpcpp/generic/generic_stub.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <thread>
#include <vector>

#include "storage/base/crc32c.h"
#include "tests/unit/client_rpc/port_scene.h"
#include "tests/unit/partition/records.h"

namespace flotilla::rpc::client {
namespace {

using std::chrono::milliseconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr char kProduce[] = "/flotilla.v1.ProduceService/Produce";
constexpr char kSubscribe[] = "/flotilla.v1.ConsumeService/Subscribe";

class LimitsTest : public PortScene {
 protected:
  LimitsTest() { options_.look_after_every = milliseconds(5); }

  std::shared_ptr<grpc::Channel> Connect() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials(), arguments);
  }

  template <typename Holds>
  static bool Soon(Holds holds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return true;
  }

  // A call that has begun and says nothing; waits until the other side ends it.
  grpc::Status BeginAndSayNothing(const std::string& method) {
    context_ = std::make_unique<grpc::ClientContext>();
    context_->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    grpc::GenericStub stub(channel_);
    grpc::CompletionQueue queue;
    auto call = stub.PrepareCall(context_.get(), method, &queue);
    call->StartCall(nullptr);
    grpc::Status status;
    call->Finish(&status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    for (int i = 0; i < 2; ++i) CHECK(queue.Next(&tag, &ok));
    return status;
  }
};

TEST_F(LimitsTest, ARequestThatDoesNotArriveInTimeEndsItsCall) {
  options_.upload_max = milliseconds(50);
  Start();
  for (const char* method : {kProduce, kSubscribe, "/flotilla.v1.AdminService/GetTopic"}) {
    EXPECT_EQ(BeginAndSayNothing(method).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << method;
    EXPECT_EQ(Trailer().metadata().at("limit_ms"), "50");
  }
  server_->Stop(std::chrono::seconds(1));
  EXPECT_EQ(server_->counters().rejected.at("DEADLINE_EXCEEDED"), 3U);
  EXPECT_EQ(server_->counters().uploads, 0U);
  EXPECT_EQ(server_->counters().calls, 0U);
}

TEST_F(LimitsTest, WithoutRoomARequestIsRefusedBeforeItIsReceived) {
  options_.inflight_bytes_max = 100;
  options_.upload_max = std::chrono::hours(1);
  broker_.hold = true;
  Start();
  grpc::ClientContext first_context;
  grpc::CompletionQueue queue;
  const auto first = produce_->AsyncProduce(&first_context, Records({std::string(200, 'x')}), &queue);
  v1::ProduceResponse first_response;
  grpc::Status first_status;
  first->Finish(&first_response, &first_status, nullptr);
  ASSERT_TRUE(broker_.log.WaitFor("submit"));
  EXPECT_EQ(BeginAndSayNothing(kProduce).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Trailer().reason(), v1::ERROR_REASON_OVERLOADED);
  broker_.Release();
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_TRUE(first_status.ok());
}

TEST_F(LimitsTest, TooManyCallsAreRefusedWithTheLimit) {
  options_.calls_max = 2;
  broker_.hold = true;
  Start();
  std::vector<std::future<grpc::Status>> held;
  for (int i = 0; i < 2; ++i) {
    held.push_back(std::async(std::launch::async, [this] {
      grpc::ClientContext context;
      v1::GetTopicResponse answer;
      return admin_->GetTopic(&context, {}, &answer);
    }));
  }
  EXPECT_TRUE(broker_.log.WaitFor("call /flotilla.v1.AdminService/GetTopic", 2));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  v1::GetTopicResponse answer;
  EXPECT_EQ(admin_->GetTopic(&context, {}, &answer).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonIn(context), v1::ERROR_REASON_OVERLOADED);
  EXPECT_THAT(Trailer(context).metadata(), Contains(Pair("limit", "2")));
  EXPECT_GT(Trailer(context).retry_after_ms(), 0);
  broker_.Release();
  for (auto& call : held) {
    const grpc::Status status = call.get();
    EXPECT_TRUE(status.ok()) << status.error_code() << ' ' << status.error_message();
  }
}

TEST_F(LimitsTest, WhatTheServerDoesByItselfIsNoCall) {
  options_.calls_max = 1;
  std::promise<void> release;
  broker_.executor().Post([released = release.get_future().share()] { released.wait(); });
  Start();  // its look around waits behind that
  auto held = std::async(std::launch::async, [this] {
    grpc::ClientContext context;
    v1::ProduceResponse answer;
    return produce_->Produce(&context, Records({"a"}), &answer);
  });
  EXPECT_TRUE(Soon([&] { return server_->counters().inflight_bytes != 0 || server_->counters().rejected["OVERLOADED"] != 0; }));
  release.set_value();
  const grpc::Status status = held.get();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(LimitsTest, AConnectionTooManyIsToldSoAndThereIsRoomWhenAnotherGoes) {
  options_.connections_max = 1;
  Start();
  v1::ProduceResponse response;
  ASSERT_TRUE(Produce(Records({"a"}), &response).ok());

  std::shared_ptr<grpc::Channel> channel = Connect();
  auto stub = v1::ProduceService::NewStub(channel);
  {
    grpc::ClientContext context;
    const grpc::Status status = stub->Produce(&context, Records({"a"}), &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("has 1 connections open, its limit"));
    EXPECT_EQ(ReasonIn(context), v1::ERROR_REASON_OVERLOADED);
    EXPECT_EQ(Trailer(context).metadata().at("limit"), "1");
  }
  EXPECT_EQ(server_->counters().connections.open, 1U);
  EXPECT_GE(server_->counters().connections.refused, 1U);
  ASSERT_TRUE(Produce(Records({"a"}), &response).ok()) << "who was here before is not disturbed";

  // All that holds the first connection.
  context_.reset();
  produce_.reset();
  consume_.reset();
  admin_.reset();
  cluster_.reset();
  channel_.reset();
  grpc::Status status(grpc::StatusCode::UNKNOWN, "");
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!status.ok() && std::chrono::steady_clock::now() < until) {
    grpc::ClientContext context;
    status = stub->Produce(&context, Records({"a"}), &response);
    if (!status.ok()) std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(LimitsTest, AConnectionThatSaysNothingIsClosed) {
  options_.handshake_max = milliseconds(100);
  options_.connections_max = 1;
  Start();
  const int silent = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server_->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(silent, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(silent, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  char received[1000];
  ssize_t got = 0;
  while ((got = ::recv(silent, received, sizeof received, 0)) > 0) {
  }
  EXPECT_EQ(got, 0) << "closed, after the server's own settings";
  ::close(silent);
}

TEST_F(LimitsTest, AConnectionThatOnlyBeginsAndResetsCallsIsBrokenOff) {
  options_.connection_limits.empty_calls_max = 20;
  options_.upload_max = std::chrono::hours(1);
  broker_.hold = true;
  Start();
  grpc::ClientContext waiting_context;
  grpc::CompletionQueue queue;
  const auto waiting = admin_->AsyncGetTopic(&waiting_context, {}, &queue);
  v1::GetTopicResponse answer;
  grpc::Status waiting_status;
  waiting->Finish(&answer, &waiting_status, nullptr);
  ASSERT_TRUE(broker_.log.WaitFor("call /flotilla.v1.AdminService/GetTopic"));
  const auto begin_and_reset = [&] {
    grpc::ClientContext context;
    const auto stream = produce_->ProduceStream(&context);
    EXPECT_TRUE(Soon([&] { return server_->counters().calls >= 2; }));
    context.TryCancel();
    (void)stream->Finish();
    EXPECT_TRUE(Soon([&] { return server_->counters().calls <= 1; }));
  };
  for (int i = 0; i < 20; ++i) begin_and_reset();
  EXPECT_EQ(server_->counters().connections.broken_off, 0U);
  begin_and_reset();
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(waiting_status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server_->counters().connections.broken_off, 1U);
}

// HTTP/2 by hand: a client that sends a part of a message and no more.
class HalfARequest {
 public:
  explicit HalfARequest(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    std::string headers;
    for (const auto& [name, value] :
         {std::pair{":method", "POST"}, std::pair{":scheme", "http"}, std::pair{":path", kProduce}, std::pair{":authority", "localhost"},
          std::pair{"content-type", "application/grpc"}, std::pair{"te", "trailers"}}) {
      headers += '\0' + Literal(name) + Literal(value);  // touches no table (RFC 7541, 6.2.2)
    }
    Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(4, 0, 0, "") + Frame(1, 4, 1, headers));
  }
  ~HalfARequest() { ::close(socket_); }
  HalfARequest(const HalfARequest&) = delete;
  HalfARequest& operator=(const HalfARequest&) = delete;

  // Of a message of 8 MiB. The window is 64 KiB.
  void SendPart(size_t bytes) {
    std::string part = begun_ ? std::string() : std::string("\0\0\x80\0\0", 5);
    begun_ = true;
    part.resize(bytes, 'x');
    for (size_t at = 0; at < bytes; at += kFrameBytes) Send(Frame(0, 0, 1, part.substr(at, kFrameBytes)));
  }
  bool IsBrokenOff() const {
    char byte = 0;
    while (::recv(socket_, &byte, 1, MSG_DONTWAIT) > 0) {
    }
    return errno == ECONNRESET;
  }

 private:
  static constexpr size_t kFrameBytes = 16'384;
  static std::string Literal(const std::string& text) { return static_cast<char>(text.size()) + text; }
  static std::string Frame(char kind, char flags, char stream, const std::string& payload) {
    const size_t size = payload.size();
    std::string frame = {
        static_cast<char>(size >> 16), static_cast<char>(size >> 8), static_cast<char>(size), kind, flags, 0, 0, 0, stream};
    return frame + payload;
  }
  void Send(const std::string& bytes) {
    CHECK_EQ(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }

  const int socket_;
  bool begun_ = false;
};

TEST_F(LimitsTest, WhoFillsTheMemoryWithAHalfIsBrokenOffAndWhoHasLittleIsNot) {
  options_.incomplete_bytes_max = 40 << 10;
  Start();
  HalfARequest little(server_->port());
  HalfARequest much(server_->port());
  little.SendPart(1000);
  ASSERT_TRUE(Soon([&] { return server_->counters().uploads == 2; }));
  EXPECT_EQ(server_->counters().connections.broken_off, 0U);
  much.SendPart(60'000);
  EXPECT_TRUE(Soon([&] { return much.IsBrokenOff(); }));
  v1::ProduceResponse response;
  EXPECT_TRUE(Produce(Records({"honest"}), &response).ok());
  EXPECT_FALSE(little.IsBrokenOff());
  EXPECT_EQ(server_->counters().connections.broken_off, 1U);
}

class AnswersTest : public LimitsTest {
 protected:
  static partition::FetchedBatch Batch(uint64_t offset, size_t bytes, partition::Codec codec = partition::Codec::kNone) {
    const std::string records = partition::SetOf(1, std::string(bytes, 'x'));
    partition::FetchedBatch batch;
    batch.base_offset = Offset{offset};
    batch.record_count = 1;
    batch.header.codec = codec;
    batch.records = Bytes(partition::Compress(codec, records));
    if (codec != partition::Codec::kNone) batch.header.uncompressed_bytes = static_cast<uint32_t>(records.size());
    batch.header.crc32c = crc32c::Value(batch.records.view());
    return batch;
  }
  static broker::FetchedPartition Partition(std::vector<partition::FetchedBatch> batches) {
    broker::FetchedPartition fetched;
    fetched.topic.set_name("orders");
    fetched.next_offset = batches.back().base_offset + 1;
    fetched.high_watermark = fetched.next_offset;
    fetched.caught_up = true;
    fetched.batches = std::move(batches);
    return fetched;
  }
  static v1::FetchRequest Request(int32_t max_bytes = 0) {
    v1::FetchRequest request;
    request.add_partitions()->mutable_topic()->set_name("orders");
    request.set_max_bytes(max_bytes);
    return request;
  }
  // A fetch that is answered, and whose client does not take the answer.
  class Untaken {
   public:
    Untaken(const std::shared_ptr<grpc::Channel>& channel) {
      grpc::GenericStub stub(channel);
      call_ = stub.PrepareCall(&context_, "/flotilla.v1.ConsumeService/Fetch", &queue_);
      call_->StartCall(nullptr);
      Next();
      const std::string request = Request().SerializeAsString();
      const grpc::Slice slice(request);
      call_->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
      Next();
    }

   private:
    void Next() {
      void* tag = nullptr;
      bool ok = false;
      CHECK(queue_.Next(&tag, &ok));
    }
    grpc::ClientContext context_;
    grpc::CompletionQueue queue_;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  };
};

TEST_F(AnswersTest, AnAnswerThatIsNotTakenIsDroppedWithItsCall) {
  options_.answer_max = milliseconds(50);
  broker_.fetch_answer = {.partitions = {Partition({Batch(0, 7 << 20)})}, .leaders = {}};
  Start();
  const std::shared_ptr<grpc::Channel> channel = Connect();
  Untaken call(channel);
  ASSERT_TRUE(broker_.log.WaitFor("fetch"));
  EXPECT_TRUE(Soon([&] { return server_->counters().calls == 0; }));
  EXPECT_EQ(server_->counters().answer_bytes, 0U);
  EXPECT_EQ(server_->counters().rejected.at("DEADLINE_EXCEEDED"), 1U);
}

TEST_F(AnswersTest, AboveWhatMayWaitForClientsFetchesAreRefused) {
  options_.answer_bytes_max = 8 << 20;
  broker_.fetch_answer = {.partitions = {Partition({Batch(0, 7 << 20)})}, .leaders = {}};
  Start();
  const std::shared_ptr<grpc::Channel> channel = Connect();
  {
    Untaken call(channel);
    ASSERT_TRUE(Soon([&] { return server_->counters().answer_bytes > 0; }));
    grpc::ClientContext context;
    v1::FetchResponse response;
    EXPECT_EQ(consume_->Fetch(&context, Request(), &response).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(ReasonIn(context), v1::ERROR_REASON_OVERLOADED);
    broker_.Run([&] { EXPECT_EQ(broker_.fetches[1].max_bytes(), int32_t{limits::kFetchBytesUnderPressure}); });
  }
  ASSERT_TRUE(Soon([&] { return server_->counters().answer_bytes == 0; }));
  grpc::ClientContext context;
  v1::FetchResponse response;
  EXPECT_TRUE(consume_->Fetch(&context, Request(), &response).ok());
}

TEST_F(AnswersTest, WhenOthersNeedTheMemoryWhoDoesNotTakeAnAnswerLosesItSoon) {
  options_.answer_bytes_max = 8 << 20;
  options_.answer_max_under_pressure = milliseconds(50);
  broker_.fetch_answer = {.partitions = {Partition({Batch(0, 7 << 20)})}, .leaders = {}};
  Start();
  const std::shared_ptr<grpc::Channel> channel = Connect();
  Untaken call(channel);
  ASSERT_TRUE(broker_.log.WaitFor("fetch"));
  EXPECT_TRUE(Soon([&] { return server_->counters().calls == 0; }));
}

TEST_F(AnswersTest, DecompressedBatchesStayWithinWhatWasAskedFor) {
  std::vector<partition::FetchedBatch> bombs;
  for (uint64_t i = 0; i < 10; ++i) bombs.push_back(Batch(i, 1 << 20, partition::Codec::kZstd));
  broker_.fetch_answer = {.partitions = {Partition(bombs), Partition(bombs)}, .leaders = {}};
  Start();
  grpc::ClientContext context;
  v1::FetchResponse response;
  ASSERT_TRUE(consume_->Fetch(&context, Request(3'200'000), &response).ok());
  EXPECT_EQ(response.partitions(0).batches_size(), 3);
  EXPECT_EQ(response.partitions(0).next_offset(), 3);
  EXPECT_FALSE(response.partitions(0).caught_up());
  EXPECT_EQ(response.partitions(1).batches_size(), 0);
  EXPECT_EQ(response.partitions(1).next_offset(), 0);
}

TEST_F(AnswersTest, ASubscriptionsBatchesComeInSeveralMessagesWhenTheyGrow) {
  std::vector<partition::FetchedBatch> bombs;
  for (uint64_t i = 0; i < 5; ++i) bombs.push_back(Batch(i, 100'000, partition::Codec::kLz4));
  broker_.events = {Partition(bombs), Partition({Batch(5, 10)})};
  broker_.end_after_events = Status();
  Start();
  grpc::ClientContext context;
  v1::SubscribeRequest request;
  request.add_topics()->mutable_topic()->set_name("orders");
  const auto reader = consume_->Subscribe(&context, request);
  std::vector<int64_t> offsets;
  std::vector<int> sizes;
  std::vector<int64_t> starts;
  std::vector<bool> caught_up;
  v1::SubscribeResponse event;
  while (reader->Read(&event)) {
    sizes.push_back(event.batches().batches_size());
    starts.push_back(event.batches().start_offset());
    caught_up.push_back(event.batches().caught_up());
    for (const v1::RecordBatch& batch : event.batches().batches()) offsets.push_back(batch.base_offset());
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(offsets, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(sizes, ElementsAre(2, 2, 1, 1));
  EXPECT_THAT(starts, ElementsAre(0, 2, 4, 0));
  EXPECT_THAT(caught_up, ElementsAre(false, false, true, true));
  EXPECT_EQ(broker_.log.Count("ready"), 2);
  server_->Stop(std::chrono::seconds(1));
  EXPECT_EQ(server_->counters().answer_bytes, 0U);
}

}  // namespace
}  // namespace flotilla::rpc::client
