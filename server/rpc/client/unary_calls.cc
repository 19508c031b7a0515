#include <grpc/grpc.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "server/broker/limits.h"
#include "server/errors/refusal.h"
#include "server/rpc/byte_buffer.h"
#include "server/rpc/client/call_input.h"
#include "server/rpc/client/fetch_codec.h"
#include "server/rpc/client/one_request.h"
#include "server/rpc/grpc_status.h"

namespace flotilla::rpc::client {
namespace {

Status Gone() { return Status(Reason::kCancelled, "the client has gone, or its time ran out; what was on its way may still happen"); }

// A unary call. Refused on the thread that received it, or handed to the executor, where it is answered once: by the broker, or
// because the client is gone.
class UnaryCall : public OneRequest {
 public:
  // The thread that received the call.
  void Start() {
    Status status = edge_.CheckCall();
    if (status.ok()) status = MayReceive();
    if (!status.ok()) return Send(status);
    Receive();
  }
  void WhenCancelled() final {
    edge_.executor.Post([this] { Cancelled(); });
  }
  void WhenDone() final {
    if (answering_) edge_.answers.End(answer_wait_);
    {
      const MutexLock lock(mutex_);
      done_ = true;
    }
    edge_.executor.Post([this] { delete this; });
  }

 protected:
  UnaryCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context)
      : OneRequest(edge, *context), counters_(counters), context_(context), began_(edge.clock.Now()) {}
  ~UnaryCall() override = default;

  // --- The thread that received it
  // Whether the request is received at all.
  virtual Status MayReceive() { return {}; }
  // What is needed of the request.
  virtual Status Take(const grpc::ByteBuffer& request) = 0;

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

  MethodCounters& counters_;

  grpc::CallbackServerContext& context() { return *context_; }

 private:
  void OnRequest(const grpc::ByteBuffer& request) final {
    began_ = edge_.clock.Now();
    counters_.Received(request.Length());
    Status status = edge_.CheckOpen();
    if (status.ok()) status = Take(request);
    if (!status.ok()) return Send(status);
    edge_.executor.Post([this] { BeginUnlessGone(); });
  }
  void OnNoRequest(const Status& why) final { Send(why); }

  void BeginUnlessGone() {
    begun_ = true;
    if (gone_) return Cancelled();
    Begin();
  }
  // It came before what it cancels, or behind its end: then there is nothing to do.
  void Cancelled() {
    gone_ = true;
    if (!begun_ || answered_ || away_) return;
    answered_ = true;
    Abandon();
    Send(Gone());
  }
  void SendAnswer() {
    Result<grpc::ByteBuffer> encoded = Encode();
    if (!encoded.ok()) return Send(encoded.status());
    response_ = *std::move(encoded);
    counters_.Sent(response_.Length());
    counters_.Ended(grpc::StatusCode::OK);
    counters_.Took(edge_.clock.Now() - began_);
    answering_ = true;
    edge_.answers.Begin(answer_wait_, edge_.clock.Now());
    StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);  // the last that is done here: WhenDone may be on its way
  }
  // Executor. The client does not take its answer: gRPC keeps it until the call is cancelled.
  void CutAnswerOff() {
    grpc_call* call = nullptr;
    {
      const MutexLock lock(mutex_);
      if (done_ || std::exchange(cut_off_, true)) return;
      call = context_->c_call();
      grpc_call_ref(call);  // it ends in WhenDone, which may follow at once
    }
    edge_.Rejected(Rejection::kTooSlow);
    grpc_call_cancel(call, nullptr);
    grpc_call_unref(call);
  }
  void Send(const Status& status) {
    grpc::Status sent = ToGrpcStatus(status, context_);
    counters_.Ended(sent.error_code());
    counters_.Took(edge_.clock.Now() - began_);
    Finish(std::move(sent));  // the last, too
  }

  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer response_;
  MonotonicTime began_;
  bool answering_ = false;  // set before the last operation, read after it
  ClientWaits::Row answer_wait_{[this] { CutAnswerOff(); }};
  Mutex mutex_;
  bool done_ FLOTILLA_GUARDED_BY(mutex_) = false;  // the context is gone
  bool cut_off_ FLOTILLA_GUARDED_BY(mutex_) = false;
  // Executor.
  bool begun_ = false;
  bool answered_ = false;
  bool away_ = false;
  bool gone_ = false;
};

// --- Methods by name

