#include "tests/unit/partition/partition_cluster.h"

#include <glog/logging.h>

#include "server/errors/refusal.h"

namespace flotilla::partition {
namespace {

std::string NameOf(const Status& status) {
  const Refusal refusal = RefusalOf(status);
  return std::string(refusal == Refusal::kNone ? ReasonName(status.reason()) : RefusalName(refusal));
}

}  // namespace

PartitionCluster::PartitionCluster(uint64_t nodes, Options options) : options_(std::move(options)) {
  raft::Configuration configuration;
  for (uint64_t id = 1; id <= nodes; ++id) configuration.voters.push_back({NodeId{id}, 1});
  for (uint64_t id = 1; id <= nodes; ++id) {
    nodes_.push_back(std::make_unique<PartitionNode>());
    node(id).id = NodeId{id};
    Boot(id);
    const raft::NewGroup group{
        .group = kGroup, .identity = {.self = {NodeId{id}, 1}, .label = "orders/0"}, .configuration = configuration, .campaign = id == 1};
    const Status created = host(id).CreateGroup(group, partition(id).machine(), *this);
    CHECK(created.ok()) << created;
  }
  Settle();
}

PartitionCluster::~PartitionCluster() {
  for (uint64_t id = 1; id <= size(); ++id) {
    if (up(id)) host(id).CloseGroup(kGroup);
  }
}

void PartitionCluster::Boot(uint64_t id) {
  PartitionNode& node = this->node(id);
  CHECK(node.host == nullptr);
  node.store = *storage::MemoryStore::Open(node.disk, options_.store);
  raft::HostOptions host;
  host.node = node.id;
  host.boot = ++node.boots;
  host.core.tail_bytes_max = options_.raft_tail_bytes;
  host.keep_entries_for_followers = options_.keep_entries_for_followers;
  node.host = std::make_unique<raft::RaftHost>(host, node.executor, node.readers, *node.store, static_cast<raft::Transport&>(*this),
                                               Random(id * 100 + node.boots));
  node.partition = std::make_unique<Partition>(
      Surroundings{
          .group = kGroup, .host = *node.host, .log = *node.store, .executor = node.executor, .readers = node.readers, .clock = clock},
      options_.partition, options_.config);
  if (node.store->Groups().empty()) return;
  const Status opened = node.host->OpenGroup(kGroup, node.partition->machine());
  CHECK(opened.ok()) << opened;
}

void PartitionCluster::Kill(uint64_t id) {
  PartitionNode& node = this->node(id);
  node.executor.Drop();
  node.readers.Drop();
  node.partition->Forget(static_cast<ProduceSink&>(node.sinks));
  node.partition->Forget(static_cast<FetchSink&>(node.sinks));
  node.partition->Forget(static_cast<TrimSink&>(node.sinks));
  node.host.reset();
  node.partition.reset();
  node.store.reset();
  node.disk.PowerCut(0);
  node.executor.Drop();
}

// --- Calls

uint64_t PartitionCluster::Produce(uint64_t id, ProduceCall call) {
  const uint64_t token = ++last_token_;
  const Status taken = partition(id).Produce(std::move(call), token, node(id).sinks);
  if (!taken.ok()) node(id).sinks.OnProduced(token, {.status = taken});
  return token;
}

uint64_t PartitionCluster::ProduceSequence(uint64_t id, uint64_t base_sequence, uint32_t count, uint32_t epoch) {
  return Produce(
      id, ProduceCall{.batch = Prepared(SetOf(count, std::to_string(base_sequence))),
                      .producer = {.producer_id = 5, .epoch = epoch, .base_sequence = base_sequence, .scope = SequenceScope::kPartition}});
}

uint64_t PartitionCluster::Fetch(uint64_t id, const FetchCall& call) {
  const uint64_t token = ++last_token_;
  const Result<uint64_t> ticket = partition(id).Fetch(call, token, node(id).sinks);
  if (!ticket.ok()) node(id).sinks.OnFetched(token, {.status = ticket.status()});
  return token;
}

uint64_t PartitionCluster::Locate(uint64_t id, const StartPosition& start) {
  const uint64_t token = ++last_token_;
  const Result<uint64_t> ticket = partition(id).Locate(start, token, node(id).sinks);
  if (!ticket.ok()) node(id).sinks.OnFetched(token, {.status = ticket.status()});
  return token;
}

uint64_t PartitionCluster::Trim(uint64_t id, uint64_t log_start) {
  const uint64_t token = ++last_token_;
  partition(id).Trim(Offset{log_start}, token, node(id).sinks);
  return token;
}

std::string PartitionCluster::Produced(uint64_t id, uint64_t token) {
  const auto found = node(id).sinks.produced.find(token);
  if (found == node(id).sinks.produced.end()) return "waiting";
  const ProduceResult& result = found->second;
  if (!result.status.ok()) return NameOf(result.status);
  return (result.deduplicated ? "duplicate at " : "OK at ") + std::to_string(result.base_offset.value());
}

std::string PartitionCluster::Fetched(uint64_t id, uint64_t token) {
  const auto found = node(id).sinks.fetched.find(token);
  if (found == node(id).sinks.fetched.end()) return "waiting";
  const FetchResult& result = found->second;
  if (!result.status.ok()) return NameOf(result.status);
  std::string out;
  for (const FetchedBatch& batch : result.batches) {
    out += '[' + std::to_string(batch.base_offset.value()) + ',' + std::to_string((batch.base_offset + batch.record_count).value()) + ") ";
  }
  return out + "next " + std::to_string(result.next_offset.value());
}

uint64_t PartitionCluster::Append(uint64_t id, const std::string& set) {
  const uint64_t token = Produce(id, set);
  Settle();
  CHECK(Produced(id, token).starts_with("OK")) << Produced(id, token);
  return node(id).sinks.produced.at(token).base_offset.value();
}

// --- Time and the network

bool PartitionCluster::Step() {
  bool moved = false;
  for (auto& each : nodes_) {
    PartitionNode& node = *each;
    if (node.host == nullptr) continue;
    moved |= node.executor.RunOne();
    if (!node.hold_readers) moved |= node.readers.RunOne();
    if (!node.hold_disk) moved |= node.store->SyncOnce();
  }
  if (network_.empty() || hold_network) return moved;
  auto [channel, message] = std::move(network_.front());
  network_.pop_front();
  const uint64_t to = message.to.value();
  if (!up(to) || cut_.contains({message.from.value(), to})) return true;
  host(to).Receive(std::move(message));
  return true;
}

void PartitionCluster::Settle() {
  while (Step()) {
  }
}

void PartitionCluster::Rounds(uint64_t count) {
  while (count > 0 && Step()) --count;
}

void PartitionCluster::Ticks(uint64_t count) {
  for (; count > 0; --count) {
    clock.wall_ms += 50;
    for (uint64_t id = 1; id <= size(); ++id) {
      if (!up(id)) continue;
      host(id).Tick();
      partition(id).Tick(host(id).now());
    }
    Settle();
  }
}

uint64_t PartitionCluster::Leader() {
  uint64_t leader = 0;
  Term term;
  for (uint64_t id = 1; id <= size(); ++id) {
    if (!up(id) || !partition(id).MayServe().ok()) continue;
    const Term its = partition(id).status().leadership.term;
    if (its > term) {
      term = its;
      leader = id;
    }
  }
  return leader;
}

uint64_t PartitionCluster::WaitForLeader() {
  uint64_t leader = Leader();
  for (int ticks = 0; leader == 0; ++ticks) {
    CHECK_LT(ticks, 300) << "nobody leads";
    Ticks(1);
    leader = Leader();
  }
  return leader;
}

void PartitionCluster::Isolate(uint64_t id) {
  for (uint64_t other = 1; other <= size(); ++other) {
    if (other != id) cut_.insert({id, other}), cut_.insert({other, id});
  }
}

}  // namespace flotilla::partition
