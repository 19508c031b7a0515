// This node's replicas of partitions: made, opened, configured and destroyed as the metadata says, and found by group.
//
//   Replicas replicas(surroundings, self, listener);
//   replicas.Begin(image);               // once, when the first image of the cluster is known
//   replicas.Follow(image);              // at each newer one
//   partition::Partition* p = replicas.Find(group);   // null: not here, or not open (yet)
//
// What cannot be done now (a disk below its reserve, a predecessor on its way out) is tried again. Executor only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "raft/node/raft_host.h"
#include "server/broker/leader_table.h"
#include "server/broker/tick_clock.h"
#include "server/metadata/image.h"
#include "server/metadata/partition_plan.h"
#include "server/partition/partition.h"

namespace flotilla::broker {

// Learns of partitions that came or are about to go.
class ReplicaListener {
 public:
  virtual ~ReplicaListener() = default;
  virtual void OnReplicaOpened(GroupId group, partition::Partition& partition) = 0;
  // It still answers calls; after this returns it does not exist any more for anybody.
  virtual void OnReplicaClosing(GroupId group) = 0;
};

struct ReplicaCounters {
  uint64_t replicas = 0;
  uint64_t leading = 0;
  uint64_t not_open = 0;  // should be here and are not, or are faulty
};

class Replicas final : private raft::GroupSink, private partition::LeadershipListener {
 public:
  struct Surroundings {
    raft::RaftHost& host;
    const storage::LogStore& store;
    raft::Executor& executor;
    raft::BlockingExecutor& readers;
    const TickClock& time;
    LeaderTable& leaders;
  };

  // References outlive this.
  Replicas(const Surroundings& around, NodeId self, const partition::PartitionOptions& options);
  ~Replicas() override;
  void AddListener(ReplicaListener& listener) { listeners_.push_back(&listener); }

  bool begun() const { return image_ != nullptr; }
  void Begin(metadata::Shared<metadata::Image> image);
  void Follow(metadata::Shared<metadata::Image> image);
  void Tick();

  partition::Partition* Find(GroupId group) const;
  // It is open and sound, and so learns from the group itself who leads.
  bool TakesPart(GroupId group) const;
  // "orders/0: DATA_LOSS: ..." of each replica that has stopped, of the first few: for people.
  std::vector<std::string> Stopped() const;
  // Why a replica that should be here is not open: for people.
  std::string Problem(GroupId group) const;
  ReplicaCounters counters() const;
  template <typename Visit>
  void ForEachOpen(Visit visit) const {
    for (const auto& [group, replica] : replicas_) {
      if (replica.open) visit(group, *replica.partition);
    }
  }

 private:
  struct Replica {
    metadata::PartitionKey key;
    std::unique_ptr<partition::Partition> partition;
    bool open = false;
  };
  // What has to be tried again.
  struct Retry {
    metadata::PartitionAction action;
    raft::Tick at = 0;
    Status problem;
  };

  void Do(const std::vector<metadata::PartitionAction>& actions);
  Status Do(const metadata::CreateReplica& create);
  Status Do(const metadata::OpenReplica& open);
  Status Do(const metadata::ConfigureReplica& configure);
  Status Do(const metadata::DestroyReplica& destroy);
  void DoOrRetry(GroupId group, const metadata::PartitionAction& action);
  Replica& Make(GroupId group, const metadata::PartitionKey& key);
  void Opened(GroupId group);
  // The partition stops serving; its object dies a little later, when nobody is inside of it any more.
  void Drop(GroupId group);
  partition::PartitionConfig ConfigOf(const metadata::PartitionKey& key) const;

  void OnGroup(GroupId group, const Status& status) override;
  void OnPartitionLeadership(GroupId group, const raft::StateMachine::Leadership& leadership) override;

  const Surroundings around_;
  const NodeId self_;
  const partition::PartitionOptions options_;
  std::vector<ReplicaListener*> listeners_;
  metadata::Shared<metadata::Image> image_;
  std::unordered_map<GroupId, Replica> replicas_;
  std::unordered_map<GroupId, metadata::CreateReplica> creating_;
  std::map<GroupId, Retry> retries_;
};

// The settings of the topic as its partitions want them. Pure.
partition::PartitionConfig PartitionConfigOf(const metadata::Image& image, const metadata::Topic& topic);

}  // namespace flotilla::broker
