// What a broker is given, in the hand of a test: time, a file, and a network whose calls wait until the scene answers them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "server/broker/node_file.h"
#include "server/broker/peer_network.h"
#include "storage/base/clock.h"

namespace flotilla::broker {

class SteppedClock final : public Clock {
 public:
  MonotonicTime now{std::chrono::hours(1)};
  MonotonicTime Now() const override { return now; }
  int64_t WallMillis() const override { return 1'700'000'000'000; }
};

class RememberedFile final : public NodeFile {
 public:
  internal::v1::NodeState state;
  Result<internal::v1::NodeState> Load() override { return state; }
  Status Save(const internal::v1::NodeState& saved) override {
    state = saved;
    return {};
  }
};

// Calls wait until the scene answers them.
class ScriptedNetwork final : public PeerNetwork {
 public:
  struct Waiting {
    std::string address;
    std::string method;
    std::string request;
    PeerDone done;
  };
  std::vector<Waiting> calls;
  std::vector<Peer> peers;

  void SetPeers(const std::vector<Peer>& all) override { peers = all; }
  void Send(raft::Channel, raft::PeerMessage) override {}
  void Forward(NodeId, ForwardRequest) override {}
  void Call(const std::string& address, std::string_view method, std::string request, Duration, PeerDone done) override {
    calls.push_back({address, std::string(method), std::move(request), std::move(done)});
  }
};

}  // namespace flotilla::broker
