// What the groups of one host share, and how they reach it.
#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "raft/node/heartbeat_hub.h"
#include "raft/node/peer_outbox.h"
#include "raft/node/raft_host.h"
#include "raft/node/recovery_budget.h"
#include "raft/node/snapshot_sender.h"
#include "raft/node/timer_wheel.h"

namespace flotilla::raft {

class Group;

// Entries that are not in memory. `ticket` is for whoever asked, to tell whether the answer still means something.
struct EntriesWanted {
  enum class Purpose : uint8_t { kApply, kFollower, kAnchor };
  Purpose purpose = Purpose::kApply;
  uint64_t ticket = 0;
  LogIndex first;
  LogIndex last;  // exclusive
  size_t bytes_max = 0;
  ReplicaId to;          // kFollower
  Term term;             // kFollower
  bool charged = false;  // kFollower: `bytes_max` was taken from the recovery budget
};
struct ChunkWanted {
  uint64_t transfer = 0;
  uint64_t snapshot = 0;
  uint32_t number = 0;
};

// A read on the blocking executor, on behalf of one opening of a group: an answer for an earlier one is dropped.
struct ReadJob {
  GroupId group;
  uint64_t opening = 0;
  std::variant<EntriesWanted, ChunkWanted> wanted;
};
struct ReadAnswer {
  ReadJob job;
  std::variant<Result<std::vector<storage::Entry>>, Result<Bytes>> content;
};

// Where posted work comes back to. It asks first whether the host is still there.
class HostPort {
 public:
  virtual ~HostPort() = default;
  virtual void RunPostedTurn() = 0;
  virtual void OnRead(ReadAnswer answer) = 0;
  virtual void OnWritten(const std::vector<storage::WriteDone>& done) = 0;
};
using HostRef = std::weak_ptr<HostPort* const>;

class NodeContext {
 public:
  NodeContext(const HostOptions& options, Executor& executor, BlockingExecutor& readers, storage::LogStore& store, Transport& transport,
              storage::WriteSink& sink, HostPort& port, Random random);

  // The group runs in the next turn.
  void Wake(Group& group);
  // A turn runs soon, for something beside groups.
  void ScheduleTurn();
  void PostedTurnBegins() { turn_posted_ = false; }
  // The groups of this turn, in the order in which they were woken. Given back for its memory.
  std::vector<Group*> TakeAwake();
  void GiveBack(std::vector<Group*> groups);
  // A write was refused because the queue is full: the group is asked again at the next tick.
  void RetryWritesOf(Group& group);
  std::vector<Group*> TakeBlocked();
  // The group dies.
  void Forget(const Group& group);
  void Read(ReadJob job);
  uint64_t NextToken() { return ++last_token_; }
  // The store takes nothing more: every group ends with this turn.
  void StorageFailed(const Status& why);
  // Whether one more group may ask for votes in this tick.
  bool AdmitCampaign();
  HostRef ref() const { return self_; }

  const HostOptions options;
  Executor& executor;
  BlockingExecutor& readers;
  storage::LogStore& store;
  storage::WriteSink& sink;
  Random random;
  Tick now = 0;
  TimerWheel wheel;
  PeerOutbox outbox;
  HeartbeatHub heartbeats;
  SnapshotSender snapshots;
  RecoveryBudget recovery;
  // Set: every group has to be told.
  Status storage_failure;
  HostCounters counters;

 private:
  std::shared_ptr<HostPort* const> self_;
  std::vector<Group*> awake_;    // each once
  std::vector<Group*> spare_;    // memory of the last turn
  std::vector<Group*> blocked_;  // with writes that the store has not taken, each once
  uint64_t last_token_ = 0;
  bool turn_posted_ = false;
  Tick campaign_tick_ = 0;
  uint32_t campaigns_ = 0;
};

}  // namespace flotilla::raft
