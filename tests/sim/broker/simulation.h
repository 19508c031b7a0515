// One run: a cluster of real brokers is founded and hurt for a while, then healed, and then everything must succeed within a bound.
//
//   RunResult result = RunSeed(17, {.mode = Trace::Mode::kHashOnly});
//   if (!result.ok()) std::cerr << result.failure;
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "tests/sim/event_queue.h"
#include "tests/sim/parts.h"
#include "tests/sim/tally.h"
#include "tests/sim/trace.h"

namespace flotilla::sim::broker {

struct RunOptions {
  Trace::Mode mode = Trace::Mode::kHashOnly;
  std::ostream* out = nullptr;  // of the trace; its last lines go there too when the run fails
  Excerpt excerpt = {};         // what of the run is run
};

struct RunResult {
  uint64_t seed = 0;
  std::string failure;  // empty: all rules were kept
  uint64_t trace_hash = 0;
  uint64_t events = 0;
  Time virtual_time = 0;
  Tally tally;
  std::vector<std::string> parts;  // that it had
  Time hurt_for = 0;
  bool ok() const { return failure.empty(); }
};

RunResult RunSeed(uint64_t seed, const RunOptions& options);

// The run under way, for a handler of fatal signals: its trace so far. Nothing when there is none.
void PrintRunUnderWay(std::ostream& out);

}  // namespace flotilla::sim::broker
