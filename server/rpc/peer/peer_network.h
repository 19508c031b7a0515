// broker::PeerNetwork on gRPC.
//
//   GrpcPeerNetwork network({.identity = [&] { return api.Identity(); },
//                            .credentials = InsecurePeerCredentials().client,
//                            .seed = 1},
//                           executor, sink);
//   network.SetPeers(...);      // and so on, on the executor
//   ...
//   network.Stop();             // not on the executor
//
// Each peer has three streams of Raft's on three connections, and one for forwarded calls; unary calls have a
// connection per address. Streams come back by themselves. The log has a line when a peer's connections break
// and when they are back.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "flotilla/internal/v1/peer.pb.h"
#include "raft/node/executor.h"
#include "server/broker/peer_network.h"
#include "server/rpc/peer/peer_limits.h"

namespace grpc {
class ChannelCredentials;
}  // namespace grpc

namespace flotilla::rpc {

struct PeerNetworkOptions {
  // This node, for its hellos. Any thread.
  std::function<internal::v1::NodeIdentity()> identity;
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  PeerLimits limits = {};
  // Of the chance in the backoff: nodes have different ones.
  uint64_t seed = 1;
};

class GrpcPeerNetwork final : public broker::PeerNetwork {
 public:
  // `executor` and `sink` outlive Stop.
  GrpcPeerNetwork(PeerNetworkOptions options, raft::Executor& executor, broker::PeerSink& sink);
  ~GrpcPeerNetwork() override;

  // Ends all connections; afterwards neither the sink nor any `done` is called, and Send and the others do
  // nothing. Any thread but the executor's; the executor may have stopped.
  void Stop();

  void Send(raft::Channel channel, raft::PeerMessage message) override;
  void SetPeers(const std::vector<broker::Peer>& peers) override;
  void Call(const std::string& address, std::string_view method, std::string request, Duration timeout, broker::PeerDone done) override;
  // What is refused is answered later, never from inside of this.
  void Forward(NodeId to, broker::ForwardRequest request) override;

 private:
  class Links;
  const std::unique_ptr<Links> links_;
};

}  // namespace flotilla::rpc
