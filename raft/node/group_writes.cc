// A group's way to the disk: all its tasks in one queue, in order, whatever they are for.
#include <glog/logging.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "raft/node/group.h"

namespace flotilla::raft {

void Group::Append(AppendTask task) {
  PendingWrite write;
  write.kind = PendingWrite::Kind::kCore;
  write.task.snapshot = task.snapshot;
  write.task.replace_log = task.replace_log;
  write.task.entries = std::exchange(task.entries, {});
  write.task.hard_state = task.hard_state;
  if (task.snapshot) write.task.drop_snapshots = Superseded(task);
  const bool brings_data = std::any_of(write.task.entries.begin(), write.task.entries.end(),
                                       [](const storage::Entry& entry) { return entry.header.kind == storage::EntryKind::kData; });
  if (brings_data && !rows_in_flight_ && !rows_.empty()) TakeRowsInto(&write.task);
  write.append = std::move(task);
  Enqueue(std::move(write));
}

// The snapshots that go with the write that makes another one current, unless a follower is still being sent them.
std::vector<uint64_t> Group::Superseded(const AppendTask& task) {
  SnapshotShelf& all = shelf();
  std::vector<uint64_t> ids;
  if (all.current && all.current->id != task.snapshot->id) ids.push_back(all.current->id);
  if (task.replace_log) {
    if (all.ready) ids.push_back(all.ready->id);
    if (all.making) ids.push_back(all.making->meta.id);
    all.ready.reset();
    all.ready_cut = false;
    all.making.reset();
    all.wanted_by.clear();
  }
  const auto used = std::stable_partition(ids.begin(), ids.end(), [&](uint64_t id) { return !node_.snapshots.Uses(*this, id); });
  all.retired.insert(all.retired.end(), used, ids.end());
  ids.erase(used, ids.end());
  return ids;
}

void Group::Enqueue(PendingWrite write) {
  if (std::exchange(cleanup_due_, false)) CleanShelf();
  write.task.group = id();
  write.task.token = write.token = node_.NextToken();
  writes_.push_back(std::move(write));
  SubmitWaiting();
}

// Leftovers of a crash, before anything else of this opening is written.
void Group::CleanShelf() { DropSnapshots(shelf_ ? shelf_->FreeIds() : SnapshotShelf{}.FreeIds()); }

void Group::DropSnapshots(std::vector<uint64_t> ids) {
  PendingWrite write;
  write.kind = PendingWrite::Kind::kCleanup;
  write.task.drop_snapshots = std::move(ids);
  Enqueue(std::move(write));
}

// A task that the store does not take keeps its place, and those behind it theirs.
void Group::SubmitWaiting() {
  for (PendingWrite& write : writes_) {
    if (write.submitted) continue;
    const Status taken = node_.store.Submit(write.task, node_.sink);
    if (taken.reason() == Reason::kOverloaded) {
      node_.RetryWritesOf(*this);
      return;
    }
    if (!taken.ok()) {
      node_.StorageFailed(taken);
      return;
    }
    write.submitted = true;
    write.task.entries = {};
    write.task.chunks = {};
  }
}

void Group::RetryWrites() { SubmitWaiting(); }

void Group::OnWritten(uint64_t token, const Status& status) {
  if (writes_.empty() || !writes_.front().submitted || writes_.front().token != token) return;  // of an earlier opening
  CatchUp();
  std::list<PendingWrite> taken;
  taken.splice(taken.begin(), writes_, writes_.begin());
  PendingWrite& write = taken.front();
  if (!write.task.state.empty()) RowsWritten(&write, status);
  switch (write.kind) {
    case PendingWrite::Kind::kCore: return OnCoreWritten(&write, status);
    case PendingWrite::Kind::kOwnChunks: return OwnChunksWritten(write, status);
    case PendingWrite::Kind::kStagedChunk: return StagedChunkWritten(write, status);
    case PendingWrite::Kind::kRows:
    case PendingWrite::Kind::kCleanup:
      if (!status.ok() && status.reason() != Reason::kDiskFull) Fail(status);
      return;
  }
}

void Group::OnCoreWritten(PendingWrite* write, const Status& status) {
  if (status.ok() && write->append.snapshot && core_.fault().ok()) {
    // The state machine first: what cannot be read back is not acknowledged.
    if (restoring_ && restoring_->token == write->append.token && !Restore(*write->append.snapshot)) return;
    if (closed_) return;
    SnapshotIsCurrent(*write->append.snapshot);
  }
  core_.Written(std::move(write->append), status);
}

// --- rows of the state machine

void Group::TakeRowsInto(storage::WriteTask* task) {
  task->state = std::exchange(rows_, {});
  rows_bytes_ = 0;
  rows_due_ = kNever;
  rows_in_flight_ = true;
  rows_void_ = false;
}

void Group::WriteRows() {
  if (rows_in_flight_ || rows_.empty() || !core_.fault().ok()) return;
  PendingWrite write;
  write.kind = PendingWrite::Kind::kRows;
  TakeRowsInto(&write.task);
  Enqueue(std::move(write));
}

void Group::RowsWritten(PendingWrite* write, const Status& status) {
  rows_in_flight_ = false;
  std::vector<storage::StateWrite> rows = std::exchange(write->task.state, {});
  if (status.ok()) {
    if (rows_bytes_ >= kRowsWaitingBytesMax) WriteRows();
    return;
  }
  if (rows_void_) return;
  // Not on the disk: first in the next task.
  rows.insert(rows.end(), std::make_move_iterator(rows_.begin()), std::make_move_iterator(rows_.end()));
  rows_ = std::move(rows);
  rows_bytes_ = 0;
  for (const storage::StateWrite& row : rows_) rows_bytes_ += row.key.size() + row.value.size();
  rows_due_ = node_.now + node_.options.core.disk_full_retry_ticks;
}

}  // namespace flotilla::raft
