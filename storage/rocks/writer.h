// The writing half of the store: one thread, one synced batch at a time for all groups.
//
//   queue -> refuse when the disk is full -> decide and add to the batch -> write and sync -> evidence ->
//   publish -> complete
//
// That is also the only legal order: readers see nothing, and nobody is told, before the sync and its
// evidence.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/log/fair_queue.h"
#include "storage/rocks/evidence.h"
#include "storage/rocks/janitor.h"
#include "storage/rocks/store_hooks.h"
#include "storage/rocks/task_batch.h"

namespace flotilla::storage {

// Keeps room for what must not fail: flushes, rewritten files, votes.
class DiskReserve {
 public:
  DiskReserve(FreeSpace& free_space, uint64_t reserve_bytes)
      : free_space_(free_space), reserve_bytes_(reserve_bytes) {}

  // Before each batch: a microsecond, where the sync takes hundreds.
  void Look() { free_bytes_.store(free_space_.FreeBytes(), std::memory_order_relaxed); }
  // DISK_FULL below the reserve.
  Status Check() const;
  // Whether space that could be given back should be, at once.
  bool scarce() const { return free_bytes() < 2 * reserve_bytes_; }
  uint64_t free_bytes() const { return free_bytes_.load(std::memory_order_relaxed); }  // any thread

 private:
  FreeSpace& free_space_;
  const uint64_t reserve_bytes_;
  std::atomic<uint64_t> free_bytes_{0};
};

class Writer {
 public:
  struct Parts {
    Engine& engine;
    GroupTable& table;
    Evidence& evidence;
    FailureLatch& latch;
    FreeSpace& free_space;
    const Clock& clock;
  };
  struct Start {
    uint64_t batch_number = 0;  // of the last batch
    uint32_t node_mark = 0;
    std::vector<std::pair<GroupId, uint32_t>> groups;
    std::map<GroupId, uint32_t> destroyed;
  };

  Writer(const Parts& parts, const RocksStoreOptions& options, Start start);
  ~Writer() { Stop(); }

  // Runs until Stop. `janitor` outlives it.
  void Run(Janitor& janitor);
  // Writes and completes what is queued; later tasks are refused.
  void Stop() FLOTILLA_EXCLUDES(mutex_);

  Status Submit(WriteTask task, WriteSink& sink) FLOTILLA_EXCLUDES(mutex_);
  // The files of the job are gone. Any thread.
  void Reclaimed(const ReclaimJob& job) FLOTILLA_EXCLUDES(mutex_);
  void Count(StoreCounters* counters) const FLOTILLA_EXCLUDES(mutex_);

 private:
  struct Work {
    std::vector<QueuedTask> tasks;
    std::vector<ReclaimJob> reclaimed;
    bool stop = false;
  };
  struct Numbers {
    std::atomic<uint64_t> syncs{0}, sync_nanos_total{0}, sync_nanos_max{0};
    std::atomic<uint64_t> tasks{0}, entries{0}, bytes_written{0}, refused_disk_full{0};
  };

  void Loop();
  Work WaitForWork() FLOTILLA_EXCLUDES(mutex_);
  void Handle(Work work);
  Status AddTask(const WriteTask& task);
  Status WriteBatch();
  void FreezeWhatLosesEntries();
  void Publish();
  void PublishGroup(GroupId id, GroupDraft* draft);
  void ScheduleReclaim(GroupId id, const GroupDraft& draft);
  void Complete(const std::vector<QueuedTask>& tasks, std::vector<Status> outcomes);
  void SyncEvidence(bool now_or_never);

  const Parts parts_;
  const uint64_t wal_check_bytes_;
  const size_t tail_bytes_max_;
  Janitor* janitor_ = nullptr;

  // Writer thread only.
  FamilyPool pool_;
  std::map<GroupId, uint32_t> destroyed_;
  TaskBatch batch_;
  TailBudget tails_;
  DiskReserve reserve_;
  uint64_t batch_number_ = 0;
  uint64_t wal_position_ = 0;
  uint64_t wal_checked_at_ = 0;
  std::set<GroupId> forgotten_;  // by the janitor, in this batch

  Numbers numbers_;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  FairQueue queue_ FLOTILLA_GUARDED_BY(mutex_);
  std::vector<ReclaimJob> reclaimed_ FLOTILLA_GUARDED_BY(mutex_);
  bool stopping_ FLOTILLA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace flotilla::storage
