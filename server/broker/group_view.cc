#include "server/broker/group_view.h"

#include <algorithm>
#include <string>

#include "server/broker/limits.h"
#include "server/broker/log_sizes.h"
#include "server/broker/replica_mover.h"

namespace flotilla::broker {
namespace {

// Heard from within this time: 2 s of 50 ms, an election timeout.
constexpr raft::Tick kReachableTicks = 40;
// So few entries behind is what is on its way under load, or no more than a moment's work.
constexpr uint64_t kInSyncLagEntries = 1024;

raft::Tick SilenceOf(const raft::ReplicaStatus& replica, raft::Tick now) { return now - std::min(now, replica.last_active); }

bool InSync(const raft::ReplicaStatus& replica, raft::Tick now) {
  return SilenceOf(replica, now) < kReachableTicks && replica.state == raft::ProgressState::kReplicate && replica.lag <= kInSyncLagEntries;
}

}  // namespace

Status CheckGroupCount(int groups) {
  const auto count = static_cast<uint64_t>(groups);
  if (count <= limits::kRequestItemsMax) return {};
  return Status(Reason::kLimitExceeded, std::to_string(count) + " groups; the limit is " + std::to_string(limits::kRequestItemsMax))
      .With("field", "groups")
      .With("limit", limits::kRequestItemsMax)
      .With("value", count);
}

std::optional<internal::v1::GroupDescription> DescribeGroup(const MemberContext& member, GroupId group) {
  const raft::RaftCore* core = member.host.Find(group);
  if (core == nullptr || core->role() != raft::Role::kLeader) return std::nullopt;
  const raft::CoreStatus status = core->status();
  internal::v1::GroupDescription described;
  described.set_group(group.value());
  described.set_term(status.term.value());
  described.set_commit_index(status.commit.value());
  described.set_last_index(status.last.value());
  described.set_changing(status.configuration.joint());
  described.set_first_index(status.first.value());
  described.set_log_bytes(member.sizes.Of(group));
  described.set_stalled(member.mover.Stalled(group));
  const raft::Tick now = member.host.now();
  const auto add = [&](ReplicaId id, bool voter, LogIndex match, uint64_t lag, raft::Tick silent, bool in_sync) {
    internal::v1::ReplicaDescription& replica = *described.add_replicas();
    replica.set_node_id(id.node.value());
    replica.set_incarnation(id.incarnation);
    replica.set_voter(voter);
    replica.set_match_index(match.value());
    replica.set_lag_entries(lag);
    replica.set_last_contact_ms(static_cast<uint64_t>(member.time.Millis(silent)));
    replica.set_in_sync(in_sync);
  };
  add(status.self, status.configuration.IsVoter(status.self), status.stable, 0, 0, true);
  for (const raft::ReplicaStatus& replica : status.replicas) {
    add(replica.id, replica.voter, replica.match, replica.lag, SilenceOf(replica, now), InSync(replica, now));
  }
  auto& replicas = *described.mutable_replicas();
  std::sort(replicas.begin(), replicas.end(), [](const auto& a, const auto& b) { return a.node_id() < b.node_id(); });
  if (const partition::Partition* partition = member.replicas.Find(group)) {
    const partition::PartitionStatus offsets = partition->status();
    described.set_log_start_offset(offsets.log_start_offset.value());
    described.set_high_watermark(offsets.high_watermark.value());
    described.set_applied_bytes(partition->applied_bytes());
    // The store's estimate knows little of what is still in memory. Of a log that was never trimmed everything that was applied is there.
    if (offsets.log_start_offset.value() == 0) described.set_log_bytes(std::max(described.log_bytes(), partition->applied_bytes()));
  }
  return described;
}

v1::ReplicaState StateOf(const internal::v1::ReplicaDescription& replica) {
  if (replica.in_sync()) return v1::REPLICA_STATE_IN_SYNC;
  return replica.last_contact_ms() < 2000 ? v1::REPLICA_STATE_CATCHING_UP : v1::REPLICA_STATE_UNREACHABLE;
}

bool UnderReplicated(const internal::v1::GroupDescription& group, size_t wanted) {
  const auto voters = std::count_if(group.replicas().begin(), group.replicas().end(), [](const auto& replica) { return replica.voter(); });
  const bool lags = std::any_of(group.replicas().begin(), group.replicas().end(),
                                [](const auto& replica) { return replica.voter() && !replica.in_sync(); });
  return lags || static_cast<size_t>(voters) < wanted;
}

bool UnderReplicated(const raft::CoreStatus& group, raft::Tick now, size_t wanted) {
  size_t voters = group.configuration.IsVoter(group.self) ? 1 : 0;
  for (const raft::ReplicaStatus& replica : group.replicas) {
    if (!replica.voter) continue;
    if (!InSync(replica, now)) return true;
    ++voters;
  }
  return voters < wanted;
}

v1::GetQuorumResponse QuorumOf(const internal::v1::GroupDescription& group, NodeId leader) {
  v1::GetQuorumResponse response;
  response.set_leader_node_id(static_cast<int32_t>(leader.value()));
  response.set_leader_epoch(static_cast<int64_t>(group.term()));
  response.set_commit_index(static_cast<int64_t>(group.commit_index()));
  response.set_last_index(static_cast<int64_t>(group.last_index()));
  response.set_changing(group.changing());
  for (const auto& replica : group.replicas()) {
    v1::QuorumMember& member = *response.add_members();
    member.set_node_id(static_cast<int32_t>(replica.node_id()));
    member.set_incarnation(static_cast<int64_t>(replica.incarnation()));
    member.set_role(replica.voter() ? v1::REPLICA_ROLE_VOTER : v1::REPLICA_ROLE_LEARNER);
    member.set_state(StateOf(replica));
    member.set_match_index(static_cast<int64_t>(replica.match_index()));
    member.set_last_contact_ms(static_cast<int64_t>(replica.last_contact_ms()));
  }
  return response;
}

}  // namespace flotilla::broker
