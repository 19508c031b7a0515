// Everything of one run: time, network, machines, the groups on them, and what is known about all of it.
// Faults, operators and clients act on the world through its methods; the world tells the chronicle what
// happens.
//
//   World world(MakeSwarm(seed), Trace::Mode::kHashOnly, nullptr);
//   const GroupId group = world.CreateGroup(...);
//   while (world.verdict().ok() && world.events().RunOne()) {}
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/chronicle.h"
#include "tests/sim/command.h"
#include "tests/sim/coverage.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/network.h"
#include "tests/sim/node.h"
#include "tests/sim/parts.h"
#include "tests/sim/swarm.h"
#include "tests/sim/trace.h"
#include "tests/sim/verdict.h"

namespace flotilla::sim {

// A replica as the operators of the cluster keep it in their books.
struct ReplicaBook {
  ReplicaId id;
  bool made = false;                            // exists on its node's disk, or did
  bool member = false;                          // was in a committed configuration
  bool lost = false;                            // its disk was wiped or damaged: what it had cannot be counted on
  bool faulted = false;                         // it said so itself
  bool retired = false;                         // to be deleted, or deleted: another incarnation takes its place
  bool starts_alone = false;                    // asks for votes when it is made
  Configuration first;                          // that it is made with; empty: joins later
  Configuration configuration, previous;        // that it follows, as last seen
  std::optional<storage::GroupState> departed;  // what its disk had when it was lost or deleted
};

struct GroupBook {
  GroupId id;
  MachineOptions machine;
  std::map<ReplicaId, ReplicaBook> replicas;
  std::map<NodeId, uint64_t> incarnations;  // the newest of each node
  bool destroyed = false;
};

class World final : private NodeOwner, private DurableView {
 public:
  // `excerpt`: what of the run is run. `trace_out` gets what the mode prints, and outlives it.
  World(const Swarm& swarm, const Excerpt& excerpt, Trace::Mode mode, std::ostream* trace_out);
  ~World() override;

  const Swarm& swarm() const { return swarm_; }
  EventQueue& events() { return events_; }
  Time now() const { return events_.now(); }
  Parts& parts() { return parts_; }
  Trace& trace() { return trace_; }
  Coverage& coverage() { return coverage_; }
  Network& network() { return network_; }
  Verdict& verdict() { return verdict_; }
  const Chronicle& chronicle() const { return chronicle_; }

  // --- machines
  const std::vector<std::unique_ptr<Node>>& nodes() const { return nodes_; }
  Node& node(NodeId id) { return *nodes_[id.value() - 1]; }
  // Its power is off and its disk is replaced by an empty one. `node` is down.
  void WipeDisk(Node& node);
  // Flips a bit somewhere in the durable log of a replica. False: there is nothing to flip.
  bool FlipBit(Node& node, GroupId group, LogIndex index, uint64_t bit);
  // The same in a chunk of a snapshot that its disk holds.
  bool FlipChunkBit(Node& node, GroupId group, uint64_t bit);
  // What disks have counted goes to the coverage.
  void CollectDiskEvents();

  // --- groups
  std::map<GroupId, GroupBook>& groups() { return groups_; }
  std::vector<GroupId> LiveGroups() const;
  GroupId CreateGroup(const std::vector<NodeId>& members, const MachineOptions& machine, bool campaign);
  void DestroyGroup(GroupId group);
  // A replica on a node that has none, empty until a leader tells it. Its id.
  ReplicaId AddReplica(GroupId group, NodeId node);
  // The replica is deleted, and its node is free for another one.
  void RetireReplica(GroupId group, ReplicaId replica);
  // The one that the node has or shall have; null: none.
  ReplicaBook* ReplicaOn(GroupId group, NodeId node);
  // Makes what runs on the node follow the books.
  void Reconcile(NodeId node, GroupId group);

  // --- safety margins: what a cluster may lose and still keep its promises
  // Whether every configuration that may be in force keeps a majority of sound voters in each half without
  // this replica.
  bool MayLose(GroupId group, ReplicaId replica) const;
  bool MayLoseNode(NodeId node) const;
  // The same of a configuration with what is lost now.
  bool Survives(GroupId group, const Configuration& configuration) const;

