#include "tests/sim/simulation.h"

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>
#include <vector>

#include "tests/sim/nemesis.h"
#include "tests/sim/operations.h"
#include "tests/sim/world.h"

namespace flotilla::sim {
namespace {

World* g_under_way = nullptr;  // one at a time in a process; for PrintRunUnderWay alone

// A run that never stops scheduling work is a failure of its own, not a hang.
constexpr uint64_t kEventsMax = 8'000'000;

// What the leader knows a member to have; of itself, what is on its disk.
LogIndex HeardBy(const raft::CoreStatus& leader, ReplicaId member) {
  if (member == leader.self) return leader.stable;
  for (const raft::ReplicaStatus& replica : leader.replicas) {
    if (replica.id == member) return replica.match;
  }
  return LogIndex{0};
}

class Simulation {
 public:
  Simulation(const Swarm& swarm, const RunOptions& options)
      : world_(swarm, options.excerpt, options.mode, options.out),
        random_(swarm.seed ^ 0xF1EE7ULL),
        nemesis_(world_, random_.Fork()),
        clients_(world_, random_.Fork()),
        operators_(world_, random_.Fork()) {}

  void Run() {
    Hurt();
    if (world_.verdict().ok()) Heal();
    world_.CollectDiskEvents();
  }
  World& world() { return world_; }

 private:
  // What is asked of a group once it looks settled. Calls; 0: not made yet.
  struct Probe {
    NodeId view;  // the member whose view of the leader is used
    uint64_t proposal = 0;
    uint64_t read = 0;
  };

  void Hurt() {
    Phase("the cluster is hurt");
    for (const auto& node : world_.nodes()) node->Boot();
    operators_.Start();
    clients_.Start();
    nemesis_.Start();
    RunUntil(world_.swarm().hurt_for);
  }

  void Heal() {
    Phase("the cluster heals");
    clients_.Stop();
    nemesis_.Heal();
    operators_.OnlyRepair();
    // A cluster needs a few elections, to replace what was lost, and to send the new ones all they need.
    const Time bound = 180 * kSecond + 150 * world_.swarm().ElectionTime();
    const Time deadline = world_.now() + bound;
    std::string missing = "nothing was looked at";
    while (world_.verdict().ok() && world_.now() < deadline) {
      RunUntil(world_.now() + 5 * world_.swarm().tick);
      nemesis_.BootAll();
      missing = Missing();
      if (missing.empty()) return Finish();
    }
    if (world_.verdict().ok()) {
      world_.verdict().Violated("progress", "after ", bound / kSecond, " s without faults ", missing);
    }
  }

  void RunUntil(Time end) {
    EventQueue& events = world_.events();
    while (world_.verdict().ok() && !events.empty() && events.next() <= end) {
      events.RunOne();
      if (events.executed() > kEventsMax) {
        world_.verdict().Violated("work ends", kEventsMax, " events and no end: something goes round in circles");
      }
    }
  }

  void Phase(const char* what) {
    world_.trace().Mark(Event::kPhase, NodeId{});
    world_.trace().Story(NodeId{}, "---- ", what);
  }

  // What keeps the cluster from being healthy; empty when nothing does. A group that looks settled is asked
  // for a proposal and a read from each member's view; once they are answered it has to be settled again.
  std::string Missing() {
    for (GroupId group : world_.LiveGroups()) {
      const bool asked = probes_.count(group) != 0;
      const std::string missing = asked ? MissingProbes(group) : MissingIn(group);
      if (!missing.empty()) return missing;
      if (asked) continue;
      for (const ReplicaId& member : Leader(group)->configuration().Replicas()) probes_[group].push_back({.view = member.node});
      return "nothing was asked yet";
    }
    for (GroupId group : world_.LiveGroups()) {
      const std::string missing = MissingIn(group);
      if (!missing.empty()) return missing;
    }
    return "";
  }

  std::string MissingIn(GroupId group) {
    std::ostringstream out;
    out << "group " << group << ' ';
    const std::optional<NodeId> leader = world_.LeaderOf(group);
    if (!leader) {
      out << "has no leader";
      return std::move(out).str();
    }
    const raft::RaftCore* core = Leader(group);
    const Configuration configuration = core->configuration();
    if (configuration.joint()) {
      out << "is in a joint configuration: " << configuration;
      return std::move(out).str();
    }
    const raft::CoreStatus leading = core->status();
    for (const ReplicaId& replica : configuration.Replicas()) {
      const raft::RaftCore* other = world_.CoreOn(group, replica.node);
      const ReplicaBook& book = world_.groups().at(group).replicas.at(replica);
      out << "replica " << replica << ' ';
      if (book.lost || book.retired) {
        out << "is lost and not replaced";
        return std::move(out).str();
      }
      if (other == nullptr || other->self() != replica || !other->fault().ok()) {
        out << "does not take part" << (other != nullptr && !other->fault().ok() ? ": " + other->fault().ToString() : "");
        return std::move(out).str();
      }
      if (other->applied() != core->applied() || other->term() != core->term() || core->applied() != core->log().last()) {
        out << "is at " << other->applied() << " of term " << other->term() << ", the leader at " << core->applied() << " of "
            << core->log().last() << " of term " << core->term();
        return std::move(out).str();
      }
      // Until its last acknowledgement arrives, the leader rightly counts the entry as on its way.
      const LogIndex heard = HeardBy(leading, replica);
      if (heard != core->log().last()) {
        out << "is at " << other->applied() << ", and the leader has heard of no more than " << heard;
        return std::move(out).str();
      }
      const SimMachine* machine = world_.node(replica.node).machine(group);
      if (machine == nullptr || !machine->StateHash() || machine->StateHash() != world_.node(*leader).machine(group)->StateHash()) {
        out << "has another state than the leader " << *leader;
        return std::move(out).str();
      }
      out.str("");
      out << "group " << group << ' ';
    }
    return "";
  }

