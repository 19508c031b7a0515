// Which step a leader takes next: replica_mover.h, as a table. Replicas are "node" or "node.life".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "server/broker/replica_mover.h"

namespace flotilla::broker {
namespace {

std::vector<ReplicaId> Replicas(const std::string& text) {
  std::vector<ReplicaId> replicas;
  std::istringstream in(text);
  std::string one;
  while (in >> one) {
    const size_t dot = one.find('.');
    replicas.push_back({NodeId{std::stoull(one)}, dot == std::string::npos ? 0 : std::stoull(one.substr(dot + 1))});
  }
  return replicas;
}

std::string Text(const std::vector<ReplicaId>& replicas) {
  std::string text;
  for (const ReplicaId& id : replicas) {
    text += " " + std::to_string(id.node.value()) + (id.incarnation == 0 ? "" : "." + std::to_string(id.incarnation));
  }
  return text;
}

std::string Text(const MoveStep& step) {
  switch (step.kind) {
    case MoveStep::Kind::kSettle: return "settled";
    case MoveStep::Kind::kHandOver: return "hand over to" + Text(step.heirs);
    case MoveStep::Kind::kWait:
      if (!step.obstacle.empty()) return "held up";
      return step.learning.empty() ? "wait" : "wait for" + Text(step.learning);
    case MoveStep::Kind::kChange: break;
  }
  std::string text;
  const auto add = [&text](const char* what, const std::vector<ReplicaId>& replicas) {
    if (!replicas.empty()) text += std::string(text.empty() ? "" : ", ") + what + Text(replicas);
  };
  add("learn", step.change.add_learners);
  add("promote", step.change.promote);
  add("demote", step.change.demote);
  add("remove", step.change.remove);
  return text;
}

struct Row {
  const char* wanted;  // the first one should lead
  const char* voters;
  const char* learners = "";
  const char* outgoing = "";
  const char* silent = "";  // of the members: do not answer, or are far behind
  const char* self = "1";
  bool committed = true;
};

std::string Next(const Row& row) {
  metadata::Partition partition;
  partition.replicas = Replicas(row.wanted);
  partition.preferred_leader = partition.replicas.front().node;
  partition.movement.emplace();
  GroupSight group{
      .self = Replicas(row.self).front(),
      .configuration = {.voters = Replicas(row.voters), .outgoing = Replicas(row.outgoing), .learners = Replicas(row.learners)},
      .committed = row.committed,
      .near = {}};
  group.configuration.Normalize();
  for (const ReplicaId& id : group.configuration.Replicas()) group.near.insert(id);
  for (const ReplicaId& id : Replicas(row.silent)) group.near.erase(id);
  const MoveStep step = NextMoveStep(partition, group);
  // Whatever is proposed is legal.
  if (step.kind == MoveStep::Kind::kChange) {
    const Result<raft::Configuration> after = group.configuration.Change(step.change);
    EXPECT_TRUE(after.ok()) << after.status();
  }
  return Text(step);
}

TEST(MoveStepTest, AReplicaMovesStepByStep) {
  EXPECT_EQ(Next({.wanted = "1 2 4.1", .voters = "1 2 3"}), "learn 4.1");
  EXPECT_EQ(Next({.wanted = "1 2 4.1", .voters = "1 2 3", .learners = "4.1", .silent = "4.1"}), "wait for 4.1");
  EXPECT_EQ(Next({.wanted = "1 2 4.1", .voters = "1 2 3", .learners = "4.1"}), "promote 4.1, remove 3");
  EXPECT_EQ(Next({.wanted = "1 2 4.1", .voters = "1 2 4.1", .outgoing = "1 2 3"}), "wait");
  EXPECT_EQ(Next({.wanted = "1 2 4.1", .voters = "1 2 4.1"}), "settled");
}

TEST(MoveStepTest, NothingIsDoneWhileAConfigurationIsNotCommitted) {
  EXPECT_EQ(Next({.wanted = "1 2 4.1", .voters = "1 2 3", .committed = false}), "wait");
  EXPECT_EQ(Next({.wanted = "1 2 3", .voters = "1 2 3", .committed = false}), "wait");
}

TEST(MoveStepTest, ALeaderThatIsToGoHandsOverFirst) {
  EXPECT_EQ(Next({.wanted = "3 2 4.1", .voters = "1 2 3", .learners = "4.1"}), "hand over to 3 2");
  EXPECT_EQ(Next({.wanted = "4.1 2 3", .voters = "1 2 3", .learners = "4.1"}), "hand over to 2 3");
  EXPECT_EQ(Next({.wanted = "3 2 4.1", .voters = "1 2 3", .learners = "4.1", .silent = "3"}), "hand over to 2");
  // Not before the new one has everything: until then it leads on.
  EXPECT_EQ(Next({.wanted = "3 2 4.1", .voters = "1 2 3", .learners = "4.1", .silent = "4.1"}), "wait for 4.1");
  // Whoever leads then does the rest.
  EXPECT_EQ(Next({.wanted = "3 2 4.1", .voters = "1 2 3", .learners = "4.1", .self = "3"}), "promote 4.1, remove 1");
}

TEST(MoveStepTest, TheOnlyReplicaMakesItsSuccessorAVoterAndHandsOver) {
  EXPECT_EQ(Next({.wanted = "2.1", .voters = "1"}), "learn 2.1");
  EXPECT_EQ(Next({.wanted = "2.1", .voters = "1", .learners = "2.1", .silent = "2.1"}), "wait for 2.1");
  EXPECT_EQ(Next({.wanted = "2.1", .voters = "1", .learners = "2.1"}), "promote 2.1");
  EXPECT_EQ(Next({.wanted = "2.1", .voters = "1 2.1"}), "hand over to 2.1");
  EXPECT_EQ(Next({.wanted = "2.1", .voters = "1 2.1", .silent = "2.1"}), "held up");
  EXPECT_EQ(Next({.wanted = "2.1", .voters = "1 2.1", .self = "2.1"}), "remove 1");
  EXPECT_EQ(Next({.wanted = "2.1", .voters = "2.1", .self = "2.1"}), "settled");
}

TEST(MoveStepTest, ARebuiltReplicaIsRemovedBeforeItComesBack) {
  EXPECT_EQ(Next({.wanted = "1 2 3.1", .voters = "1 2 3"}), "remove 3");
  EXPECT_EQ(Next({.wanted = "1 2 3.1", .voters = "1 2"}), "learn 3.1");
  EXPECT_EQ(Next({.wanted = "1 2 3.1", .voters = "1 2", .learners = "3.1"}), "promote 3.1");
  EXPECT_EQ(Next({.wanted = "1 2 3.2", .voters = "1 2", .learners = "3.1"}), "remove 3.1");
}

TEST(MoveStepTest, ACancelledMoveGoesBackFromAnywhere) {
  // Before, while, and after the new replica voted.
  EXPECT_EQ(Next({.wanted = "1 2 3", .voters = "1 2 3"}), "settled");
  EXPECT_EQ(Next({.wanted = "1 2 3", .voters = "1 2 3", .learners = "4.1"}), "remove 4.1");
  EXPECT_EQ(Next({.wanted = "1 2 3", .voters = "1 2 4.1", .outgoing = "1 2 3"}), "wait");
  EXPECT_EQ(Next({.wanted = "1 2 3", .voters = "1 2 4.1"}), "learn 3");
  EXPECT_EQ(Next({.wanted = "1 2 3", .voters = "1 2 4.1", .learners = "3"}), "promote 3, remove 4.1");
}

TEST(MoveStepTest, SeveralReplicasMoveInOneChange) {
  EXPECT_EQ(Next({.wanted = "1 4.1 5.1", .voters = "1 2 3"}), "learn 4.1 5.1");
  EXPECT_EQ(Next({.wanted = "1 4.1 5.1", .voters = "1 2 3", .learners = "4.1 5.1", .silent = "5.1"}), "wait for 5.1");
  EXPECT_EQ(Next({.wanted = "1 4.1 5.1", .voters = "1 2 3", .learners = "4.1 5.1"}), "promote 4.1 5.1, remove 2 3");
}

TEST(MoveStepTest, LearnersThatNobodyWantsGoFirst) {
  EXPECT_EQ(Next({.wanted = "1 2 5.2", .voters = "1 2 3", .learners = "4.1"}), "remove 4.1");
  EXPECT_EQ(Next({.wanted = "1 2 5.2", .voters = "1 2 3"}), "learn 5.2");
}

TEST(MoveStepTest, WhoIsToVoteNeedsAMajorityThatAnswers) {
  EXPECT_EQ(Next({.wanted = "1 2 4.1", .voters = "1 2 3", .learners = "4.1", .silent = "2"}), "promote 4.1, remove 3");
  EXPECT_EQ(Next({.wanted = "1 4.1 5.1", .voters = "1 2 3", .learners = "4.1 5.1", .silent = "2 3"}), "promote 4.1 5.1, remove 2 3");
  EXPECT_EQ(Next({.wanted = "1 2 3.1", .voters = "1 2 3", .silent = "2"}), "held up");
  EXPECT_EQ(Next({.wanted = "1 2 3", .voters = "1 2 3 4.1", .silent = "2 3"}), "held up");
  // A joint phase whose new half is silent is shown as what it is.
  EXPECT_EQ(Next({.wanted = "1 2 4.1", .voters = "1 2 4.1", .outgoing = "1 2 3", .silent = "2 4.1"}), "held up");
}

TEST(MoveStepTest, ADeadReplicaIsReplacedByTheOthers) {
  EXPECT_EQ(Next({.wanted = "1 2 4.1", .voters = "1 2 3", .silent = "3"}), "learn 4.1");
  EXPECT_EQ(Next({.wanted = "1 2 4.1", .voters = "1 2 3", .learners = "4.1", .silent = "3"}), "promote 4.1, remove 3");
}

}  // namespace
}  // namespace flotilla::broker
