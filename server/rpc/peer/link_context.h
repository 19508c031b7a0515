// What the streams to one peer share. Outlived by the network that made it only as long as streams are alive.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "flotilla/internal/v1/peer.pb.h"
#include "server/broker/peer_network.h"
#include "server/rpc/peer/link_log.h"
#include "server/rpc/peer/live_streams.h"
#include "server/rpc/peer/peer_limits.h"
#include "server/rpc/peer/sink_post.h"

namespace grpc {
class ChannelCredentials;
}  // namespace grpc

namespace flotilla::rpc {

struct LinkContext {
  broker::Peer peer;
  PeerLimits limits;
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  // This node, as it is when a stream begins. Any thread.
  std::function<internal::v1::NodeIdentity()> identity;
  SinkPost sink;
  std::shared_ptr<LiveStreams> live;
  LinkLog log;

  internal::v1::HandshakeRequest Handshake() const {
    internal::v1::HandshakeRequest request;
    *request.mutable_caller() = identity();
    request.set_expected_node_id(peer.id.value());
    request.set_expected_node_uuid(std::string(peer.uuid.bytes()));
    return request;
  }
};

}  // namespace flotilla::rpc
