// MembershipService at a member: nodes that join, and their reports; and this node's own reports to whoever leads the metadata.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "flotilla/internal/v1/peer.pb.h"
#include "server/broker/decisions.h"
#include "server/broker/disk_fitness.h"
#include "server/broker/member_context.h"

namespace flotilla::broker {

class MembershipCalls final : public CallService, public ReplicaListener {
 public:
  struct OwnReport {
    std::function<internal::v1::NodeIdentity()> identity;
    std::function<DiskSpace()> disk_space;
    std::function<std::vector<std::string>()> warnings;
    std::function<bool()> unfit_to_lead;
    // The metadata leader does not know this node (any more): it has to register.
    std::function<void(const Status&)> on_unknown;
  };
  MembershipCalls(const MemberContext& member, Decisions& decisions, LogSizes& sizes, OwnReport own);

  void Tick() override;
  // A leader changed here: everybody should know soon.
  void OnLeader(GroupId group) override;
  // ReplicaListener. Of a group that goes from here this node learned for itself who leads; now it has to be told.
  void OnReplicaOpened(GroupId /*group*/, partition::Partition& /*partition*/) override {}
  void OnReplicaClosing(GroupId /*group*/) override { ask_anew_ = true; }
  // This node is about to stop.
  void SetStopping() { stopping_ = true; }

 private:
  void Join(uint64_t id, const internal::v1::JoinRequest& request);
  void Report(uint64_t id, const internal::v1::ReportRequest& request);
  void Settle(uint64_t id, const internal::v1::SettleReplicasRequest& request);
  void LookForLeaders();
  void SendReport();
  internal::v1::ReportRequest MakeReport(bool full);
  // False: some are of groups that this node does not know (yet).
  bool TakeLeaders(const google::protobuf::RepeatedPtrField<internal::v1::GroupLeader>& leaders);
  void OnReported(const Leader& to, uint64_t sequence, const Result<std::string>& answer);

  const MemberContext member_;
  Decisions& decisions_;
  LogSizes& sizes_;
  const OwnReport own_;
  raft::Tick report_at_ = 0;
  bool reporting_ = false;
  bool stopping_ = false;
  bool ask_anew_ = false;  // the next report begins anew
  raft::Tick look_at_ = 0;
  raft::Tick sizes_at_ = 0;
  Leader told_;  // who had our reports, in which term
  uint64_t told_sequence_ = 0;
  std::map<NodeId, uint64_t> answered_;  // as the leader: what each node was told of others
  std::set<NodeId> asked_to_repeat_;     // as the leader: who need not tell everything once more
};

// This node's description and identity on the wire.
internal::v1::NodeIdentity IdentityOf(const metadata::NodeDescription& description);
// INVALID_ARGUMENT: a UUID that is none.
Result<metadata::NodeDescription> DescriptionOf(const internal::v1::NodeIdentity& identity);

}  // namespace flotilla::broker
