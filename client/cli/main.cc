#include <absl/synchronization/mutex.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <iostream>

#include "client/cli/program.h"

namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// The first one asks, the second one kills.
void OnSignal(int signal) {
  interrupted.store(true);
  std::signal(signal, SIG_DFL);
}

}  // namespace

int main(int argc, char** argv) {
  // Debian's Abseil looks for deadlocks whenever gRPC takes a lock, in a graph that all threads share.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  std::ios::sync_with_stdio(false);
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
  const flotilla::cli::Surroundings surroundings{.in = std::cin,
                                                 .out = std::cout,
                                                 .err = std::cerr,
                                                 .in_is_terminal = isatty(STDIN_FILENO) != 0,
                                                 .out_is_terminal = isatty(STDOUT_FILENO) != 0,
                                                 .err_is_terminal = isatty(STDERR_FILENO) != 0,
                                                 .interrupted = [] { return interrupted.load(); }};
  return flotilla::cli::RunProgram({argv + 1, argv + argc}, surroundings);
}
