// The logs of all Raft groups of one node, as two roles of one object:
//
//   LogReader  what is durable, read from any thread, never waiting for the writer
//   LogWriter  one queue, one synced write at a time for all groups
//
//   writer.Submit({.group = g, .token = 7, .entries = batch, .hard_state = state}, sink);
//   ... later, on a thread of the writer: sink.OnWritten({g, 7, OK})      // it is on the disk
//
// Two implementations: storage/rocks (RocksDB) and storage/memory (a disk that knows what was synced; the simulator's).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "storage/base/bytes.h"
#include "storage/base/ids.h"
#include "storage/base/limits.h"
#include "storage/base/status.h"
#include "storage/log/entry.h"

namespace flotilla::storage {

// What a replica must not forget (Raft Figure 2, "persistent state").
struct HardState {
  Term term;
  ReplicaId voted_for;  // kNoReplica: nobody in this term
  LogIndex commit;      // a hint: at least this much was committed
  bool operator==(const HardState&) const = default;
};

// A snapshot that the log begins after: where it stands, the members as of then, and how large its data is.
struct SnapshotMeta {
  LogAnchor anchor;
  Bytes configuration;  // as encoded by raft
  uint64_t id = 0;      // names its chunks in this store; chosen by the writer of the snapshot, unique within the group
  uint64_t bytes = 0;   // of all chunks
  uint32_t chunks = 0;
  uint32_t checksum = 0;  // CRC32C of all chunks in order
  bool operator==(const SnapshotMeta&) const = default;
};

// What a group is created with. Kept for its whole life, but for what WriteTask::next_life says.
struct GroupIdentity {
  ReplicaId self;
  std::string label;  // for people: "metadata", "orders/3"
  bool operator==(const GroupIdentity&) const = default;
};

// Everything a group finds when it opens, in memory size independent of the log's.
struct GroupState {
  GroupId group;
  GroupIdentity identity;
  HardState hard_state;
  LogBounds bounds;
  std::vector<TermRun> terms;         // ascending; covers every entry in the log
  std::vector<Entry> configurations;  // every kConfiguration entry in the log, ascending
  SnapshotMeta snapshot;              // snapshot.configuration holds the members at bounds.start
};

// A row of a state machine (metadata image, producer state, consumer offsets), private to the group.
struct StateWrite {
  enum class Kind : uint8_t { kPut, kDelete, kDeletePrefix };
  Kind kind = Kind::kPut;
  std::string key;
  Bytes value;
};

// Chunk `number` of snapshot `id` of the task's group.
struct SnapshotChunkWrite {
  uint64_t id = 0;
  uint32_t number = 0;
  Bytes data;
};

// What one group wants on the disk, all of it or nothing. Parts are applied in the order in which they stand here.
struct WriteTask {
  GroupId group;
  // Handed back on completion; means nothing to the store.
  uint64_t token = 0;

  // Makes the group. GROUP_EXISTS otherwise.
  std::optional<GroupIdentity> create;
  // From here on the group's replica is this one: the same node, a later incarnation. What it has stays. INVALID_ARGUMENT otherwise.
  std::optional<ReplicaId> next_life;
  // Discards the whole log and begins anew after snapshot->anchor. Without `replace_log`, only the start moves: entries up to
  // the anchor go, and those after it stay; the anchor is in the log or at its start.
  std::optional<SnapshotMeta> snapshot;
  bool replace_log = false;
  // The first one's index is at most one past the end and after the start; what stood there and behind it goes. Contiguous
  // in index and offset, sealed.
  std::vector<Entry> entries;
  std::optional<HardState> hard_state;
  std::vector<StateWrite> state;
  std::vector<SnapshotChunkWrite> chunks;
  // Deletes all chunks of these snapshots.
  std::vector<uint64_t> drop_snapshots;
  // Deletes everything of the group, its rows and chunks too.
  bool destroy = false;

  size_t bytes() const;
  // Whether nothing would be written: such a task completes in its turn and costs no sync.
  bool empty() const;
  // Refused while the disk is below its reserve: data entries, rows, further chunks, new groups. Votes, trims, deletes and the
  // small writes by which a log is trimmed or a group reconfigured go on; the first chunk of a snapshot is one of these,
  // since a partition's log can only be cut behind one, and all of its state fits into one.
  bool grows() const;
};

struct WriteDone {
  GroupId group;
  uint64_t token = 0;
  // DISK_FULL: nothing of this task was written; the group may go on. STORAGE_FAILED: final, for this and every later task.
  // Anything else but OK: this task asked for something that its log does not allow; nothing of it was written.
  Status status;
};

// Who learns of completions. Called on threads of the writer, never by two at once, in the order of submission within a group;
// returns quickly (posts to its executor) and does not call Submit.
class WriteSink {
 public:
  virtual ~WriteSink() = default;
  virtual void OnWritten(std::span<const WriteDone> done) = 0;
};

class LogWriter {
 public:
  virtual ~LogWriter() = default;
  // Queues the task. Any thread. `sink` outlives its completion. Tasks of one group are applied in order; tasks that wait at
  // the same time share one sync, fairly between groups (limits::kWriteGroupShareBytes). OVERLOADED when the queue is full
  // (limits::kWriteQueueBytesMax): nothing was queued. STORAGE_FAILED after a failure.
  virtual Status Submit(WriteTask task, WriteSink& sink) = 0;
};

struct ReadLimits {
  size_t bytes = limits::kMiB;  // by Entry::bytes(); the first entry is returned even if it is larger
  size_t entries = limits::kAppendEntriesMax;
};

// Any thread. Sees what was durable when the call began. Errors: GROUP_NOT_FOUND; DATA_LOSS naming group and index when
// an entry is damaged or missing.
class LogReader {
 public:
  virtual ~LogReader() = default;

