// Calls about replicas that change their nodes: one by one (AdminService), and many at once (ClusterService's balancing). All at the
// metadata leader; how far moves are is asked of the partitions' leaders.
#pragma once

#include <vector>

#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "server/broker/decisions.h"
#include "server/broker/describe.h"
#include "server/broker/group_descriptions.h"
#include "server/broker/member_context.h"
#include "server/broker/pace.h"

namespace flotilla::broker {

class MoveCalls final : public CallService {
 public:
  MoveCalls(const MemberContext& member, Decisions& decisions, GroupDescriptions& descriptions);

 private:
  void Move(uint64_t id, const v1::MovePartitionRequest& request);
  void Rebuild(uint64_t id, const v1::RebuildReplicaRequest& request);
  void Cancel(uint64_t id, const v1::CancelMoveRequest& request);
  void List(uint64_t id, const v1::ListMovesRequest& request);
  // Decides, or looks what it would be with validate_only, and answers with the move.
  template <typename Response, typename Request, typename Change>
  void Decide(uint64_t id, const Request& request, Change change);
  template <typename Response>
  void AnswerMove(uint64_t id, const v1::PartitionRef& ref, const metadata::Shared<metadata::Image>& image, LogIndex version);

  void StartBalance(uint64_t id, const v1::StartBalanceRequest& request);
  void GetBalance(uint64_t id);
  void CancelBalance(uint64_t id);
  // Groups whose moves are of it.
  std::vector<GroupId> Balancing() const;

  // With how long it takes.
  v1::Move Describe(const PartitionPlace& place, const GroupDescriptions::Found& found);

  const MemberContext member_;
  Decisions& decisions_;
  GroupDescriptions& descriptions_;
  Paces moves_;
  Paces balancings_;
};

}  // namespace flotilla::broker
