#include "raft/node/raft_host.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "raft/core/survivor.h"
#include "raft/node/group.h"
#include "raft/node/node_context.h"

namespace flotilla::raft {
namespace {

Status NoSuchGroup(GroupId group) {
  return Status(Reason::kGroupNotFound, "group " + std::to_string(group.value()) + " is not open on this node")
      .With("group", group.value());
}

Status GroupIsHere(GroupId group, const char* how) {
  return Status(Reason::kGroupExists, "group " + std::to_string(group.value()) + " " + how).With("group", group.value());
}

// Completions on their way from the writer's thread.
struct DeliverWritten {
  HostRef host;
  std::vector<storage::WriteDone> done;

  void operator()() {
    if (const auto port = host.lock()) (*port)->OnWritten(done);
  }
};

}  // namespace

class RaftHost::Impl final : public HostPort, public GroupDirectory {
 public:
  Impl(const HostOptions& options, Executor& executor, BlockingExecutor& readers, storage::LogStore& store, Transport& transport,
       storage::WriteSink& sink, Random random)
      : node_(options, executor, readers, store, transport, sink, *this, random) {
    CHECK(options.node != NodeId{}) << "a node has a number";
    CHECK_GT(options.core.heartbeat_ticks, 0u);
  }

  // --- groups
  Status Open(GroupId group, StateMachine& machine, bool fresh);
  Status Create(const NewGroup& group, StateMachine& machine, GroupSink& sink);
  void Close(GroupId group);
  Status Destroy(GroupId group, GroupSink& sink);
  Status GoOnAlone(GroupId id, ReplicaId next_life, GroupSink& sink);
  Group* Find(GroupId group) const {
    const auto found = groups_.find(group);
    return found == groups_.end() ? nullptr : found->second.get();
  }
  HeartbeatMember* FindMember(GroupId group) override { return Find(group); }

  // --- inputs
  void Tick();
  void Receive(PeerMessage message);
  void PeerUnreachable(NodeId node);

  // --- HostPort
  void RunPostedTurn() override {
    node_.PostedTurnBegins();
    RunTurn();
  }
  void OnRead(ReadAnswer answer) override;
  void OnWritten(const std::vector<storage::WriteDone>& done) override;

  NodeContext& node() { return node_; }
  HostCounters counters() const;

 private:
  // A group whose first task is on its way.
  struct Creating {
    uint64_t token = 0;
    StateMachine* machine = nullptr;
    GroupSink* sink = nullptr;
    bool campaign = false;
  };
  // A group that was closed with tasks on their way, or is being destroyed: its name is free when the last one is back.
  struct Leaving {
    uint64_t last_token = 0;
    GroupSink* sink = nullptr;  // null: only closed
  };

  void RunTurn();
  void ResumeFetches();
  void OnCreated(GroupId group, const Creating& creating, const Status& status);
  void ReceiveHeartbeat(NodeId from, const NodeHeartbeat& heartbeat);
  void RunGroups(const std::vector<Group*>& groups);
  void TellStorageFailure();
  std::vector<GroupId> OpenGroups() const;
  void Reap();

