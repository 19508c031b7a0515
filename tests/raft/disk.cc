#include "tests/raft/disk.h"

#include <algorithm>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "storage/log/task_check.h"

namespace flotilla::raft::scenario {
namespace {

std::string IdText(const storage::EntryId& id) {
  std::ostringstream out;
  out << id;
  return std::move(out).str();
}

Entry MakeEntry(GroupId group, const storage::EntryId& id, Offset base) {
  Entry entry;
  entry.header.group = group;
  entry.header.index = id.index;
  entry.header.term = id.term;
  entry.header.kind = EntryKind::kData;
  entry.header.base_offset = base;
  entry.header.record_count = 1;
  entry.payload = Bytes(IdText(id));
  storage::SealEntry(&entry);
  return entry;
}

}  // namespace

Disk::Disk(GroupId group, ReplicaId self, const Configuration& members) {
  state_.group = group;
  state_.identity = {.self = self, .label = "scenario"};
  state_.snapshot.configuration = EncodeConfiguration(members);
}

Result<std::vector<Entry>> Disk::Read(LogIndex first_wanted, LogIndex end, size_t bytes_max) const {
  if (first_wanted < first()) return Status(Reason::kTrimmed, "the entry is before the start of the log");
  if (end > last() + 1) return Status(Reason::kOffsetOutOfRange, "the entry is behind the end of the log");
  std::vector<Entry> read;
  size_t bytes = 0;
  for (LogIndex index = first_wanted; index < end; ++index) {
    const Entry& entry = At(index);
    if (!read.empty() && bytes + entry.bytes() > bytes_max) break;
    bytes += entry.bytes();
    read.push_back(entry);
  }
  return read;
}

Completion Disk::CompleteOldest() {
  AppendTask task = std::move(queue_.front());
  queue_.pop_front();
  Status status = task.writes_nothing() && !fail_next ? Status() : Write(task);
  return {std::move(task), std::move(status)};
}

Status Disk::Write(const AppendTask& task) {
  if (fail_next) return Status(Reason::kStorageFailed, "the sync failed");
  storage::WriteTask write;
  write.group = state_.group;
  write.snapshot = task.snapshot;
  write.replace_log = task.replace_log;
  write.entries = task.entries;
  write.hard_state = task.hard_state;
  if (full && write.grows()) return Status(Reason::kDiskFull, "the disk is full");

  const auto anchor_at = [this](LogIndex index) -> Result<storage::LogAnchor> { return storage::AnchorAfter(At(index).header); };
  Result<storage::TaskEffect> effect = storage::PlanTask(&state_, write, anchor_at);
  if (!effect.ok()) return effect.status();
  std::optional<storage::GroupState> state(std::move(state_));
  storage::ApplyTask(write, &state);
  state_ = std::move(*state);
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(effect->trimmed.size()));
  entries_.erase(entries_.end() - static_cast<std::ptrdiff_t>(effect->overwritten.size()), entries_.end());
  entries_.insert(entries_.end(), write.entries.begin(), write.entries.end());
  return {};
}

void Disk::Crash(size_t survivors) {
  for (; survivors > 0 && !queue_.empty(); --survivors) {
    if (Completion done = CompleteOldest(); !done.status.ok()) LOG(INFO) << "refused at the crash: " << done.status;
  }
  queue_.clear();
  fail_next = false;
}

void Disk::LoseAfter(LogIndex index) {
  std::vector<Entry> kept;
  for (const Entry& entry : entries_) {
    if (entry.index() <= index) kept.push_back(entry);
  }
  state_.bounds.end = state_.bounds.start;
  state_.terms.clear();
  state_.configurations.clear();
  for (const Entry& entry : kept) storage::AppendToState(entry, &state_);
  entries_.assign(kept.begin(), kept.end());
  state_.hard_state.commit = std::min(state_.hard_state.commit, last());
}

void Disk::Prepare(const std::vector<storage::EntryId>& log, const storage::HardState& hard_state) {
  LoseAfter(LogIndex{0});
  for (const storage::EntryId& id : log) {
    entries_.push_back(MakeEntry(state_.group, id, state_.bounds.end.end_offset));
    storage::AppendToState(entries_.back(), &state_);
  }
  state_.hard_state = hard_state;
}

}  // namespace flotilla::raft::scenario
