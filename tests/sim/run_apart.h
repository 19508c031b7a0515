// One run in a process of its own: one that dies in a CHECK takes nobody with it, and says where.
#pragma once

#include <cstdint>

#include "tests/sim/campaign.h"

namespace flotilla::sim {

// The trace goes to standard output. Of the report there is no tally. A process that dies has failed by the place of its CHECK:
// "raft_log.cc:123: Check failed: ...".
SeedReport RunApart(const Subject& subject, uint64_t seed, const Excerpt& excerpt, Trace::Mode mode);

}  // namespace flotilla::sim
