// Real hosts on simulated disks, pumped by hand: nothing happens between two lines of a scene but what they say.
//
//   HostCluster cluster(3);
//   cluster.CreateEverywhere(kGroup);
//   cluster.WaitForLeader(kGroup);
//   cluster.Propose(leader, kGroup, "a");
//   cluster.Cut(NodeId{1}, NodeId{3});
//   cluster.Ticks(10);
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "raft/node/raft_host.h"
#include "storage/memory/memory_store.h"
#include "tests/raft_node/test_machine.h"

namespace flotilla::raft {

inline constexpr GroupId kGroup{7};

// Work that waits until the scene runs it.
class ManualExecutor final : public Executor {
 public:
  void Post(std::function<void()> work) override { work_.push_back(std::move(work)); }
  bool RunOne() {
    if (work_.empty()) return false;
    const std::function<void()> work = std::move(work_.front());
    work_.pop_front();
    work();
    return true;
  }
  void Drop() { work_.clear(); }
  size_t size() const { return work_.size(); }

 private:
  std::deque<std::function<void()>> work_;
};

// A store that refuses a number of tasks as if its queue were full, and shows what was asked of it.
class WatchedStore final : public storage::LogStore {
 public:
  explicit WatchedStore(storage::MemoryStore& store) : store_(store) {}
  int refuse_overloaded = 0;
  uint64_t reads = 0;  // that went to the disk
  std::vector<storage::WriteTask> tasks;
  bool keep_tasks = false;

  Status Submit(storage::WriteTask task, storage::WriteSink& sink) override {
    if (refuse_overloaded > 0) {
      --refuse_overloaded;
      return Status(Reason::kOverloaded, "the scene refuses it");
    }
    if (keep_tasks) tasks.push_back(task);
    return store_.Submit(std::move(task), sink);
  }
  std::vector<GroupId> Groups() const override { return store_.Groups(); }
  Result<storage::GroupState> Load(GroupId group) const override { return store_.Load(group); }
  Result<storage::GroupIdentity> Identity(GroupId group) const override { return store_.Identity(group); }
  Result<storage::LogBounds> Bounds(GroupId group) const override { return store_.Bounds(group); }
  Result<uint64_t> ApproximateBytes(GroupId group) const override { return store_.ApproximateBytes(group); }
  Result<std::vector<storage::Entry>> Read(GroupId group, LogIndex first, LogIndex last, storage::ReadLimits limits) const override {
    ++const_cast<WatchedStore*>(this)->reads;
    return store_.Read(group, first, last, limits);
  }
  std::optional<std::vector<storage::Entry>> ReadCached(GroupId group, LogIndex first, LogIndex last,
                                                        storage::ReadLimits limits) const override {
    return store_.ReadCached(group, first, last, limits);
  }
  Result<storage::EntryHeader> FindOffset(GroupId group, Offset offset) const override { return store_.FindOffset(group, offset); }
  Result<std::optional<storage::EntryHeader>> FindTimestamp(GroupId group, int64_t timestamp_ms) const override {
    return store_.FindTimestamp(group, timestamp_ms);
  }
  Result<std::optional<Bytes>> GetState(GroupId group, std::string_view key) const override { return store_.GetState(group, key); }
  Result<std::vector<StateRow>> ScanState(GroupId group, std::string_view prefix, std::string_view after, size_t bytes_max) const override {
    return store_.ScanState(group, prefix, after, bytes_max);
  }
  Result<Bytes> ReadSnapshotChunk(GroupId group, uint64_t id, uint32_t number) const override {
    return store_.ReadSnapshotChunk(group, id, number);
  }
  storage::StoreCounters Counters() const override { return store_.Counters(); }
  storage::SyncCounters Syncs() const override { return store_.Syncs(); }
  Status health() const override { return store_.health(); }

 private:
  storage::MemoryStore& store_;
};

// Remembers every answer.
class Answers final : public ProposalSink, public ReadSink, public GroupSink {
 public:
  struct ProposalAnswer {
    Status status;
    storage::EntryHeader header;
  };
  std::map<uint64_t, ProposalAnswer> proposals;
  std::map<uint64_t, Status> reads;
  std::map<GroupId, Status> groups;

