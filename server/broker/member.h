// A node that is in a cluster: its Raft groups, its replicas, and everything that serves calls. Made once the node has its id,
// and there until the process ends. Executor only.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "server/broker/call_board.h"
#include "server/broker/cluster_calls.h"
#include "server/broker/consume_calls.h"
#include "server/broker/decisions.h"
#include "server/broker/disk_watch.h"
#include "server/broker/fetch_session.h"
#include "server/broker/forward_session.h"
#include "server/broker/group_descriptions.h"
#include "server/broker/log_sizes.h"
#include "server/broker/member_context.h"
#include "server/broker/membership_calls.h"
#include "server/broker/metadata_watch.h"
#include "server/broker/move_calls.h"
#include "server/broker/node_calls.h"
#include "server/broker/options.h"
#include "server/broker/partition_calls.h"
#include "server/broker/produce_session.h"
#include "server/broker/producer_calls.h"
#include "server/broker/recovery_calls.h"
#include "server/broker/replica_mover.h"
#include "server/broker/subscription.h"
#include "server/broker/topic_calls.h"
#include "server/metadata/leader_balance.h"

namespace flotilla::broker {

// What waits on this node for something, by where. When nobody asks for anything all of it is 0.
struct Backlog {
  uint64_t calls = 0;  // of clients, and the node's own
  uint64_t metadata_syncs = 0;
  uint64_t decisions = 0;
  uint64_t leader_waits = 0;
  uint64_t fetches = 0;   // of clients
  uint64_t reads = 0;     // of partitions
  uint64_t attempts = 0;  // at partitions, here or on other nodes
  uint64_t appends = 0;   // in partitions that are here
  uint64_t parked = 0;    // fetches in partitions that are here
};

struct MemberCounters {
  raft::HostCounters host;
  ReplicaCounters replicas;
  ProduceTotals produce;
  FetchTotals fetch;
  DispatchCounters dispatch;
  Backlog backlog;
  uint64_t subscriptions = 0;
  uint64_t subscription_bytes = 0;
  uint64_t calls = 0;
  LogIndex metadata_version;
  Leader controller;
  uint64_t leaderless = 0;
  uint64_t under_replicated = 0;  // of those that this node leads
  // Of the disk, why this node had better not lead.
  bool disk_slow = false;
  bool disk_full = false;
  StageTimes stages;
};

class Member final : private metadata::MetadataListener, private LeaderListener, private raft::GroupSink {
 public:
  struct Callbacks {
    // This node in its present state.
    std::function<internal::v1::NodeIdentity()> identity;
    // The cluster does not know this node (any more).
    std::function<void(const Status&)> on_unknown;
    // Group 0 took this replica out of service, or the node was removed from the cluster: it has to stop.
    std::function<void(const Status&)> on_halt;
  };
  Member(const BrokerOptions& options, const BrokerSurroundings& around, const internal::v1::NodeState& state, Callbacks callbacks,
         Random random);
  ~Member() override;

  // Opens group 0, or makes it: `campaign` on the founder that made the plan.
  Status Open(bool campaign);

  NodeId self() const { return self_; }
  const metadata::Image& image() const { return *machine_.image(); }
  const metadata::ChangeFeed& feed() const { return machine_.feed(); }
  NodeId controller() const { return leaders_.Of(metadata::kMetadataGroup).node; }
  CallBoard& board() { return board_; }
  Decisions& decisions() { return decisions_; }
  bool leads_metadata() const { return controller_.leading(); }
  const raft::RaftCore* Replica(GroupId group) const { return host_.Find(group); }
  Leader LeaderOf(GroupId group) const { return leaders_.Of(group); }

  // --- calls
  uint64_t Fetch(uint64_t ticket, const v1::FetchRequest& request, const Caller& caller, FetchDone done);
  void Cancel(uint64_t ticket);
  std::unique_ptr<ProduceSession> OpenProduce(ProduceSink& sink);
  std::unique_ptr<EventStream> Subscribe(const v1::SubscribeRequest& request, const Caller& caller, SubscribeSink& sink);
  std::unique_ptr<EventStream> Watch(const v1::WatchMetadataRequest& request, WatchSink& sink);
  std::unique_ptr<ForwardSession> OpenForward(ForwardSink& sink);

