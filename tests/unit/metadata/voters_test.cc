// Who votes in group 0.
#include "server/metadata/voters.h"

#include "storage/base/random.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

class VotersTest : public ::testing::Test {
 protected:
  static std::vector<ReplicaId> On(const std::vector<uint64_t>& nodes) {
    std::vector<ReplicaId> replicas;
    for (const uint64_t node : nodes) replicas.push_back({NodeId{node}, 0});
    return replicas;
  }
  void Vote(const std::vector<uint64_t>& voters, const std::vector<uint64_t>& learners = {}) {
    configuration_ = {.voters = On(voters), .outgoing = {}, .learners = On(learners)};
  }
  // What is planned when these learners have caught up: "learn 4 promote 3 demote 1 remove 2"; "-": nothing.
  std::string Planned(const std::set<uint64_t>& caught_up = {}, const std::set<uint64_t>& stuck = {}) const {
    LearnerSight learners;
    for (const uint64_t node : caught_up) learners.caught_up.insert(NodeId{node});
    for (const uint64_t node : stuck) learners.stuck.insert(NodeId{node});
    const raft::MembershipChange change = PlanVoters(scene_.image(), configuration_, learners);
    std::string told;
    const auto tell = [&](const std::string& what, const std::vector<ReplicaId>& replicas) {
      if (replicas.empty()) return;
      told += (told.empty() ? "" : " ") + what;
      for (const ReplicaId& replica : replicas) told += " " + ToString(replica);
    };
    tell("learn", change.add_learners);
    tell("promote", change.promote);
    tell("demote", change.demote);
    tell("remove", change.remove);
    return told.empty() ? "-" : told;
  }
  void Remove(uint64_t node) {
    scene_.SetAlive(node, false);
    CHECK(scene_.Do(DecideNodeRemoval({.node = NodeId{node}}, scene_.image(), scene_.Draw())).ok());
  }

  Scene scene_;
  raft::Configuration configuration_;
};

TEST_F(VotersTest, ThreeVotersAreEnoughForThreeAndFourNodes) {
  scene_.Found({.nodes = 3});
  Vote({1, 2, 3});
  EXPECT_EQ(Planned(), "-");
  scene_.Join(4);
  EXPECT_EQ(Planned(), "learn 4");
  Vote({1, 2, 3}, {4});
  EXPECT_EQ(Planned({4}), "-");
}

TEST_F(VotersTest, AFourthAndAFifthNodeVoteTogether) {
  scene_.Found({.nodes = 3});
  scene_.Join(4);
  scene_.Join(5);
  Vote({1, 2, 3}, {4, 5});
  EXPECT_EQ(Planned(), "-");
  EXPECT_EQ(Planned({4}), "-");  // four would need three
  EXPECT_EQ(Planned({4, 5}), "promote 4 5");
}

TEST_F(VotersTest, AtMostFiveVote) {
  scene_.Found({.nodes = 7});
  Vote({1, 2, 3, 4, 5}, {6, 7});
  EXPECT_EQ(Planned({6, 7}), "-");
}

TEST_F(VotersTest, OneNodeGrowsToThree) {
  scene_.Found({.nodes = 1});
  scene_.Join(2);
  Vote({1}, {2});
  EXPECT_EQ(Planned({2}), "-");
  scene_.Join(3);
  EXPECT_EQ(Planned({2}), "learn 3");
  Vote({1}, {2, 3});
  EXPECT_EQ(Planned({2, 3}), "promote 2 3");
}

TEST_F(VotersTest, OneChangeAtATime) {
  scene_.Found({.nodes = 5});
  Vote({1, 2, 3}, {4, 5});
  configuration_.outgoing = On({1, 2});
  EXPECT_EQ(Planned({4, 5}), "-");
  EXPECT_TRUE(PlanVoters(scene_.image(), {}, {}).empty());
}

