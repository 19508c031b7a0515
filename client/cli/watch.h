// Commands that go on looking until something is done: `--watch`, `--wait`.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "client/cli/session.h"

namespace flotilla::cli {

// Sleeps, but not through an interrupt.
void Pause(Session& session, Duration time);

// What one look at something that goes on has found.
struct Look {
  client::Error error = {};
  // How it ended: the exit code.
  std::optional<int> end = {};
  // How far it is, in a line.
  std::string line = {};
  // Changes as long as it goes on; not for people.
  std::string mark = {};
};

// Looks every second and says what changed, on a terminal in one line that is written over. Ends as a look says; with 7 (kExitTimeout)
// when for --timeout nothing changed or nobody answered; with 130 on an interrupt. `stuck` is what to say of the former.
int WatchProgress(Session& session, const std::string& stuck, const std::function<Look()>& look);

}  // namespace flotilla::cli
