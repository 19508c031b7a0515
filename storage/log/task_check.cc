#include "storage/log/task_check.h"

#include <algorithm>
#include <sstream>

#include "storage/base/limits.h"

namespace flotilla::storage {
namespace {

template <typename... Parts>
std::string Text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

// An error about the group of a task; every one of them names it.
template <typename... Parts>
Status Refuse(Reason reason, GroupId group, const Parts&... parts) {
  return Status(reason, Text("group ", group, ": ", parts...)).With("group", group.value());
}

template <typename... Parts>
Status RefuseEntry(const EntryHeader& header, const Parts&... parts) {
  return Refuse(Reason::kInvalidArgument, header.group, "entry ", header.index, " of term ", header.term, " ", parts...)
      .With("index", header.index.value());
}

Status TooLarge(GroupId group, const char* what, uint64_t value, uint64_t limit) {
  return Refuse(Reason::kLimitExceeded, group, what, " is ", value, ", the limit is ", limit).With("value", value).With("limit", limit);
}

Status CheckSizes(const WriteTask& task) {
  size_t state_bytes = 0;
  for (const StateWrite& write : task.state) state_bytes += write.key.size() + write.value.size();
  if (state_bytes > limits::kStateWriteBytesMax) {
    return TooLarge(task.group, "the size of the state rows in bytes", state_bytes, limits::kStateWriteBytesMax);
  }
  for (const SnapshotChunkWrite& chunk : task.chunks) {
    if (chunk.data.size() <= limits::kSnapshotChunkBytes) continue;
    return TooLarge(task.group, "the size of a snapshot chunk in bytes", chunk.data.size(), limits::kSnapshotChunkBytes);
  }
  return {};
}

// Whether `entry` may follow what ends at `before`.
Status CheckEntry(GroupId group, const LogAnchor& before, const Entry& entry) {
  const EntryHeader& header = entry.header;
  if (header.group != group) {
    return Refuse(Reason::kInvalidArgument, group, "was given entry ", header.index, " of group ", header.group,
                  "; entries stay in their group")
        .With("index", header.index.value());
  }
  if (entry.payload.size() > limits::kEntryPayloadBytesMax) {
    return TooLarge(group, "the payload of an entry in bytes", entry.payload.size(), limits::kEntryPayloadBytesMax)
        .With("index", header.index.value());
  }
  if (header.record_count > limits::kEntryRecordsMax) {
    return TooLarge(group, "the number of records in an entry", header.record_count, limits::kEntryRecordsMax)
        .With("index", header.index.value());
  }
  if (!IsEntryKind(static_cast<uint8_t>(header.kind))) {
    return RefuseEntry(header, "is of unknown kind ", static_cast<int>(header.kind));
  }
  if (header.index != before.last.index + 1) {
    return RefuseEntry(header, "follows index ", before.last.index, "; the next one is ", before.last.index + 1);
  }
  if (header.term < before.last.term || header.term == Term{0}) {
    return RefuseEntry(header, "follows term ", before.last.term, "; terms begin at 1 and never go back");
  }
  if (header.base_offset != before.end_offset) {
    return RefuseEntry(header, "has base offset ", header.base_offset, " where the log ends at offset ", before.end_offset);
  }
  if (header.record_count != 0 && header.kind != EntryKind::kData) {
    return RefuseEntry(header, "is ", EntryKindName(header.kind), " and claims ", header.record_count, " records");
  }
  if (header.running_max_timestamp_ms != std::max(before.running_max_timestamp_ms, header.max_timestamp_ms)) {
    return RefuseEntry(header, "has running maximum timestamp ", header.running_max_timestamp_ms, "; before it stands ",
                       before.running_max_timestamp_ms, ", its own is ", header.max_timestamp_ms);
  }
  if (header.payload_bytes != entry.payload.size()) {
    return RefuseEntry(header, "says ", header.payload_bytes, " bytes of payload and has ", entry.payload.size(), "; call SealEntry");
  }
  return {};
}

// The bounds that a trim or a replacing snapshot leaves.
Result<LogBounds> PlanSnapshot(const WriteTask& task, const LogBounds& bounds, const AnchorAt& anchor_at) {
  const LogAnchor& anchor = task.snapshot->anchor;
  if (task.replace_log) return LogBounds{anchor, anchor};
  const LogIndex index = anchor.last.index;
  if (index < bounds.start.last.index || index > bounds.last_index()) {
    return Refuse(Reason::kInvalidArgument, task.group, "the start cannot move to after index ", index, ", the log holds (",
                  bounds.start.last.index, ", ", bounds.last_index(), "]; use replace_log")
        .With("index", index.value());
  }
  LogAnchor there = index == bounds.last_index() ? bounds.end : bounds.start;
  if (index > bounds.start.last.index && index < bounds.last_index()) {
    Result<LogAnchor> found = anchor_at(index);
    if (!found.ok()) return found.status();
    there = *found;
  }
  if (there != anchor) {
    return Refuse(Reason::kInvalidArgument, task.group, "the log has ", there.last, " ending at offset ", there.end_offset,
                  ", the anchor says ", anchor.last, " ending at offset ", anchor.end_offset)
        .With("index", index.value());
  }
  return LogBounds{anchor, bounds.end};
}

// The anchor that the first of task.entries follows.
Result<LogAnchor> PlanAppend(const WriteTask& task, const LogBounds& bounds, const AnchorAt& anchor_at) {
  const EntryHeader& first = task.entries.front().header;
  if (first.index <= bounds.start.last.index || first.index > bounds.last_index() + 1) {
    return RefuseEntry(first, "cannot be put, the log holds (", bounds.start.last.index, ", ", bounds.last_index(), "]");
  }
  if (first.index == bounds.last_index() + 1) return bounds.end;
  if (first.index == bounds.first_index()) return bounds.start;
  return anchor_at(first.index - 1);
}

// §5.1 and §5.2 of the Raft paper: terms only grow, and there is one vote in each.
Status CheckHardState(GroupId group, const HardState& old, const HardState& next) {
  if (next.term < old.term) {
    return Refuse(Reason::kInvalidArgument, group, "term ", next.term, " is older than ", old.term, ", which is durable");
  }
  if (next.term == old.term && old.voted_for.valid() && next.voted_for != old.voted_for) {
    return Refuse(Reason::kInvalidArgument, group, "voted for ", old.voted_for, " in term ", old.term, " and cannot vote for ",
                  next.voted_for, " in the same term");
  }
  return {};
}

Status CheckNextLife(const GroupState* group, const WriteTask& task) {
  if (group == nullptr) return Refuse(Reason::kInvalidArgument, task.group, "begins and has no life before ", *task.next_life);
  const ReplicaId self = group->identity.self;
  if (task.next_life->node == self.node && task.next_life->incarnation > self.incarnation) return {};
  return Refuse(Reason::kInvalidArgument, task.group, "is of replica ", self, ", of which ", *task.next_life, " is no later life");
}

void MoveStart(const LogBounds& bounds, GroupState* group) {
  const LogIndex first = bounds.first_index();
  auto& terms = group->terms;
  // The run that holds the new first entry is the last one that begins at or before it.
  auto keep = std::upper_bound(terms.begin(), terms.end(), first, [](LogIndex index, const TermRun& run) { return index < run.first; });
  if (keep != terms.begin()) --keep;
  terms.erase(terms.begin(), keep);
  if (bounds.empty()) terms.clear();
  if (!terms.empty()) terms.front().first = first;
  std::erase_if(group->configurations, [first](const Entry& entry) { return entry.index() < first; });
  group->bounds = bounds;
}

// `before` is the anchor after the last entry that stays.
void CutSuffix(const LogAnchor& before, GroupState* group) {
  const LogIndex last = before.last.index;
  while (!group->terms.empty() && group->terms.back().first > last) group->terms.pop_back();
  while (!group->configurations.empty() && group->configurations.back().index() > last) group->configurations.pop_back();
  group->bounds.end = before;
}

}  // namespace

Result<TaskEffect> PlanTask(const GroupState* group, const WriteTask& task, const AnchorAt& anchor_at) {
  if (task.create && group != nullptr) {
    return Refuse(Reason::kGroupExists, task.group, "exists already, as \"", group->identity.label, "\"");
  }
  if (!task.create && group == nullptr) return Refuse(Reason::kGroupNotFound, task.group, "does not exist on this node");
  FLOTILLA_RETURN_IF_ERROR(CheckSizes(task));
  if (task.next_life) FLOTILLA_RETURN_IF_ERROR(CheckNextLife(group, task));

  TaskEffect effect;
  LogBounds bounds = group != nullptr ? group->bounds : LogBounds{};
  if (task.snapshot) {
    Result<LogBounds> moved = PlanSnapshot(task, bounds, anchor_at);
    if (!moved.ok()) return moved.status();
    effect.trimmed = {bounds.first_index(), task.replace_log ? bounds.last_index() + 1 : moved->first_index()};
    bounds = *moved;
  }
  if (!task.entries.empty()) {
    Result<LogAnchor> before = PlanAppend(task, bounds, anchor_at);
    if (!before.ok()) return before.status();
    effect.overwritten = {task.entries.front().index(), bounds.last_index() + 1};
    LogAnchor at = *before;
    for (const Entry& entry : task.entries) {
      FLOTILLA_RETURN_IF_ERROR(CheckEntry(task.group, at, entry));
      at = AnchorAfter(entry.header);
    }
  }
  if (task.hard_state) {
    const HardState old = group != nullptr ? group->hard_state : HardState{};
    FLOTILLA_RETURN_IF_ERROR(CheckHardState(task.group, old, *task.hard_state));
  }
  return effect;
}

void ApplyTask(const WriteTask& task, std::optional<GroupState>* group) {
  if (task.create) {
    CHECK(!group->has_value());
    group->emplace();
    (*group)->group = task.group;
    (*group)->identity = *task.create;
  }
  CHECK(group->has_value());
  if (task.destroy) return group->reset();

  GroupState& state = **group;
  if (task.next_life) state.identity.self = *task.next_life;
  if (task.snapshot) {
    const LogAnchor& anchor = task.snapshot->anchor;
    MoveStart({anchor, task.replace_log ? anchor : state.bounds.end}, &state);
    if (task.replace_log) state.configurations.clear();
    state.snapshot = *task.snapshot;
  }
  if (!task.entries.empty()) {
    const EntryHeader& first = task.entries.front().header;
    CHECK_LE(first.index, state.bounds.last_index() + 1);
    if (first.index <= state.bounds.last_index()) {
      const LogIndex last = first.index - 1;
      const std::optional<Term> term = TermAt(state, last);
      CHECK(term.has_value());
      // The entry after it tells the offset; its running maximum is not needed once the next entry stands.
      CutSuffix({{*term, last}, first.base_offset, kNoTimestamp}, &state);
    }
    for (const Entry& entry : task.entries) AppendToState(entry, &state);
  }
  if (task.hard_state) state.hard_state = *task.hard_state;
}

std::optional<Term> TermAt(const GroupState& group, LogIndex index) {
  if (index == group.bounds.start.last.index) return group.bounds.start.last.term;
  if (index < group.bounds.first_index() || index > group.bounds.last_index()) return std::nullopt;
  auto after =
      std::upper_bound(group.terms.begin(), group.terms.end(), index, [](LogIndex i, const TermRun& run) { return i < run.first; });
  CHECK(after != group.terms.begin()) << "the term runs of group " << group.group << " do not cover index " << index;
  return std::prev(after)->term;
}

void AppendToState(const Entry& entry, GroupState* group) {
  const EntryHeader& header = entry.header;
  CHECK_EQ(header.index, group->bounds.last_index() + 1);
  if (group->terms.empty() || group->terms.back().term != header.term) group->terms.push_back({header.index, header.term});
  if (header.kind == EntryKind::kConfiguration) group->configurations.push_back(entry);
  group->bounds.end = AnchorAfter(header);
}

}  // namespace flotilla::storage
