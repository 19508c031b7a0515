// What a broker is given.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "raft/core/raft_core.h"
#include "server/broker/client_api.h"
#include "server/broker/disk_fitness.h"
#include "server/broker/membership_calls.h"
#include "server/broker/node_file.h"
#include "server/metadata/image.h"
#include "server/metadata/metadata_machine.h"
#include "server/partition/config.h"
#include "storage/base/clock.h"
#include "storage/log/log_store.h"

namespace flotilla::broker {

struct BrokerOptions {
  // Its UUID is the one written with the data.
  metadata::NodeDescription description;
  std::string cluster_name;
  // Peer addresses of nodes to begin with; its own may be among them.
  std::vector<std::string> seeds;
  // Begins a cluster of its own when it is in none.
  bool bootstrap_single = false;
  Duration tick = std::chrono::milliseconds(50);
  // Template of all groups, in ticks.
  raft::CoreOptions core;
  // A follower that needs entries holds back the cut of a log for so many.
  uint64_t keep_entries_for_followers = raft::HostOptions{}.keep_entries_for_followers;
  // Of the metadata's log, between two snapshots.
  size_t metadata_snapshot_bytes = metadata::kSnapshotAfterBytes;
  partition::PartitionOptions partition;
  StreamOptions streams;
  // What people should know of this node: "INSECURE: ...".
  std::vector<std::string> warnings;
  // When its disk is too sick or too full to lead with.
  DiskFitnessOptions disk;
  std::function<DiskSpace()> disk_space = [] { return DiskSpace{}; };
};

// References outlive the broker, but for the store: it goes first, when executor and readers have stopped.
struct BrokerSurroundings {
  raft::Executor& executor;
  raft::BlockingExecutor& readers;
  storage::LogStore& store;
  NodeFile& file;
  PeerNetwork& network;
  const Clock& clock;
};

}  // namespace flotilla::broker
