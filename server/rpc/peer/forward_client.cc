#include "server/rpc/peer/forward_client.h"

#include <grpcpp/channel.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "server/rpc/byte_buffer.h"
#include "server/rpc/peer/connection.h"
#include "server/rpc/peer/forward_codec.h"

namespace flotilla::rpc {

using broker::ForwardAnswer;
using broker::ForwardRequest;

namespace {

constexpr char kMethod[] = "/flotilla.internal.v1.ForwardService/ForwardStream";
// How late a part may learn that its time has run out while it waits to be sent.
constexpr Duration kDeadlineGrain = std::chrono::milliseconds(20);

size_t AboutBytes(const ForwardRequest& request) {
  constexpr size_t kPart = 256;
  const auto* append = std::get_if<broker::ForwardAppend>(&request.operation);
  return kPart + request.principal.size() + (append == nullptr ? 0 : append->batch.records.size());
}

Status NotReached(const broker::Peer& peer, const std::string& why) {
  return Status(Reason::kNoLeader, "node " + std::to_string(peer.id.value()) + " at " + peer.address + " was not reached: " + why);
}

}  // namespace

ForwardClient::ForwardClient(std::shared_ptr<LinkContext> context, Random random)
    : context_(std::move(context)),
      connection_(OpenConnection(context_->peer.address, context_->credentials)),
      backoff_(context_->limits.backoff_min, context_->limits.backoff_max, random) {}

void ForwardClient::Forward(ForwardRequest request) {
  if (const Status admitted = Admit(&request); !admitted.ok()) return Refuse(request, admitted);
  bool connect = false;
  {
    MutexLock lock(mutex_);
    connect = state_ == State::kIdle && !queue_.empty();
    if (connect) state_ = State::kConnecting;
  }
  if (connect) Connect();
  Pump();
  WatchDeadlines();
}

// Takes the part into the queue, unless it is a cancel of one that is there: then both are gone.
Status ForwardClient::Admit(ForwardRequest* request) {
  const size_t bytes = AboutBytes(*request);
  const bool cancel = std::holds_alternative<broker::ForwardCancel>(request->operation);
  MutexLock lock(mutex_);
  if (cancel) {
    const auto waiting = std::find_if(queue_.begin(), queue_.end(), [&](const Queued& other) { return other.request.id == request->id; });
    if (waiting != queue_.end()) {
      queued_bytes_ -= waiting->bytes;
      queue_.erase(waiting);
      return {};
    }
    if (state_ != State::kOpen) return {};  // what it cancels went with its stream
  } else if (state_ == State::kClosed) {
    return NotReached(context_->peer, "it is no member any more");
  } else if (queued_bytes_ + bytes > context_->limits.forward_queue_bytes) {
    return NotReached(context_->peer, "overloaded, " + std::to_string(queued_bytes_) + " bytes wait to be sent; the limit is " +
                                          std::to_string(context_->limits.forward_queue_bytes))
        .With("limit", context_->limits.forward_queue_bytes);
  }
  queued_bytes_ += bytes;
  const MonotonicTime now = clock_.Now();
  const MonotonicTime deadline = now + request->timeout;
  const MonotonicTime connect_by = std::min(deadline, now + request->connect_within.value_or(request->timeout));
  queue_.push_back({std::move(*request), bytes, deadline, connect_by});
  return {};
}

void ForwardClient::Connect() {
  auto stream = ClientStream::Create(connection_, {.method = kMethod, .handshake = context_->Handshake().SerializeAsString()},
                                     shared_from_this(), *context_->live);
  if (stream == nullptr) return;
  bool closed = false;
  {
    MutexLock lock(mutex_);
    closed = state_ == State::kClosed;
    stream_ = stream;
  }
  stream->Begin();
  if (closed) stream->Abort(Status(Reason::kCancelled, "closed before it began"));
}

void ForwardClient::OnOpen() {
  {
    MutexLock lock(mutex_);
    if (state_ != State::kConnecting) return;
    state_ = State::kOpen;
    open_ = true;
    backoff_.Reset();
  }
  Pump();
}

// What is too late stays in the queue for OnDeadlines: it is not sent.
void ForwardClient::Pump() {
  const MonotonicTime now = clock_.Now();
  std::optional<Queued> next;
  std::shared_ptr<ClientStream> stream;
  {
    MutexLock lock(mutex_);
    if (state_ != State::kOpen || writing_) return;
    const auto in_time = std::find_if(queue_.begin(), queue_.end(), [&](const Queued& part) { return part.deadline > now; });
    if (in_time == queue_.end()) return;
    queued_bytes_ -= in_time->bytes;
    next = std::move(*in_time);
    queue_.erase(in_time);
    writing_ = true;
    stream = stream_;
  }
  next->request.timeout = next->deadline - now;
  stream->Write(EncodeForwardRequest(next->request));
}

void ForwardClient::OnWritten() {
  {
    MutexLock lock(mutex_);
    writing_ = false;
  }
  Pump();
}

void ForwardClient::OnMessage(const grpc::ByteBuffer& message) {
  Result<ForwardAnswer> answer = DecodeForwardAnswer(ToBytes(message));
  if (!answer.ok()) {
    std::shared_ptr<ClientStream> stream;
    {
      MutexLock lock(mutex_);
      stream = stream_;
    }
    return stream->Abort(answer.status());
  }
  context_->sink.Post([from = context_->peer.id, answer = *std::move(answer)](broker::PeerSink& sink) mutable {
    sink.OnForwardAnswer(from, std::move(answer));
  });
}

void ForwardClient::Refuse(const ForwardRequest& request, const Status& why) {
  context_->sink.Post(
      [from = context_->peer.id, id = request.id, why](broker::PeerSink& sink) { sink.OnForwardAnswer(from, {.id = id, .status = why}); });
}

void ForwardClient::OnClosed(const End& end) {
  bool was_open = false;
  {
    MutexLock lock(mutex_);
    was_open = std::exchange(open_, false);
    stream_ = nullptr;
    writing_ = false;
    last_trouble_ = end.status.ok() ? "it ended the stream" : end.status.ToString();
    if (state_ != State::kClosed) state_ = State::kBroken;
  }
  // Until then parts that come now are put to those of the broken stream, which the broker takes them for,
  // too.
  context_->sink.Post([self = shared_from_this(), was_open](broker::PeerSink& sink) { self->SettleBroken(was_open, sink); });
}

// Tells the sink at once, not by another post: the broker must not forward anything in between.
void ForwardClient::SettleBroken(bool was_open, broker::PeerSink& sink) {
  std::deque<Queued> unsent;
  std::string trouble;
  Duration delay{};
  bool retry = false;
  {
    MutexLock lock(mutex_);
    if (was_open || state_ == State::kClosed) {
      unsent.swap(queue_);
      queued_bytes_ = 0;
    }
    trouble = last_trouble_;
    retry = state_ == State::kBroken;
    if (retry) state_ = State::kWaiting;
    delay = backoff_.Next();
  }
  for (const Queued& part : unsent) {
    if (std::holds_alternative<broker::ForwardCancel>(part.request.operation)) continue;
    sink.OnForwardAnswer(context_->peer.id, {.id = part.request.id, .status = NotReached(context_->peer, trouble)});
  }
  if (was_open) sink.OnForwardBroken(context_->peer.id);
  if (!retry) return;
  EdgeTimer timer = EdgeTimer::Start(delay, *context_->live, [self = shared_from_this()] { self->OnRetryTime(); });
  MutexLock lock(mutex_);
  if (state_ == State::kWaiting) std::swap(retry_timer_, timer);
}

void ForwardClient::OnRetryTime() {
  {
    MutexLock lock(mutex_);
    if (state_ != State::kWaiting) return;
    state_ = queue_.empty() ? State::kIdle : State::kConnecting;
    if (state_ == State::kIdle) return;
  }
  Connect();
}

void ForwardClient::WatchDeadlines() {
  {
    MutexLock lock(mutex_);
    if (watching_ || queue_.empty()) return;
    watching_ = true;
  }
  EdgeTimer timer = EdgeTimer::Start(kDeadlineGrain, *context_->live, [self = shared_from_this()] { self->OnDeadlines(); });
  MutexLock lock(mutex_);
  if (state_ != State::kClosed) std::swap(deadline_timer_, timer);
}

void ForwardClient::OnDeadlines() {
  const MonotonicTime now = clock_.Now();
  std::vector<Queued> late;
  std::string trouble;
  {
    MutexLock lock(mutex_);
    watching_ = false;
    trouble = last_trouble_.empty() ? "no connection" : last_trouble_;
    std::deque<Queued> waiting;
    for (Queued& part : queue_) {
      if ((state_ == State::kOpen ? part.deadline : part.connect_by) > now) {
        waiting.push_back(std::move(part));
      } else {
        queued_bytes_ -= part.bytes;
        late.push_back(std::move(part));
      }
    }
    queue_.swap(waiting);
  }
  for (const Queued& part : late) {
    if (std::holds_alternative<broker::ForwardCancel>(part.request.operation)) continue;
    Refuse(part.request, NotReached(context_->peer, "its time ran out; last trouble: " + trouble));
  }
  WatchDeadlines();
}

void ForwardClient::Close() {
  std::shared_ptr<ClientStream> stream;
  EdgeTimer retry_timer, deadline_timer;
  {
    MutexLock lock(mutex_);
    state_ = State::kClosed;
    last_trouble_ = "it is no member any more";
    stream = stream_;
    std::swap(retry_timer, retry_timer_);
    std::swap(deadline_timer, deadline_timer_);
  }
  if (stream != nullptr) stream->Abort(Status(Reason::kCancelled, "the connection was closed"));
  context_->sink.Post([self = shared_from_this()](broker::PeerSink& sink) { self->SettleBroken(/*was_open=*/false, sink); });
}

}  // namespace flotilla::rpc
