// What the parts of one partition share. Owned by Partition; on the group's executor only.
#pragma once

#include <memory>
#include <utility>

#include "raft/node/executor.h"
#include "server/partition/config.h"
#include "server/partition/group_handle.h"
#include "server/partition/partition_machine.h"
#include "storage/base/clock.h"
#include "storage/log/log_store.h"

namespace flotilla::partition {

// Learns of leaderships, posted: it may call the partition.
class LeadershipListener {
 public:
  virtual ~LeadershipListener() = default;
  virtual void OnPartitionLeadership(GroupId group, const raft::StateMachine::Leadership& leadership) = 0;
};

// What a partition is given. References outlive it.
struct Surroundings {
  GroupId group;
  raft::RaftHost& host;
  const storage::LogReader& log;
  raft::Executor& executor;         // the group's
  raft::BlockingExecutor& readers;  // for reads that go to the disk; may be the same
  const Clock& clock;               // for append times
  LeadershipListener* leadership = nullptr;
};

struct Context {
  const Surroundings around;
  GroupHandle handle;
  const PartitionOptions options;
  PartitionConfig config;
  PartitionMachine& machine;
  raft::Tick now = 0;

  // OK when this replica may answer for the partition: it leads, surely. Otherwise NOT_LEADER
  // (leader_node_id, leader_epoch), NO_LEADER, or, of the only replica, the machine's fault.
  Status MayServe() const;
};

}  // namespace flotilla::partition
