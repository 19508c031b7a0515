// A replica's log as the core knows it: where it starts and ends, the term of every entry, the configurations in it, the entries
// that are not yet durable or were needed lately (the tail), and which tasks are on their way to the disk.
//
//   start          applied      commit      stable      submitted     last
//   |--- on disk ----|------------|-----------|--- in tasks ---|--- not yet ---|
//                         |------------------- in memory: the tail ------------|
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "raft/core/configuration.h"
#include "raft/core/fifo.h"
#include "storage/log/entry.h"
#include "storage/log/log_store.h"

namespace flotilla::raft {

class RaftLog {
 public:
  // What is on the disk when the replica starts. The configurations decode (RaftCore checks before).
  RaftLog(const storage::GroupState& state, std::vector<std::pair<LogIndex, Configuration>> configurations);

  // --- shape
  const storage::LogAnchor& start() const { return start_; }
  const storage::LogAnchor& end() const { return end_; }
  LogIndex first() const { return start_.last.index + 1; }
  LogIndex last() const { return end_.last.index; }
  storage::EntryId last_id() const { return end_.last; }
  // The term of an entry of the log, or of the one before its start. Nothing: trimmed, or past the end.
  std::optional<Term> TermAt(LogIndex index) const;
  bool Has(const storage::EntryId& id) const { return TermAt(id.index) == id.term; }
  // The last place at or before `index` whose term is at most `term`: where two logs may still agree. 0@0 when that is before the
  // start.
  storage::EntryId LastAtMost(LogIndex index, Term term) const;
  const std::vector<storage::TermRun>& terms() const { return terms_; }

  // --- configurations; the last one in the log is in force, committed or not (Raft §6)
  const Configuration& configuration() const { return configurations_.back().second; }
  LogIndex configuration_index() const { return configurations_.back().first; }
  // The one in force before the last; the same when there is no other.
  const Configuration& previous_configuration() const;
  // The one in force at `index`.
  const Configuration& ConfigurationAt(LogIndex index) const;

  // --- changes in memory
  // The entry follows the end: index, offset and term have been checked.
  void Append(storage::Entry entry);
  void AppendConfiguration(storage::Entry entry, Configuration configuration);
  // Forgets `next.index` and everything behind, to make room for `next`, which is appended right after; not at or before the
  // start. The entry before it need not be in memory: then `next` tells the offset at which the log ends.
  void TruncateFor(const storage::EntryHeader& next);
  // Moves the start to `anchor`, which is in the log.
  void TrimTo(const storage::LogAnchor& anchor);
  // Begins anew behind a snapshot.
  void Reset(const storage::LogAnchor& anchor, Configuration configuration);

  // --- the way to the disk
  LogIndex stable() const { return stable_; }
  LogIndex submitted() const { return submitted_; }
  bool writing() const { return !tasks_.empty(); }
  // Entries not in a task yet, now considered given out.
  std::vector<storage::Entry> TakeUnsubmitted();
  // A task was given out that makes everything submitted so far durable.
  void TaskGivenOut(uint64_t token);
  // Whether the entries of the oldest task no longer count: the log was begun anew, or an earlier task was refused.
  bool OldestTaskVoid() const { return !tasks_.empty() && tasks_.front().void_entries; }
  // The oldest task came back. Dies if it is another one.
  void TaskWritten(uint64_t token);
  // The oldest task was refused: everything behind `stable` has to be given out again. Later tasks given out before this are void
  // as far as entries are concerned.
  void TaskRefused(uint64_t token);

  // --- the tail
  // Entries in [first, last) if all are in memory, as many as fit (at least one).
  std::optional<std::vector<storage::Entry>> TailEntries(LogIndex first, LogIndex last, size_t bytes_max, size_t entries_max) const;
  LogIndex tail_first() const { return last() + 1 - tail_.size(); }
  size_t tail_bytes() const { return tail_bytes_; }
  // Bytes of the tail's entries behind `after`, up to and including `to`.
  size_t TailBytesBetween(LogIndex after, LogIndex to) const;
  // Lets go of entries up to `index` that are durable; beyond `bytes_max` also those up to `forced`, if durable.
  void EvictTail(LogIndex index, LogIndex forced, size_t bytes_max);

  void CheckInvariants() const;

 private:
  struct Task {
    uint64_t token;
    LogIndex valid_to;  // durable up to here once written; falls when the entries are overwritten meanwhile
    bool void_entries = false;
  };

  storage::LogAnchor start_;
  storage::LogAnchor end_;
  std::vector<storage::TermRun> terms_;
  std::vector<std::pair<LogIndex, Configuration>> configurations_;  // the first is the one at the start
  Fifo<storage::Entry> tail_;                                       // ends with last()
  size_t tail_bytes_ = 0;
  LogIndex stable_;
  LogIndex submitted_;
  Fifo<Task> tasks_;
};

}  // namespace flotilla::raft
