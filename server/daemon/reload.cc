#include "server/daemon/reload.h"

#include <glog/logging.h>

#include <vector>

namespace flotilla {

void SetLogDetail(const config::LogConfig& log) {
  FLAGS_minloglevel = static_cast<int>(log.level);
  FLAGS_v = static_cast<int>(log.verbosity);
}

Reloaded Reloader::Reload(const config::Environment& environment) const {
  if (running_.file.empty()) {
    LOG(WARNING) << "reload_ignored reason=\"the node runs without a configuration file\"";
    return {.ok = false, .text = "nothing to reload: the node runs without a configuration file"};
  }
  const config::LoadedConfig fresh = config::LoadConfig(running_.file, environment);
  for (const config::ConfigError& problem : fresh.problems) {
    if (problem.warning) LOG(WARNING) << problem.ToString();
    else LOG(ERROR) << problem.ToString();
  }
  if (!fresh.ok()) {
    LOG(ERROR) << "reload_refused config=" << running_.file << " reason=\"the file is wrong, see above; all settings are as they were\"";
    return {.ok = false, .text = "configuration not reloaded: " + running_.file + " is wrong, see the log"};
  }
  SetLogDetail(fresh.config.log);
  std::string restart;
  for (const config::Key* key : config::NeedRestart(running_, fresh)) restart += (restart.empty() ? "" : ", ") + key->path();
  LOG(INFO) << "reloaded config=" << running_.file;
  if (restart.empty()) return {.ok = true, .text = "configuration reloaded"};
  LOG(WARNING) << "restart_needed keys=\"" << restart << '"';
  return {.ok = true, .text = "restart to apply " + restart};
}

}  // namespace flotilla
