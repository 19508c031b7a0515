// One of the three streams of Raft to a peer: connects, says hello, sends what fits, and begins anew when it
// breaks. What is sent while there is no connection, or more than the queue holds, is dropped.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "raft/node/transport.h"
#include "server/rpc/peer/backoff.h"
#include "server/rpc/peer/client_stream.h"
#include "server/rpc/peer/edge_timer.h"
#include "server/rpc/peer/link_context.h"

namespace flotilla::rpc {

class RaftChannel final : public StreamEvents, public std::enable_shared_from_this<RaftChannel> {
 public:
  RaftChannel(std::shared_ptr<LinkContext> context, raft::Channel channel, Random random);

  // Begins to connect. Once.
  void Open();
  // Any thread; never blocks.
  void Send(raft::PeerMessage message);
  // For good. Any thread.
  void Close();

 private:
  // kWaiting: for the next attempt. kHello: until the peer has accepted.
  enum class State : uint8_t { kWaiting, kHello, kAccepted, kClosed };
  struct Queued {
    raft::PeerMessage message;
    size_t bytes;  // about
  };

  void Connect();
  void Pump();
  void OnMessage(const grpc::ByteBuffer& message) override;
  void OnWritten() override;
  void OnClosed(const End& end) override;
  bool Accept(const internal::v1::OpenChannelResponse& response);
  void WaitForNext(Duration delay);

  const std::shared_ptr<LinkContext> context_;
  const raft::Channel channel_;
  const char* const name_;
  const size_t queue_bytes_max_;
  const std::shared_ptr<grpc::Channel> connection_;

  Mutex mutex_;
  State state_ FLOTILLA_GUARDED_BY(mutex_) = State::kWaiting;
  bool was_accepted_ FLOTILLA_GUARDED_BY(mutex_) = false;  // this attempt, even if it is closed by now
  Backoff backoff_ FLOTILLA_GUARDED_BY(mutex_);
  EdgeTimer timer_ FLOTILLA_GUARDED_BY(mutex_);
  std::shared_ptr<ClientStream> stream_ FLOTILLA_GUARDED_BY(mutex_);
  std::deque<Queued> queue_ FLOTILLA_GUARDED_BY(mutex_);
  size_t queued_bytes_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  bool writing_ FLOTILLA_GUARDED_BY(mutex_) = false;
  uint64_t sent_bytes_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  uint64_t acknowledged_bytes_ FLOTILLA_GUARDED_BY(mutex_) = 0;
};

}  // namespace flotilla::rpc
