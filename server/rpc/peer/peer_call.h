// One unary call to an address.
#pragma once

#include <memory>
#include <string>

#include "server/broker/peer_network.h"
#include "server/rpc/peer/client_stream.h"
#include "server/rpc/peer/sink_post.h"

namespace flotilla::rpc {

class PeerCall final : public StreamEvents, public std::enable_shared_from_this<PeerCall> {
 public:
  struct Request {
    std::string address;
    std::string method;
    std::string bytes;
    Duration timeout{};
  };
  // `done` is posted to the sink's executor, once; not when `live` is closed.
  static void Begin(const std::shared_ptr<grpc::Channel>& connection, Request request, broker::PeerDone done, const SinkPost& sink,
                    LiveStreams& live);

 private:
  PeerCall(Request request, broker::PeerDone done, const SinkPost& sink)
      : request_(std::move(request)), done_(std::move(done)), sink_(sink) {}
  void OnOpen() override;
  void OnMessage(const grpc::ByteBuffer& message) override;
  void OnWritten() override {}
  void OnClosed(const End& end) override;
  Result<std::string> Outcome(const End& end);

  Request request_;
  broker::PeerDone done_;
  const SinkPost sink_;
  std::weak_ptr<ClientStream> stream_;
  std::optional<std::string> response_;
};

}  // namespace flotilla::rpc
