#include "storage/rocks/group.h"

#include <algorithm>

#include "storage/base/limits.h"

namespace flotilla::storage {

Group::View Group::GetView() const {
  MutexLock lock(mutex_);
  return {state_.bounds, epoch_, frozen_, exists_};
}

uint64_t Group::epoch() const {
  MutexLock lock(mutex_);
  return epoch_;
}

std::optional<GroupState> Group::State() const {
  MutexLock lock(mutex_);
  if (!exists_) return std::nullopt;
  return state_;
}

GroupPlace Group::place() const {
  MutexLock lock(mutex_);
  return {family_, reclaimed_};
}

size_t Group::tail_bytes() const {
  MutexLock lock(mutex_);
  return tail_bytes_;
}

LogIndex Group::tail_first() const {
  MutexLock lock(mutex_);
  return tail_count() == 0 ? state_.bounds.last_index() + 1 : tail_[tail_head_].index();
}

std::optional<std::vector<Entry>> Group::FromTail(LogIndex first, LogIndex last, ReadLimits limits) const {
  MutexLock lock(mutex_);
  if (!exists_ || tail_count() == 0 || first < tail_[tail_head_].index() || last > state_.bounds.last_index() + 1) {
    return std::nullopt;
  }
  std::vector<Entry> entries;
  size_t bytes = 0;
  const size_t from = tail_head_ + (first - tail_[tail_head_].index());
  const size_t count = std::min<uint64_t>(last - first, std::max<size_t>(limits.entries, 1));
  for (size_t at = from; at < from + count; ++at) {
    bytes += tail_[at].bytes();
    if (!entries.empty() && bytes > limits.bytes) break;
    entries.push_back(tail_[at]);
  }
  return entries;
}

std::optional<EntryHeader> Group::SearchTail(const std::function<bool(const EntryHeader&)>& reached) const {
  MutexLock lock(mutex_);
  if (!exists_ || tail_count() == 0) return std::nullopt;
  const auto begin = tail_.begin() + static_cast<std::ptrdiff_t>(tail_head_);
  const bool whole_log = begin->index() == state_.bounds.first_index();
  if (!whole_log && reached(begin->header)) return std::nullopt;  // perhaps an earlier entry
  const auto found = std::partition_point(begin, tail_.end(), [&](const Entry& entry) { return !reached(entry.header); });
  if (found == tail_.end()) return std::nullopt;
  return found->header;
}

void Group::Freeze(FrozenDatabase frozen) {
  MutexLock lock(mutex_);
  ++epoch_;
  frozen_ = std::move(frozen);
}

void Group::Publish(Change change, size_t tail_bytes_max) {
  // Released outside of the lock: entries may be the last owners of large buffers, and a snapshot takes
  // RocksDB's mutex.
  std::vector<Entry> spent;
  FrozenDatabase thawed;
  MutexLock lock(mutex_);
  state_ = std::move(change.state);
  reclaimed_ = change.place.reclaimed;
  thawed.swap(frozen_);
  if (change.removes) ++epoch_;

  while (tail_count() != 0 && tail_.back().index() >= change.tail_cut) {
    tail_bytes_ -= tail_.back().bytes();
    tail_.pop_back();
  }
  if (tail_count() == 0) {
    spent.swap(tail_);
    tail_head_ = 0;
    tail_bytes_ = 0;
  }
  for (Entry& entry : change.appended) {
    tail_bytes_ += entry.bytes();
    tail_.push_back(std::move(entry));
  }
  TrimTail(tail_bytes_max);
}

void Group::TrimTail(size_t tail_bytes_max) {
  const size_t bytes_max = std::min(tail_bytes_max, limits::kTailBytesMax);
  while (tail_count() != 0 && (tail_bytes_ > bytes_max || tail_[tail_head_].index() < state_.bounds.first_index())) {
    tail_bytes_ -= tail_[tail_head_].bytes();
    tail_[tail_head_].payload = Bytes();
    ++tail_head_;
  }
  if (tail_head_ > tail_.size() / 2) {
    tail_.erase(tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(tail_head_));
    tail_head_ = 0;
  }
}

void Group::MarkDestroyed() {
  FrozenDatabase thawed;
  std::vector<Entry> spent;
  MutexLock lock(mutex_);
  exists_ = false;
  ++epoch_;
  thawed.swap(frozen_);
  spent.swap(tail_);
  tail_head_ = 0;
  tail_bytes_ = 0;
}

void Group::DropTail() {
  std::vector<Entry> spent;
  MutexLock lock(mutex_);
  spent.swap(tail_);
  tail_head_ = 0;
  tail_bytes_ = 0;
}

std::shared_ptr<Group> GroupTable::Find(GroupId group) const {
  MutexLock lock(mutex_);
  const auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : found->second;
}

void GroupTable::Insert(GroupId group, std::shared_ptr<Group> made) {
  MutexLock lock(mutex_);
  groups_[group] = std::move(made);
}

void GroupTable::Erase(GroupId group) {
  MutexLock lock(mutex_);
  groups_.erase(group);
}

std::vector<GroupId> GroupTable::Ids() const {
  std::vector<GroupId> ids;
  {
    MutexLock lock(mutex_);
    ids.reserve(groups_.size());
    for (const auto& [id, group] : groups_) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

void TailBudget::Update(GroupId group, size_t bytes, const GroupTable& table) {
  Forget(group);
  if (bytes == 0) return;
  rows_[group] = {bytes, by_age_.insert(by_age_.end(), group)};
  bytes_ += bytes;
  while (bytes_ > bytes_max_ && by_age_.front() != group) {
    const GroupId oldest = by_age_.front();
    if (const std::shared_ptr<Group> found = table.Find(oldest)) found->DropTail();
    Forget(oldest);
  }
}

void TailBudget::Forget(GroupId group) {
  const auto row = rows_.find(group);
  if (row == rows_.end()) return;
  bytes_ -= row->second.bytes;
  by_age_.erase(row->second.place);
  rows_.erase(row);
}

}  // namespace flotilla::storage