class PlainCall final : public UnaryCall {
 public:
  PlainCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) : UnaryCall(edge, counters, context) {}

  Status Take(const grpc::ByteBuffer& request) override {
    if (Status status = CheckRequestBytes(request.Length()); !status.ok()) {
      edge_.Rejected(Rejection::kTooLarge);
      return status;
    }
    caller_ = CallerOf(edge_, context());
    FLOTILLA_RETURN_IF_ERROR(edge_.Authorise({.principal = caller_.principal, .action = Action::kCall, .resource = counters_.method()}));
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
  FetchCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) : UnaryCall(edge, counters, context) {}
  ~FetchCall() override { edge_.ReturnAnswerBytes(answer_bytes_); }

  Status Take(const grpc::ByteBuffer& request) override {
    FLOTILLA_RETURN_IF_ERROR(Parse(edge_, request, &request_));
    caller_ = CallerOf(edge_, context());
    codecs_ = CodecsOf(request_.accepted_codecs());
    if (request_.max_bytes() >= 0) {
      const auto wanted = request_.max_bytes() == 0 ? broker::limits::kFetchBytesDefault : static_cast<size_t>(request_.max_bytes());
      max_bytes_ = edge_.FetchBytesMax(std::min(wanted, broker::limits::kFetchBytesMax));
      request_.set_max_bytes(static_cast<int32_t>(max_bytes_));
    }
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
      if (answer_->ok()) {
        const Status room = TakeRoom(BytesIn(**answer_));
        if (!room.ok()) answer_ = room;
      }
      Answer();
    });
  }
  static size_t BytesIn(const broker::FetchAnswer& answer) {
    size_t bytes = 0;
    for (const broker::FetchedPartition& fetched : answer.partitions) {
      for (const partition::FetchedBatch& batch : fetched.batches) bytes += batch.records.size();
    }
    return bytes;
  }
  // First the executor, then a worker.
  Status TakeRoom(size_t bytes) {
    FLOTILLA_RETURN_IF_ERROR(edge_.TakeAnswerBytes(bytes));
    answer_bytes_ += bytes;
    return {};
  }
  void Abandon() override { edge_.api.Cancel(ticket_); }
  Result<grpc::ByteBuffer> Encode() override {
    thread_local partition::Decompressor decompressor;
    if (!answer_->ok()) return answer_->status();
    broker::FetchAnswer& answer = **answer_;
    Room room{.bytes = max_bytes_};
    for (broker::FetchedPartition& fetched : answer.partitions) {
      CutBehind(codecs_, &room, &fetched);
      FLOTILLA_RETURN_IF_ERROR(TakeRoom(BytesToDecompress(codecs_, fetched)));
      const Status status = Accept(codecs_, decompressor, &fetched);
      LOG_IF(ERROR, !status.ok()) << "event=batch_does_not_decompress topic=" << fetched.topic.name() << " partition=" << fetched.partition
                                  << " status=\"" << status << "\"";
    }
    for (Denied& denied : denied_) {  // by ascending position, so each is right when it is put in
      answer.partitions.insert(answer.partitions.begin() + denied.position, std::move(denied.answer));
    }
    return ToByteBuffer(EncodeFetchResponse(answer));
  }

  broker::Caller caller_;
  v1::FetchRequest request_;
  partition::CodecSet codecs_;
  size_t max_bytes_ = 0;
  size_t answer_bytes_ = 0;
  std::vector<Denied> denied_;
  uint64_t ticket_ = 0;
  std::optional<Result<broker::FetchAnswer>> answer_;
};

// --- Produce

class ProduceCall final : public UnaryCall, public broker::ProduceSink {
 public:
  ProduceCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) : UnaryCall(edge, counters, context) {}
  ~ProduceCall() override { edge_.ReturnBytes(taken_bytes_); }

  Status MayReceive() override { return edge_.CheckRoom(); }
  Status Take(const grpc::ByteBuffer& request) override {
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
BytesStream* StartCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) {
  auto* call = new Call(edge, counters, context);  // deletes itself after WhenDone
  call->Start();
  return call->Made();
}

}  // namespace

BytesStream* StartPlainCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) {
  return StartCall<PlainCall>(edge, counters, context);
}

BytesStream* StartFetch(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) {
  return StartCall<FetchCall>(edge, counters, context);
}

BytesStream* StartProduce(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context) {
  return StartCall<ProduceCall>(edge, counters, context);
}

}  // namespace flotilla::rpc::client
