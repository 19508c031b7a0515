#include "server/broker/move_view.h"

#include <algorithm>

#include "server/broker/describe.h"

namespace flotilla::broker {
namespace {

using internal::v1::GroupDescription;
using internal::v1::ReplicaDescription;

const ReplicaDescription* FindMember(const GroupDescription& group, ReplicaId id) {
  for (const ReplicaDescription& replica : group.replicas()) {
    if (replica.node_id() == id.node.value() && replica.incarnation() == id.incarnation) return &replica;
  }
  return nullptr;
}

bool Contains(const std::vector<ReplicaId>& replicas, ReplicaId id) {
  return std::find(replicas.begin(), replicas.end(), id) != replicas.end();
}

v1::MoveReason ReasonOf(metadata::MoveCause cause) {
  switch (cause) {
    case metadata::MoveCause::kRequested: return v1::MOVE_REASON_REQUESTED;
    case metadata::MoveCause::kDecommission: return v1::MOVE_REASON_DECOMMISSION;
    case metadata::MoveCause::kBalance: return v1::MOVE_REASON_BALANCE;
    case metadata::MoveCause::kRebuild: return v1::MOVE_REASON_REBUILD;
    case metadata::MoveCause::kCancelled: return v1::MOVE_REASON_CANCELLED;
  }
  return v1::MOVE_REASON_UNSPECIFIED;
}

v1::MoveStage StageOf(const metadata::Partition& partition, const GroupDescription& group) {
  if (group.changing()) return v1::MOVE_STAGE_SWITCHING;
  size_t members = 0;  // wanted ones
  size_t voters = 0;
  bool all_there = true;
  for (const ReplicaId& wanted : partition.replicas) {
    const ReplicaDescription* member = FindMember(group, wanted);
    if (member == nullptr) continue;
    ++members;
    voters += member->voter() ? 1 : 0;
    all_there &= member->voter() || member->match_index() >= group.last_index();
  }
  if (members < partition.replicas.size()) return v1::MOVE_STAGE_DECIDED;
  if (voters < partition.replicas.size()) return all_there ? v1::MOVE_STAGE_SWITCHING : v1::MOVE_STAGE_COPYING;
  return static_cast<size_t>(group.replicas_size()) == partition.replicas.size() ? v1::MOVE_STAGE_FINISHING : v1::MOVE_STAGE_SWITCHING;
}

}  // namespace

std::vector<ReplicaId> Arriving(const metadata::Partition& partition) {
  std::vector<ReplicaId> arriving;
  for (const ReplicaId& wanted : partition.replicas) {
    if (partition.movement && !Contains(partition.movement->settled, wanted)) arriving.push_back(wanted);
  }
  return arriving;
}

std::vector<NodeId> NodesLeft(const metadata::Partition& partition) {
  std::vector<NodeId> left;
  if (!partition.movement) return left;
  for (const ReplicaId& leaving : partition.movement->leaving) left.push_back(leaving.node);
  for (const ReplicaId& before : partition.movement->settled) {
    if (!Contains(partition.replicas, before)) left.push_back(before.node);
  }
  std::sort(left.begin(), left.end());
  left.erase(std::unique(left.begin(), left.end()), left.end());
  return left;
}

CopyProgress CopyOf(const metadata::Partition& partition, const GroupDescription& group) {
  CopyProgress copy;
  const uint64_t entries = group.last_index() + 1 - std::min(group.first_index(), group.last_index() + 1);
  for (const ReplicaId& replica : Arriving(partition)) {
    copy.bytes += group.log_bytes();
    copy.entries += entries;
    const ReplicaDescription* member = FindMember(group, replica);
    // Who votes had all of it once, and keeps up as everybody does.
    if (member != nullptr && member->voter()) continue;
    const uint64_t match = member == nullptr ? 0 : member->match_index();
    copy.entries_left += std::min(entries, group.last_index() - std::min(match, group.last_index()));
  }
  if (copy.entries != 0) {
    const double left = static_cast<double>(copy.entries_left) / static_cast<double>(copy.entries);
    copy.bytes_left = static_cast<uint64_t>(static_cast<double>(copy.bytes) * left);
  }
  return copy;
}

v1::Move DescribeMove(const metadata::Topic& topic, const metadata::Partition& partition, const GroupDescription* group) {
  v1::Move move;
  *move.mutable_partition()->mutable_topic() = RefOf(topic);
  move.mutable_partition()->set_partition(static_cast<int32_t>(partition.number));
  move.set_remaining_ms(-1);
  if (!partition.movement) return move;
  for (const ReplicaId& replica : Arriving(partition)) move.add_to_node_ids(static_cast<int32_t>(replica.node.value()));
  for (const NodeId node : NodesLeft(partition)) move.add_from_node_ids(static_cast<int32_t>(node.value()));
  move.set_reason(ReasonOf(partition.movement->cause));
  move.set_start_time_ms(partition.movement->since_ms);
  if (group == nullptr) {
    move.set_stalled("its leader does not answer, or it has none");
    return move;
  }
  move.set_stage(StageOf(partition, *group));
  const CopyProgress copy = CopyOf(partition, *group);
  move.set_bytes_total(static_cast<int64_t>(copy.bytes));
  move.set_bytes_left(static_cast<int64_t>(copy.bytes_left));
  move.set_stalled(group->stalled());
  if (move.stage() >= v1::MOVE_STAGE_SWITCHING) {
    move.set_percent(100);
  } else if (copy.entries != 0) {
    // 100 is for what is copied.
    const double done = static_cast<double>(copy.entries - copy.entries_left) / static_cast<double>(copy.entries);
    move.set_percent(std::min<int32_t>(99, static_cast<int32_t>(100 * done)));
  }
  return move;
}

}  // namespace flotilla::broker
