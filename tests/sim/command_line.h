// The command of a simulation: one seed, many, or as many as fit into some minutes.
#pragma once

#include "tests/sim/campaign.h"

namespace flotilla::sim {

// main of a simulation's program.
int RunCommand(const Subject& subject, int argc, char** argv);

}  // namespace flotilla::sim
