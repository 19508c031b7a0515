#include <grpcpp/support/status.h>

#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "server/broker/limits.h"
#include "server/rpc/byte_buffer.h"
#include "server/rpc/client/call_input.h"
#include "server/rpc/client/fetch_codec.h"
#include "server/rpc/client/one_request.h"
#include "server/rpc/grpc_status.h"

namespace flotilla::rpc::client {
namespace {

// A stream of events from the broker to one client. All its state belongs to the executor; an event goes to a worker to be encoded
// and written, and comes back by WhenWritten. So one event is on its way at a time, and a slow reader holds up nobody else.
class EventStreamCall : public OneRequest, public LongCall {
 public:
  void WhenWritten(bool ok) final {
    edge_.executor.Post([this, ok] { Written(ok); });
  }
  void WhenCancelled() final {
    edge_.executor.Post([this] { Abandon(); });
  }
  void WhenDone() final {
    edge_.executor.Post([this] { delete this; });
  }

  // The thread that received the call.
  void Start() {
    Status status = edge_.CheckCall();
    if (status.ok()) status = edge_.EnterStream();
    in_streams_ = status.ok();
    if (!status.ok()) return OnNoRequest(status);
    Receive();
  }

  void LookAfter(MonotonicTime now) final {
    if (!end_ || finished_ || now - ended_at_ < edge_.options.end_grace) return;
    context_->TryCancel();  // it does not even take the end
  }
  void EndForShutdown() final {
    stream_.reset();
    End(Status(Reason::kShuttingDown, "this node is about to stop; ask another one"));
  }

 protected:
  EventStreamCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context)
      : OneRequest(edge, *context), caller_(CallerOf(edge, *context)), counters_(counters), context_(context) {}
  ~EventStreamCall() override {
    edge_.Detach(*this);
    if (in_streams_) edge_.LeaveStream();
  }

  // gRPC's thread: parses and authorises.
  virtual Status Accept(const grpc::ByteBuffer& request) = 0;
  virtual std::unique_ptr<broker::EventStream> Open() = 0;
  // A worker. What cannot be encoded ends the stream.
  virtual Result<grpc::ByteBuffer> Encode() = 0;
  // Executor: what Encode made was written. True: there is more of the event to encode.
  virtual bool OnSent() { return false; }

  // Executor: the event that Encode is to find is in place.
  void Send() {
    CHECK(!writing_) << "the next event comes after Ready()";
    if (end_) return;
    writing_ = true;
    edge_.workers.Post([this] { Write(); });
  }
  // Executor. The first one counts. When the last event is written, the stream ends.
  void End(const Status& status) {
    if (end_) return;
    end_ = status;
    ended_at_ = edge_.clock.Now();
    if (!writing_) FinishNow();
  }

  const broker::Caller caller_;
  std::unique_ptr<broker::EventStream> stream_;

 private:
  void OnRequest(const grpc::ByteBuffer& request) final {
    counters_.Received(request.Length());
    edge_.executor.Post([this, status = Accept(request)] { Begin(status); });
  }
  void OnNoRequest(const Status& why) final {
    edge_.executor.Post([this, why] { Begin(why); });
  }
  void Begin(const Status& status) {
    edge_.Attach(*this);
    if (!status.ok()) return End(status);
    if (const Status open = edge_.CheckOpen(); !open.ok()) return End(open);
    if (!end_) stream_ = Open();
  }
  void Write() {
    Result<grpc::ByteBuffer> encoded = Encode();
    if (!encoded.ok()) {
      edge_.executor.Post([this, status = encoded.status()] {
        writing_ = false;
        stream_.reset();
        End(status);
      });
      return;
    }
    response_ = *std::move(encoded);
    counters_.Sent(response_.Length());
    StartWrite(&response_);
  }
  void Written(bool ok) {
    writing_ = false;
    const bool more = OnSent();
    if (!ok) return Abandon();
    if (end_) return FinishNow();
    if (more) return Send();
    if (stream_ != nullptr) stream_->Ready();
  }
  void Abandon() {
    stream_.reset();
    if (!end_) return End(Status(Reason::kCancelled, "the client has gone, or its time ran out"));
    if (!writing_) FinishNow();
  }
  void FinishNow() {
    if (std::exchange(finished_, true)) return;
    grpc::Status sent = ToGrpcStatus(*end_, context_);
    counters_.Ended(sent.error_code());
    Finish(std::move(sent));  // gRPC calls WhenDone, which posts: this lives until the executor comes back to it
  }