  virtual std::vector<GroupId> Groups() const = 0;
  virtual Result<GroupState> Load(GroupId group) const = 0;
  // Also of a group that does not load, as long as its identity is sound: whose remains are these?
  virtual Result<GroupIdentity> Identity(GroupId group) const = 0;
  virtual Result<LogBounds> Bounds(GroupId group) const = 0;
  // What the entries of the group's log take, about, by Entry::bytes(): for people and for planning. May lag behind what is written
  // and what is trimmed. Costs no read of the entries, but more than Bounds: not for every call.
  virtual Result<uint64_t> ApproximateBytes(GroupId group) const = 0;

  // Entries in [first, last), in order, at least one unless first == last. TRIMMED: `first` is at or before the start.
  // OFFSET_OUT_OF_RANGE: `last` is past the end + 1.
  virtual Result<std::vector<Entry>> Read(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const = 0;
  // The same if all of it is in memory, else nothing: never touches the disk.
  virtual std::optional<std::vector<Entry>> ReadCached(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const = 0;

  // The header of the entry that holds the record at `offset`. OFFSET_OUT_OF_RANGE with both ends (details "start_offset",
  // "end_offset") outside of [start, end).
  virtual Result<EntryHeader> FindOffset(GroupId group, Offset offset) const = 0;
  // The first entry whose max_timestamp_ms is at or after `timestamp_ms`; nothing when all are older.
  virtual Result<std::optional<EntryHeader>> FindTimestamp(GroupId group, int64_t timestamp_ms) const = 0;

  // A state machine's row; nothing when there is none.
  virtual Result<std::optional<Bytes>> GetState(GroupId group, std::string_view key) const = 0;
  struct StateRow {
    std::string key;
    Bytes value;
  };
  // Rows whose keys start with `prefix` and are > `after` (when not empty), in order, up to about `bytes_max`, at least one.
  virtual Result<std::vector<StateRow>> ScanState(GroupId group, std::string_view prefix, std::string_view after,
                                                  size_t bytes_max) const = 0;
  // DATA_LOSS: missing or damaged.
  virtual Result<Bytes> ReadSnapshotChunk(GroupId group, uint64_t id, uint32_t number) const = 0;
};

// How long syncs took: bucket i counts those below 2^i microseconds that are in none before it; the last one has no end (4 s and more).
using SyncTimes = std::array<uint64_t, 24>;
size_t SyncBucket(uint64_t nanos);

// Of the synced writes, since the start.
struct SyncCounters {
  uint64_t syncs = 0;
  uint64_t sync_nanos_total = 0;
  uint64_t sync_nanos_max = 0;
  uint64_t sync_nanos_running = 0;  // now: how long the write under way takes already; 0: none
  SyncTimes sync_times{};
};

// Numbers that people watch. All of them since the start, unless said otherwise.
struct StoreCounters : SyncCounters {
  uint64_t tasks = 0;
  uint64_t entries = 0;
  uint64_t bytes_written = 0;  // payloads and headers handed to the log
  uint64_t queue_bytes = 0;    // now
  uint64_t queue_tasks = 0;    // now
  uint64_t refused_disk_full = 0;
  uint64_t wal_bytes = 0;  // now
  uint64_t stall_micros = 0;
  uint64_t background_errors = 0;
  uint64_t corruptions = 0;  // reads that ended in DATA_LOSS
  uint64_t free_bytes = 0;   // of the file system, when last looked at
  bool failed = false;       // latched
  // What the engine wrote for bytes_written: their sum over bytes_written is the write amplification.
  uint64_t wal_written_bytes = 0;
  uint64_t flushed_bytes = 0;
  uint64_t compacted_bytes = 0;
};

// A node's store.
class LogStore : public LogReader, public LogWriter {
 public:
  virtual StoreCounters Counters() const = 0;
  // A part of it that costs no look at the disk: also for those who must not wait for it.
  virtual SyncCounters Syncs() const = 0;
  // The failure that latched, or OK.
  virtual Status health() const = 0;
};

}  // namespace flotilla::storage
