// One simulated machine: a disk that outlives everything, and on it, while it is up, a process with the real
// store and the real RaftHost. The process can die between any two of its effects: from then on nothing that
// the code still does has an effect.
//
//   Node node(id, environment, owner);
//   node.Boot();
//   node.Post([&] { node.host().Propose(...); });
//   node.DieAfter(3);                  // at its third effect from now
//   node.PowerCut(survived_bytes);
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "raft/node/raft_host.h"
#include "storage/memory/memory_disk.h"
#include "storage/memory/memory_store.h"
#include "tests/sim/coverage.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/machine.h"
#include "tests/sim/network.h"
#include "tests/sim/swarm.h"
#include "tests/sim/trace.h"

namespace flotilla::sim {

class Node;

// What a node reports. Called while its process is alive, never after it has died.
class NodeOwner {
 public:
  virtual ~NodeOwner() = default;
  // The process is up and its host has no group open yet.
  virtual void OnBoot(Node& node) = 0;
  // The process is gone.
  virtual void OnDown(Node& node) = 0;
  // One event of the node is over; `submit_dropped`: it died before it could queue a write.
  virtual void OnEventOver(Node& node, bool submit_dropped) = 0;
  virtual void OnSubmit(Node& node, const storage::WriteTask& task) = 0;
  virtual void OnSend(Node& node, const raft::PeerMessage& message) = 0;
  virtual void OnStarted(Node& node, GroupId group, LogIndex applied, bool from_snapshot) = 0;
  virtual void OnApplied(Node& node, const storage::Entry& entry, std::optional<uint64_t> state_hash) = 0;
  virtual void OnFault(Node& node, GroupId group, const Status& reason) = 0;
  virtual void OnProposal(Node& node, uint64_t token, const Status& status,
                          const storage::EntryHeader& header) = 0;
  virtual void OnRead(Node& node, uint64_t token, const Status& status, LogIndex index) = 0;
  virtual void OnGroup(Node& node, GroupId group, const Status& status) = 0;
};

struct Environment {
  EventQueue& events;
  Network& network;
  Trace& trace;
  Coverage& coverage;
  const Swarm& swarm;
};

// Work in the order posted, each piece an event of its own.
class SimExecutor final : public raft::Executor {
 public:
  // `delay`: how long a piece waits at most before it runs.
  SimExecutor(Node& node, Time delay, Random random) : node_(node), delay_(delay), random_(random) {}
  void Post(std::function<void()> work) override;
  // Runs what waits, unless the node is paused.
  void Wake();
  void SetDelay(Time delay) { delay_ = delay; }
  size_t size() const { return work_.size(); }

 private:
  void RunOne();
  Node& node_;
  Time delay_;
  Random random_;
  std::deque<std::function<void()>> work_;
  bool scheduled_ = false;
};

class Node final : public Receiver,
                   public raft::ProposalSink,
                   public raft::ReadSink,
                   public raft::GroupSink,
                   private raft::Transport,
                   private MachineObserver {
 public:
  // `owner` and all of `environment` outlive it.
  Node(NodeId id, const Environment& environment, NodeOwner& owner, Random random);
  ~Node() override;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  NodeId id() const { return id_; }
  storage::MemoryDisk& disk() { return disk_; }
  const storage::MemoryDisk& disk() const { return disk_; }
  // The process runs and has not just died.
  bool up() const { return process_ != nullptr && !process_->dead; }
  bool paused() const { return environment_.events.now() < paused_until_; }
  uint64_t boot() const { return boot_; }
  // Only while up().
  raft::RaftHost& host() { return *process_->host; }
  const raft::RaftHost& host() const { return *process_->host; }
  const storage::MemoryStore& store() const { return *process_->store; }
  const SimMachine* machine(GroupId group) const;
  size_t queued_work() const;

  // --- groups, on the executor only
  Status OpenGroup(GroupId group, const MachineOptions& machine);
  Status CreateGroup(const raft::NewGroup& group, const MachineOptions& machine);
  Status DestroyGroup(GroupId group);

  // --- life and death
  void Boot();
  // The process dies; what it wrote is in the system's cache.
  void Kill(const char* why);
  // The machine loses power: of the unsynced write `survive_percent` are found again.
  void PowerCut(uint32_t survive_percent, const char* why);
  // Dies at its n-th effect from now (1: the next). `power`: and so does the machine.
  void DieAfter(uint64_t effects, bool power, uint32_t survive_percent);
  void Pause(Time until);
  // Its ticks last `factor` times as long as they should.
  void SetClock(double factor) { clock_factor_ = factor; }
  // Syncs take `factor` times as long.
  void SetDiskSlowness(uint64_t factor) { disk_slowness_ = factor; }
  void Calm();

  // On the executor, after what is there already. Dropped when the process dies first.
  void Post(std::function<void()> work);

  // --- Receiver
  bool Deliver(raft::PeerMessage message) override;
  void ConnectionBroken(NodeId peer) override;

 private:
  friend class SimExecutor;
  class HookedStore;

  struct Process {
    std::unique_ptr<storage::MemoryStore> store;
    std::unique_ptr<HookedStore> hooked;
    std::unique_ptr<SimExecutor> executor;
    std::unique_ptr<SimExecutor> readers;
    std::map<GroupId, std::unique_ptr<SimMachine>> machines;
    std::vector<std::unique_ptr<SimMachine>> retired;  // closed, maybe still referred to
    std::unique_ptr<raft::RaftHost> host;              // the first to go
    bool dead = false;
    bool submit_dropped = false;
  };

  // An effect is about to happen. True: the process is dead, and it does not.
  bool DiesHere(Met where);
  // Runs a piece of work as an event: afterwards a process that died in it is buried.
  void RunEvent(const std::function<void()>& work);
  void Bury(const char* why);
  void Tick(uint64_t boot);
  void PaceDisk();
  void Submitted();

  void Send(raft::Channel channel, raft::PeerMessage message) override;
  void OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& header) override;
  void OnRead(uint64_t token, const Status& status, LogIndex index) override;
  void OnGroup(GroupId group, const Status& status) override;
  bool BeforeApply(GroupId group) override;
  void OnStarted(GroupId group, LogIndex applied, bool from_snapshot) override;
  void OnApplied(const storage::Entry& entry, std::optional<uint64_t> state_hash) override;
  void OnFault(GroupId group, const Status& reason) override;

  const NodeId id_;
  const Environment environment_;
  NodeOwner& owner_;
  Random random_;
  storage::MemoryDisk disk_;
  std::unique_ptr<Process> process_;
  uint64_t boot_ = 0;
  Time paused_until_ = 0;
  double clock_factor_ = 1;
  uint64_t disk_slowness_ = 1;
  bool sync_scheduled_ = false;
  uint64_t dies_in_effects_ = 0;  // 0: does not
  bool dies_by_power_ = false;
  uint32_t survive_percent_ = 0;
};

}  // namespace flotilla::sim
