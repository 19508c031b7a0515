// The disk of one replica in a scenario: what is durable, and the tasks that were handed to it and are not.
// It judges tasks by the rules of storage/log/task_check.h and completes them when the script says so.
#pragma once

#include <deque>
#include <vector>

#include "raft/core/raft_core.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"
#include "storage/log/entry.h"
#include "storage/log/log_store.h"

namespace flotilla::raft::scenario {

struct Completion {
  AppendTask task;
  Status status;
};

class Disk {
 public:
  Disk() = default;
  Disk(GroupId group, ReplicaId self, const Configuration& members);

  // --- what is durable
  const storage::GroupState& state() const { return state_; }
  LogIndex first() const { return state_.bounds.first_index(); }
  LogIndex last() const { return state_.bounds.last_index(); }
  bool Has(LogIndex index) const { return index >= first() && index <= last(); }
  const Entry& At(LogIndex index) const { return entries_[index - first()]; }
  Result<std::vector<Entry>> Read(LogIndex first, LogIndex last, size_t bytes_max) const;

  // --- tasks on their way
  void Queue(AppendTask task) { queue_.push_back(std::move(task)); }
  size_t waiting() const { return queue_.size(); }
  // Ends the oldest task: written, or refused because the disk is full, fails, or does not accept it.
  Completion CompleteOldest();

  // --- faults
  bool full = false;
  bool slow = false;       // `settle` leaves its tasks waiting
  bool fail_next = false;  // the next write fails, and every one after it
  // The process dies. Of the tasks on their way the first `survivors` are on the disk, although nobody was
  // told.
  void Crash(size_t survivors);
  // What was durable behind `index` is gone: the disk lied about its syncs.
  void LoseAfter(LogIndex index);
  void ForgetVote() { state_.hard_state.voted_for = kNoReplica; }
  void ForgetTerm() { state_.hard_state = {}; }

  // A log made up by a script: data entries whose payload is their id. Not while tasks are waiting.
  void Prepare(const std::vector<storage::EntryId>& log, const storage::HardState& hard_state);

 private:
  Status Write(const AppendTask& task);

  storage::GroupState state_;
  std::deque<Entry> entries_;
  std::deque<AppendTask> queue_;
};

}  // namespace flotilla::raft::scenario
