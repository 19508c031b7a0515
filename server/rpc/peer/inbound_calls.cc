#include "server/rpc/peer/inbound_calls.h"

#include <glog/logging.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <utility>
#include <variant>

#include "server/errors/refusal.h"
#include "server/rpc/byte_buffer.h"
#include "server/rpc/peer/channel_bytes.h"
#include "server/rpc/peer/forward_codec.h"
#include "server/rpc/peer_codec.h"
#include "storage/base/hand_over.h"

namespace flotilla::rpc {

namespace wire = internal::v1;

namespace {

EncodedMessage Encoded(std::string bytes) {
  EncodedMessage message;
  message.bytes = bytes.size();
  if (!bytes.empty()) message.pieces.emplace_back(std::move(bytes));
  return message;
}

template <typename Message>
Status Parse(const Bytes& bytes, const char* what, Message* message) {
  if (message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return {};
  return Status(Reason::kCorruptMessage, std::string(what) + ": " + std::to_string(bytes.size()) + " bytes that are none");
}

std::string Named(NodeId node) { return "node " + std::to_string(node.value()); }

Status Mismatch(const std::string& text, NodeId ours, NodeId theirs) {
  return Refuse(Refusal::kNodeMismatch, text).With("ours", ours.value()).With("theirs", theirs.value());
}

}  // namespace

// --- Channels

void ChannelReceiver::OnMessage(const grpc::ByteBuffer& message) {
  const Bytes bytes = ToBytes(message);
  Result<ChannelContent> content = DecodeChannelContent(bytes);
  if (!content.ok()) return End(content.status());
  const auto* hello = std::get_if<EncodedHello>(&*content);
  const Status done =
      hello != nullptr ? Greet(hello->bytes) : Deliver(std::get<raft::PeerMessage>(*std::move(content)), BundleBytes(bytes.size()));
  if (!done.ok()) return End(done);
  ReadNext();
}

Status ChannelReceiver::Greet(const Bytes& hello) {
  if (greeted_.value() != 0) return Status(Reason::kCorruptMessage, "a second hello from " + Named(greeted_));
  wire::Hello parsed;
  FLOTILLA_RETURN_IF_ERROR(Parse(hello, "hello", &parsed));
  if (!wire::Channel_IsValid(parsed.channel()) || parsed.channel() == wire::CHANNEL_UNSPECIFIED) {
    return Status(Reason::kInvalidArgument,
                  "hello: channel " + std::to_string(parsed.channel()) + " is none; use CHANNEL_CONTROL, CHANNEL_DATA or CHANNEL_SNAPSHOT");
  }
  const wire::NodeIdentity& caller = parsed.handshake().caller();
  Result<wire::HandshakeResponse> accepted = api_.Greet(parsed.handshake());
  if (accepted.ok() && caller.node_id() == 0) {
    accepted = Refuse(Refusal::kNodeMismatch, "hello: the caller has no node id yet; it has to join first");
  }
  if (!accepted.ok()) {
    LOG_EVERY_T(WARNING, 10) << "peer refused node=" << caller.node_id() << " name=" << caller.node_name()
                             << " address=" << caller.peer_address() << " reason=\"" << accepted.status() << "\"";
    return accepted.status();
  }
  greeted_ = NodeId{caller.node_id()};
  self_node_ = NodeId{accepted->callee().node_id()};
  wire::OpenChannelResponse response;
  *response.mutable_accepted() = *std::move(accepted);
  Write(Encoded(response.SerializeAsString()));
  return {};
}

Status ChannelReceiver::Deliver(raft::PeerMessage message, size_t bytes) {
  if (greeted_.value() == 0) return Refuse(Refusal::kNodeMismatch, "a message before the hello; say who you are first");
  if (message.from != greeted_) {
    return Mismatch("a message from " + Named(message.from) + " on the stream of " + Named(greeted_), greeted_, message.from);
  }
  if (message.to != self_node_) {
    return Mismatch("a message to " + Named(message.to) + " came to " + Named(self_node_), self_node_, message.to);
  }
  api_.executor().Post(
      [self = std::static_pointer_cast<ChannelReceiver>(shared_from_this()), message = std::move(message), bytes]() mutable {
        self->api_.Receive(std::move(message));
        self->Took(bytes);
      });
  return {};
}

void ChannelReceiver::Took(size_t bytes) {
  ++taken_messages_;
  taken_bytes_ += bytes;
  if (taken_bytes_ - acknowledged_bytes_ < limits_.acknowledge_bytes) return;
  acknowledged_bytes_ = taken_bytes_;
  wire::OpenChannelResponse response;
  response.set_received_messages(taken_messages_);
  response.set_received_bytes(taken_bytes_);
  Write(Encoded(response.SerializeAsString()));
}

// --- Forwarded parts

void ForwardReceiver::OnBegin() {
  api_.executor().Post([self = Self()] { self->session_ = self->api_.OpenForward(*self); });
}

void ForwardReceiver::OnMessage(const grpc::ByteBuffer& message) {
  thread_local partition::Decompressor decompressor;
  grpc::ByteBuffer buffer = message;  // shares the memory; the reader wants one it may change
  const size_t bytes = buffer.Length();
  Result<DecodedForward> part = [&] {
    const Unwatched reading;
    grpc::ProtoBufferReader pieces(&buffer);
    return DecodeForwardRequest(pieces, bytes, decompressor);
  }();
  if (!part.ok()) return End(part.status());
  const NodeId us{api_.Identity().node_id()};
  if (part->request.target != us) {
    return End(Mismatch("a part for " + Named(part->request.target) + " came to " + Named(us), us, part->request.target));
  }
  if (!part->refusal.ok()) {
    Write(EncodeForwardAnswer({.id = part->request.id, .status = part->refusal}, Asked::kOther));
    return ReadNext();
  }
  bool go_on = false;
  {
    MutexLock lock(inbox_mutex_);
    inbox_bytes_ += bytes;
    go_on = inbox_bytes_ <= limits_.forward_inbox_bytes;
    paused_ = !go_on;
  }
  api_.executor().Post([self = Self(), request = std::move(part->request), bytes]() mutable { self->Submit(std::move(request), bytes); });
  if (go_on) ReadNext();
}

void ForwardReceiver::Submit(broker::ForwardRequest request, size_t bytes) {
  const bool cancel = std::holds_alternative<broker::ForwardCancel>(request.operation);
  if (std::holds_alternative<broker::ForwardLocate>(request.operation)) lookups_.insert(request.id);
  if (cancel) lookups_.erase(request.id);
  if (session_ != nullptr) session_->Submit(std::move(request));
  bool go_on = false;
  {
    MutexLock lock(inbox_mutex_);
    inbox_bytes_ -= bytes;
    go_on = paused_ && inbox_bytes_ <= limits_.forward_inbox_bytes;
    if (go_on) paused_ = false;
  }
  if (go_on) ReadNext();
}

void ForwardReceiver::OnForwardDone(broker::ForwardAnswer answer) {
  const Asked asked = lookups_.erase(answer.id) != 0 ? Asked::kLocate : Asked::kOther;
  // What was read can be read again, while of an append that loses its answer nobody knows what became of it: many readers at once must
  // not cost the writers their stream.
  if (asked == Asked::kOther && std::holds_alternative<partition::FetchResult>(answer.result)) {
    const size_t waiting = waiting_bytes();
    if (waiting > limits_.forward_queue_bytes) {
      ++dropped_;
      LOG_EVERY_T(WARNING, 10) << "forwarded_fetch_put_off waiting_bytes=" << waiting << " limit=" << limits_.forward_queue_bytes
                               << " so_far=" << dropped_;
      answer = {.id = answer.id,
                .status = Status(Reason::kNoLeader, "overloaded, " + std::to_string(waiting) +
                                                        " bytes of answers wait to be sent to the node that asked; the limit is " +
                                                        std::to_string(limits_.forward_queue_bytes) + ", try again shortly")
                              .With("limit", limits_.forward_queue_bytes),
                .leader = {},
                .leader_epoch = {},
                .result = {}};
    }
  }
  const size_t most = 2 * limits_.forward_queue_bytes;
  if (Write(EncodeForwardAnswer(answer, asked)) <= most) return;
  Break(Refuse(Refusal::kSlowConsumer, "answers to forwarded calls are not read; more than " + std::to_string(most) + " bytes wait"));
}

void ForwardReceiver::OnOver() {
  api_.executor().Post([self = Self()] { self->session_ = nullptr; });
}

// --- Single calls

void UnaryReceiver::OnMessage(const grpc::ByteBuffer& message) {
  asked_ = true;
  api_.executor().Post([self = Self(), request = std::string(ToBytes(message).view())] {
    self->api_.PeerCall(self->method_, request, [self](Result<std::string> outcome) { self->Answer(std::move(outcome)); });
  });
}

void UnaryReceiver::OnHalfClose() { End(Status(Reason::kCorruptMessage, method_ + ": the call ended without a request; send one")); }

void UnaryReceiver::Answer(Result<std::string> outcome) {
  if (!outcome.ok()) return End(outcome.status());
  Write(Encoded(*std::move(outcome)));
  End({});
}

void UnaryReceiver::Abort(const Status& why) {
  End(asked_ ? Status(Reason::kOutcomeUnknown, "this node stops before the call was answered") : why);
}

void HandshakeReceiver::OnMessage(const grpc::ByteBuffer& message) {
  wire::HandshakeRequest request;
  if (const Status parsed = Parse(ToBytes(message), "handshake", &request); !parsed.ok()) return End(parsed);
  const Result<wire::HandshakeResponse> response = api_.Greet(request);
  if (!response.ok()) return End(response.status());
  Write(Encoded(response->SerializeAsString()));
  End({});
}

}  // namespace flotilla::rpc
