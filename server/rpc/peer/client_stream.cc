#include "server/rpc/peer/client_stream.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <utility>

#include "server/rpc/byte_buffer.h"
#include "server/rpc/grpc_status.h"

namespace flotilla::rpc {

std::shared_ptr<ClientStream> ClientStream::Create(const std::shared_ptr<grpc::Channel>& channel, const Call& call,
                                                   std::shared_ptr<StreamEvents> events, LiveStreams& live) {
  std::shared_ptr<ClientStream> stream(new ClientStream(std::move(events)));
  stream->ticket_ = live.Enter(stream);
  if (!stream->ticket_.valid()) return nullptr;
  stream->channel_ = channel;
  if (!call.handshake.empty()) stream->context_.AddMetadata(kHandshakeMetadata, call.handshake);
  if (call.timeout) {
    stream->context_.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(call.timeout->count(), GPR_TIMESPAN)));
  }
  grpc::GenericStub(channel).PrepareBidiStreamingCall(&stream->context_, call.method, {}, stream.get());
  return stream;
}

void ClientStream::Begin() {
  self_ = shared_from_this();
  AddHold();
  StartRead(&received_);
  StartCall();
}

void ClientStream::Write(EncodedMessage message, bool last) {
  {
    MutexLock lock(mutex_);
    if (over_) return;
    CHECK(!writing_) << "one write at a time";
    writing_ = true;
  }
  sent_ = ToByteBuffer(std::move(message));
  if (last) {
    StartWriteLast(&sent_, grpc::WriteOptions());
  } else {
    StartWrite(&sent_);
  }
}

void ClientStream::Abort(const Status& why) {
  {
    MutexLock lock(mutex_);
    if (!aborted_) aborted_ = why;
  }
  context_.TryCancel();
}

void ClientStream::WhenOpened(bool ok) {
  opened_ = ok && context_.GetServerInitialMetadata().contains(kOpenMetadata);
  if (opened_) events_->OnOpen();
}

void ClientStream::WhenRead(bool ok) {
  if (ok) {
    events_->OnMessage(received_);
    received_.Clear();
    return StartRead(&received_);
  }
  bool idle = false;
  {
    MutexLock lock(mutex_);
    over_ = true;
    idle = !writing_;
  }
  if (idle) RemoveHold();
}

void ClientStream::WhenWritten(bool ok) {
  bool over = false;
  sent_.Clear();
  {
    MutexLock lock(mutex_);
    writing_ = false;
    over = over_;
  }
  if (over) return RemoveHold();
  if (ok) events_->OnWritten();
}

void ClientStream::WhenDone(const grpc::Status& status) {
  const std::shared_ptr<ClientStream> self = std::move(self_);
  StreamEvents::End end{.status = FromGrpcStatus(status, context_), .answered = HasErrorTrailer(context_), .opened = opened_};
  {
    MutexLock lock(mutex_);
    if (aborted_ && !end.answered && !end.status.ok()) end.status = *aborted_;
  }
  const std::shared_ptr<StreamEvents> events = std::move(events_);
  events->OnClosed(end);
}

}  // namespace flotilla::rpc
