#include "server/broker/replicas.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "server/metadata/config_schema.h"

namespace flotilla::broker {
namespace {

// 1 s of 50 ms.
constexpr raft::Tick kRetryTicks = 20;
constexpr size_t kStoppedMax = 10;

GroupId GroupOf(const metadata::PartitionAction& action) {
  struct Of {
    GroupId operator()(const metadata::CreateReplica& create) const { return create.group.group; }
    GroupId operator()(const metadata::OpenReplica& open) const { return open.group; }
    GroupId operator()(const metadata::ConfigureReplica& configure) const { return configure.group; }
    GroupId operator()(const metadata::DestroyReplica& destroy) const { return destroy.group; }
  };
  return std::visit(Of{}, action);
}

Status NotConfirmed() {
  return Status(Reason::kNoLeader, "the replica is made when the leader of the metadata has confirmed that it should be here");
}

Status StillAMember() {
  return Status(Reason::kConfigurationPending,
                "the replica is built anew when the others have everything and its group goes on without it");
}

// A partition that may still be on the stack of whoever called; it dies in a turn of its own.
struct Bury {
  std::shared_ptr<partition::Partition> partition;
  void operator()() const {}
};

}  // namespace

partition::PartitionConfig PartitionConfigOf(const metadata::Image& image, const metadata::Topic& topic) {
  const auto number = [&](std::string_view name) { return metadata::IntegerOf(EffectiveSetting(image, topic, name)); };
  partition::PartitionConfig config;
  config.record_bytes_max = static_cast<size_t>(number("record_bytes_max"));
  config.batch_bytes_max = static_cast<size_t>(number("batch_bytes_max"));
  config.timestamp_ahead_ms_max = number("timestamp_ahead_ms_max");
  config.timestamp_type = EffectiveSetting(image, topic, "timestamp_type").value == "append" ? partition::TimestampType::kAppendTime
                                                                                             : partition::TimestampType::kCreateTime;
  return config;
}

Replicas::Replicas(const Surroundings& around, NodeId self, const partition::PartitionOptions& options)
    : around_(around), self_(self), options_(options) {}

Replicas::~Replicas() {
  // The host outlives us and must not call machines that are gone.
  for (auto& [group, replica] : replicas_) around_.host.CloseGroup(group);
}

void Replicas::Begin(metadata::Shared<metadata::Image> image) {
  CHECK(!begun());
  image_ = std::move(image);
  std::vector<metadata::StoredReplica> stored;
  for (const GroupId group : around_.store.Groups()) {
    if (group.value() == 0) continue;
    const Result<storage::GroupIdentity> identity = around_.store.Identity(group);
    if (!identity.ok()) {
      LOG(ERROR) << "replica_unreadable group=" << group << " reason=\"" << identity.status() << '"';
      continue;
    }
    stored.push_back({.group = group, .self = identity->self});
  }
  for (const metadata::PartitionAction& action : metadata::PlanStart(*image_, self_, stored)) Look(GroupOf(action));
}

void Replicas::Confirm() {
  CHECK(begun());
  confirmed_ = true;
  std::vector<GroupId> waiting;
  for (const auto& [group, retry] : retries_) waiting.push_back(group);
  for (const GroupId group : waiting) Look(group);
  // A topic may have come and gone between two images: no difference has told that its replicas, of an earlier process, are to go.
  for (const GroupId group : around_.store.Groups()) {
    if (group.value() != 0 && !replicas_.contains(group)) Look(group);
  }
}

void Replicas::Follow(metadata::Shared<metadata::Image> image) {
  CHECK(begun());
  const metadata::Shared<metadata::Image> before = std::exchange(image_, std::move(image));
  if (before == image_) return;
  for (const metadata::PartitionAction& action : metadata::PlanChange(*before, *image_, self_)) {
    if (const auto* configure = std::get_if<metadata::ConfigureReplica>(&action)) {
      Configure(*configure);
    } else {
      Look(GroupOf(action));
    }
  }
}

void Replicas::Tick() {
  for (auto& [group, replica] : replicas_) {
    if (replica.open) replica.partition->Tick(around_.time.now());
  }
  std::vector<GroupId> due;
  for (const auto& [group, retry] : retries_) {
    if (retry.at <= around_.time.now()) due.push_back(group);
  }
  for (const GroupId group : due) Look(group);
}

// --- Views

partition::Partition* Replicas::Find(GroupId group) const {
  const auto found = replicas_.find(group);
  return found == replicas_.end() || !found->second.open ? nullptr : found->second.partition.get();
}

std::vector<std::string> Replicas::Stopped() const {
  std::map<std::string, std::string> stopped;
  const auto tell = [&](const metadata::PartitionKey& key, const Status& fault) {
    const metadata::Topic* topic = image_->FindTopic(key.topic);
    const std::string name = (topic == nullptr ? key.topic.ToString() : topic->name) + "/" + std::to_string(key.partition);
    stopped.emplace(name, fault.ToString());
  };
  for (const auto& [group, replica] : replicas_) {
    if (replica.open && !replica.partition->fault().ok()) tell(replica.key, replica.partition->fault());
  }
  for (const auto& [group, retry] : retries_) {
    const metadata::PartitionKey* key = image_->groups.Find(group);
    if (key != nullptr && retry.problem.reason() == Reason::kDataLoss) tell(*key, retry.problem);
  }
  std::vector<std::string> out;
  for (const auto& [name, fault] : stopped) {
    if (out.size() == kStoppedMax) break;
    out.push_back(name + ": " + fault);
  }
  return out;
}

std::vector<metadata::DamagedReplica> Replicas::Damaged() const {
  std::vector<metadata::DamagedReplica> damaged;
  for (const auto& [group, replica] : replicas_) {
    const raft::RaftCore* core = replica.open ? around_.host.Find(group) : nullptr;
    if (core != nullptr && core->fault().reason() == Reason::kDataLoss) damaged.push_back({.group = group, .replica = replica.self});
  }
  // One that does not even open.
  for (const auto& [group, retry] : retries_) {
    if (replicas_.contains(group) || retry.problem.reason() != Reason::kDataLoss) continue;
    if (const ReplicaId here = Here(group); here.valid()) damaged.push_back({.group = group, .replica = here});
  }
  std::sort(damaged.begin(), damaged.end());
  return damaged;
}

std::string Replicas::Problem(GroupId group) const {
  const auto retry = retries_.find(group);
  if (retry != retries_.end()) return retry->second.problem.ToString();
  const partition::Partition* found = Find(group);
  return found == nullptr || found->status().fault.ok() ? "" : found->status().fault.ToString();
}

ReplicaCounters Replicas::counters() const {
  ReplicaCounters counters;
  for (const auto& [group, replica] : replicas_) {
    ++counters.replicas;
    const raft::RaftCore* core = around_.host.Find(group);
    if (!replica.open || core == nullptr || !core->fault().ok()) {
      ++counters.not_open;
    } else if (core->role() == raft::Role::kLeader) {
      ++counters.leading;
    }
  }
  for (const auto& [group, retry] : retries_) {
    if (!replicas_.contains(group) && WantedHere(group).valid()) ++counters.not_open;
  }
  return counters;
}

// --- What the metadata asks for

ReplicaId Replicas::WantedHere(GroupId group) const {
  const metadata::Partition* partition = image_->FindPartition(group);
  return partition == nullptr ? kNoReplica : partition->ReplicaOn(self_);
}

ReplicaId Replicas::Here(GroupId group) const {
  const auto found = replicas_.find(group);
  if (found != replicas_.end()) return found->second.self;
  const Result<storage::GroupIdentity> stored = around_.store.Identity(group);
  return stored.ok() ? stored->self : kNoReplica;
}

void Replicas::Look(GroupId group) {
  retries_.erase(group);
  const Status status = Reconcile(group);
  if (status.ok()) return;
  LOG_EVERY_N(WARNING, 20) << "replica_waits group=" << group << " reason=\"" << status << '"';
  retries_[group] = {.at = around_.time.now() + kRetryTicks, .problem = status};
}

Status Replicas::Reconcile(GroupId group) {
  if (going_.contains(group)) return {};  // its end leads back here
  const ReplicaId wanted = WantedHere(group);
  const ReplicaId here = Here(group);
  const auto known = replicas_.find(group);
  if (here.valid() && here != wanted) {
    const auto* survival = image_->survivals.Find(group);
    if (survival != nullptr && (*survival)->kept == here && (*survival)->next_life == wanted) {
      if (known != replicas_.end() && !known->second.open) return {};  // its making leads back here
      return GoOnAlone(group, wanted);
    }
    // A life that the image has not heard of was made by a newer image than this one, before a restart.
    if (!metadata::IsGone(*image_, group, here)) return {};
    if (known != replicas_.end() && !known->second.open) return {};  // its making leads back here
    if (wanted.valid() && StillNeeded(group, here)) return StillAMember();
    return Destroy(group);
  }
  if (known == replicas_.end() && !here.valid()) {
    // It may be there, so damaged that it does not say which life it is. Emptied it could be the wanted life without its votes: it
    // stays as long as one is wanted here, as the newest metadata knows.
    const Status stored = around_.store.Identity(group).status();
    if (stored.reason() == Reason::kDataLoss && !wanted.valid() && confirmed_) return Destroy(group);
    if (stored.reason() != Reason::kGroupNotFound) return stored;
  }
  if (!wanted.valid() || known != replicas_.end()) return {};
  const metadata::PartitionKey key = *image_->groups.Find(group);
  const metadata::Partition& partition = *image_->FindPartition(group);
  if (here.valid()) {
    const bool alone = partition.Existing() == std::vector{here};
    return Open({.group = group, .partition = key, .campaign = alone}, here);
  }
  if (!confirmed_) return NotConfirmed();
  return Create(metadata::PlanReplica(*image_, *image_->FindTopic(key.topic), partition, self_));
}

Status Replicas::Create(const metadata::CreateReplica& create) {
  const GroupId group = create.group.group;
  Replica& replica = Make(group, create.group.identity.self, create.partition);
  Status status = around_.host.CreateGroup(create.group, replica.partition->machine(), *this);
  if (!status.ok()) replicas_.erase(group);
  return status;
}

Status Replicas::Open(const metadata::OpenReplica& open, ReplicaId self) {
  Replica& replica = Make(open.group, self, open.partition);
  if (Status status = around_.host.OpenGroup(open.group, replica.partition->machine()); !status.ok()) {
    replicas_.erase(open.group);
    return status;
  }
  Opened(open.group);
  if (open.campaign) around_.host.Campaign(open.group);
  return {};
}

void Replicas::Configure(const metadata::ConfigureReplica& configure) {
  const auto found = replicas_.find(configure.group);
  if (found != replicas_.end()) found->second.partition->Configure(ConfigOf(configure.partition));
}

Status Replicas::Destroy(GroupId group) {
  if (HandsOver(group)) return Status(Reason::kTransferring, "the replica leads; it is destroyed when another one does, or a second later");
  const Status status = around_.host.DestroyGroup(group, *this);
  if (!status.ok()) return status;
  going_.insert(group);
  Drop(group);
  const Leader known = around_.leaders.Of(group);
  if (!image_->groups.Contains(group)) {
    around_.leaders.Forget(group);
  } else if (known.node == self_) {
    around_.leaders.Lost(group, known.epoch);
  }
  return {};
}

bool Replicas::StillNeeded(GroupId group, ReplicaId here) {
  if (!replicas_.contains(group)) {
    // As after a restart. Damaged it may not even open.
    const metadata::PartitionKey key = *image_->groups.Find(group);
    if (!Open({.group = group, .partition = key}, here).ok()) return false;
  }
  const raft::RaftCore* core = around_.host.Find(group);
  const partition::Partition* open = Find(group);
  return core != nullptr && open != nullptr && core->fault().ok() && open->fault().ok() && !core->superseded() &&
         core->configuration().IsVoter(here);
}

Status Replicas::GoOnAlone(GroupId group, ReplicaId next_life) {
  const Status status = around_.host.GoOnAlone(group, next_life, *this);
  if (status.ok()) going_.insert(group);
  Drop(group);
  return status;
}

// One that is to be built anew may lead: others should take over before it goes. Tried once.
bool Replicas::HandsOver(GroupId group) {
  const auto found = replicas_.find(group);
  if (found == replicas_.end() || !image_->groups.Contains(group)) return false;
  const raft::RaftCore* core = around_.host.Find(group);
  if (core == nullptr || core->role() != raft::Role::kLeader || core->configuration().voters.size() < 2) return false;
  if (std::exchange(found->second.handing_over, true)) return false;
  return around_.host.TransferLeadership(group, kNoReplica).ok();
}

Replicas::Replica& Replicas::Make(GroupId group, ReplicaId self, const metadata::PartitionKey& key) {
  Replica& replica = replicas_[group];
  replica.key = key;
  replica.self = self;
  replica.partition = std::make_unique<partition::Partition>(partition::Surroundings{.group = group,
                                                                                     .host = around_.host,
                                                                                     .log = around_.store,
                                                                                     .executor = around_.executor,
                                                                                     .readers = around_.readers,
                                                                                     .clock = around_.time.clock(),
                                                                                     .leadership = this},
                                                             options_, ConfigOf(key));
  return replica;
}

void Replicas::Opened(GroupId group) {
  Replica& replica = replicas_.at(group);
  replica.open = true;
  replica.partition->Tick(around_.time.now());
  for (ReplicaListener* listener : listeners_) listener->OnReplicaOpened(group, *replica.partition);
}

void Replicas::Drop(GroupId group) {
  const auto found = replicas_.find(group);
  if (found == replicas_.end()) return;
  if (found->second.open) {
    for (ReplicaListener* listener : listeners_) listener->OnReplicaClosing(group);
  }
  around_.executor.Post(Bury{std::move(found->second.partition)});
  replicas_.erase(found);
}

partition::PartitionConfig Replicas::ConfigOf(const metadata::PartitionKey& key) const {
  const metadata::Topic* topic = image_->FindTopic(key.topic);
  return topic == nullptr ? partition::PartitionConfig{} : PartitionConfigOf(*image_, *topic);
}

// --- What the groups say

// A group was created, or a destroyed one is gone from the disk, or one has its next life.
void Replicas::OnGroup(GroupId group, const Status& status) {
  if (going_.erase(group) != 0) {
    LOG_IF(ERROR, !status.ok()) << "replica_not_changed group=" << group << " reason=\"" << status << '"';
    return Look(group);
  }
  if (status.ok()) {
    Opened(group);
    return Look(group);
  }
  Drop(group);
  LOG(WARNING) << "replica_not_created group=" << group << " reason=\"" << status << '"';
  retries_[group] = {.at = around_.time.now() + kRetryTicks, .problem = status};
}

void Replicas::OnPartitionLeadership(GroupId group, const raft::StateMachine::Leadership& leadership) {
  // A leader that is not sure yet answers nobody.
  const bool known = leadership.leader.valid() && (leadership.role != raft::Role::kLeader || leadership.surely);
  if (known) return around_.leaders.Learn(group, {.node = leadership.leader.node, .epoch = leadership.term});
  // One that is no member, or will not be for long, is not told who leads: that it hears nobody means nothing.
  const Leader last = around_.leaders.Of(group);
  if (!HearsLeader(group) && last.node != self_) return;
  around_.leaders.Learn(group, {.node = {}, .epoch = leadership.term});
  around_.leaders.Lost(group, leadership.term);
}

bool Replicas::HearsLeader(GroupId group) const {
  const metadata::Partition* partition = image_ == nullptr ? nullptr : image_->FindPartition(group);
  const raft::RaftCore* core = around_.host.Find(group);
  const partition::Partition* open = Find(group);
  if (partition == nullptr || core == nullptr || (open != nullptr && !open->fault().ok())) return false;
  // A newcomer hears its leader long before it has the entry that makes it a member.
  if (core->leader().valid()) return true;
  return partition->WantedOn(self_) == core->self() && core->configuration().Contains(core->self());
}

}  // namespace flotilla::broker