  // Asks anew what was not answered OK: a leader may still have changed, or had too much to do.
  std::string MissingProbes(GroupId group) {
    std::string missing;
    for (Probe& probe : probes_.at(group)) {
      const std::optional<Status> proposed = world_.OutcomeOf(probe.proposal);
      const std::optional<Status> read = world_.OutcomeOf(probe.read);
      if (proposed && proposed->ok() && read && read->ok()) continue;
      if (!IsMember(group, probe.view)) continue;  // a change that was under way has dropped it since
      std::ostringstream out;
      out << "group " << group << ": a fresh proposal to the leader that node " << probe.view << " names ended with "
          << (proposed ? proposed->ToString() : "nothing") << ", and a read on it with " << (read ? read->ToString() : "nothing");
      missing = std::move(out).str();
      const raft::RaftCore* core = world_.CoreOn(group, probe.view);
      if (core == nullptr) continue;
      const NodeId target = core->leader().valid() ? core->leader().node : probe.view;
      if (probe.proposal == 0 || (proposed && !proposed->ok())) {
        probe.proposal = world_.Propose(group, target, {clients_.NewCommand(group)}, EntryKind::kData, 10);
      }
      if (probe.read == 0 || (read && !read->ok())) probe.read = world_.Read(group, probe.view);
    }
    return missing;
  }

  // Whether the group counts on a replica there; while nobody leads, as before.
  bool IsMember(GroupId group, NodeId node) {
    if (!world_.LeaderOf(group)) return true;
    for (const ReplicaId& member : Leader(group)->configuration().Replicas()) {
      if (member.node == node) return true;
    }
    return false;
  }

  const raft::RaftCore* Leader(GroupId group) { return world_.CoreOn(group, *world_.LeaderOf(group)); }

  void Finish() {
    Phase("the cluster is healthy");
    for (GroupId group : world_.LiveGroups()) {
      const NodeId leader = *world_.LeaderOf(group);
      const Result<raft::GroupCounters> counters = world_.node(leader).host().Counters(group);
      if (!counters.ok()) continue;
      if (counters->core.uncommitted_bytes != 0 || counters->proposals_waiting != 0) {
        world_.verdict().Violated("nothing is left over", "group ", group, " is idle and counts ", counters->core.uncommitted_bytes,
                                  " uncommitted bytes and ", counters->proposals_waiting, " waiting proposals");
      }
      for (const raft::ReplicaStatus& replica : counters->core.replicas) {
        if (replica.inflight_messages == 0 && replica.inflight_bytes == 0) continue;
        world_.verdict().Violated("nothing is left over", "group ", group, " is idle and counts ", replica.inflight_messages,
                                  " messages and ", replica.inflight_bytes, " bytes on their way to ", replica.id);
      }
    }
  }

  World world_;
  Random random_;
  Nemesis nemesis_;
  Clients clients_;
  Operators operators_;
  std::map<GroupId, std::vector<Probe>> probes_;
};

}  // namespace

RunResult RunSeed(uint64_t seed, const RunOptions& options) {
  const Swarm swarm = MakeSwarm(seed);
  Simulation simulation(swarm, options);
  World& world = simulation.world();
  g_under_way = &world;
  world.trace().Story(NodeId{}, "seed ", seed, ": ", swarm.Describe());
  simulation.Run();
  g_under_way = nullptr;
  RunResult result{.seed = seed,
                   .failure = world.verdict().first(),
                   .trace_hash = world.trace().hash(),
                   .events = world.events().executed(),
                   .virtual_time = world.now(),
                   .coverage = world.coverage(),
                   .parts = world.parts().taken(),
                   .hurt_for = world.swarm().hurt_for};
  if (!result.ok() && options.out != nullptr && options.mode == Trace::Mode::kKeepLast) world.trace().PrintLast(*options.out);
  return result;
}

void PrintRunUnderWay(std::ostream& out) {
  if (g_under_way != nullptr) g_under_way->trace().PrintLast(out);
}

}  // namespace flotilla::sim
