// What a WriteTask may do to a group, and what the group is afterwards: the rules of log_store.h as pure functions, so that
// every implementation follows the same ones.
//
//   Result<TaskEffect> effect = PlanTask(group ? &*group : nullptr, task, anchor_at);   // decide
//   if (!effect.ok()) ...                                        // nothing of the task is written
//   ... write the rows that effect and task ask for ...
//   ApplyTask(task, &group);                                     // the group as the next task finds it
#pragma once

#include <functional>
#include <optional>

#include "storage/base/ids.h"
#include "storage/base/status.h"
#include "storage/log/entry.h"
#include "storage/log/log_store.h"

namespace flotilla::storage {

// Entries [first, end).
struct IndexRange {
  LogIndex first;
  LogIndex end;
  bool empty() const { return first == end; }
  uint64_t size() const { return end - first; }
  bool operator==(const IndexRange&) const = default;
};

// Which entries a task removes, in the order in which it removes them; its own entries are put after both.
struct TaskEffect {
  IndexRange trimmed;      // from the front, or everything (replace_log)
  IndexRange overwritten;  // the suffix that stands where task.entries begin
  bool operator==(const TaskEffect&) const = default;
};

// The anchor that stands for everything up to and including an entry that is in the log: AnchorAfter(its header).
using AnchorAt = std::function<Result<LogAnchor>(LogIndex)>;

// Decides. `group` is the group as all earlier tasks leave it; null when there is none. `anchor_at` is asked at most twice,
// only for entries inside of the log, and only when the task overwrites a suffix or trims inside of the log: appends
// and votes cost no look-up. Its errors are passed on.
//
// GROUP_NOT_FOUND, GROUP_EXISTS; LIMIT_EXCEEDED: something is larger than its limit; INVALID_ARGUMENT: entries that leave a
// gap in index or offset, whose term or running timestamp goes back, that are another group's, or not sealed; an anchor that
// is not in the log; a term that goes back, or a vote that changes within its term. Details: "group" and, where
// there is one, "index".
Result<TaskEffect> PlanTask(const GroupState* group, const WriteTask& task, const AnchorAt& anchor_at);

// Does. PlanTask accepted `task` for `group`. Costs by the task's entries, not by the log's.
void ApplyTask(const WriteTask& task, std::optional<GroupState>* group);

// The term of the entry at `index`: in the log, or the last one before its start. Nothing elsewhere.
std::optional<Term> TermAt(const GroupState& group, LogIndex index);

// The parts of ApplyTask, for a store that rebuilds a GroupState from its rows at start.
// `header` is the next entry: index bounds.last_index() + 1.
void AppendToState(const Entry& entry, GroupState* group);

}  // namespace flotilla::storage
