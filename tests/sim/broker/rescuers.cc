#include "tests/sim/broker/rescuers.h"

#include <algorithm>

#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "tests/sim/broker/refusals.h"

namespace flotilla::sim::broker {
namespace {

constexpr Time kTimeout = 4 * kSecond;
constexpr Time kRescueEvery = kSecond;
// Longer than any message is on its way.
constexpr Time kAllArrived = 8 * kSecond;

}  // namespace

void Rescuers::Start() {
  world_.events().After(3 * kSecond + static_cast<Time>(random_.Below(10 * kSecond)), [this] { Strike(); });
}

void Rescuers::Stop() {
  stopped_ = true;
  if (!lost_) Spare();
}

void Rescuers::Strike() {
  if (stopped_) return;
  struck_ = world_.cluster_made ? Draw() : std::vector<Machine*>();
  if (struck_.empty()) {
    world_.events().After(kSecond, [this] { Strike(); });
    return;
  }
  nodes_.clear();
  for (Machine* machine : struck_) {
    nodes_.emplace_back(machine->remembered().node_id());
    machine->SetAside(true);
    if (!machine->down()) machine->PowerCut(static_cast<uint32_t>(random_.Below(5) * 25), "several lose their power at once");
  }
  world_.events().After(kAllArrived, [this, now = world_.now()] { Judge(now); });
}

std::vector<Machine*> Rescuers::Draw() {
  std::vector<Machine*> all;
  for (const auto& machine : world_.machines()) {
    if (machine->remembered().node_id() == 0) return {};
    all.push_back(machine.get());
  }
  for (int attempt = 0; attempt < 10; ++attempt) {
    for (size_t i = 0; i + 1 < all.size(); ++i) std::swap(all[i], all[i + random_.Below(all.size() - i)]);
    const std::vector<Machine*> drawn(all.begin(), all.begin() + world_.swarm().lost_disks);
    bool one_left = image() != nullptr;
    if (!one_left) return {};
    image()->groups.ForEach([&](GroupId group, const metadata::PartitionKey&) {
      const std::vector<ReplicaId> replicas = image()->FindPartition(group)->Existing();
      one_left = one_left && !std::all_of(replicas.begin(), replicas.end(), [&](const ReplicaId& replica) {
                   return std::any_of(drawn.begin(), drawn.end(),
                                      [&](const Machine* machine) { return machine->remembered().node_id() == replica.node.value(); });
                 });
    });
    if (one_left) return drawn;
  }
  return {};
}

void Rescuers::Judge(Time struck) {
  if (stopped_) return;
  // Whoever stood still meanwhile has something to tell when it goes on.
  Time quiet_since = struck;
  for (const auto& machine : world_.machines()) quiet_since = std::max(quiet_since, machine->awake_since());
  if (world_.now() - quiet_since < kAllArrived) {
    world_.events().After(kSecond, [this, struck] { Judge(struck); });
    return;
  }
  if (OthersHaveAll() && OthersHaveTheMetadata()) return LoseDisks();
  world_.tally().Add("disks not lost after all");
  Spare();
  world_.events().After(kSecond + static_cast<Time>(random_.Below(4 * kSecond)), [this] { Strike(); });
}

bool Rescuers::IsStruck(NodeId node) const { return std::find(nodes_.begin(), nodes_.end(), node) != nodes_.end(); }

bool Rescuers::IsStruck(const Machine& machine) const { return std::find(struck_.begin(), struck_.end(), &machine) != struck_.end(); }

bool Rescuers::LostMajority(const metadata::Partition& partition) const {
  const std::vector<ReplicaId> replicas = partition.Existing();
  return std::count_if(replicas.begin(), replicas.end(), [this](const ReplicaId& replica) { return IsStruck(replica.node); }) >= 2;
}

// A node that is left, and has all that clients know of the partition.
NodeId Rescuers::KeeperOf(GroupId group) const {
  const metadata::Partition& partition = *image()->FindPartition(group);
  const metadata::PartitionKey& key = *image()->groups.Find(group);
  const PartitionName name(key.topic.ToString(), static_cast<int32_t>(key.partition));
  for (const ReplicaId& replica : partition.Existing()) {
    for (const auto& machine : world_.machines()) {
      const bool there = machine->remembered().node_id() == replica.node.value() && !IsStruck(replica.node);
      if (there && world_.witness().HasAllKnown(*machine, partition, world_.ledger().Known(name), world_.ledger().FloorOf(name))) {
        return replica.node;
      }
    }
  }
  return {};
}

bool Rescuers::OthersHaveAll() const {
  bool all = image() != nullptr;
  if (!all) return false;
  image()->groups.ForEach([&](GroupId group, const metadata::PartitionKey&) {
    all = all && (!LostMajority(*image()->FindPartition(group)) || KeeperOf(group) != NodeId{});
  });
  return all;
}

// Whose log ends in the newest term has all that was committed before that term, and of that term what reaches as far.
bool Rescuers::OthersHaveTheMetadata() const {
  if (world_.swarm().lost_disks == 2) return true;  // they are the majority
  Term newest;
  for (const auto& machine : world_.machines()) {
    const storage::GroupImage* metadata = machine->disk().Find(metadata::kMetadataGroup);
    if (metadata != nullptr) newest = std::max(newest, metadata->state.bounds.end.last.term);
  }
  return std::any_of(world_.machines().begin(), world_.machines().end(), [&](const auto& machine) {
    const storage::GroupImage* metadata = machine->disk().Find(metadata::kMetadataGroup);
    return !IsStruck(*machine) && metadata != nullptr && metadata->state.bounds.end.last.term == newest &&
           metadata->state.bounds.last_index() >= image()->version;
  });
}

void Rescuers::LoseDisks() {
  lost_ = true;
  world_.tally().Add(world_.swarm().lost_disks == 2 ? "two disks lost at once" : "three disks lost at once");
  for (size_t i = 0; i < struck_.size(); ++i) {
    world_.ghosts.insert(nodes_[i]);
    world_.witness().OnWiped(*struck_[i]);
    struck_[i]->Wipe();
  }
  Spare();
  if (world_.swarm().lost_disks != 2) {
    world_.events().After(static_cast<Time>(random_.Below(5 * kSecond)), [this] { RecoverMetadata(); });
  }
  Rescue();
}

// People look at both that are left: the one that has more goes on. The other one may run meanwhile.
void Rescuers::RecoverMetadata() {
  if (!world_.verdict().ok()) return;
  const auto end = [](const Machine& machine) {
    const storage::GroupImage* metadata = machine.disk().Find(metadata::kMetadataGroup);
    return metadata == nullptr ? storage::EntryId{} : metadata->state.bounds.end.last;
  };
  for (const auto& machine : world_.machines()) {
    if (IsStruck(*machine)) continue;
    if (keeper_ == nullptr || end(*keeper_) < end(*machine)) keeper_ = machine.get();
  }
  StopKeeper();
}

void Rescuers::StopKeeper() {
  keeper_->SetAside(true);
  if (!keeper_->down()) {
    if (!keeper_->serving()) keeper_->Kill("it has hardly begun, and is stopped");
    keeper_->StopOrderly();
    world_.events().After(200 * kMillisecond, [this] { StopKeeper(); });
    return;
  }
  if (!keeper_->RecoverMetadata()) {
    world_.events().After(kRescueEvery, [this] { StopKeeper(); });
    return;
  }
  world_.tally().Add("metadata went on alone");
  keeper_->SetAside(false);
}

void Rescuers::Spare() {
  for (Machine* machine : struck_) {
    if (machine != nullptr) machine->SetAside(false);
  }
}

// --- what people do then

void Rescuers::Rescue() {
  if (!world_.verdict().ok()) return;
  world_.events().After(kRescueEvery, [this] { Rescue(); });
  if (open_ != 0) return;
  std::vector<GroupId> stuck;
  image()->groups.ForEach([&](GroupId group, const metadata::PartitionKey&) {
    if (!alive_.contains(group) && LostMajority(*image()->FindPartition(group))) stuck.push_back(group);
  });
  for (const GroupId group : stuck) Recover(group, random_.OneIn(5));
  // People look at others, too. More they may not: what has lost no disk may have lost its majority for a moment.
  image()->groups.ForEach([&](GroupId group, const metadata::PartitionKey&) {
    if (random_.OneIn(20)) Recover(group, true);
  });
  for (const NodeId node : nodes_) {
    if (stuck.empty() && image()->FindNode(node) != nullptr) Remove(node);
  }
}

void Rescuers::Ask(const char* method, const std::string& request, std::function<void(const CallOutcome&)> done) {
  ++open_;
  world_.connections().Call(place_, AnyMachine(), method, request, kTimeout,
                            [this, method, done = std::move(done)](const CallOutcome& outcome) {
                              --open_;
                              world_.Tell(place_, method, ": ", outcome.ToString());
                              const bool alive = outcome.error && outcome.error->reason() == v1::ERROR_REASON_QUORUM_ALIVE;
                              if (outcome.error && !alive && !IsHonest(outcome.error->reason())) {
                                world_.verdict().Violated("people are told why not", method, ": ", outcome.ToString());
                              }
                              done(outcome);
                            });
}

void Rescuers::Recover(GroupId group, bool only_look) {
  const metadata::PartitionKey& key = *image()->groups.Find(group);
  const PartitionName name(key.topic.ToString(), static_cast<int32_t>(key.partition));
  v1::UnsafeRecoverPartitionRequest request;
  request.mutable_partition()->mutable_topic()->set_topic_id(name.first);
  request.mutable_partition()->set_partition(name.second);
  request.set_accept_data_loss(true);
  request.set_validate_only(only_look);
  // Where another replica was about to come, the newest that answers need not be the one that has all.
  const metadata::Partition& partition = *image()->FindPartition(group);
  if (partition.movement || random_.OneIn(2)) request.set_keep_node_id(static_cast<int32_t>(KeeperOf(group).value()));
  if (random_.OneIn(2)) request.set_request_id("r-" + std::to_string(random_.Next()));
  world_.Tell(place_, "asks that ", world_.witness().NameOf(group), " goes on alone");
  // Nothing more becomes known before it goes on.
  const bool lost = LostMajority(partition);
  const auto& known = world_.ledger().Known(name);
  const int64_t last = known.empty() ? -1 : known.rbegin()->first;
  Ask("/flotilla.v1.AdminService/UnsafeRecoverPartition", request.SerializeAsString(),
      [this, group, name, last, lost, only_look](const CallOutcome& outcome) {
        if (outcome.error && outcome.error->reason() == v1::ERROR_REASON_QUORUM_ALIVE) alive_.insert(group);
        v1::UnsafeRecoverPartitionResponse response;
        if (!outcome.ok() || !response.ParseFromString(outcome.response)) return;
        if (!only_look) world_.tally().Add("partition went on alone");
        const int64_t from = response.recovery().lost_from_offset();
        if (lost && from <= last) {
          world_.verdict().Violated("what is said to be lost is lost", "topic ", name.first, '/', name.second,
                                    " is said to be lost from offset ", from, " on; the replica that is left has offset ", last);
        }
      });
}

void Rescuers::Remove(NodeId node) {
  v1::RemoveNodeRequest request;
  request.set_node_id(static_cast<int32_t>(node.value()));
  Ask("/flotilla.v1.ClusterService/RemoveNode", request.SerializeAsString(), [this](const CallOutcome& outcome) {
    if (outcome.ok()) world_.tally().Add("node removed");
  });
}

std::string Rescuers::Waiting() const {
  if (!lost_) return "";
  for (const NodeId node : nodes_) {
    if (image()->FindNode(node) != nullptr) return "node " + std::to_string(node.value()) + ", whose disk is lost, is still in the cluster";
  }
  std::string few;
  image()->groups.ForEach([&](GroupId group, const metadata::PartitionKey&) {
    const metadata::Partition& partition = *image()->FindPartition(group);
    if (partition.movement || partition.replicas.size() < 3) few += " " + world_.witness().NameOf(group);
  });
  return few.empty() ? "" : "partitions have not got their replicas back:" + few;
}

}  // namespace flotilla::sim::broker