TEST_F(VotersTest, ADeadNodeKeepsItsSeatUntilSomebodySaysThatItIsGone) {
  scene_.Found({.nodes = 3});
  scene_.Join(4);
  Vote({1, 2, 3}, {4});
  scene_.SetAlive(3, false);
  EXPECT_EQ(Planned({4}), "-");
  Remove(3);
  EXPECT_EQ(Planned({4}), "promote 4 remove 3");
}

TEST_F(VotersTest, ADecommissionedVoterIsReplacedInOneChange) {
  scene_.Found({.nodes = 4});
  Vote({1, 2, 3}, {4});
  scene_.SetMode(2, NodeMode::kDecommissioning);
  EXPECT_EQ(Planned(), "-");  // node 4 is about to take the seat
  EXPECT_EQ(Planned({4}), "promote 4 demote 2");
}

TEST_F(VotersTest, ADrainedNodeVotes) {
  scene_.Found({.nodes = 4});
  Vote({1, 2, 3}, {4});
  scene_.SetMode(2, NodeMode::kDraining);
  EXPECT_EQ(Planned({4}), "-");
}

TEST_F(VotersTest, WithoutAnHeirTheSeatIsGivenUp) {
  scene_.Found({.nodes = 3});
  Vote({1, 2, 3});
  scene_.SetMode(2, NodeMode::kDecommissioning);
  EXPECT_EQ(Planned(), "demote 2");
  Vote({1, 3}, {2});
  EXPECT_EQ(Planned(), "-");
  Remove(2);
  EXPECT_EQ(Planned(), "remove 2");
}

// Two voters would be lost with either of them.
TEST_F(VotersTest, AHeirThatIsDeadIsWaitedForUntilItIsRemoved) {
  scene_.Found({.nodes = 4});
  Vote({1, 2, 3}, {4});
  scene_.SetMode(2, NodeMode::kDecommissioning);
  scene_.SetAlive(4, false);
  EXPECT_EQ(Planned({4}), "-");
  EXPECT_EQ(Planned({}, {4}), "-");
  Remove(4);
  EXPECT_EQ(Planned(), "demote 2 remove 4");
}

TEST_F(VotersTest, AHeirThatIsDeadIsNotWaitedForWhereEnoughOthersVote) {
  scene_.Found({.nodes = 6});
  Vote({1, 2, 3, 4, 5}, {6});
  scene_.SetMode(2, NodeMode::kDecommissioning);
  scene_.SetAlive(6, false);
  EXPECT_EQ(Planned(), "demote 2");
}

TEST_F(VotersTest, AHeirThatStandsStillIsNotWaitedFor) {
  scene_.Found({.nodes = 4});
  Vote({1, 2, 3}, {4});
  scene_.SetMode(2, NodeMode::kDecommissioning);
  EXPECT_EQ(Planned(), "-");
  EXPECT_EQ(Planned({}, {4}), "demote 2");
  // Another one that comes along is.
  scene_.Join(5);
  Vote({1, 2, 3}, {4, 5});
  EXPECT_EQ(Planned({}, {4}), "-");
  EXPECT_EQ(Planned({5}, {4}), "promote 5 demote 2");
}

TEST_F(VotersTest, OnceItHasCaughtUpItTakesTheSeatThatWasGivenUp) {
  scene_.Found({.nodes = 4});
  scene_.SetMode(2, NodeMode::kDecommissioning);
  Vote({1, 3}, {2, 4});
  EXPECT_EQ(Planned({}, {4}), "-");
  EXPECT_EQ(Planned({4}), "promote 4");
}

