// A run that fails is made as small as what makes it fail.
#include "tests/sim/shrink.h"

#include <gmock/gmock.h>

#include <set>

namespace flotilla::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Le;

// A run of 400 parts and 40 s that fails when all of `needed` are there and it is hurt for `seconds`.
struct FakeRun {
  std::set<std::string> needed;
  Time seconds = 0;
  std::string failure = "lost write: record 3";
  uint64_t runs = 0;

  Attempt operator()(const Excerpt& excerpt) {
    ++runs;
    Parts parts(excerpt);
    for (const char* kind : {"kill", "write-1", "write-2", "client"}) {
      for (uint64_t number = 1; number <= 100; ++number) parts.Take(kind, number);
    }
    const std::set<std::string> taken(parts.taken().begin(), parts.taken().end());
    bool fails = parts.HurtFor(40 * kSecond) >= seconds * kSecond;
    for (const std::string& part : needed) fails &= taken.contains(part);
    return {.failure = fails ? failure : "", .parts = parts.taken(), .hurt_for = parts.HurtFor(40 * kSecond)};
  }
};

TEST(ShrinkTest, WhatIsNotNeededIsLeftOut) {
  FakeRun run{.needed = {"kill.7", "write-2.90", "client.2"}};
  const std::optional<Shrunk> small = Shrink(std::ref(run), {});
  ASSERT_TRUE(small);
  EXPECT_THAT(*small->excerpt.only, ElementsAre("client.2", "kill.7", "write-2.90"));
  EXPECT_LE(*small->excerpt.hurt_for, kSecond);
  EXPECT_EQ(small->parts_before, 400u);
  EXPECT_THAT(small->runs, Le(150u));
}

TEST(ShrinkTest, TheTimeIsShortenedAsFarAsItGoes) {
  FakeRun run{.needed = {"kill.1"}, .seconds = 4};
  const std::optional<Shrunk> small = Shrink(std::ref(run), {});
  ASSERT_TRUE(small);
  EXPECT_GE(*small->excerpt.hurt_for, 4 * kSecond);
  EXPECT_LE(*small->excerpt.hurt_for, 5 * kSecond);
}

TEST(ShrinkTest, AnotherFailureIsNotTheSame) {
  FakeRun run{.needed = {"kill.7"}};
  const auto other = [&run](const Excerpt& excerpt) {
    Attempt attempt = run(excerpt);
    if (attempt.parts.size() < 200 && !attempt.failure.empty()) attempt.failure = "duplicate: record 3";
    return attempt;
  };
  const std::optional<Shrunk> small = Shrink(other, {});
  ASSERT_TRUE(small);
  EXPECT_EQ(RuleOf(small->attempt.failure), "lost write");
  EXPECT_EQ(small->attempt.parts.size(), 200u);
}

TEST(ShrinkTest, WhatDoesNotFailIsNotShrunk) {
  FakeRun run{.needed = {"meteor.1"}};
  EXPECT_FALSE(Shrink(std::ref(run), {}).has_value());
}

TEST(ShrinkTest, ItEndsInTime) {
  FakeRun run{.needed = {"kill.7"}};
  const std::optional<Shrunk> small = Shrink(std::ref(run), {.runs_max = 5});
  ASSERT_TRUE(small);
  EXPECT_EQ(run.runs, 5u);
}

TEST(ExcerptTest, IsReadAsItIsWritten) {
  const std::optional<Excerpt> excerpt = Excerpt::Parse("hurt=12.5 kill.3 write-2.17");
  ASSERT_TRUE(excerpt);
  EXPECT_EQ(excerpt->hurt_for, 12500 * kMillisecond);
  EXPECT_THAT(*excerpt->only, ElementsAre("kill.3", "write-2.17"));
  EXPECT_EQ(excerpt->ToString(), "hurt=12.5 kill.3 write-2.17");
  EXPECT_THAT(*Excerpt::Parse("")->only, IsEmpty());
}

TEST(ExcerptTest, WhatIsNoneIsRefused) {
  for (const char* text : {"kill", "kill.", ".3", "kill.x", "hurt=", "hurt=-1", "hurt=1x"}) {
    EXPECT_FALSE(Excerpt::Parse(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace flotilla::sim
