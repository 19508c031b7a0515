// The way of records out of the log: whole batches as they are stored, below the high watermark only, and
// only while this replica surely leads.
//
// A call is a row that goes through: where does it start -> which entry is that -> is there enough -> read,
// or wait. Entries come from the group's memory, else from the store's, else from a reader. A row that waits
// costs a few hundred bytes and nothing per tick.
//
// Sinks are called on the group's executor, sometimes before the call returns; they post and do not call
// back.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

#include "raft/node/raft_host.h"
#include "server/partition/batch.h"
#include "server/partition/context.h"

namespace flotilla::partition {

// Where to begin.
struct Earliest {};
struct Latest {};
// The first record at or after this time; the high watermark when all are older. In a compressed batch, the
// batch's first record.
struct AtTime {
  int64_t timestamp_ms = 0;
};
struct LastRecords {
  uint64_t count = 0;
};
using StartPosition = std::variant<Earliest, Latest, Offset, AtTime, LastRecords>;

struct FetchCall {
  StartPosition start = Earliest{};
  // Answer when there are so many bytes of batches, or at the deadline; more than max_bytes counts as that.
  size_t min_bytes = 1;
  size_t max_bytes = flotilla::limits::kMiB;
  // Not later than now: at once.
  raft::Tick deadline = 0;
};

struct FetchedBatch {
  Offset base_offset;
  uint32_t record_count = 0;
  Term leader_epoch;
  int64_t min_timestamp_ms = kNoTimestamp;
  int64_t max_timestamp_ms = kNoTimestamp;
  BatchHeader header;
  Bytes records;  // as stored; shares the log's memory
};

// For a reader that does not accept the batch's codec: replaces the records by what they decompress to. Any
// thread. DATA_LOSS if they do not, which was checked when they were appended.
Status DecompressBatch(FetchedBatch* batch, Decompressor& decompressor);

struct FetchResult {
  // OFFSET_OUT_OF_RANGE (log_start_offset, high_watermark, offset), NOT_LEADER, NO_LEADER, CANCELLED; of the only replica also
  // DATA_LOSS, STORAGE_FAILED, REPLICA_FAULTED.
  Status status;
  // Where the answer begins, now that the start is looked up; the first batch may begin earlier.
  Offset start_offset;
  // Where to go on.
  Offset next_offset;
  Offset log_start_offset;
  Offset high_watermark;
  Term leader_epoch;
  std::vector<FetchedBatch> batches;
};

class FetchSink {
 public:
  virtual ~FetchSink() = default;
  virtual void OnFetched(uint64_t token, FetchResult result) = 0;
};

struct FetchCounters {
  uint64_t calls = 0;
  uint64_t batches = 0;
  uint64_t bytes = 0;
  uint64_t from_memory = 0;       // reads answered by the group's tail
  uint64_t from_store = 0;        // ... by the store's memory
  uint64_t from_disk = 0;         // ... by a reader
  uint64_t places_looked_up = 0;  // offsets whose entry had to be searched
  uint64_t waiting = 0;           // now
};

class FetchPath final : public raft::ReadSink {
 public:
  explicit FetchPath(Context& context) : context_(context), alive_(std::make_shared<bool>(true)) {}

  // A ticket for Cancel. OVERLOADED: too many calls wait; the sink hears nothing of this one.
  Result<uint64_t> Fetch(const FetchCall& call, uint64_t token, FetchSink& sink);
  // Where `start` is, and both ends, no older than the call: the leader makes sure that it still leads. No
  // batches.
  Result<uint64_t> Locate(const StartPosition& start, uint64_t token, FetchSink& sink);
  // The call is not answered any more. Nothing happens when it was answered before.
  void Cancel(uint64_t ticket);
  // The sink is gone: all its calls are cancelled.
  void Forget(FetchSink& sink);

  // The machine applied something, or leads no longer.
  void Advance();
  void OnTick();
  void Close(const Status& outcome);
  const FetchCounters& counters() const { return counters_; }

  void OnRead(uint64_t token, const Status& status, LogIndex index) override;

 private:
  enum class Stage : uint8_t {
    kConfirming,  // Locate, and what is beyond the end: asks the group whether it still leads
    kStarting,    // `start` is not an offset yet
    kReading,     // moves on whenever it is asked to
    kAway,        // a reader is at work for it
    kParked,      // waits for records or the deadline
  };
  struct Row {
    FetchSink* sink;
    uint64_t token;
    FetchCall call;
    Stage stage = Stage::kStarting;
    bool locate = false;
    bool confirmed = false;  // that it leads, since the call began
    Offset offset = {};      // from kReading on
    LogIndex place = {};     // of the entry that holds it; 0: not known
    LogIndex read_end = {};  // of the last read, exclusive: what was applied then, and how many bytes that was
    uint64_t read_bytes = 0;
    uint64_t wake_bytes = 0;  // kParked: when the machine has applied so many
  };
  // What a reader is asked for, and what it answers.
  struct EntriesWanted {
    LogIndex first;
    LogIndex last;
    size_t bytes = 0;
  };
  using Wanted = std::variant<AtTime, Offset, EntriesWanted>;
  using Found = std::variant<Result<std::optional<Offset>>, Result<storage::EntryHeader>, Result<std::vector<storage::Entry>>>;
  struct ReaderAnswer;  // back on the executor
  struct ReaderJob;     // on a reader
  using Rows = std::map<uint64_t, Row>;

  Result<uint64_t> Admit(const FetchCall& call, uint64_t token, FetchSink& sink);
  // Takes the row as far as it gets. The row may be gone afterwards.
  void Run(uint64_t number);
  void Confirm(Row* row, uint64_t number);
  bool Start(Row* row, uint64_t number);
  void Read(Row* row, uint64_t number);
  Status CheckRange(Offset offset) const;
  bool FindPlace(Row* row, uint64_t number);
  std::optional<std::vector<storage::Entry>> ReadMemory(const EntriesWanted& wanted);
  void TakeEntries(Row* row, uint64_t number, const std::vector<storage::Entry>& entries);
  void Park(Row* row, uint64_t number, uint64_t wake_bytes);
  void Unpark(Row* row, uint64_t number);

  void Ask(Row* row, uint64_t number, const Wanted& wanted);
  static Found LookUp(const storage::LogReader& log, GroupId group, const Wanted& wanted);
  void OnFound(uint64_t number, const Found& found);
  void OnTime(Row* row, uint64_t number, const Result<std::optional<Offset>>& offset);
  void OnPlace(Row* row, uint64_t number, const Result<storage::EntryHeader>& header);
  void OnEntries(Row* row, uint64_t number, const Result<std::vector<storage::Entry>>& entries);

  void Fail(uint64_t number, const Status& status);
  void Answer(uint64_t number, FetchResult result);
  FetchResult Empty(const Row& row) const;

  void RememberPlace(Offset offset, LogIndex place);

  Context& context_;
  std::shared_ptr<bool> alive_;  // what readers look at before they come back
  uint64_t next_number_ = 1;
  Rows rows_;
  std::multimap<uint64_t, uint64_t> by_bytes_;       // parked: wake_bytes -> row
  std::multimap<raft::Tick, uint64_t> by_deadline_;  // parked
  std::unordered_map<Offset, LogIndex> places_;
  std::deque<Offset> places_order_;
  Offset log_start_seen_;
  FetchCounters counters_;
};

}  // namespace flotilla::partition
