// The writing half of the store: two threads that take turns, so that the disk has something to do while a batch is made and while
// one goes into the memtables. At most one batch is written and not synced.
//
//   turn 1   build | write, sync | memtables, evidence, publish, complete
//   turn 2           build ......| write, sync | memtables, evidence, publish, complete
//   turn 3                                       build ...
//
//   build    take from the queue, refuse what grows when the disk is full, decide, add to the batch
//   publish  readers see it, and who submitted it is told: never before the sync and its evidence, and in the order of the turns
//
// A batch that removes something, or makes or destroys a group, waits until the one ahead of it is published.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "storage/base/clock.h"
#include "storage/rocks/evidence.h"
#include "storage/rocks/janitor.h"
#include "storage/rocks/store_hooks.h"
#include "storage/rocks/task_batch.h"
#include "storage/rocks/turns.h"

namespace flotilla::storage {

// Keeps room for what must not fail: flushes, rewritten files, votes.
class DiskReserve {
 public:
  DiskReserve(FreeSpace& free_space, uint64_t reserve_bytes) : free_space_(free_space), reserve_bytes_(reserve_bytes) {}

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
  void Stop();

  Status Submit(WriteTask task, WriteSink& sink);
  // The files of the job are gone. Any thread.
  void Reclaimed(const ReclaimJob& job) { turns_.PushReclaimed(job); }
  void Count(StoreCounters* counters) const;
  void CountSyncs(SyncCounters* counters) const;

 private:
  // A thread, and what it carries through its turn.
  struct Lane {
    explicit Lane(TaskBatch empty) : batch(std::move(empty)) {}

    std::thread thread;
    TaskBatch batch;
    uint64_t turn = 0;
    std::vector<QueuedTask> tasks;
    std::vector<Status> outcomes;  // of the tasks, in their order
    size_t bytes = 0;              // of the tasks
    std::vector<ReclaimJob> reclaimed;
    std::set<GroupId> forgotten;  // by the janitor
    uint64_t batch_number = 0;    // on the disk; 0: nothing was written
    uint64_t sync_nanos = 0;
    bool passed_sync = false;
    bool last = false;
  };
  struct Numbers {
    std::atomic<uint64_t> syncs{0}, sync_nanos_total{0}, sync_nanos_max{0};
    std::array<std::atomic<uint64_t>, std::tuple_size_v<SyncTimes>> sync_times{};
    std::atomic<MonotonicTime> writing_since{};  // the epoch: nothing is being written
    std::atomic<uint64_t> tasks{0}, entries{0}, bytes_written{0}, refused_disk_full{0};
  };

  void Loop(Lane& lane);
  const TaskBatch* BatchAhead(const Lane& lane) const;

  void Build(Lane& lane);
  void AddTasks(Lane& lane, std::vector<QueuedTask> tasks);
  Status AddTask(Lane& lane, const WriteTask& task);

  void Write(Lane& lane);
  void FreezeWhatLosesEntries(Lane& lane);
  rocksdb::Status WriteAndPassOnceSynced(Lane& lane);
  void PassSync(Lane& lane);

  void Publish(Lane& lane);
  Status RecordEvidence(const Lane& lane);
  void CountWritten(const Lane& lane);
  void PublishGroups(Lane& lane);
  void PublishGroup(GroupId id, GroupDraft* draft);
  void ScheduleReclaim(GroupId id, const GroupDraft& draft);
  void Complete(Lane& lane);
  void SyncEvidence(bool now_or_never);

  const Parts parts_;
  const uint64_t wal_check_bytes_;
  const size_t tail_bytes_max_;
  Janitor* janitor_ = nullptr;
  Turns turns_;

  // Of the turn that is being built.
  FamilyPool pool_;
  std::map<GroupId, uint32_t> destroyed_;
  DiskReserve reserve_;
  uint64_t batch_number_ = 0;  // of the last batch that was sealed

  // Of the turn that is being written.
  uint64_t wal_position_ = 0;
  uint64_t wal_checked_at_ = 0;

  // Of the turn that is being published.
  TailBudget tails_;

  Numbers numbers_;
  std::array<Lane, 2> lanes_;
};

}  // namespace flotilla::storage
