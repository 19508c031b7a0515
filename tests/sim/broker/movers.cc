#include "tests/sim/broker/movers.h"

#include <algorithm>
#include <set>

#include "flotilla/v1/admin.pb.h"
#include "tests/sim/broker/refusals.h"

namespace flotilla::sim::broker {
namespace {

constexpr Time kTimeout = 4 * kSecond;
constexpr Time kCleanUpEvery = 2 * kSecond;
constexpr size_t kReplicasMax = 3;  // of a topic

}  // namespace

void Movers::Start() {
  const OperationRates& rates = world_.swarm().operations;
  recurring_.Every("move", rates.move, [this] { Move(); });
  recurring_.Every("rebuild", rates.rebuild, [this] { Rebuild(); });
  recurring_.Every("cancel-move", rates.cancel_move, [this] {
    v1::PartitionRef partition;
    if (AnyPartition(&partition)) CancelMove(partition);
  });
  recurring_.Every("drain", rates.drain, [this] { Drain(); });
  recurring_.Every("decommission", rates.decommission, [this] { Decommission(); });
  recurring_.Every("recommission", rates.recommission, [this] { Recommission(); });
  recurring_.Every("remove", rates.remove, [this] { Remove(); });
  recurring_.Every("balance", rates.balance, [this] { Balance(); });
  recurring_.Every("look-at-nodes", rates.look_at_nodes, [this] { Look(); });
  recurring_.Every("join", rates.join, [this] { Join(); });
  recurring_.Every("replace", rates.replace, [this] { Replace(); });
}

void Movers::Stop() {
  stopped_ = true;
  recurring_.Stop();
  CleanUp();
}

const metadata::Image* Movers::image() const { return world_.moves().newest().get(); }

std::string Movers::Waiting() const {
  if (open_ != 0) return "people who move things wait for " + std::to_string(open_) + " answers";
  if (image() == nullptr) return "";
  std::string waiting;
  std::set<NodeId> held_up;  // by what waits in vain
  image()->moving.ForEach([&](GroupId group, metadata::MoveCause) {
    if (!world_.moves().WaitsInVain(group)) {
      waiting += (waiting.empty() ? "groups are moving: " : ", ") + std::to_string(group.value());
      return;
    }
    for (const ReplicaId& id : image()->FindPartition(group)->Existing()) held_up.insert(id.node);
  });
  if (image()->balancing) waiting += " the cluster is being balanced";
  image()->nodes.ForEach([&](NodeId id, const metadata::Shared<metadata::Node>& node) {
    if (node->mode == metadata::NodeMode::kDecommissioning && !held_up.contains(id))
      waiting += " node " + std::to_string(id.value()) + " is being decommissioned";
  });
  return waiting;
}

void Movers::Ask(const char* method, const std::string& request, const char* done) {
  ++open_;
  Machine& machine = AnyMachine();
  world_.Tell(place_, "asks machine ", machine.place(), " for ", method);
  world_.connections().Call(place_, machine, method, request, kTimeout, [this, method, done](const CallOutcome& outcome) {
    --open_;
    world_.Tell(place_, method, ": ", outcome.ToString());
    if (outcome.ok()) world_.tally().Add(done);
    if (outcome.error && !IsHonest(outcome.error->reason())) {
      world_.verdict().Violated("people are told why not", method, ": ", outcome.ToString());
    }
  });
}

// --- whom and what

int32_t Movers::AnyNode() {
  if (image() == nullptr || random_.OneIn(20)) return static_cast<int32_t>(random_.Below(12));
  return static_cast<int32_t>(1 + random_.Below(image()->next_node.value() - 1));
}

int32_t Movers::AnyNodeInUse() {
  std::vector<int32_t> ids;
  image()->nodes.ForEach([&](NodeId id, const metadata::Shared<metadata::Node>& node) {
    if (node->alive && node->mode != metadata::NodeMode::kDecommissioning) ids.push_back(static_cast<int32_t>(id.value()));
  });
  return ids.empty() ? 1 : ids[random_.Below(ids.size())];
}

// One more than topics need, alive and in use. A lost disk may still come.
bool Movers::EnoughNodes() const {
  if (image() == nullptr) return false;
  return image()->NodesForReplicas().size() > kReplicasMax + (world_.swarm().faults.wipe != 0 && !world_.wiped ? 1 : 0);
}

bool Movers::AnyPartition(v1::PartitionRef* ref) {
  const std::vector<TopicFacts*> topics = world_.ledger().LiveTopics();
  if (topics.empty()) return false;
  const TopicFacts& topic = *topics[random_.Below(topics.size())];
  ref->mutable_topic()->set_topic_id(topic.id);
  ref->set_partition(static_cast<int32_t>(random_.Below(static_cast<uint64_t>(std::max(topic.partitions, 1)))));
  return true;
}

// --- what they do

void Movers::Move() {
  v1::MovePartitionRequest request;
  if (image() == nullptr || !AnyPartition(request.mutable_partition())) return;
  request.set_from_node_id(AnyNode());
  if (random_.OneIn(2)) request.set_to_node_id(AnyNodeInUse());
  request.set_validate_only(random_.OneIn(10));
  if (random_.OneIn(2)) request.set_request_id("m-" + std::to_string(random_.Next()));
  Ask("/flotilla.v1.AdminService/MovePartition", request.SerializeAsString(), "move asked for");
}

void Movers::Rebuild() {
  v1::RebuildReplicaRequest request;
  if (!AnyPartition(request.mutable_partition())) return;
  request.set_node_id(AnyNode());
  // A rebuild gives up a copy, as a lost or damaged disk does: two at once are more than three replicas can bear.
  const FaultRates& faults = world_.swarm().faults;
  if (faults.wipe != 0 || faults.bit_flip != 0) {
    if (world_.harmed == nullptr || world_.harmed->down()) return;
    request.set_node_id(static_cast<int32_t>(world_.harmed->remembered().node_id()));
  }
  Ask("/flotilla.v1.AdminService/RebuildReplica", request.SerializeAsString(), "rebuild asked for");
}

void Movers::CancelMove(const v1::PartitionRef& partition) {
  v1::CancelMoveRequest request;
  *request.mutable_partition() = partition;
  Ask("/flotilla.v1.AdminService/CancelMove", request.SerializeAsString(), "move called off");
}

void Movers::Drain() {
  const int32_t node = AnyNode();
  if (random_.OneIn(2)) {
    v1::DrainNodeRequest request;
    request.set_node_id(node);
    Ask("/flotilla.v1.ClusterService/DrainNode", request.SerializeAsString(), "node drained");
  } else {
    v1::UndrainNodeRequest request;
    request.set_node_id(node);
    Ask("/flotilla.v1.ClusterService/UndrainNode", request.SerializeAsString(), "node undrained");
  }
}

void Movers::Decommission() {
  if (!EnoughNodes()) return;
  v1::DecommissionNodeRequest request;
  request.set_node_id(AnyNode());
  request.set_validate_only(random_.OneIn(10));
  Ask("/flotilla.v1.ClusterService/DecommissionNode", request.SerializeAsString(), "node decommissioned");
}

void Movers::Recommission() {
  v1::RecommissionNodeRequest request;
  request.set_node_id(AnyNode());
  Ask("/flotilla.v1.ClusterService/RecommissionNode", request.SerializeAsString(), "node recommissioned");
}

void Movers::Remove() {
  if (!EnoughNodes()) return;
  v1::RemoveNodeRequest request;
  request.set_node_id(AnyNode());
  // Those that are dead are the ones to remove.
  image()->nodes.ForEach([&](NodeId id, const metadata::Shared<metadata::Node>& node) {
    if (!node->alive && random_.OneIn(2)) request.set_node_id(static_cast<int32_t>(id.value()));
  });
  Ask("/flotilla.v1.ClusterService/RemoveNode", request.SerializeAsString(), "node removed");
}

void Movers::Balance() {
  if (random_.OneIn(3)) return Ask("/flotilla.v1.ClusterService/CancelBalance", "", "balancing called off");
  v1::StartBalanceRequest request;
  request.set_validate_only(random_.OneIn(4));
  Ask("/flotilla.v1.ClusterService/StartBalance", request.SerializeAsString(), "balancing asked for");
}

void Movers::Look() {
  v1::GetNodeRequest node;
  node.set_node_id(AnyNode());
  v1::CheckSafeToStopRequest stop;
  stop.set_node_id(AnyNode());
  switch (random_.Below(4)) {
    case 0: return Ask("/flotilla.v1.ClusterService/GetNode", node.SerializeAsString(), "node looked at");
    case 1: return Ask("/flotilla.v1.ClusterService/CheckSafeToStop", stop.SerializeAsString(), "stop thought about");
    case 2: return Ask("/flotilla.v1.ClusterService/GetBalance", "", "balancing looked at");
    default: return Ask("/flotilla.v1.AdminService/ListMoves", "", "moves listed");
  }
}

// A machine that was not there before.
void Movers::Join() {
  for (const auto& machine : world_.machines()) {
    if (!machine->down() || machine->life() != 0) continue;
    world_.tally().Add("machine added");
    return machine->Boot();
  }
}

// A removed machine gets an empty disk, and comes back as a new node.
void Movers::Replace() {
  for (const auto& machine : world_.machines()) {
    if (!machine->removed() || !machine->down()) continue;
    world_.tally().Add("machine replaced");
    machine->Wipe();
    return machine->Boot();
  }
}

void Movers::CleanUp() {
  if (!world_.verdict().ok()) return;
  world_.events().After(kCleanUpEvery, [this] { CleanUp(); });
  if (image() == nullptr) return;
  // A move to a node that will never come back is called off.
  image()->moving.ForEach([this](GroupId group, metadata::MoveCause cause) {
    const metadata::Partition& partition = *image()->FindPartition(group);
    // On the way back to such a node, or built anew there: that one has to go, nothing can be called off.
    const bool no_way_back = cause == metadata::MoveCause::kRebuild || partition.NewReplicas().empty();
    for (const ReplicaId& replica : partition.replicas) {
      // One from before the move may have left the group, and be waited for.
      const std::vector<ReplicaId>& before = partition.movement->settled;
      const bool awaited = no_way_back || std::find(before.begin(), before.end(), replica) != before.end();
      if (!awaited || !world_.IsGhost(replica.node)) continue;
      v1::RemoveNodeRequest request;
      request.set_node_id(static_cast<int32_t>(replica.node.value()));
      return Ask("/flotilla.v1.ClusterService/RemoveNode", request.SerializeAsString(), "node removed");
    }
    const bool lost = std::any_of(partition.replicas.begin(), partition.replicas.end(), [&](const ReplicaId& replica) {
      const std::vector<ReplicaId>& before = partition.movement->settled;
      return world_.IsGhost(replica.node) && std::find(before.begin(), before.end(), replica) == before.end();
    });
    if (!lost || no_way_back) return;
    v1::PartitionRef ref;
    const metadata::PartitionKey& key = *image()->groups.Find(group);
    ref.mutable_topic()->set_topic_id(key.topic.ToString());
    ref.set_partition(static_cast<int32_t>(key.partition));
    CancelMove(ref);
  });
}

}  // namespace flotilla::sim::broker