  MethodCounters& counters_;
  grpc::CallbackServerContext* const context_;
  bool in_streams_ = false;
  grpc::ByteBuffer response_;
  // Executor.
  bool writing_ = false;
  bool finished_ = false;
  std::optional<Status> end_;
  MonotonicTime ended_at_;
};

class SubscribeCall final : public EventStreamCall, public broker::SubscribeSink {
 public:
  SubscribeCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) : EventStreamCall(edge, counters, context) {}
  ~SubscribeCall() override {
    stream_.reset();  // before its sink is gone
    edge_.ReturnAnswerBytes(answer_bytes_);
  }

  void OnEvent(broker::SubscribeEvent event) override {
    event_ = std::move(event);
    Send();
  }
  void OnEnd(const Status& status) override { End(status); }

 private:
  Status Accept(const grpc::ByteBuffer& request) override {
    FLOTILLA_RETURN_IF_ERROR(Parse(edge_, request, &request_));
    for (const v1::SubscribeTopic& topic : request_.topics()) {
      FLOTILLA_RETURN_IF_ERROR(AuthoriseRead(edge_, caller_.principal, topic.topic()));
    }
    codecs_ = CodecsOf(request_.accepted_codecs());
    return {};
  }
  std::unique_ptr<broker::EventStream> Open() override { return edge_.api.Subscribe(request_, caller_, *this); }
  Result<grpc::ByteBuffer> Encode() override {
    thread_local partition::Decompressor decompressor;
    broker::SubscribeEvent event = std::exchange(event_, v1::SubscribeResponse());
    if (const auto* other = std::get_if<v1::SubscribeResponse>(&event)) {
      return ToByteBuffer(flotilla::Bytes(other->SerializeAsString()));
    }
    broker::FetchedPartition fetched = std::get<broker::FetchedPartition>(std::move(event));
    SetAsideWhatIsTooMuch(&fetched);
    const size_t bytes = BytesToDecompress(codecs_, fetched);
    FLOTILLA_RETURN_IF_ERROR(edge_.TakeAnswerBytes(bytes));
    answer_bytes_ = bytes;
    // The broker goes on behind these batches: what is missing of them must not be passed over.
    FLOTILLA_RETURN_IF_ERROR(client::Accept(codecs_, decompressor, &fetched));
    return ToByteBuffer(EncodeSubscribeBatches(fetched));
  }
  // One message of batches may be many when they are decompressed: the others follow it.
  void SetAsideWhatIsTooMuch(broker::FetchedPartition* fetched) {
    const Offset end = fetched->next_offset;
    const bool caught_up = fetched->caught_up;
    Room room{.bytes = broker::limits::kStreamMessageBytes};
    std::vector<partition::FetchedBatch> left = CutBehind(codecs_, &room, fetched);
    if (left.empty()) return;
    broker::FetchedPartition rest = *fetched;
    rest.batches = std::move(left);
    rest.start_offset = fetched->next_offset;
    rest.next_offset = end;
    rest.caught_up = caught_up;
    event_ = std::move(rest);
    more_ = true;
  }
  bool OnSent() override {
    edge_.ReturnAnswerBytes(std::exchange(answer_bytes_, 0));
    return std::exchange(more_, false);
  }

  v1::SubscribeRequest request_;
  partition::CodecSet codecs_;
  // Of whoever has the event: the executor, or the worker that encodes it.
  broker::SubscribeEvent event_;
  bool more_ = false;
  size_t answer_bytes_ = 0;  // of what is being written
};

class WatchCall final : public EventStreamCall, public broker::WatchSink {
 public:
  WatchCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) : EventStreamCall(edge, counters, context) {}
  ~WatchCall() override { stream_.reset(); }

  void OnEvent(v1::WatchMetadataResponse event) override {
    event_ = std::move(event);
    Send();
  }
  void OnEnd(const Status& status) override { End(status); }

 private:
  Status Accept(const grpc::ByteBuffer& request) override {
    FLOTILLA_RETURN_IF_ERROR(edge_.Authorise({.principal = caller_.principal, .action = Action::kWatch, .resource = "metadata"}));
    return Parse(edge_, request, &request_);
  }
  std::unique_ptr<broker::EventStream> Open() override { return edge_.api.WatchMetadata(request_, caller_, *this); }
  Result<grpc::ByteBuffer> Encode() override { return ToByteBuffer(flotilla::Bytes(event_.SerializeAsString())); }

  v1::WatchMetadataRequest request_;
  v1::WatchMetadataResponse event_;
};

template <typename Call>
BytesStream* StartStream(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) {
  auto* call = new Call(edge, counters, context);  // deletes itself after WhenDone
  call->Start();
  return call->Made();
}

}  // namespace

BytesStream* StartSubscribe(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) {
  return StartStream<SubscribeCall>(edge, counters, context);
}

BytesStream* StartWatchMetadata(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) {
  return StartStream<WatchCall>(edge, counters, context);
}

}  // namespace flotilla::rpc::client
