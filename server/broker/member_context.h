// What the parts of a node that is a member of a cluster share. Everything outlives those who hold it. Executor only.
#pragma once

#include "raft/node/raft_host.h"
#include "server/broker/call_board.h"
#include "server/broker/dispatcher.h"
#include "server/broker/leader_table.h"
#include "server/broker/partition_reads.h"
#include "server/broker/peer_network.h"
#include "server/broker/replicas.h"
#include "server/broker/tick_clock.h"
#include "server/metadata/metadata_controller.h"
#include "server/metadata/metadata_machine.h"

namespace flotilla::broker {

class LogSizes;
class ReplicaMover;

struct MemberContext {
  NodeId self;
  raft::Tick election_ticks = 0;
  raft::Executor& executor;
  const TickClock& time;
  raft::RaftHost& host;
  metadata::MetadataMachine& metadata;
  metadata::MetadataController& controller;
  LeaderTable& leaders;
  Replicas& replicas;
  Dispatcher& dispatcher;
  PartitionReads& reads;
  PeerNetwork& network;
  CallBoard& board;
  const LogSizes& sizes;
  const ReplicaMover& mover;

  const metadata::Image& image() const { return *metadata.image(); }
};

// Registers what it serves with the board, in its constructor.
class CallService {
 public:
  virtual ~CallService() = default;
  virtual void Tick() {}
  virtual void OnMetadata() {}
  virtual void OnLeader(GroupId /*group*/) {}
};

}  // namespace flotilla::broker
