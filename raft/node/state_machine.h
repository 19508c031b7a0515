// What a group is for: the metadata image, a partition, a coordinator. Called on the group's executor only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "raft/core/raft_core.h"
#include "storage/log/log_store.h"

namespace flotilla::raft {

// A snapshot in the making. `anchor` is where a log that begins with it starts: the last entry that the snapshot stands for. For
// state machines that is what they have applied; a partition, whose log is its data, names an earlier one (the start of its
// log), and its data says up to which index it already includes the effects of entries.
struct SnapshotContent {
  LogIndex anchor;
  // In order; each at most limits::kSnapshotChunkBytes; at least one.
  std::vector<Bytes> chunks;
};

// Reads the chunks of an installed snapshot, in order. DATA_LOSS: missing or damaged.
class SnapshotReader {
 public:
  virtual ~SnapshotReader() = default;
  virtual uint32_t chunks() const = 0;
  virtual Result<Bytes> Chunk(uint32_t number) = 0;
};

class StateMachine {
 public:
  virtual ~StateMachine() = default;

  // When the group opens: how far rows of its own (StateWrite) already reflect the log, or the snapshot's anchor. Entries after
  // it are applied again.
  virtual LogIndex AppliedOnOpen(const storage::GroupState& state, const storage::LogReader& reader) = 0;
  // Starts anew from a snapshot: when the group opens with nothing newer of its own (AppliedOnOpen is at the anchor and the
  // anchor is not 0), and when one was installed. Rows that are in the store are of an earlier state then; those not yet written are
  // dropped. The next rows have to begin with deleting them (kDeletePrefix), and until those are written, an opening must still find
  // that its rows are older than the anchor. Reads the chunks while everything else on the executor waits.
  virtual Status Restore(const storage::SnapshotMeta& meta, SnapshotReader& reader) = 0;
  // Committed and durable entries, in order, each once in the life of this object (and again after a restart). Entries of every kind
  // are shown; those of kind kNoop and kConfiguration need no action. Rows put into `rows` are written with the group's next
  // task that brings data, or by themselves after a while: they may be lost by a crash, never reordered, and never reach the disk
  // before the entries they come from. Rows of one call are written together.
  virtual void Apply(std::span<const storage::Entry> entries, std::vector<storage::StateWrite>* rows) = 0;
  // The state as it is now, to be sent or kept so that the log can be cut.
  virtual Result<SnapshotContent> Snapshot() = 0;

  // The replica's place in the group changed. `surely`: leads, and has applied everything committed before its term.
  struct Leadership {
    Role role = Role::kFollower;
    Term term;
    ReplicaId leader;
    bool surely = false;
  };
  virtual void OnLeadership(const Leadership& /*leadership*/) {}
  virtual void OnConfiguration(const Configuration& /*configuration*/, LogIndex /*index*/) {}
  // This replica has stopped taking part for good (damage, failed storage).
  virtual void OnFault(const Status& /*reason*/) {}
};

}  // namespace flotilla::raft
