// The ways between places (machines and clients): how long a message takes, and whether it arrives.
//
//   wires.Carry({.from = a, .to = b, .stream = 7}, [..] { arrived }, [..] { lost });
//
// Messages of one stream arrive in order; streams overtake each other. What is lost says so to whoever keeps the connection: a
// connection that lost something is broken, since real ones send again until they give up.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "storage/base/ids.h"
#include "storage/base/random.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/tally.h"

namespace flotilla::sim::broker {

// Machines from 1, clients from 1001.
using Place = NodeId;

struct WireConditions {
  double loss = 0;       // of a message of Raft's
  double reset = 0;      // of a connection, per message
  double straggler = 0;  // messages that take up to straggler_max
  Time delay_min = 200 * kMicrosecond;
  Time delay_spread = 300 * kMicrosecond;
  Time straggler_max = 0;
};

class Wires {
 public:
  struct Way {
    Place from;
    Place to;
    uint64_t stream = 0;
    bool datagram = false;  // lost by `loss`, else by `reset`
  };
  Wires(EventQueue& events, Random random, Tally& tally) : events_(events), random_(random), tally_(tally) {}
  Wires(const Wires&) = delete;
  Wires& operator=(const Wires&) = delete;

  // One of both is called, later.
  void Carry(const Way& way, std::function<void()> arrived, std::function<void()> lost);
  // How long it takes until somebody finds out that a connection broke.
  Time NoticeDelay();
  // ... when the other side says so at once.
  Time ResetDelay() { return static_cast<Time>(random_.Below(10 * kMillisecond)); }
  Time RoundTrip(Place from, Place to);

  void SetConditions(const WireConditions& conditions) { conditions_ = conditions; }
  void CutOneWay(Place from, Place to) { ++cut_[{from, to}]; }
  void Mend(Place from, Place to);
  // Messages of this direction take so much longer.
  void Slow(Place from, Place to, Time more) { slow_[{from, to}] = more; }
  void MendAll();
  bool IsCut(Place from, Place to) const { return cut_.contains({from, to}); }
  bool Connected(Place a, Place b) const { return !IsCut(a, b) && !IsCut(b, a); }
  uint64_t NextStream() { return ++last_stream_; }

 private:
  Time Delay(Place from, Place to);

  EventQueue& events_;
  Random random_;
  Tally& tally_;
  WireConditions conditions_;
  std::map<std::pair<Place, Place>, int> cut_;
  std::map<std::pair<Place, Place>, Time> slow_;
  std::map<std::tuple<Place, Place, uint64_t>, Time> last_arrival_;
  std::set<uint64_t> broken_;   // streams that lost a message: nothing that follows it arrives
  uint64_t last_stream_ = 100;  // below: Raft's channels
};

}  // namespace flotilla::sim::broker
