#include "server/rpc/peer/server_stream.h"

#include <grpcpp/server_context.h>

#include <utility>

#include "server/rpc/byte_buffer.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/peer/client_stream.h"

namespace flotilla::rpc {

grpc::ServerGenericBidiReactor* ServerStream::Begin(const std::shared_ptr<ServerStream>& stream, const Status& why, LiveStreams& live) {
  stream->self_ = stream;
  stream->ticket_ = live.Enter(stream);
  if (!stream->ticket_.valid()) {
    stream->End(Status(Reason::kShuttingDown, "this node stops; ask another one"));
  } else if (!why.ok()) {
    stream->End(why);
  } else {
    stream->begun_ = true;
    stream->OnBegin();
    stream->context_.AddInitialMetadata(kOpenMetadata, "1");
    stream->StartSendInitialMetadata();
    stream->ReadNext();
  }
  return stream->Made();
}

void ServerStream::ReadNext() {
  {
    MutexLock lock(mutex_);
    if (end_) return;
    ++starting_;
  }
  StartRead(&received_);
  Started();
}

void ServerStream::Started() {
  bool finish = false;
  {
    MutexLock lock(mutex_);
    --starting_;
    finish = MayFinish();
  }
  if (finish) FinishNow();
}

size_t ServerStream::Write(EncodedMessage message) {
  size_t waiting = 0;
  {
    MutexLock lock(mutex_);
    if (end_) return 0;
    if (writing_) {
      queued_bytes_ += message.bytes;
      queue_.push_back(std::move(message));
      return queued_bytes_;
    }
    writing_ = true;
    waiting = queued_bytes_;
  }
  sent_ = ToByteBuffer(std::move(message));
  StartWrite(&sent_);
  return waiting;
}

size_t ServerStream::waiting_bytes() {
  MutexLock lock(mutex_);
  return queued_bytes_;
}

void ServerStream::WhenWritten(bool ok) {
  std::optional<EncodedMessage> next;
  bool finish = false;
  sent_.Clear();
  {
    MutexLock lock(mutex_);
    if (!ok) queue_.clear();
    if (!queue_.empty()) {
      next = std::move(queue_.front());
      queue_.pop_front();
      queued_bytes_ -= next->bytes;
    } else {
      writing_ = false;
      finish = MayFinish();
    }
  }
  if (next) {
    sent_ = ToByteBuffer(*std::move(next));
    StartWrite(&sent_);
  } else if (finish) {
    FinishNow();
  }
}

void ServerStream::End(const Status& status) {
  bool finish = false;
  {
    MutexLock lock(mutex_);
    if (end_) return;
    end_ = status;
    if (!status.ok()) queue_.clear();
    finish = MayFinish();
  }
  if (finish) FinishNow();
}

void ServerStream::Break(const Status& status) {
  {
    MutexLock lock(mutex_);
    if (end_) return;
    ++starting_;
  }
  context_.TryCancel();
  End(status);
  Started();
}

bool ServerStream::MayFinish() {
  if (!end_ || finished_ || writing_ || starting_ != 0) return false;
  finished_ = true;
  return true;
}

void ServerStream::FinishNow() {
  Status status;
  {
    MutexLock lock(mutex_);
    status = *end_;
  }
  Finish(ToGrpcStatus(status, &context_));
}

void ServerStream::WhenRead(bool ok) {
  if (!ok) return OnHalfClose();
  OnMessage(received_);
}

void ServerStream::WhenCancelled() { End(Status(Reason::kCancelled, "the caller is gone")); }

void ServerStream::WhenDone() {
  const std::shared_ptr<ServerStream> self = std::move(self_);
  if (begun_) OnOver();
  ticket_ = {};
}

}  // namespace flotilla::rpc
