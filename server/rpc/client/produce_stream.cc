#include <grpcpp/support/status.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "server/errors/error_codec.h"
#include "server/errors/refusal.h"
#include "server/rpc/byte_buffer.h"
#include "server/rpc/client/call_input.h"
#include "server/rpc/client/reactors.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/ordered_reactor.h"

namespace flotilla::rpc::client {
namespace {

// It costs some system calls.
constexpr int kLooksPerUpload = 6;

// One ProduceStream: reads one request at a time, keeps the unanswered ones within limits, and writes one answer at a time.
//
// Requests are read and prepared by gRPC's threads and submitted on the executor, in the order in which they came. Answers come
// from the executor, or from the reader for what it refuses, and wait in the outbox for the write before them. The outbox has a
// mutex, because a hop over the executor for each written answer would cost more; nothing is called while it is held.
class ProduceStream final : public OrderedServerReactor, public broker::ProduceSink, public LongCall {
 public:
  ProduceStream(Edge& edge, MethodCounters& counters, MethodCounters& requests, grpc::CallbackServerContext* context)
      : edge_(edge),
        counters_(counters),
        requests_(requests),
        context_(context),
        caller_(CallerOf(edge, *context)),
        mark_(edge, context->peer()) {
    has_deadline_ = context->deadline() != std::chrono::system_clock::time_point::max();
    const MutexLock lock(mutex_);
    wrote_at_ = edge.clock.Now();
  }

  // The thread that received the call.
  void Begin() {
    Status status = edge_.CheckCall();
    if (status.ok()) status = edge_.EnterStream();
    in_streams_ = status.ok();
    if (!status.ok()) return EndReading(status);
    edge_.executor.Post([this] { Open(); });
    Read();
  }

  // --- gRPC's threads

  void WhenRead(bool ok) override {
    reading_since_ = MonotonicTime{};
    if (!ok) {  // the client has said all that it wanted to
      if (!heard_) mark_.NoRequest(context_->deadline() <= std::chrono::system_clock::now());
      mark_.NoFurtherRequest();
      return EndReading({});
    }
    heard_ = true;
    if (TakeRequest()) ReadOn();
  }
  void WhenWritten(bool ok) override;
  void WhenCancelled() override;
  void WhenDone() override {
    edge_.executor.Post([this] { delete this; });
  }

  // --- executor

  void OnProduced(uint64_t token, v1::ProduceResponse response) override;
  void LookAfter(MonotonicTime now) override;
  void EndForShutdown() override { EndReading(Status(Reason::kShuttingDown, "this node is about to stop; ask another one")); }

 private:
  // A request, as long as it is not answered.
  struct Request {
    int64_t correlation_id = 0;
    size_t bytes = 0;
    MonotonicTime received_at;
  };
  struct Answer {
    std::optional<Request> request;  // nothing: a heartbeat
    v1::ProduceStreamResponse message;
  };

  struct Waiting {
    Request request;
    RawProduce raw;
  };

  ~ProduceStream() override {
    edge_.Detach(*this);
    if (held_back_) StopHoldingBack();
    session_.reset();
    edge_.ReturnBytes(unanswered_bytes_);
    edge_.stream_requests.fetch_sub(unanswered_, std::memory_order_relaxed);
    if (in_streams_) edge_.LeaveStream();
  }

  void Open() {
    session_ = edge_.api.OpenProduce(*this);
    edge_.Attach(*this);
    if (const Status status = edge_.CheckOpen(); !status.ok()) EndReading(status);
  }

  // False: nothing more is read.
  bool TakeRequest();
  // Executor. A request that names what is not there waits for newer metadata; meanwhile nothing is read, to keep the order.
  void Synchronise();
  void Synchronised(const Status& status);
  // A worker.
  void TakeSynchronised(const Status& status);
  // Prepares it, and submits or refuses it. Not the executor.
  void Deliver(const Request& request, RawProduce raw);
  void Refuse(const Request& request, const Status& status);
  void Submit(const Request& request, broker::ProduceCommand command);
  void ReadOn();
  void Read() {
    reading_since_ = edge_.clock.Now();
    StartRead(&received_);
  }
  // Executor. A request of which a part has been here for too long ends the stream.
  void LookForHalfARequest(MonotonicTime now);
  void HoldBack() {
    held_back_ = true;
    ++mark_.connection().unread;
  }
  void StopHoldingBack() {
    held_back_ = false;
    --mark_.connection().unread;
  }
  // The stream ends with `status` when all that was taken is answered. The first one counts.
  void EndReading(const Status& status);
  // True: the caller has to see to it that WriteNext is called.
  bool Enqueue(Answer answer);
  void WriteNext();
  void FinishWith(const Status& status);

