// The two kinds of state machine that groups are made for, simulated: both keep a map of cells.
//
//   RegisterMachine   a small state that is snapshotted whole, at what it has applied (the metadata image, a
//   coordinator) PartitionMachine  its log is its data: a snapshot stands at the log's start, and carries the
//   dedupe state of its producers with
//                     the index up to which that already includes the log
//
// Either may keep its cells as rows of the store, or replay the log when it opens.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "raft/node/state_machine.h"
#include "tests/sim/command.h"

namespace flotilla::sim {

enum class MachineKind : uint8_t { kRegister, kPartition };

struct MachineOptions {
  MachineKind kind = MachineKind::kRegister;
  bool rows = true;
  size_t chunk_bytes = 64 * 1024;
};

// Who watches a machine.
class MachineObserver {
 public:
  virtual ~MachineObserver() = default;
  // False: the process has just died; nothing more happens.
  virtual bool BeforeApply(GroupId group) = 0;
  virtual void OnStarted(GroupId group, LogIndex applied, bool from_snapshot) = 0;
  virtual void OnApplied(const storage::Entry& entry, std::optional<uint64_t> state_hash) = 0;
  virtual void OnFault(GroupId group, const Status& reason) = 0;
};

class SimMachine : public raft::StateMachine {
 public:
  // `observer` outlives it.
  SimMachine(GroupId group, const MachineOptions& options, MachineObserver& observer)
      : group_(group), options_(options), observer_(observer) {}

  LogIndex applied() const { return applied_; }
  // The same on all replicas that have applied the same; nothing while the state is ahead of `applied`.
  std::optional<uint64_t> StateHash() const;

  LogIndex AppliedOnOpen(const storage::GroupState& state, const storage::LogReader& reader) override;
  Status Restore(const storage::SnapshotMeta& meta, raft::SnapshotReader& reader) override;
  void Apply(std::span<const storage::Entry> entries, std::vector<storage::StateWrite>* rows) override;
  Result<raft::SnapshotContent> Snapshot() override;
  void OnFault(const Status& reason) override { observer_.OnFault(group_, reason); }

 protected:
  // What a command does to the cells.
  virtual void Execute(const Command& command, const storage::Entry& entry) = 0;
  // Where a log that begins with a snapshot of now starts.
  virtual LogIndex SnapshotAnchor() const = 0;
  virtual void OnTrim(LogIndex /*start*/) {}

  std::optional<std::string_view> Cell(const std::string& key) const;
  void SetCell(const std::string& key, std::string value);

 private:
  void LoadRows(const storage::LogReader& reader);
  void WriteRows(std::vector<storage::StateWrite>* rows);
  std::string Serialize() const;
  bool Deserialize(std::string_view text);
  void Clear();

  const GroupId group_;
  const MachineOptions options_;
  MachineObserver& observer_;
  std::map<std::string, std::string> cells_;
  uint64_t cells_hash_ = 0;
  LogIndex applied_;
  LogIndex included_;               // the cells already reflect entries up to here
  std::vector<std::string> dirty_;  // cells to be written as rows
  bool rows_stale_ = false;         // all of them
};

std::unique_ptr<SimMachine> MakeMachine(GroupId group, const MachineOptions& options, MachineObserver& observer);

}  // namespace flotilla::sim
