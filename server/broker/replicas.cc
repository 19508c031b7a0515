#include "server/broker/replicas.h"

#include <glog/logging.h>

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
    const Result<storage::GroupState> state = around_.store.Load(group);
    if (!state.ok()) {
      LOG(ERROR) << "replica_unreadable group=" << group << " reason=\"" << state.status() << '"';
      continue;
    }
    stored.push_back({.group = group, .self = state->identity.self});
  }
  Do(metadata::PlanStart(*image_, self_, stored));
}

void Replicas::Follow(metadata::Shared<metadata::Image> image) {
  CHECK(begun());
  const metadata::Shared<metadata::Image> before = std::exchange(image_, std::move(image));
  if (before != image_) Do(metadata::PlanChange(*before, *image_, self_));
}

void Replicas::Tick() {
  for (auto& [group, replica] : replicas_) {
    if (replica.open) replica.partition->Tick(around_.time.now());
  }
  if (retries_.empty()) return;
  std::vector<metadata::PartitionAction> due;
  for (auto at = retries_.begin(); at != retries_.end();) {
    if (at->second.at > around_.time.now()) {
      ++at;
      continue;
    }
    due.push_back(std::move(at->second.action));
    at = retries_.erase(at);
  }
  Do(due);
}

// --- Views

partition::Partition* Replicas::Find(GroupId group) const {
  const auto found = replicas_.find(group);
  return found == replicas_.end() || !found->second.open ? nullptr : found->second.partition.get();
}

bool Replicas::TakesPart(GroupId group) const {
  const partition::Partition* found = Find(group);
  return found != nullptr && found->fault().ok();
}

std::vector<std::string> Replicas::Stopped() const {
  std::map<std::string, std::string> stopped;
  for (const auto& [group, replica] : replicas_) {
    if (!replica.open || replica.partition->fault().ok()) continue;
    const metadata::Topic* topic = image_->FindTopic(replica.key.topic);
    const std::string name = (topic == nullptr ? replica.key.topic.ToString() : topic->name) + "/" + std::to_string(replica.key.partition);
    stopped.emplace(name, replica.partition->fault().ToString());
  }
  std::vector<std::string> out;
  for (const auto& [name, fault] : stopped) {
    if (out.size() == kStoppedMax) break;
    out.push_back(name + ": " + fault);
  }
  return out;
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
  counters.not_open += retries_.size();
  return counters;
}

// --- What the metadata asks for

void Replicas::Do(const std::vector<metadata::PartitionAction>& actions) {
  for (const metadata::PartitionAction& action : actions) DoOrRetry(GroupOf(action), action);
}

void Replicas::DoOrRetry(GroupId group, const metadata::PartitionAction& action) {
  // What was still to be done for the group is overtaken, but for a creation that is now to be configured.
  if (!std::holds_alternative<metadata::ConfigureReplica>(action)) retries_.erase(group);
  const Status status = std::visit([this](const auto& what) { return Do(what); }, action);
  if (status.ok()) return;
  LOG_EVERY_N(WARNING, 20) << "replica_waits group=" << group << " reason=\"" << status << '"';
  retries_[group] = {.action = action, .at = around_.time.now() + kRetryTicks, .problem = status};
}

Status Replicas::Do(const metadata::CreateReplica& create) {
  const GroupId group = create.group.group;
  if (replicas_.contains(group)) return {};
  const Result<storage::GroupState> stored = around_.store.Load(group);
  if (stored.ok() && stored->identity.self == create.group.identity.self) {
    return Do(metadata::OpenReplica{.group = group, .partition = create.partition, .campaign = false});
  }
  Replica& replica = Make(group, create.partition);
  if (Status status = around_.host.CreateGroup(create.group, replica.partition->machine(), *this); !status.ok()) {
    replicas_.erase(group);
    return status;
  }
  creating_.emplace(group, create);
  return {};
}

Status Replicas::Do(const metadata::OpenReplica& open) {
  if (replicas_.contains(open.group)) return {};
  Replica& replica = Make(open.group, open.partition);
  if (Status status = around_.host.OpenGroup(open.group, replica.partition->machine()); !status.ok()) {
    replicas_.erase(open.group);
    return status;
  }
  Opened(open.group);
  if (open.campaign) around_.host.Campaign(open.group);
  return {};
}

Status Replicas::Do(const metadata::ConfigureReplica& configure) {
  const auto found = replicas_.find(configure.group);
  if (found != replicas_.end()) found->second.partition->Configure(ConfigOf(configure.partition));
  return {};
}

Status Replicas::Do(const metadata::DestroyReplica& destroy) {
  const GroupId group = destroy.group;
  if (creating_.contains(group)) {
    return Status(Reason::kGroupExists, "the replica is still being created; it is destroyed when that is done");
  }
  const Status status = around_.host.DestroyGroup(group, *this);
  if (!status.ok() && status.reason() != Reason::kGroupNotFound) return status;
  Drop(group);
  around_.leaders.Forget(group);
  return {};
}

Replicas::Replica& Replicas::Make(GroupId group, const metadata::PartitionKey& key) {
  Replica& replica = replicas_[group];
  replica.key = key;
  replica.partition = std::make_unique<partition::Partition>(
      partition::Surroundings{.group = group,
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

// A group was created, or a destroyed one is gone from the disk.
void Replicas::OnGroup(GroupId group, const Status& status) {
  const auto at = creating_.find(group);
  if (at == creating_.end()) {
    LOG_IF(ERROR, !status.ok()) << "replica_not_destroyed group=" << group << " reason=\"" << status << '"';
    return;
  }
  const metadata::CreateReplica create = std::move(at->second);
  creating_.erase(at);
  if (status.ok()) return Opened(group);
  Drop(group);
  LOG(WARNING) << "replica_not_created group=" << group << " reason=\"" << status << '"';
  retries_.try_emplace(group, Retry{.action = create, .at = around_.time.now() + kRetryTicks, .problem = status});
}

void Replicas::OnPartitionLeadership(GroupId group, const raft::StateMachine::Leadership& leadership) {
  // A leader that is not sure yet answers nobody.
  const bool known = leadership.leader.valid() && (leadership.role != raft::Role::kLeader || leadership.surely);
  if (known) {
    around_.leaders.Learn(group, {.node = leadership.leader.node, .epoch = leadership.term});
  } else {
    around_.leaders.Learn(group, {.node = {}, .epoch = leadership.term});
    around_.leaders.Lost(group, leadership.term);
  }
}

}  // namespace flotilla::broker
