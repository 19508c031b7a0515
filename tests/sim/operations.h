// The people of the cluster: clients that propose and read, and operators that change members, hand over
// leadership, take snapshots, make and delete groups, and replace what was lost.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "storage/base/random.h"
#include "tests/sim/recurring.h"
#include "tests/sim/world.h"

namespace flotilla::sim {

class Clients {
 public:
  // `world` outlives it.
  Clients(World& world, Random random);
  void Start();
  void Stop() { recurring_.Stop(); }
  // A command that nobody sent before; now and then one with the sequence of an earlier one.
  Command NewCommand(GroupId group);

 private:
  // Usually the leader's, sometimes any.
  NodeId NodeFor(GroupId group);
  void Propose();
  void Read();
  void Trim();

  World& world_;
  Random random_{0};
  Recurring recurring_;
  std::map<std::pair<GroupId, uint64_t>, uint64_t> sequences_;  // of each producer
  uint64_t proposed_ = 0;
};

class Operators {
 public:
  Operators(World& world, Random random);
  void Start();
  // From now on only what is broken is repaired.
  void OnlyRepair();

 private:
  MachineOptions NewMachine();
  void CreateGroup();
  void DestroyGroup();
  void Transfer();
  void Snapshot();
  void Priority();
  void Campaign();
  // One step towards sound members: replaces what is lost, promotes what replaced it, deletes what was
  // removed.
  void Repair(GroupId group);
  // One change that nobody needs.
  void ChangeMembers();
  void DeleteRemoved(GroupId group);
  bool Replace(GroupId group, NodeId leader, const Configuration& configuration);
  bool PromoteReplacement(GroupId group, NodeId leader, const Configuration& configuration);
  std::vector<NodeId> FreeNodes(GroupId group);
  // A replica that waits for a leader to take it; makes one on `preferred` or another free node if there is
  // none.
  std::optional<ReplicaId> Joiner(GroupId group, NodeId preferred);
  std::optional<GroupId> AnyGroup();

  World& world_;
  Random random_{0};
  Recurring recurring_;
  bool only_repair_ = false;
  std::map<GroupId, size_t> voters_wanted_;
};

}  // namespace flotilla::sim
