#include "tests/sim/node.h"

#include <glog/logging.h>

#include <algorithm>
#include <string_view>

namespace flotilla::sim {
namespace {

constexpr size_t kQueuedWorkMax = 20'000;  // what a transport would stop taking from its peers
constexpr Time kExitAfterStorageFailureMax = 500 * kMillisecond;
constexpr Time kTurn = 20 * kMicrosecond;  // how long work waits for the thread

}  // namespace

// The store as the host sees it: the real one, but for a process that has died nothing reaches the disk.
class Node::HookedStore final : public storage::LogStore {
 public:
  HookedStore(Node& node, storage::MemoryStore& store) : node_(node), store_(store) {}

  Status Submit(storage::WriteTask task, storage::WriteSink& sink) override {
    if (node_.DiesHere(Met::kCrashBeforeSubmit)) {
      node_.process_->submit_dropped = true;
      return {};
    }
    if (!store_.health().ok()) return store_.Submit(std::move(task), sink);
    node_.owner_.OnSubmit(node_, task);
    Status submitted = store_.Submit(std::move(task), sink);
    node_.Submitted();
    return submitted;
  }
  std::vector<GroupId> Groups() const override { return store_.Groups(); }
  Result<storage::GroupState> Load(GroupId group) const override { return store_.Load(group); }
  Result<storage::LogBounds> Bounds(GroupId group) const override { return store_.Bounds(group); }
  Result<uint64_t> ApproximateBytes(GroupId group) const override { return store_.ApproximateBytes(group); }
  Result<std::vector<storage::Entry>> Read(GroupId group, LogIndex first, LogIndex last,
                                           storage::ReadLimits limits) const override {
    return store_.Read(group, first, last, limits);
  }
  std::optional<std::vector<storage::Entry>> ReadCached(GroupId group, LogIndex first, LogIndex last,
                                                        storage::ReadLimits limits) const override {
    return store_.ReadCached(group, first, last, limits);
  }
  Result<storage::EntryHeader> FindOffset(GroupId group, Offset offset) const override {
    return store_.FindOffset(group, offset);
  }
  Result<std::optional<storage::EntryHeader>> FindTimestamp(GroupId group,
                                                            int64_t timestamp_ms) const override {
    return store_.FindTimestamp(group, timestamp_ms);
  }
  Result<std::optional<Bytes>> GetState(GroupId group, std::string_view key) const override {
    return store_.GetState(group, key);
  }
  Result<std::vector<StateRow>> ScanState(GroupId group, std::string_view prefix, std::string_view after,
                                          size_t bytes_max) const override {
    return store_.ScanState(group, prefix, after, bytes_max);
  }
  Result<Bytes> ReadSnapshotChunk(GroupId group, uint64_t id, uint32_t number) const override {
    return store_.ReadSnapshotChunk(group, id, number);
  }
  storage::StoreCounters Counters() const override { return store_.Counters(); }
  Status health() const override { return store_.health(); }

