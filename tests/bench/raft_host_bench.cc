// What idle groups cost a node: three hosts with the same 10,000 groups, all led by the first, nobody proposing anything.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <new>

#include "tests/raft_node/host_cluster.h"

namespace {
uint64_t allocations = 0;
}  // namespace

[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace flotilla::raft {
namespace {

constexpr uint64_t kGroups = 10'000;
constexpr uint64_t kLeader = 1;
constexpr uint64_t kFollower = 2;

std::unique_ptr<HostCluster> IdleCluster() {
  auto cluster = std::make_unique<HostCluster>(3);
  for (uint64_t group = 1; group <= kGroups; ++group) {
    cluster->CreateEverywhere(GroupId{group}, {}, kLeader);
    if (group % 100 == 0) cluster->Ticks(1);  // so that their timers are spread out
  }
  cluster->Ticks(200);
  CHECK_EQ(cluster->host(kLeader).counters().groups_led, kGroups);
  return cluster;
}

HostCluster& Idle() {
  static const std::unique_ptr<HostCluster> cluster = IdleCluster();
  return *cluster;
}

double SecondsOf(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Everything the thread of one node does for one tick: the tick, and what arrives in it.
void BM_TickOfANode(benchmark::State& state, uint64_t measured) {
  HostCluster& cluster = Idle();
  const HostCounters before = cluster.host(measured).counters();
  double worst = 0;
  uint64_t allocated = 0;
  for (auto _ : state) {
    double seconds = 0;
    for (uint64_t id = 1; id <= cluster.size(); ++id) {
      const uint64_t allocated_before = allocations;
      const double took = SecondsOf([&] { cluster.host(id).Tick(); });
      if (id != measured) continue;
      seconds += took;
      allocated += allocations - allocated_before;
    }
    while (!cluster.network.empty()) {
      PeerMessage message = std::move(cluster.network.front().message);
      cluster.network.pop_front();
      const uint64_t to = message.to.value();
      const double took = SecondsOf([&] {
        cluster.host(to).Receive(std::move(message));
        while (cluster.node(to).executor.RunOne()) {
        }
      });
      if (to == measured) seconds += took;
    }
    worst = std::max(worst, seconds);
    state.SetIterationTime(seconds);
  }
  const HostCounters after = cluster.host(measured).counters();
  CHECK_EQ(after.messages_sent, before.messages_sent) << "they were not idle";
  state.counters["worst_ms"] = worst * 1e3;
  state.counters["allocations_per_tick"] = static_cast<double>(allocated) / static_cast<double>(state.iterations());
  state.counters["woken_per_tick"] =
      static_cast<double>(after.groups_woken_by_timer - before.groups_woken_by_timer) / static_cast<double>(state.iterations());
}
BENCHMARK_CAPTURE(BM_TickOfANode, leader_of_10k_idle_groups, kLeader)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_TickOfANode, follower_in_10k_idle_groups, kFollower)->UseManualTime()->Unit(benchmark::kMicrosecond);

// What comes free when a node closes its idle groups: core and driver, without store and state machine.
void BM_MemoryOfAnIdleGroup(benchmark::State& state, uint64_t measured) {
  double bytes = 0;
  for (auto _ : state) {
    const std::unique_ptr<HostCluster> cluster = IdleCluster();
    const size_t with_groups = mallinfo2().uordblks;
    for (uint64_t group = 1; group <= kGroups; ++group) cluster->host(measured).CloseGroup(GroupId{group});
    while (cluster->node(measured).executor.RunOne()) {
    }
    bytes = static_cast<double>(with_groups - mallinfo2().uordblks) / kGroups;
  }
  state.counters["bytes_per_group"] = bytes;
}
BENCHMARK_CAPTURE(BM_MemoryOfAnIdleGroup, leader, kLeader)->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_MemoryOfAnIdleGroup, follower, kFollower)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace flotilla::raft

BENCHMARK_MAIN();
