#include "tests/sim/broker/wires.h"

#include <algorithm>

namespace flotilla::sim::broker {
namespace {

// A machine speaks to itself without a network.
constexpr Time kLoopback = 30 * kMicrosecond;
// How long a connection keeps silent before it is taken for dead.
constexpr Time kKeepalive = 3 * kSecond;

}  // namespace

Time Wires::Delay(Place from, Place to) {
  if (from == to) return kLoopback;
  Time delay = conditions_.delay_min + static_cast<Time>(random_.Below(static_cast<uint64_t>(conditions_.delay_spread) + 1));
  if (random_.Chance(conditions_.straggler)) {
    tally_.Add("message delayed for long");
    delay += static_cast<Time>(random_.Below(static_cast<uint64_t>(conditions_.straggler_max) + 1));
  }
  const auto slow = slow_.find({from, to});
  if (slow != slow_.end()) {
    tally_.Add("message on a slow link");
    delay += slow->second;
  }
  return delay;
}

void Wires::Carry(const Way& way, std::function<void()> arrived, std::function<void()> lost) {
  const Time delay = Delay(way.from, way.to);
  const bool falls = way.from != way.to && random_.Chance(way.datagram ? conditions_.loss : conditions_.reset);
  if (falls) tally_.Add(way.datagram ? "raft message lost" : "connection reset half-way");
  Time& last = last_arrival_[{way.from, way.to, way.stream}];
  const Time arrival = std::max(events_.now() + delay, last);
  last = arrival;
  events_.At(arrival, [this, way, falls, arrived = std::move(arrived), lost = std::move(lost)] {
    const bool cut = IsCut(way.from, way.to);
    if (cut) tally_.Add("message cut off");
    if (way.datagram) return cut || falls ? lost() : arrived();
    if (cut || falls) broken_.insert(way.stream);
    return broken_.contains(way.stream) ? lost() : arrived();
  });
}

Time Wires::NoticeDelay() { return random_.OneIn(2) ? ResetDelay() : static_cast<Time>(random_.Below(kKeepalive)); }

Time Wires::RoundTrip(Place from, Place to) { return Delay(from, to) + Delay(to, from); }

void Wires::Mend(Place from, Place to) {
  const auto found = cut_.find({from, to});
  if (found == cut_.end()) return;
  if (--found->second == 0) cut_.erase(found);
}

void Wires::MendAll() {
  cut_.clear();
  slow_.clear();
}

}  // namespace flotilla::sim::broker
