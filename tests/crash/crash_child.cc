// The process that dies: writes to all groups of a store as fast as it can, and says on stdout what became durable. It ends
// only when somebody kills it, or when the store fails.
//
//   crash_child DIRECTORY SEED

#include <glog/logging.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <vector>

#include "storage/rocks/rocks_store.h"
#include "tests/crash/crash_messages.h"
#include "tests/crash/crash_options.h"
#include "tests/support/group_workload.h"

namespace flotilla::storage {
namespace {

class Reporter final : public WriteSink {
 public:
  void OnWritten(std::span<const WriteDone> done) override {
    for (const WriteDone& task : done) {
      CHECK(task.status.ok()) << "group " << task.group << " token " << task.token << ": " << task.status;
      const Durable durable{task.group.value(), task.token};
      CHECK_EQ(::write(STDOUT_FILENO, &durable, sizeof durable), static_cast<ssize_t>(sizeof durable));
      done_[task.group.value()].store(task.token);
      done_[task.group.value()].notify_one();
    }
  }
  // Until fewer than kCrashOutstanding of the group's tasks wait, when `submitted` were submitted.
  void WaitForRoom(GroupId group, uint64_t submitted) {
    std::atomic<uint64_t>& done = done_[group.value()];
    for (uint64_t seen = done.load(); seen + kCrashOutstanding <= submitted; seen = done.load()) done.wait(seen);
  }

 private:
  std::array<std::atomic<uint64_t>, kCrashGroups + 1> done_{};
};

[[noreturn]] void WriteUntilKilled(const std::string& directory, uint64_t seed) {
  Reporter reporter;
  auto store = OpenRocksStore(CrashOptions(directory, seed));
  CHECK(store.ok()) << store.status();
  std::vector<GroupWorkload> loads;
  for (uint64_t group = 1; group <= kCrashGroups; ++group) {
    auto found = ReadModel(**store, GroupId{group});
    CHECK(found.ok()) << found.status();
    loads.emplace_back(*std::move(found), seed);
  }
  while (true) {
    for (GroupWorkload& load : loads) {
      reporter.WaitForRoom(load.model().group, load.tasks());
      const Status submitted = (*store)->Submit(load.Next(), reporter);
      CHECK(submitted.ok()) << submitted;
    }
  }
}

}  // namespace
}  // namespace flotilla::storage

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_WARNING;
  CHECK_EQ(argc, 3) << "usage: crash_child DIRECTORY SEED";
  flotilla::storage::WriteUntilKilled(argv[1], std::strtoull(argv[2], nullptr, 10));
}
