// A LogStore over a simulated disk. It has no thread and no clock: its owner says when a sync begins and when it ends, and
// so how slow the disk is.
//
//   store.Submit(task, sink);
//   store.BeginSync();      // what is queued, up to one batch, is written: a crash now may lose, tear or keep it
//   store.CompleteSync();   // ... is durable and readable, and the sinks learn of it
//
// Tasks are batched as in the RocksDB store (FairQueue) and judged by the same rules (PlanTask). Single-threaded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/limits.h"
#include "storage/log/fair_queue.h"
#include "storage/log/log_store.h"
#include "storage/memory/memory_disk.h"

namespace flotilla::storage {

struct MemoryStoreOptions {
  // Of each group, what ReadCached serves: the last entries written since the store was opened.
  size_t tail_bytes = limits::kTailBytesMax;
  uint64_t reserve_bytes = limits::kDiskReserveBytes;
  // What syncs are timed with; they take no time without it.
  std::function<MonotonicTime()> now = [] { return MonotonicTime{}; };
};

class MemoryStore final : public LogStore {
 public:
  // Recovers what the disk holds: an unsynced batch is kept when it is whole and cut when it is torn. `disk` outlives the
  // store. DIRECTORY_LOCKED: another store is open over it.
  static Result<std::unique_ptr<MemoryStore>> Open(MemoryDisk& disk, MemoryStoreOptions options = {});
  // As a crash of the process: what is queued is gone, what is written stays in the disk's cache, no sink is called.
  ~MemoryStore() override;

  // --- The disk's pace

  // Writes the next batch. False: nothing is queued, or a sync is under way.
  bool BeginSync();
  // Makes it durable and calls the sinks, or latches when write or sync failed. False: no sync is under way.
  bool CompleteSync();
  // Both. False: there was nothing to do.
  bool SyncOnce() { return BeginSync() && CompleteSync(); }
  bool syncing() const { return syncing_; }
  bool idle() const { return !syncing_ && queue_.empty(); }

  // --- LogStore
  Status Submit(WriteTask task, WriteSink& sink) override;
  std::vector<GroupId> Groups() const override;
  Result<GroupState> Load(GroupId group) const override;
  Result<GroupIdentity> Identity(GroupId group) const override;
  Result<LogBounds> Bounds(GroupId group) const override;
  Result<uint64_t> ApproximateBytes(GroupId group) const override;
  Result<std::vector<Entry>> Read(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const override;
  std::optional<std::vector<Entry>> ReadCached(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const override;
  Result<EntryHeader> FindOffset(GroupId group, Offset offset) const override;
  Result<std::optional<EntryHeader>> FindTimestamp(GroupId group, int64_t timestamp_ms) const override;
  Result<std::optional<Bytes>> GetState(GroupId group, std::string_view key) const override;
  Result<std::vector<StateRow>> ScanState(GroupId group, std::string_view prefix, std::string_view after, size_t bytes_max) const override;
  Result<Bytes> ReadSnapshotChunk(GroupId group, uint64_t id, uint32_t number) const override;
  StoreCounters Counters() const override;
  SyncCounters Syncs() const override { return Counters(); }
  Status health() const override { return failure_; }

 private:
  // The entries [first, end of the log] of a group that are in memory.
  struct Tail {
    LogIndex first;
    size_t bytes = 0;
  };

  MemoryStore(MemoryDisk& disk, MemoryStoreOptions options) : disk_(disk), options_(options) {}

  Result<const GroupImage*> Find(GroupId group) const;
  Status Damaged(const Entry& entry) const;
  Status CheckBeforeWrite(const WriteTask& task);
  Status ApplyAndRemember(WriteTask& task);
  void CountSync();
  void Latch(const char* what);
  void Complete(const std::vector<QueuedTask>& tasks, const std::vector<Status>& outcomes);

  MemoryDisk& disk_;
  const MemoryStoreOptions options_;
  FairQueue queue_;
  std::map<GroupId, Tail> tails_;
  bool syncing_ = false;
  MonotonicTime sync_began_;
  bool write_failed_ = false;  // of the sync under way
  bool completing_ = false;
  Status failure_;
  mutable StoreCounters counters_;
};

}  // namespace flotilla::storage
