// What connections are made with: the one place where credentials are built.
#pragma once

#include <memory>

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace flotilla::rpc {

// Of the peer port and of the connections to other nodes' peer ports.
struct PeerCredentials {
  std::shared_ptr<grpc::ServerCredentials> server;
  std::shared_ptr<grpc::ChannelCredentials> client;
};

// Plain TCP: whoever reaches the port is believed.
PeerCredentials InsecurePeerCredentials();

}  // namespace flotilla::rpc
