#include "server/rpc/client/edge.h"

#include <string>
#include <vector>

#include "server/errors/refusal.h"

namespace flotilla::rpc::client {

Status Edge::CheckOpen() {
  if (!shutting_down_) return {};
  Rejected(Rejection::kShuttingDown);
  return Status(Reason::kShuttingDown, "this node is about to stop; ask another one");
}

Status Edge::TakeBytes(size_t bytes) {
  const size_t before = inflight_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  // A node that has nothing else to do takes any request.
  if (before == 0 || before + bytes <= options.inflight_bytes_max) return {};
  ReturnBytes(bytes);
  Rejected(Rejection::kOverloaded);
  return Status(Reason::kOverloaded, std::to_string(before) + " bytes of produce requests are in flight at this node; the limit is " +
                                         std::to_string(options.inflight_bytes_max) + ", wait for answers")
      .With("limit", options.inflight_bytes_max);
}

Status Edge::EnterStream() {
  if (streams_.fetch_add(1, std::memory_order_relaxed) < options.streams_max) return {};
  LeaveStream();
  Rejected(Rejection::kTooManyStreams);
  return Refuse(Refusal::kTooManyStreams, "this node has " + std::to_string(options.streams_max) +
                                              " streams open, its limit; close some, or go to another node")
      .With("limit", options.streams_max);
}

Status Edge::Authorise(const AccessRequest& request) {
  Status status = access.Authorise(request);
  if (!status.ok()) Rejected(Rejection::kNotAllowed);
  return status;
}

ClientCounters Edge::ReadCounters() const {
  ClientCounters counters;
  for (size_t i = 0; i < kRejections; ++i) counters.rejected[kRejectionNames[i]] = rejected_[i];
  counters.inflight_bytes = inflight_bytes_;
  counters.streams = streams_;
  const MutexLock lock(mutex_);
  counters.calls = calls_;
  return counters;
}

void Edge::EnterCall() {
  const MutexLock lock(mutex_);
  ++calls_;
}

void Edge::LeaveCall() {
  const MutexLock lock(mutex_);
  if (--calls_ == 0) no_calls_.NotifyAll();  // under the lock: who waits may delete this right after
}

void Edge::WaitUntilNoCalls() {
  const MutexLock lock(mutex_);
  while (calls_ != 0) no_calls_.Wait(mutex_);
}

void Edge::LookAfterAll() {
  const MonotonicTime now = clock.Now();
  for (LongCall* call : long_calls_) call->LookAfter(now);
}

void Edge::EndAllForShutdown() {
  for (LongCall* call : long_calls_) call->EndForShutdown();
}

}  // namespace flotilla::rpc::client
