#include "server/rpc/client/edge.h"

#include <algorithm>
#include <string>
#include <vector>

#include "server/errors/refusal.h"

namespace flotilla::rpc::client {

Status Edge::CheckOpen() {
  if (!shutting_down_) return {};
  Rejected(Rejection::kShuttingDown);
  return Status(Reason::kShuttingDown, "this node is about to stop; ask another one");
}

Status Edge::CheckCall() {
  FLOTILLA_RETURN_IF_ERROR(CheckOpen());
  {
    const MutexLock lock(mutex_);
    if (calls_ <= options.calls_max) return {};
  }
  Rejected(Rejection::kOverloaded);
  return Status(Reason::kOverloaded, "this node has " + std::to_string(options.calls_max) +
                                         " calls to answer, its limit; wait for answers, or go to another node")
      .With("limit", options.calls_max);
}

Status Edge::CheckRoom() {
  const size_t inflight = inflight_bytes_.load(std::memory_order_relaxed);
  return inflight < options.inflight_bytes_max ? Status() : Overloaded(inflight);
}

Status Edge::TakeBytes(size_t bytes) {
  const size_t before = inflight_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  // A node that has nothing else to do takes any request.
  if (before == 0 || before + bytes <= options.inflight_bytes_max) return {};
  ReturnBytes(bytes);
  return Overloaded(before);
}

Status Edge::Overloaded(size_t inflight_bytes) {
  Rejected(Rejection::kOverloaded);
  return Status(Reason::kOverloaded, std::to_string(inflight_bytes) +
                                         " bytes of produce requests are in flight at this node; the limit is " +
                                         std::to_string(options.inflight_bytes_max) + ", wait for answers")
      .With("limit", options.inflight_bytes_max);
}

Status Edge::TakeAnswerBytes(size_t bytes) {
  const size_t before = answer_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if (before == 0 || before + bytes <= options.answer_bytes_max) return {};
  ReturnAnswerBytes(bytes);
  Rejected(Rejection::kOverloaded);
  return Status(Reason::kOverloaded, "clients have not taken " + std::to_string(before) +
                                         " bytes of what they asked this node for; the limit is " +
                                         std::to_string(options.answer_bytes_max) + ", ask again soon, or for less")
      .With("limit", options.answer_bytes_max);
}

Status Edge::TooSlow() {
  Rejected(Rejection::kTooSlow);
  return Refuse(Refusal::kDeadlineExceeded, "the request did not arrive within " +
                                                std::to_string(options.upload_max / std::chrono::seconds(1)) +
                                                " seconds; nothing of it was done: send less at a time")
      .With("limit_ms", static_cast<uint64_t>(options.upload_max / std::chrono::milliseconds(1)));
}

Status Edge::EnterStream() {
  if (streams_.fetch_add(1, std::memory_order_relaxed) < options.streams_max) return {};
  LeaveStream();
  Rejected(Rejection::kTooManyStreams);
  return Refuse(Refusal::kTooManyStreams,
                "this node has " + std::to_string(options.streams_max) + " streams open, its limit; close some, or go to another node")
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
  counters.answer_bytes = answer_bytes_;
  counters.uploads = uploads.count();
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

void Edge::EnterWork() {
  const MutexLock lock(mutex_);
  ++work_;
}

void Edge::LeaveWork() {
  const MutexLock lock(mutex_);
  if (--work_ == 0) no_calls_.NotifyAll();
}

void Edge::WaitUntilNoCalls() {
  const MutexLock lock(mutex_);
  while (calls_ != 0 || work_ != 0) no_calls_.Wait(mutex_);
}

void Edge::LookAfterAll() {
  const MonotonicTime now = clock.Now();
  connections.Look();
  uploads.CutOff(now - options.upload_max);
  answers.CutOff(now - (answers_under_pressure() ? std::min(options.answer_max, options.answer_max_under_pressure) : options.answer_max));
  for (LongCall* call : long_calls_) call->LookAfter(now);
}

void Edge::EndAllForShutdown() {
  for (LongCall* call : long_calls_) call->EndForShutdown();
}

}  // namespace flotilla::rpc::client
