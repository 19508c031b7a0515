// A group in memory: what is durable of it, for readers, and the tail of its log.
//
// The writer publishes after each sync; readers take a view under a mutex that is held for moments only, and
// never wait for the disk. Between a view and an iterator the writer may have replaced entries; `epoch`
// tells:
//
//   view = group.GetView();  iterator = ...;  if (view.frozen or group.epoch() == view.epoch) the two belong
//   together
//
// While a batch that removes entries is being written, `frozen` holds the database as it was before.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "storage/base/mutex.h"
#include "storage/log/log_store.h"

namespace rocksdb {
class Snapshot;
}

namespace flotilla::storage {

using FrozenDatabase = std::shared_ptr<const rocksdb::Snapshot>;

// What the writer keeps of a group beside its state.
struct GroupPlace {
  uint32_t family = 0;  // of the pool for logs; for its whole life
  LogIndex reclaimed;   // entries up to here were removed from the disk
};

class Group {
 public:
  struct View {
    LogBounds bounds;
    uint64_t epoch = 0;
    FrozenDatabase frozen;
    bool exists = false;
  };

  Group(GroupState state, GroupPlace place) : family_(place.family), state_(std::move(state)), reclaimed_(place.reclaimed) {}

  uint32_t family() const { return family_; }

  // --- Any thread
  View GetView() const;
  uint64_t epoch() const;
  std::optional<GroupState> State() const;  // nothing once destroyed
  // Entries from `first` on that are in memory, up to `last` (exclusive) and the limits; nothing when `first`
  // is not.
  std::optional<std::vector<Entry>> FromTail(LogIndex first, LogIndex last, ReadLimits limits) const;
  // The first index in memory; past the end when none is.
  LogIndex tail_first() const;
  // The first entry of the log for which `reached` holds, if memory can tell. Once it holds, it holds for all
  // that follow.
  std::optional<EntryHeader> SearchTail(const std::function<bool(const EntryHeader&)>& reached) const;

  // --- Writer thread
  GroupPlace place() const;
  void Freeze(FrozenDatabase frozen);
  struct Change {
    GroupState state;
    GroupPlace place;
    LogIndex tail_cut;            // entries of the tail at or above go
    std::vector<Entry> appended;  // follow it
    bool removes = false;         // entries that readers could have seen are gone
  };
  void Publish(Change change, size_t tail_bytes_max);
  void MarkDestroyed();
  void DropTail();
  size_t tail_bytes() const;

 private:
  void TrimTail(size_t tail_bytes_max) FLOTILLA_REQUIRES(mutex_);
  size_t tail_count() const FLOTILLA_REQUIRES(mutex_) { return tail_.size() - tail_head_; }

  const uint32_t family_;
  mutable Mutex mutex_;
  GroupState state_ FLOTILLA_GUARDED_BY(mutex_);
  LogIndex reclaimed_ FLOTILLA_GUARDED_BY(mutex_);
  bool exists_ FLOTILLA_GUARDED_BY(mutex_) = true;
  uint64_t epoch_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  FrozenDatabase frozen_ FLOTILLA_GUARDED_BY(mutex_);
  // The last entries of the log, from tail_head_ on; those before it are spent and removed in bulk.
  std::vector<Entry> tail_ FLOTILLA_GUARDED_BY(mutex_);
  size_t tail_head_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  size_t tail_bytes_ FLOTILLA_GUARDED_BY(mutex_) = 0;
};

// All groups of the node. Any thread.
class GroupTable {
 public:
  std::shared_ptr<Group> Find(GroupId group) const;
  void Insert(GroupId group, std::shared_ptr<Group> made);
  void Erase(GroupId group);
  std::vector<GroupId> Ids() const;  // ascending

 private:
  mutable Mutex mutex_;
  std::unordered_map<GroupId, std::shared_ptr<Group>> groups_ FLOTILLA_GUARDED_BY(mutex_);
};

// Keeps the tails of all groups within a budget: the group that was written longest ago loses its tail first.
// Writer thread only.
class TailBudget {
 public:
  explicit TailBudget(size_t bytes_max) : bytes_max_(bytes_max) {}
  // `group` was just written; its tail now has `bytes`.
  void Update(GroupId group, size_t bytes, const GroupTable& table);
  void Forget(GroupId group);
  size_t bytes() const { return bytes_; }

 private:
  struct Row {
    size_t bytes = 0;
    std::list<GroupId>::iterator place;
  };
  const size_t bytes_max_;
  size_t bytes_ = 0;
  std::list<GroupId> by_age_;  // oldest first
  std::unordered_map<GroupId, Row> rows_;
};

}  // namespace flotilla::storage
