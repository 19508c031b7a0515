#include "server/metadata/leader_balance.h"

#include <algorithm>

namespace flotilla::metadata {

std::optional<LeaderTransfer> LeaderBalancer::Next(const Image& image, std::span<const LedGroup> led,
                                                   raft::Tick now) {
  ObserveNodes(image, now);
  ObserveTransfer(led, now);
  if (in_flight_ || now < next_at_) return std::nullopt;
  for (const LedGroup& group : led) {
    const std::optional<LeaderTransfer> transfer = HomeOf(group, image, now);
    if (!transfer) continue;
    in_flight_ = InFlight{.group = group.group, .since = now};
    return transfer;
  }
  return std::nullopt;
}

void LeaderBalancer::ObserveNodes(const Image& image, raft::Tick now) {
  image.nodes.ForEach([&](NodeId id, const Shared<Node>& node) {
    if (node->alive) {
      alive_since_.try_emplace(id, now);
    } else {
      alive_since_.erase(id);
    }
  });
}

void LeaderBalancer::ObserveTransfer(std::span<const LedGroup> led, raft::Tick now) {
  std::erase_if(muted_until_, [&](const auto& row) { return row.second <= now; });
  if (!in_flight_) return;
  const bool still_here = std::any_of(
      led.begin(), led.end(), [&](const LedGroup& group) { return group.group == in_flight_->group; });
  if (still_here && now - in_flight_->since < options_.transfer_ticks) return;
  if (still_here) muted_until_[in_flight_->group] = now + options_.mute_ticks;
  in_flight_.reset();
  next_at_ = now + options_.pause_ticks;
}

bool LeaderBalancer::Settled(NodeId node, raft::Tick now) const {
  const auto at = alive_since_.find(node);
  return at != alive_since_.end() && now - at->second >= options_.settle_ticks;
}

bool LeaderBalancer::Muted(GroupId group, raft::Tick now) const {
  const auto at = muted_until_.find(group);
  return at != muted_until_.end() && now < at->second;
}

std::optional<LeaderTransfer> LeaderBalancer::HomeOf(const LedGroup& led, const Image& image,
                                                     raft::Tick now) const {
  const Partition* partition = image.FindPartition(led.group);
  if (partition == nullptr || partition->preferred_leader == self_) return std::nullopt;
  if (Muted(led.group, now) || !Settled(partition->preferred_leader, now)) return std::nullopt;
  const ReplicaId home = partition->ReplicaOn(partition->preferred_leader);
  if (std::find(led.caught_up.begin(), led.caught_up.end(), home) == led.caught_up.end()) return std::nullopt;
  return LeaderTransfer{.group = led.group, .to = home};
}

}  // namespace flotilla::metadata
