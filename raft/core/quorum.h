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

// The largest index that a quorum has reached, where `match(id)` is how far a replica is (Raft §5.3, §6).
template <typename Match>
LogIndex QuorumIndex(const Configuration& configuration, Match match) {
  const auto majority_index = [&](const std::vector<ReplicaId>& members) {
    // Selection by counting: configurations are small.
    LogIndex best{0};
    for (const ReplicaId& candidate : members) {
      const LogIndex index = match(candidate);
      if (index <= best) continue;
      size_t reached = 0;
      for (const ReplicaId& id : members) reached += match(id) >= index ? 1 : 0;
      if (reached >= MajorityOf(members.size())) best = index;
    }
    return best;
  };
  if (configuration.voters.empty()) return LogIndex{0};
  const LogIndex incoming = majority_index(configuration.voters);
  if (!configuration.joint()) return incoming;
  return std::min(incoming, majority_index(configuration.outgoing));
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
