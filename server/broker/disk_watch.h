// Looks after the disk for DiskFitness, once a second, and says in the log when its judgement changes.
//
//   disk.Tick();
//   if (!disk.fitness().fit()) ...
//
// Executor only.
#pragma once

#include <functional>

#include "server/broker/disk_fitness.h"

namespace flotilla::broker {

class DiskWatch {
 public:
  // `store` and `clock` outlive it.
  DiskWatch(const DiskFitnessOptions& options, const storage::LogStore& store, const Clock& clock, std::function<DiskSpace()> space)
      : store_(store), clock_(clock), space_(std::move(space)), fitness_(options) {}

  void Tick();
  const DiskFitness& fitness() const { return fitness_; }
  // When it was looked at last.
  const DiskSpace& space() const { return seen_; }

 private:
  const storage::LogStore& store_;
  const Clock& clock_;
  const std::function<DiskSpace()> space_;
  DiskFitness fitness_;
  DiskSpace seen_;
  MonotonicTime look_at_;
};

}  // namespace flotilla::broker
