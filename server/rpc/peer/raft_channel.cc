#include "server/rpc/peer/raft_channel.h"

#include <glog/logging.h>
#include <grpcpp/channel.h>

#include <string>
#include <utility>
#include <variant>

#include "server/errors/refusal.h"
#include "server/rpc/byte_buffer.h"
#include "server/rpc/peer/channel_bytes.h"
#include "server/rpc/peer/connection.h"
#include "server/rpc/peer_codec.h"

namespace flotilla::rpc {
namespace {

namespace wire = internal::v1;

constexpr char kMethod[] = "/flotilla.internal.v1.PeerService/OpenChannel";

struct Kind {
  const char* name;
  wire::Channel wire;
  size_t queue_bytes_max;
};
Kind KindOf(raft::Channel channel, const PeerLimits& bounds) {
  switch (channel) {
    case raft::Channel::kControl: return {"control", wire::CHANNEL_CONTROL, bounds.control_queue_bytes};
    case raft::Channel::kData: return {"data", wire::CHANNEL_DATA, bounds.data_queue_bytes};
    case raft::Channel::kSnapshot: return {"snapshot", wire::CHANNEL_SNAPSHOT, bounds.snapshot_queue_bytes};
  }
  LOG(FATAL) << "no such channel: " << static_cast<int>(channel);
}

// For the bound of the queue: without a walk over what is in the entries.
size_t AboutBytes(const raft::PeerMessage& message) {
  constexpr size_t kPart = 96;
  size_t bytes = kPart;
  for (const raft::Message& part : message.messages) {
    bytes += kPart;
    const auto* append = std::get_if<raft::AppendRequest>(&part.body);
    if (append == nullptr) continue;
    for (const storage::Entry& entry : append->entries) bytes += kPart + entry.payload.size();
  }
  if (message.heartbeat) bytes += message.heartbeat->rows.size() * kPart;
  if (message.heartbeat_reply) bytes += (message.heartbeat_reply->rows.size() + message.heartbeat_reply->absent.size()) * kPart;
  for (const raft::SnapshotChunk& chunk : message.chunks) bytes += kPart + chunk.data.size() + chunk.meta.configuration.size();
  return bytes + message.chunk_replies.size() * kPart;
}

Status CheckCallee(const broker::Peer& peer, const wire::NodeIdentity& callee) {
  if (callee.node_id() == peer.id.value() && callee.node_uuid() == peer.uuid.bytes()) return {};
  const std::optional<Uuid> found = Uuid::FromBytes(callee.node_uuid());
  const std::string theirs = found ? found->ToString() : "none";
  return Refuse(Refusal::kNodeMismatch, peer.address + " answers as node " + std::to_string(callee.node_id()) + " with UUID " + theirs +
                                            "; expected node " + std::to_string(peer.id.value()) + " with UUID " + peer.uuid.ToString())
      .With("node_id", callee.node_id())
      .With("ours", peer.uuid.ToString())
      .With("theirs", theirs)
      .With("address", peer.address);
}

}  // namespace

RaftChannel::RaftChannel(std::shared_ptr<LinkContext> context, raft::Channel channel, Random random)
    : context_(std::move(context)),
      channel_(channel),
      name_(KindOf(channel, context_->limits).name),
      queue_bytes_max_(KindOf(channel, context_->limits).queue_bytes_max),
      connection_(OpenConnection(context_->peer.address, context_->credentials)),
      backoff_(context_->limits.backoff_min, context_->limits.backoff_max, random) {}

void RaftChannel::Open() { Connect(); }

void RaftChannel::Connect() {
  auto stream = ClientStream::Create(connection_, {.method = kMethod}, shared_from_this(), *context_->live);
  if (stream == nullptr) return;
  bool closed = false;
  {
    MutexLock lock(mutex_);
    closed = state_ == State::kClosed;
    if (!closed) state_ = State::kHello;
    stream_ = stream;
    writing_ = true;  // the hello
  }
  stream->Begin();
  if (closed) return stream->Abort(Status(Reason::kCancelled, "closed before it began"));
  wire::Hello hello;
  *hello.mutable_handshake() = context_->Handshake();
  hello.set_channel(KindOf(channel_, context_->limits).wire);
  stream->Write(EncodeChannelHello({Bytes(hello.SerializeAsString())}));
}

void RaftChannel::Send(raft::PeerMessage message) {
  const size_t bytes = AboutBytes(message);
  {
    MutexLock lock(mutex_);
    if (state_ != State::kHello && state_ != State::kAccepted) return;
    if (queued_bytes_ != 0 && queued_bytes_ + bytes > queue_bytes_max_) return;
    queued_bytes_ += bytes;
    queue_.push_back({std::move(message), bytes});
  }
  Pump();
}

void RaftChannel::Pump() {
  for (;;) {
    Queued next;
    std::shared_ptr<ClientStream> stream;
    {
      MutexLock lock(mutex_);
      const bool open = sent_bytes_ - acknowledged_bytes_ < context_->limits.window_bytes;
      if (state_ != State::kAccepted || writing_ || queue_.empty() || !open) return;
      next = std::move(queue_.front());
      queue_.pop_front();
      queued_bytes_ -= next.bytes;
      writing_ = true;
      stream = stream_;
    }
    EncodedMessage encoded = EncodeChannelMessage(next.message);
    const size_t bytes = BundleBytes(encoded.bytes);
    const bool fits = bytes <= limits::kPeerMessageBytesMax;
    {
      MutexLock lock(mutex_);
      if (stream != stream_) continue;  // broke in between, and may be another one by now
      if (fits) sent_bytes_ += bytes;
      if (!fits) writing_ = false;
    }
    if (fits) return stream->Write(std::move(encoded));
    LOG_EVERY_T(ERROR, 10) << "message to a peer dropped: too large node=" << context_->peer.id << " stream=" << name_ << " bytes=" << bytes
                           << " limit=" << limits::kPeerMessageBytesMax;
  }
}

void RaftChannel::OnMessage(const grpc::ByteBuffer& message) {
  const Bytes bytes = ToBytes(message);
  wire::OpenChannelResponse response;
  std::shared_ptr<ClientStream> stream;
  {
    MutexLock lock(mutex_);
    stream = stream_;
  }
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return stream->Abort(Status(Reason::kCorruptMessage, "answer on a channel: not an OpenChannelResponse"));
  }
  if (response.has_accepted()) {
    if (const Status callee = CheckCallee(context_->peer, response.accepted().callee()); !callee.ok()) {
      return stream->Abort(callee);
    }
  }
  if (Accept(response)) context_->log.Up();
  Pump();
}

