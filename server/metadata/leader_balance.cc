#include "server/metadata/leader_balance.h"

#include <algorithm>
#include <tuple>

namespace flotilla::metadata {

std::vector<LeaderTransfer> LeaderBalancer::Next(const Image& image, std::span<const LedGroup> led, const BalanceMoment& moment) {
  const Node* self = image.FindNode(self_);
  const bool away = moment.unfit || (self != nullptr && self->mode != NodeMode::kActive);
  if (away != away_) {
    away_ = away;
    sent_.clear();
    muted_.clear();
  }
  ObserveNodes(image, moment.now);
  ObserveTransfers(led, moment.now);
  return away_ ? NextAway(image, led, moment.now) : NextHome(image, led, moment.now);
}

void LeaderBalancer::ObserveNodes(const Image& image, raft::Tick now) {
  image.nodes.ForEach([&](NodeId id, const Shared<Node>& node) {
    if (node->alive && !node->unfit_to_lead) {
      well_since_.try_emplace(id, now);
    } else {
      well_since_.erase(id);
    }
  });
}

void LeaderBalancer::ObserveTransfers(std::span<const LedGroup> led, raft::Tick now) {
  const auto leads = [&](GroupId group) {
    return std::any_of(led.begin(), led.end(), [&](const LedGroup& row) { return row.group == group; });
  };
  // On the way away it is remembered where a group could not go until it is gone.
  std::erase_if(muted_, [&](const auto& row) { return away_ ? !leads(row.first) : row.second.until <= now; });
  for (auto at = in_flight_.begin(); at != in_flight_.end();) {
    const auto& [group, flight] = *at;
    const bool still_here = leads(group);
    if (still_here && now - flight.since < options_.transfer_ticks) {
      ++at;
      continue;
    }
    if (still_here) muted_[group] = {.to = flight.to, .until = now + (away_ ? options_.away_mute_ticks : options_.mute_ticks)};
    next_home_at_ = now + options_.pause_ticks;
    at = in_flight_.erase(at);
  }
}

void LeaderBalancer::Begin(const LeaderTransfer& transfer, raft::Tick now) {
  in_flight_.emplace(transfer.group, InFlight{.to = transfer.to, .since = now});
}

bool LeaderBalancer::Settled(NodeId node, raft::Tick now) const {
  const auto at = well_since_.find(node);
  return at != well_since_.end() && now - at->second >= options_.settle_ticks;
}

bool LeaderBalancer::IsMuted(GroupId group, raft::Tick now) const {
  const auto at = muted_.find(group);
  return at != muted_.end() && now < at->second.until;
}

// --- home

std::vector<LeaderTransfer> LeaderBalancer::NextHome(const Image& image, std::span<const LedGroup> led, raft::Tick now) {
  if (!in_flight_.empty() || now < next_home_at_) return {};
  for (const LedGroup& group : led) {
    const std::optional<LeaderTransfer> transfer = HomeOf(group, image, now);
    if (!transfer) continue;
    Begin(*transfer, now);
    return {*transfer};
  }
  return {};
}

std::optional<LeaderTransfer> LeaderBalancer::HomeOf(const LedGroup& led, const Image& image, raft::Tick now) const {
  const Partition* partition = image.FindPartition(led.group);
  if (partition == nullptr || partition->preferred_leader == self_ || IsMuted(led.group, now)) return std::nullopt;
  const Node* node = image.FindNode(partition->preferred_leader);
  if (node == nullptr || !node->takes_leaders() || !Settled(node->id, now)) return std::nullopt;
  const ReplicaId home = partition->WantedOn(node->id);
  if (std::find(led.caught_up.begin(), led.caught_up.end(), home) == led.caught_up.end()) return std::nullopt;
  return LeaderTransfer{.group = led.group, .to = home};
}

// --- away

std::vector<LeaderTransfer> LeaderBalancer::NextAway(const Image& image, std::span<const LedGroup> led, raft::Tick now) {
  std::vector<LeaderTransfer> transfers;
  for (const LedGroup& group : led) {
    if (in_flight_.size() >= options_.away_max) break;
    if (in_flight_.contains(group.group) || IsMuted(group.group, now)) continue;
    const std::optional<LeaderTransfer> transfer = HeirOf(group, image);
    if (!transfer) continue;
    ++sent_[transfer->to.node];
    Begin(*transfer, now);
    transfers.push_back(*transfer);
  }
  return transfers;
}

std::optional<LeaderTransfer> LeaderBalancer::HeirOf(const LedGroup& led, const Image& image) const {
  const Partition* partition = image.FindPartition(led.group);
  if (partition == nullptr) return std::nullopt;
  const auto failed = muted_.find(led.group);
  const auto rank = [&](const ReplicaId& replica) {
    const auto sent = sent_.find(replica.node);
    const uint64_t leads = image.LoadOf(replica.node).preferred_leaders + (sent == sent_.end() ? 0 : sent->second);
    return std::tuple(failed != muted_.end() && failed->second.to == replica, replica.node != partition->preferred_leader, leads, replica);
  };
  std::optional<ReplicaId> best;
  for (const ReplicaId& replica : led.caught_up) {
    const Node* node = image.FindNode(replica.node);
    if (replica.node == self_ || node == nullptr || !node->takes_leaders()) continue;
    if (partition->WantedOn(replica.node) != replica) continue;
    if (!best || rank(replica) < rank(*best)) best = replica;
  }
  if (!best) return std::nullopt;
  return LeaderTransfer{.group = led.group, .to = *best};
}

}  // namespace flotilla::metadata
