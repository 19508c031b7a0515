// Majorities of simple and joint configurations, as pure functions.
#pragma once

#include <algorithm>
#include <optional>
#include <span>

#include "raft/core/configuration.h"

namespace flotilla::raft {

// The smallest number of members that is a majority of `size`.
constexpr size_t MajorityOf(size_t size) { return size / 2 + 1; }

// Whether the replicas for which `holds` is true are a quorum: a majority of each half that is not empty. An empty
// configuration has no quorum.
template <typename Predicate>
bool IsQuorum(const Configuration& configuration, Predicate holds) {
  const auto majority = [&](const std::vector<ReplicaId>& members) {
    size_t count = 0;
    for (const ReplicaId& id : members) count += holds(id) ? 1 : 0;
    return count >= MajorityOf(members.size());
  };
  if (configuration.voters.empty()) return false;
  return majority(configuration.voters) && (!configuration.joint() || majority(configuration.outgoing));
}

// The largest value that a quorum has reached, where `reached(id)` is how far a replica is: an index (Raft §5.3, §6), or a time.
template <typename Reached>
auto QuorumReached(const Configuration& configuration, Reached reached) {
  using Value = decltype(reached(ReplicaId{}));
  const auto majority_reached = [&](const std::vector<ReplicaId>& members) {
    // Selection by counting: configurations are small.
    Value best{0};
    for (const ReplicaId& candidate : members) {
      const Value value = reached(candidate);
      if (value <= best) continue;
      size_t count = 0;
      for (const ReplicaId& id : members) count += reached(id) >= value ? 1 : 0;
      if (count >= MajorityOf(members.size())) best = value;
    }
    return best;
  };
  if (configuration.voters.empty()) return Value{0};
  const Value incoming = majority_reached(configuration.voters);
  if (!configuration.joint()) return incoming;
  return std::min(incoming, majority_reached(configuration.outgoing));
}

enum class VoteOutcome { kPending, kWon, kLost };

// `vote(id)` is an std::optional<bool>: granted, refused, or not heard yet.
template <typename Vote>
VoteOutcome TallyVotes(const Configuration& configuration, Vote vote) {
  if (IsQuorum(configuration, [&](ReplicaId id) { return vote(id) == std::optional<bool>(true); })) return VoteOutcome::kWon;
  // Still winnable if those that have not refused are a quorum.
  if (IsQuorum(configuration, [&](ReplicaId id) { return vote(id) != std::optional<bool>(false); })) return VoteOutcome::kPending;
  return VoteOutcome::kLost;
}

}  // namespace flotilla::raft
