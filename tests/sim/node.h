// One simulated machine (computer.h) whose program is the real RaftHost.
//
//   Node node(id, environment, owner, random);
//   node.Boot();
//   node.Post([&] { node.host().Propose(...); });
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "raft/node/raft_host.h"
#include "tests/sim/computer.h"
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
  virtual void OnProposal(Node& node, uint64_t token, const Status& status, const storage::EntryHeader& header) = 0;
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

class Node final : public Computer,
                   public Receiver,
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

  NodeId id() const { return place(); }
  // Only while up().
  raft::RaftHost& host() { return *program_->host; }
  const raft::RaftHost& host() const { return *program_->host; }
  const SimMachine* machine(GroupId group) const;

  // --- groups, on the executor only
  Status OpenGroup(GroupId group, const MachineOptions& machine);
  Status CreateGroup(const raft::NewGroup& group, const MachineOptions& machine);
  Status DestroyGroup(GroupId group);

  // --- life and death
  void Boot();
  // Its ticks last `factor` times as long as they should.
  void SetClock(double factor) { clock_factor_ = factor; }
  void Calm();

  // --- Receiver
  bool Deliver(raft::PeerMessage message) override;
  void ConnectionBroken(NodeId peer) override;

 private:
  struct Program {
    std::map<GroupId, std::unique_ptr<SimMachine>> machines;
    std::vector<std::unique_ptr<SimMachine>> retired;  // closed, maybe still referred to
    std::unique_ptr<raft::RaftHost> host;              // the first to go
    bool submit_dropped = false;
  };

  bool DiesHere(Met where);
  void Tick(uint64_t life);

  void OnEventOver() override { owner_.OnEventOver(*this, program_->submit_dropped); }
  void OnDown(bool by_power) override;
  bool OnSubmit(const storage::WriteTask& task) override;
  void OnSynced() override { environment_.trace.Line(id(), "synced"); }
  void OnStorageFailed() override;

  void Send(raft::Channel channel, raft::PeerMessage message) override;
  void OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& header) override;
  void OnRead(uint64_t token, const Status& status, LogIndex index) override;
  void OnGroup(GroupId group, const Status& status) override;
  bool BeforeApply(GroupId group) override;
  void OnStarted(GroupId group, LogIndex applied, bool from_snapshot) override;
  void OnApplied(const storage::Entry& entry, std::optional<uint64_t> state_hash) override;
  void OnFault(GroupId group, const Status& reason) override;

  const Environment environment_;
  NodeOwner& owner_;
  std::unique_ptr<Program> program_;
  double clock_factor_ = 1;
};

}  // namespace flotilla::sim
