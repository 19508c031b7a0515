// The peer port: PeerService, MembershipService and ForwardService, handed to a broker::PeerApi.
//
//   const auto credentials = InsecurePeerCredentials().server;
//   auto server = PeerServer::Start({.address = "0.0.0.0:9651", .credentials = credentials}, api);
//   ... (*server)->port() ...
//   (*server)->Stop();
//
// Calls are taken by name, from the table in peer_server.cc: a new unary method is one line there.
#pragma once

#include <memory>
#include <string>

#include "server/broker/peer_api.h"
#include "server/rpc/listener.h"
#include "server/rpc/peer/peer_limits.h"
#include "storage/base/status.h"

namespace grpc {
class ServerCredentials;
}  // namespace grpc

namespace flotilla::rpc {

struct PeerServerOptions {
  std::string address;  // "host:port"; port 0: any free one
  std::shared_ptr<grpc::ServerCredentials> credentials;
  PeerLimits limits = {};
};

class PeerServer {
 public:
  // INVALID_ARGUMENT: cannot listen there, the text names the address. `api` outlives Stop, and so does its
  // executor.
  static Result<std::unique_ptr<PeerServer>> Start(PeerServerOptions options, broker::PeerApi& api);
  ~PeerServer();

  int port() const;
  // Any thread.
  ConnectionCounters connections() const;
  // Ends all calls with SHUTTING_DOWN (OUTCOME_UNKNOWN where something was begun). Afterwards `api` is not
  // called any more, and what it opened is closed. Any thread but the executor's, which may have stopped. May
  // be called again.
  void Stop();

 private:
  class Running;
  explicit PeerServer(std::unique_ptr<Running> running);
  const std::unique_ptr<Running> running_;
};

}  // namespace flotilla::rpc
