#include "server/rpc/peer/peer_call.h"

#include <grpcpp/channel.h>

#include <utility>

#include "server/rpc/byte_buffer.h"

namespace flotilla::rpc {

void PeerCall::Begin(const std::shared_ptr<grpc::Channel>& connection, Request request, broker::PeerDone done, const SinkPost& sink,
                     LiveStreams& live) {
  const ClientStream::Call call{.method = request.method, .timeout = request.timeout};
  std::shared_ptr<PeerCall> self(new PeerCall(std::move(request), std::move(done), sink));
  const auto stream = ClientStream::Create(connection, call, self, live);
  if (stream == nullptr) return;
  self->stream_ = stream;
  stream->Begin();
}

// Not earlier, though it costs a round trip: so a call that failed before was surely not seen by the other
// side.
void PeerCall::OnOpen() {
  EncodedMessage message;
  message.bytes = request_.bytes.size();
  if (message.bytes != 0) message.pieces.emplace_back(std::move(request_.bytes));
  if (const auto stream = stream_.lock()) stream->WriteLast(std::move(message));
}

void PeerCall::OnMessage(const grpc::ByteBuffer& message) { response_ = std::string(ToBytes(message).view()); }

void PeerCall::OnClosed(const End& end) {
  sink_.Post([done = std::move(done_), outcome = Outcome(end)](broker::PeerSink&) { done(outcome); });
}

Result<std::string> PeerCall::Outcome(const End& end) {
  if (end.status.ok() && response_) return *std::move(response_);
  if (end.answered) return end.status;
  const std::string why = end.status.ok() ? "it answered without a response" : std::string(end.status.message());
  const std::string what = request_.method + " at " + request_.address;
  if (!end.opened) return Status(Reason::kNoLeader, what + " was not reached, nothing was done: " + why);
  return Status(Reason::kOutcomeUnknown, what + " did not answer, it may have been done: " + why);
}

}  // namespace flotilla::rpc
