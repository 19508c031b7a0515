// The whole program but for main: what it says, and how it ends, depends on nothing but what is given here.
#pragma once

#include <string>
#include <vector>

#include "client/cli/session.h"

namespace flotilla::cli {

// `arguments` without the program's name. Returns the exit code.
int RunProgram(const std::vector<std::string>& arguments, const Surroundings& surroundings);

}  // namespace flotilla::cli
