// What peers can ask of a node: the broker behind its peer port.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "flotilla/internal/v1/peer.pb.h"
#include "raft/node/executor.h"
#include "raft/node/transport.h"
#include "server/broker/forward.h"
#include "storage/base/status.h"

namespace flotilla::broker {

class ForwardSink {
 public:
  virtual ~ForwardSink() = default;
  virtual void OnForwardDone(ForwardAnswer answer) = 0;
};
// The inbound side of one ForwardStream. Executor only.
class ForwardSession {
 public:
  // The stream is gone: what waits is given up, what was proposed goes on.
  virtual ~ForwardSession() = default;
  // Served from what this node has or refused with NOT_LEADER; never passed on. Answered once, but for a cancel.
  virtual void Submit(ForwardRequest request) = 0;
};

class PeerApi {
 public:
  virtual ~PeerApi() = default;

  // --- any thread
  virtual raft::Executor& executor() = 0;
  // This node, for its hellos.
  virtual internal::v1::NodeIdentity Identity() const = 0;
  // Whether to talk to the caller: CLUSTER_MISMATCH, NODE_MISMATCH, PROTOCOL_MISMATCH. The answer to its hello otherwise.
  virtual Result<internal::v1::HandshakeResponse> Greet(const internal::v1::HandshakeRequest& request) const = 0;

  // --- executor
  // From a node that was greeted.
  virtual void Receive(raft::PeerMessage message) = 0;
  // "/flotilla.internal.v1.MembershipService/Join" and all other unary methods of the peer package but Handshake, with
  // serialized request and response. UNSUPPORTED: no such method.
  virtual void PeerCall(std::string_view method, const std::string& request, std::function<void(Result<std::string>)> done) = 0;
  virtual std::unique_ptr<ForwardSession> OpenForward(ForwardSink& sink) = 0;
};

}  // namespace flotilla::broker
