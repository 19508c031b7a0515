// Many seeds of a simulation that is none: what the campaign says of those that fail, die, and of what was never met.
#include "tests/sim/campaign.h"

#include <glog/logging.h>
#include <gmock/gmock.h>

#include <sstream>
#include <string>

#include "tests/sim/run_apart.h"

namespace flotilla::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Seed 3 breaks a rule when it has "kill.7", seed 5 dies, all others keep the rules.
SeedReport Run(uint64_t seed, const Excerpt& excerpt, Trace::Mode mode, std::ostream* out) {
  Parts parts(excerpt);
  SeedReport report{.tally = {}, .parts = {}};
  bool killed = false;
  for (uint64_t number = 1; number <= 50; ++number) {
    if (parts.Take("kill", number) && number == 7) killed = true;
  }
  report.tally.Add("kill", parts.taken().size());
  report.parts = parts.taken();
  report.hurt_for = parts.HurtFor(20 * kSecond);
  if (mode != Trace::Mode::kHashOnly) *out << "a story\n";
  CHECK_NE(seed, 5u) << "a bug";
  if (seed == 3 && killed) report.failure = "lost write: record 1";
  return report;
}

Subject TestSubject() {
  return {.program = "test-sim", .expected = {"kill", "meteor"}, .run = Run, .print_under_way = [](std::ostream&) {}};
}

std::string Output(const CampaignOptions& options, bool* ok) {
  std::ostringstream out;
  *ok = RunCampaign(TestSubject(), options, out);
  return std::move(out).str();
}

TEST(CampaignTest, WhatWasNeverMetFailsWhenItIsRequired) {
  bool ok = false;
  EXPECT_THAT(Output({.first = 1, .last = 2, .jobs = 1}, &ok), HasSubstr("never met: meteor"));
  EXPECT_TRUE(ok);
  EXPECT_THAT(Output({.first = 1, .last = 2, .jobs = 1, .require_coverage = true}, &ok), HasSubstr("never met: meteor"));
  EXPECT_FALSE(ok);
}

TEST(CampaignTest, ARunThatFailsIsMadeSmaller) {
  bool ok = true;
  const std::string out = Output({.first = 1, .last = 4, .jobs = 1, .shrink_seconds = 20}, &ok);
  EXPECT_FALSE(ok);
  EXPECT_THAT(out, HasSubstr("seed 3 FAILED: lost write: record 1\n  repeat with: test-sim --seed 3\n"));
  EXPECT_THAT(out, HasSubstr("50 parts to 1"));
  EXPECT_THAT(out, HasSubstr(" kill.7'\n  what happened:"));
}

TEST(CampaignTest, ARunThatDiesIsAFailureAndTheOthersGoOn) {
  bool ok = true;
  const std::string out = Output({.first = 4, .last = 6, .jobs = 1, .shrink_seconds = 0}, &ok);
  EXPECT_FALSE(ok);
  EXPECT_THAT(out, HasSubstr("seed 5 FAILED"));
  EXPECT_THAT(out, HasSubstr("2 seeds, 1 failed"));
  EXPECT_THAT(out, Not(HasSubstr("seed 6 FAILED")));
}

TEST(RunApartTest, TheLastWordsOfARunThatDiesAreItsFailure) {
  EXPECT_THAT(RunApart(TestSubject(), 5, {}, Trace::Mode::kHashOnly).failure, StartsWith("campaign_test.cc:"));
  EXPECT_THAT(RunApart(TestSubject(), 5, {}, Trace::Mode::kHashOnly).failure, HasSubstr(": Check failed: seed != 5u"));
}

TEST(RunApartTest, TheReportComesBack) {
  const SeedReport report = RunApart(TestSubject(), 3, *Excerpt::Parse("hurt=2.5 kill.7 kill.9"), Trace::Mode::kHashOnly);
  EXPECT_EQ(report.failure, "lost write: record 1");
  EXPECT_THAT(report.parts, ElementsAre("kill.7", "kill.9"));
  EXPECT_EQ(report.hurt_for, 2500 * kMillisecond);
}

}  // namespace
}  // namespace flotilla::sim
