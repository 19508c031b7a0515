// The kinds of calls at the peer port: a stream of Raft's messages, a stream of forwarded parts, and
// everything else, which is one request and one response.
#pragma once

#include <atomic>
#include <string>
#include <unordered_set>

#include "server/broker/peer_api.h"
#include "server/rpc/peer/peer_limits.h"
#include "server/rpc/peer/server_stream.h"

namespace flotilla::rpc {

// PeerService.OpenChannel: a hello, then messages, which the broker receives on its executor. What it took is
// acknowledged.
class ChannelReceiver final : public ServerStream {
 public:
  ChannelReceiver(grpc::CallbackServerContext& context, broker::PeerApi& api, const PeerLimits& bounds)
      : ServerStream(context), api_(api), limits_(bounds) {}

 private:
  void OnMessage(const grpc::ByteBuffer& message) override;
  Status Greet(const Bytes& hello);
  Status Deliver(raft::PeerMessage message, size_t bytes);
  // Executor: the broker took them.
  void Took(size_t bytes);

  broker::PeerApi& api_;
  const PeerLimits limits_;
  // gRPC's threads: who said hello, and whom that node takes us for. 0: nobody yet.
  NodeId greeted_;
  NodeId self_node_;
  // Executor.
  uint64_t taken_messages_ = 0;
  uint64_t taken_bytes_ = 0;
  uint64_t acknowledged_bytes_ = 0;
};

// ForwardService.ForwardStream.
class ForwardReceiver final : public ServerStream, public broker::ForwardSink {
 public:
  ForwardReceiver(grpc::CallbackServerContext& context, broker::PeerApi& api, const PeerLimits& bounds)
      : ServerStream(context), api_(api), limits_(bounds) {}

 private:
  void OnBegin() override;
  void OnMessage(const grpc::ByteBuffer& message) override;
  void OnOver() override;
  // Executor.
  void OnForwardDone(broker::ForwardAnswer answer) override;
  void Submit(broker::ForwardRequest request, size_t bytes);
  std::shared_ptr<ForwardReceiver> Self() { return std::static_pointer_cast<ForwardReceiver>(shared_from_this()); }

  broker::PeerApi& api_;
  const PeerLimits limits_;
  std::unique_ptr<broker::ForwardSession> session_;  // executor
  std::unordered_set<uint64_t> lookups_;             // executor: their answers travel as another message
  uint64_t dropped_ = 0;                             // executor: answers with records that had to be asked for again

  Mutex inbox_mutex_;
  size_t inbox_bytes_ FLOTILLA_GUARDED_BY(inbox_mutex_) = 0;  // on their way to the executor
  bool paused_ FLOTILLA_GUARDED_BY(inbox_mutex_) = false;     // not reading until that is less
};

// One request, one response.
class UnaryReceiver final : public ServerStream {
 public:
  UnaryReceiver(grpc::CallbackServerContext& context, broker::PeerApi& api, std::string method)
      : ServerStream(context), api_(api), method_(std::move(method)) {}
  void Abort(const Status& why) override;

 private:
  void OnMessage(const grpc::ByteBuffer& message) override;
  void OnHalfClose() override;
  void Answer(Result<std::string> outcome);
  std::shared_ptr<UnaryReceiver> Self() { return std::static_pointer_cast<UnaryReceiver>(shared_from_this()); }

  broker::PeerApi& api_;
  const std::string method_;
  std::atomic<bool> asked_ = false;  // the broker was
};

// PeerService.Handshake.
class HandshakeReceiver final : public ServerStream {
 public:
  HandshakeReceiver(grpc::CallbackServerContext& context, broker::PeerApi& api) : ServerStream(context), api_(api) {}

 private:
  void OnMessage(const grpc::ByteBuffer& message) override;

  broker::PeerApi& api_;
};

// A call that is not served here.
class RefusedCall final : public ServerStream {
 public:
  explicit RefusedCall(grpc::CallbackServerContext& context) : ServerStream(context) {}

 private:
  void OnMessage(const grpc::ByteBuffer& /*message*/) override {}
};

}  // namespace flotilla::rpc
