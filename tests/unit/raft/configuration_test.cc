#include "raft/core/configuration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "storage/base/limits.h"
#include "tests/unit/raft/replicas.h"

namespace flotilla::raft {
namespace {

using testing::HasSubstr;

std::string Hex(std::string_view bytes) {
  std::string text;
  for (unsigned char byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

const Configuration kThree{.voters = Rs({1, 2, 3}), .learners = Rs({4})};

// --- changes

TEST(ConfigurationTest, LearnersComeAndGoWithoutAJointPhase) {
  const Configuration added = *kThree.Change({.add_learners = Rs({5})});
  EXPECT_FALSE(added.joint());
  EXPECT_EQ(added.learners, Rs({4, 5}));
  const Configuration removed = *added.Change({.remove = Rs({4, 5})});
  EXPECT_FALSE(removed.joint());
  EXPECT_EQ(removed, (Configuration{.voters = Rs({1, 2, 3})}));
}

TEST(ConfigurationTest, AChangeOfVotersIsJoint) {
  const Configuration joint = *kThree.Change({.promote = Rs({4}), .remove = Rs({3})});
  EXPECT_TRUE(joint.joint());
  EXPECT_EQ(joint.voters, Rs({1, 2, 4}));
  EXPECT_EQ(joint.outgoing, Rs({1, 2, 3}));
  EXPECT_TRUE(joint.IsVoter(R(3)));
  EXPECT_EQ(joint.Leave(), (Configuration{.voters = Rs({1, 2, 4})}));
}

TEST(ConfigurationTest, ADemotedVoterIsOutgoingAndLearnerUntilTheEnd) {
  const Configuration joint = *kThree.Change({.demote = Rs({2})});
  EXPECT_EQ(joint, (Configuration{.voters = Rs({1, 3}), .outgoing = Rs({1, 2, 3}), .learners = Rs({2, 4})}));
  EXPECT_EQ(joint.Replicas(), Rs({1, 2, 3, 4}));
  EXPECT_TRUE(joint.IsVoter(R(2)));
  EXPECT_FALSE(joint.Leave().IsVoter(R(2)));
}

TEST(ConfigurationTest, TheNextLifeOfANodeReplacesTheOldOne) {
  const Configuration next = *kThree.Change({.add_learners = {R(3, 1)}, .remove = {R(3)}});
  EXPECT_EQ(next.voters, Rs({1, 2}));
  EXPECT_EQ(next.learners, (std::vector<ReplicaId>{R(3, 1), R(4)}));
}

struct Refusal {
  MembershipChange change;
  Reason reason;
  const char* text;
};

TEST(ConfigurationTest, EveryRefusalSaysWhy) {
  const Reason illegal = Reason::kIllegalConfiguration;
  const std::vector<Refusal> refusals = {
      {{}, illegal, "names no replica"},
      {{.add_learners = {kNoReplica}}, illegal, "replica 0 is not a replica"},
      {{.add_learners = Rs({1})}, illegal, "replica 1 is a member already"},
      {{.add_learners = Rs({4})}, illegal, "replica 4 is a member already"},
      {{.promote = Rs({2})}, illegal, "replica 2 is a voter already"},
      {{.promote = Rs({9})}, illegal, "replica 9 is no learner; add it"},
      {{.demote = Rs({4})}, illegal, "replica 4 is no voter"},
      {{.demote = Rs({9})}, illegal, "replica 9 is no voter"},
      {{.remove = Rs({9})}, illegal, "replica 9 is not a member"},
      {{.remove = {R(1, 1)}}, illegal, "replica 1.1 is not a member"},
      {{.remove = Rs({1, 2, 3})}, illegal, "leave no voter"},
      {{.demote = Rs({1, 2}), .remove = Rs({3})}, illegal, "leave no voter"},
      {{.promote = Rs({4}), .remove = Rs({4})}, illegal, "replica 4 is named twice"},
      {{.add_learners = Rs({5, 5})}, illegal, "replica 5 is named twice"},
      {{.add_learners = {R(3, 1)}}, illegal, "node 3 would hold two replicas; remove 3 "},
  };
  for (const Refusal& refusal : refusals) {
    const auto next = kThree.Change(refusal.change);
    ASSERT_FALSE(next.ok()) << refusal.text;
    EXPECT_EQ(next.status().reason(), refusal.reason);
    EXPECT_THAT(next.status().ToString(), HasSubstr(refusal.text));
  }
}

TEST(ConfigurationTest, NothingChangesInTheJointPhase) {
  const Configuration joint = *kThree.Change({.promote = Rs({4})});
  const auto next = joint.Change({.add_learners = Rs({5})});
  EXPECT_EQ(next.status().reason(), Reason::kConfigurationPending);
  EXPECT_THAT(next.status().ToString(), HasSubstr("voters 1,2,3,4 outgoing 1,2,3"));
}

TEST(ConfigurationTest, TheNumberOfReplicasIsLimited) {
  MembershipChange change;
  for (uint64_t node = 5; node < 5 + limits::kReplicasPerGroupMax - 4; ++node) change.add_learners.push_back(R(node));
  EXPECT_TRUE(kThree.Change(change).ok());
  change.add_learners.push_back(R(99));
  const auto next = kThree.Change(change);
  EXPECT_EQ(next.status().reason(), Reason::kLimitExceeded);
  EXPECT_THAT(next.status().ToString(), HasSubstr("33 replicas in one group; the limit is 32"));
}

// --- a thousand changes, against sets

struct Model {
  std::set<ReplicaId> voters, learners;

  // Whether the change makes sense, and what comes of it.
  bool Apply(const MembershipChange& change) {
    Model next = *this;
    std::set<ReplicaId> named;
    bool sane = !change.empty();
    const auto name = [&](ReplicaId id) { sane &= id.valid() && named.insert(id).second; };
    for (const ReplicaId& id : change.add_learners) {
      name(id);
      sane &= !voters.contains(id) && !learners.contains(id);
      next.learners.insert(id);
    }
    for (const ReplicaId& id : change.promote) {
      name(id);
      sane &= learners.contains(id);
      next.learners.erase(id);
      next.voters.insert(id);
    }
    for (const ReplicaId& id : change.demote) {
      name(id);
      sane &= voters.contains(id);
      next.voters.erase(id);
      next.learners.insert(id);
    }
    for (const ReplicaId& id : change.remove) {
      name(id);
      sane &= voters.contains(id) || learners.contains(id);
      next.voters.erase(id);
      next.learners.erase(id);
    }
    std::set<uint64_t> nodes;
    for (const auto* set : {&next.voters, &next.learners}) {
      for (const ReplicaId& id : *set) sane &= nodes.insert(id.node.value()).second;
    }
    sane &= !next.voters.empty();
    if (sane) *this = next;
    return sane;
  }

  Configuration AsConfiguration() const {
    return {.voters = {voters.begin(), voters.end()}, .learners = {learners.begin(), learners.end()}};
  }
};

TEST(ConfigurationTest, AThousandRandomChangesFollowTheModel) {
  Random random(5);
  Configuration now{.voters = Rs({1, 2, 3})};
  Model model{.voters = {R(1), R(2), R(3)}, .learners = {}};
  int accepted = 0, refused = 0;
  const auto some = [&](int chance) {
    std::vector<ReplicaId> ids;
    while (random.OneIn(static_cast<uint64_t>(chance))) ids.push_back(R(random.Between(1, 7), random.Below(2)));
    return ids;
  };
  while (accepted < 1000) {
    const MembershipChange change{.add_learners = some(3), .promote = some(4), .demote = some(6), .remove = some(4)};
    const Configuration before = now;
    const bool sane = model.Apply(change);
    const auto next = now.Change(change);
    ASSERT_EQ(next.ok(), sane) << before << ": " << next.status();
    if (!sane) {
      ++refused;
      continue;
    }
    ++accepted;
    ASSERT_EQ(next->joint(), next->voters != before.voters);
    if (next->joint()) {
      ASSERT_EQ(next->outgoing, before.voters);
    }
    now = next->Leave();
    ASSERT_EQ(now, model.AsConfiguration());
    const auto decoded = DecodeConfiguration(EncodeConfiguration(*next).view());
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ASSERT_EQ(*decoded, *next);
  }
  EXPECT_GT(refused, 100);
}

// --- bytes

TEST(ConfigurationTest, BytesAreTheseForEver) {
  const Configuration joint{.voters = Rs({1, 2}), .outgoing = Rs({1}), .learners = {R(3, 5)}};
  EXPECT_EQ(Hex(EncodeConfiguration(joint).view()),
            "01"
            "02"
            "01000000000000000000000000000000"
            "02000000000000000000000000000000"
            "01"
            "01000000000000000000000000000000"
            "01"
            "03000000000000000500000000000000");
  EXPECT_EQ(Hex(EncodeConfiguration({}).view()), "01000000");
}

TEST(ConfigurationTest, NoBytesAreNobody) {
  const auto nobody = DecodeConfiguration("");
  ASSERT_TRUE(nobody.ok());
  EXPECT_TRUE(nobody->empty());
}

std::string Encoded(const Configuration& configuration) { return std::string(EncodeConfiguration(configuration).view()); }

TEST(ConfigurationTest, DamagedBytesAreRefused) {
  const std::string good = Encoded({.voters = Rs({1, 2, 3}), .outgoing = Rs({1, 2}), .learners = Rs({4})});
  for (size_t size = 1; size < good.size(); ++size) {
    const auto cut = DecodeConfiguration(good.substr(0, size));
    ASSERT_EQ(cut.status().reason(), Reason::kCorruptMessage) << size;
  }
  EXPECT_THAT(DecodeConfiguration(good + "x").status().ToString(), HasSubstr("behind its end"));
  std::string other_format = good;
  other_format[0] = 2;
  EXPECT_THAT(DecodeConfiguration(other_format).status().ToString(), HasSubstr("format 2 is unknown"));
}

TEST(ConfigurationTest, ImpossibleConfigurationsAreRefused) {
  const auto text = [](const Configuration& configuration) { return DecodeConfiguration(Encoded(configuration)).status().ToString(); };
  EXPECT_THAT(text({.voters = Rs({2, 1})}), HasSubstr("not sorted"));
  EXPECT_THAT(text({.voters = Rs({1, 1})}), HasSubstr("not sorted"));
  EXPECT_THAT(text({.learners = Rs({1})}), HasSubstr("no voter"));
  EXPECT_THAT(text({.voters = Rs({1, 2}), .learners = Rs({2})}), HasSubstr("voter and learner"));
  EXPECT_THAT(text({.voters = {kNoReplica}}), HasSubstr("replica 0"));
  Configuration crowd;
  for (uint64_t node = 1; node <= limits::kReplicasPerGroupMax + 1; ++node) crowd.voters.push_back(R(node));
  EXPECT_THAT(text(crowd), HasSubstr("too many"));
}

// Whatever the bytes: an answer, and what is accepted encodes to the same bytes.
TEST(ConfigurationTest, RandomDamageNeverPassesAsSomethingElse) {
  Random random(6);
  const std::string good = Encoded({.voters = Rs({1, 2, 3}), .learners = Rs({4, 5})});
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = good;
    for (uint64_t flips = random.Between(1, 3); flips > 0; --flips) {
      bytes[random.Below(bytes.size())] = static_cast<char>(random.Below(256));
    }
    const auto decoded = DecodeConfiguration(bytes);
    if (decoded.ok()) {
      ASSERT_EQ(Encoded(*decoded), bytes);
    }
  }
}

TEST(ConfigurationTest, NormalizeSortsAndDropsRepeats) {
  Configuration messy{.voters = Rs({3, 1, 3}), .outgoing = Rs({2, 2}), .learners = Rs({5, 4})};
  messy.Normalize();
  EXPECT_EQ(messy, (Configuration{.voters = Rs({1, 3}), .outgoing = Rs({2}), .learners = Rs({4, 5})}));
}

TEST(ConfigurationTest, ReadsAsAPersonWouldSayIt) {
  EXPECT_EQ(ToString(Configuration{.voters = Rs({1, 2}), .outgoing = Rs({1}), .learners = {R(3, 2)}}),
            "voters 1,2 outgoing 1 learners 3.2");
  EXPECT_EQ(ToString(Configuration{}), "voters -");
}

}  // namespace
}  // namespace flotilla::raft
