// A connection to a peer.
#pragma once

#include <memory>
#include <string>

namespace grpc {
class Channel;
class ChannelCredentials;
}  // namespace grpc

namespace flotilla::rpc {

// A TCP connection of its own, shared with no other channel; made when the first call wants it. gRPC tries
// again on its own, often: how often a call tries is for the caller.
std::shared_ptr<grpc::Channel> OpenConnection(const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials);

}  // namespace flotilla::rpc
