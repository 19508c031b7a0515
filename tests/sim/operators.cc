#include <algorithm>
#include <utility>
#include <vector>

#include "tests/sim/operations.h"

namespace flotilla::sim {
namespace {

constexpr Time kRepairInterval = 700 * kMillisecond;

template <typename T>
bool Contains(const std::vector<T>& all, const T& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

Operators::Operators(World& world, Random random)
    : world_(world), random_(random.Fork()), recurring_(world.events(), world.parts(), random, random_) {}

void Operators::Start() {
  const OperationRates& rates = world_.swarm().operations;
  for (uint32_t i = 0; i < world_.swarm().groups; ++i) CreateGroup();
  recurring_.Every("transfer", rates.transfer, [this] { Transfer(); });
  recurring_.Every("membership", rates.membership, [this] { ChangeMembers(); });
  recurring_.Every("snapshot", rates.snapshot, [this] { Snapshot(); });
  recurring_.Every("priority", rates.priority, [this] { Priority(); });
  recurring_.Every("campaign", rates.campaign, [this] { Campaign(); });
  recurring_.Every("create-group", rates.create_group, [this] { CreateGroup(); });
  recurring_.Every("destroy-group", rates.destroy_group, [this] { DestroyGroup(); });
  recurring_.Always("repair", kRepairInterval, [this] {
    for (GroupId group : world_.LiveGroups()) Repair(group);
  });
}

void Operators::OnlyRepair() {
  only_repair_ = true;
  for (GroupId group : world_.LiveGroups()) {
    for (const auto& node : world_.nodes()) world_.SetPriority(group, node->id(), raft::kPriorityNormal);
  }
  // What was damaged and nobody noticed is found by a scrub.
  for (auto& [id, group] : world_.groups()) {
    for (auto& [replica, book] : group.replicas) {
      if (book.lost && !book.retired) world_.RetireReplica(id, replica);
    }
  }
}

std::optional<GroupId> Operators::AnyGroup() {
  const std::vector<GroupId> groups = world_.LiveGroups();
  if (groups.empty()) return std::nullopt;
  return groups[random_.Below(groups.size())];
}

MachineOptions Operators::NewMachine() {
  return {.kind = random_.OneIn(2) ? MachineKind::kRegister : MachineKind::kPartition,
          .rows = random_.OneIn(2),
          .chunk_bytes = world_.swarm().snapshot_chunk_bytes};
}

void Operators::CreateGroup() {
  if (only_repair_ || world_.LiveGroups().size() >= world_.swarm().groups_max) return;
  std::vector<NodeId> members;
  for (const auto& node : world_.nodes()) members.push_back(node->id());
  for (size_t i = members.size(); i > 1; --i) std::swap(members[i - 1], members[random_.Below(i)]);
  const size_t wanted = std::min<size_t>(members.size(), random_.OneIn(4) ? random_.Between(1, 7) : 3);
  members.resize(wanted);
  const GroupId group = world_.CreateGroup(members, NewMachine(), random_.OneIn(2));
  voters_wanted_[group] = wanted;
}

void Operators::DestroyGroup() {
  const std::optional<GroupId> group = AnyGroup();
  if (only_repair_ || !group || world_.LiveGroups().size() < 2) return;
  world_.DestroyGroup(*group);
}

void Operators::Transfer() {
  const std::optional<GroupId> group = AnyGroup();
  if (only_repair_ || !group) return;
  const std::optional<NodeId> leader = world_.LeaderOf(*group);
  if (!leader) return;
  const raft::RaftCore* core = world_.CoreOn(*group, *leader);
  const std::vector<ReplicaId> replicas = core->configuration().Replicas();
  world_.Transfer(*group, *leader, random_.OneIn(3) ? kNoReplica : replicas[random_.Below(replicas.size())]);
}

void Operators::Snapshot() {
  const std::optional<GroupId> group = AnyGroup();
  if (only_repair_ || !group) return;
  const NodeId node{1 + random_.Below(world_.nodes().size())};
  if (world_.CoreOn(*group, node) != nullptr) world_.TakeSnapshot(*group, node);
}

void Operators::Priority() {
  const std::optional<GroupId> group = AnyGroup();
  if (only_repair_ || !group) return;
  world_.SetPriority(*group, NodeId{1 + random_.Below(world_.nodes().size())}, static_cast<uint32_t>(random_.Below(3)));
}

void Operators::Campaign() {
  const std::optional<GroupId> group = AnyGroup();
  if (!only_repair_ && group) world_.Campaign(*group, NodeId{1 + random_.Below(world_.nodes().size())});
}

// --- members

std::vector<NodeId> Operators::FreeNodes(GroupId group) {
  std::vector<NodeId> free;
  for (const auto& node : world_.nodes()) {
    if (world_.ReplicaOn(group, node->id()) == nullptr) free.push_back(node->id());
  }
  return free;
}

std::optional<ReplicaId> Operators::Joiner(GroupId group, NodeId preferred) {
  const raft::RaftCore* core = nullptr;
  if (const std::optional<NodeId> leader = world_.LeaderOf(group)) core = world_.CoreOn(group, *leader);
  for (auto& [id, replica] : world_.groups().at(group).replicas) {
    const bool known = core != nullptr && core->configuration().Contains(id);
    if (!replica.member && !replica.lost && !replica.retired && !known) return id;
  }
  const std::vector<NodeId> free = FreeNodes(group);
  if (free.empty()) return std::nullopt;
  return world_.AddReplica(group, Contains(free, preferred) ? preferred : free[random_.Below(free.size())]);
}

void Operators::Repair(GroupId group) {
  for (const auto& node : world_.nodes()) world_.Reconcile(node->id(), group);
  DeleteRemoved(group);
  const std::optional<NodeId> leader = world_.LeaderOf(group);
  if (!leader) return;
  const Configuration configuration = world_.CoreOn(group, *leader)->configuration();
  if (configuration.joint()) return;
  if (Replace(group, *leader, configuration)) return;
  PromoteReplacement(group, *leader, configuration);
}

bool Operators::Replace(GroupId group, NodeId leader, const Configuration& configuration) {
  raft::MembershipChange change;
  for (const ReplicaId& replica : configuration.Replicas()) {
    const ReplicaBook& book = world_.groups().at(group).replicas.at(replica);
    if (book.faulted && !book.retired) world_.RetireReplica(group, replica);
    if (book.retired) change.remove.push_back(replica);
  }
  // The only voter cannot be replaced: nobody is left to agree.
  if (change.remove.empty() || configuration.voters == change.remove) return false;
  if (const std::optional<ReplicaId> joiner = Joiner(group, change.remove.front().node)) change.add_learners = {*joiner};
  world_.coverage().Add(Met::kReplaced);
  world_.ProposeChange(group, leader, std::move(change));
  return true;
}

bool Operators::PromoteReplacement(GroupId group, NodeId leader, const Configuration& configuration) {
  if (configuration.voters.size() >= voters_wanted_[group]) return false;
  for (const ReplicaId& learner : configuration.learners) {
    const ReplicaBook& book = world_.groups().at(group).replicas.at(learner);
    if (book.lost || book.retired || !book.made) continue;
    world_.ProposeChange(group, leader, {.promote = {learner}});
    return true;
  }
  return false;
}

void Operators::DeleteRemoved(GroupId group) {
  const Configuration& committed = world_.chronicle().CommittedConfiguration(group);
  for (auto& [id, replica] : world_.groups().at(group).replicas) {
    if (!replica.member || replica.retired || committed.Contains(id)) continue;
    // It may stay for a while: a replica that does not know that it was removed must not disturb the others.
    if (only_repair_ || random_.OneIn(8)) world_.RetireReplica(group, id);
  }
}

void Operators::ChangeMembers() {
  const std::optional<GroupId> group = AnyGroup();
  if (only_repair_ || !group) return;
  std::optional<NodeId> leader = world_.LeaderOf(*group);
  if (!leader) return;
  const Configuration configuration = world_.CoreOn(*group, *leader)->configuration();
  raft::MembershipChange change;
  const auto sound = [&](ReplicaId id) {
    const ReplicaBook& book = world_.groups().at(*group).replicas.at(id);
    return !book.lost && !book.retired;
  };
  if (random_.OneIn(2)) {
    if (const std::optional<ReplicaId> joiner = Joiner(*group, NodeId{})) change.add_learners.push_back(*joiner);
  }
  for (const ReplicaId& learner : configuration.learners) {
    if (sound(learner) && random_.OneIn(2)) {
      change.promote.push_back(learner);
    } else if (random_.OneIn(8)) {
      change.remove.push_back(learner);
    }
  }
  for (const ReplicaId& voter : configuration.voters) {
    const uint64_t chance = random_.Below(12);
    if (chance == 0) change.demote.push_back(voter);
    if (chance == 1) change.remove.push_back(voter);
  }
  if (change.empty()) return;
  if (random_.OneIn(10)) leader = NodeId{1 + random_.Below(world_.nodes().size())};
  const Result<Configuration> next = configuration.Change(change);
  if (next.ok() && !world_.Survives(*group, *next)) return;
  world_.ProposeChange(*group, *leader, std::move(change));
}

}  // namespace flotilla::sim