  void OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& header) override {
    CHECK(proposals.emplace(token, ProposalAnswer{status, header}).second) << "answered twice: " << token;
  }
  void OnRead(uint64_t token, const Status& status, LogIndex) override {
    CHECK(reads.emplace(token, status).second) << "answered twice: " << token;
  }
  void OnGroup(GroupId group, const Status& status) override { groups[group] = status; }
};

struct TestNode {
  NodeId id;
  storage::MemoryDisk disk;
  std::unique_ptr<storage::MemoryStore> store;
  std::unique_ptr<WatchedStore> watched;
  ManualExecutor executor;
  ManualExecutor readers;
  std::map<GroupId, std::unique_ptr<TestMachine>> machines;
  std::unique_ptr<RaftHost> host;
  Answers answers;
  uint64_t boots = 0;
  bool hold_disk = false;
};

class HostCluster : private Transport {
 public:
  struct Sent {
    Channel channel;
    PeerMessage message;
  };
  // Looks at a bundle on its way and may change it. False: it is lost.
  using Filter = std::function<bool(Channel, PeerMessage&)>;

  explicit HostCluster(uint64_t nodes, HostOptions options = {}, storage::MemoryStoreOptions store = {});
  ~HostCluster() override;

  // --- the parts
  TestNode& node(uint64_t id) { return *nodes_[id - 1]; }
  RaftHost& host(uint64_t id) { return *node(id).host; }
  TestMachine& machine(uint64_t id, GroupId group = kGroup) { return *node(id).machines.at(group); }
  const RaftCore& core(uint64_t id, GroupId group = kGroup) { return *host(id).Find(group); }
  uint64_t size() const { return nodes_.size(); }

  // --- life and death
  void Boot(uint64_t id);
  // The process is gone at once; what was not synced stays unsynced.
  void Kill(uint64_t id);
  // Kill, power cut, boot, and open of every group of the disk.
  void Restart(uint64_t id);
  bool up(uint64_t id) { return node(id).host != nullptr; }

  // --- groups
  static Configuration VotersOf(std::vector<uint64_t> ids, uint64_t incarnation = 1);
  Status Create(uint64_t id, GroupId group, const Configuration& configuration, uint64_t incarnation = 1, bool campaign = false);
  void CreateEverywhere(GroupId group = kGroup, TestMachine::Options options = {}, uint64_t appointed = 1);
  Status Open(uint64_t id, GroupId group = kGroup, TestMachine::Options options = {});

  // --- calls; the token of the answer
  uint64_t Propose(uint64_t id, const std::string& payload, GroupId group = kGroup);
  uint64_t Read(uint64_t id, GroupId group = kGroup);
  // Proposes one by one and lets everything come to rest.
  void ProposeAll(uint64_t id, const std::vector<std::string>& payloads, GroupId group = kGroup);
  std::string ProposalReason(uint64_t id, uint64_t token);
  std::string ReadReason(uint64_t id, uint64_t token);

  // --- time and the network
  // Everything that can happen without time happens.
  void Settle();
  void Ticks(uint64_t count);
  // Ticks until somebody leads surely; dies after 200.
  uint64_t WaitForLeader(GroupId group = kGroup);
  // 0: nobody, or not agreed on by those that are up.
  uint64_t LeaderOf(GroupId group = kGroup);
  void Cut(uint64_t a, uint64_t b) { cut_.insert({a, b}), cut_.insert({b, a}); }
  void CutOneWay(uint64_t from, uint64_t to) { cut_.insert({from, to}); }
  void Isolate(uint64_t id);
  void Heal() { cut_.clear(); }
  Filter filter;
  bool hold_network = false;
  std::deque<Sent> network;

  HostOptions options;

 private:
  void Send(Channel channel, PeerMessage message) override { network.push_back({channel, std::move(message)}); }
  bool Step();
  void DeliverOne();

  const storage::MemoryStoreOptions store_options_;
  std::vector<std::unique_ptr<TestNode>> nodes_;
  std::set<std::pair<uint64_t, uint64_t>> cut_;
  uint64_t last_token_ = 0;
};

}  // namespace flotilla::raft
