// How a swarm draws what a run is like: each thing on or off, and how often.
#pragma once

#include <initializer_list>

#include "storage/base/random.h"
#include "tests/sim/event_queue.h"

namespace flotilla::sim {

template <typename T>
T OneOf(Random& random, std::initializer_list<T> values) {
  return *(values.begin() + random.Below(values.size()));
}

// On in one run of `in`, then on average once in a time drawn from [low, high]. 0: off.
inline Time Sometimes(Random& random, uint64_t in, Time low, Time high) {
  const bool on = random.OneIn(in);
  const Time rate = low + static_cast<Time>(random.Below(static_cast<uint64_t>(high - low) + 1));
  return on ? rate : 0;
}

}  // namespace flotilla::sim
