// What all calls on the clients' port share. No gRPC in it.
//
// A call is a reactor on the heap. gRPC's threads call it, the broker's executor does as its sink, and workers send for it. It is
// deleted on the executor: OnDone, the last that gRPC calls, posts that, and so everything that was posted before has run. The
// reactor's destructor takes its session or stream out of the broker.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "raft/node/executor.h"
#include "server/broker/client_api.h"
#include "server/rpc/client/access.h"
#include "server/rpc/client/client_server.h"
#include "server/rpc/client/client_waits.h"
#include "server/rpc/client/connections.h"
#include "server/rpc/client/counters.h"
#include "server/rpc/client/incomplete_requests.h"
#include "storage/base/clock.h"
#include "storage/base/hand_over.h"
#include "storage/base/mutex.h"

namespace flotilla::rpc::client {

// A stream, as it is looked after. Executor only.
class LongCall {
 public:
  virtual ~LongCall() = default;
  virtual void LookAfter(MonotonicTime now) = 0;
  // Ends with SHUTTING_DOWN when what was taken is answered.
  virtual void EndForShutdown() = 0;
};

class Edge {
 public:
  Edge(const ClientServerOptions& client_options, broker::ClientApi& client_api, raft::Executor& sending_workers, const Access& who_may,
       const Clock& time)
      : options(client_options),
        api(client_api),
        executor(client_api.executor()),
        workers(sending_workers),
        access(who_may),
        clock(time),
        connections(client_options.connection_limits),
        incomplete(std::make_shared<IncompleteRequests>(client_options.incomplete_bytes_max, connections, time)),
        next_seed_(client_options.seed) {}

  const ClientServerOptions options;
  broker::ClientApi& api;
  raft::Executor& executor;
  raft::Executor& workers;
  const Access& access;
  const Clock& clock;

  // What was made before the server started is there for all calls: gRPC promises it.
  HandOver ready;

  // --- any thread

  // SHUTTING_DOWN.
  Status CheckOpen();
  // For a call that has just begun, and has its CallMark. SHUTTING_DOWN, OVERLOADED.
  Status CheckCall();
  // False: it was closed before.
  bool CloseDoor() { return !shutting_down_.exchange(true); }
  bool open() const { return !shutting_down_; }
  // Before a request that is to be produced is received. OVERLOADED: there is no room for any.
  Status CheckRoom();
  // Room for a request that is to be produced: OVERLOADED, or give it back with ReturnBytes.
  Status TakeBytes(size_t bytes);
  void ReturnBytes(size_t bytes) { inflight_bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  // DEADLINE_EXCEEDED: of a request that did not come to its end within options.upload_max.
  Status TooSlow();
  // TOO_MANY_STREAMS, or give it back with LeaveStream.
  Status EnterStream();
  void LeaveStream() { streams_.fetch_sub(1, std::memory_order_relaxed); }
  // PERMISSION_DENIED.
  Status Authorise(const AccessRequest& request);
  void Rejected(Rejection why) { rejected_[static_cast<size_t>(why)].fetch_add(1, std::memory_order_relaxed); }
  // For a thread's own generator.
  uint64_t NextSeed() { return next_seed_.fetch_add(0x9E3779B97F4A7C15ULL, std::memory_order_relaxed); }
  // All but `methods` and `connections`.
  ClientCounters ReadCounters() const;

  // Every reactor, for as long as it is there.
  void EnterCall();
  void LeaveCall();
  // The server's own work on the executor: no call, and waited for all the same.
  void EnterWork();
  void LeaveWork();
  void WaitUntilNoCalls();

  // Room for an answer until the client has taken it: OVERLOADED, or give it back with ReturnAnswerBytes.
  Status TakeAnswerBytes(size_t bytes);
  void ReturnAnswerBytes(size_t bytes) { answer_bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  // Half of the room for answers is in use.
  bool answers_under_pressure() const { return answer_bytes_ > options.answer_bytes_max / 2; }
  // What a fetch should return at most for now, of what it asked for.
  size_t FetchBytesMax(size_t wanted) const {
    return answers_under_pressure() ? std::min(wanted, limits::kFetchBytesUnderPressure) : wanted;
  }

  // Requests of all ProduceStreams that are not answered.
  std::atomic<size_t> stream_requests{0};
  Connections connections;
  const std::shared_ptr<IncompleteRequests> incomplete;
  // Calls that gRPC has taken off a connection and not handed over yet.
  std::atomic<size_t> calls_waiting{0};
  // Requests that are on their way, and answers.
  ClientWaits uploads;
  ClientWaits answers;

  // --- executor
  void Attach(LongCall& call) { long_calls_.insert(&call); }
  void Detach(LongCall& call) { long_calls_.erase(&call); }
  void LookAfterAll();
  void EndAllForShutdown();

 private:
  Status Overloaded(size_t inflight_bytes);

  std::atomic<bool> shutting_down_{false};
  std::atomic<size_t> inflight_bytes_{0};
  std::atomic<size_t> answer_bytes_{0};
  std::atomic<size_t> streams_{0};
  std::array<std::atomic<uint64_t>, kRejections> rejected_{};
  std::atomic<uint64_t> next_seed_;
  std::set<LongCall*> long_calls_;

  mutable Mutex mutex_;
  ConditionVariable no_calls_;
  uint64_t calls_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  uint64_t work_ FLOTILLA_GUARDED_BY(mutex_) = 0;
};

// Counts a reactor while it lives, and what it gets, on its connection.
class CallMark {
 public:
  CallMark(Edge& edge, const std::string& peer) : edge_(edge), connection_(edge.connections.Enter(peer)) { edge_.EnterCall(); }
  ~CallMark() {
    ReceivingEnded(/*whole=*/false);
    Connections::Leave(connection_);
    edge_.LeaveCall();
  }
  CallMark(const CallMark&) = delete;
  CallMark& operator=(const CallMark&) = delete;

  void RequestArrived(size_t bytes) {
    edge_.connections.RequestArrived(connection_, bytes);
    edge_.incomplete->Arrived(bytes);
  }
  // The call's only one.
  void TheRequestArrived(size_t bytes) {
    RequestArrived(bytes);
    ReceivingEnded(/*whole=*/true);
  }
  void NoRequest(bool late) {
    edge_.connections.NoRequest(connection_, late);
    NoFurtherRequest();
  }
  // There may have been a part of one.
  void NoFurtherRequest() { ReceivingEnded(/*whole=*/false); }
  Connections::Row& connection() { return connection_; }

 private:
  void ReceivingEnded(bool whole) {
    if (std::exchange(receiving_, false)) Connections::ReceivingEnded(connection_, whole);
  }

  Edge& edge_;
  Connections::Row& connection_;
  bool receiving_ = true;
};

}  // namespace flotilla::rpc::client
