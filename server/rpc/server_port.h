// A gRPC server's port with a limit of connections: a Listener in front of the server. Included by files that know gRPC.
//
//   grpc::ServerBuilder builder;
//   Result<std::unique_ptr<ServerPort>> port = ServerPort::Open(options, credentials, &builder);
//   server = builder.BuildAndStart();
//   (*port)->Start();
//   ...
//   (*port)->Stop();     // before the server is shut down
//   server->Shutdown(...);
#pragma once

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>

#include "server/rpc/listener.h"
#include "storage/base/status.h"

namespace flotilla::rpc {

struct ServerPortOptions {
  std::string address;  // as of a Listener
  size_t connections_max = 0;
  // What people can do about too many connections: "close some, or go to another node".
  std::string advice;
  // What a connection gets for its first word: TLS and HTTP/2's settings.
  Duration handshake_max = std::chrono::seconds(10);
  Duration silence_max = std::chrono::seconds(60);
  std::shared_ptr<ReadListener> reads;  // as of a Listener
};

class ServerPort {
 public:
  // INVALID_ARGUMENT: cannot listen there.
  static Result<std::unique_ptr<ServerPort>> Open(const ServerPortOptions& options, std::shared_ptr<grpc::ServerCredentials> credentials,
                                                  grpc::ServerBuilder* builder);

  int port() const { return listener_->port(); }
  ConnectionCounters counters() const { return listener_->counters(); }
  // When the server has started.
  void Start();
  void Stop() { listener_->Stop(); }
  // What is known of its connections, and can be done to them.
  ConnectionPort& connections() { return *listener_; }

 private:
  ServerPort(std::unique_ptr<Listener> listener, std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor)
      : acceptor_(std::move(acceptor)), listener_(std::move(listener)) {}

  const std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  const std::unique_ptr<Listener> listener_;
};

}  // namespace flotilla::rpc
