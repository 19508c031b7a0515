// One timer of the edge, on gRPC's threads.
#pragma once

#include <functional>
#include <memory>

#include "server/rpc/peer/live_streams.h"
#include "storage/base/clock.h"

namespace grpc {
class Alarm;
}  // namespace grpc

namespace flotilla::rpc {

class EdgeTimer {
 public:
  EdgeTimer();
  EdgeTimer(EdgeTimer&&) noexcept;
  EdgeTimer& operator=(EdgeTimer&&) noexcept;
  // Cancels.
  ~EdgeTimer();

  // Calls `fire` on a thread of gRPC after `delay`; not at all when it is cancelled before, or `live` is
  // closed. What `fire` holds on to is let go in any case. Never calls it from here.
  static EdgeTimer Start(Duration delay, LiveStreams& live, std::function<void()> fire);

 private:
  std::unique_ptr<grpc::Alarm> alarm_;
};

}  // namespace flotilla::rpc
