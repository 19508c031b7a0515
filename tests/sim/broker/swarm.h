// What one seed makes of a run: how large the cluster is, how tight the limits are, which faults and which operations happen and how
// often. Each seed switches things on and off, so that rare combinations are met (swarm testing).
#pragma once

#include <cstdint>
#include <string>

#include "raft/core/raft_core.h"
#include "server/broker/client_api.h"
#include "server/broker/disk_fitness.h"
#include "server/partition/config.h"
#include "storage/memory/memory_store.h"
#include "tests/sim/broker/wires.h"
#include "tests/sim/event_queue.h"

namespace flotilla::sim::broker {

// Mean times between things; 0: never.
struct FaultRates {
  Time cut = 0;
  Time partition = 0;
  Time slow_link = 0;
  Time client_cut = 0;
  Time kill = 0;
  Time power_cut = 0;
  Time crash_at_boundary = 0;
  Time whole_cluster = 0;
  Time orderly_stop = 0;
  Time pause = 0;
  Time clock_rate = 0;
  Time clock_jump = 0;
  Time disk_slow = 0;
  Time disk_full = 0;
  Time sync_failure = 0;
  Time bit_flip = 0;
  Time wipe = 0;
};

struct OperationRates {
  // Of each client.
  Time produce = 0;
  Time create_topic = 0;
  Time delete_topic = 0;
  Time add_partitions = 0;
  Time update_config = 0;
  Time list_offsets = 0;
  Time trim = 0;
  Time transfer = 0;
  Time look = 0;        // GetTopic, ListTopics, GetMetadata, GetHealth
  Time look_often = 0;  // at topics, through nodes that were restarted
  Time fetch = 0;
  // Nodes and replicas that come and go.
  Time move = 0;
  Time rebuild = 0;
  Time cancel_move = 0;
  Time drain = 0;
  Time decommission = 0;
  Time recommission = 0;
  Time remove = 0;
  Time balance = 0;
  Time look_at_nodes = 0;
  Time join = 0;     // of machines that are not founders
  Time replace = 0;  // of machines that were removed
  // Programs of another age.
  Time install = 0;
  Time roll_back = 0;
  Time raise_level = 0;
};

// Disks that stay slow when everything else heals: nodes then lead what no other node can lead, and nothing else.
enum class SickDisks : uint8_t { kNone, kOne, kAll };

struct Swarm {
  uint64_t seed = 0;
  uint32_t machines = 3;
  uint32_t founders = 3;  // the first of them
  bool moves = false;     // somebody administers nodes and replicas
  // The cluster is upgraded meanwhile, machine by machine. Programs know feature levels from 1 on, the newest up to this.
  bool upgrades = false;
  static constexpr uint32_t kNewestFeatureLevel = 3;
  // Two of five machines lose their disks at the same moment, and with them partitions their majorities.
  uint32_t lost_disks = 0;  // in one moment: 2, or 3, which is most of those that have the metadata
  Time hurt_for = 40 * kSecond;
  Time tick = 50 * kMillisecond;
  raft::CoreOptions core;
  partition::PartitionOptions partition;
  size_t metadata_snapshot_bytes = 0;
  uint64_t keep_entries_for_followers = 0;
  flotilla::broker::StreamOptions streams;
  storage::MemoryStoreOptions store;
  WireConditions wires;
  FaultRates faults;
  OperationRates operations;
  uint32_t partition_producers = 1;  // idempotent, of a partition
  uint32_t topic_producers = 1;      // idempotent, of a topic
  uint32_t plain_producers = 1;      // not idempotent
  uint32_t fetchers = 1;
  uint32_t subscribers = 1;
  uint32_t watchers = 1;
  uint32_t topics_first = 2;
  uint32_t topics_max = 5;
  bool single_replicas = true;  // topics without redundancy, too
  bool calm_birth = true;       // faults begin when the cluster is there
  bool two_inits = false;       // two people found the cluster at the same time
  Time sync_min = 100 * kMicrosecond;
  Time sync_spread = kMillisecond;
  flotilla::broker::DiskFitnessOptions disk;
  SickDisks sick_disks = SickDisks::kNone;
  // With which a disk is sick for certain.
  static constexpr uint64_t kSickSlowness = 10;
  Time down_max = 5 * kSecond;
  size_t value_bytes_max = 64;

  Time ElectionTime() const { return tick * static_cast<Time>(2 * core.election_ticks); }
  std::string Describe() const;
};

Swarm MakeSwarm(uint64_t seed);

}  // namespace flotilla::sim::broker
