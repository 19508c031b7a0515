// A node: everything of it that is neither network nor disk nor configuration. Clients reach it through ClientApi, peers
// through PeerApi; it reaches them through PeerNetwork.
//
//   Broker broker(options, {.executor = shard, .readers = readers, .store = *store, .file = file, .network = network, ...}, random);
//   broker.Start();                       // on the executor, as everything that does not say otherwise
//   every tick: broker.Tick();
//   ...
//   broker.BeginShutdown(); until broker.ReadyToStop() or time is up;
//   network and servers stop, then readers and executor, then the store, then the broker
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "server/broker/client_api.h"
#include "server/broker/cluster_life.h"
#include "server/broker/member.h"
#include "server/broker/options.h"
#include "server/broker/peer_api.h"
#include "storage/base/mutex.h"

namespace flotilla::broker {

// What /readyz and systemd want to know.
struct BrokerState {
  bool member = false;
  bool metadata_known = false;
  bool stopping = false;
  std::string status;  // for people
  Status halted;       // not OK: the node has to stop, and why
};

class Broker final : public ClientApi, public PeerApi, public PeerSink {
 public:
  Broker(BrokerOptions options, const BrokerSurroundings& around, Random random);
  ~Broker() override;

  // Reads what the node remembers and goes on from there. DATA_LOSS, DIRECTORY_UNUSABLE, what opening group 0 says.
  Status Start();
  void Tick();
  // New calls are refused, streams end, leaderships go to others.
  void BeginShutdown();
  bool ReadyToStop() const;

  // For those who look from outside: this node's replica of a group, as Raft sees it (null: none is open), and who leads the group as
  // far as this node knows.
  const raft::RaftCore* Replica(GroupId group) const { return member_ == nullptr ? nullptr : member_->Replica(group); }
  Leader LeaderOf(GroupId group) const { return member_ == nullptr ? Leader{} : member_->LeaderOf(group); }

  // --- any thread
  BrokerState state() const;
  // As of the last tick; nothing before the node is in a cluster.
  std::optional<MemberCounters> counters() const;

  // --- ClientApi
  raft::Executor& executor() override { return around_.executor; }
  metadata::Shared<metadata::Image> metadata() const override;
  Status Available() const override;
  void SyncMetadata(const Caller& caller, std::function<void(const Status&)> done) override;
  uint64_t Call(std::string_view method, const std::string& request, const Caller& caller, CallDone done) override;
  uint64_t Fetch(const v1::FetchRequest& request, const Caller& caller, FetchDone done) override;
  void Cancel(uint64_t ticket) override;
  std::unique_ptr<ProduceSession> OpenProduce(ProduceSink& sink) override;
  std::unique_ptr<EventStream> Subscribe(const v1::SubscribeRequest& request, const Caller& caller, SubscribeSink& sink) override;
  std::unique_ptr<EventStream> WatchMetadata(const v1::WatchMetadataRequest& request, const Caller& caller, WatchSink& sink) override;

  // --- PeerApi
  internal::v1::NodeIdentity Identity() const override;
  Result<internal::v1::HandshakeResponse> Greet(const internal::v1::HandshakeRequest& request) const override;
  void Receive(raft::PeerMessage message) override;
  void PeerCall(std::string_view method, const std::string& request, std::function<void(Result<std::string>)> done) override;
  std::unique_ptr<ForwardSession> OpenForward(ForwardSink& sink) override;

  // --- PeerSink
  void OnForwardAnswer(NodeId from, ForwardAnswer answer) override;
  void OnForwardBroken(NodeId to) override;
  void OnUnreachable(NodeId node) override;

 private:
  void BecomeMember(bool campaign);
  void Halt(const Status& why);
  void ProposeFounding();
  // Calls that every node serves, in a cluster or not. False: it is none of them.
  bool ServeAlone(uint64_t ticket, std::string_view method, const std::string& request, const CallDone& done);
  // Where the node is, as far as this one knows.
  std::string AddressOf(const metadata::Node& node, LogIndex version) const;
  v1::GetServerInfoResponse ServerInfo() const;
  v1::GetHealthResponse HealthAlone() const;
  void UpdateViews();
  void ShowIdentity();

  const BrokerOptions options_;
  const BrokerSurroundings around_;
  Random random_;
  ClusterLife life_;
  std::unique_ptr<Member> member_;
  Status halted_;
  bool stopping_ = false;
  bool founding_proposed_ = false;
  uint64_t next_ticket_ = 1;
  std::set<uint64_t> founding_calls_;  // of InitCluster, not answered
  uint64_t ticks_ = 0;
  bool shown_known_ = false;

  // What other threads may look at.
  mutable Mutex mutex_;
  const Member* shown_member_ FLOTILLA_GUARDED_BY(mutex_) = nullptr;
  internal::v1::NodeState shown_state_ FLOTILLA_GUARDED_BY(mutex_);
  NodeId shown_controller_ FLOTILLA_GUARDED_BY(mutex_);
  BrokerState view_ FLOTILLA_GUARDED_BY(mutex_);
  std::optional<MemberCounters> counters_ FLOTILLA_GUARDED_BY(mutex_);
  internal::v1::JoinResponse met_ FLOTILLA_GUARDED_BY(mutex_);  // when this member registered last
};

}  // namespace flotilla::broker
