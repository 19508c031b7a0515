// A process writes and is killed -9 at a random moment, again and again over the same directory. What it had reported as
// durable is there afterwards, every checksum is right, and each group is exactly as after one of its tasks.
//
// FLOTILLA_SEED chooses the moments and the tasks, FLOTILLA_CRASH_ROUNDS how often.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/base/random.h"
#include "storage/rocks/rocks_store.h"
#include "tests/crash/crash_messages.h"
#include "tests/crash/crash_options.h"
#include "tests/support/group_workload.h"
#include "tests/support/scratch_directory.h"

extern char** environ;

namespace flotilla::storage {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

uint64_t NumberFrom(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// A child that writes, from its start to its death.
class Child {
 public:
  Child(const std::string& directory, uint64_t seed) {
    int ends[2];
    CHECK_EQ(::pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    const std::string seed_text = std::to_string(seed);
    const char* const arguments[] = {FLOTILLA_CRASH_CHILD, directory.c_str(), seed_text.c_str(), nullptr};
    CHECK_EQ(::posix_spawn(&pid_, FLOTILLA_CRASH_CHILD, &actions, nullptr, const_cast<char**>(arguments), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    reports_ = ends[0];
  }
  ~Child() { ::close(reports_); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  enum class From { kItsStart, kItsFirstReport };
  // Lets it live for so long, then kills it. False: it had ended by itself. A first report comes within a minute, or not at all.
  bool KillAfter(milliseconds time, From from) {
    bool open = true;
    if (from == From::kItsFirstReport) {
      pollfd waiting{reports_, POLLIN, 0};
      if (::poll(&waiting, 1, kFirstReportMillisMax) > 0) open = ReadReports();
    }
    const auto end = steady_clock::now() + time;
    while (open && steady_clock::now() < end) {
      const auto left = std::chrono::duration_cast<milliseconds>(end - steady_clock::now());
      pollfd waiting{reports_, POLLIN, 0};
      if (::poll(&waiting, 1, static_cast<int>(left.count())) > 0) open = ReadReports();
    }
    ::kill(pid_, SIGKILL);
    while (open) open = ReadReports();
    int status = 0;
    CHECK_EQ(::waitpid(pid_, &status, 0), pid_);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  // The last task of each group that was reported durable.
  const std::map<GroupId, uint64_t>& durable() const { return durable_; }

 private:
  static constexpr int kFirstReportMillisMax = 60'000;

  // False at the end of the pipe.
  bool ReadReports() {
    Durable reports[256];
    const ssize_t size = ::read(reports_, reports, sizeof reports);
    if (size <= 0) return false;
    CHECK_EQ(size % static_cast<ssize_t>(sizeof(Durable)), 0);
    for (ssize_t i = 0; i < size / static_cast<ssize_t>(sizeof(Durable)); ++i) {
      uint64_t& last = durable_[GroupId{reports[i].group}];
      EXPECT_EQ(reports[i].token, last + 1) << "group " << reports[i].group << " is reported out of order";
      last = reports[i].token;
    }
    return true;
  }

  pid_t pid_ = 0;
  int reports_ = -1;
  std::map<GroupId, uint64_t> durable_;
};

class CrashTest : public testing::Test {
 protected:
  CrashTest() {
    for (uint64_t group = 1; group <= kCrashGroups; ++group) found_[GroupId{group}] = GroupModel{.group = GroupId{group}};
  }

  // After a child that began with found_ and `seed`. Says how many tasks were reported in all.
  void Verify(uint64_t seed, const std::map<GroupId, uint64_t>& durable) {
    auto store = OpenRocksStore(CrashOptions(directory_, seed / 4));
    ASSERT_TRUE(store.ok()) << store.status();
    for (auto& [group, model] : found_) {
      auto found = ReadModel(**store, group);
      ASSERT_TRUE(found.ok()) << found.status();
      const auto reported = durable.find(group);
      VerifyGroup(*found, GroupWorkload(model, seed), reported == durable.end() ? 0 : reported->second);
      if (HasFatalFailure()) return;
      model = *std::move(found);
    }
  }

  static void VerifyGroup(const GroupModel& found, GroupWorkload expected, uint64_t reported) {
    while (expected.tasks() < reported) expected.Next();
    const GroupModel acknowledged = expected.model();
    for (uint64_t ahead = 0; ahead <= kCrashOutstanding; ++ahead) {
      if (expected.model() == found) return;
      expected.Next();
    }
    FAIL() << "token " << reported << " was reported durable\nfound        " << found << "\nacknowledged " << acknowledged;
  }

  ScratchDirectory scratch_;
  const std::string directory_ = scratch_ / "data";
  std::map<GroupId, GroupModel> found_;
};

TEST_F(CrashTest, WhatWasReportedDurableIsThereAfterAKill) {
  const uint64_t seed = NumberFrom("FLOTILLA_SEED", static_cast<uint64_t>(steady_clock::now().time_since_epoch().count()));
  const uint64_t rounds = NumberFrom("FLOTILLA_CRASH_ROUNDS", FLOTILLA_CRASH_ROUNDS_DEFAULT);
  SCOPED_TRACE(testing::Message() << "repeat with FLOTILLA_SEED=" << seed << " FLOTILLA_CRASH_ROUNDS=" << rounds);
  std::printf("seed %llu, %llu rounds\n", static_cast<unsigned long long>(seed), static_cast<unsigned long long>(rounds));
  Random random(seed);
  uint64_t tasks = 0;
  uint64_t early = 0;
  for (uint64_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    const uint64_t child_seed = random.Next();
    Child child(directory_, child_seed);
    // Some die while they open the store, most while they write.
    const bool early_death = random.OneIn(4);
    const milliseconds life(early_death ? random.Below(40) : random.Below(220));
    ASSERT_TRUE(child.KillAfter(life, early_death ? Child::From::kItsStart : Child::From::kItsFirstReport))
        << "the child ended by itself; its log says why";
    Verify(child_seed, child.durable());
    if (HasFatalFailure()) return;
    for (const auto& [group, token] : child.durable()) tasks += token;
    early += child.durable().empty() ? 1 : 0;
  }
  std::printf("%llu tasks were reported durable and found; %llu children died before they wrote\n", static_cast<unsigned long long>(tasks),
              static_cast<unsigned long long>(early));
  EXPECT_GT(tasks, 0u);
}

}  // namespace
}  // namespace flotilla::storage
