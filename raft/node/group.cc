#include "raft/node/group.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "raft/node/store_snapshot_reader.h"

namespace flotilla::raft {
namespace {

Status DamagedRows(GroupId group, LogIndex applied, const storage::LogBounds& bounds) {
  return Status(Reason::kDataLoss, "the rows of group " + std::to_string(group.value()) + " reflect index " +
                                       std::to_string(applied.value()) + ", its log holds (" +
                                       std::to_string(bounds.start.last.index.value()) + ", " +
                                       std::to_string(bounds.last_index().value()) + "]; remove this replica and add it anew");
}

}  // namespace

Result<std::unique_ptr<Group>> Group::Open(NodeContext& node, GroupId id, uint64_t opening, StateMachine& machine, bool fresh) {
  Result<storage::GroupState> state = node.store.Load(id);
  if (!state.ok()) return state.status();
  const LogIndex anchor = state->bounds.start.last.index;
  const LogIndex applied = machine.AppliedOnOpen(*state, node.store);
  if (applied < anchor || applied > state->bounds.last_index()) return DamagedRows(id, applied, state->bounds);
  if (applied == anchor && anchor > LogIndex{0}) {
    StoreSnapshotReader reader(node.store, id, state->snapshot);
    FLOTILLA_RETURN_IF_ERROR(machine.Restore(state->snapshot, reader));
  }
  CoreOptions options = node.options.core;
  options.group = id;
  options.self = state->identity.self;
  options.heartbeat_ticks = 0;  // the node's heartbeats speak for it
  std::unique_ptr<Group> group(new Group(node, opening, machine, options, *state, applied, fresh));
  if (!group->core_.fault().ok()) return group->core_.fault();
  node.Wake(*group);
  return group;
}

Group::Group(NodeContext& node, uint64_t opening, StateMachine& machine, const CoreOptions& options, const storage::GroupState& state,
             LogIndex applied, bool fresh)
    : node_(node),
      machine_(machine),
      core_(options, state, applied, node.random.Fork(), node.now),
      opening_(opening),
      cleanup_due_(!fresh),
      applied_(applied),
      apply_target_(applied) {
  if (state.snapshot.chunks != 0) shelf().current = state.snapshot;
}

GroupCounters Group::counters() const {
  return {.core = core_.status(),
          .snapshot_sends = snapshot_sends_,
          .snapshot_chunks_sent = snapshot_chunks_sent_,
          .snapshot_chunks_received = snapshot_chunks_received_,
          .proposals_waiting = proposals_.size(),
          .reads_waiting = reads_.size()};
}

// --- inputs

// Before every input: what heartbeats said since the last one, then the time.
void Group::CatchUp() {
  node_.heartbeats.Credit(*this);
  core_.AdvanceTo(node_.now);
  node_.Wake(*this);
}

void Group::OnTimer() {
  node_.heartbeats.Credit(*this);
  proposals_.Trim();
  reads_.Trim();
  if (NextDue() > node_.now) {
    Rearm();  // the leader lives: all that most groups ever do
    return;
  }
  const bool campaigns = core_.role() == Role::kFollower && core_.NextDeadline() <= node_.now;
  if (campaigns && !node_.AdmitCampaign()) {
    node_.wheel.Schedule(*this, node_.now + 1);
    return;
  }
  CatchUp();
  if (rows_due_ <= node_.now) WriteRows();
  if (shelf_ && shelf_->staging && shelf_->staging->expires_at <= node_.now) AbandonStaging();
}

void Group::Step(Message message) {
  CatchUp();
  core_.Step(std::move(message));
}

Result<LogIndex> Group::Propose(std::span<const Proposal> proposals, uint64_t token, ProposalSink& sink) {
  CatchUp();
  Result<LogIndex> first = core_.Propose(proposals);
  if (first.ok()) {
    proposals_.Add({.index = *first + (proposals.size() - 1), .term = core_.term(), .token = token, .sink = &sink});
  }
  return first;
}

Result<LogIndex> Group::ProposeChange(const MembershipChange& change, uint64_t token, ProposalSink& sink) {
  CatchUp();
  Result<LogIndex> index = core_.ProposeChange(change);
  if (index.ok()) proposals_.Add({.index = *index, .term = core_.term(), .token = token, .sink = &sink});
  return index;
}

Status Group::ReadIndex(uint64_t token, ReadSink& sink) {
  CatchUp();
  FLOTILLA_RETURN_IF_ERROR(core_.ReadIndex(reads_.next_id()));
  reads_.Add(token, sink);
  return {};
}

Status Group::TransferLeadership(ReplicaId target) {
  CatchUp();
  return core_.TransferLeadership(target);
}

void Group::Campaign() {
  CatchUp();
  core_.Campaign();
}

void Group::SetPriority(uint32_t priority) { core_.SetPriority(priority); }

void Group::Unreachable(ReplicaId replica) {
  CatchUp();
  core_.Unreachable(replica);
}

void Group::Fail(Status reason) {
  core_.Fail(std::move(reason));
  node_.Wake(*this);
}

void Group::SnapshotSent(ReplicaId to, std::optional<LogIndex> anchor) {
  if (closed_) return;
  CatchUp();
  if (anchor) {
    core_.SnapshotSent(to, *anchor);
  } else {
    core_.SnapshotFailed(to);
  }
}

// --- the turn

void Group::Run() {
  bool again = true;
  while (again && !closed_) {
    Output out = core_.TakeOutput();
    again = CarryOut(&out);
  }
  if (closed_) return;
  if (shelf_ && shelf_->ready && !shelf_->ready_cut) CutLog();
  Rearm();
}

// True if the core was given something that it may answer at once.
bool Group::CarryOut(Output* out) {
  bool fed = false;
  if (out->state_changed) node_.heartbeats.Update(*this);
  for (Message& message : out->messages) node_.outbox.Add(std::move(message));
  for (AppendTask& task : out->append) Append(std::move(task));
  for (const LogFetch& fetch : out->fetches) fed |= Fetch(fetch);
  for (const SnapshotWanted& wanted : out->snapshots) SendSnapshot(wanted.to);
  if (out->restore) {
    restoring_ = Restoring{.token = out->restore_token, .meta = *out->restore};
    apply_target_ = applied_;
    ++apply_ticket_;  // what is being read for applying is of the past
    applying_read_ = false;
  }
  if (out->apply_to) apply_target_ = *out->apply_to;
  if (out->heartbeat_changed) node_.heartbeats.Changed(*this);
  if (out->heartbeat_now) node_.heartbeats.SendRound(*this, node_.outbox);
  for (const ReadReady& ready : out->reads) {
    if (ready.status.ok()) {
      reads_.Release(ready.id, ready.index);
    } else if (const std::optional<WaitingRead> read = reads_.Refuse(ready.id)) {
      read->sink->OnRead(read->token, ready.status, ready.index);
      if (closed_) return false;
    }
  }
  AnswerReads();
  if (!closed_ && (out->state_changed || !configuration_ever_shown_)) ShowState();
  return fed;
}

bool Group::Fetch(LogFetch fetch) {
  if (!HeldBack(fetch)) return FetchNow(fetch, false);
  if (node_.recovery.Admit(&fetch)) return FetchNow(fetch, true);
  node_.recovery.Wait({.group = id(), .opening = opening_, .fetch = fetch});
  return false;
}

bool Group::FetchNow(const LogFetch& fetch, bool charged) {
  const storage::ReadLimits limits{.bytes = fetch.bytes_max, .entries = node_.options.core.append_entries_max};
  if (auto entries = node_.store.ReadCached(id(), fetch.first, fetch.last, limits)) {
    if (charged) node_.recovery.Settle(fetch.bytes_max, BytesOf(*entries));
    core_.LogRead(fetch, *std::move(entries));
    return true;
  }
  node_.Read({.group = id(),
              .opening = opening_,
              .wanted = EntriesWanted{.purpose = EntriesWanted::Purpose::kFollower,
                                      .first = fetch.first,
                                      .last = fetch.last,
                                      .bytes_max = fetch.bytes_max,
                                      .to = fetch.to,
                                      .term = fetch.term,
                                      .charged = charged}});
  return false;
}

bool Group::HeldBack(const LogFetch& fetch) const {
  return !node_.options.recovery_exempt.contains(id()) && core_.role() == Role::kLeader && core_.term() == fetch.term &&
         !core_.configuration().IsVoter(fetch.to);
}

void Group::ResumeFetch(const LogFetch& fetch, bool charged) {
  CatchUp();
  FetchNow(fetch, charged);
}

void Group::OnRead(const EntriesWanted& wanted, Result<std::vector<storage::Entry>> entries) {
  switch (wanted.purpose) {
    case EntriesWanted::Purpose::kFollower:
      CatchUp();
      core_.LogRead({wanted.to, wanted.first, wanted.last, wanted.bytes_max, wanted.term}, std::move(entries));
      return;
    case EntriesWanted::Purpose::kApply:
      if (wanted.ticket != apply_ticket_) return;
      applying_read_ = false;
      if (!entries.ok()) return Fail(entries.status());
      CatchUp();
      return Apply(*entries);
    case EntriesWanted::Purpose::kAnchor: {
      if (!shelf_ || !shelf_->making || shelf_->making->meta.id != wanted.ticket || shelf_->making->anchored) return;
      if (!entries.ok()) return GiveUpMaking(entries.status());
      shelf_->making->meta.anchor = storage::AnchorAfter(entries->front().header);
      shelf_->making->anchored = true;
      return WriteOwnChunks();
    }
  }
}

// --- what others see

void Group::ShowState() {
  if (shelf_) node_.snapshots.Prune(*this);
  const bool leads = core_.role() == Role::kLeader;
  if (leads != leads_shown_) {
    leads_shown_ = leads;
    node_.counters.groups_led += leads ? 1 : -1;
    node_.counters.leaderships_begun += leads ? 1 : 0;
    if (leads && shelf_ && shelf_->staging && !shelf_->staging->installing) AbandonStaging();
  }
  if (!core_.fault().ok()) return ShowFault();
  const LogIndex index = core_.log().configuration_index();
  const storage::EntryId configuration{core_.log().TermAt(index).value_or(Term{0}), index};
  if (!configuration_ever_shown_ || configuration != configuration_shown_) {
    configuration_ever_shown_ = true;
    configuration_shown_ = configuration;
    machine_.OnConfiguration(core_.configuration(), index);
    if (closed_) return;
  }
  ShowLeadership();
}

// `surely` becomes true with an applied entry, not with an output, so that this is asked after each slice too.
void Group::ShowLeadership() {
  if (!core_.fault().ok()) return;
  const bool surely = core_.leads_surely() && core_.log().TermAt(applied_) == core_.term();
  StateMachine::Leadership& shown = leadership_shown_;
  if (shown.role == core_.role() && shown.term == core_.term() && shown.leader == core_.leader() && shown.surely == surely) return;
  shown = {.role = core_.role(), .term = core_.term(), .leader = core_.leader(), .surely = surely};
  const StateMachine::Leadership now = shown;
  machine_.OnLeadership(now);
}

void Group::ShowFault() {
  if (fault_shown_) return;
  fault_shown_ = true;
  const Status why = core_.fault();
  LOG(ERROR) << "replica stops taking part group=" << id() << " replica=" << core_.self() << " reason=" << why;
  apply_target_ = applied_;
  node_.snapshots.StopAll(*this);
  AnswerEverybody(Status(Reason::kOutcomeUnknown, "the replica failed before the outcome was known: " + std::string(why.message())),
                  Status(Reason::kReplicaFaulted, std::string(why.message())));
  if (!closed_) machine_.OnFault(why);
}

void Group::AnswerEverybody(const Status& proposals, const Status& reads) {
  while (auto answer = proposals_.TakeAny()) {
    answer->proposal.sink->OnProposal(answer->proposal.token, proposals, {});
  }
  while (auto read = reads_.TakeAny()) read->sink->OnRead(read->token, reads, LogIndex{0});
}

uint64_t Group::LastToken() const {
  uint64_t last = 0;
  for (const PendingWrite& write : writes_) {
    if (write.submitted) last = write.token;
  }
  return last;
}

void Group::Close() {
  closed_ = true;
  node_.wheel.Cancel(*this);
  node_.heartbeats.Remove(*this);
  node_.snapshots.StopAll(*this);
  if (leads_shown_) --node_.counters.groups_led;
  AnswerEverybody(Status(Reason::kOutcomeUnknown, "the group was closed before the outcome was known"),
                  Status(Reason::kCancelled, "the group was closed; ask another replica"));
}

// --- time

Tick Group::NextDue() const {
  Tick due = core_.NextDeadline();
  if (!rows_in_flight_) due = std::min(due, rows_due_);
  if (shelf_) due = std::min(due, shelf_->NextDue());
  return due;
}

// Deadlines mostly move away, with every message of a leader. The timer is left where it is until it fires and finds that out.
void Group::Rearm() {
  Tick next = NextDue();
  if (next == kNever) {
    if (!core_.fault().ok()) node_.wheel.Cancel(*this);
    return;
  }
  next = std::max(next, node_.now + 1);
  if (next < due()) node_.wheel.Schedule(*this, next);
}

SnapshotShelf& Group::shelf() {
  if (!shelf_) shelf_ = std::make_unique<SnapshotShelf>();
  return *shelf_;
}

}  // namespace flotilla::raft
