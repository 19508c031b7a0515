// A Raft group as its leader sees it: for quorum, partition lists and health. Executor only.
#pragma once

#include <optional>

#include "flotilla/internal/v1/peer.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "server/broker/member_context.h"

namespace flotilla::broker {

// Nothing when this node does not lead the group.
std::optional<internal::v1::GroupDescription> DescribeGroup(const MemberContext& member, GroupId group);
v1::GetQuorumResponse QuorumOf(const internal::v1::GroupDescription& group, NodeId leader);
v1::ReplicaState StateOf(const internal::v1::ReplicaDescription& replica);
// A replica that is not in sync.
bool UnderReplicated(const internal::v1::GroupDescription& group);

}  // namespace flotilla::broker