  bool HasRoom() const FLOTILLA_REQUIRES(mutex_) {
    const bool crowded = edge_.stream_requests.load(std::memory_order_relaxed) >= edge_.options.stream_requests_max;
    return unanswered_ < (crowded ? limits::kStreamInflightRequestsPromised : limits::kStreamInflightRequestsMax) &&
           unanswered_bytes_ < limits::kStreamInflightBytesMax;
  }
  // The status to finish with, once.
  std::optional<Status> TakeEnd() FLOTILLA_REQUIRES(mutex_) {
    if (!end_ || writing_ || synchronising_ || finished_ || (!cancelled_ && unanswered_ > 0)) return std::nullopt;
    finished_ = true;
    return end_;
  }

  Edge& edge_;
  MethodCounters& counters_;
  MethodCounters& requests_;
  grpc::CallbackServerContext* const context_;
  const broker::Caller caller_;
  bool has_deadline_ = false;
  bool in_streams_ = false;
  MonotonicTime looked_at_;  // executor

  grpc::ByteBuffer received_;                                  // of the reader
  std::atomic<MonotonicTime> reading_since_{MonotonicTime{}};  // nothing: it does not read
  std::atomic<bool> held_back_{false};                         // it does not read although the client may have sent more
  bool heard_ = false;                                         // of the reader: there was a request
  std::optional<Waiting> waiting_;                             // of the reader: for newer metadata
  grpc::ByteBuffer response_;                                  // of the writer

  // Executor.
  std::unique_ptr<broker::ProduceSession> session_;
  std::unordered_map<uint64_t, Request> submitted_;  // by token
  uint64_t next_token_ = 1;

  Mutex mutex_;
  std::deque<Answer> outbox_ FLOTILLA_GUARDED_BY(mutex_);
  std::optional<Request> in_write_ FLOTILLA_GUARDED_BY(mutex_);
  bool writing_ FLOTILLA_GUARDED_BY(mutex_) = false;  // or about to
  bool wrote_ FLOTILLA_GUARDED_BY(mutex_) = false;    // something, ever
  MonotonicTime wrote_at_ FLOTILLA_GUARDED_BY(mutex_);
  size_t unanswered_ FLOTILLA_GUARDED_BY(mutex_) = 0;        // taken, and not written yet
  size_t unanswered_bytes_ FLOTILLA_GUARDED_BY(mutex_) = 0;  // taken from the edge's room
  bool paused_ FLOTILLA_GUARDED_BY(mutex_) = false;          // nobody reads until there is room
  bool synchronising_ FLOTILLA_GUARDED_BY(mutex_) = false;   // nobody reads until there is newer metadata
  std::optional<Status> end_ FLOTILLA_GUARDED_BY(mutex_);
  bool cancelled_ FLOTILLA_GUARDED_BY(mutex_) = false;
  bool finished_ FLOTILLA_GUARDED_BY(mutex_) = false;

