// The simulator itself: the same seed is the same run, in this process and in another one.
#include "tests/sim/broker/simulation.h"

#include <glog/logging.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace flotilla::sim::broker {
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

// A test for each seed: with a sanitizer all of them take longer than a test may.
std::string NameOf(const testing::TestParamInfo<uint64_t>& seed) { return std::to_string(seed.param); }

class SameSeedTest : public testing::TestWithParam<uint64_t> {};
TEST_P(SameSeedTest, IsTheSameRun) {
  const RunResult first = RunSeed(GetParam(), {});
  const RunResult second = RunSeed(GetParam(), {});
  EXPECT_EQ(first.trace_hash, second.trace_hash);
  EXPECT_EQ(first.events, second.events);
  EXPECT_EQ(first.tally.Encode(), second.tally.Encode());
  EXPECT_EQ(first.trace_hash, HashInAnotherProcess(GetParam()));
}
INSTANTIATE_TEST_SUITE_P(BrokerSimulation, SameSeedTest, testing::Range<uint64_t>(1, 9), NameOf);

TEST(BrokerSimulationTest, WritingTheTraceChangesNothing) {
  std::ostringstream text;
  const RunResult traced = RunSeed(3, {.mode = Trace::Mode::kPrintAll, .out = &text});
  EXPECT_EQ(traced.trace_hash, RunSeed(3, {}).trace_hash);
  EXPECT_THAT(text.str(), ::testing::HasSubstr("the cluster heals"));
}

// Each of them found something once: in the broker, or in what was asked of it.
constexpr uint64_t kSeedsThatFoundSomething[] = {
    21,    // a node that was restarted listed what it found on its disk, which was older than what it had told before
    36,    // after the metadata went on alone a new partition was given to three nodes that were lost
    79,    // the same, and a producer waited for it for good
    156,   // the end waited for a move to a node that is dead, which waits ten minutes
    302,   // a sound replica was built anew at once, and what was acknowledged with its help was left with one
    337,   // a node that had just been removed told a new producer that node 4 does not exist, for good
    356,   // a damaged node was upgraded when all was over, and nobody started it again
    543,   // the replica of a topic that came and went between two images was never deleted
    574,   // a new partition was given to three nodes that were lost, as in seed 36, while disks are sick
    660,   // a voter was built anew in the middle of a move, and its node was lost: the move had no end
    1100,  // what a node had said before it was upgraded arrived last, and stood in the metadata for ever
    1259,  // a node that was about to hear of its removal was taken for one that forgot a call
    1431,  // a node with damaged metadata told a producer, for good, that the data are lost
    1630,  // a decommission left two voters while the fourth node was away, and the disk of one was damaged
    1697,  // clients that waited for one block of ids were told twice that it does not come, which ended the node
    1702,  // a partition that was getting its replicas back was told to stand alone again
    1750,  // the end wrote through a node whose decommission ended meanwhile
    1770,  // a replica that had left its group was to come back to a node that was lost: the move had no end
    1825,  // a refusal of an earlier term made a follower's node forget for good who leads
    1909,  // a sick disk that nobody wrote to was never found sick
    2089,  // a replica whose configuration was damaged was never deleted
    2120,  // a replica that was given up is deleted when its group has gone on alone twice
    2400,  // the same as 2089
    2574,  // bits flipped in a second copy of a partition that had lost one with the same machine
    3090,  // a decommission waited for a dead node's vote where four others vote
    4708,  // the end made a topic of three replicas with two nodes that can take one
    5345,  // a leadership that goes home while nobody works was taken for something left over
    5469,  // a replica was damaged while it was built anew, and the move had no end
    5742,  // a node with damaged metadata ends whenever it starts, and deletes nothing
    9303,  // the same request to go on alone was taken for another one, because another log was the newest by then
};

class SeedTest : public testing::TestWithParam<uint64_t> {};
TEST_P(SeedTest, StaysClean) { EXPECT_EQ(RunSeed(GetParam(), {}).failure, ""); }
INSTANTIATE_TEST_SUITE_P(FoundSomething, SeedTest, testing::ValuesIn(kSeedsThatFoundSomething), NameOf);

TEST(BrokerSimulationTest, AnotherSeedIsAnotherRun) { EXPECT_NE(RunSeed(3, {}).trace_hash, RunSeed(4, {}).trace_hash); }

}  // namespace
}  // namespace flotilla::sim::broker
