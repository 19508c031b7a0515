// A call that begins with one request: it is received within ClientServerOptions::upload_max, or the call ends. Included by files that know
// gRPC.
//
// All such calls are registered as streams in both directions, unary ones too: for a unary method gRPC would receive the whole
// request first, for as long as that takes, and only then tell that there is a call.
#pragma once

#include <atomic>
#include <chrono>

#include "server/rpc/client/reactors.h"
#include "server/rpc/ordered_reactor.h"

namespace flotilla::rpc::client {

class OneRequest : public OrderedServerReactor {
 protected:
  OneRequest(Edge& edge, const grpc::CallbackServerContext& context)
      : edge_(edge), mark_(edge, context.peer()), deadline_(context.deadline()) {}
  ~OneRequest() override = default;

  // At most once, on the thread that received the call: one of the two below follows.
  void Receive() {
    edge_.uploads.Begin(upload_, edge_.clock.Now());
    StartRead(&request_);
  }

  // gRPC's thread.
  virtual void OnRequest(const grpc::ByteBuffer& request) = 0;
  // gRPC's thread or the executor: there is none, or not in time.
  virtual void OnNoRequest(const Status& why) = 0;

  Edge& edge_;

 private:
  enum class Stage : uint8_t { kReceiving, kReceived, kCutOff };

  void WhenRead(bool ok) final {
    edge_.uploads.End(upload_);
    if (stage_.exchange(Stage::kReceived) == Stage::kCutOff) return;
    if (!ok) {
      mark_.NoRequest(deadline_ <= std::chrono::system_clock::now());
      return OnNoRequest(Status(Reason::kCorruptMessage, "the call ended without a request; send one"));
    }
    mark_.TheRequestArrived(request_.Length());
    OnRequest(request_);
    request_.Clear();
  }

  // Executor, where this is deleted: it is still there.
  void CutOff() {
    Stage receiving = Stage::kReceiving;
    if (!stage_.compare_exchange_strong(receiving, Stage::kCutOff)) return;
    OnNoRequest(edge_.TooSlow());
  }

  ClientWaits::Row upload_{[this] { CutOff(); }};
  CallMark mark_;
  const std::chrono::system_clock::time_point deadline_;  // of gRPC's clock
  grpc::ByteBuffer request_;
  std::atomic<Stage> stage_{Stage::kReceiving};
};

}  // namespace flotilla::rpc::client
