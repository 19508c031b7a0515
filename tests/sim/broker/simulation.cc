#include "tests/sim/broker/simulation.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/broker/end_check.h"
#include "tests/sim/broker/movers.h"
#include "tests/sim/broker/nemesis.h"
#include "tests/sim/broker/onlookers.h"
#include "tests/sim/broker/operators.h"
#include "tests/sim/broker/readers.h"
#include "tests/sim/broker/rescuers.h"
#include "tests/sim/broker/upgraders.h"
#include "tests/sim/broker/world.h"

namespace flotilla::sim::broker {
namespace {

World* g_under_way = nullptr;  // one at a time in a process; for PrintRunUnderWay alone

// A run that never stops scheduling work is a failure of its own, not a hang.
constexpr uint64_t kEventsMax = 12'000'000;
// Founding a cluster without faults, and everything after the healing.
constexpr Time kBirthMax = 60 * kSecond;
constexpr Time kHealingMax = 120 * kSecond;
// A thousand entries that are copied one by one take a sync of a sick disk each.
constexpr Time kHealingOnSickDisksMax = 300 * kSecond;
constexpr Time kQuietAfter = 5 * kSecond;
// A disk that was sick may be found well when nothing is written any more: that is written down, once.
constexpr Time kAgreedAfter = 10 * kSecond;
// Heartbeats, ticks and reports go on.
constexpr size_t kWorkWhenIdle = 20;
constexpr int kLooksWhenIdle = 5;
constexpr Time kBetweenLooks = 300 * kMillisecond;

class Simulation {
 public:
  Simulation(const Swarm& swarm, const RunOptions& options)
      : world_(swarm, options.excerpt, options.mode, options.out), nemesis_(world_, world_.Fork()) {
    const auto add = [this](uint32_t count, const auto& make) {
      for (uint32_t i = 0; i < count; ++i) clients_.push_back(make());
    };
    clients_.push_back(std::make_unique<Operators>(world_));
    add(swarm.partition_producers, [this] { return std::make_unique<IdempotentProducer>(world_, false); });
    add(swarm.topic_producers, [this] { return std::make_unique<IdempotentProducer>(world_, true); });
    add(swarm.plain_producers, [this] { return std::make_unique<PlainProducer>(world_); });
    add(swarm.fetchers, [this] { return std::make_unique<Fetcher>(world_); });
    add(swarm.subscribers, [this] { return std::make_unique<Subscriber>(world_); });
    add(swarm.watchers, [this] { return std::make_unique<Watcher>(world_); });
    add(swarm.operations.list_offsets == 0 ? 0 : 1, [this] { return std::make_unique<Surveyor>(world_); });
    add(swarm.moves ? 1 : 0, [this] { return std::make_unique<Movers>(world_); });
    add(swarm.lost_disks != 0 ? 1 : 0, [this] { return std::make_unique<Rescuers>(world_); });
    add(swarm.upgrades ? 1 : 0, [this] { return std::make_unique<Upgraders>(world_); });
    add(swarm.operations.look_often == 0 ? 0 : 1, [this] { return std::make_unique<Onlookers>(world_); });
  }

  void Run() {
    Birth();
    if (world_.verdict().ok()) Hurt();
    if (world_.verdict().ok()) Heal();
    if (world_.verdict().ok()) End();
    for (const auto& machine : world_.machines()) {
      const storage::DiskEvents& disk = machine->disk().events();
      world_.tally().Add("unsynced write lost", disk.unsynced_lost);
      world_.tally().Add("unsynced write torn", disk.unsynced_torn);
      world_.tally().Add("unsynced write kept", disk.unsynced_kept);
      world_.tally().Add("sync failed", disk.syncs_failed);
      if (machine->up()) world_.tally().Add("damage noticed", machine->store().Counters().corruptions);
    }
  }
  World& world() { return world_; }

 private:
  void Phase(const char* what) {
    world_.trace().Mark(Event::kPhase, NodeId{});
    world_.trace().Story(NodeId{}, "---- ", what);
  }

