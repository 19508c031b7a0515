// broker::PeerNetwork over the simulated wires, and the peers' side of it. As server/broker/peer_network.h promises it:
//
//   Send      lost, late, in order per channel; the node at the address may be another one, who is not talked to
//   Call      NO_LEADER when it was surely not begun, OUTCOME_UNKNOWN when the connection broke under it
//   Forward   one stream per peer, made when it is needed; when it breaks, what was not sent is answered NO_LEADER, then the sink is
//             told that of the rest nothing is known
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/broker/peer_api.h"
#include "server/broker/peer_network.h"
#include "storage/base/random.h"
#include "tests/sim/event_queue.h"

namespace flotilla::sim::broker {

class Machine;

class PeerDirectory {
 public:
  virtual ~PeerDirectory() = default;
  // Null: no machine has this address.
  virtual Machine* AtAddress(const std::string& peer_address) = 0;
};

class SimPeerNetwork final : public flotilla::broker::PeerNetwork {
 public:
  // Lives as long as the process of `machine`; `sink` as well.
  SimPeerNetwork(Machine& machine, PeerDirectory& directory, flotilla::broker::PeerSink& sink, Random random);
  ~SimPeerNetwork() override;

  void Send(raft::Channel channel, raft::PeerMessage message) override;
  void SetPeers(const std::vector<flotilla::broker::Peer>& peers) override;
  void Call(const std::string& address, std::string_view method, std::string request, Duration timeout,
            flotilla::broker::PeerDone done) override;
  void Forward(NodeId to, flotilla::broker::ForwardRequest request) override;

  // The other side of its streams died, or the connection did.
  void Break(uint64_t stream);
  // The process at the address is gone: streams to it break, sooner or later.
  void PeerDied(const std::string& address);
  // This process is gone: the other sides notice.
  void Abandon();
  // What waits to be sent: nothing when nothing happens.
  size_t waiting() const;

 private:
  struct Queued {
    flotilla::broker::ForwardRequest request;
    MonotonicTime deadline;
  };
  // A stream of forwarded parts to one peer.
  struct Link {
    enum class State : uint8_t { kIdle, kConnecting, kOpen, kWaiting };
    flotilla::broker::Peer peer;
    State state = State::kIdle;
    uint64_t stream = 0;   // of the wires; 0: none
    uint64_t session = 0;  // at the other machine
    uint64_t other_life = 0;
    std::deque<Queued> queue;
    Time backoff = 0;
    uint64_t attempt = 0;
    bool watching = false;
  };
  struct Answering;
  class ForwardPort;

  Machine* Reach(const flotilla::broker::Peer& peer);
  // Whether the two processes would talk to each other.
  bool Greets(Machine& other, const flotilla::broker::Peer& peer);
  void Connect(Link& link);
  void Connected(NodeId to, uint64_t attempt, Machine& other);
  void NotConnected(NodeId to, uint64_t attempt);
  void Pump(Link& link);
  void Deliver(Machine& other, uint64_t session, const flotilla::broker::ForwardRequest& request);
  void WatchDeadlines(NodeId to);
  void CloseStream(Link& link);
  void Refuse(NodeId to, uint64_t id, const std::string& why);
  Link* LinkOf(uint64_t stream);

  Machine& machine_;
  PeerDirectory& directory_;
  flotilla::broker::PeerSink& sink_;
  Random random_;
  std::map<NodeId, Link> links_;
  std::set<std::pair<uint64_t, uint64_t>> greeted_;  // (machine, life) that answered our hello
  uint64_t next_attempt_ = 1;
};

}  // namespace flotilla::sim::broker
