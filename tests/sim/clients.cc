#include <algorithm>
#include <utility>
#include <vector>

#include "tests/sim/operations.h"

namespace flotilla::sim {
namespace {

constexpr uint64_t kProducers = 4;
constexpr uint64_t kKeys = 8;
// Of a run: what a new replica has to be sent again must fit into the time that healing may take.
constexpr uint64_t kProposalsMax = 2000;

}  // namespace

Clients::Clients(World& world, Random random) : world_(world), recurring_(world.events(), world.parts(), random, random_) {}

void Clients::Start() {
  const OperationRates& rates = world_.swarm().operations;
  recurring_.Every("propose", rates.propose, [this] { Propose(); });
  recurring_.Every("read", rates.read, [this] { Read(); });
  recurring_.Every("trim", rates.trim, [this] { Trim(); });
}

Command Clients::NewCommand(GroupId group) {
  const uint64_t producer = 1 + random_.Below(kProducers);
  uint64_t& sequence = sequences_[{group, producer}];
  if (sequence == 0 || !random_.OneIn(6)) ++sequence;
  return {.id = world_.NextCommandId(), .producer = producer, .sequence = sequence, .key = random_.Below(kKeys)};
}

NodeId Clients::NodeFor(GroupId group) {
  const std::optional<NodeId> leader = world_.LeaderOf(group);
  if (leader && !random_.OneIn(5)) return *leader;
  return NodeId{1 + random_.Below(world_.nodes().size())};
}

void Clients::Propose() {
  const std::vector<GroupId> groups = world_.LiveGroups();
  if (groups.empty() || proposed_ >= kProposalsMax) return;
  const GroupId group = groups[random_.Below(groups.size())];
  const NodeId node = NodeFor(group);
  // Several calls at once, now and then.
  const uint64_t calls = random_.OneIn(10) ? random_.Between(2, 20) : 1;
  for (uint64_t call = 0; call < calls; ++call) {
    std::vector<Command> commands;
    const uint64_t batch = random_.Between(1, world_.swarm().batch_max);
    for (uint64_t i = 0; i < batch; ++i) commands.push_back(NewCommand(group));
    proposed_ += batch;
    world_.Propose(group, node, std::move(commands), EntryKind::kData, random_.Below(world_.swarm().payload_max + 1));
  }
}

void Clients::Read() {
  const std::vector<GroupId> groups = world_.LiveGroups();
  if (groups.empty()) return;
  const GroupId group = groups[random_.Below(groups.size())];
  const NodeId any{1 + random_.Below(world_.nodes().size())};
  const uint64_t reads = random_.OneIn(8) ? random_.Between(2, 12) : 1;
  for (uint64_t i = 0; i < reads; ++i) world_.Read(group, random_.OneIn(2) ? any : NodeFor(group));
}

void Clients::Trim() {
  const std::vector<GroupId> groups = world_.LiveGroups();
  if (groups.empty()) return;
  const GroupId group = groups[random_.Below(groups.size())];
  if (world_.groups().at(group).machine.kind != MachineKind::kPartition) return;
  const uint64_t committed = world_.chronicle().CommittedEnd(group).value();
  Command trim{.id = world_.NextCommandId(), .producer = 0, .sequence = 0, .key = random_.Below(committed + 1)};
  world_.Propose(group, NodeFor(group), {trim}, EntryKind::kTrim, 0);
}

}  // namespace flotilla::sim
