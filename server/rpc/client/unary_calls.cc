#include <grpcpp/support/status.h>

#include <optional>
#include <utility>
#include <vector>

#include "server/errors/refusal.h"
#include "server/rpc/byte_buffer.h"
#include "server/rpc/client/call_input.h"
#include "server/rpc/client/fetch_codec.h"
#include "server/rpc/client/reactors.h"
#include "server/rpc/grpc_status.h"

namespace flotilla::rpc::client {
namespace {

Status Gone() { return Status(Reason::kCancelled, "the client has gone, or its time ran out; what was on its way may still happen"); }

// A unary call. Refused on the thread that received it (Refuse), or handed to the executor (Hand), where it is answered once:
// by the broker, or because the client is gone.
class UnaryCall : public grpc::ServerUnaryReactor {
 public:
  void OnCancel() final { edge_.executor.Post([this] { Cancelled(); }); }
  void OnDone() final { edge_.executor.Post([this] { delete this; }); }

  // On the thread that received it, before anything is posted for it: it is visible to what OnCancel posts.
  void RefuseWith(const Status& status) {
    answered_ = true;
    Send(status);
  }
  void Hand() {
    edge_.executor.Post([this] { Begin(); });
  }

 protected:
  UnaryCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
            grpc::ByteBuffer* response)
      : edge_(edge), counters_(counters), context_(context), response_(response), began_(edge.clock.Now()), mark_(edge) {
    counters_.Received(request->Length());
  }
  ~UnaryCall() override = default;

  // --- Executor
  virtual void Begin() = 0;
  // The client is gone: the broker is told not to go on.
  virtual void Abandon() = 0;
  // A worker: the answer as bytes.
  virtual Result<grpc::ByteBuffer> Encode() = 0;

  // Executor. Between the two something that cannot be called off will come back here: the call stays, though its client may be
  // gone.
  void GoAway() { away_ = true; }
  // False: the client has gone meanwhile, and the call is over.
  bool ComeBack() {
    away_ = false;
    if (!gone_) return true;
    Cancelled();
    return false;
  }
  // Executor.
  void AnswerWith(const Status& status) {
    answered_ = true;
    Send(status);
  }
  // Executor. Encode may look at whatever was there before this.
  void Answer() {
    answered_ = true;
    edge_.workers.Post([this] { SendAnswer(); });
  }

  Edge& edge_;
  MethodCounters& counters_;

  grpc::CallbackServerContext& context() { return *context_; }

 private:
  void Cancelled() {
    gone_ = true;
    if (answered_ || away_) return;
    answered_ = true;
    Abandon();
    Send(Gone());
  }
  void SendAnswer() {
    Result<grpc::ByteBuffer> encoded = Encode();
    if (!encoded.ok()) return Send(encoded.status());
    *response_ = *std::move(encoded);
    counters_.Sent(response_->Length());
    Send({});
  }
  void Send(const Status& status) {
    grpc::Status sent = ToGrpcStatus(status, context_);
    counters_.Ended(sent.error_code());
    counters_.Took(edge_.clock.Now() - began_);
    Finish(std::move(sent));  // the last that is done here: OnDone may be on its way
  }

  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  const MonotonicTime began_;
  // Executor.
  bool answered_ = false;
  bool away_ = false;
  bool gone_ = false;
  const CallMark mark_;
};

// --- Methods by name

class PlainCall final : public UnaryCall {
 public:
  PlainCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
            grpc::ByteBuffer* response)
      : UnaryCall(edge, counters, context, request, response) {}

  Status Take(const grpc::ByteBuffer& request) {
    FLOTILLA_RETURN_IF_ERROR(edge_.CheckOpen());
    if (Status status = CheckRequestBytes(request.Length()); !status.ok()) {
      edge_.Rejected(Rejection::kTooLarge);
      return status;
    }
    caller_ = CallerOf(edge_, context());
    FLOTILLA_RETURN_IF_ERROR(
        edge_.Authorise({.principal = caller_.principal, .action = Action::kCall, .resource = counters_.method()}));
    request_ = std::string(ToBytes(request).view());
    return {};
  }

 private:
  void Begin() override {
    ticket_ = edge_.api.Call(counters_.method(), request_, caller_, [this](Result<std::string> answer) {
      answer_ = std::move(answer);
      Answer();
    });
  }
  void Abandon() override { edge_.api.Cancel(ticket_); }
  Result<grpc::ByteBuffer> Encode() override {
    if (!answer_->ok()) return answer_->status();
    return ToByteBuffer(Bytes(*std::move(*answer_)));
  }

  broker::Caller caller_;
  std::string request_;
  uint64_t ticket_ = 0;
  std::optional<Result<std::string>> answer_;
};

// --- Fetch

