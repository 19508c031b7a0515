#include "tests/sim/broker/swarm.h"

#include <sstream>

#include "server/metadata/metadata_machine.h"
#include "tests/sim/draws.h"

namespace flotilla::sim::broker {
namespace {

raft::CoreOptions MakeCore(Random& random) {
  raft::CoreOptions core;
  core.election_ticks = static_cast<uint32_t>(random.Between(10, 20));
  core.heartbeat_ticks = static_cast<uint32_t>(random.Between(1, 3));
  core.append_bytes_max = OneOf<size_t>(random, {500, 16 * 1024, limits::kAppendBytesMax});
  core.append_entries_max = OneOf<size_t>(random, {1, 7, limits::kAppendEntriesMax});
  core.inflight_messages_max = OneOf<size_t>(random, {1, 5, limits::kInflightMessagesMax});
  core.inflight_bytes_max = core.append_bytes_max * random.Between(1, 4);
  core.tail_bytes_max = OneOf<size_t>(random, {0, 2000, limits::kTailBytesMax});
  return core;
}

WireConditions MakeWires(Random& random) {
  WireConditions wires;
  wires.loss = random.OneIn(2) ? 0 : random.OneIn(3) ? 0.1 : 0.02;
  wires.reset = random.OneIn(2) ? 0 : random.OneIn(3) ? 0.03 : 0.003;
  wires.straggler = random.OneIn(2) ? 0 : 0.02;
  wires.straggler_max = OneOf<Time>(random, {100 * kMillisecond, 3 * kSecond});
  wires.delay_min = static_cast<Time>(random.Between(50, 2000));
  wires.delay_spread = OneOf<Time>(random, {100, 2000, 30 * kMillisecond});
  return wires;
}

FaultRates MakeFaults(Random& random) {
  FaultRates faults;
  faults.cut = Sometimes(random, 2, kSecond, 15 * kSecond);
  faults.partition = Sometimes(random, 2, 2 * kSecond, 15 * kSecond);
  faults.slow_link = Sometimes(random, 3, 2 * kSecond, 15 * kSecond);
  faults.client_cut = Sometimes(random, 3, 2 * kSecond, 15 * kSecond);
  faults.kill = Sometimes(random, 3, 3 * kSecond, 20 * kSecond);
  faults.power_cut = Sometimes(random, 2, 3 * kSecond, 20 * kSecond);
  faults.crash_at_boundary = Sometimes(random, 2, 2 * kSecond, 15 * kSecond);
  faults.whole_cluster = Sometimes(random, 5, 10 * kSecond, 30 * kSecond);
  faults.orderly_stop = Sometimes(random, 3, 4 * kSecond, 20 * kSecond);
  faults.pause = Sometimes(random, 3, 2 * kSecond, 15 * kSecond);
  faults.clock_rate = Sometimes(random, 3, 3 * kSecond, 20 * kSecond);
  faults.clock_jump = Sometimes(random, 3, 3 * kSecond, 20 * kSecond);
  faults.disk_slow = Sometimes(random, 3, 2 * kSecond, 15 * kSecond);
  faults.disk_full = Sometimes(random, 4, 4 * kSecond, 20 * kSecond);
  faults.sync_failure = Sometimes(random, 4, 5 * kSecond, 25 * kSecond);
  faults.bit_flip = Sometimes(random, 6, 2 * kSecond, 15 * kSecond);
  faults.wipe = Sometimes(random, 6, 5 * kSecond, 25 * kSecond);
  return faults;
}

OperationRates MakeOperations(Random& random) {
  OperationRates operations;
  operations.produce = static_cast<Time>(random.Between(10, 300)) * kMillisecond;
  operations.create_topic = Sometimes(random, 2, 3 * kSecond, 15 * kSecond);
  operations.delete_topic = Sometimes(random, 3, 5 * kSecond, 25 * kSecond);
  operations.add_partitions = Sometimes(random, 3, 5 * kSecond, 25 * kSecond);
  operations.update_config = Sometimes(random, 3, 2 * kSecond, 10 * kSecond);
  operations.list_offsets = Sometimes(random, 2, 100 * kMillisecond, kSecond) / 2;
  operations.trim = Sometimes(random, 3, 2 * kSecond, 10 * kSecond);
  operations.transfer = Sometimes(random, 3, 2 * kSecond, 10 * kSecond);
  operations.look = Sometimes(random, 2, 500 * kMillisecond, 3 * kSecond);
  operations.fetch = static_cast<Time>(random.Between(10, 500)) * kMillisecond;
  return operations;
}

void MakeMoves(Random& random, Swarm* swarm) {
  swarm->moves = true;
  // Somewhere to go.
  if (swarm->machines == 3) swarm->machines += static_cast<uint32_t>(random.Between(1, 2));
  swarm->founders = random.OneIn(2) ? 3 : swarm->machines;
  OperationRates& operations = swarm->operations;
  operations.move = Sometimes(random, 1, kSecond, 6 * kSecond);
  operations.rebuild = Sometimes(random, 2, 3 * kSecond, 15 * kSecond);
  // That and a lost disk are two copies of three.
  if (swarm->faults.wipe != 0) operations.rebuild = 0;
  operations.cancel_move = Sometimes(random, 2, 2 * kSecond, 10 * kSecond);
  operations.drain = Sometimes(random, 2, 2 * kSecond, 10 * kSecond);
  operations.decommission = Sometimes(random, 2, 3 * kSecond, 15 * kSecond);
  operations.recommission = Sometimes(random, 3, 3 * kSecond, 15 * kSecond);
  operations.remove = Sometimes(random, 3, 2 * kSecond, 10 * kSecond);
  operations.balance = Sometimes(random, 2, 3 * kSecond, 15 * kSecond);
  operations.look_at_nodes = Sometimes(random, 3, 500 * kMillisecond, 3 * kSecond);
  operations.join = kSecond + static_cast<Time>(random.Below(8 * kSecond));
  operations.replace = Sometimes(random, 2, 2 * kSecond, 10 * kSecond);
}

// A healthy disk takes half of `slowest` on average, a sick one ten times as much.
void MakeDisks(Random& random, Swarm* swarm) {
  const Time slowest = swarm->sync_min + swarm->sync_spread;
  swarm->disk.slow_sync = std::chrono::microseconds(4 * slowest);
  swarm->disk.slow_for = std::chrono::seconds(random.Between(1, 3));
  swarm->disk.well_for = std::chrono::seconds(random.Between(1, 5));
  swarm->disk.reserve_bytes = swarm->store.reserve_bytes;
  if (random.OneIn(6)) swarm->sick_disks = random.OneIn(2) ? SickDisks::kOne : SickDisks::kAll;
}

void MakeUpgrades(Random& random, Swarm* swarm) {
  swarm->upgrades = true;
  swarm->operations.install = static_cast<Time>(random.Between(1, 6)) * kSecond;
  swarm->operations.roll_back = Sometimes(random, 2, 3 * kSecond, 15 * kSecond);
  swarm->operations.raise_level = static_cast<Time>(random.Between(500, 5000)) * kMillisecond;
}

// Nothing else may be lost then, and everything has copies.
void MakeDisaster(Random& random, Swarm* swarm) {
  swarm->lost_disks = random.OneIn(3) ? 3 : 2;
  swarm->machines = swarm->founders = 5;
  swarm->faults.wipe = 0;
  swarm->faults.bit_flip = 0;
  swarm->single_replicas = false;
  swarm->calm_birth = true;
  // A rebuild gives up a copy, too; and with fewer nodes in use the metadata has three voters, of which two may not go.
  OperationRates& operations = swarm->operations;
  operations.rebuild = operations.decommission = operations.recommission = operations.remove = operations.replace = 0;
}

}  // namespace

Swarm MakeSwarm(uint64_t seed) {
  Random random(seed ^ 0xB20CE25EEDULL);
  Swarm swarm;
  swarm.seed = seed;
  swarm.machines = OneOf<uint32_t>(random, {3, 3, 3, 4, 5});
  swarm.hurt_for = static_cast<Time>(random.Between(15, 45)) * kSecond;
  swarm.core = MakeCore(random);
  swarm.partition.checkpoint_entries = OneOf<uint64_t>(random, {5, 50, partition::limits::kCheckpointEntries});
  swarm.metadata_snapshot_bytes = OneOf<size_t>(random, {1000, 10'000, metadata::kSnapshotAfterBytes});
  swarm.keep_entries_for_followers = OneOf<uint64_t>(random, {0, 10, 100'000});
  swarm.streams.heartbeat = std::chrono::seconds(random.Between(1, 10));
  swarm.store.tail_bytes = OneOf<size_t>(random, {0, 2000, limits::kTailBytesMax});
  swarm.wires = MakeWires(random);
  swarm.faults = MakeFaults(random);
  swarm.operations = MakeOperations(random);
  swarm.partition_producers = static_cast<uint32_t>(random.Between(0, 3));
  swarm.topic_producers = static_cast<uint32_t>(random.Between(0, 2));
  swarm.plain_producers = static_cast<uint32_t>(random.Between(swarm.partition_producers + swarm.topic_producers == 0 ? 1 : 0, 2));
  swarm.fetchers = static_cast<uint32_t>(random.Between(0, 2));
  swarm.subscribers = static_cast<uint32_t>(random.Between(swarm.fetchers == 0 ? 1 : 0, 2));
  swarm.watchers = static_cast<uint32_t>(random.Between(0, 2));
  swarm.topics_first = static_cast<uint32_t>(random.Between(1, 3));
  swarm.topics_max = swarm.topics_first + 4;
  // A lost disk takes what had no copy: such runs have copies of everything.
  const bool loses = swarm.faults.wipe != 0 || swarm.faults.bit_flip != 0;
  swarm.single_replicas = !loses && random.OneIn(2);
  swarm.calm_birth = loses || random.OneIn(2);
  swarm.two_inits = random.OneIn(4);
  swarm.sync_min = static_cast<Time>(random.Between(20, 500));
  swarm.sync_spread = OneOf<Time>(random, {100, 2 * kMillisecond, 30 * kMillisecond});
  swarm.down_max = OneOf<Time>(random, {500 * kMillisecond, 5 * kSecond, 12 * kSecond});
  swarm.value_bytes_max = OneOf<size_t>(random, {0, 100, 2000});
  swarm.founders = swarm.machines;
  if (random.OneIn(2)) MakeMoves(random, &swarm);
  MakeDisks(random, &swarm);
  if (random.OneIn(4)) MakeUpgrades(random, &swarm);
  if (random.OneIn(swarm.moves ? 8 : 4)) MakeDisaster(random, &swarm);
  if (random.OneIn(3)) swarm.operations.look_often = OneOf<Time>(random, {100 * kMillisecond, kSecond});
  return swarm;
}

std::string Swarm::Describe() const {
  std::ostringstream out;
  out << machines << " machines (" << founders << " founders" << (moves ? ", moves" : "") << (upgrades ? ", upgrades" : "")
      << (lost_disks != 0 ? ", " + std::to_string(lost_disks) + " disks lost at once" : "") << "), election " << core.election_ticks
      << " ticks, heartbeat " << core.heartbeat_ticks << ", loss " << wires.loss << ", reset " << wires.reset << ", producers "
      << partition_producers << " by partition, " << topic_producers << " by topic, " << plain_producers << " plain; " << fetchers
      << " fetchers, " << subscribers << " subscribers, " << watchers << " watchers; hurt for " << hurt_for / kSecond << " s"
      << (sick_disks == SickDisks::kNone  ? ""
          : sick_disks == SickDisks::kOne ? "; one disk stays sick"
                                          : "; all disks stay sick");
  return std::move(out).str();
}

}  // namespace flotilla::sim::broker
