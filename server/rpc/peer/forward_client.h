// Parts of clients' calls on their way to one peer: a queue, a stream that is made when there is something to
// send, and the answers. When a stream breaks, what was not sent yet is answered with NO_LEADER, and then the
// sink is told once that of the rest nothing is known.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "server/broker/forward.h"
#include "server/rpc/peer/backoff.h"
#include "server/rpc/peer/client_stream.h"
#include "server/rpc/peer/edge_timer.h"
#include "server/rpc/peer/link_context.h"

namespace flotilla::rpc {

class ForwardClient final : public StreamEvents, public std::enable_shared_from_this<ForwardClient> {
 public:
  ForwardClient(std::shared_ptr<LinkContext> context, Random random);

  // Executor only; does not call the sink itself.
  void Forward(broker::ForwardRequest request);
  // For good: everything is answered or reported. Executor only.
  void Close();

 private:
  // kBroken: until the executor has seen to what the stream left. kWaiting: for the next attempt.
  enum class State : uint8_t { kIdle, kConnecting, kOpen, kBroken, kWaiting, kClosed };
  struct Queued {
    broker::ForwardRequest request;
    size_t bytes;
    MonotonicTime deadline;
    MonotonicTime connect_by;  // counts while there is no connection
  };

  Status Admit(broker::ForwardRequest* request);
  void Connect();
  void Pump();
  void Refuse(const broker::ForwardRequest& request, const Status& why);
  void OnOpen() override;
  void OnMessage(const grpc::ByteBuffer& message) override;
  void OnWritten() override;
  void OnClosed(const End& end) override;
  // On the executor, after a stream has ended.
  void SettleBroken(bool was_open, broker::PeerSink& sink);
  void OnRetryTime();
  // Time runs out for what waits; as long as there is anything.
  void WatchDeadlines();
  void OnDeadlines();

  const std::shared_ptr<LinkContext> context_;
  const std::shared_ptr<grpc::Channel> connection_;
  const SystemClock clock_;

  Mutex mutex_;
  State state_ FLOTILLA_GUARDED_BY(mutex_) = State::kIdle;
  bool open_ FLOTILLA_GUARDED_BY(mutex_) = false;  // this stream was opened, even if it is closed by now
  bool writing_ FLOTILLA_GUARDED_BY(mutex_) = false;
  bool watching_ FLOTILLA_GUARDED_BY(mutex_) = false;
  Backoff backoff_ FLOTILLA_GUARDED_BY(mutex_);
  EdgeTimer retry_timer_ FLOTILLA_GUARDED_BY(mutex_);
  EdgeTimer deadline_timer_ FLOTILLA_GUARDED_BY(mutex_);
  std::shared_ptr<ClientStream> stream_ FLOTILLA_GUARDED_BY(mutex_);
  std::deque<Queued> queue_ FLOTILLA_GUARDED_BY(mutex_);
  size_t queued_bytes_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  std::string last_trouble_ FLOTILLA_GUARDED_BY(mutex_);
};

}  // namespace flotilla::rpc
