// This node's replicas of partitions: made, opened, configured and destroyed as the metadata says, and found by group.
//
//   Replicas replicas(surroundings, self, listener);
//   replicas.Begin(image);               // once, when the first image of the cluster is known
//   replicas.Confirm();                  // once, when the image in use is surely as new as any that this node ever acted on
//   replicas.Follow(image);              // at each newer one
//   partition::Partition* p = replicas.Find(group);   // null: not here, or not open (yet)
//
// For each group there is what the image wants here and what is here; one is brought to the other. What cannot be done now (a disk
// below its reserve, a predecessor on its way out) is tried again. Nothing is made before Confirm: after a restart the image may
// be older than what this node did, and a replica that was destroyed must not come back without its votes (partition_plan.h).
// Executor only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "raft/node/raft_host.h"
#include "server/broker/leader_table.h"
#include "server/broker/tick_clock.h"
#include "server/metadata/image.h"
#include "server/metadata/mending.h"
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
  bool confirmed() const { return confirmed_; }
  void Begin(metadata::Shared<metadata::Image> image);
  void Confirm();
  void Follow(metadata::Shared<metadata::Image> image);
  void Tick();

  partition::Partition* Find(GroupId group) const;
  // Whether this node hears for itself who leads the group: it has a replica that is sound, a member, and meant to stay.
  bool HearsLeader(GroupId group) const;
  // "orders/0: DATA_LOSS: ..." of each replica that has stopped, of the first few: for people.
  std::vector<std::string> Stopped() const;
  // Those that have found damage in what they have on the disk, by group.
  std::vector<metadata::DamagedReplica> Damaged() const;
  // What of the group is on the disk, whether it is open or not. GROUP_NOT_FOUND, DATA_LOSS.
  Result<storage::GroupState> Stored(GroupId group) const { return around_.store.Load(group); }
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
    ReplicaId self;
    std::unique_ptr<partition::Partition> partition;
    bool open = false;  // else it is being made
    bool handing_over = false;
  };
  // What has to be tried again.
  struct Retry {
    raft::Tick at = 0;
    Status problem;
  };

  // Looks at a group, and tries again later if not all could be done.
  void Look(GroupId group);
  // One step towards what the image wants.
  Status Reconcile(GroupId group);
  // What the image wants here, and what is here; kNoReplica: nothing.
  ReplicaId WantedHere(GroupId group) const;
  ReplicaId Here(GroupId group) const;
  Status Create(const metadata::CreateReplica& create);
  Status Open(const metadata::OpenReplica& open, ReplicaId self);
  Status Destroy(GroupId group);
  // Another life of the replica is wanted here, and this one is sound and votes: it is a copy that others may count on, and takes part
  // until its group goes on without it. After a restart it is opened for that, if it opens.
  bool StillNeeded(GroupId group, ReplicaId here);
  // Of a group whose majority was given up: the replica here takes up its next life, with what it has.
  Status GoOnAlone(GroupId group, ReplicaId next_life);
  bool HandsOver(GroupId group);
  void Configure(const metadata::ConfigureReplica& configure);
  Replica& Make(GroupId group, ReplicaId self, const metadata::PartitionKey& key);
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
  bool confirmed_ = false;
  std::unordered_map<GroupId, Replica> replicas_;
  std::set<GroupId> going_;  // being deleted
  std::map<GroupId, Retry> retries_;
};

// The settings of the topic as its partitions want them. Pure.
partition::PartitionConfig PartitionConfigOf(const metadata::Image& image, const metadata::Topic& topic);

}  // namespace flotilla::broker
