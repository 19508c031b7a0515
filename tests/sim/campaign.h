// Many seeds in child processes, so that one that dies in a CHECK takes no other with it.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

namespace flotilla::sim {

struct CampaignOptions {
  uint64_t first = 1;
  uint64_t last = ~uint64_t{0};
  uint64_t seconds = 0;  // no new seeds after so long; 0: no limit
  int jobs = 2;
  bool require_coverage = false;
  int failures_max = 10;  // a broken build breaks every seed: enough is enough
};

// The one command that repeats a seed.
std::string RepeatCommand(uint64_t seed);

// Whether all seeds kept all rules.
bool RunCampaign(const CampaignOptions& options, std::ostream& out);

}  // namespace flotilla::sim
