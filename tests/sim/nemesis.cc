#include "tests/sim/nemesis.h"

#include <algorithm>
#include <vector>

namespace flotilla::sim {
namespace {

constexpr uint64_t kPlentyFree = uint64_t{1} << 40;
constexpr uint64_t kNeverFail = uint64_t{1} << 60;
// The host books a crash in this many effects from now at most: with one seed an effect of each kind is met.
constexpr uint64_t kEffectsMax = 60;

}  // namespace

Nemesis::Nemesis(World& world, Random random) : world_(world), random_(0), recurring_(world.events(), world.parts(), random, random_) {}

void Nemesis::Start() {
  const FaultRates& faults = world_.swarm().faults;
  recurring_.Every("cut", faults.cut, [this] { Cut(); });
  recurring_.Every("partition", faults.partition, [this] { Partition(); });
  recurring_.Every("burst", faults.burst, [this] { Burst(); });
  recurring_.Every("kill", faults.kill, [this] { Crash(AnyNode(), false, "killed"); });
  recurring_.Every("power-cut", faults.power_cut, [this] { Crash(AnyNode(), true, "power cut"); });
  recurring_.Every("crash", faults.crash_at_boundary, [this] { CrashAtBoundary(); });
  recurring_.Every("blackout", faults.whole_cluster, [this] { WholeCluster(); });
  recurring_.Every("pause", faults.pause, [this] { Pause(); });
  recurring_.Every("clock", faults.clock, [this] { ChangeClock(); });
  recurring_.Every("slow-disk", faults.disk_slow, [this] { SlowDisk(); });
  recurring_.Every("full-disk", faults.disk_full, [this] { FillDisk(); });
  recurring_.Every("sync-failure", faults.sync_failure, [this] { FailDisk(true); });
  recurring_.Every("write-failure", faults.write_failure, [this] { FailDisk(false); });
  recurring_.Every("bit-flip", faults.bit_flip, [this] { FlipBit(); });
  recurring_.Every("wipe", faults.wipe, [this] { Wipe(); });
  // A process that ended by itself (a failed disk, a crash at an effect) is started again by its service
  // manager.
  recurring_.Always("restart", world_.swarm().down_max / 2, [this] {
    for (const auto& node : world_.nodes()) {
      if (!node->up() && random_.OneIn(2)) BootLater(*node);
    }
  });
}

void Nemesis::Heal() {
  recurring_.Stop();
  world_.network().MendAll();
  world_.network().SetConditions({});
  for (const auto& node : world_.nodes()) {
    node->Calm();
    node->disk().SetFreeBytes(kPlentyFree);
    node->disk().FailSync(kNeverFail);
    node->disk().FailWrite(kNeverFail);
    // A process that is about to leave over its failed disk goes now.
    if (node->up() && !node->store().health().ok()) node->PowerCut(0, "its storage failed");
  }
  BootAll();
}

void Nemesis::BootAll() {
  for (const auto& node : world_.nodes()) {
    if (!node->up()) node->Boot();
  }
}

Node& Nemesis::AnyNode() { return *world_.nodes()[random_.Below(world_.nodes().size())]; }

// Around the time in which an election happens: shorter is not noticed, longer teaches nothing new.
Time Nemesis::Lasting() { return static_cast<Time>(random_.Below(static_cast<uint64_t>(4 * world_.swarm().ElectionTime()))); }

void Nemesis::Cut() {
  Node& from = AnyNode();
  Node& to = AnyNode();
  if (&from == &to) return;
  world_.coverage().Add(Met::kOneWayCut);
  world_.trace().Story(NodeId{}, "nothing passes from n", from.id(), " to n", to.id());
  world_.network().CutOneWay(from.id(), to.id());
  world_.events().After(Lasting(), [this, a = from.id(), b = to.id()] { world_.network().Mend(a, b); });
}

void Nemesis::Partition() {
  if (world_.nodes().size() < 2) return;
  // The leader alone, one node alone, or any two parts.
  uint64_t inside = random_.Next();
  const std::vector<GroupId> groups = world_.LiveGroups();
  const std::optional<NodeId> leader = groups.empty() ? std::nullopt : world_.LeaderOf(groups.front());
  if (random_.OneIn(3)) inside = uint64_t{1} << AnyNode().id().value();
  if (leader && random_.OneIn(3)) inside = uint64_t{1} << leader->value();
  world_.coverage().Add(Met::kPartition);
  std::vector<std::pair<NodeId, NodeId>> cuts;
  for (const auto& a : world_.nodes()) {
    for (const auto& b : world_.nodes()) {
      const bool a_inside = (inside >> a->id().value() & 1) != 0;
      const bool b_inside = (inside >> b->id().value() & 1) != 0;
      if (a_inside != b_inside) cuts.emplace_back(a->id(), b->id());
    }
  }
  world_.trace().Story(NodeId{}, "the network splits, ", cuts.size(), " directions are cut");
  for (const auto& [a, b] : cuts) world_.network().CutOneWay(a, b);
  world_.events().After(Lasting(), [this, cuts] {
    for (const auto& [a, b] : cuts) world_.network().Mend(a, b);
  });
}

void Nemesis::Burst() {
  Node& from = AnyNode();
  Node& to = AnyNode();
  if (&from == &to) return;
  NetworkConditions bad = world_.swarm().network;
  bad.loss = 0.4;
  bad.repeat = 0.3;
  bad.ordered = false;
  bad.straggler = 0.3;
  bad.straggler_max = world_.swarm().ElectionTime();
  world_.coverage().Add(Met::kBurst);
  world_.network().Burst(from.id(), to.id(), bad, world_.now() + Lasting());
}

void Nemesis::Crash(Node& node, bool power, const char* why) {
  if (!node.up()) return;
  world_.coverage().Add(power ? Met::kPowerCut : Met::kProcessKilled);
  if (power) {
    node.PowerCut(static_cast<uint32_t>(random_.Below(5) * 25), why);
  } else {
    node.Kill(why);
  }
  BootLater(node);
}

void Nemesis::BootLater(Node& node) {
  const Time wait = static_cast<Time>(random_.Below(static_cast<uint64_t>(world_.swarm().down_max)));
  world_.events().After(wait, [&node, boot = node.life()] {
    if (!node.up() && node.life() == boot) node.Boot();
  });
}

void Nemesis::CrashAtBoundary() {
  Node& node = AnyNode();
  const uint64_t effects = 1 + random_.Below(kEffectsMax);
  const bool power = random_.OneIn(2);
  node.DieAfter({.effects = effects, .power = power, .survive_percent = static_cast<uint32_t>(random_.Below(5) * 25)});
}

void Nemesis::WholeCluster() {
  world_.coverage().Add(Met::kWholeClusterDown);
  for (const auto& node : world_.nodes()) Crash(*node, true, "the power of all is cut");
}

void Nemesis::Pause() {
  Node& node = AnyNode();
  const Time until = world_.now() + Lasting();
  world_.coverage().Add(Met::kPause);
  world_.trace().Story(node.id(), "stands still until ", until / kMillisecond, " ms");
  node.Pause(until);
}

void Nemesis::ChangeClock() {
  world_.coverage().Add(Met::kClockChanged);
  AnyNode().SetClock(0.7 + static_cast<double>(random_.Below(70)) / 100);
}

void Nemesis::SlowDisk() {
  Node& node = AnyNode();
  world_.coverage().Add(Met::kDiskSlow);
  node.SetDiskSlowness(1 + random_.Below(200));
  world_.events().After(Lasting(), [&node] { node.SetDiskSlowness(1); });
}

void Nemesis::FillDisk() {
  Node& node = AnyNode();
  world_.coverage().Add(Met::kDiskFull);
  world_.trace().Story(node.id(), "its disk is full");
  node.disk().SetFreeBytes(0);
  world_.events().After(Lasting(), [&node] { node.disk().SetFreeBytes(kPlentyFree); });
}

void Nemesis::FailDisk(bool sync) {
  Node& node = AnyNode();
  if (sync) {
    node.disk().FailSync(random_.Below(4));
  } else {
    node.disk().FailWrite(random_.Below(4));
  }
}

void Nemesis::FlipBit() {
  Node& node = AnyNode();
  const std::vector<GroupId> groups = world_.LiveGroups();
  if (groups.empty()) return;
  const GroupId group = groups[random_.Below(groups.size())];
  const ReplicaBook* replica = world_.ReplicaOn(group, node.id());
  const storage::GroupImage* image = node.disk().Find(group);
  if (replica == nullptr || replica->lost || image == nullptr || image->entries.empty()) return;
  if (image->state.identity.self != replica->id || !world_.MayLose(group, replica->id)) return;
  if (random_.OneIn(4) && world_.FlipChunkBit(node, group, random_.Next())) return;
  world_.FlipBit(node, group, image->state.bounds.first_index() + random_.Below(image->entries.size()), random_.Next());
}

void Nemesis::Wipe() {
  Node& node = AnyNode();
  if (!world_.MayLoseNode(node.id())) return;
  if (node.up()) node.PowerCut(0, "its disk is lost");
  world_.WipeDisk(node);
  BootLater(node);
}

}  // namespace flotilla::sim
