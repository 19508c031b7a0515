// A simulated disk: what was synced, what was written and not yet synced, and what goes wrong. It outlives the stores that
// are opened over it, as a disk outlives processes.
//
//   MemoryDisk disk;
//   auto store = MemoryStore::Open(disk);
//   ...
//   store->reset();                  // the process dies: what it wrote is in the system's cache
//   disk.PowerCut(12);               // so does the machine: 12 bytes of the unsynced write reached the platter
//   store = MemoryStore::Open(disk); // recovery cuts them
//
// Single-threaded.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/bytes.h"
#include "storage/base/ids.h"
#include "storage/log/entry.h"
#include "storage/log/fair_queue.h"
#include "storage/log/log_store.h"

namespace flotilla::storage {

// A chunk with the checksum it was written with.
struct StoredChunk {
  Bytes data;
  uint32_t checksum = 0;
  bool operator==(const StoredChunk&) const = default;
};

// Everything durable of one group.
struct GroupImage {
  using ChunkKey = std::pair<uint64_t, uint32_t>;  // snapshot id, number

  GroupState state;
  std::deque<Entry> entries;  // (state.bounds.start, state.bounds.end]
  std::map<std::string, Bytes, std::less<>> rows;
  std::map<ChunkKey, StoredChunk> chunks;

  // `index` is in the log.
  const Entry& At(LogIndex index) const { return entries[index - state.bounds.first_index()]; }
  friend bool operator==(const GroupImage& a, const GroupImage& b);
};

using DiskImage = std::map<GroupId, GroupImage>;

// How often what happened to a disk, over all its stores.
struct DiskEvents {
  uint64_t syncs = 0;
  uint64_t syncs_failed = 0;
  uint64_t writes_failed = 0;
  uint64_t unsynced_lost = 0;  // batches of which a power cut left nothing
  uint64_t unsynced_torn = 0;  // ... a part, which recovery cut
  uint64_t unsynced_kept = 0;  // batches never acknowledged that were found whole
  uint64_t bits_flipped = 0;
  uint64_t wipes = 0;
};

class MemoryDisk {
 public:
  MemoryDisk() = default;
  MemoryDisk(const MemoryDisk&) = delete;
  MemoryDisk& operator=(const MemoryDisk&) = delete;

  // --- What an invariant may look at. Durable only; valid until the disk changes.
  const DiskImage& Image() const { return durable_; }
  // Null when the disk has no such group.
  const GroupImage* Find(GroupId group) const;
  // Of the batch that was written and not yet synced; 0 when there is none.
  size_t unsynced_bytes() const { return unsynced_.bytes; }
  bool in_use() const { return in_use_; }
  const DiskEvents& events() const { return events_; }

  // --- Faults. A machine that is cut, wiped or swapped runs no store: the caller has dropped it.

  // Of the unsynced batch only the first `survived_bytes` remain: none, some (torn), or unsynced_bytes() (all of it,
  // although nobody was told).
  void PowerCut(size_t survived_bytes);
  // A new, empty disk.
  void Wipe();
  // The next sync fails (or the n-th after it): the store that sees it latches.
  void FailSync(uint64_t after = 0) { fail_sync_in_ = after + 1; }
  // The same for the write before a sync: nothing of the batch is on the disk.
  void FailWrite(uint64_t after = 0) { fail_write_in_ = after + 1; }
  // What the file system says is free.
  void SetFreeBytes(uint64_t bytes) { free_bytes_ = bytes; }
  uint64_t free_bytes() const { return free_bytes_; }
  // Flips one bit of a durable entry's payload, or of its checksum when it has none. `bit` is taken modulo the size.
  // False: there is no such entry.
  bool FlipBit(GroupId group, LogIndex index, uint64_t bit);
  bool FlipChunkBit(GroupId group, uint64_t snapshot, uint32_t chunk, uint64_t bit);

 private:
  friend class MemoryStore;

  // A batch on its way: complete when `survived` equals `bytes`.
  struct Unsynced {
    std::vector<QueuedTask> tasks;
    std::vector<Status> refused;  // per task, decided before it was written
    size_t bytes = 0;
    size_t survived = 0;
  };

  // Puts what `task` asks for into the durable state, or says why not.
  Status Apply(WriteTask& task);
  // What a store does with the unsynced batch it finds.
  void Recover();

  DiskImage durable_;
  Unsynced unsynced_;
  DiskEvents events_;
  uint64_t free_bytes_ = uint64_t{1} << 40;
  uint64_t fail_sync_in_ = 0;  // 0: never
  uint64_t fail_write_in_ = 0;
  bool in_use_ = false;
};

}  // namespace flotilla::storage
