#include "tests/sim/swarm.h"

#include <sstream>

#include "tests/sim/draws.h"

namespace flotilla::sim {
namespace {

raft::HostOptions MakeHostOptions(Random& random) {
  raft::HostOptions options;
  raft::CoreOptions& core = options.core;
  core.election_ticks = static_cast<uint32_t>(random.Between(6, 24));
  core.heartbeat_ticks = static_cast<uint32_t>(random.Between(1, core.election_ticks / 5));
  core.resend_ticks = static_cast<uint32_t>(random.Between(2, core.election_ticks));
  core.disk_full_retry_ticks = static_cast<uint32_t>(random.Between(1, 30));
  core.append_bytes_max = OneOf<size_t>(random, {200, 1000, 16 * 1024, limits::kAppendBytesMax});
  core.append_entries_max = OneOf<size_t>(random, {1, 2, 7, 64, limits::kAppendEntriesMax});
  core.inflight_messages_max = OneOf<size_t>(random, {1, 2, 5, limits::kInflightMessagesMax});
  core.inflight_bytes_max = core.append_bytes_max * random.Between(1, 4);
  core.uncommitted_bytes_max = OneOf<size_t>(random, {2000, 20'000, limits::kUncommittedBytesMax});
  core.tail_bytes_max = OneOf<size_t>(random, {0, 500, 5000, limits::kTailBytesMax});
  core.pending_reads_max = OneOf<size_t>(random, {1, 4, limits::kPendingReadsMax});
  core.promotion_lag_entries_max = OneOf<uint64_t>(random, {2, 20, limits::kPromotionLagEntriesMax});
  options.apply_bytes_per_turn = OneOf<size_t>(random, {1, 1000, limits::kMiB});
  options.snapshot_chunks_inflight_max = OneOf<uint32_t>(random, {1, 2, 8});
  options.snapshot_bytes_per_tick = OneOf<size_t>(random, {100, 4000, 8 * limits::kMiB});
  options.keep_entries_for_followers = OneOf<uint64_t>(random, {0, 10, 200, 100'000});
  return options;
}

NetworkConditions MakeNetwork(Random& random) {
  NetworkConditions network;
  network.loss = random.OneIn(2) ? 0 : random.OneIn(3) ? 0.2 : 0.03;
  network.repeat = random.OneIn(2) ? 0 : random.OneIn(3) ? 0.3 : 0.02;
  network.split = random.OneIn(2) ? 0 : 0.3;
  network.ordered = random.OneIn(2);
  network.break_notice = random.OneIn(2) ? 0 : 0.5;
  network.delay_min = static_cast<Time>(random.Between(50, 2000));
  network.delay_spread = OneOf<Time>(random, {100, 2000, 40 * kMillisecond});
  network.straggler = random.OneIn(2) ? 0 : 0.02;
  network.straggler_max = OneOf<Time>(random, {100 * kMillisecond, 5 * kSecond});
  return network;
}

FaultRates MakeFaults(Random& random) {
  FaultRates faults;
  faults.cut = Sometimes(random, 2, kSecond, 20 * kSecond);
  faults.partition = Sometimes(random, 2, 2 * kSecond, 20 * kSecond);
  faults.burst = Sometimes(random, 3, 2 * kSecond, 20 * kSecond);
  faults.kill = Sometimes(random, 3, 2 * kSecond, 30 * kSecond);
  faults.power_cut = Sometimes(random, 2, 2 * kSecond, 30 * kSecond);
  faults.crash_at_boundary = Sometimes(random, 2, kSecond, 15 * kSecond);
  faults.whole_cluster = Sometimes(random, 6, 10 * kSecond, 40 * kSecond);
  faults.pause = Sometimes(random, 3, 2 * kSecond, 20 * kSecond);
  faults.clock = Sometimes(random, 3, 2 * kSecond, 20 * kSecond);
  faults.disk_slow = Sometimes(random, 3, 2 * kSecond, 20 * kSecond);
  faults.disk_full = Sometimes(random, 4, 4 * kSecond, 30 * kSecond);
  faults.sync_failure = Sometimes(random, 4, 5 * kSecond, 40 * kSecond);
  faults.write_failure = Sometimes(random, 6, 5 * kSecond, 40 * kSecond);
  faults.bit_flip = Sometimes(random, 4, 5 * kSecond, 40 * kSecond);
  faults.wipe = Sometimes(random, 4, 5 * kSecond, 40 * kSecond);
  return faults;
}

OperationRates MakeOperations(Random& random) {
  OperationRates operations;
  operations.propose = static_cast<Time>(random.Between(2, 200)) * kMillisecond;
  operations.read = Sometimes(random, 2, 10 * kMillisecond, 500 * kMillisecond);
  operations.transfer = Sometimes(random, 2, kSecond, 20 * kSecond);
  operations.membership = Sometimes(random, 2, 500 * kMillisecond, 10 * kSecond);
  operations.snapshot = Sometimes(random, 2, 300 * kMillisecond, 10 * kSecond);
  operations.trim = Sometimes(random, 2, 300 * kMillisecond, 10 * kSecond);
  operations.priority = Sometimes(random, 4, 2 * kSecond, 20 * kSecond);
  operations.campaign = Sometimes(random, 4, 2 * kSecond, 20 * kSecond);
  operations.create_group = Sometimes(random, 4, 5 * kSecond, 30 * kSecond);
  operations.destroy_group = Sometimes(random, 6, 10 * kSecond, 40 * kSecond);
  return operations;
}

}  // namespace

Swarm MakeSwarm(uint64_t seed) {
  Random random(seed ^ 0x5EEDF10771114ULL);
  Swarm swarm;
  swarm.seed = seed;
  swarm.nodes = OneOf<uint32_t>(random, {1, 2, 3, 3, 3, 4, 5, 5, 6, 7});
  swarm.groups = OneOf<uint32_t>(random, {1, 1, 1, 2, 3});
  swarm.groups_max = swarm.groups + static_cast<uint32_t>(random.Below(6 - swarm.groups));
  swarm.tick = OneOf<Time>(random, {20, 50, 50, 100}) * kMillisecond;
  swarm.hurt_for = static_cast<Time>(random.Between(20, 90)) * kSecond;
  swarm.host = MakeHostOptions(random);
  swarm.store.tail_bytes = OneOf<size_t>(random, {0, 2000, limits::kTailBytesMax});
  swarm.network = MakeNetwork(random);
  swarm.faults = MakeFaults(random);
  swarm.operations = MakeOperations(random);
  swarm.sync_min = static_cast<Time>(random.Between(20, 500));
  swarm.sync_spread = OneOf<Time>(random, {100, 2 * kMillisecond, 30 * kMillisecond});
  swarm.down_max = OneOf<Time>(random, {500 * kMillisecond, 5 * kSecond, 15 * kSecond});
  swarm.clock_drift = random.OneIn(2) ? 0 : 0.2;
  swarm.catch_up_ticks = random.OneIn(2);
  swarm.payload_max = OneOf<size_t>(random, {0, 64, 400, 3000});
  swarm.batch_max = random.Between(1, 4);
  swarm.snapshot_chunk_bytes = OneOf<size_t>(random, {16, 100, 64 * 1024});
  swarm.host.core.vote_resend_ticks = static_cast<uint32_t>(random.Between(1, 4));
  swarm.host.core.leader_lost_ticks = static_cast<uint32_t>(random.Between(1, 4));
  return swarm;
}

std::string Swarm::Describe() const {
  std::ostringstream out;
  const raft::CoreOptions& core = host.core;
  out << nodes << " nodes, " << groups << ".." << groups_max << " groups, tick " << tick / kMillisecond << " ms, election "
      << core.election_ticks << ", heartbeat " << core.heartbeat_ticks << ", append " << core.append_bytes_max << " B / "
      << core.append_entries_max << ", window " << core.inflight_messages_max << " / " << core.inflight_bytes_max << " B, uncommitted "
      << core.uncommitted_bytes_max << " B, tail " << core.tail_bytes_max << " B, loss " << network.loss << ", repeat " << network.repeat
      << (network.ordered ? ", ordered" : ", unordered") << ", hurt for " << hurt_for / kSecond << " s";
  return std::move(out).str();
}

}  // namespace flotilla::sim
