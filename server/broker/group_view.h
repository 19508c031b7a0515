// A Raft group as its leader sees it: for quorum, partition lists and health. Executor only.
#pragma once

#include <optional>

#include "flotilla/internal/v1/peer.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "server/broker/member_context.h"

namespace flotilla::broker {

// Of a question to a node about so many groups. LIMIT_EXCEEDED.
Status CheckGroupCount(int groups);
// Nothing when this node does not lead the group.
std::optional<internal::v1::GroupDescription> DescribeGroup(const MemberContext& member, GroupId group);
v1::GetQuorumResponse QuorumOf(const internal::v1::GroupDescription& group, NodeId leader);
v1::ReplicaState StateOf(const internal::v1::ReplicaDescription& replica);
// A voter is not in sync, or there are fewer than the `wanted` (one is being built anew). Learners do not count.
bool UnderReplicated(const internal::v1::GroupDescription& group, size_t wanted);
// The same of a group that this node leads, as of `now`.
bool UnderReplicated(const raft::CoreStatus& group, raft::Tick now, size_t wanted);

}  // namespace flotilla::broker
