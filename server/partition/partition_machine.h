// A partition as a Raft state machine. The log is the data, so there is little to apply: the high watermark
// moves, producers are remembered, and a trim moves the log's start.
//
// What is derived from the log, the checkpoint, is small: applied index, offsets, ProducerState. It is a row
// of the group, written now and then so that a restart applies only what came after; and it is the data of a
// snapshot, whose anchor is the start of the log. A snapshot's checkpoint is newer than its anchor: entries
// up to checkpoint.applied are applied again for the watermark, and change nothing else.
//
// Apply is deterministic: no clock, no configuration, only entries.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "raft/node/state_machine.h"
#include "server/partition/config.h"
#include "server/partition/producer_state.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"

namespace flotilla::partition {

// The payload of a kTrim entry: records before `log_start` are gone.
Bytes EncodeTrim(Offset log_start);
Result<Offset> DecodeTrim(std::string_view payload);

// Everything derived from the entries up to `applied`.
struct Checkpoint {
  LogIndex applied;
  Offset end_offset;
  Offset log_start;
  ProducerState producers;
};
Bytes EncodeCheckpoint(const Checkpoint& checkpoint);
// CORRUPT_MESSAGE.
Result<Checkpoint> DecodeCheckpoint(std::string_view bytes, const ProducerLimits& limits);

class PartitionMachine final : public raft::StateMachine {
 public:
  // Called on the group's executor, from inside of the group: looks and posts, and calls neither group nor
  // machine.
  class Observer {
   public:
    virtual ~Observer() = default;
    // The high watermark or the log's start may have moved.
    virtual void OnAdvanced() = 0;
    virtual void OnLeadership() = 0;
    virtual void OnFault() = 0;
  };

  // `observer` outlives the machine.
  PartitionMachine(const PartitionOptions& options, Observer& observer) : options_(options), observer_(observer) {}

  // --- views
  LogIndex applied() const { return applied_; }
  // One past the newest committed record.
  Offset high_watermark() const { return state_.end_offset; }
  // The oldest record that may be read.
  Offset log_start() const { return state_.log_start; }
  const ProducerState& producers() const { return state_.producers; }
  // With a fault it leads nothing, and knows nobody who does.
  const Leadership& leadership() const { return leadership_; }
  // Bytes of payloads applied since the start; grows with the high watermark.
  uint64_t applied_bytes() const { return applied_bytes_; }
  // Not OK: an entry that this version cannot read, or the replica has stopped. Nothing moves any more.
  const Status& fault() const { return fault_; }
  uint64_t checkpoints() const { return checkpoints_; }

  // --- the cut
  // Everything up to here may go: the log's last entry whose records are all before log_start(), or an
  // earlier one.
  LogIndex anchor() const { return anchor_; }
  // `anchor` is applied. It never goes back.
  void MoveAnchor(LogIndex anchor);

  // --- raft::StateMachine
  LogIndex AppliedOnOpen(const storage::GroupState& state, const storage::LogReader& reader) override;
  Status Restore(const storage::SnapshotMeta& meta, raft::SnapshotReader& reader) override;
  void Apply(std::span<const storage::Entry> entries, std::vector<storage::StateWrite>* rows) override;
  Result<raft::SnapshotContent> Snapshot() override;
  void OnLeadership(const Leadership& leadership) override;
  void OnFault(const Status& reason) override;

 private:
  void StartAt(const storage::LogAnchor& anchor);
  Status ApplyOne(const storage::Entry& entry);
  Status ApplyData(const storage::Entry& entry);
  bool CheckpointDue() const;
  void EnterFault(Status reason);

  const PartitionOptions options_;
  Observer& observer_;
  LogIndex applied_;  // state_.end_offset is of here; the rest of state_ of state_.applied, which is not smaller
  Checkpoint state_;
  LogIndex anchor_;
  uint64_t applied_bytes_ = 0;
  size_t bytes_since_checkpoint_ = 0;
  uint64_t entries_since_checkpoint_ = 0;
  uint64_t checkpoints_ = 0;
  Leadership leadership_;
  Status fault_;
};

}  // namespace flotilla::partition
