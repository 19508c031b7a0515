// How a node reaches its peers, as the broker needs it: gRPC in the daemon, the simulated network in the simulator.
// Raft's own messages go by raft::Transport, which the same object implements.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "raft/node/transport.h"
#include "server/broker/forward.h"
#include "server/metadata/uuid.h"
#include "storage/base/clock.h"
#include "storage/base/status.h"

namespace flotilla::broker {

struct Peer {
  NodeId id;
  Uuid uuid;
  std::string address;  // "host:port"
  bool operator==(const Peer&) const = default;
};

// On the broker's executor.
class PeerSink {
 public:
  virtual ~PeerSink() = default;
  virtual void OnForwardAnswer(NodeId from, ForwardAnswer answer) = 0;
  // The stream of forwarded parts to this node broke: nothing that was sent on it and not answered will be. What it was may
  // have been done.
  virtual void OnForwardBroken(NodeId to) = 0;
  // A connection of Raft's to the node broke.
  virtual void OnUnreachable(NodeId node) = 0;
};

using PeerDone = std::function<void(Result<std::string>)>;

class PeerNetwork : public raft::Transport {
 public:
  // All below: the broker's executor.

  // All other nodes there are, and where. Connections to others are closed; those to nodes that stayed the same go on.
  virtual void SetPeers(const std::vector<Peer>& peers) = 0;
  // One unary call, "/flotilla.internal.v1.MembershipService/Report", with a serialized request. `done` is called once, on the
  // executor, with the serialized response or why there is none. Errors that the other node answered keep their reason; when it
  // could not be reached (nothing was done) it is NO_LEADER, when the connection broke or time ran out OUTCOME_UNKNOWN.
  virtual void Call(const std::string& address, std::string_view method, std::string request, Duration timeout, PeerDone done) = 0;
  // In order per node. Answered or broken through the sink. Without a connection there is an attempt to make one, for as long as
  // the part's timeout, or connect_within; what cannot be sent by then, or is too much, is answered with NO_LEADER: nothing was done.
  virtual void Forward(NodeId to, ForwardRequest request) = 0;
};

}  // namespace flotilla::broker
