#include "raft/core/survivor.h"

#include <algorithm>
#include <utility>

#include "raft/core/configuration.h"
#include "storage/log/entry.h"

namespace flotilla::raft {

storage::WriteTask SurvivorTask(const storage::GroupState& state, ReplicaId next_life) {
  const storage::LogAnchor& end = state.bounds.end;
  const Term term = std::max(state.hard_state.term, end.last.term) + kSurvivorTermGap;
  storage::Entry entry;
  entry.header.group = state.group;
  entry.header.index = end.last.index + 1;
  entry.header.term = term;
  entry.header.kind = storage::EntryKind::kConfiguration;
  entry.header.base_offset = end.end_offset;
  entry.header.min_timestamp_ms = kNoTimestamp;
  entry.header.max_timestamp_ms = kNoTimestamp;
  entry.header.running_max_timestamp_ms = end.running_max_timestamp_ms;
  entry.payload = EncodeConfiguration({.voters = {next_life}});
  storage::SealEntry(&entry);
  storage::WriteTask task{.group = state.group, .next_life = next_life};
  task.entries.push_back(std::move(entry));
  task.hard_state = storage::HardState{.term = term, .voted_for = kNoReplica, .commit = state.hard_state.commit};
  return task;
}

}  // namespace flotilla::raft