  template <typename Condition>
  bool RunUntil(Time end, Condition reached) {
    EventQueue& events = world_.events();
    while (world_.verdict().ok() && !events.empty() && events.next() <= end) {
      events.RunOne();
      if (reached()) return true;
      if (events.executed() > kEventsMax) {
        world_.verdict().Violated("work ends", kEventsMax, " events and no end: something goes round in circles");
      }
    }
    return false;
  }
  void RunUntil(Time end) {
    RunUntil(end, [] { return false; });
  }

  void Birth() {
    Phase("a cluster is born");
    for (uint32_t i = 0; i < world_.swarm().founders; ++i) world_.machines()[i]->Boot();
    for (const auto& client : clients_) {
      // Without operators there is no cluster.
      if (client->number() == 1 || world_.parts().Take("client", client->number())) client->Start();
    }
    if (!world_.swarm().calm_birth) return;
    world_.wires().SetConditions({});
    if (!RunUntil(world_.now() + kBirthMax, [this] { return world_.cluster_made; }) && world_.verdict().ok()) {
      world_.verdict().Violated("a cluster is born", "nobody got it founded in ", kBirthMax / kSecond, " s without faults");
    }
    world_.wires().SetConditions(world_.swarm().wires);
  }

  void Hurt() {
    Phase("the cluster is hurt");
    nemesis_.Start();
    RunUntil(world_.now() + world_.swarm().hurt_for);
  }

  Time HealingMax() const { return world_.swarm().sick_disks == SickDisks::kAll ? kHealingOnSickDisksMax : kHealingMax; }

  // Everybody gets done what is begun; nothing new.
  void Heal() {
    Phase("the cluster heals");
    world_.healed = true;
    nemesis_.Heal();
    for (const auto& client : clients_) client->Stop();
    const Time deadline = world_.now() + HealingMax();
    std::string waiting = "the cluster is not founded";
    while (world_.verdict().ok() && world_.now() < deadline) {
      RunUntil(world_.now() + 200 * kMillisecond);
      nemesis_.BootAll();
      if (!world_.cluster_made) continue;
      waiting.clear();
      for (const auto& client : clients_) {
        if (waiting.empty()) waiting = client->Waiting();
      }
      if (waiting.empty()) break;
    }
    if (world_.verdict().ok() && !waiting.empty()) {
      world_.moves().Tell(world_.machines(), world_.trace());
      return world_.verdict().Violated("progress", "after ", HealingMax() / kSecond, " s without faults ", waiting);
    }
    Phase("everything has to work");
    clients_.push_back(std::make_unique<EndCheck>(world_));
    auto& check = static_cast<EndCheck&>(*clients_.back());
    check.Start();
    const Time end = world_.now() + HealingMax();
    while (world_.verdict().ok() && world_.now() < end && !RunUntil(world_.now() + 200 * kMillisecond, [&check] { return check.done(); })) {
      nemesis_.BootAll();
    }
    if (world_.verdict().ok() && !check.done()) {
      world_.moves().Tell(world_.machines(), world_.trace());
      world_.verdict().Violated("progress", "after ", HealingMax() / kSecond, " s without faults ", check.Waiting());
    }
  }

  // Nobody waits for anything any more: nothing may be kept for them.
  void End() {
    Phase("it is quiet");
    RunUntil(world_.now() + kQuietAfter);
    CheckQueues();
    RunUntil(world_.now() + kAgreedAfter, [this] { return IsWrittenDown(); });
    LogIndex version;
    for (const auto& machine : world_.machines()) {
      if (machine->removed() || !machine->sound()) continue;
      const auto image = machine->broker().metadata();
      const LogIndex its = image == nullptr ? LogIndex{} : image->version;
      if (version == LogIndex{}) version = its;
      if (its != version || its == LogIndex{}) {
        world_.verdict().Violated("metadata is the same everywhere", "machine ", machine->place(), " is at version ", its,
                                  ", another one at ", version, " when all is quiet");
      }
    }
    for (const auto& machine : world_.machines()) {
      if (machine->too_old_for() <= world_.moves().newest()->feature_level()) continue;
      world_.verdict().Violated("who stops for its age is too old", "machine ", machine->place(), " stopped for feature level ",
                                machine->too_old_for(), ", which nobody ever decided");
    }
    world_.witness().CheckLeftovers();
    world_.moves().CheckEnd(world_.machines());
  }

