// The configuration as a file that can be read back.
#pragma once

#include <string>

#include "server/config/load.h"

namespace flotilla::config {

// Every key with its default, and above it what it means, what it may be, and which variable overrides it. Complete but
// for what has no default.
std::string PrintDefaultConfig();
// Every key as it is in force; behind it where that comes from.
std::string PrintConfig(const LoadedConfig& loaded);

}  // namespace flotilla::config
