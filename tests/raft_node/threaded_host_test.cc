// Hosts as a daemon runs them: a thread for each host, one for its slow reads, the writer's thread of a real store.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "raft/node/raft_host.h"
#include "raft/node/thread_executor.h"
#include "storage/base/mutex.h"
#include "storage/rocks/rocks_store.h"
#include "tests/raft_node/test_machine.h"

namespace flotilla::raft {
namespace {

constexpr uint64_t kNodes = 3;
constexpr uint64_t kGroups = 8;
constexpr uint64_t kProposals = 50;  // in each group

// What came of everything; any thread.
class Ledger final : public ProposalSink, public ReadSink, public GroupSink {
 public:
  void OnProposal(uint64_t token, const Status& status, const storage::EntryHeader&) override {
    MutexLock lock(mutex_);
    if (status.ok()) applied_.insert(token);
    changed_.NotifyAll();
  }
  void OnRead(uint64_t, const Status& status, LogIndex) override {
    MutexLock lock(mutex_);
    reads_ += status.ok() ? 1 : 0;
  }
  void OnGroup(GroupId, const Status& status) override {
    CHECK(status.ok()) << status;
    MutexLock lock(mutex_);
    ++groups_;
    changed_.NotifyAll();
  }

  bool Applied(uint64_t token) {
    MutexLock lock(mutex_);
    return applied_.contains(token);
  }
  size_t applied() {
    MutexLock lock(mutex_);
    return applied_.size();
  }
  uint64_t groups() {
    MutexLock lock(mutex_);
    return groups_;
  }
  uint64_t reads() {
    MutexLock lock(mutex_);
    return reads_;
  }
  // Until something changed, at most a tick.
  void Wait() {
    MutexLock lock(mutex_);
    changed_.WaitFor(mutex_, std::chrono::milliseconds(10));
  }

 private:
  Mutex mutex_;
  ConditionVariable changed_;
  std::set<uint64_t> applied_ FLOTILLA_GUARDED_BY(mutex_);
  uint64_t reads_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  uint64_t groups_ FLOTILLA_GUARDED_BY(mutex_) = 0;
};

class ThreadedHostTest : public testing::Test, private Transport {
 protected:
  struct Node {
    std::unique_ptr<storage::RocksStore> store;
    ThreadExecutor executor{"host"};
    ThreadExecutor readers{"readers"};
    std::map<GroupId, TestMachine> machines;
    std::unique_ptr<RaftHost> host;
  };

  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("flotilla-threaded-host-" + std::to_string(getpid()));
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    for (uint64_t id = 1; id <= kNodes; ++id) {
      nodes_.push_back(std::make_unique<Node>());
      Node& node = *nodes_.back();
      auto store = storage::OpenRocksStore({.directory = (directory_ / std::to_string(id)).string(),
                                            .log_families = 2,
                                            .memtable_bytes = limits::kMiB,
                                            .write_buffer_bytes = 8 * limits::kMiB,
                                            .direct_io = false,
                                            .disk_reserve_bytes = 0});
      ASSERT_TRUE(store.ok()) << store.status();
      node.store = *std::move(store);
      HostOptions options;
      options.node = NodeId{id};
      options.boot = 1;
      options.core.tail_bytes_max = 0;
      node.host = std::make_unique<RaftHost>(options, node.executor, node.readers, *node.store, static_cast<Transport&>(*this), Random(id));
    }
    for (auto& node : nodes_) {
      node->executor.Start();
      node->readers.Start();
    }
  }
  void TearDown() override {
    for (auto& node : nodes_) node->readers.Stop();
    for (auto& node : nodes_) node->executor.Stop();
    for (auto& node : nodes_) node->store.reset();
    nodes_.clear();
    std::filesystem::remove_all(directory_);
  }

  void Send(Channel, PeerMessage message) override {
    Node& to = *nodes_[message.to.value() - 1];
    to.executor.Post([&to, message = std::move(message)] { to.host->Receive(message); });
  }

  void CreateGroups() {
    Configuration members;
    for (uint64_t id = 1; id <= kNodes; ++id) members.voters.push_back({NodeId{id}, 1});
    for (uint64_t id = 1; id <= kNodes; ++id) {
      Node& node = *nodes_[id - 1];
      for (uint64_t group = 1; group <= kGroups; ++group) {
        node.executor.Post([&node, &ledger = ledger_, members, id, group] {
          const NewGroup made{.group = GroupId{group},
                              .identity = {.self = {NodeId{id}, 1}, .label = "test"},
                              .configuration = members,
                              .campaign = group % kNodes + 1 == id};
          CHECK(node.host->CreateGroup(made, node.machines[GroupId{group}], ledger).ok());
        });
      }
    }
  }
  void TickAll() {
    for (auto& node : nodes_) node->executor.Post([&host = *node->host] { host.Tick(); });
  }
  // Asks every node: the one that leads takes it, the others refuse at once.
  void ProposeEverywhere(uint64_t group, uint64_t number) {
    const uint64_t token = group * 1'000'000 + number;
    if (ledger_.Applied(token)) return;
    for (auto& node : nodes_) {
      node->executor.Post([&host = *node->host, &ledger = ledger_, group, token] {
        const std::vector<Proposal> one = {{.record_count = 1, .payload = Bytes::Copy(std::to_string(token))}};
        const Result<LogIndex> taken = host.Propose(GroupId{group}, one, token, ledger);
        if (!taken.ok()) CHECK(taken.status().reason() != Reason::kStorageFailed) << taken.status();
        if (taken.ok()) CHECK(host.ReadIndex(GroupId{group}, token, ledger).ok());
      });
    }
  }

  std::filesystem::path directory_;
  std::vector<std::unique_ptr<Node>> nodes_;
  Ledger ledger_;
};

TEST_F(ThreadedHostTest, ThreeHostsAgreeOnRealDisks) {
  CreateGroups();
  while (ledger_.groups() < kNodes * kGroups) ledger_.Wait();
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(50);
  size_t wanted = 0;
  for (uint64_t number = 1; number <= kProposals; ++number) {
    wanted += kGroups;
    while (ledger_.applied() < wanted) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up) << ledger_.applied() << " of " << wanted << " applied";
      for (uint64_t group = 1; group <= kGroups; ++group) ProposeEverywhere(group, number);
      ledger_.Wait();
      TickAll();
    }
  }
  for (auto& node : nodes_) {
    node->executor.Post([&host = *node->host] {
      for (uint64_t group = 1; group <= kGroups; ++group) CHECK(host.TakeSnapshot(GroupId{group}).ok());
    });
  }
  for (int i = 0; i < 20; ++i) {
    TickAll();
    ledger_.Wait();
  }
  // Ends in the middle of work: proposals nobody waits for.
  for (uint64_t group = 1; group <= kGroups; ++group) ProposeEverywhere(group, kProposals + 1);
  EXPECT_GT(ledger_.reads(), 0u);
}

}  // namespace
}  // namespace flotilla::raft