  // Before the groups: they leave its lists when they die.
  NodeContext node_;
  std::unordered_map<GroupId, std::unique_ptr<Group>> groups_;  // its order means nothing: see OpenGroups
  std::map<GroupId, Creating> creating_;
  std::map<GroupId, Leaving> leaving_;
  std::vector<std::unique_ptr<Group>> closed_;  // until the end of the turn: one of their callbacks may be running
  uint64_t last_opening_ = 0;
  bool heartbeats_due_ = false;
  bool failure_told_ = false;
};

// --- groups

Status RaftHost::Impl::Open(GroupId group, StateMachine& machine, bool fresh) {
  if (Find(group) != nullptr) return GroupIsHere(group, "is open already");
  if (creating_.contains(group)) return GroupIsHere(group, "is being created");
  if (leaving_.contains(group)) {
    return GroupIsHere(group, "was closed and writes of it are on their way; open it again when they are done");
  }
  if (!node_.storage_failure.ok()) return node_.storage_failure;
  Result<std::unique_ptr<Group>> opened = Group::Open(node_, group, ++last_opening_, machine, fresh);
  if (!opened.ok()) return opened.status();
  groups_.emplace(group, *std::move(opened));
  return {};
}

Status RaftHost::Impl::Create(const NewGroup& group, StateMachine& machine, GroupSink& sink) {
  const GroupId id = group.group;
  if (Find(id) != nullptr || node_.store.Bounds(id).ok()) return GroupIsHere(id, "exists on this node");
  if (creating_.contains(id)) return GroupIsHere(id, "is being created");
  if (leaving_.contains(id)) return GroupIsHere(id, "is being deleted; create it when that is done");
  if (groups_.size() + creating_.size() >= limits::kGroupsPerNodeMax) {
    return Status(Reason::kLimitExceeded, "this node has " + std::to_string(groups_.size()) + " groups and the limit is " +
                                              std::to_string(limits::kGroupsPerNodeMax));
  }
  storage::WriteTask task{.group = id, .token = node_.NextToken(), .create = group.identity};
  task.snapshot = storage::SnapshotMeta{.configuration = EncodeConfiguration(group.configuration)};
  const Creating creating{.token = task.token, .machine = &machine, .sink = &sink, .campaign = group.campaign};
  FLOTILLA_RETURN_IF_ERROR(node_.store.Submit(std::move(task), node_.sink));
  creating_.emplace(id, creating);
  return {};
}

void RaftHost::Impl::OnCreated(GroupId id, const Creating& creating, const Status& status) {
  Status opened = status.ok() ? Open(id, *creating.machine, true) : status;
  if (opened.ok() && creating.campaign) Find(id)->Campaign();
  creating.sink->OnGroup(id, opened);
}

void RaftHost::Impl::Close(GroupId id) {
  if (const auto creating = creating_.find(id); creating != creating_.end()) {
    leaving_.emplace(id, Leaving{.last_token = creating->second.token});
    creating_.erase(creating);
    return;
  }
  const auto found = groups_.find(id);
  if (found == groups_.end()) return;
  std::unique_ptr<Group> group = std::move(found->second);
  groups_.erase(found);
  const uint64_t last_token = group->LastToken();
  if (last_token != 0) leaving_.emplace(id, Leaving{.last_token = last_token});
  Group& leaving = *group;
  closed_.push_back(std::move(group));
  leaving.Close();
  node_.ScheduleTurn();
}

Status RaftHost::Impl::Destroy(GroupId id, GroupSink& sink) {
  if (creating_.contains(id)) return GroupIsHere(id, "is being created; destroy it when that is done");
  const auto leaving = leaving_.find(id);
  if (leaving != leaving_.end() && leaving->second.sink != nullptr) return NoSuchGroup(id);
  if (Find(id) == nullptr && !node_.store.Bounds(id).ok()) return NoSuchGroup(id);
  storage::WriteTask task{.group = id, .token = node_.NextToken(), .destroy = true};
  const uint64_t token = task.token;
  FLOTILLA_RETURN_IF_ERROR(node_.store.Submit(std::move(task), node_.sink));
  Close(id);
  leaving_[id] = {.last_token = token, .sink = &sink};
  return {};
}

Status RaftHost::Impl::GoOnAlone(GroupId id, ReplicaId next_life, GroupSink& sink) {
  if (creating_.contains(id)) return GroupIsHere(id, "is being created; it has nothing to go on with");
  // What is on its way to the disk belongs to what it has.
  Close(id);
  if (leaving_.contains(id)) return GroupIsHere(id, "was closed and writes of it are on their way; let it go on alone when they are done");
  const Result<storage::GroupState> state = node_.store.Load(id);
  if (!state.ok()) return state.status();
  const ReplicaId self = state->identity.self;
  if (next_life.node != self.node || next_life.incarnation <= self.incarnation) {
    return Status(Reason::kInvalidArgument, "replica " + ToString(next_life) + " of group " + std::to_string(id.value()) +
                                                " is no later life of " + ToString(self) + ", which is here");
  }
  storage::WriteTask task = SurvivorTask(*state, next_life);
  task.token = node_.NextToken();
  const Leaving leaving{.last_token = task.token, .sink = &sink};
  LOG(WARNING) << "a replica goes on alone: group=" << id << " label=" << state->identity.label << " replica=" << self
               << " becomes=" << next_life << " last_index=" << state->bounds.last_index()
               << " end_offset=" << state->bounds.end.end_offset;
  FLOTILLA_RETURN_IF_ERROR(node_.store.Submit(std::move(task), node_.sink));
  leaving_.emplace(id, leaving);
  return {};
}

// --- inputs

void RaftHost::Impl::Tick() {
  ++node_.now;
  ++node_.counters.ticks;
  node_.wheel.AdvanceTo(node_.now, [this](Timer& timer) {
    ++node_.counters.groups_woken_by_timer;
    static_cast<Group&>(timer).OnTimer();
  });
  for (Group* group : node_.TakeBlocked()) {
    if (!group->closed()) group->RetryWrites();
  }
  ResumeFetches();
  node_.snapshots.Tick();
  heartbeats_due_ |= node_.now % node_.options.core.heartbeat_ticks == 0;
  RunTurn();
}

// Learners that had to wait for the recovery rate.
void RaftHost::Impl::ResumeFetches() {
  node_.recovery.Tick();
  if (node_.recovery.waiting() == 0) return;
  const auto find = [this](const RecoveryBudget::Waiting& waiting) {
    Group* group = Find(waiting.group);
    return group != nullptr && group->opening() == waiting.opening ? group : nullptr;
  };
  const auto free = [&find](const RecoveryBudget::Waiting& waiting) {
    const Group* group = find(waiting);
    return group == nullptr || !group->HeldBack(waiting.fetch);
  };
  for (const RecoveryBudget::Waiting& due : node_.recovery.TakeDue(free)) {
    if (Group* group = find(due)) group->ResumeFetch(due.fetch, group->HeldBack(due.fetch));
  }
}

void RaftHost::Impl::Receive(PeerMessage bundle) {
  if (bundle.to != node_.options.node) return;
  if (bundle.heartbeat) ReceiveHeartbeat(bundle.from, *bundle.heartbeat);
  if (bundle.heartbeat_reply) {
    node_.heartbeats.ReceiveReply(bundle.from, *bundle.heartbeat_reply, node_.now, *this);
    for (const HeartbeatReplyRow& row : bundle.heartbeat_reply->rows) {
      bundle.messages.push_back({row.group, row.from, row.to, row.term, HeartbeatReply{.read_round = row.read_round, .last = row.last}});
    }
  }
  for (Message& message : bundle.messages) {
    ++node_.counters.messages_received;
    if (Group* group = Find(message.group)) {
      group->Step(std::move(message));
    } else {
      ++node_.counters.messages_for_unknown_groups;
    }
  }
  for (SnapshotChunk& chunk : bundle.chunks) {
    if (Group* group = Find(chunk.group)) group->OnChunk(std::move(chunk));
  }
  for (const SnapshotChunkReply& reply : bundle.chunk_replies) {
    if (Group* group = Find(reply.group)) node_.snapshots.OnReply(*group, reply);
  }
  node_.ScheduleTurn();
}

void RaftHost::Impl::ReceiveHeartbeat(NodeId from, const NodeHeartbeat& heartbeat) {
  if (!node_.heartbeats.Receive(from, heartbeat, node_.now)) return;
  node_.outbox.ExpectReply(from);
  for (const HeartbeatRow& row : heartbeat.rows) {
    Group* group = Find(row.group);
    if (group != nullptr && !node_.heartbeats.Known(row, *group)) {
      group->Step({row.group, row.from, row.to, row.term, Heartbeat{.commit = row.commit, .read_round = row.read_round}});
    }
    node_.heartbeats.NoteRow(from, row, group);
  }
}

void RaftHost::Impl::PeerUnreachable(NodeId peer) {
  for (GroupId id : OpenGroups()) {
    Group* group = Find(id);
    const ReplicaId leader = group->core().leader();
    if (leader.node == peer && peer != node_.options.node) group->Unreachable(leader);
  }
  node_.heartbeats.ForEachLedOn(peer, [](HeartbeatMember& member, ReplicaId replica) { static_cast<Group&>(member).Unreachable(replica); });
  node_.snapshots.PeerUnreachable(peer);
}

// --- the turn

// First everything that others wait for leaves, then committed entries are applied and what comes of that leaves.
void RaftHost::Impl::RunTurn() {
  TellStorageFailure();
  std::vector<Group*> groups = node_.TakeAwake();
  RunGroups(groups);
  node_.snapshots.Pump();
  if (std::exchange(heartbeats_due_, false)) node_.heartbeats.Send(node_.now, node_.outbox);
  node_.heartbeats.Reply(node_.outbox);
  node_.outbox.Flush();

  bool applied = false;
  for (Group* group : groups) {
    if (!group->MayApply()) continue;
    group->ApplySlice();
    if (!group->closed()) group->Run();
    if (group->MayApply()) node_.Wake(*group);  // the rest in another turn
    applied = true;
  }
  if (applied) node_.outbox.Flush();
  node_.GiveBack(std::move(groups));
  Reap();
}

void RaftHost::Impl::RunGroups(const std::vector<Group*>& groups) {
  for (Group* group : groups) {
    if (!group->closed()) group->Run();
  }
}

void RaftHost::Impl::TellStorageFailure() {
  if (node_.storage_failure.ok() || std::exchange(failure_told_, true)) return;
  LOG(ERROR) << "storage failed, every group of this node stops reason=" << node_.storage_failure;
  for (GroupId id : OpenGroups()) {
    if (Group* group = Find(id)) group->Fail(node_.storage_failure);
  }
}

std::vector<GroupId> RaftHost::Impl::OpenGroups() const {
  std::vector<GroupId> ids;
  ids.reserve(groups_.size());
  for (const auto& [id, group] : groups_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

void RaftHost::Impl::Reap() {
  if (closed_.empty()) return;
  for (const auto& group : closed_) node_.Forget(*group);
  closed_.clear();
}

void RaftHost::Impl::OnRead(ReadAnswer answer) {
  if (const auto* entries = std::get_if<Result<std::vector<storage::Entry>>>(&answer.content)) {
    const auto& wanted = std::get<EntriesWanted>(answer.job.wanted);
    if (wanted.charged) node_.recovery.Settle(wanted.bytes_max, entries->ok() ? BytesOf(**entries) : 0);
  }
  Group* group = Find(answer.job.group);
  if (group == nullptr || group->opening() != answer.job.opening) return;
  if (auto* entries = std::get_if<Result<std::vector<storage::Entry>>>(&answer.content)) {
    group->OnRead(std::get<EntriesWanted>(answer.job.wanted), std::move(*entries));
  } else {
    const auto& wanted = std::get<ChunkWanted>(answer.job.wanted);
    node_.snapshots.OnChunkRead(*group, wanted.transfer, wanted.number, std::get<Result<Bytes>>(std::move(answer.content)));
  }
}

void RaftHost::Impl::OnWritten(const std::vector<storage::WriteDone>& done) {
  for (const storage::WriteDone& one : done) {
    if (one.status.reason() == Reason::kStorageFailed) node_.StorageFailed(one.status);
    if (const auto creating = creating_.find(one.group); creating != creating_.end() && creating->second.token == one.token) {
      const Creating made = creating->second;
      creating_.erase(creating);
      OnCreated(one.group, made, one.status);
    } else if (const auto leaving = leaving_.find(one.group); leaving != leaving_.end()) {
      if (leaving->second.last_token != one.token) continue;
      GroupSink* sink = leaving->second.sink;
      leaving_.erase(leaving);
      if (sink != nullptr) sink->OnGroup(one.group, one.status);
    } else if (Group* group = Find(one.group)) {
      group->OnWritten(one.token, one.status);
    }
  }
}

HostCounters RaftHost::Impl::counters() const {
  HostCounters counters = node_.counters;
  counters.groups = groups_.size();
  counters.heartbeats_full = node_.heartbeats.counters().full;
  counters.heartbeats_light = node_.heartbeats.counters().light;
  counters.heartbeat_rows = node_.heartbeats.counters().rows;
  counters.messages_sent = node_.outbox.messages_sent();
  counters.recovery_bytes = node_.recovery.read_bytes();
  counters.recoveries_waiting = node_.recovery.waiting();
  return counters;
}

// --- the public door

RaftHost::RaftHost(const HostOptions& options, Executor& executor, BlockingExecutor& readers, storage::LogStore& store,
                   Transport& transport, Random random)
    : impl_(std::make_unique<Impl>(options, executor, readers, store, transport, *this, random)) {}

RaftHost::~RaftHost() = default;

Status RaftHost::OpenGroup(GroupId group, StateMachine& machine) { return impl_->Open(group, machine, false); }

Status RaftHost::CreateGroup(const NewGroup& group, StateMachine& machine, GroupSink& sink) { return impl_->Create(group, machine, sink); }

void RaftHost::CloseGroup(GroupId group) { impl_->Close(group); }

Status RaftHost::GoOnAlone(GroupId group, ReplicaId next_life, GroupSink& sink) { return impl_->GoOnAlone(group, next_life, sink); }

Status RaftHost::DestroyGroup(GroupId group, GroupSink& sink) { return impl_->Destroy(group, sink); }

void RaftHost::Tick() { impl_->Tick(); }

void RaftHost::Receive(PeerMessage message) { impl_->Receive(std::move(message)); }

void RaftHost::PeerUnreachable(NodeId node) { impl_->PeerUnreachable(node); }

Result<LogIndex> RaftHost::Propose(GroupId group, std::span<const Proposal> proposals, uint64_t token, ProposalSink& sink) {
  Group* found = impl_->Find(group);
  if (found == nullptr) return NoSuchGroup(group);
  return found->Propose(proposals, token, sink);
}

Result<LogIndex> RaftHost::ProposeChange(GroupId group, const MembershipChange& change, uint64_t token, ProposalSink& sink) {
  Group* found = impl_->Find(group);
  if (found == nullptr) return NoSuchGroup(group);
  return found->ProposeChange(change, token, sink);
}

Status RaftHost::ReadIndex(GroupId group, uint64_t token, ReadSink& sink) {
  Group* found = impl_->Find(group);
  if (found == nullptr) return NoSuchGroup(group);
  return found->ReadIndex(token, sink);
}

Status RaftHost::TransferLeadership(GroupId group, ReplicaId target) {
  Group* found = impl_->Find(group);
  if (found == nullptr) return NoSuchGroup(group);
  return found->TransferLeadership(target);
}

void RaftHost::Campaign(GroupId group) {
  if (Group* found = impl_->Find(group)) found->Campaign();
}

void RaftHost::SetPriority(GroupId group, uint32_t priority) {
  if (Group* found = impl_->Find(group)) found->SetPriority(priority);
}

void RaftHost::SetRecoveryRate(uint64_t bytes_per_tick) { impl_->node().recovery.SetRate(bytes_per_tick); }

void RaftHost::FailGroup(GroupId group, Status reason) {
  if (Group* found = impl_->Find(group)) found->Fail(std::move(reason));
}

Status RaftHost::TakeSnapshot(GroupId group) {
  Group* found = impl_->Find(group);
  if (found == nullptr) return NoSuchGroup(group);
  return found->TakeSnapshot();
}

const RaftCore* RaftHost::Find(GroupId group) const {
  const Group* found = impl_->Find(group);
  return found == nullptr ? nullptr : &found->core();
}

Result<GroupCounters> RaftHost::Counters(GroupId group) const {
  const Group* found = impl_->Find(group);
  if (found == nullptr) return NoSuchGroup(group);
  return found->counters();
}

HostCounters RaftHost::counters() const { return impl_->counters(); }

flotilla::raft::Tick RaftHost::now() const { return impl_->node().now; }

void RaftHost::OnWritten(std::span<const storage::WriteDone> done) {
  impl_->node().executor.Post(DeliverWritten{impl_->node().ref(), {done.begin(), done.end()}});
}

}  // namespace flotilla::raft
