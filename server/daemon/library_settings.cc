#include "server/daemon/library_settings.h"

#include <absl/synchronization/mutex.h>

namespace flotilla {

void SetUpLibraries() {
  // Debian's Abseil looks for deadlocks whenever gRPC takes a lock, in a graph that all threads share.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace flotilla
