// Nodes with a partition each, on simulated disks, pumped by hand: nothing happens between two lines of a
// scene but what they say.
//
//   PartitionCluster cluster(3);
//   cluster.WaitForLeader();                             // node 1
//   uint64_t token = cluster.Produce(1, SetOf(2));
//   cluster.Settle();
//   cluster.Produced(1, token)                           // "OK at 0"
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "raft/node/raft_host.h"
#include "server/partition/partition.h"
#include "storage/memory/memory_store.h"
#include "tests/unit/partition/records.h"

namespace flotilla::partition {

inline constexpr GroupId kGroup{7};
inline constexpr int64_t kStartMillis = 1'700'000'000'000;

// Work that waits until the scene runs it.
class ManualExecutor final : public raft::Executor {
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

 private:
  std::deque<std::function<void()>> work_;
};

class ManualClock final : public Clock {
 public:
  int64_t wall_ms = kStartMillis;
  MonotonicTime Now() const override { return {}; }
  int64_t WallMillis() const override { return wall_ms; }
};

// Remembers every answer, and the order.
class Sinks final : public ProduceSink, public FetchSink, public TrimSink {
 public:
  std::map<uint64_t, ProduceResult> produced;
  std::map<uint64_t, FetchResult> fetched;
  std::map<uint64_t, Status> trimmed;
  std::vector<uint64_t> order;  // of produce answers

  void OnProduced(uint64_t token, const ProduceResult& result) override {
    CHECK(produced.emplace(token, result).second) << "answered twice: " << token;
    order.push_back(token);
  }
  void OnFetched(uint64_t token, FetchResult result) override {
    CHECK(fetched.emplace(token, std::move(result)).second) << "answered twice: " << token;
  }
  void OnTrimmed(uint64_t token, const Status& status, Offset) override { trimmed[token] = status; }
};

// A node of the cluster. Its parts die from the last to the first: the host before its partition, and both
// before who waits for them.
struct PartitionNode {
  NodeId id;
  Sinks sinks;
  storage::MemoryDisk disk;
  std::unique_ptr<storage::MemoryStore> store;
  ManualExecutor executor;
  ManualExecutor readers;
  std::unique_ptr<Partition> partition;
  std::unique_ptr<raft::RaftHost> host;
  uint64_t boots = 0;
  bool hold_disk = false;
  bool hold_readers = false;
};

class PartitionCluster final : private raft::Transport, private raft::GroupSink {
 public:
  struct Options {
    PartitionOptions partition = {};
    PartitionConfig config = {};
    storage::MemoryStoreOptions store = {};
    size_t raft_tail_bytes = flotilla::limits::kTailBytesMax;
    uint64_t keep_entries_for_followers = 100'000;
  };
  explicit PartitionCluster(uint64_t nodes) : PartitionCluster(nodes, Options{}) {}
  PartitionCluster(uint64_t nodes, Options options);
  ~PartitionCluster() override;

  PartitionNode& node(uint64_t id) { return *nodes_[id - 1]; }
  Partition& partition(uint64_t id) { return *node(id).partition; }
  raft::RaftHost& host(uint64_t id) { return *node(id).host; }
  bool up(uint64_t id) { return node(id).host != nullptr; }
  uint64_t size() const { return nodes_.size(); }
  ManualClock clock;

  // --- life and death
  // The process is gone at once; what was not synced is lost.
  void Kill(uint64_t id);
  void Boot(uint64_t id);
  void Restart(uint64_t id) { Kill(id), Boot(id); }

  // --- calls; the token of the answer
  uint64_t Produce(uint64_t id, ProduceCall call);
  uint64_t Produce(uint64_t id, const std::string& set) { return Produce(id, ProduceCall{.batch = Prepared(set)}); }
  // Batch number `base_sequence` of producer 5, of `count` records with SequenceScope::kPartition.
  uint64_t ProduceSequence(uint64_t id, uint64_t base_sequence, uint32_t count = 1, uint32_t epoch = 0);
  uint64_t Fetch(uint64_t id, const FetchCall& call);
  uint64_t Locate(uint64_t id, const StartPosition& start);
  uint64_t Trim(uint64_t id, uint64_t log_start);
  // "waiting", "OK at 3", "OK", "duplicate at 3", "OUT_OF_ORDER".
  std::string Produced(uint64_t id, uint64_t token);
  // "waiting", "OFFSET_OUT_OF_RANGE", or "[0,2) [2,3) next 3".
  std::string Fetched(uint64_t id, uint64_t token);
  // Produces and lets everything come to rest; dies when it is not OK.
  uint64_t Append(uint64_t id, const std::string& set);

  // --- time and the network
  void Settle();
  // Only so many rounds of it: things stay on their way.
  void Rounds(uint64_t count);
  void Ticks(uint64_t count);
  raft::Tick now(uint64_t id) { return host(id).now(); }
  // Ticks until somebody serves; dies after 300.
  uint64_t WaitForLeader();
  // 0: nobody.
  uint64_t Leader();
  void Isolate(uint64_t id);
  void Heal() { cut_.clear(); }
  bool hold_network = false;

 private:
  void Send(raft::Channel channel, raft::PeerMessage message) override { network_.emplace_back(channel, std::move(message)); }
  void OnGroup(GroupId, const Status& status) override { CHECK(status.ok()) << status; }
  bool Step();

  const Options options_;
  std::vector<std::unique_ptr<PartitionNode>> nodes_;
  std::deque<std::pair<raft::Channel, raft::PeerMessage>> network_;
  std::set<std::pair<uint64_t, uint64_t>> cut_;
  uint64_t last_token_ = 0;
};

}  // namespace flotilla::partition
