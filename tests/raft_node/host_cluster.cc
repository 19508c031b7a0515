#include "tests/raft_node/host_cluster.h"

#include <glog/logging.h>

#include <utility>

namespace flotilla::raft {

HostCluster::HostCluster(uint64_t nodes, HostOptions host_options, storage::MemoryStoreOptions store)
    : options(std::move(host_options)), store_options_(store) {
  for (uint64_t id = 1; id <= nodes; ++id) {
    nodes_.push_back(std::make_unique<TestNode>());
    nodes_.back()->id = NodeId{id};
    Boot(id);
  }
}

HostCluster::~HostCluster() {
  for (uint64_t id = 1; id <= size(); ++id) Kill(id);
}

// --- life and death

void HostCluster::Boot(uint64_t id) {
  TestNode& n = node(id);
  CHECK(n.host == nullptr);
  auto store = storage::MemoryStore::Open(n.disk, store_options_);
  CHECK(store.ok()) << store.status();
  n.store = *std::move(store);
  n.watched = std::make_unique<WatchedStore>(*n.store);
  HostOptions mine = options;
  mine.node = n.id;
  mine.boot = ++n.boots;
  n.host = std::make_unique<RaftHost>(mine, n.executor, n.readers, *n.watched, static_cast<Transport&>(*this), Random(id * 1000 + n.boots));
}

void HostCluster::Kill(uint64_t id) {
  TestNode& n = node(id);
  n.host.reset();
  // Work that is still posted finds that its host is gone.
  while (n.executor.RunOne() || n.readers.RunOne()) {
  }
  n.watched.reset();
  n.store.reset();
  n.machines.clear();
}

void HostCluster::Restart(uint64_t id) {
  std::map<GroupId, TestMachine::Options> machines;
  for (const auto& [group, machine] : node(id).machines) machines[group] = machine->options;
  Kill(id);
  node(id).disk.PowerCut(0);
  Boot(id);
  for (const GroupId& group : node(id).store->Groups()) {
    const Status opened = Open(id, group, machines[group]);
    CHECK(opened.ok()) << opened;
  }
  Settle();
}

// --- groups

Configuration HostCluster::VotersOf(std::vector<uint64_t> ids, uint64_t incarnation) {
  Configuration configuration;
  for (uint64_t id : ids) configuration.voters.push_back({NodeId{id}, incarnation});
  configuration.Normalize();
  return configuration;
}

Status HostCluster::Create(uint64_t id, GroupId group, const Configuration& configuration, uint64_t incarnation, bool campaign) {
  TestNode& n = node(id);
  auto& machine = n.machines[group];
  if (machine == nullptr) machine = std::make_unique<TestMachine>();
  return n.host->CreateGroup(
      {.group = group, .identity = {.self = {n.id, incarnation}, .label = "test"}, .configuration = configuration, .campaign = campaign},
      *machine, n.answers);
}

void HostCluster::CreateEverywhere(GroupId group, TestMachine::Options machine_options, uint64_t appointed) {
  std::vector<uint64_t> ids;
  for (uint64_t id = 1; id <= size(); ++id) ids.push_back(id);
  for (uint64_t id : ids) {
    node(id).machines[group] = std::make_unique<TestMachine>();
    node(id).machines[group]->options = machine_options;
    const Status created = Create(id, group, VotersOf(ids), 1, id == appointed);
    CHECK(created.ok()) << created;
  }
  Settle();
  for (uint64_t id : ids) CHECK(node(id).answers.groups.at(group).ok()) << node(id).answers.groups.at(group);
}

Status HostCluster::Open(uint64_t id, GroupId group, TestMachine::Options machine_options) {
  auto& machine = node(id).machines[group];
  machine = std::make_unique<TestMachine>();
  machine->options = machine_options;
  return host(id).OpenGroup(group, *machine);
}

// --- calls

uint64_t HostCluster::Propose(uint64_t id, const std::string& payload, GroupId group) {
  const uint64_t token = ++last_token_;
  const std::vector<Proposal> proposals = {
      {.record_count = 1, .min_timestamp_ms = 1000, .max_timestamp_ms = 1000, .payload = Bytes::Copy(payload)}};
  const Result<LogIndex> index = host(id).Propose(group, proposals, token, node(id).answers);
  if (!index.ok()) node(id).answers.OnProposal(token, index.status(), {});
  return token;
}

uint64_t HostCluster::Read(uint64_t id, GroupId group) {
  const uint64_t token = ++last_token_;
  const Status taken = host(id).ReadIndex(group, token, node(id).answers);
  if (!taken.ok()) node(id).answers.OnRead(token, taken, {});
  return token;
}

void HostCluster::ProposeAll(uint64_t id, const std::vector<std::string>& payloads, GroupId group) {
  for (const std::string& payload : payloads) {
    Propose(id, payload, group);
    Settle();
  }
}

std::string HostCluster::ProposalReason(uint64_t id, uint64_t token) {
  const auto found = node(id).answers.proposals.find(token);
  if (found == node(id).answers.proposals.end()) return "waiting";
  return found->second.status.ok() ? "OK" : std::string(ReasonName(found->second.status.reason()));
}

std::string HostCluster::ReadReason(uint64_t id, uint64_t token) {
  const auto found = node(id).answers.reads.find(token);
  if (found == node(id).answers.reads.end()) return "waiting";
  return found->second.ok() ? "OK" : std::string(ReasonName(found->second.reason()));
}

// --- time and the network

void HostCluster::Settle() {
  while (Step()) {
  }
}

// One round of everything. False: all is at rest.
bool HostCluster::Step() {
  bool moved = false;
  for (const auto& n : nodes_) {
    while (n->executor.RunOne()) moved = true;
    while (n->readers.RunOne()) moved = true;
    if (n->store != nullptr && !n->hold_disk) moved |= n->store->SyncOnce();
  }
  // What is sent in return travels in the next round.
  for (size_t count = hold_network ? 0 : network.size(); count > 0; --count) {
    DeliverOne();
    moved = true;
  }
  return moved;
}

void HostCluster::DeliverOne() {
  Sent sent = std::move(network.front());
  network.pop_front();
  const uint64_t from = sent.message.from.value();
  const uint64_t to = sent.message.to.value();
  if (to == 0 || to > size() || !up(to) || cut_.contains({from, to})) return;
  if (filter && !filter(sent.channel, sent.message)) return;
  host(to).Receive(std::move(sent.message));
}

void HostCluster::Ticks(uint64_t count) {
  for (; count > 0; --count) {
    for (const auto& n : nodes_) {
      if (n->host != nullptr) n->host->Tick();
    }
    Settle();
  }
}

uint64_t HostCluster::LeaderOf(GroupId group) {
  uint64_t leader = 0;
  for (uint64_t id = 1; id <= size(); ++id) {
    if (!up(id) || host(id).Find(group) == nullptr) continue;
    const RaftCore& replica = core(id, group);
    if (replica.role() == Role::kLeader && replica.leads_surely()) leader = id;
  }
  return leader;
}

uint64_t HostCluster::WaitForLeader(GroupId group) {
  Settle();
  for (int i = 0; i < 200; ++i) {
    if (const uint64_t leader = LeaderOf(group); leader != 0) return leader;
    Ticks(1);
  }
  LOG(FATAL) << "nobody leads group " << group;
  return 0;
}

void HostCluster::Isolate(uint64_t id) {
  for (uint64_t other = 1; other <= size(); ++other) {
    if (other != id) Cut(id, other);
  }
}

}  // namespace flotilla::raft