// True: from now on messages may be sent.
bool RaftChannel::Accept(const wire::OpenChannelResponse& response) {
  MutexLock lock(mutex_);
  if (state_ == State::kAccepted) acknowledged_bytes_ = std::min(sent_bytes_, response.received_bytes());
  if (state_ != State::kHello || !response.has_accepted()) return false;
  state_ = State::kAccepted;
  was_accepted_ = true;
  backoff_.Reset();
  return true;
}

void RaftChannel::OnWritten() {
  {
    MutexLock lock(mutex_);
    writing_ = false;
  }
  Pump();
}

void RaftChannel::OnClosed(const End& end) {
  const Status why = end.status.ok() ? Status(Reason::kShuttingDown, "the peer ended the stream") : end.status;
  std::deque<Queued> dropped;
  Duration delay{};
  bool was_accepted = false, closed = false;
  {
    MutexLock lock(mutex_);
    was_accepted = std::exchange(was_accepted_, false);
    closed = state_ == State::kClosed;
    if (!closed) state_ = State::kWaiting;
    stream_ = nullptr;
    writing_ = false;
    sent_bytes_ = acknowledged_bytes_ = 0;
    queued_bytes_ = 0;
    dropped.swap(queue_);
    delay = backoff_.Next();
  }
  if (closed) return;
  context_->log.Down(name_, was_accepted, why);
  if (was_accepted && channel_ != raft::Channel::kSnapshot) {
    context_->sink.Post([node = context_->peer.id](broker::PeerSink& sink) { sink.OnUnreachable(node); });
  }
  WaitForNext(delay);
}

void RaftChannel::WaitForNext(Duration delay) {
  EdgeTimer timer = EdgeTimer::Start(delay, *context_->live, [self = shared_from_this()] { self->Connect(); });
  MutexLock lock(mutex_);
  // The old one has fired. After a Close this one fires for nothing.
  if (state_ == State::kWaiting) std::swap(timer_, timer);
}

void RaftChannel::Close() {
  std::shared_ptr<ClientStream> stream;
  std::deque<Queued> dropped;
  EdgeTimer timer;
  {
    MutexLock lock(mutex_);
    state_ = State::kClosed;
    queued_bytes_ = 0;
    dropped.swap(queue_);
    stream = stream_;
    std::swap(timer, timer_);
  }
  if (stream != nullptr) stream->Abort(Status(Reason::kCancelled, "the connection was closed"));
}

}  // namespace flotilla::rpc
