#include <grpcpp/support/status.h>

#include <optional>
#include <utility>
#include <variant>

#include "server/rpc/byte_buffer.h"
#include "server/rpc/client/call_input.h"
#include "server/rpc/client/fetch_codec.h"
#include "server/rpc/client/reactors.h"
#include "server/rpc/grpc_status.h"

namespace flotilla::rpc::client {
namespace {

// A stream of events from the broker to one client. All its state belongs to the executor; an event goes to a worker to be encoded
// and written, and comes back by OnWriteDone. So one event is on its way at a time, and a slow reader holds up nobody else.
class EventStreamCall : public BytesWriter, public LongCall {
 public:
  void OnWriteDone(bool ok) final {
    edge_.executor.Post([this, ok] { Written(ok); });
  }
  void OnCancel() final {
    edge_.executor.Post([this] { Abandon(); });
  }
  void OnDone() final {
    edge_.executor.Post([this] { delete this; });
  }

  // The thread that received the call.
  void Take(const grpc::ByteBuffer& request) {
    counters_.Received(request.Length());
    Status status = edge_.CheckOpen();
    if (status.ok()) status = edge_.EnterStream();
    in_streams_ = status.ok();
    if (status.ok()) status = Accept(request);
    edge_.executor.Post([this, status] { Begin(status); });
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
      : edge_(edge), caller_(CallerOf(edge, *context)), counters_(counters), context_(context), mark_(edge) {}
  ~EventStreamCall() override {
    edge_.Detach(*this);
    if (in_streams_) edge_.LeaveStream();
  }

  // The thread that received the call: parses and authorises.
  virtual Status Accept(const grpc::ByteBuffer& request) = 0;
  virtual std::unique_ptr<broker::EventStream> Open() = 0;
  // A worker. What cannot be encoded ends the stream.
  virtual Result<grpc::ByteBuffer> Encode() = 0;

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

  Edge& edge_;
  const broker::Caller caller_;
  std::unique_ptr<broker::EventStream> stream_;

 private:
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
    if (!ok) return Abandon();
    if (end_) return FinishNow();
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
    Finish(std::move(sent));  // gRPC calls OnDone, which posts: this lives until the executor comes back to it
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
  const CallMark mark_;
};

class SubscribeCall final : public EventStreamCall, public broker::SubscribeSink {
 public:
  SubscribeCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context)
      : EventStreamCall(edge, counters, context) {}
  // Before the sink is gone.
  ~SubscribeCall() override { stream_.reset(); }

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
    const broker::SubscribeEvent event = std::exchange(event_, v1::SubscribeResponse());
    if (const auto* other = std::get_if<v1::SubscribeResponse>(&event)) {
      return ToByteBuffer(flotilla::Bytes(other->SerializeAsString()));
    }
    broker::FetchedPartition fetched = std::get<broker::FetchedPartition>(event);
    // The broker goes on behind these batches: what is missing of them must not be passed over.
    FLOTILLA_RETURN_IF_ERROR(client::Accept(codecs_, decompressor, &fetched));
    return ToByteBuffer(EncodeSubscribeBatches(fetched));
  }

  v1::SubscribeRequest request_;
  partition::CodecSet codecs_;
  broker::SubscribeEvent event_;
};

class WatchCall final : public EventStreamCall, public broker::WatchSink {
 public:
  WatchCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context)
      : EventStreamCall(edge, counters, context) {}
  ~WatchCall() override { stream_.reset(); }

  void OnEvent(v1::WatchMetadataResponse event) override {
    event_ = std::move(event);
    Send();
  }
  void OnEnd(const Status& status) override { End(status); }

 private:
  Status Accept(const grpc::ByteBuffer& request) override {
    FLOTILLA_RETURN_IF_ERROR(
        edge_.Authorise({.principal = caller_.principal, .action = Action::kWatch, .resource = "metadata"}));
    return Parse(edge_, request, &request_);
  }
  std::unique_ptr<broker::EventStream> Open() override { return edge_.api.WatchMetadata(request_, caller_, *this); }
  Result<grpc::ByteBuffer> Encode() override { return ToByteBuffer(flotilla::Bytes(event_.SerializeAsString())); }

  v1::WatchMetadataRequest request_;
  v1::WatchMetadataResponse event_;
};

template <typename Call>
BytesWriter* StartStream(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                         const grpc::ByteBuffer* request) {
  auto* call = new Call(edge, counters, context);  // deletes itself after OnDone
  call->Take(*request);
  return call;
}

}  // namespace

BytesWriter* StartSubscribe(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                            const grpc::ByteBuffer* request) {
  return StartStream<SubscribeCall>(edge, counters, context, request);
}

BytesWriter* StartWatchMetadata(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                                const grpc::ByteBuffer* request) {
  return StartStream<WatchCall>(edge, counters, context, request);
}

}  // namespace flotilla::rpc::client
