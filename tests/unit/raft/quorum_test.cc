#include "raft/core/quorum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/unit/raft/replicas.h"

namespace flotilla::raft {
namespace {

constexpr uint64_t kNodes = 6;

using Set = std::set<ReplicaId>;

// The definition, word by word: more than half of the old members and more than half of the new ones.
bool NaiveIsQuorum(const Configuration& configuration, const Set& set) {
  const auto more_than_half = [&](const std::vector<ReplicaId>& members) {
    size_t in = 0;
    for (const ReplicaId& id : members) in += set.count(id);
    return 2 * in > members.size();
  };
  if (configuration.voters.empty()) return false;
  return more_than_half(configuration.voters) && (configuration.outgoing.empty() || more_than_half(configuration.outgoing));
}

std::vector<Set> AllSets() {
  std::vector<Set> sets;
  for (uint64_t bits = 0; bits < (uint64_t{1} << kNodes); ++bits) {
    Set set;
    for (uint64_t node = 1; node <= kNodes; ++node) {
      if (bits >> (node - 1) & 1) set.insert(R(node));
    }
    sets.push_back(set);
  }
  return sets;
}

Configuration RandomConfiguration(Random& random) {
  Configuration configuration{.voters = RandomReplicas(random, kNodes),
                              .outgoing = random.OneIn(2) ? RandomReplicas(random, kNodes) : std::vector<ReplicaId>{}};
  return configuration;
}

TEST(QuorumTest, MajorityIsMoreThanHalf) {
  EXPECT_EQ(MajorityOf(1), 1u);
  EXPECT_EQ(MajorityOf(2), 2u);
  EXPECT_EQ(MajorityOf(3), 2u);
  EXPECT_EQ(MajorityOf(4), 3u);
  EXPECT_EQ(MajorityOf(5), 3u);
}

TEST(QuorumTest, NobodyHasNoQuorum) {
  const Configuration nobody;
  EXPECT_FALSE(IsQuorum(nobody, [](ReplicaId) { return true; }));
  EXPECT_EQ(QuorumReached(nobody, [](ReplicaId) { return LogIndex{9}; }), LogIndex{0});
}

TEST(QuorumTest, LearnersDoNotCount) {
  const Configuration configuration{.voters = Rs({1, 2, 3}), .learners = Rs({4, 5})};
  const auto has = [](const Set& set) { return [set](ReplicaId id) { return set.contains(id); }; };
  EXPECT_FALSE(IsQuorum(configuration, has({R(1), R(4), R(5)})));
  EXPECT_TRUE(IsQuorum(configuration, has({R(1), R(2)})));
}

TEST(QuorumTest, JointIsNotTheMajorityOfTheUnion) {
  const Configuration joint{.voters = Rs({1, 4, 5}), .outgoing = Rs({1, 2, 3})};
  const Set three_of_five = {R(1), R(4), R(5)};
  EXPECT_FALSE(IsQuorum(joint, [&](ReplicaId id) { return three_of_five.contains(id); }));
  const Set both = {R(4), R(5), R(2), R(3)};
  EXPECT_TRUE(IsQuorum(joint, [&](ReplicaId id) { return both.contains(id); }));
}

TEST(QuorumTest, AnotherIncarnationIsAnotherMember) {
  const Configuration configuration{.voters = {R(1)}};
  EXPECT_FALSE(IsQuorum(configuration, [](ReplicaId id) { return id == R(1, 1); }));
}

TEST(QuorumTest, IsQuorumFollowsTheDefinition) {
  Random random(1);
  const std::vector<Set> sets = AllSets();
  for (int round = 0; round < 300; ++round) {
    const Configuration configuration = RandomConfiguration(random);
    for (const Set& set : sets) {
      ASSERT_EQ(IsQuorum(configuration, [&](ReplicaId id) { return set.contains(id); }), NaiveIsQuorum(configuration, set))
          << configuration;
    }
  }
}

// The largest index for which there is a quorum of replicas that all have it.
TEST(QuorumTest, QuorumReachedIsTheBestThatSomeQuorumHas) {
  Random random(2);
  const std::vector<Set> sets = AllSets();
  for (int round = 0; round < 1000; ++round) {
    const Configuration configuration = RandomConfiguration(random);
    std::map<ReplicaId, LogIndex> match;
    for (uint64_t node = 1; node <= kNodes; ++node) match[R(node)] = LogIndex{random.Below(8)};
    LogIndex best{0};
    for (const Set& set : sets) {
      if (!NaiveIsQuorum(configuration, set)) continue;
      LogIndex least{100};
      for (const ReplicaId& id : set) least = std::min(least, match[id]);
      best = std::max(best, least);
    }
    ASSERT_EQ(QuorumReached(configuration, [&](ReplicaId id) { return match[id]; }), best) << configuration;
  }
}

// Any two quorums of one configuration share a replica, and so do quorums of the steps of a change.
TEST(QuorumTest, QuorumsOfNeighbouringConfigurationsMeet) {
  Random random(3);
  const std::vector<Set> sets = AllSets();
  for (int round = 0; round < 60; ++round) {
    Configuration old_members{.voters = RandomReplicas(random, kNodes)};
    Configuration new_members{.voters = RandomReplicas(random, kNodes)};
    if (old_members.empty() || new_members.empty()) continue;
    const Configuration joint{.voters = new_members.voters, .outgoing = old_members.voters};
    for (const Configuration& other : {old_members, new_members, joint}) {
      for (const Set& a : sets) {
        if (!NaiveIsQuorum(joint, a)) continue;
        Set rest;
        for (uint64_t node = 1; node <= kNodes; ++node) {
          if (!a.contains(R(node))) rest.insert(R(node));
        }
        ASSERT_FALSE(IsQuorum(other, [&](ReplicaId id) { return rest.contains(id); })) << joint << " against " << other;
      }
    }
  }
}

// Decided as soon as no vote that is still missing can change it, and not before.
TEST(QuorumTest, VotesAreDecidedWhenTheMissingOnesCannotChangeIt) {
  Random random(4);
  const std::vector<Set> sets = AllSets();
  for (int round = 0; round < 400; ++round) {
    const Configuration configuration = RandomConfiguration(random);
    std::map<ReplicaId, std::optional<bool>> votes;
    for (uint64_t node = 1; node <= kNodes; ++node) {
      const uint64_t draw = random.Below(3);
      votes[R(node)] = draw == 0 ? std::nullopt : std::optional<bool>(draw == 1);
    }
    bool can_win = false, can_lose = false;
    for (const Set& granted : sets) {
      const bool possible = std::all_of(votes.begin(), votes.end(),
                                        [&](const auto& vote) { return !vote.second || *vote.second == granted.contains(vote.first); });
      if (possible) (NaiveIsQuorum(configuration, granted) ? can_win : can_lose) = true;
    }
    const VoteOutcome wanted = !can_lose ? VoteOutcome::kWon : can_win ? VoteOutcome::kPending : VoteOutcome::kLost;
    ASSERT_EQ(TallyVotes(configuration, [&](ReplicaId id) { return votes[id]; }), wanted) << configuration;
  }
}

}  // namespace
}  // namespace flotilla::raft
