// Calls about single partitions: lists of them with what their leaders know, trimming, quorums, and handing over leadership.
#pragma once

#include <map>
#include <vector>

#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "server/broker/decisions.h"
#include "server/broker/group_descriptions.h"
#include "server/broker/member_context.h"

namespace flotilla::broker {

class PartitionCalls final : public CallService, private partition::TrimSink {
 public:
  PartitionCalls(const MemberContext& member, Decisions& decisions, GroupDescriptions& descriptions);
  ~PartitionCalls() override;

  void Tick() override;
  void OnLeader(GroupId group) override;

 private:
  struct Transfer {
    GroupId group;
    NodeId target;  // 0: anybody else
    Term from;
    raft::Tick until = 0;
  };

  void List(uint64_t id, const v1::ListPartitionsRequest& request);
  void Trim(uint64_t id, const v1::TrimPartitionRequest& request);
  void Quorum(uint64_t id, const v1::GetQuorumRequest& request);
  void TransferTo(uint64_t id, const v1::TransferLeadershipRequest& request);
  void EndTransfer(uint64_t id, const Transfer& transfer);
  v1::PartitionDetails DetailsOf(const metadata::Topic& topic, const metadata::Partition& partition,
                                 const GroupDescriptions::Found& found) const;
  void OnTrimmed(uint64_t token, const Status& status, Offset log_start_offset) override;

  const MemberContext member_;
  Decisions& decisions_;
  GroupDescriptions& descriptions_;
  std::map<uint64_t, GroupId> trims_;
  std::map<uint64_t, Transfer> transfers_;
};

}  // namespace flotilla::broker