  // --- views
  // Null: the node is down, or has no such group open.
  const raft::RaftCore* CoreOn(GroupId group, NodeId node);
  // The leader of the newest term that is up.
  std::optional<NodeId> LeaderOf(GroupId group);

  // --- clients; each is a call on the node's executor
  uint64_t NextCommandId() { return ++last_command_; }
  // A token for OutcomeOf.
  uint64_t Propose(GroupId group, NodeId node, std::vector<Command> commands, EntryKind kind, size_t padding);
  uint64_t ProposeChange(GroupId group, NodeId node, raft::MembershipChange change);
  uint64_t Read(GroupId group, NodeId node);
  void Transfer(GroupId group, NodeId node, ReplicaId target);
  void TakeSnapshot(GroupId group, NodeId node);
  void SetPriority(GroupId group, NodeId node, uint32_t priority);
  void Campaign(GroupId group, NodeId node);
  // Nothing: not answered yet. A call whose node died ends with OUTCOME_UNKNOWN.
  std::optional<Status> OutcomeOf(uint64_t token) const;

 private:
  struct Call {
    enum class Kind : uint8_t { kPropose, kChange, kRead } kind = Kind::kPropose;
    GroupId group;
    NodeId node;
    std::vector<uint64_t> ids;
    raft::MembershipChange change;
    LogIndex floor;
    bool on_leader = false;
  };

  // NodeOwner
  void OnBoot(Node& node) override;
  void OnDown(Node& node) override;
  void OnEventOver(Node& node, bool submit_dropped) override;
  void OnSubmit(Node& node, const storage::WriteTask& task) override;
  void OnSend(Node& node, const raft::PeerMessage& message) override;
  void OnStarted(Node& node, GroupId group, LogIndex applied, bool from_snapshot) override;
  void OnApplied(Node& node, const storage::Entry& entry, std::optional<uint64_t> state_hash) override;
  void OnFault(Node& node, GroupId group, const Status& reason) override;
  void OnProposal(Node& node, uint64_t token, const Status& status, const storage::EntryHeader& header) override;
  void OnRead(Node& node, uint64_t token, const Status& status, LogIndex index) override;
  void OnGroup(Node& node, GroupId group, const Status& status) override;
  // DurableView
  bool Holds(GroupId group, ReplicaId replica, const EntryId& entry) const override;
  std::optional<Term> TermOnDisk(GroupId group, ReplicaId replica, LogIndex index) const override;
  storage::HardState HardStateOf(GroupId group, ReplicaId replica) const override;

  const storage::GroupState* DurableStateOf(GroupId group, ReplicaId replica) const;
  // The replica that runs on the node now, which may be one that its books have replaced. Null: none was
  // opened.
  ReplicaBook* Running(const Node& node, GroupId group);
  void ReconcileNow(Node& node, GroupBook& group);
  void OpenNow(Node& node, GroupBook& group, ReplicaBook& replica);
  void NoteFault(GroupBook& group, ReplicaBook& replica, const Status& reason);
  ReplicaSeen Look(Node& node, const raft::RaftCore& core);
  void NoteRole(const ReplicaSeen& seen);
  void NoteConfiguration(const ReplicaSeen& seen);
  uint64_t UncommittedBytes(Node& node, GroupId group) const;
  void CheckAmounts(Node& node, const GroupBook& group);
  void NoteChange(const Call& call);
  void End(uint64_t token, const Status& status);

  Parts parts_;
  const Swarm swarm_;
  EventQueue events_;
  Trace trace_;
  Coverage coverage_;
  Random random_;
  Network network_;
  Verdict verdict_;
  Chronicle chronicle_;
  std::map<GroupId, GroupBook> groups_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::pair<NodeId, GroupId>, ReplicaId> running_;
  std::map<std::pair<NodeId, GroupId>, uint64_t> busy_;  // a group is made or deleted in this life of the node
  std::map<std::pair<GroupId, ReplicaId>, raft::Role> roles_;
  std::map<GroupId, Configuration> committed_configurations_;
  std::map<uint64_t, Call> calls_;
  std::map<uint64_t, Status> outcomes_;
  std::vector<ReplicaSeen> seen_;  // of the event that is over
  uint64_t last_group_ = 0;
  uint64_t last_token_ = 0;
  uint64_t last_command_ = 0;
};

}  // namespace flotilla::sim