TEST(LearnerWatchTest, ALearnerIsStuckWhenItGotNothingForAMinute) {
  constexpr raft::Tick kStuck = LearnerWatch::kStuckTicks;
  LearnerWatch watch;
  const auto stuck = [&](raft::Tick now, std::vector<MetadataLearner> learners) {
    watch.Look(learners, now);
    return watch.sight().stuck.contains(NodeId{4});
  };
  const MetadataLearner late{.node = NodeId{4}, .match = LogIndex{7}};
  EXPECT_FALSE(stuck(10, {late}));
  EXPECT_FALSE(stuck(10 + kStuck - 1, {late}));
  EXPECT_TRUE(stuck(10 + kStuck, {late}));
  MetadataLearner moved = late;
  moved.match = LogIndex{8};
  EXPECT_FALSE(stuck(20 + kStuck, {moved}));
  EXPECT_TRUE(stuck(20 + 2 * kStuck, {moved}));
  MetadataLearner done = moved;
  done.caught_up = true;
  EXPECT_FALSE(stuck(21 + 2 * kStuck, {done}));
  EXPECT_THAT(watch.sight().caught_up, testing::ElementsAre(NodeId{4}));
  // One that falls behind, or comes back, begins anew.
  EXPECT_FALSE(stuck(22 + 2 * kStuck, {moved}));
  EXPECT_FALSE(stuck(23 + 2 * kStuck, {}));
  EXPECT_FALSE(stuck(24 + 3 * kStuck, {moved}));
}

TEST_F(VotersTest, ANodeThatDoesNotLearnYetIsWaitedFor) {
  scene_.Found({.nodes = 3});
  Vote({1, 2, 3});
  scene_.SetMode(2, NodeMode::kDecommissioning);
  scene_.Join(4);
  EXPECT_EQ(Planned(), "learn 4");
}

TEST_F(VotersTest, FewerVoteOnlyBecauseSomebodyLeaves) {
  scene_.Found({.nodes = 5});
  Vote({1, 2, 3, 4, 5});
  scene_.SetMode(5, NodeMode::kDecommissioning);
  EXPECT_EQ(Planned(), "demote 5");  // four stay, though three would do
  Vote({1, 2, 3, 4}, {5});
  EXPECT_EQ(Planned({5}), "-");
}

TEST_F(VotersTest, AMajorityOfThoseWhoVoteIsAlive) {
  scene_.Found({.nodes = 3});
  Vote({1, 2, 3});
  scene_.SetMode(1, NodeMode::kDecommissioning);
  scene_.SetAlive(2, false);
  EXPECT_EQ(Planned(), "-");  // of 2 and 3 one is alive
  scene_.Join(4);
  Vote({1, 2, 3}, {4});
  EXPECT_EQ(Planned({4}), "promote 4 demote 1");
}

TEST_F(VotersTest, VotersAreSpreadOverRacks) {
  scene_.Found({.nodes = 3, .racks = {"a", "b", "c"}});
  scene_.Join(4, "a");
  scene_.Join(5, "c");
  Vote({1, 2, 3}, {4, 5});
  scene_.SetMode(3, NodeMode::kDecommissioning);
  EXPECT_EQ(Planned({4, 5}), "promote 5 demote 3");
}

TEST_F(VotersTest, ANewRackGetsASeatFromTheFullestOne) {
  scene_.Found({.nodes = 5, .racks = {"a"}});
  scene_.Join(6, "b");
  scene_.Join(7, "b");
  Vote({1, 2, 3, 4, 5}, {6, 7});
  EXPECT_EQ(Planned({6, 7}), "promote 6 demote 5");
  Vote({1, 2, 3, 4, 6}, {5, 7});
  EXPECT_EQ(Planned({5, 7}), "promote 7 demote 4");
  Vote({1, 2, 3, 6, 7}, {4, 5});
  EXPECT_EQ(Planned({4, 5}), "-");
}

TEST_F(VotersTest, TheDeadKeepTheirSeatAlsoInAFullRack) {
  scene_.Found({.nodes = 5, .racks = {"a"}});
  scene_.Join(6, "b");
  Vote({1, 2, 3, 4, 5}, {6});
  scene_.SetAlive(5, false);
  EXPECT_EQ(Planned({6}), "promote 6 demote 4");
}

