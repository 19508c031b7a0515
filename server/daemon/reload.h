// What SIGHUP does: the file is read again, and what can change while the node runs changes.
//
//   Reloader reloader(loaded);
//   const Reloaded result = reloader.Reload(ProcessEnvironment());
//   daemon.ShowReload(result.ok);
#pragma once

#include <string>

#include "server/config/load.h"

namespace flotilla {

// level and verbosity; what else there is about the log is for a start.
void SetLogDetail(const config::LogConfig& log);

struct Reloaded {
  // false: the file is wrong (or there is none); everything is as it was.
  bool ok = false;
  // For people, one line: what is in force now, what a restart is needed for, or what is wrong.
  std::string text;
};

// Main thread.
class Reloader {
 public:
  explicit Reloader(config::LoadedConfig running) : running_(std::move(running)) {}
  // Says in the log what came of it, each problem on a line.
  Reloaded Reload(const config::Environment& environment) const;

 private:
  const config::LoadedConfig running_;
};

}  // namespace flotilla
