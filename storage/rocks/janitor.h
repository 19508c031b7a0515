// Gives space back, beside the writer: files of trimmed and destroyed groups are deleted, and families that
// keep old WAL files alive are flushed before the WAL reaches its limit.
//
// A job begins only after the batch that made it possible was synced. When its files are gone the writer is
// told, and removes what is left of the range with the next batch.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <thread>

#include "storage/base/mutex.h"
#include "storage/rocks/engine.h"

namespace flotilla::storage {

struct ReclaimJob {
  enum class Kind {
    kTrim,     // entries up to `upto`
    kDestroy,  // everything of the group
    kCompact,  // what is left in the group's range, now: the disk is nearly full
  };
  Kind kind = Kind::kTrim;
  GroupId group;
  uint32_t family = 0;
  LogIndex upto;
};

class Janitor {
 public:
  // `done` is called on the janitor's thread after kTrim and kDestroy; it only posts.
  Janitor(Engine& engine, uint64_t wal_bytes_max, std::function<void(const ReclaimJob&)> done);
  ~Janitor() { Stop(); }

  // Any thread. A job replaces one of the same kind for the same group.
  void Schedule(const ReclaimJob& job) FLOTILLA_EXCLUDES(mutex_);
  // Drops the group's jobs, and waits for one that runs (some unlinks): its range is about to be used again.
  void Forget(GroupId group) FLOTILLA_EXCLUDES(mutex_);
  // The WAL has grown to `position` bytes since the start: flushes what pins more than half of its limit.
  void CheckPins(uint64_t position) FLOTILLA_EXCLUDES(mutex_);
  // No job runs after it. Waiting ones are dropped: they are found again at the next start.
  void Stop() FLOTILLA_EXCLUDES(mutex_);

 private:
  void Run() FLOTILLA_EXCLUDES(mutex_);
  void Reclaim(const ReclaimJob& job);
  bool DeleteFiles(rocksdb::ColumnFamilyHandle* family, const std::string& begin, const std::string& end);
  void Compact(const ReclaimJob& job);
  void FlushPinned(uint64_t position);

  Engine& engine_;
  const uint64_t pinned_bytes_max_;
  const std::function<void(const ReclaimJob&)> done_;

  Mutex mutex_;
  ConditionVariable changed_;
  std::deque<ReclaimJob> jobs_ FLOTILLA_GUARDED_BY(mutex_);
  std::optional<GroupId> running_ FLOTILLA_GUARDED_BY(mutex_);
  std::optional<uint64_t> position_ FLOTILLA_GUARDED_BY(mutex_);
  bool stopping_ FLOTILLA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace flotilla::storage
