#include "tests/sim/world.h"

#include <glog/logging.h>

#include <algorithm>

#include "storage/log/task_check.h"
#include "tests/sim/invariants.h"

namespace flotilla::sim {

namespace {

// What of the swarm is a part of its own, and may be left out.
Swarm LeaveOut(Swarm swarm, Parts& parts) {
  NetworkConditions& network = swarm.network;
  if (network.loss > 0 && !parts.Take("loss", 1)) network.loss = 0;
  if (network.repeat > 0 && !parts.Take("repeat", 1)) network.repeat = 0;
  if (network.split > 0 && !parts.Take("split", 1)) network.split = 0;
  if (network.straggler > 0 && !parts.Take("straggler", 1)) network.straggler = 0;
  if (!network.ordered && !parts.Take("disorder", 1)) network.ordered = true;
  swarm.hurt_for = parts.HurtFor(swarm.hurt_for);
  return swarm;
}

}  // namespace

World::World(const Swarm& swarm, const Excerpt& excerpt, Trace::Mode mode, std::ostream* trace_out)
    : parts_(excerpt),
      swarm_(LeaveOut(swarm, parts_)),
      trace_(events_, mode, 300, trace_out),
      random_(swarm.seed),
      network_(events_, random_.Fork(), trace_, coverage_),
      chronicle_(*this, verdict_) {
  chronicle_.Watch(AllInvariants(verdict_));
  network_.SetConditions(swarm_.network);
  NodeOwner& owner = *this;
  for (uint64_t id = 1; id <= swarm_.nodes; ++id) {
    const Environment environment{events_, network_, trace_, coverage_, swarm_};
    nodes_.push_back(std::make_unique<Node>(NodeId{id}, environment, owner, random_.Fork()));
  }
}

World::~World() = default;

// --- machines

void World::WipeDisk(Node& node) {
  CHECK(!node.up());
  for (auto& [id, group] : groups_) {
    const storage::GroupImage* image = node.disk().Find(id);
    if (image == nullptr) continue;  // never there: nobody can have heard of it
    ReplicaBook& owner = group.replicas.at(image->state.identity.self);
    owner.made = owner.lost = owner.retired = true;
    owner.departed = image->state;
  }
  node.disk().Wipe();
}

bool World::FlipBit(Node& node, GroupId group, LogIndex index, uint64_t bit) {
  ReplicaBook* replica = ReplicaOn(group, node.id());
  if (replica == nullptr || !node.disk().FlipBit(group, index, bit)) return false;
  replica->lost = true;
  trace_.Story(node.id(), "a bit of entry ", index, " of group ", group, " flips on its disk");
  return true;
}

bool World::FlipChunkBit(Node& node, GroupId group, uint64_t bit) {
  ReplicaBook* replica = ReplicaOn(group, node.id());
  const storage::GroupImage* image = node.disk().Find(group);
  if (replica == nullptr || image == nullptr || image->chunks.empty()) return false;
  auto chunk = image->chunks.begin();
  std::advance(chunk, static_cast<ptrdiff_t>(bit % image->chunks.size()));
  const auto [snapshot, number] = chunk->first;
  if (!node.disk().FlipChunkBit(group, snapshot, number, bit)) return false;
  replica->lost = true;
  coverage_.Add(Met::kChunkFlipped);
  trace_.Story(node.id(), "a bit of chunk ", number, " of snapshot ", snapshot, " of group ", group, " flips on its disk");
  return true;
}

void World::CollectDiskEvents() {
  for (const auto& node : nodes_) {
    const storage::DiskEvents& events = node->disk().events();
    coverage_.Add(Met::kUnsyncedLost, events.unsynced_lost);
    coverage_.Add(Met::kUnsyncedTorn, events.unsynced_torn);
    coverage_.Add(Met::kUnsyncedKept, events.unsynced_kept);
    coverage_.Add(Met::kSyncFailed, events.syncs_failed);
    coverage_.Add(Met::kWriteFailed, events.writes_failed);
    coverage_.Add(Met::kBitFlipped, events.bits_flipped);
    coverage_.Add(Met::kWiped, events.wipes);
    if (node->up()) coverage_.Add(Met::kAppendRefusedDiskFull, node->store().Counters().refused_disk_full);
  }
}

// --- groups

std::vector<GroupId> World::LiveGroups() const {
  std::vector<GroupId> live;
  for (const auto& [id, group] : groups_) {
    if (!group.destroyed) live.push_back(id);
  }
  return live;
}

GroupId World::CreateGroup(const std::vector<NodeId>& members, const MachineOptions& machine, bool campaign) {
  const GroupId id{++last_group_};
  GroupBook& group = groups_[id];
  group.id = id;
  group.machine = machine;
  Configuration first;
  for (NodeId node : members) first.voters.push_back({node, ++group.incarnations[node]});
  first.Normalize();
  chronicle_.GroupCreated(id, first);
  for (const ReplicaId& replica : first.voters) {
    ReplicaBook& book = group.replicas[replica];
    book.id = replica;
    book.first = book.configuration = book.previous = first;
    book.member = true;
    book.starts_alone = campaign && replica == first.voters.front();
  }
  trace_.Mark(Event::kGroup, NodeId{}, id.value());
  trace_.Story(NodeId{}, "group ", id, " is created with ", first);
  coverage_.Add(Met::kGroupCreated);
  for (NodeId node : members) Reconcile(node, id);
  return id;
}

void World::DestroyGroup(GroupId group) {
  groups_.at(group).destroyed = true;
  coverage_.Add(Met::kGroupDestroyed);
  trace_.Story(NodeId{}, "group ", group, " is destroyed");
  for (const auto& node : nodes_) Reconcile(node->id(), group);
}

ReplicaId World::AddReplica(GroupId id, NodeId node) {
  GroupBook& group = groups_.at(id);
  CHECK(ReplicaOn(id, node) == nullptr);
  const ReplicaId replica{node, ++group.incarnations[node]};
  group.replicas[replica].id = replica;
  trace_.Story(node, "shall have replica ", replica, " of group ", id);
  Reconcile(node, id);
  return replica;
}

void World::RetireReplica(GroupId group, ReplicaId replica) {
  groups_.at(group).replicas.at(replica).retired = true;
  trace_.Story(replica.node, "shall delete replica ", replica, " of group ", group);
  Reconcile(replica.node, group);
}

ReplicaBook* World::ReplicaOn(GroupId id, NodeId node) {
  GroupBook& group = groups_.at(id);
  auto newest = group.incarnations.find(node);
  if (newest == group.incarnations.end() || group.destroyed) return nullptr;
  ReplicaBook& replica = group.replicas.at({node, newest->second});
  return replica.retired ? nullptr : &replica;
}

ReplicaBook* World::Running(const Node& node, GroupId group) {
  auto running = running_.find({node.id(), group});
  return running == running_.end() ? nullptr : &groups_.at(group).replicas.at(running->second);
}

void World::Reconcile(NodeId id, GroupId group) {
  node(id).Post([this, id, group] { ReconcileNow(node(id), groups_.at(group)); });
}

void World::ReconcileNow(Node& node, GroupBook& group) {
  auto busy = busy_.find({node.id(), group.id});
  if (busy != busy_.end() && busy->second == node.life()) return;
  ReplicaBook* wanted = ReplicaOn(group.id, node.id());
  const storage::GroupImage* image = node.disk().Find(group.id);
  if (image != nullptr) {
    ReplicaBook& owner = group.replicas.at(image->state.identity.self);
    owner.made = true;
    if (&owner != wanted) {
      owner.departed = image->state;
      busy_[{node.id(), group.id}] = node.life();
      const Status status = node.DestroyGroup(group.id);
      if (!status.ok() && node.store().health().ok())
        verdict_.Violated("groups can be deleted", "node ", node.id(), " group ", group.id, ": ", status);
      return;
    }
    if (node.host().Find(group.id) == nullptr && !wanted->faulted) OpenNow(node, group, *wanted);
    return;
  }
  if (wanted == nullptr || wanted->made) return;
  raft::NewGroup made{.group = group.id,
                      .identity = {.self = wanted->id, .label = "simulated"},
                      .configuration = wanted->first,
                      .campaign = wanted->starts_alone};
  busy_[{node.id(), group.id}] = node.life();
  running_[{node.id(), group.id}] = wanted->id;
  const Status status = node.CreateGroup(made, group.machine);
  if (!status.ok() && node.store().health().ok())
    verdict_.Violated("groups can be made", "node ", node.id(), " group ", group.id, ": ", status);
}

void World::OpenNow(Node& node, GroupBook& group, ReplicaBook& replica) {
  running_[{node.id(), group.id}] = replica.id;
  chronicle_.Booted(node.disk().Find(group.id)->state);
  const Status status = node.OpenGroup(group.id, group.machine);
  trace_.Line(node.id(), "opens group ", group.id, " as ", replica.id, ": ", status);
  if (!status.ok()) NoteFault(group, replica, status);
}

void World::NoteFault(GroupBook& group, ReplicaBook& replica, const Status& reason) {
  trace_.Mark(Event::kFault, replica.id.node, group.id.value());
  trace_.Story(replica.id.node, "replica ", replica.id, " of group ", group.id, " faults: ", reason);
  // A node whose storage failed says so for each of its groups, and goes.
  const bool storage_failed = node(replica.id.node).up() && !node(replica.id.node).store().health().ok();
  if (!storage_failed) {
    replica.faulted = true;
    coverage_.Add(Met::kDamageFound);
  }
  chronicle_.Fault({group.id, replica.id, reason, storage_failed || replica.lost});
}

// --- safety margins

bool World::Survives(GroupId id, const Configuration& configuration) const {
  const GroupBook& group = groups_.at(id);
  const auto sound = [&](const std::vector<ReplicaId>& half) {
    size_t lost = 0;
    for (const ReplicaId& replica : half) {
      auto book = group.replicas.find(replica);
      lost += book == group.replicas.end() || book->second.lost || book->second.retired ? 1 : 0;
    }
    return lost <= (half.size() - 1) / 2;
  };
  return !configuration.voters.empty() && sound(configuration.voters) && (configuration.outgoing.empty() || sound(configuration.outgoing));
}

bool World::MayLose(GroupId id, ReplicaId replica) const {
  const GroupBook& group = groups_.at(id);
  const auto sound = [&](const std::vector<ReplicaId>& half) {
    if (std::find(half.begin(), half.end(), replica) == half.end()) return true;
    const auto lost = std::count_if(half.begin(), half.end(), [&](const ReplicaId& member) {
      auto book = group.replicas.find(member);
      return member == replica || book == group.replicas.end() || book->second.lost || book->second.retired;
    });
    return static_cast<size_t>(lost) <= (half.size() - 1) / 2;
  };
  const Configuration& committed = chronicle_.CommittedConfiguration(id);
  for (const auto& [other, book] : group.replicas) {
    // What a lost one knew may still spread, until it is replaced.
    if ((book.lost || book.retired) && !committed.Contains(other)) continue;
    for (const Configuration* configuration : {&book.configuration, &book.previous}) {
      if (!sound(configuration->voters) || !sound(configuration->outgoing)) return false;
    }
  }
  return true;
}

bool World::MayLoseNode(NodeId node) const {
  for (const auto& [id, group] : groups_) {
    if (group.destroyed) continue;
    auto newest = group.incarnations.find(node);
    if (newest == group.incarnations.end()) continue;
    // Also one that was retired and is not replaced yet.
    for (uint64_t incarnation = 1; incarnation <= newest->second; ++incarnation) {
      if (!MayLose(id, {node, incarnation})) return false;
    }
  }
  return true;
}

// --- views

const raft::RaftCore* World::CoreOn(GroupId group, NodeId id) {
  Node& at = node(id);
  return at.up() ? at.host().Find(group) : nullptr;
}

std::optional<NodeId> World::LeaderOf(GroupId group) {
  std::optional<NodeId> leader;
  Term term;
  for (const auto& node : nodes_) {
    const raft::RaftCore* core = CoreOn(group, node->id());
    if (core == nullptr || core->role() != raft::Role::kLeader || core->term() < term || !core->fault().ok()) continue;
    leader = node->id();
    term = core->term();
  }
  return leader;
}

const storage::GroupState* World::DurableStateOf(GroupId id, ReplicaId replica) const {
  const storage::GroupImage* image = nodes_[replica.node.value() - 1]->disk().Find(id);
  if (image != nullptr && image->state.identity.self == replica) return &image->state;
  const GroupBook& group = groups_.at(id);
  auto book = group.replicas.find(replica);
  if (book == group.replicas.end() || !book->second.departed) return nullptr;
  return &*book->second.departed;
}

bool World::Holds(GroupId group, ReplicaId replica, const EntryId& entry) const {
  const storage::GroupState* state = DurableStateOf(group, replica);
  if (state == nullptr) return false;
  if (entry.index < state->bounds.start.last.index) return true;
  return storage::TermAt(*state, entry.index) == entry.term;
}

std::optional<Term> World::TermOnDisk(GroupId group, ReplicaId replica, LogIndex index) const {
  const storage::GroupState* state = DurableStateOf(group, replica);
  return state == nullptr ? std::nullopt : storage::TermAt(*state, index);
}

storage::HardState World::HardStateOf(GroupId group, ReplicaId replica) const {
  const storage::GroupState* state = DurableStateOf(group, replica);
  return state == nullptr ? storage::HardState{} : state->hard_state;
}

}  // namespace flotilla::sim
