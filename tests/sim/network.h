// A network that loses, delays, repeats, reorders and cuts. Each channel of each direction between two nodes
// is a link of its own.
//
//   Network network(events, Random(seed), trace, coverage);
//   network.Attach(NodeId{1}, receiver);
//   network.CutOneWay(NodeId{1}, NodeId{2});
//   network.Send(Channel::kControl, message);
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <utility>

#include "raft/node/transport.h"
#include "storage/base/random.h"
#include "tests/sim/coverage.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/trace.h"

namespace flotilla::sim {

struct NetworkConditions {
  double loss = 0;
  double repeat = 0;
  double split = 0;     // a bundle is torn into messages that travel alone
  bool ordered = true;  // as a connection does; otherwise each message for itself
  // The sender of a message that is lost learns that the connection broke; and, unless it is 0, the peers of a process that dies do.
  double break_notice = 0;
  Time delay_min = 200 * kMicrosecond;
  Time delay_spread = 300 * kMicrosecond;
  double straggler = 0;  // delayed up to straggler_max
  Time straggler_max = 0;
};

class Receiver {
 public:
  virtual ~Receiver() = default;
  // False: nobody is there, or nobody any more.
  virtual bool Deliver(raft::PeerMessage message) = 0;
  virtual void ConnectionBroken(NodeId peer) = 0;
};

class Network {
 public:
  Network(EventQueue& events, Random random, Trace& trace, Coverage& coverage)
      : events_(events), random_(random), trace_(trace), coverage_(coverage) {}
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // `receiver` outlives the network.
  void Attach(NodeId node, Receiver& receiver) { receivers_[node] = &receiver; }
  void Send(raft::Channel channel, raft::PeerMessage message);

  void SetConditions(const NetworkConditions& conditions) { conditions_ = conditions; }
  // Other conditions on one direction for a while.
  void Burst(NodeId from, NodeId to, const NetworkConditions& conditions, Time until);
  // What is sent from now on does not arrive; what is on its way does not either.
  void CutOneWay(NodeId from, NodeId to) { cut_[{from, to}] = true; }
  void Mend(NodeId from, NodeId to) { cut_.erase({from, to}); }
  void MendAll() {
    cut_.clear();
    bursts_.clear();
  }
  bool IsCut(NodeId from, NodeId to) const { return cut_.count({from, to}) != 0; }
  // The process is gone and its system is not: it closes the connections. Who is cut off does not hear of it.
  void ProcessDied(NodeId node);
  uint64_t in_flight() const { return in_flight_; }

 private:
  using Direction = std::pair<NodeId, NodeId>;
  struct BurstOf {
    NetworkConditions conditions;
    Time until = 0;
  };

  const NetworkConditions& ConditionsOf(Direction direction);
  void SendOne(raft::Channel channel, raft::PeerMessage message, const NetworkConditions& conditions);
  void Arrive(raft::PeerMessage message);
  void Lose(const raft::PeerMessage& message, Met why);
  void TellBroken(NodeId sender, NodeId peer, const NetworkConditions& conditions);

  EventQueue& events_;
  Random random_;
  Trace& trace_;
  Coverage& coverage_;
  NetworkConditions conditions_;
  std::map<NodeId, Receiver*> receivers_;
  std::map<Direction, bool> cut_;
  std::map<Direction, BurstOf> bursts_;
  std::map<std::tuple<NodeId, NodeId, raft::Channel>, Time> last_arrival_;
  uint64_t in_flight_ = 0;
};

// One line for people.
std::string Describe(const raft::PeerMessage& message);

}  // namespace flotilla::sim