class FetchCall final : public UnaryCall {
 public:
  FetchCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
            grpc::ByteBuffer* response)
      : UnaryCall(edge, counters, context, request, response) {}

  Status Take(const grpc::ByteBuffer& request) {
    FLOTILLA_RETURN_IF_ERROR(edge_.CheckOpen());
    FLOTILLA_RETURN_IF_ERROR(Parse(edge_, request, &request_));
    caller_ = CallerOf(edge_, context());
    codecs_ = CodecsOf(request_.accepted_codecs());
    SetAsideWhatIsDenied();
    return {};
  }

 private:
  struct Denied {
    int position;  // in the request
    broker::FetchedPartition answer;
  };

  // Errors of a partition stand in its result; the broker sees the others only.
  void SetAsideWhatIsDenied() {
    google::protobuf::RepeatedPtrField<v1::FetchPartition> allowed;
    for (int i = 0; i < request_.partitions_size(); ++i) {
      v1::FetchPartition& wanted = *request_.mutable_partitions(i);
      Status status = AuthoriseRead(edge_, caller_.principal, wanted.topic());
      if (status.ok()) {
        allowed.Add(std::move(wanted));
        continue;
      }
      broker::FetchedPartition answer;
      answer.topic = wanted.topic();
      answer.partition = wanted.partition();
      answer.status = std::move(status);
      denied_.push_back({.position = i, .answer = std::move(answer)});
    }
    request_.mutable_partitions()->Swap(&allowed);
  }
  void Begin() override {
    if (request_.partitions().empty() && !denied_.empty()) {
      answer_.emplace(broker::FetchAnswer());
      return Answer();
    }
    if (!denied_.empty()) request_.set_max_wait_ms(0);  // an error of any partition ends the wait
    ticket_ = edge_.api.Fetch(request_, caller_, [this](Result<broker::FetchAnswer> answer) {
      answer_ = std::move(answer);
      Answer();
    });
  }
  void Abandon() override { edge_.api.Cancel(ticket_); }
  Result<grpc::ByteBuffer> Encode() override {
    thread_local partition::Decompressor decompressor;
    if (!answer_->ok()) return answer_->status();
    broker::FetchAnswer& answer = **answer_;
    for (broker::FetchedPartition& fetched : answer.partitions) {
      const Status status = Accept(codecs_, decompressor, &fetched);
      LOG_IF(ERROR, !status.ok()) << "event=batch_does_not_decompress topic=" << fetched.topic.name()
                                  << " partition=" << fetched.partition << " status=\"" << status << "\"";
    }
    for (Denied& denied : denied_) {  // by ascending position, so each is right when it is put in
      answer.partitions.insert(answer.partitions.begin() + denied.position, std::move(denied.answer));
    }
    return ToByteBuffer(EncodeFetchResponse(answer));
  }

  broker::Caller caller_;
  v1::FetchRequest request_;
  partition::CodecSet codecs_;
  std::vector<Denied> denied_;
  uint64_t ticket_ = 0;
  std::optional<Result<broker::FetchAnswer>> answer_;
};

// --- Produce

class ProduceCall final : public UnaryCall, public broker::ProduceSink {
 public:
  ProduceCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
              grpc::ByteBuffer* response)
      : UnaryCall(edge, counters, context, request, response) {}
  ~ProduceCall() override { edge_.ReturnBytes(taken_bytes_); }

  Status Take(const grpc::ByteBuffer& request) {
    FLOTILLA_RETURN_IF_ERROR(edge_.CheckOpen());
    FLOTILLA_RETURN_IF_ERROR(edge_.TakeBytes(request.Length()));
    taken_bytes_ = request.Length();
    Result<RawProduce> raw = ReadProduce(edge_, request);
    if (!raw.ok()) return raw.status();
    caller_ = CallerOf(edge_, context());
    raw_ = *std::move(raw);
    waits_for_metadata_ = NeedsNewerMetadata(edge_, raw_);
    return waits_for_metadata_ ? Status() : PrepareNow();
  }

  void OnProduced(uint64_t, v1::ProduceResponse response) override {
    answer_ = std::move(response);
    Answer();
  }

 private:
  void Begin() override {
    if (!waits_for_metadata_) return Submit();
    GoAway();
    edge_.api.SyncMetadata(caller_, [this](const Status& status) { Synced(status); });
  }
  void Synced(const Status& status) {
    if (!status.ok()) return Prepared(status);
    edge_.workers.Post([this] { PrepareOnWorker(); });
  }
  void PrepareOnWorker() {
    edge_.executor.Post([this, status = PrepareNow()] { Prepared(status); });
  }
  void Prepared(const Status& status) {
    if (!ComeBack()) return;
    if (!status.ok()) return AnswerWith(status);
    Submit();
  }
  Status PrepareNow() {
    Result<broker::ProduceCommand> command = Prepare(edge_, std::move(raw_), caller_.principal);
    if (!command.ok()) return command.status();
    command_ = *std::move(command);
    return {};
  }
  void Submit() {
    session_ = edge_.api.OpenProduce(*this);
    session_->Submit(std::move(command_), caller_, 0);
  }
  void Abandon() override { session_.reset(); }
  Result<grpc::ByteBuffer> Encode() override { return ToByteBuffer(Bytes(answer_.SerializeAsString())); }

  size_t taken_bytes_ = 0;
  broker::Caller caller_;
  RawProduce raw_;
  bool waits_for_metadata_ = false;
  broker::ProduceCommand command_;
  std::unique_ptr<broker::ProduceSession> session_;
  v1::ProduceResponse answer_;
};

template <typename Call>
grpc::ServerUnaryReactor* StartCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  auto* call = new Call(edge, counters, context, request, response);  // deletes itself after OnDone
  const Status status = call->Take(*request);
  // gRPC would keep it until the answer; what is needed of it was taken.
  const_cast<grpc::ByteBuffer*>(request)->Clear();
  if (status.ok()) {
    call->Hand();
  } else {
    call->RefuseWith(status);
  }
  return call;
}

}  // namespace

grpc::ServerUnaryReactor* StartPlainCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return StartCall<PlainCall>(edge, counters, context, request, response);
}

grpc::ServerUnaryReactor* StartFetch(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return StartCall<FetchCall>(edge, counters, context, request, response);
}

grpc::ServerUnaryReactor* StartProduce(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return StartCall<ProduceCall>(edge, counters, context, request, response);
}

}  // namespace flotilla::rpc::client
