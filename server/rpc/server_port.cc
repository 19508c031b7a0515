#include "server/rpc/server_port.h"

#include <utility>

#include "server/rpc/refused_connection.h"

namespace flotilla::rpc {

Result<std::unique_ptr<ServerPort>> ServerPort::Open(const ServerPortOptions& options, std::shared_ptr<grpc::ServerCredentials> credentials,
                                                     grpc::ServerBuilder* builder) {
  const Status refusal = Status(Reason::kOverloaded, "this node has " + std::to_string(options.connections_max) +
                                                         " connections open, its limit; " + options.advice)
                             .With("limit", options.connections_max);
  Result<std::unique_ptr<Listener>> listener = Listener::Open({.address = options.address,
                                                               .connections_max = options.connections_max,
                                                               .refusal_trailers = RefusalTrailers(refusal),
                                                               .silence_max = options.silence_max,
                                                               .reads = options.reads});
  if (!listener.ok()) return listener.status();
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, static_cast<int>(options.handshake_max / std::chrono::milliseconds(1)));
  using ConnectionType = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  auto acceptor = builder->experimental().AddExternalConnectionAcceptor(ConnectionType::FROM_FD, std::move(credentials));
  return std::unique_ptr<ServerPort>(new ServerPort(*std::move(listener), std::move(acceptor)));
}

void ServerPort::Start() {
  listener_->Start([this](int connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters given;
    given.fd = connection;
    acceptor_->HandleNewConnection(&given);
  });
}

}  // namespace flotilla::rpc
