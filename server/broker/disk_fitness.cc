#include "server/broker/disk_fitness.h"

#include <algorithm>

namespace flotilla::broker {
namespace {

// A look that comes late says nothing about the time in between: a process that was stopped, or a clock.
constexpr Duration kStepMax = std::chrono::seconds(2);
constexpr int kProbationMax = 8;
// A relapse is one that comes before the disk has been well for so many times what it had to be.
constexpr int kRelapseWithin = 4;

std::string Millis(Duration time) { return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) + " ms"; }
std::string Seconds(Duration time) { return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + " s"; }
std::string MiB(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

bool DiskFitness::Observe(const Sample& sample) {
  const bool was_slow = slow_;
  const bool was_full = full_;
  const Duration passed = last_ ? std::clamp(sample.at - last_->at, Duration::zero(), kStepMax) : Duration::zero();
  JudgePace(sample, passed);
  JudgeSpace(sample.space, passed);
  last_ = sample;
  return slow_ != was_slow || full_ != was_full;
}

std::optional<Duration> DiskFitness::SyncTimeOf(const Sample& sample) const {
  const auto running = Duration(sample.syncs.sync_nanos_running);
  const uint64_t syncs = last_ ? sample.syncs.syncs - last_->syncs.syncs : 0;
  if (syncs == 0) return running > Duration::zero() ? std::optional(running) : std::nullopt;
  const uint64_t nanos = sample.syncs.sync_nanos_total - last_->syncs.sync_nanos_total;
  return std::max(running, Duration(nanos / syncs));
}

void DiskFitness::JudgePace(const Sample& sample, Duration passed) {
  const std::optional<Duration> seen = SyncTimeOf(sample);
  if (seen) sync_time_ = *seen;
  const bool slow = seen && *seen >= options_.slow_sync;
  const bool quick = !seen || *seen < options_.slow_sync / 2;
  if (slow) {
    slow_time_ = std::min(slow_time_ + passed, options_.slow_for);
  } else if (quick) {
    slow_time_ = std::max(slow_time_ - passed, Duration::zero());
  }
  if (!slow_ && slow && slow_time_ >= options_.slow_for) {
    probation_ =
        well_time_ > Duration::zero() && well_time_ < kRelapseWithin * ProbationNow() ? std::min(2 * probation_, kProbationMax) : 1;
    slow_ = true;
  }
  if (slow && slow_) well_time_ = Duration::zero();
  // Also when it is well: how long it has been counts when it falls ill again.
  if (quick && (slow_ || well_time_ > Duration::zero())) well_time_ += passed;
  if (slow_ && well_time_ >= ProbationNow()) {
    slow_ = false;
    slow_time_ = Duration::zero();
  }
}

void DiskFitness::JudgeSpace(const DiskSpace& space, Duration passed) {
  free_bytes_ = space.free_bytes;
  if (space.total_bytes == 0) return;
  if (space.free_bytes < options_.reserve_bytes) {
    full_ = true;
    roomy_time_ = Duration::zero();
  } else if (space.free_bytes >= options_.reserve_bytes + options_.reserve_bytes / 4) {
    roomy_time_ += passed;
    full_ = full_ && roomy_time_ < options_.well_for;
  }
}

std::vector<std::string> DiskFitness::Warnings() const {
  std::vector<std::string> warnings;
  const std::string meanwhile = "; it leads only what no other node can lead, until ";
  if (slow_) {
    warnings.push_back("DISK_SICK: its disk syncs in " + Millis(sync_time_) + ", " + Millis(options_.slow_sync) +
                       " is the limit (storage.slow_sync)" + meanwhile + Seconds(ProbationNow()) +
                       " have been well; look at what else uses the disk, or replace it");
  }
  if (full_) {
    warnings.push_back("DISK_FULL: its disk has " + MiB(free_bytes_) + " free, the reserve is " + MiB(options_.reserve_bytes) +
                       " (storage.disk_reserve), and data is refused" + meanwhile +
                       MiB(options_.reserve_bytes + options_.reserve_bytes / 4) + " have been free for " + Seconds(options_.well_for) +
                       "; trim or delete topics, or enlarge the disk");
  }
  return warnings;
}

}  // namespace flotilla::broker
