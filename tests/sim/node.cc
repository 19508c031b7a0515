#include "tests/sim/node.h"

#include <glog/logging.h>

#include <algorithm>
#include <string_view>

namespace flotilla::sim {
namespace {

constexpr size_t kQueuedWorkMax = 20'000;  // what a transport would stop taking from its peers
constexpr Time kExitAfterStorageFailureMax = 500 * kMillisecond;

}  // namespace

Node::Node(NodeId id, const Environment& environment, NodeOwner& owner, Random random)
    : Computer(id, environment.events, environment.trace,
               {.sync_min = environment.swarm.sync_min, .sync_spread = environment.swarm.sync_spread}, environment.swarm.store, random),
      environment_(environment),
      owner_(owner) {
  environment_.network.Attach(id, *this);
}

Node::~Node() { Silence(); }

const SimMachine* Node::machine(GroupId group) const {
  if (!up()) return nullptr;
  auto machine = program_->machines.find(group);
  return machine == program_->machines.end() ? nullptr : machine->second.get();
}

Status Node::OpenGroup(GroupId group, const MachineOptions& machine) {
  auto made = MakeMachine(group, machine, *this);
  SimMachine& opened = *made;
  auto& slot = program_->machines[group];
  if (slot != nullptr) program_->retired.push_back(std::move(slot));
  slot = std::move(made);
  return program_->host->OpenGroup(group, opened);
}

Status Node::CreateGroup(const raft::NewGroup& group, const MachineOptions& machine) {
  auto made = MakeMachine(group.group, machine, *this);
  SimMachine& created = *made;
  auto& slot = program_->machines[group.group];
  if (slot != nullptr) program_->retired.push_back(std::move(slot));
  slot = std::move(made);
  return program_->host->CreateGroup(group, created, *this);
}

Status Node::DestroyGroup(GroupId group) {
  auto machine = program_->machines.find(group);
  if (machine != program_->machines.end()) {
    program_->retired.push_back(std::move(machine->second));
    program_->machines.erase(machine);
  }
  return program_->host->DestroyGroup(group, *this);
}

void Node::Boot() {
  BeginLife();
  program_ = std::make_unique<Program>();
  raft::HostOptions options = environment_.swarm.host;
  options.node = id();
  options.boot = life();
  program_->host = std::make_unique<raft::RaftHost>(options, executor(), readers(), hooked_store(), static_cast<raft::Transport&>(*this),
                                                    random().Fork());
  owner_.OnBoot(*this);
  const Time first_tick = static_cast<Time>(random().Below(static_cast<uint64_t>(environment_.swarm.tick)));
  environment_.events.After(first_tick, [this, life = life()] { Tick(life); });
}

void Node::Calm() {
  Computer::Calm();
  clock_factor_ = 1;
}

void Node::Tick(uint64_t life) {
  if (!IsLife(life)) return;
  const Time next = std::max<Time>(1, static_cast<Time>(static_cast<double>(environment_.swarm.tick) * clock_factor_));
  environment_.events.After(next, [this, life] { Tick(life); });
  if (paused() && !environment_.swarm.catch_up_ticks) return;
  Post([this] { program_->host->Tick(); });
}

void Node::OnDown(bool by_power) {
  owner_.OnDown(*this);
  program_.reset();
  if (!by_power) environment_.network.ProcessDied(id());
}

bool Node::DiesHere(Met where) {
  const bool lived = up();
  const bool dies = Computer::DiesHere(MetName(where));
  if (lived && dies) environment_.coverage.Add(where);
  return dies;
}

bool Node::OnSubmit(const storage::WriteTask& task) {
  if (DiesHere(Met::kCrashBeforeSubmit)) {
    program_->submit_dropped = true;
    return false;
  }
  if (store().health().ok()) owner_.OnSubmit(*this, task);
  return true;
}

// The process learns that its disk is gone, and leaves; what the cache still holds is anybody's guess.
void Node::OnStorageFailed() {
  const Time exit = static_cast<Time>(random().Below(kExitAfterStorageFailureMax));
  environment_.events.After(exit, [this, boot = life()] {
    if (life() == boot) PowerCut(static_cast<uint32_t>(random().Below(3) * 50), "its storage failed");
  });
}

bool Node::Deliver(raft::PeerMessage message) {
  if (!up() || executor().size() > kQueuedWorkMax) return false;
  Post([this, message = std::move(message)]() mutable { program_->host->Receive(std::move(message)); });
  return true;
}

void Node::ConnectionBroken(NodeId peer) {
  Post([this, peer] { program_->host->PeerUnreachable(peer); });
}

// --- What the process does to the world

void Node::Send(raft::Channel channel, raft::PeerMessage message) {
  if (DiesHere(Met::kCrashBeforeSend)) return;
  owner_.OnSend(*this, message);
  if (environment_.trace.text()) environment_.trace.Line(id(), "sends to n", message.to, ": ", Describe(message));
  environment_.network.Send(channel, std::move(message));
}

void Node::OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& header) {
  if (!DiesHere(Met::kCrashBeforeAnswer)) owner_.OnProposal(*this, token, status, header);
}

void Node::OnRead(uint64_t token, const Status& status, LogIndex index) {
  if (!DiesHere(Met::kCrashBeforeAnswer)) owner_.OnRead(*this, token, status, index);
}

void Node::OnGroup(GroupId group, const Status& status) {
  if (!dead()) owner_.OnGroup(*this, group, status);
}

bool Node::BeforeApply(GroupId) { return !DiesHere(Met::kCrashBeforeApply); }

void Node::OnStarted(GroupId group, LogIndex applied, bool from_snapshot) {
  if (!dead()) owner_.OnStarted(*this, group, applied, from_snapshot);
}

void Node::OnApplied(const storage::Entry& entry, std::optional<uint64_t> state_hash) {
  if (!dead()) owner_.OnApplied(*this, entry, state_hash);
}

void Node::OnFault(GroupId group, const Status& reason) {
  if (!dead()) owner_.OnFault(*this, group, reason);
}

}  // namespace flotilla::sim
