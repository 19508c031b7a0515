// The way from gRPC's threads to the broker: posted to its executor, and cut when the network stops.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <utility>

#include "raft/node/executor.h"
#include "server/broker/peer_network.h"

namespace flotilla::rpc {

class SinkPost {
 public:
  SinkPost(raft::Executor& executor, broker::PeerSink& sink) : executor_(executor), gate_(std::make_shared<Gate>(Gate{&sink})) {}

  // Any thread. Copies share the gate.
  void Post(std::function<void(broker::PeerSink&)> work) const {
    executor_.Post([gate = gate_, work = std::move(work)] {
      if (gate->sink != nullptr) work(*gate->sink);
    });
  }
  // Nothing posted is run any more. Executor only, or when that has stopped.
  void Cut() { gate_->sink = nullptr; }
  raft::Executor& executor() const { return executor_; }

 private:
  struct Gate {
    broker::PeerSink* sink;  // executor only
  };
  raft::Executor& executor_;
  const std::shared_ptr<Gate> gate_;
};

// Runs `work` on the executor and comes back when it has run. False: the executor has stopped, nothing runs
// there. Any thread but the executor's own.
inline bool RunOn(raft::Executor& executor, std::function<void()> work) {
  // An executor that has stopped drops the work, and the promise with it.
  auto ran = std::make_shared<std::promise<void>>();
  std::future<void> done = ran->get_future();
  executor.Post([work = std::move(work), ran = std::move(ran)] {
    work();
    ran->set_value();
  });
  try {
    done.get();
    return true;
  } catch (const std::future_error&) {
    return false;
  }
}

}  // namespace flotilla::rpc