 private:
  Node& node_;
  storage::MemoryStore& store_;
};

// --- SimExecutor

void SimExecutor::Post(std::function<void()> work) {
  work_.push_back(std::move(work));
  Wake();
}

void SimExecutor::Wake() {
  if (scheduled_ || work_.empty()) return;
  scheduled_ = true;
  const Time wait = static_cast<Time>(random_.Below(static_cast<uint64_t>(delay_) + 1));
  const Time start = std::max(node_.environment_.events.now() + wait, node_.paused_until_);
  // The executor goes with its process; the event stays.
  node_.environment_.events.At(start, [this, &node = node_, boot = node_.boot_] {
    if (node.process_ == nullptr || node.boot_ != boot) return;
    scheduled_ = false;
    if (node.paused()) return Wake();
    RunOne();
  });
}

void SimExecutor::RunOne() {
  const std::function<void()> work = std::move(work_.front());
  work_.pop_front();
  Wake();
  node_.environment_.trace.Mark(Event::kRun, node_.id_, work_.size());
  node_.RunEvent(work);
}

// --- Node

Node::Node(NodeId id, const Environment& environment, NodeOwner& owner, Random random)
    : id_(id), environment_(environment), owner_(owner), random_(random) {
  environment_.network.Attach(id, *this);
}

Node::~Node() = default;

const SimMachine* Node::machine(GroupId group) const {
  if (!up()) return nullptr;
  auto machine = process_->machines.find(group);
  return machine == process_->machines.end() ? nullptr : machine->second.get();
}

size_t Node::queued_work() const { return up() ? process_->executor->size() + process_->readers->size() : 0; }

Status Node::OpenGroup(GroupId group, const MachineOptions& machine) {
  auto made = MakeMachine(group, machine, *this);
  SimMachine& opened = *made;
  auto& slot = process_->machines[group];
  if (slot != nullptr) process_->retired.push_back(std::move(slot));
  slot = std::move(made);
  return process_->host->OpenGroup(group, opened);
}

Status Node::CreateGroup(const raft::NewGroup& group, const MachineOptions& machine) {
  auto made = MakeMachine(group.group, machine, *this);
  SimMachine& created = *made;
  auto& slot = process_->machines[group.group];
  if (slot != nullptr) process_->retired.push_back(std::move(slot));
  slot = std::move(made);
  return process_->host->CreateGroup(group, created, *this);
}

Status Node::DestroyGroup(GroupId group) {
  auto machine = process_->machines.find(group);
  if (machine != process_->machines.end()) {
    process_->retired.push_back(std::move(machine->second));
    process_->machines.erase(machine);
  }
  return process_->host->DestroyGroup(group, *this);
}

void Node::Boot() {
  CHECK(process_ == nullptr);
  ++boot_;
  environment_.trace.Mark(Event::kBoot, id_, boot_);
  environment_.trace.Line(id_, "boots, life ", boot_);
  process_ = std::make_unique<Process>();
  auto store = storage::MemoryStore::Open(disk_, environment_.swarm.store);
  CHECK(store.ok()) << store.status();
  process_->store = std::move(*store);
  process_->hooked = std::make_unique<HookedStore>(*this, *process_->store);
  process_->executor = std::make_unique<SimExecutor>(*this, kTurn, random_.Fork());
  process_->readers =
      std::make_unique<SimExecutor>(*this, 10 * kTurn * static_cast<Time>(disk_slowness_), random_.Fork());
  raft::HostOptions options = environment_.swarm.host;
  options.node = id_;
  options.boot = boot_;
  process_->host =
      std::make_unique<raft::RaftHost>(options, *process_->executor, *process_->readers, *process_->hooked,
                                       static_cast<raft::Transport&>(*this), random_.Fork());
  sync_scheduled_ = false;
  dies_in_effects_ = 0;
  paused_until_ = 0;
  owner_.OnBoot(*this);
  const Time first_tick = static_cast<Time>(random_.Below(static_cast<uint64_t>(environment_.swarm.tick)));
  environment_.events.After(first_tick, [this, boot = boot_] { Tick(boot); });
}

void Node::Kill(const char* why) {
  if (process_ == nullptr) return;
  dies_by_power_ = false;
  process_->dead = true;
  Bury(why);
}

void Node::PowerCut(uint32_t survive_percent, const char* why) {
  if (process_ == nullptr) return;
  dies_by_power_ = true;
  survive_percent_ = survive_percent;
  process_->dead = true;
  Bury(why);
}

void Node::DieAfter(uint64_t effects, bool power, uint32_t survive_percent) {
  dies_in_effects_ = effects;
  dies_by_power_ = power;
  survive_percent_ = survive_percent;
}

void Node::Pause(Time until) { paused_until_ = std::max(paused_until_, until); }

void Node::Calm() {
  clock_factor_ = 1;
  disk_slowness_ = 1;
  dies_in_effects_ = 0;
  paused_until_ = std::min(paused_until_, environment_.events.now());
}

void Node::Post(std::function<void()> work) {
  if (up()) process_->executor->Post(std::move(work));
}

bool Node::DiesHere(Met where) {
  if (process_->dead) return true;
  if (dies_in_effects_ == 0 || --dies_in_effects_ != 0) return false;
  environment_.coverage.Add(where);
  process_->dead = true;
  return true;
}

void Node::RunEvent(const std::function<void()>& work) {
  work();
  owner_.OnEventOver(*this, process_->submit_dropped);
  if (process_->dead) Bury("died between two effects");
}

void Node::Bury(const char* why) {
  environment_.trace.Mark(Event::kDown, id_, dies_by_power_ ? 1 : 0);
  environment_.trace.Line(id_, dies_by_power_ ? "loses power: " : "process ends: ", why);
  owner_.OnDown(*this);
  process_.reset();
  if (!dies_by_power_) environment_.network.ProcessDied(id_);
  if (dies_by_power_) {
    // At least a byte of what was written is gone, unless all of it stays.
    const size_t bytes = disk_.unsynced_bytes();
    disk_.PowerCut(survive_percent_ >= 100 ? bytes : bytes * survive_percent_ / 100);
  }
  dies_in_effects_ = 0;
}

void Node::Tick(uint64_t boot) {
  if (process_ == nullptr || boot_ != boot) return;
  const Time next =
      std::max<Time>(1, static_cast<Time>(static_cast<double>(environment_.swarm.tick) * clock_factor_));
  environment_.events.After(next, [this, boot] { Tick(boot); });
  if (paused() && !environment_.swarm.catch_up_ticks) return;
  process_->executor->Post([this] { process_->host->Tick(); });
}

void Node::Submitted() {
  if (sync_scheduled_) return;
  sync_scheduled_ = true;
  const Time gather = static_cast<Time>(random_.Below(100));
  environment_.events.After(gather, [this, boot = boot_] {
    if (process_ != nullptr && boot_ == boot) PaceDisk();
  });
}

void Node::PaceDisk() {
  if (!process_->store->BeginSync()) {
    sync_scheduled_ = false;
    return;
  }
  const Swarm& swarm = environment_.swarm;
  const Time sync =
      swarm.sync_min + static_cast<Time>(random_.Below(static_cast<uint64_t>(swarm.sync_spread) + 1));
  environment_.trace.Mark(Event::kSync, id_, disk_.unsynced_bytes());
  environment_.events.After(sync * static_cast<Time>(disk_slowness_), [this, boot = boot_] {
    if (process_ == nullptr || boot_ != boot) return;
    process_->store->CompleteSync();
    environment_.trace.Line(id_, "synced");
    if (process_->store->health().ok()) return PaceDisk();
    // The process learns that its disk is gone, and leaves; what the cache still holds is anybody's guess.
    environment_.trace.Line(id_, "storage failed: ", process_->store->health());
    const Time exit = static_cast<Time>(random_.Below(kExitAfterStorageFailureMax));
    environment_.events.After(exit, [this, boot] {
      if (boot_ == boot) PowerCut(static_cast<uint32_t>(random_.Below(3) * 50), "its storage failed");
    });
  });
}

bool Node::Deliver(raft::PeerMessage message) {
  if (!up() || process_->executor->size() > kQueuedWorkMax) return false;
  process_->executor->Post(
      [this, message = std::move(message)]() mutable { process_->host->Receive(std::move(message)); });
  return true;
}

void Node::ConnectionBroken(NodeId peer) {
  Post([this, peer] { process_->host->PeerUnreachable(peer); });
}

// --- What the process does to the world

void Node::Send(raft::Channel channel, raft::PeerMessage message) {
  if (DiesHere(Met::kCrashBeforeSend)) return;
  owner_.OnSend(*this, message);
  if (environment_.trace.text())
    environment_.trace.Line(id_, "sends to n", message.to, ": ", Describe(message));
  environment_.network.Send(channel, std::move(message));
}

void Node::OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& header) {
  if (!DiesHere(Met::kCrashBeforeAnswer)) owner_.OnProposal(*this, token, status, header);
}

void Node::OnRead(uint64_t token, const Status& status, LogIndex index) {
  if (!DiesHere(Met::kCrashBeforeAnswer)) owner_.OnRead(*this, token, status, index);
}

void Node::OnGroup(GroupId group, const Status& status) {
  if (!process_->dead) owner_.OnGroup(*this, group, status);
}

bool Node::BeforeApply(GroupId) { return !DiesHere(Met::kCrashBeforeApply); }

void Node::OnStarted(GroupId group, LogIndex applied, bool from_snapshot) {
  if (!process_->dead) owner_.OnStarted(*this, group, applied, from_snapshot);
}

void Node::OnApplied(const storage::Entry& entry, std::optional<uint64_t> state_hash) {
  if (!process_->dead) owner_.OnApplied(*this, entry, state_hash);
}

void Node::OnFault(GroupId group, const Status& reason) {
  if (!process_->dead) owner_.OnFault(*this, group, reason);
}

}  // namespace flotilla::sim
