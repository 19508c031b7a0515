// What must hold between keys. Each finding names the key to change, so that the loader can say where it was written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/config/config.h"

namespace flotilla::config {

struct Finding {
  bool warning = false;
  std::string_view section;  // of the key to change
  std::string_view name;
  std::string text;  // a whole sentence
};

// Of a config whose keys are right by themselves.
std::vector<Finding> CheckRelations(const Config& config);
// In addition, for --dev: this machine only.
std::vector<Finding> CheckDevRelations(const Config& config);

}  // namespace flotilla::config
