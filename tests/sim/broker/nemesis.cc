#include "tests/sim/broker/nemesis.h"

#include <algorithm>
#include <vector>

namespace flotilla::sim::broker {
namespace {

constexpr uint64_t kPlentyFree = uint64_t{1} << 40;
constexpr uint64_t kNeverFail = uint64_t{1} << 60;
constexpr uint64_t kEffectsMax = 80;

}  // namespace

void Nemesis::Start() {
  const FaultRates& faults = world_.swarm().faults;
  Tally& tally = world_.tally();
  recurring_.Every("cut", faults.cut, [this] { Cut(); });
  recurring_.Every("partition", faults.partition, [this] { Partition(); });
  recurring_.Every("slow-link", faults.slow_link, [this] { SlowLink(); });
  recurring_.Every("client-cut", faults.client_cut, [this] { CutClient(); });
  recurring_.Every("kill", faults.kill, [this] { Crash(Any(), false, "killed"); });
  recurring_.Every("power-cut", faults.power_cut, [this] { Crash(Any(), true, "power cut"); });
  recurring_.Every("crash", faults.crash_at_boundary, [this] {
    Any().DieAfter({.effects = 1 + random_.Below(kEffectsMax),
                    .power = random_.OneIn(2),
                    .survive_percent = static_cast<uint32_t>(random_.Below(5) * 25)});
  });
  recurring_.Every("blackout", faults.whole_cluster, [this, &tally] {
    tally.Add("whole cluster down");
    for (const auto& machine : world_.machines()) Crash(*machine, true, "the power of all is cut");
  });
  recurring_.Every("stop", faults.orderly_stop, [this] { Any().StopOrderly(); });
  recurring_.Every("pause", faults.pause, [this, &tally] {
    Machine& machine = Any();
    tally.Add("pause");
    const Time until = world_.now() + Lasting();
    world_.trace().Story(machine.place(), "stands still until ", until / kMillisecond, " ms");
    machine.Pause(until);
  });
  recurring_.Every("clock-rate", faults.clock_rate, [this, &tally] {
    tally.Add("clock changed its rate");
    Any().clock().SetRate(0.8 + static_cast<double>(random_.Below(50)) / 100);
  });
  recurring_.Every("clock-jump", faults.clock_jump, [this, &tally] {
    tally.Add("clock jumped");
    Any().clock().Jump(static_cast<int64_t>(random_.Below(1'200'000)) - 600'000);
  });
  recurring_.Every("slow-disk", faults.disk_slow, [this, &tally] {
    Machine& machine = Any();
    tally.Add("disk slow");
    machine.SetDiskSlowness(1 + random_.Below(200));
    world_.events().After(Lasting(), [this, &machine] {
      if (!world_.healed) machine.SetDiskSlowness(1);
    });
  });
  recurring_.Every("full-disk", faults.disk_full, [this, &tally] {
    Machine& machine = Any();
    tally.Add("disk filled up");
    world_.trace().Story(machine.place(), "its disk is full");
    machine.disk().SetFreeBytes(0);
    world_.events().After(Lasting(), [&machine] { machine.disk().SetFreeBytes(kPlentyFree); });
  });
  recurring_.Every("sync-failure", faults.sync_failure, [this] { Any().disk().FailSync(random_.Below(4)); });
  recurring_.Every("bit-flip", faults.bit_flip, [this] { FlipBit(); });
  recurring_.Every("wipe", faults.wipe, [this] { Wipe(); });
  // A process that ended by itself is started again by its service manager.
  recurring_.Always("restart", world_.swarm().down_max / 2, [this] {
    for (const auto& machine : world_.machines()) {
      // A removed one stays down, but for somebody who tries.
      const bool starts = machine->removed() ? random_.OneIn(10) : random_.OneIn(2);
      if (machine->down() && machine->life() != 0 && starts) BootLater(*machine);
    }
  });
}

void Nemesis::Heal() {
  recurring_.Stop();
  world_.wires().MendAll();
  world_.wires().SetConditions({});
  // A node that cannot run is replaced; one that is damaged elsewhere may stay.
  if (world_.harmed != nullptr && (world_.harmed->crippled() || (!world_.harmed->sound() && random_.OneIn(2)))) Wipe();
  for (const auto& machine : world_.machines()) {
    machine->Calm();
    machine->disk().SetFreeBytes(kPlentyFree);
    machine->disk().FailSync(kNeverFail);
    if (machine->up() && !machine->store().health().ok()) machine->PowerCut(0, "its storage failed");
  }
  LeaveSick();
  BootAll();
}

void Nemesis::LeaveSick() {
  const SickDisks which = world_.swarm().sick_disks;
  if (which == SickDisks::kNone) return;
  world_.tally().Add(which == SickDisks::kOne ? "one disk stays sick" : "all disks stay sick");
  if (which == SickDisks::kAll) {
    for (const auto& machine : world_.machines()) machine->SetDiskSlowness(Swarm::kSickSlowness);
    return;
  }
  Machine& machine = Any();
  machine.SetDiskSlowness(Swarm::kSickSlowness);
  world_.sick = &machine;
  world_.trace().Story(machine.place(), "its disk stays slow");
}

void Nemesis::BootAll() {
  for (const auto& machine : world_.machines()) {
    if (machine->down() && !machine->removed() && !machine->set_aside()) machine->Boot();
  }
}

Machine& Nemesis::Any() { return *world_.machines()[random_.Below(world_.machines().size())]; }

// Around the time in which an election happens: shorter is not noticed, longer teaches nothing new.
Time Nemesis::Lasting() { return static_cast<Time>(random_.Below(static_cast<uint64_t>(4 * world_.swarm().ElectionTime()))); }

void Nemesis::Cut() {
  Machine& from = Any();
  Machine& to = Any();
  if (&from == &to) return;
  world_.tally().Add("one-way cut");
  world_.trace().Story(NodeId{}, "nothing passes from machine ", from.place(), " to machine ", to.place());
  world_.wires().CutOneWay(from.place(), to.place());
  world_.events().After(Lasting(), [this, a = from.place(), b = to.place()] { world_.wires().Mend(a, b); });
}

void Nemesis::Partition() {
  uint64_t inside = random_.Next();
  if (random_.OneIn(2)) inside = uint64_t{1} << Any().place().value();
  std::vector<std::pair<Place, Place>> cuts;
  for (const auto& a : world_.machines()) {
    for (const auto& b : world_.machines()) {
      const bool a_inside = (inside >> a->place().value() & 1) != 0;
      const bool b_inside = (inside >> b->place().value() & 1) != 0;
      if (a_inside != b_inside) cuts.emplace_back(a->place(), b->place());
    }
  }
  world_.tally().Add("partition");
  world_.trace().Story(NodeId{}, "the network splits, ", cuts.size(), " directions are cut");
  for (const auto& [a, b] : cuts) world_.wires().CutOneWay(a, b);
  world_.events().After(Lasting(), [this, cuts] {
    for (const auto& [a, b] : cuts) world_.wires().Mend(a, b);
  });
}

void Nemesis::SlowLink() {
  Machine& from = Any();
  Machine& to = Any();
  if (&from == &to) return;
  world_.wires().Slow(from.place(), to.place(), static_cast<Time>(random_.Below(kSecond)));
  world_.events().After(Lasting(), [this, a = from.place(), b = to.place()] { world_.wires().Slow(a, b, 0); });
}

void Nemesis::CutClient() {
  const Place client{1001 + random_.Below(8)};
  Machine& machine = Any();
  world_.tally().Add("client cut off");
  const bool both = random_.OneIn(2);
  world_.wires().CutOneWay(machine.place(), client);
  if (both) world_.wires().CutOneWay(client, machine.place());
  world_.events().After(Lasting(), [this, a = machine.place(), client, both] {
    world_.wires().Mend(a, client);
    if (both) world_.wires().Mend(client, a);
  });
}

void Nemesis::Crash(Machine& machine, bool power, const char* why) {
  if (machine.down()) return;
  world_.tally().Add(power ? "power cut" : "process killed");
  if (power) {
    machine.PowerCut(static_cast<uint32_t>(random_.Below(5) * 25), why);
  } else {
    machine.Kill(why);
  }
  BootLater(machine);
}

void Nemesis::BootLater(Machine& machine) {
  const Time wait = static_cast<Time>(random_.Below(static_cast<uint64_t>(world_.swarm().down_max)));
  // Now and then it dies again while it starts.
  const bool dies = world_.swarm().faults.crash_at_boundary != 0 && random_.OneIn(4);
  const Machine::Death death{
      .effects = 1 + random_.Below(5), .power = random_.OneIn(2), .survive_percent = static_cast<uint32_t>(random_.Below(5) * 25)};
  world_.events().After(wait, [&machine, life = machine.life(), dies, death] {
    if (!machine.down() || machine.life() != life || machine.set_aside()) return;
    machine.Boot();
    if (dies) machine.DieAfter(death);
  });
}

// The one machine that may lose what it has.
Machine& Nemesis::Harmed() {
  Machine& any = Any();
  if (world_.harmed == nullptr) world_.harmed = &any;
  return *world_.harmed;
}

void Nemesis::FlipBit() {
  if (!world_.cluster_made) return;
  Machine& machine = Harmed();
  const storage::DiskImage& image = machine.disk().Image();
  if (image.empty()) return;
  auto group = image.begin();
  std::advance(group, static_cast<ptrdiff_t>(random_.Below(image.size())));
  if (LostACopy(group->first)) return;
  // Without its metadata a node has nothing: on the machine whose disk was lost that is a second copy of what it had and has again.
  if (group->first == metadata::kMetadataGroup && world_.wiped) return;
  machine.FlipBit(group->first, random_.Next());
}

// With the machine's earlier disk a copy of the partition was lost: another one is more than it is built to lose.
bool Nemesis::LostACopy(GroupId group) const {
  const metadata::Shared<metadata::Image>& newest = world_.moves().newest();
  const metadata::Partition* partition = newest == nullptr ? nullptr : newest->FindPartition(group);
  if (partition == nullptr) return false;
  std::vector<ReplicaId> replicas = partition->Existing();
  if (partition->movement) replicas.insert(replicas.end(), partition->movement->settled.begin(), partition->movement->settled.end());
  return std::any_of(replicas.begin(), replicas.end(), [this](const ReplicaId& replica) { return world_.IsGhost(replica.node); });
}

void Nemesis::Wipe() {
  if (world_.wiped || !world_.cluster_made) return;
  Machine& machine = Harmed();
  if (machine.remembered().node_id() == 0 || machine.removed()) return;
  world_.ghosts.insert(NodeId{machine.remembered().node_id()});
  world_.wiped = true;
  world_.tally().Add("disk wiped");
  if (!machine.down()) machine.PowerCut(0, "its disk is lost");
  world_.witness().OnWiped(machine);
  machine.Wipe();
  BootLater(machine);
}

}  // namespace flotilla::sim::broker
