// The simulator itself: the same seed is the same run, in this process and in another one.
#include "tests/sim/simulation.h"

#include <glog/logging.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace flotilla::sim {
namespace {

// Failures of disks are what the runs are made of.
const int kQuiet = FLAGS_minloglevel = google::GLOG_FATAL;

// The hash as another process computes it, with memory laid out differently.
uint64_t HashInAnotherProcess(uint64_t seed) {
  int pipe_ends[2];
  EXPECT_EQ(pipe(pipe_ends), 0);
  const pid_t process = fork();
  if (process == 0) {
    std::vector<std::unique_ptr<std::string>> elsewhere;
    for (size_t i = 1; i < 1000; ++i) elsewhere.push_back(std::make_unique<std::string>(i * 7 % 300, 'x'));
    for (size_t i = 0; i < elsewhere.size(); i += 2) elsewhere[i].reset();
    const uint64_t hash = RunSeed(seed, {}).trace_hash;
    _exit(write(pipe_ends[1], &hash, sizeof(hash)) == sizeof(hash) ? 0 : 1);
  }
  close(pipe_ends[1]);
  uint64_t hash = 0;
  EXPECT_EQ(read(pipe_ends[0], &hash, sizeof(hash)), static_cast<ssize_t>(sizeof(hash)));
  close(pipe_ends[0]);
  waitpid(process, nullptr, 0);
  return hash;
}

TEST(SimulationTest, TheSameSeedIsTheSameRun) {
  for (uint64_t seed : {3, 4, 5}) {
    const RunResult first = RunSeed(seed, {});
    const RunResult second = RunSeed(seed, {});
    EXPECT_EQ(first.trace_hash, second.trace_hash) << "seed " << seed;
    EXPECT_EQ(first.events, second.events) << "seed " << seed;
    EXPECT_EQ(first.coverage.Encode(), second.coverage.Encode()) << "seed " << seed;
    EXPECT_EQ(first.trace_hash, HashInAnotherProcess(seed)) << "seed " << seed;
  }
}

TEST(SimulationTest, WritingTheTraceChangesNothing) {
  std::ostringstream text;
  const RunResult traced = RunSeed(3, {.mode = Trace::Mode::kPrintAll, .out = &text});
  EXPECT_EQ(traced.trace_hash, RunSeed(3, {}).trace_hash);
  EXPECT_THAT(text.str(), ::testing::HasSubstr("the cluster heals"));
}

TEST(SimulationTest, TheSameSeedWritesTheSameTrace) {
  std::ostringstream first;
  std::ostringstream second;
  (void)RunSeed(4, {.mode = Trace::Mode::kPrintAll, .out = &first});
  (void)RunSeed(4, {.mode = Trace::Mode::kPrintAll, .out = &second});
  EXPECT_TRUE(first.str() == second.str());
}

// The end of this run finds everything applied everywhere while the last acknowledgement of a follower is on its way.
TEST(SimulationTest, AGroupIsNotIdleBeforeItsLeaderHasHeardOfTheLastEntry) {
  const RunResult run = RunSeed(521717, {});
  EXPECT_TRUE(run.ok()) << run.failure;
}

TEST(SimulationTest, AnotherSeedIsAnotherRun) { EXPECT_NE(RunSeed(3, {}).trace_hash, RunSeed(4, {}).trace_hash); }

}  // namespace
}  // namespace flotilla::sim