  // --- peers and time
  // Whether it could answer this node, or need not: it was removed.
  bool Knows(NodeId node) const;
  // These are in the cluster, whatever the image says (yet).
  void Meet(const internal::v1::JoinResponse& registered);
  void Receive(raft::PeerMessage message) { host_.Receive(std::move(message)); }
  void OnForwardAnswer(NodeId from, ForwardAnswer answer) { dispatcher_.OnForwardAnswer(from, std::move(answer)); }
  void OnForwardBroken(NodeId to) { dispatcher_.OnForwardBroken(to); }
  void OnUnreachable(NodeId node) { host_.PeerUnreachable(node); }
  void Tick();

  // --- the end: streams end with SHUTTING_DOWN, and others take over what is led here.
  void BeginShutdown();
  bool leads_nothing() const;

  MemberCounters counters() const;
  std::string Describe() const;

 private:
  MemberContext Context();
  Backlog backlog() const;
  uint64_t CountUnderReplicated() const;
  void FollowImage();
  void Confirm();
  void LookForSelf();
  void SetPeers();
  void Balance();
  void ShowReluctance(bool reluctant);
  void LeaveMetadata();
  std::vector<std::string> Warnings() const;
  std::vector<ReplicaId> VotersNear(const raft::RaftCore& core) const;
  std::vector<ReplicaId> HeirsOf(const raft::RaftCore& core) const;
  void HandOver();

  // metadata::MetadataListener: inside of group 0.
  void OnImage(const metadata::Shared<metadata::Image>& before, const metadata::Shared<metadata::Image>& after) override;
  void OnLeadership(const raft::StateMachine::Leadership& leadership) override;
  void OnHalt(const Status& reason) override;
  // LeaderListener
  void OnLeader(GroupId group, const Leader& leader) override;
  // raft::GroupSink: of group 0.
  void OnGroup(GroupId group, const Status& status) override;

  const BrokerOptions& options_;
  const BrokerSurroundings around_;
  const internal::v1::NodeState state_;
  const Callbacks callbacks_;
  const NodeId self_;
  TickClock time_;
  Random random_;
  raft::RaftHost host_;
  metadata::MetadataMachine machine_;
  metadata::HostMetadataLog metadata_log_;
  metadata::MetadataController controller_;
  LeaderTable leaders_;
  LeaderWaits waits_;
  ReplicaMover mover_;  // before the replicas: it is told when they close
  Replicas replicas_;
  LogSizes sizes_;
  Dispatcher dispatcher_;
  PartitionReads reads_;
  CallBoard board_;
  Decisions decisions_;
  ProduceTotals produce_totals_;
  FetchTotals fetch_totals_;
  StreamBuffers stream_buffers_;
  Fetches fetches_;
  GroupDescriptions descriptions_;
  TopicCalls topic_calls_;
  PartitionCalls partition_calls_;
  ClusterCalls cluster_calls_;
  NodeCalls node_calls_;
  MoveCalls move_calls_;
  RecoveryCalls recovery_calls_;
  ConsumeCalls consume_calls_;
  ProducerCalls producer_calls_;
  MembershipCalls membership_calls_;
  const std::vector<CallService*> services_;
  DiskWatch disk_;
  metadata::LeaderBalancer balancer_;
  bool reluctant_ = false;  // its replicas are, as of the last look

  metadata::Shared<metadata::Image> followed_;
  bool follow_posted_ = false;
  raft::Tick leave_metadata_at_ = 0;
  bool confirming_ = false;
  raft::Tick confirm_at_ = 0;
  std::vector<Peer> peers_;
  internal::v1::JoinResponse met_;  // when it registered last
  uint64_t next_subscription_ = 1;
  std::map<std::string, Subscription*> subscriptions_;
  uint64_t next_watch_ = 1;
  std::map<uint64_t, MetadataWatch*> watches_;  // in the order of their coming
  std::set<uint64_t> syncing_;                  // fetches that wait for the metadata
  bool stopping_ = false;
  size_t handed_over_ = 0;                // how often, since it stops
  raft::Tick open_again_ = raft::kNever;  // group 0 could not be made
};

}  // namespace flotilla::broker
