// Replicas of one group over RaftCore, the messages between them, and their disks; time moves only when told
// to.
//
// Everything that a core asks for is carried out here in the order in which the core asks: messages go to the
// pool, tasks to the disk, committed entries to the state machine. Every input is followed by the core's own
// invariants and by the oracle's. What breaks one throws a Failure.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "raft/core/raft_core.h"
#include "tests/raft/disk.h"
#include "tests/raft/oracle.h"

namespace flotilla::raft::scenario {

inline constexpr GroupId kGroup{7};

// The scenario is over: `what` says why.
struct Failure {
  std::string what;
};

struct Read {
  ReplicaId at;
  LogIndex floor;  // what was committed anywhere when it was asked
  std::optional<ReadReady> ready;
};

struct Replica {
  ReplicaId id;
  CoreOptions options;
  Disk disk;
  std::unique_ptr<RaftCore> core;  // null: not started, or crashed
  uint64_t starts = 0;
  Tick now = 0;
  bool apply_paused = false;
  bool busy = false;  // inputs come in, effects stay in the core: a driver may take many before it looks

  // Of the running core; forgotten when it crashes.
  std::vector<LogFetch> fetches;
  std::vector<ReplicaId> snapshots_wanted;
  std::optional<storage::SnapshotMeta> restore;
  uint64_t restore_token = 0;
  LogIndex apply_to;
  bool heartbeat_wanted = false;
  LogIndex machine_at;
  std::vector<std::string> machine;  // payloads of the data entries applied, in order

  bool running() const { return core != nullptr; }
};

class Cluster {
 public:
  using TraceSink = std::function<void(const std::string&)>;
  using Replicas = std::map<ReplicaId, Replica>;

  explicit Cluster(TraceSink trace);

  CoreOptions& options() { return options_; }

  // --- replicas
  // A replica with an empty disk that knows `members` (none: it waits to be told). Not running yet.
  void Create(ReplicaId id, const Configuration& members);
  const Replicas& replicas() const { return replicas_; }
  Replica& At(ReplicaId id);
  void Start(Replica& replica);
  void Crash(Replica& replica, size_t surviving_tasks);
  // A new, empty disk. The replica is crashed.
  void Wipe(Replica& replica);

  // --- the network
  std::vector<Message>& pool() { return pool_; }
  // Takes the message out of the pool and gives it to its receiver, if there is a way and somebody runs
  // there.
  void Deliver(size_t position);
  void Drop(size_t position);
  void Cut(ReplicaId from, ReplicaId to) { cut_.insert({from, to}); }
  void Heal() { cut_.clear(); }
  void Heal(ReplicaId from, ReplicaId to) { cut_.erase({from, to}); }
  bool IsCut(ReplicaId from, ReplicaId to) const { return cut_.contains({from, to}); }
  // Loses what is on its way over cut links.
  void DropOverCutLinks();

  // --- time and disk
  void Tick1(Replica& replica);
  // Ends the oldest task. False: there is none.
  bool SyncOne(Replica& replica);
  bool AnswerFetch(Replica& replica, const Status& error);
  bool SendSnapshot(Replica& replica);
  // Delivers, syncs, reads and sends snapshots until nothing is left to do.
  void Settle();

  // --- inputs to a core
  // `input` acts on the core; its effects are carried out and checked.
  template <typename Input>
  auto Do(Replica& replica, Input input) {
    replica.core->AdvanceTo(replica.now);
    if constexpr (std::is_void_v<decltype(input(*replica.core))>) {
      input(*replica.core);
      CarryOut(replica);
    } else {
      auto result = input(*replica.core);
      CarryOut(replica);
      return result;
    }
  }
  void Compact(Replica& replica, LogIndex index);
  Status AskRead(Replica& replica, const std::string& name);
  void PutInPool(Message message);
  void ResumeApply(Replica& replica);
  void EndBusy(Replica& replica);

  const std::map<std::string, Read>& reads() const { return reads_; }
  // What is wrong between replicas, now. Throws.
  void CheckAll();
  std::string Describe() const;

 private:
  void EndTransfer(ReplicaId from, ReplicaId to, std::optional<LogIndex> anchor);
  void CarryOut(Replica& replica);
  void Take(Replica& replica, Output output);
  void Apply(Replica& replica);
  void RestoreMachine(Replica& replica, LogIndex index);
  void NoteRead(const ReadReady& ready);
  void TraceStateChange(const Replica& replica);
  void Trace(const std::string& line) const { trace_(line); }

  CoreOptions options_;
  Replicas replicas_;
  std::vector<Message> pool_;
  std::set<std::pair<ReplicaId, ReplicaId>> cut_;
  std::map<std::string, Read> reads_;
  std::map<uint64_t, std::string> read_names_;
  std::map<ReplicaId, std::string> last_shown_;
  uint64_t next_read_ = 1;
  Oracle oracle_;
  TraceSink trace_;
};

// "1-2@1 3@2": the ids of a log, runs of one term together.
std::string LogText(const RaftLog& log);
// The entry of a running replica's log, from memory or its disk; null when it has neither.
std::optional<Entry> EntryAt(const Replica& replica, LogIndex index);

template <typename... Parts>
std::string Text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

}  // namespace flotilla::raft::scenario