  // Everywhere the same metadata, and nothing on its way to a disk.
  bool IsWrittenDown() {
    std::set<LogIndex> versions;
    for (const auto& machine : world_.machines()) {
      if (machine->removed() || !machine->sound()) continue;
      if (machine->store().Counters().queue_tasks != 0) return false;
      const auto image = machine->broker().metadata();
      versions.insert(image == nullptr ? LogIndex{} : image->version);
    }
    return versions.size() <= 1;
  }

  // Whatever waits somewhere waits for somebody, and there is nobody. Only the cluster itself goes on: a leadership may go home at any
  // time, which takes some milliseconds and a write. What is kept for nobody is there at every look.
  void CheckQueues() {
    std::map<Left, uint64_t> left = LeftOver();
    for (int look = 1; look < kLooksWhenIdle && !left.empty(); ++look) {
      RunUntil(world_.now() + kBetweenLooks);
      const std::map<Left, uint64_t> now = LeftOver();
      std::erase_if(left, [&now](const auto& row) { return !now.contains(row.first); });
    }
    for (const auto& [what, size] : left) {
      world_.verdict().Violated("nothing is left over", "machine ", what.first, " is idle and keeps ", size, ' ', what.second);
    }
  }

  using Left = std::pair<Place, std::string>;
  std::map<Left, uint64_t> LeftOver() {
    std::map<Left, uint64_t> left;
    for (const auto& machine : world_.machines()) {
      if (!machine->removed() && machine->sound() && IsMember(*machine)) AddLeftOver(*machine, &left);
    }
    return left;
  }

  // Or its node was removed, and it is about to hear of that from whomever it asks for the metadata.
  bool IsMember(const Machine& machine) { return world_.moves().newest()->FindNode(NodeId{machine.remembered().node_id()}) != nullptr; }

  static void AddLeftOver(Machine& machine, std::map<Left, uint64_t>* left) {
    const auto counters = machine.broker().counters();
    if (!counters) return;
    const flotilla::broker::Backlog& backlog = counters->backlog;
    const storage::StoreCounters store = machine.store().Counters();
    // A node that catches up on a sick disk always has some; those that nothing comes of are the same at every look.
    const std::string tasks = "tasks for the disk, after " + std::to_string(store.tasks);
    const std::pair<std::string, uint64_t> queues[] = {
        {"subscriptions", counters->subscriptions},
        {"calls", backlog.calls},
        {"looks at the metadata", backlog.metadata_syncs},
        {"decisions about the metadata", backlog.decisions},
        {"waits for a leader", backlog.leader_waits},
        {"fetches", backlog.fetches},
        {"reads of partitions", backlog.reads},
        {"attempts at partitions", backlog.attempts},
        {"appends in partitions", backlog.appends},
        {"fetches in partitions", backlog.parked},
        {"parts to be sent to peers", machine.network().waiting()},
        {tasks, store.queue_tasks},
        {"pieces of work", machine.queued_work() > kWorkWhenIdle ? machine.queued_work() : 0}};
    for (const auto& [name, size] : queues) {
      if (size != 0) left->emplace(Left{machine.place(), name}, size);
    }
  }

  World world_;
  Nemesis nemesis_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace

RunResult RunSeed(uint64_t seed, const RunOptions& options) {
  const Swarm swarm = MakeSwarm(seed);
  auto simulation = std::make_unique<Simulation>(swarm, options);
  World& world = simulation->world();
  g_under_way = &world;
  world.trace().Story(NodeId{}, "seed ", seed, ": ", swarm.Describe());
  simulation->Run();
  RunResult result{.seed = seed,
                   .failure = world.verdict().first(),
                   .trace_hash = world.trace().hash(),
                   .events = world.events().executed(),
                   .virtual_time = world.now(),
                   .tally = world.tally(),
                   .parts = world.parts().taken(),
                   .hurt_for = world.swarm().hurt_for};
  if (!result.ok() && options.out != nullptr && options.mode == Trace::Mode::kKeepLast) world.trace().PrintLast(*options.out);
  g_under_way = nullptr;
  return result;
}

void PrintRunUnderWay(std::ostream& out) {
  if (g_under_way != nullptr) g_under_way->trace().PrintLast(out);
}

}  // namespace flotilla::sim::broker
