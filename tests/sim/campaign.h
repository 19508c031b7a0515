// Many seeds in child processes, so that one that dies in a CHECK takes no other with it.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "tests/sim/event_queue.h"
#include "tests/sim/parts.h"
#include "tests/sim/tally.h"
#include "tests/sim/trace.h"

namespace flotilla::sim {

// What a run of one seed came to.
struct SeedReport {
  std::string failure;  // empty: all rules were kept
  uint64_t trace_hash = 0;
  uint64_t events = 0;
  Time virtual_time = 0;
  Tally tally;
  std::vector<std::string> parts;  // that it had, in the order of their coming
  Time hurt_for = 0;
};

// A simulation as its campaign sees it.
struct Subject {
  std::string program;
  // What all runs together should meet.
  std::vector<std::string> expected;
  // `out` gets the trace, or its end when the run fails; null with kHashOnly.
  std::function<SeedReport(uint64_t seed, const Excerpt& excerpt, Trace::Mode mode, std::ostream* out)> run;
  // The trace so far of the run under way, for a handler of fatal signals.
  std::function<void(std::ostream& out)> print_under_way;
};

struct CampaignOptions {
  uint64_t first = 1;
  uint64_t last = ~uint64_t{0};
  uint64_t seconds = 0;  // no new seeds after so long; 0: no limit
  int jobs = 2;
  bool require_coverage = false;
  int failures_max = 10;  // a broken build breaks every seed: enough is enough
  // So long the first run that fails is made smaller; 0: not at all.
  uint64_t shrink_seconds = 60;
};

// The one command that repeats a run.
std::string RepeatCommand(const Subject& subject, uint64_t seed, const Excerpt& excerpt = {});
// Makes a run that fails smaller, and tells what happened in what is left of it.
void TellFailure(const Subject& subject, uint64_t seed, uint64_t seconds, std::ostream& out);

// Whether all seeds kept all rules.
bool RunCampaign(const Subject& subject, const CampaignOptions& options, std::ostream& out);

}  // namespace flotilla::sim
