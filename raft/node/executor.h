// Where a host's code runs: one piece of work at a time, in the order posted.
#pragma once

#include <functional>

namespace flotilla::raft {

class Executor {
 public:
  virtual ~Executor() = default;
  // Any thread. Work posted after Stop of the implementation is dropped.
  virtual void Post(std::function<void()> work) = 0;
};

// Slow reads (entries that are not in memory, snapshot chunks) run here, then post back. The simulator runs them in line.
using BlockingExecutor = Executor;

}  // namespace flotilla::raft
