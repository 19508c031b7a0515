// Is this node's disk good enough to lead with? Told every second what the disk does; slow to judge, and slower to forgive.
//
//   DiskFitness fitness({.slow_sync = 500ms, .slow_for = 15s, .well_for = 60s});
//   fitness.Observe({.at = clock.Now(), .syncs = store.Syncs(), .space = disk_space()});
//   if (!fitness.fit()) ...                     // hand over what others can lead
//
// Sick: the syncs of a second take `slow_sync` or more, on average or the one under way alone, in all but a few of `slow_for`. It is
// well again when no second was slow for `well_for`, counting those that were below half of `slow_sync`; each relapse soon after
// makes that twice as long, up to eight times. A disk without syncs counts as well: what it would do is seen when there is something to
// write.
//
// Full: less is free than the reserve, so that data is refused. At once; until a quarter more than that is free for `well_for`.
//
// Pure: no clock, no thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/limits.h"
#include "storage/log/log_store.h"

namespace flotilla::broker {

struct DiskSpace {
  uint64_t total_bytes = 0;  // 0: not known
  uint64_t free_bytes = 0;
};

struct DiskFitnessOptions {
  // A healthy disk syncs in a few milliseconds; one that is merely loaded by others in some tens.
  Duration slow_sync = std::chrono::milliseconds(500);
  Duration slow_for = std::chrono::seconds(15);
  Duration well_for = std::chrono::seconds(60);
  uint64_t reserve_bytes = flotilla::limits::kDiskReserveBytes;
};

class DiskFitness {
 public:
  struct Sample {
    MonotonicTime at;
    storage::SyncCounters syncs;
    DiskSpace space;
  };

  explicit DiskFitness(const DiskFitnessOptions& options) : options_(options) {}

  // True: slow() or full() changed.
  bool Observe(const Sample& sample);

  bool fit() const { return !slow_ && !full_; }
  bool slow() const { return slow_; }
  bool full() const { return full_; }
  // How long a sync takes, as of the last second that had one.
  Duration sync_time() const { return sync_time_; }
  uint64_t free_bytes() const { return free_bytes_; }

  // For people, "DISK_SICK: why, and what it does about it"; empty when it is fit.
  std::vector<std::string> Warnings() const;

 private:
  // The mean of the syncs since the last sample, or how long the present one takes; nothing: there was none.
  std::optional<Duration> SyncTimeOf(const Sample& sample) const;
  void JudgePace(const Sample& sample, Duration passed);
  void JudgeSpace(const DiskSpace& space, Duration passed);
  Duration ProbationNow() const { return options_.well_for * probation_; }

  const DiskFitnessOptions options_;
  std::optional<Sample> last_;
  Duration sync_time_{};
  uint64_t free_bytes_ = 0;

  bool slow_ = false;
  Duration slow_time_{};  // while it is not slow: how much of slow_for has come together
  Duration well_time_{};  // since the last slow second
  int probation_ = 1;     // how many times well_for it has to be well

  bool full_ = false;
  Duration roomy_time_{};
};

}  // namespace flotilla::broker
