#include "server/rpc/peer/edge_timer.h"

#include <grpcpp/alarm.h>

#include <chrono>

#include "storage/base/hand_over.h"

namespace flotilla::rpc {
namespace {

struct Waiting {
  LiveStreams::Ticket ticket;  // first: goes last
  std::function<void()> fire;
  HandOver set;
};

}  // namespace

EdgeTimer::EdgeTimer() = default;
EdgeTimer::EdgeTimer(EdgeTimer&&) noexcept = default;
EdgeTimer& EdgeTimer::operator=(EdgeTimer&&) noexcept = default;
EdgeTimer::~EdgeTimer() = default;

EdgeTimer EdgeTimer::Start(Duration delay, LiveStreams& live, std::function<void()> fire) {
  EdgeTimer timer;
  auto waiting = std::make_shared<Waiting>();
  waiting->ticket = live.Enter({});
  if (!waiting->ticket.valid()) return timer;
  waiting->fire = std::move(fire);
  const gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(delay.count(), GPR_TIMESPAN));
  timer.alarm_ = std::make_unique<grpc::Alarm>();
  waiting->set.Give();
  timer.alarm_->Set(deadline, [waiting = std::move(waiting)](bool expired) {
    waiting->set.Take();
    if (expired) waiting->fire();
  });
  return timer;
}

}  // namespace flotilla::rpc
