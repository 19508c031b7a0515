// The Raft core without anything around it: three replicas of a group on one thread, messages handed over in
// memory, every write done at once. What is measured is what consensus costs in processor time.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "raft/core/raft_core.h"

namespace flotilla::raft {
namespace {

constexpr GroupId kGroup{1};

// A group of three that has elected its first replica.
class Trio {
 public:
  explicit Trio(uint64_t seed = 1) {
    Configuration members;
    for (uint64_t node = 1; node <= 3; ++node) members.voters.push_back({NodeId{node}, 0});
    storage::GroupState state;
    state.group = kGroup;
    state.snapshot.configuration = EncodeConfiguration(members);
    for (size_t i = 0; i < cores_.size(); ++i) {
      CoreOptions options;
      options.group = kGroup;
      options.self = members.voters[i];
      cores_[i] = std::make_unique<RaftCore>(options, state, LogIndex{0}, Random(seed * 3 + i), now_);
    }
    leader().Campaign();
    Run();
    Tick(3);  // the followers learn that the first entry is committed
    CHECK(leader().role() == Role::kLeader);
    CHECK_EQ(cores_[2]->commit(), LogIndex{1});
  }

  RaftCore& leader() { return *cores_[0]; }

  // Carries out effects until there are none.
  void Run() {
    for (auto& core : cores_) CarryOut(*core);
    while (!messages_.empty()) {
      Message message = std::move(messages_.front());
      messages_.pop_front();
      RaftCore& to = *cores_[message.to.node.value() - 1];
      to.Step(std::move(message));
      CarryOut(to);
    }
  }

  void Tick(Tick ticks) {
    now_ += ticks;
    for (auto& core : cores_) core->AdvanceTo(now_);
    Run();
  }

  void AdvanceQuietly(raft::Tick ticks) {
    now_ += ticks;
    for (auto& core : cores_) core->AdvanceTo(now_);
  }

 private:
  void CarryOut(RaftCore& core) {
    for (;;) {
      Output out = core.TakeOutput();
      if (out.empty()) return;
      for (Message& message : out.messages) messages_.push_back(std::move(message));
      for (AppendTask& task : out.append) core.Written(std::move(task), Status());
      if (out.apply_to) core.Applied(*out.apply_to);
    }
  }

  raft::Tick now_ = 0;
  std::array<std::unique_ptr<RaftCore>, 3> cores_;
  std::deque<Message> messages_;
};

// Proposals of `payload` bytes, `batch` in each call, each batch committed and applied on the leader before
// the next.
void BM_Propose(benchmark::State& state) {
  const auto batch = static_cast<size_t>(state.range(0));
  const auto payload_bytes = static_cast<size_t>(state.range(1));
  Trio trio;
  const std::vector<Proposal> proposals(
      batch, Proposal{.kind = EntryKind::kData, .record_count = 1, .payload = Bytes(std::string(payload_bytes, 'x'))});
  uint64_t batches = 0;
  for (auto _ : state) {
    Result<LogIndex> first = trio.leader().Propose(proposals);
    CHECK(first.ok()) << first.status();
    trio.Run();
    // A heartbeat now and then, as in life: followers commit, and everybody lets go of what is applied.
    if (++batches % 64 == 0) trio.Tick(3);
  }
  CHECK_EQ(trio.leader().commit(), trio.leader().log().last());
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * batch));
}
BENCHMARK(BM_Propose)->ArgNames({"batch", "bytes"})->Args({256, 100})->Args({256, 1024})->Args({16, 100})->Args({1, 100});

// Many proposals under way: 16 calls before the messages move.
void BM_ProposePipelined(benchmark::State& state) {
  Trio trio;
  const std::vector<Proposal> one(1, Proposal{.kind = EntryKind::kData, .record_count = 1, .payload = Bytes(std::string(100, 'x'))});
  uint64_t rounds = 0;
  for (auto _ : state) {
    for (int i = 0; i < 16; ++i) CHECK(trio.leader().Propose(one).ok());
    trio.Run();
    if (++rounds % 64 == 0) trio.Tick(3);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * 16));
}
BENCHMARK(BM_ProposePipelined);

void BM_ReadIndex(benchmark::State& state) {
  Trio trio;
  uint64_t id = 0;
  for (auto _ : state) {
    for (int i = 0; i < 64; ++i) CHECK(trio.leader().ReadIndex(++id).ok());
    trio.Run();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * 64));
}
BENCHMARK(BM_ReadIndex);

// Bytes of heap for one replica of a group at rest, and what a tick over all of them costs when nothing is
// due: the driver does not even make that call for groups whose NextDeadline() is ahead.
void BM_IdleGroups(benchmark::State& state) {
  constexpr size_t kGroups = 3'400;  // 10,200 replicas
  const size_t before = mallinfo2().uordblks;
  std::vector<std::unique_ptr<Trio>> groups;
  groups.reserve(kGroups);
  for (size_t i = 0; i < kGroups; ++i) groups.push_back(std::make_unique<Trio>(i));
  const size_t bytes = mallinfo2().uordblks - before;
  for (auto _ : state) {
    for (auto& group : groups) group->AdvanceQuietly(0);
  }
  state.counters["bytes_per_replica"] = static_cast<double>(bytes) / (3 * kGroups);
  state.counters["sizeof_core"] = sizeof(RaftCore);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * 3 * kGroups));
}
BENCHMARK(BM_IdleGroups)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace flotilla::raft

BENCHMARK_MAIN();
