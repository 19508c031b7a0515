#include "server/rpc/client/intake.h"

#include <chrono>
#include <thread>
#include <utility>

#include "server/rpc/client/limits.h"
#include "server/rpc/socket_reads.h"

namespace flotilla::rpc::client {
namespace {

// The thread hands calls to us; gRPC never changes which ones do.
thread_local bool hands_calls_over = false;

}  // namespace

class Intake::Context final : public grpc::CallbackServerContext {
 public:
  explicit Context(Edge& edge) : edge_(edge) { edge_.calls_waiting.fetch_add(1, std::memory_order_relaxed); }
  ~Context() override { Took(); }

  void Took() {
    if (!std::exchange(taken_, true)) edge_.calls_waiting.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  Edge& edge_;
  bool taken_ = false;
};

void Intake::Took(grpc::CallbackServerContext* context) {
  hands_calls_over = true;
  ThisThreadsRead().calls = 0;
  static_cast<Context*>(context)->Took();
}

grpc::CallbackServerContext* Intake::NewCallbackServerContext() {
  if (hands_calls_over) {
    CurrentRead& read = ThisThreadsRead();
    if (++read.calls > limits::kConnectionCallsMax && read.fd >= 0) {
      read.calls = 0;
      edge_.connections.BreakOff(read.fd);
    }
  } else if (edge_.calls_waiting.load(std::memory_order_relaxed) >= limits::kCallsWaitingMax) {
    std::this_thread::sleep_for(limits::kCallsWaitingPause);
  }
  return new Context(edge_);
}

// Those of methods that nobody serves are gRPC's own, and come here all the same.
void Intake::Release(grpc::CallbackServerContext* context) { delete dynamic_cast<Context*>(context); }

}  // namespace flotilla::rpc::client
