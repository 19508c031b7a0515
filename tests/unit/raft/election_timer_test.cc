// How long followers wait for a leader that they heard a lot of. Elections do not collide because each draws its timeout anew.
#include <gtest/gtest.h>

#include <set>

#include "raft/core/raft_core.h"
#include "tests/unit/raft/replicas.h"

namespace flotilla::raft {
namespace {

constexpr Tick kTimeout = 20;
constexpr Tick kLastHeard = 50;

// When a follower gives up a leader that it heard `times` in each tick up to kLastHeard.
Tick Deadline(uint64_t seed, int times) {
  CoreOptions options;
  options.group = GroupId{1};
  options.self = R(2);
  options.election_ticks = kTimeout;
  storage::GroupState state;
  state.group = options.group;
  state.identity.self = options.self;
  state.snapshot.configuration = EncodeConfiguration({.voters = Rs({1, 2, 3})});
  RaftCore core(options, state, LogIndex{}, Random(seed), 0);
  for (Tick now = 1; now <= kLastHeard; ++now) {
    core.AdvanceTo(now);
    for (int i = 0; i < times; ++i) {
      core.Step({.group = options.group, .from = R(1), .to = R(2), .term = Term{1}, .body = Heartbeat{}});
      for (AppendTask& task : core.TakeOutput().append) core.Written(std::move(task), {});
    }
  }
  return core.NextDeadline();
}

TEST(ElectionTimerTest, ABusyLeadersFollowersWaitAsLongAsAQuietOnes) {
  for (const int times : {1, 100}) {
    std::set<Tick> seen;
    uint64_t sum = 0;
    constexpr uint64_t kSeeds = 400;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      const Tick deadline = Deadline(seed, times);
      ASSERT_GE(deadline, kLastHeard + kTimeout);
      ASSERT_LT(deadline, kLastHeard + 2 * kTimeout);
      seen.insert(deadline);
      sum += deadline;
    }
    EXPECT_EQ(seen.size(), kTimeout) << times;  // each of them
    EXPECT_NEAR(static_cast<double>(sum) / kSeeds, kLastHeard + 1.5 * kTimeout, 1.5) << times;
  }
}

}  // namespace
}  // namespace flotilla::raft