TEST_F(VotersTest, ADeadNodeDoesNotBeginToLearn) {
  scene_.Found({.nodes = 3});
  scene_.Join(4);
  scene_.SetAlive(4, false);
  Vote({1, 2, 3});
  EXPECT_EQ(Planned(), "-");
}

// Whatever happens to nodes: each change is legal, leaves a living majority, and there is an end to them.
class RandomVotersTest : public VotersTest, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(RandomVotersTest, ChangesAreLegalAndComeToAnEnd) {
  Random random(GetParam());
  scene_ = Scene(GetParam());
  scene_.Found({.nodes = 1 + random.Below(6), .racks = {"", "a", "b"}});
  std::vector<uint64_t> first;
  for (uint64_t node = 1; node <= MetadataVoterCount(scene_.image().nodes.size()); ++node) first.push_back(node);
  Vote(first);
  uint64_t joined = 100;
  for (int step = 0; step < 60; ++step) {
    const std::vector<const Node*> living = scene_.image().LivingNodes();
    const uint64_t node = 1 + random.Below(scene_.image().next_node.value() - 1);
    const Node* known = scene_.image().FindNode(NodeId{node});
    switch (random.Below(5)) {
      case 0:
        if (scene_.image().nodes.size() < 9) scene_.Join(joined++, random.OneIn(2) ? "a" : "c");
        break;
      case 1:
        // A majority of the voters stays alive: without one there is no leader that plans.
        if (known != nullptr && known->alive && living.size() > 1) {
          scene_.SetAlive(node, false);
          size_t alive = 0;
          for (const ReplicaId& voter : configuration_.voters) {
            const Node* other = scene_.image().FindNode(voter.node);
            alive += other != nullptr && other->alive ? 1 : 0;
          }
          if (2 * alive <= configuration_.voters.size()) scene_.SetAlive(node, true);
        }
        break;
      case 2:
        if (known != nullptr) scene_.SetAlive(node, true);
        break;
      case 3:
        (void)scene_
            .Do(DecideNodeMode(
                {.node = NodeId{node}, .mode = random.OneIn(2) ? NodeMode::kDecommissioning : NodeMode::kActive, .recommission = true},
                scene_.image(), scene_.Draw()))
            .ok();
        break;
      default: (void)scene_.Do(DecideNodeRemoval({.node = NodeId{node}}, scene_.image(), scene_.Draw())).ok();
    }
    // All changes that follow by themselves.
    for (int change_count = 0;; ++change_count) {
      ASSERT_LT(change_count, 20) << "no end";
      std::set<NodeId> caught_up;
      for (const ReplicaId& learner : configuration_.learners) {
        const Node* learning = scene_.image().FindNode(learner.node);
        if (learning != nullptr && learning->alive) caught_up.insert(learner.node);
      }
      const raft::MembershipChange change = PlanVoters(scene_.image(), configuration_, {.caught_up = caught_up, .stuck = {}});
      if (change.empty()) break;
      const Result<raft::Configuration> next = configuration_.Change(change);
      ASSERT_TRUE(next.ok()) << next.status();
      configuration_ = next->Leave();
      size_t alive = 0;
      for (const ReplicaId& voter : configuration_.voters) {
        const Node* other = scene_.image().FindNode(voter.node);
        alive += other != nullptr && other->alive ? 1 : 0;
      }
      ASSERT_GT(2 * alive, configuration_.voters.size()) << raft::ToString(configuration_);
      ASSERT_LE(configuration_.voters.size(), 5u);
    }
    for (const Node* other : scene_.image().LivingNodes())
      ASSERT_TRUE(configuration_.Contains({other->id, 0})) << "node " << other->id << " does not even learn";
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomVotersTest, ::testing::Range<uint64_t>(1, 51));

}  // namespace
}  // namespace flotilla::metadata
