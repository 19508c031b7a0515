#include "tests/sim/broker/world.h"

#include <glog/logging.h>

#include "server/metadata/image_codec.h"

namespace flotilla::sim::broker {

namespace {

constexpr size_t kQueuedWorkMax = 20'000;

// What of the swarm is a part of its own, and may be left out.
Swarm LeaveOut(Swarm swarm, Parts& parts) {
  WireConditions& wires = swarm.wires;
  if (wires.loss > 0 && !parts.Take("loss", 1)) wires.loss = 0;
  if (wires.reset > 0 && !parts.Take("reset", 1)) wires.reset = 0;
  if (wires.straggler > 0 && !parts.Take("straggler", 1)) wires.straggler = 0;
  if (swarm.two_inits && !parts.Take("second-founder", 1)) swarm.two_inits = false;
  if (swarm.sick_disks != SickDisks::kNone && !parts.Take("sick-disks", 1)) swarm.sick_disks = SickDisks::kNone;
  if (!swarm.calm_birth && !parts.Take("rough-birth", 1)) swarm.calm_birth = true;
  swarm.hurt_for = parts.HurtFor(swarm.hurt_for);
  return swarm;
}

}  // namespace

World::World(const Swarm& swarm, const Excerpt& excerpt, Trace::Mode mode, std::ostream* trace_out)
    : parts_(excerpt),
      swarm_(LeaveOut(swarm, parts_)),
      trace_(events_, mode, 400, trace_out),
      random_(swarm.seed),
      wires_(events_, random_.Fork(), tally_),
      witness_(machines_, verdict_, tally_, trace_),
      ledger_(verdict_, tally_, &witness_),
      moves_(verdict_, tally_) {
  wires_.SetConditions(swarm_.wires);
  const Environment environment{.events = events_, .wires = wires_, .trace = trace_, .tally = tally_, .verdict = verdict_, .swarm = swarm_};
  connections_ = std::make_unique<Connections>(environment, random_.Fork());
  for (uint32_t i = 1; i <= swarm_.machines; ++i) {
    machines_.push_back(std::make_unique<Machine>(Place{i}, environment, static_cast<MachineOwner&>(*this),
                                                  static_cast<PeerDirectory&>(*this), random_.Fork()));
  }
}

World::~World() {
  // A dead process has no effects any more.
  for (const auto& machine : machines_) machine->Kill("the run is over");
}

Machine* World::AtAddress(const std::string& peer_address) {
  for (const auto& machine : machines_) {
    if (machine->peer_address() == peer_address) return machine.get();
  }
  return nullptr;
}

void World::OnDown(Machine& machine) {
  connections_->OnDown(machine);
  machine.network().Abandon();
  for (const auto& other : machines_) {
    if (other.get() != &machine && other->up()) other->network().PeerDied(machine.peer_address());
  }
  looked_at_.erase(machine.place().value());
}

void World::OnEventOver(Machine& machine) {
  CheckImage(machine);
  moves_.OnEventOver(machine);
  if (machine.queued_work() > kQueuedWorkMax) {
    verdict_.Violated("queues are bounded", "machine ", machine.place(), " has ", machine.queued_work(),
                      " pieces of work to do; the limit is ", kQueuedWorkMax);
  }
}

void World::OnRemoved(Machine& machine) {
  const NodeId node{machine.remembered().node_id()};
  tally_.Add("removed node stopped");
  if (moves_.newest() == nullptr || !moves_.newest()->WasRemoved(node)) {
    verdict_.Violated("only removed nodes say that they are", "machine ", machine.place(), " is node ", node, ", which is in the cluster");
  }
}

Machine& World::OneInService() {
  for (const auto& machine : machines_) {
    if (machine->serving() && !machine->removed()) return *machine;
  }
  LOG(FATAL) << "no machine serves";
  return *machines_.front();
}

void World::CheckImage(Machine& machine) {
  const metadata::Shared<metadata::Image> image = machine.broker().metadata();
  if (image == nullptr || !image->cluster) return;
  const metadata::Image*& seen = looked_at_[machine.place().value()];
  if (seen == image.get()) return;
  seen = image.get();
  kept_[machine.place().value()] = image;
  moves_.OnImage(image);
  witness_.OnImage(image);
  CountFitness(*image);
  CheckFeatureLevel(machine, *image);
  const std::string cluster = image->cluster->id.ToString();
  if (cluster_.empty()) cluster_ = cluster;
  if (cluster_ != cluster) {
    verdict_.Violated("one cluster is born", "machine ", machine.place(), " is in cluster ", cluster, ", others in ", cluster_);
  }
  const uint32_t checksum = metadata::ImageChecksum(*image);
  trace_.Mark(Event::kApply, machine.place(), image->version.value(), checksum);
  const auto [at, added] = checksums_.emplace(std::pair{cluster, image->version.value()}, checksum);
  if (!added && at->second != checksum) {
    verdict_.Violated("metadata is the same everywhere", "machine ", machine.place(), " has other metadata of version ", image->version,
                      " than another one");
  }
}

void World::CheckFeatureLevel(const Machine& machine, const metadata::Image& image) {
  const uint32_t level = image.feature_level();
  if (!machine.features().Contains(level)) {
    verdict_.Violated("nobody runs at a level that it does not know", "machine ", machine.place(), " knows feature levels up to ",
                      machine.features().max, " and shows metadata of level ", level);
  }
  image.nodes.ForEach([&](NodeId id, const metadata::Shared<metadata::Node>& node) {
    if (node->description.features.Contains(level)) return;
    verdict_.Violated("every node knows the level", "node ", id, " is registered with feature levels up to ",
                      node->description.features.max, ", the cluster is at ", level);
  });
}

void World::CountFitness(const metadata::Image& image) {
  if (image.version <= fitness_of_) return;
  fitness_of_ = image.version;
  image.nodes.ForEach([&](NodeId id, const metadata::Shared<metadata::Node>& node) {
    bool& unfit = unfit_[id];
    if (unfit == node->unfit_to_lead) return;
    unfit = node->unfit_to_lead;
    tally_.Add(unfit ? "node unfit to lead" : "node fit to lead again");
    trace_.Story(NodeId{}, "node ", id, unfit ? " is unfit to lead" : " is fit to lead again");
  });
}

std::vector<std::string> ExpectedMet() {
  return {"raft message lost",
          "connection reset half-way",
          "message delayed for long",
          "message on a slow link",
          "message cut off",
          "forward stream opened",
          "forward stream broken",
          "client stream broken",
          "one-way cut",
          "partition",
          "client cut off",
          "process killed",
          "power cut",
          "whole cluster down",
          "orderly stop in time",
          "orderly stop cut short",
          "pause",
          "clock changed its rate",
          "clock jumped",
          "disk slow",
          "disk filled up",
          "node unfit to lead",
          "node fit to lead again",
          "one disk stays sick",
          "all disks stay sick",
          "sync failed",
          "disk wiped",
          "bit flipped",
          "process ends by itself",
          "crash before the node's file is written",
          "crash before a write is queued",
          "crash before a message of Raft",
          "crash before a call to a peer",
          "crash before an answer to a peer",
          "crash before a part is forwarded",
          "crash before an answer to a client",
          "crash before an event to a client",
          "append acknowledged",
          "append deduplicated",
          "append refused",
          "append unknown",
          "conditional append refused",
          "epoch raised",
          "producer id by request",
          "producer id from a block",
          "record read",
          "subscription resumed",
          "subscription started",
          "credit granted",
          "compressed batch read",
          "offsets listed",
          "topic created",
          "topics listed",
          "topic deleted",
          "partitions added",
          "config updated",
          "partition trimmed",
          "leadership transferred",
          "read behind the start",
          "produce waits for newer metadata",
          "metadata watched",
          "unsynced write lost",
          "unsynced write torn",
          "unsynced write kept",
          "damage noticed",
          "damaged node stops",
          "record looked for on the disks",
          "leader elected",
          "vote cast",
          "entries overwritten",
          "log replaced by a snapshot",
          "log cut behind a trim",
          "metadata's log cut behind a snapshot",
          "checkpoint written",
          "members changed",
          "replica made",
          "replica deleted",
          "answered ERROR_REASON_NO_LEADER",
          "answered ERROR_REASON_OUTCOME_UNKNOWN",
          "answered ERROR_REASON_OUT_OF_ORDER",
          "answered ERROR_REASON_OFFSET_MISMATCH",
          "answered ERROR_REASON_NOT_INITIALIZED",
          "answered ERROR_REASON_SHUTTING_DOWN",
          "answered ERROR_REASON_TOPIC_NOT_FOUND",
          "answered ERROR_REASON_DISK_FULL",
          "answered ERROR_REASON_UNKNOWN_PRODUCER",
          "answered ERROR_REASON_DEADLINE_EXCEEDED",
          "answered ERROR_REASON_STORAGE_FAILED",
          "answered ERROR_REASON_CONFIGURATION_PENDING",
          "stream ended ERROR_REASON_SHUTTING_DOWN",
          "stream ended ERROR_REASON_TOPIC_NOT_FOUND",
          "stream ended ERROR_REASON_OFFSET_OUT_OF_RANGE",
          "move asked for",
          "rebuild asked for",
          "move called off",
          "node drained",
          "node undrained",
          "node decommissioned",
          "node recommissioned",
          "node removed",
          "balancing asked for",
          "balancing called off",
          "machine added",
          "machine replaced",
          "removed node stopped",
          "moved replica destroyed",
          "damaged replica destroyed",
          "joint configuration committed",
          "answered ERROR_REASON_MOVE_UNDER_WAY",
          "answered ERROR_REASON_MOVE_NOT_FOUND",
          "answered ERROR_REASON_REPLICA_EXISTS",
          "answered ERROR_REASON_REPLICA_NOT_FOUND",
          "answered ERROR_REASON_NODE_NOT_FOUND",
          "answered ERROR_REASON_NODE_ALIVE",
          "answered ERROR_REASON_NOT_ENOUGH_NODES",
          "answered ERROR_REASON_QUORUM_AT_RISK",
          "answered ERROR_REASON_NODE_DECOMMISSIONING",
          "answered ERROR_REASON_BALANCE_UNDER_WAY",
          "two disks lost at once",
          "three disks lost at once",
          "metadata went on alone",
          "disks not lost after all",
          "partition went on alone",
          "answered ERROR_REASON_QUORUM_ALIVE",
          "newer program installed",
          "older program installed",
          "feature level raised",
          "node that is too old stops",
          "answered ERROR_REASON_PROTOCOL_MISMATCH"};
}

}  // namespace flotilla::sim::broker
