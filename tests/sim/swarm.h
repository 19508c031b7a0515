// What one seed makes of a run: how large the cluster is, how tight the limits are, which faults happen and
// how often. Each seed switches things on and off, so that rare combinations are met (swarm testing): a run
// with every fault on hides what a run with two of them shows.
#pragma once

#include <cstdint>
#include <string>

#include "raft/node/raft_host.h"
#include "storage/base/random.h"
#include "storage/memory/memory_store.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/network.h"

namespace flotilla::sim {

// Mean times between things; 0: never.
struct FaultRates {
  Time cut = 0;  // one-way
  Time partition = 0;
  Time burst = 0;
  Time kill = 0;  // the process; the system's cache survives
  Time power_cut = 0;
  Time crash_at_boundary = 0;
  Time whole_cluster = 0;  // every node loses power at once
  Time pause = 0;
  Time clock = 0;
  Time disk_slow = 0;
  Time disk_full = 0;
  Time sync_failure = 0;
  Time write_failure = 0;
  Time bit_flip = 0;
  Time wipe = 0;
};

struct OperationRates {
  Time propose = 0;
  Time read = 0;
  Time transfer = 0;
  Time membership = 0;
  Time snapshot = 0;
  Time trim = 0;
  Time priority = 0;
  Time campaign = 0;
  Time create_group = 0;
  Time destroy_group = 0;
};

struct Swarm {
  uint64_t seed = 0;
  uint32_t nodes = 3;
  uint32_t groups = 1;
  uint32_t groups_max = 1;
  Time tick = 50 * kMillisecond;
  Time hurt_for = 60 * kSecond;
  raft::HostOptions host;  // node and boot are filled in for each
  storage::MemoryStoreOptions store;
  NetworkConditions network;
  FaultRates faults;
  OperationRates operations;
  Time sync_min = 100 * kMicrosecond;
  Time sync_spread = kMillisecond;
  Time down_max = 5 * kSecond;  // until a dead process starts again
  double clock_drift = 0;       // of the ticks of each node
  bool catch_up_ticks = true;   // after a pause: all ticks at once, or none
  size_t payload_max = 256;
  size_t batch_max = 3;
  size_t snapshot_chunk_bytes = 64 * 1024;

  // How long an election takes when nothing goes wrong: the measure of waiting.
  Time ElectionTime() const { return tick * static_cast<Time>(2 * host.core.election_ticks); }
  std::string Describe() const;
};

Swarm MakeSwarm(uint64_t seed);

}  // namespace flotilla::sim