  CallMark mark_;
};

bool ProduceStream::TakeRequest() {
  Request request{.bytes = received_.Length(), .received_at = edge_.clock.Now()};
  requests_.Received(request.bytes);
  mark_.RequestArrived(request.bytes);
  Result<RawStreamRequest> raw = ReadStreamRequest(edge_, received_);
  received_.Clear();
  if (!raw.ok()) {
    EndReading(raw.status());
    return false;
  }
  request.correlation_id = raw->correlation_id;
  // Without room at the node the request is answered with OVERLOADED; it counts for this stream all the same.
  Status refusal = edge_.TakeBytes(request.bytes);
  if (!refusal.ok()) request.bytes = 0;
  {
    const MutexLock lock(mutex_);
    if (end_) {  // since this was read
      edge_.ReturnBytes(request.bytes);
      return false;
    }
    ++unanswered_;
    unanswered_bytes_ += request.bytes;
    edge_.stream_requests.fetch_add(1, std::memory_order_relaxed);
  }
  if (!refusal.ok()) {
    Refuse(request, refusal);
    return true;
  }
  if (!NeedsNewerMetadata(edge_, raw->request)) {
    Deliver(request, std::move(raw->request));
    return true;
  }
  {
    const MutexLock lock(mutex_);
    synchronising_ = true;
  }
  HoldBack();
  waiting_.emplace(Waiting{.request = request, .raw = std::move(raw->request)});
  edge_.executor.Post([this] { Synchronise(); });
  return false;  // it reads on when this one is dealt with
}

void ProduceStream::Synchronise() {
  broker::Caller caller = caller_;
  if (!has_deadline_) caller.deadline = waiting_->request.received_at + edge_.options.default_deadline;
  edge_.api.SyncMetadata(caller, [this](const Status& status) { Synchronised(status); });
}

void ProduceStream::Synchronised(const Status& status) {
  edge_.workers.Post([this, status] { TakeSynchronised(status); });
}

void ProduceStream::TakeSynchronised(const Status& status) {
  Waiting waiting = *std::exchange(waiting_, std::nullopt);
  StopHoldingBack();
  if (status.ok()) {
    Deliver(waiting.request, std::move(waiting.raw));
  } else {
    // What the client has sent behind it must not overtake it: it sends all of it again, on a new stream.
    Refuse(waiting.request, status);
    EndReading(status);
  }
  std::optional<Status> end;
  {
    const MutexLock lock(mutex_);
    synchronising_ = false;
    end = TakeEnd();
    if (!end && end_) return;  // whoever writes the last answer ends it
  }
  if (end) return FinishWith(*end);
  ReadOn();
}

void ProduceStream::Deliver(const Request& request, RawProduce raw) {
  Result<broker::ProduceCommand> command = Prepare(edge_, std::move(raw), caller_.principal);
  if (!command.ok()) return Refuse(request, command.status());
  edge_.executor.Post([this, request, prepared = *std::move(command)]() mutable { Submit(request, std::move(prepared)); });
}

void ProduceStream::Refuse(const Request& request, const Status& status) {
  Answer answer{.request = request, .message = {}};
  *answer.message.mutable_error() = ToError(status);
  if (Enqueue(std::move(answer))) WriteNext();
}

void ProduceStream::Submit(const Request& request, broker::ProduceCommand command) {
  broker::Caller caller = caller_;
  if (!has_deadline_) caller.deadline = request.received_at + edge_.options.default_deadline;
  const uint64_t token = next_token_++;
  submitted_.emplace(token, request);
  session_->Submit(std::move(command), caller, token);
}

void ProduceStream::ReadOn() {
  {
    const MutexLock lock(mutex_);
    if (end_) return;
    paused_ = !HasRoom();
    if (paused_) {
      HoldBack();
      return;
    }
  }
  Read();
}

void ProduceStream::OnProduced(uint64_t token, v1::ProduceResponse response) {
  const auto found = submitted_.find(token);
  CHECK(found != submitted_.end()) << "an answer to nothing: " << token;
  Answer answer{.request = found->second, .message = {}};
  submitted_.erase(found);
  answer.message.mutable_response()->Swap(&response);
  if (Enqueue(std::move(answer))) edge_.workers.Post([this] { WriteNext(); });
}

bool ProduceStream::Enqueue(Answer answer) {
  const MutexLock lock(mutex_);
  if (finished_ || cancelled_) return false;
  outbox_.push_back(std::move(answer));
  return !std::exchange(writing_, true);
}

void ProduceStream::WriteNext() {
  Answer answer;
  grpc::WriteOptions options;
  std::optional<Status> end;
  {
    const MutexLock lock(mutex_);
    if (outbox_.empty()) {  // cancelled since
      writing_ = false;
      end = TakeEnd();
    } else {
      answer = std::move(outbox_.front());
      outbox_.pop_front();
      in_write_ = answer.request;
      // What is written at once behind it may leave with it: one system call for many answers. Not the first one: the stream's head
      // goes with it, and gRPC does not say that it is written before it really is.
      if (wrote_ && !outbox_.empty()) options.set_buffer_hint();
    }
  }
  if (end) return FinishWith(*end);
  if (!answer.request && !answer.message.has_heartbeat()) return;
  if (answer.request) {
    answer.message.set_correlation_id(answer.request->correlation_id);
    requests_.Ended(answer.message.has_error() ? answer.message.error().code() : 0);
    requests_.Took(edge_.clock.Now() - answer.request->received_at);
  }
  response_ = ToByteBuffer(Bytes(answer.message.SerializeAsString()));
  requests_.Sent(response_.Length());
  StartWrite(&response_, options);
}

void ProduceStream::WhenWritten(bool ok) {
  bool more = false;
  bool read = false;
  std::optional<Status> end;
  size_t answered_bytes = 0;
  const MonotonicTime now = edge_.clock.Now();
  {
    const MutexLock lock(mutex_);
    wrote_ = true;
    wrote_at_ = now;
    if (in_write_) {
      --unanswered_;
      edge_.stream_requests.fetch_sub(1, std::memory_order_relaxed);
      answered_bytes = in_write_->bytes;
      unanswered_bytes_ -= answered_bytes;
      in_write_.reset();
    }
    if (!ok) {  // the connection is gone
      cancelled_ = true;
      outbox_.clear();
      if (!end_) end_ = Status(Reason::kCancelled, "the client has gone");
    }
    more = !outbox_.empty();
    writing_ = more;
    read = !end_ && paused_ && HasRoom();
    if (read) {
      paused_ = false;
      StopHoldingBack();
    }
    end = TakeEnd();
  }
  edge_.ReturnBytes(answered_bytes);
  if (read) Read();
  if (more) return WriteNext();
  if (end) FinishWith(*end);
}

void ProduceStream::WhenCancelled() {
  std::optional<Status> end;
  {
    const MutexLock lock(mutex_);
    cancelled_ = true;
    outbox_.clear();
    if (!end_) end_ = Status(Reason::kCancelled, "the client has gone, or its time ran out; what was on its way may still happen");
    end = TakeEnd();
  }
  if (end) FinishWith(*end);
}

void ProduceStream::EndReading(const Status& status) {
  std::optional<Status> end;
  {
    const MutexLock lock(mutex_);
    if (!end_) end_ = status;
    end = TakeEnd();
  }
  if (end) FinishWith(*end);
}

// Silence is allowed, and gRPC does not tell it from a request that is on its way: what the connection has received does.
void ProduceStream::LookForHalfARequest(MonotonicTime now) {
  const Duration patience = edge_.options.upload_max;
  if (now - looked_at_ < patience / kLooksPerUpload) return;
  looked_at_ = now;
  const MonotonicTime reading_since = reading_since_;
  if (reading_since == MonotonicTime{}) return;
  const std::optional<MonotonicTime> unfinished_since = edge_.connections.UnfinishedSince(mark_.connection(), now);
  if (!unfinished_since || now - std::max(*unfinished_since, reading_since) < patience) return;
  EndReading(edge_.TooSlow());
}

void ProduceStream::LookAfter(MonotonicTime now) {
  LookForHalfARequest(now);
  {
    const MutexLock lock(mutex_);
    if (writing_ || end_ || now - wrote_at_ < edge_.options.heartbeat_after) return;
  }
  Answer heartbeat;
  heartbeat.message.mutable_heartbeat()->set_time_ms(edge_.clock.WallMillis());
  if (Enqueue(std::move(heartbeat))) edge_.workers.Post([this] { WriteNext(); });
}

void ProduceStream::FinishWith(const Status& status) {
  grpc::Status sent = ToGrpcStatus(status, context_);
  counters_.Ended(sent.error_code());
  Finish(std::move(sent));  // the last that is done here: WhenDone may be on its way
}

}  // namespace

BytesStream* StartProduceStream(Edge& edge, MethodCounters& counters, MethodCounters& requests, grpc::CallbackServerContext* context) {
  auto* stream = new ProduceStream(edge, counters, requests, context);  // deletes itself after WhenDone
  stream->Begin();
  return stream->Made();
}

}  // namespace flotilla::rpc::client
