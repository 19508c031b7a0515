// What clients ask of the nodes, and what they are told.
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "tests/sim/world.h"

namespace flotilla::sim {
namespace {

std::vector<uint64_t> IdsOf(const std::vector<Command>& commands) {
  std::vector<uint64_t> ids;
  for (const Command& command : commands) ids.push_back(command.id);
  return ids;
}

}  // namespace

uint64_t World::UncommittedBytes(Node& node, GroupId group) const {
  const raft::RaftCore* core = node.host().Find(group);
  return core == nullptr ? 0 : core->status().uncommitted_bytes;
}

uint64_t World::Propose(GroupId group, NodeId id, std::vector<Command> commands, EntryKind kind, size_t padding) {
  const uint64_t token = ++last_token_;
  Node& at = node(id);
  calls_[token] = {.kind = Call::Kind::kPropose, .group = group, .node = id, .ids = IdsOf(commands), .change = {}, .floor = {}};
  if (!at.up()) {
    End(token, Status(Reason::kOutcomeUnknown, "the node is down"));
    return token;
  }
  trace_.Mark(Event::kPropose, id, group.value(), token);
  at.Post([this, &at, group, commands = std::move(commands), kind, padding, token] {
    std::vector<raft::Proposal> proposals;
    const int64_t timestamp = now() / kMillisecond;
    for (const Command& command : commands) {
      const bool data = kind == EntryKind::kData;
      proposals.push_back({.kind = kind,
                           .record_count = data ? static_cast<uint32_t>(1 + command.id % 3) : 0,
                           .min_timestamp_ms = data ? timestamp : kNoTimestamp,
                           .max_timestamp_ms = data ? timestamp : kNoTimestamp,
                           .payload = EncodeCommand(command, padding)});
    }
    const uint64_t waiting = UncommittedBytes(at, group);
    const Result<LogIndex> first = at.host().Propose(group, proposals, token, at);
    // What a new leader finds uncommitted may be more; what it takes on top may not.
    if (first.ok() && at.up() && waiting != 0) {
      const raft::RaftCore* core = at.host().Find(group);
      chronicle_.Amount(
          {group, core->self(), "uncommitted bytes after a proposal", UncommittedBytes(at, group), swarm_.host.core.uncommitted_bytes_max});
    }
    trace_.Story(at.id(), "client proposes ", commands.size(), " to group ", group, ", command ", commands.back().id, ": ",
                 first.ok() ? Status() : first.status());
    if (first.ok() || !at.up()) return;
    coverage_.Add(first.status().reason() == Reason::kOverloaded ? Met::kProposalOverloaded : Met::kProposalRefused);
    chronicle_.Outcome({group, at.id(), IdsOf(commands), first.status(), true, {}});
    End(token, first.status());
  });
  return token;
}

uint64_t World::ProposeChange(GroupId group, NodeId id, raft::MembershipChange change) {
  const uint64_t token = ++last_token_;
  Node& at = node(id);
  calls_[token] = {.kind = Call::Kind::kChange, .group = group, .node = id, .ids = {}, .change = change, .floor = {}};
  if (!at.up()) {
    End(token, Status(Reason::kOutcomeUnknown, "the node is down"));
    return token;
  }
  trace_.Mark(Event::kOperate, id, group.value(), token);
  at.Post([this, &at, group, change = std::move(change), token] {
    // Since the change was thought of, more may have been lost.
    const raft::RaftCore* core = at.host().Find(group);
    if (core != nullptr) {
      const Result<Configuration> next = core->configuration().Change(change);
      if (next.ok() && !Survives(group, *next)) return End(token, Status(Reason::kIllegalConfiguration, "would lose data"));
    }
    const Result<LogIndex> index = at.host().ProposeChange(group, change, token, at);
    if (trace_.text()) {
      std::ostringstream what;
      for (const ReplicaId& replica : change.add_learners) what << " add " << replica;
      for (const ReplicaId& replica : change.promote) what << " promote " << replica;
      for (const ReplicaId& replica : change.demote) what << " demote " << replica;
      for (const ReplicaId& replica : change.remove) what << " remove " << replica;
      trace_.Story(at.id(), "operator asks group ", group, " for", what.str(), ": ", index.ok() ? Status() : index.status());
    }
    if (index.ok() || !at.up()) return;
    coverage_.Add(Met::kChangeRefused);
    End(token, index.status());
  });
  return token;
}

uint64_t World::Read(GroupId group, NodeId id) {
  const uint64_t token = ++last_token_;
  Node& at = node(id);
  calls_[token] = {.kind = Call::Kind::kRead, .group = group, .node = id, .ids = {}, .change = {}, .floor = {}};
  if (!at.up()) {
    End(token, Status(Reason::kOutcomeUnknown, "the node is down"));
    return token;
  }
  at.Post([this, &at, group, token] {
    Call& call = calls_.at(token);
    call.floor = chronicle_.CommittedEnd(group);
    const raft::RaftCore* core = at.host().Find(group);
    call.on_leader = core != nullptr && core->role() == raft::Role::kLeader;
    trace_.Mark(Event::kRead, at.id(), group.value(), token);
    const Status status = at.host().ReadIndex(group, token, at);
    trace_.Story(at.id(), "client reads group ", group, ", call ", token, ", committed is ", call.floor, ": ", status);
    if (status.ok() || !at.up()) return;
    coverage_.Add(Met::kReadFailed);
    End(token, status);
  });
  return token;
}

void World::Transfer(GroupId group, NodeId id, ReplicaId target) {
  Node& at = node(id);
  at.Post([this, &at, group, target] {
    const Status status = at.host().TransferLeadership(group, target);
    trace_.Story(at.id(), "operator hands group ", group, " to ", target, ": ", status);
    if (status.ok()) coverage_.Add(Met::kTransferBegun);
  });
}

void World::TakeSnapshot(GroupId group, NodeId id) {
  Node& at = node(id);
  at.Post([this, &at, group] {
    const Status status = at.host().TakeSnapshot(group);
    trace_.Story(at.id(), "takes a snapshot of group ", group, ": ", status);
    if (status.ok()) coverage_.Add(Met::kSnapshotTaken);
  });
}

void World::SetPriority(GroupId group, NodeId id, uint32_t priority) {
  Node& at = node(id);
  at.Post([this, &at, group, priority] {
    at.host().SetPriority(group, priority);
    trace_.Story(at.id(), "priority in group ", group, " is ", priority);
    coverage_.Add(Met::kPriorityChanged);
  });
}

void World::Campaign(GroupId group, NodeId id) {
  Node& at = node(id);
  at.Post([&at, group] { at.host().Campaign(group); });
}

std::optional<Status> World::OutcomeOf(uint64_t token) const {
  auto outcome = outcomes_.find(token);
  if (outcome == outcomes_.end()) return std::nullopt;
  return outcome->second;
}

void World::End(uint64_t token, const Status& status) {
  calls_.erase(token);
  outcomes_[token] = status;
}

// --- answers

void World::OnProposal(Node& node, uint64_t token, const Status& status, const storage::EntryHeader& header) {
  auto found = calls_.find(token);
  if (found == calls_.end() || found->second.node != node.id()) {
    return verdict_.Violated("one answer to each call", "node ", node.id(), " answered call ", token, " again: ", status);
  }
  const Call call = found->second;
  trace_.Mark(Event::kOutcome, node.id(), token, static_cast<uint64_t>(status.reason()));
  trace_.Story(node.id(), "answers call ", token, (call.ids.empty() ? "" : ", command "),
               (call.ids.empty() ? "" : std::to_string(call.ids.back())), ": ", status, status.ok() ? " at " : "",
               status.ok() ? std::to_string(header.index.value()) : "");
  chronicle_.Outcome({call.group, node.id(), call.ids, status, false, header.id()});
  if (status.ok()) {
    coverage_.Add(Met::kProposalApplied);
    if (call.kind == Call::Kind::kChange) NoteChange(call);
  } else {
    coverage_.Add(status.reason() == Reason::kNotLeader ? Met::kProposalNotLeader : Met::kProposalUnknown);
  }
  End(token, status);
}

void World::NoteChange(const Call& call) {
  const raft::MembershipChange& change = call.change;
  coverage_.Add(Met::kLearnerAdded, change.add_learners.size());
  coverage_.Add(Met::kPromoted, change.promote.size());
  coverage_.Add(Met::kDemoted, change.demote.size());
  coverage_.Add(Met::kRemoved, change.remove.size());
  const size_t all = change.add_learners.size() + change.promote.size() + change.demote.size() + change.remove.size();
  if (all > 1) coverage_.Add(Met::kSeveralAtOnce);
  for (const ReplicaId& replica : change.remove) {
    if (replica.node == call.node) coverage_.Add(Met::kLeaderRemoved);
  }
}

void World::OnRead(Node& node, uint64_t token, const Status& status, LogIndex index) {
  auto found = calls_.find(token);
  if (found == calls_.end() || found->second.node != node.id()) {
    return verdict_.Violated("one answer to each call", "node ", node.id(), " answered read ", token, " again: ", status);
  }
  const Call call = found->second;
  trace_.Mark(Event::kReadDone, node.id(), token, index.value());
  trace_.Story(node.id(), "answers read ", token, " of group ", call.group, ": ", status, " at ", index);
  if (status.ok()) {
    coverage_.Add(call.on_leader ? Met::kReadOnLeader : Met::kReadOnFollower);
    const SimMachine* machine = node.machine(call.group);
    chronicle_.Read({call.group, node.id(), call.floor, index, machine == nullptr ? LogIndex{} : machine->applied()});
  } else {
    coverage_.Add(Met::kReadFailed);
  }
  End(token, status);
}

void World::OnGroup(Node& node, GroupId group, const Status& status) {
  trace_.Line(node.id(), "group ", group, " made or deleted: ", status);
  busy_.erase({node.id(), group});
  GroupBook& book = groups_.at(group);
  ReplicaBook* wanted = ReplicaOn(group, node.id());
  const storage::GroupImage* image = node.disk().Find(group);
  if (wanted != nullptr && image != nullptr && image->state.identity.self == wanted->id) wanted->made = true;
  if (status.ok()) {
    Reconcile(node.id(), book.id);
    return;
  }
  // Refused (disk full): again, later.
  events_.After(swarm_.ElectionTime(), [this, id = node.id(), group] { Reconcile(id, group); });
}

// --- what the nodes do

void World::OnBoot(Node& node) {
  for (const auto& [id, group] : groups_) Reconcile(node.id(), id);
}

void World::OnDown(Node& node) {
  coverage_.Add(Met::kAppendRefusedDiskFull, node.store().Counters().refused_disk_full);
  std::vector<uint64_t> lost;
  for (const auto& [token, call] : calls_) {
    if (call.node == node.id()) lost.push_back(token);
  }
  for (uint64_t token : lost) {
    if (calls_.at(token).kind == Call::Kind::kPropose) coverage_.Add(Met::kProposalLostWithNode);
    End(token, Status(Reason::kOutcomeUnknown, "the node died"));
  }
  for (auto& [key, role] : roles_) {
    if (key.second.node == node.id()) role = raft::Role::kFollower;
  }
}

void World::OnSubmit(Node& node, const storage::WriteTask& task) {
  trace_.Mark(Event::kSubmit, node.id(), task.group.value(), task.entries.size());
  auto group = groups_.find(task.group);
  CHECK(group != groups_.end());
  ReplicaId self;
  if (task.create) {
    self = task.create->self;
  } else if (const ReplicaBook* replica = Running(node, task.group)) {
    self = replica->id;
  }
  if (trace_.text()) {
    std::ostringstream what;
    if (task.create) what << " create " << task.create->self;
    if (task.destroy) what << " destroy";
    if (task.snapshot) what << (task.replace_log ? " replace log by " : " start after ") << task.snapshot->anchor.last;
    if (!task.entries.empty()) what << " entries " << task.entries.front().id() << ".." << task.entries.back().id();
    if (task.hard_state) {
      what << " term " << task.hard_state->term << " vote " << task.hard_state->voted_for << " commit " << task.hard_state->commit;
    }
    if (!task.state.empty()) what << " rows " << task.state.size();
    if (!task.chunks.empty()) what << " chunks " << task.chunks.size();
    trace_.Line(node.id(), "writes group ", task.group, ":", what.str());
  }
  if (task.destroy || !self.valid()) return;
  if (task.snapshot && !task.create) coverage_.Add(task.replace_log ? Met::kSnapshotInstalled : Met::kLogTrimmed);
  const LogSeen* log = chronicle_.LogOf(task.group, self);
  if (!task.entries.empty() && log != nullptr && task.entries.front().index() <= log->last()) coverage_.Add(Met::kSuffixOverwritten);
  chronicle_.Task(self, task);
}

void World::OnSend(Node& node, const raft::PeerMessage& message) {
  if (message.from != node.id() || message.to == node.id()) {
    verdict_.Violated("messages go to others", "node ", node.id(), " sent one from ", message.from, " to ", message.to);
  }
  for (const raft::Message& part : message.messages) {
    chronicle_.Sent(part);
    auto group = groups_.find(part.group);
    if (group == groups_.end()) continue;
    auto newest = group->second.incarnations.find(part.to.node);
    if (newest != group->second.incarnations.end() && newest->second != part.to.incarnation) {
      coverage_.Add(Met::kMessageToEarlierIncarnation);
    }
  }
}

void World::OnStarted(Node& node, GroupId group, LogIndex applied, bool from_snapshot) {
  const ReplicaBook* replica = Running(node, group);
  if (replica == nullptr) return;
  trace_.Line(node.id(), "group ", group, " starts after ", applied, from_snapshot ? ", from a snapshot" : "");
  chronicle_.Started({group, replica->id, node.life(), applied});
}

void World::OnApplied(Node& node, const storage::Entry& entry, std::optional<uint64_t> state_hash) {
  const ReplicaBook* replica = Running(node, entry.header.group);
  if (replica == nullptr) return;
  trace_.Mark(Event::kApply, node.id(), entry.header.group.value(), entry.index().value());
  trace_.Line(node.id(), "group ", entry.header.group, " applies ", entry.id(), ' ', EntryKindName(entry.header.kind));
  chronicle_.Applied({replica->id, node.life(), entry, state_hash});
}

void World::OnFault(Node& node, GroupId group, const Status& reason) {
  if (ReplicaBook* replica = Running(node, group)) NoteFault(groups_.at(group), *replica, reason);
}

void World::OnEventOver(Node& node, bool submit_dropped) {
  seen_.clear();
  for (auto& [id, group] : groups_) {
    if (submit_dropped) break;
    const raft::RaftCore* core = node.host().Find(id);
    auto book = core == nullptr ? group.replicas.end() : group.replicas.find(core->self());
    if (book == group.replicas.end()) continue;
    core->CheckInvariants();
    ReplicaBook& replica = book->second;
    if (replica.configuration != core->configuration()) {
      replica.configuration = core->configuration();
      replica.previous = core->log().previous_configuration();
    }
    seen_.push_back(Look(node, *core));
    NoteRole(seen_.back());
  }
  chronicle_.EndEvent(seen_);
  for (const ReplicaSeen& seen : seen_) NoteConfiguration(seen);
  if (node.up() && events_.executed() % 64 == 0) {
    for (auto& [id, group] : groups_) CheckAmounts(node, group);
  }
}

ReplicaSeen World::Look(Node& node, const raft::RaftCore& core) {
  const raft::RaftLog& log = core.log();
  return {.group = core.group(),
          .self = core.self(),
          .boot = node.life(),
          .role = core.role(),
          .term = core.term(),
          .commit = core.commit(),
          .applied = core.applied(),
          .first = log.first(),
          .last = log.last_id(),
          .configuration_index = log.configuration_index(),
          .configuration = &core.configuration(),
          .log = &log};
}

void World::NoteRole(const ReplicaSeen& seen) {
  using raft::Role;
  Role& before = roles_[{seen.group, seen.self}];
  if (before == seen.role) return;
  trace_.Mark(Event::kRole, seen.self.node, seen.group.value(), seen.term.value(), static_cast<uint64_t>(seen.role));
  trace_.Story(seen.self.node, "group ", seen.group, ": replica ", seen.self, ' ', raft::RoleName(before), " -> ",
               raft::RoleName(seen.role), " in term ", seen.term);
  // One event may take several steps: count those that were passed through.
  Role at = before;
  if (seen.role == Role::kFollower) {
    if (at == Role::kLeader) coverage_.Add(Met::kLeaderToFollower);
    if (at == Role::kPreCandidate) coverage_.Add(Met::kPreCandidateToFollower);
    if (at == Role::kCandidate) coverage_.Add(Met::kCandidateToFollower);
  }
  if (at == Role::kFollower && seen.role != Role::kFollower) {
    coverage_.Add(Met::kFollowerToPreCandidate);
    at = Role::kPreCandidate;
  }
  if (at == Role::kPreCandidate && (seen.role == Role::kCandidate || seen.role == Role::kLeader)) {
    coverage_.Add(Met::kPreCandidateToCandidate);
    at = Role::kCandidate;
  }
  if (at == Role::kCandidate && seen.role == Role::kLeader) coverage_.Add(Met::kCandidateToLeader);
  before = seen.role;
}

void World::NoteConfiguration(const ReplicaSeen& seen) {
  const Configuration& committed = chronicle_.CommittedConfiguration(seen.group);
  auto [before, first] = committed_configurations_.try_emplace(seen.group, chronicle_.FirstConfiguration(seen.group));
  if (before->second == committed) return;
  coverage_.Add(committed.joint() ? Met::kSimpleToJoint : before->second.joint() ? Met::kJointToSimple : Met::kSimpleToSimple);
  before->second = committed;
  for (auto& [id, replica] : groups_.at(seen.group).replicas) replica.member = replica.member || committed.Contains(id);
}

void World::CheckAmounts(Node& node, const GroupBook& group) {
  const Result<raft::GroupCounters> counters = node.host().Counters(group.id);
  if (!counters.ok()) return;
  const raft::CoreStatus& core = counters->core;
  const raft::CoreOptions& options = swarm_.host.core;
  // One entry of the largest kind may cross a limit that was not reached before it.
  const uint64_t entry = storage::Entry::kEntryOverheadBytes + sizeof(Command) + swarm_.payload_max + 4096;
  const auto check = [&](const char* what, uint64_t value, uint64_t limit) {
    chronicle_.Amount({group.id, core.self, what, value, limit});
  };
  check("reads that wait for a round", core.pending_reads, options.pending_reads_max);
  for (const raft::ReplicaStatus& replica : core.replicas) {
    check("messages in flight", replica.inflight_messages, options.inflight_messages_max);
    check("bytes in flight", replica.inflight_bytes, options.inflight_bytes_max + entry);
  }
  check("bytes waiting for the disk", node.store().Counters().queue_bytes, limits::kWriteQueueBytesMax);
}

}  // namespace flotilla::sim
