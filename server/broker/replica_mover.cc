#include "server/broker/replica_mover.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "flotilla/internal/v1/peer.pb.h"
#include "server/broker/limits.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kSettleReplicas = "/flotilla.internal.v1.MembershipService/SettleReplicas";

// What was refused or not answered is tried again: after half a second of 50 ms.
constexpr raft::Tick kAgainTicks = 10;
// A learner has everything when it has what the leader had one to two such times ago: 1 s.
constexpr raft::Tick kHasItWithinTicks = 20;
// A learner that got nothing for so long stands still: 5 s.
constexpr raft::Tick kStillTicks = 100;
// Whether a learner gains on its leader is looked at over this time: 30 s.
constexpr raft::Tick kStretchTicks = 600;

bool Has(const std::vector<ReplicaId>& ids, ReplicaId id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

bool Wants(const metadata::Partition& partition, ReplicaId id) { return partition.WantedOn(id.node) == id; }

std::string Nodes(const std::vector<ReplicaId>& replicas) {
  std::string text = replicas.size() == 1 ? "node " : "nodes ";
  for (size_t i = 0; i < replicas.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(replicas[i].node.value());
  return text;
}

MoveStep Wait(std::string obstacle = {}) { return {.kind = MoveStep::Kind::kWait, .obstacle = std::move(obstacle)}; }

// Why these voters cannot agree on anything; empty: they can.
std::string NoMajority(const GroupSight& group, const std::vector<ReplicaId>& voters) {
  std::vector<ReplicaId> silent;
  for (const ReplicaId& id : voters) {
    if (!group.near.contains(id)) silent.push_back(id);
  }
  if (2 * silent.size() < voters.size()) return "";
  return "the replicas on " + Nodes(silent) + " do not answer or are far behind: those that are to vote have no majority";
}

// The change, if those that vote after it can agree to it.
MoveStep ChangeOrWait(const GroupSight& group, raft::MembershipChange change) {
  std::vector<ReplicaId> voters = change.promote;
  for (const ReplicaId& id : group.configuration.voters) {
    if (!Has(change.remove, id)) voters.push_back(id);
  }
  std::string obstacle = NoMajority(group, voters);
  if (!obstacle.empty()) return Wait(std::move(obstacle));
  return {.kind = MoveStep::Kind::kChange, .change = std::move(change)};
}

// Members in other lives than the wanted ones have to go before these can come; learners that nobody wants only cost.
raft::MembershipChange InTheWay(const metadata::Partition& partition, const raft::Configuration& now) {
  raft::MembershipChange change;
  for (const ReplicaId& id : now.Replicas()) {
    const ReplicaId wanted = partition.WantedOn(id.node);
    const bool other_life = wanted.valid() && wanted != id;
    const bool idle = !wanted.valid() && Has(now.learners, id);
    if (other_life || idle) change.remove.push_back(id);
  }
  return change;
}

// Everybody wanted is a member and near: who votes is changed.
MoveStep Switch(const metadata::Partition& partition, const GroupSight& group) {
  const raft::Configuration& now = group.configuration;
  raft::MembershipChange change{.promote = now.learners};
  std::vector<ReplicaId> heirs;
  for (const ReplicaId& id : now.voters) {
    if (!Wants(partition, id)) {
      change.remove.push_back(id);
    } else if (group.near.contains(id)) {
      heirs.push_back(id);
    }
  }
  if (change.empty()) return {.kind = MoveStep::Kind::kSettle};
  if (Wants(partition, group.self)) return ChangeOrWait(group, std::move(change));
  if (!heirs.empty()) {
    std::stable_partition(heirs.begin(), heirs.end(), [&](const ReplicaId& id) { return id.node == partition.preferred_leader; });
    return {.kind = MoveStep::Kind::kHandOver, .heirs = std::move(heirs)};
  }
  if (change.promote.empty()) return Wait("no replica that is to stay answers and has everything, so that the leader cannot go");
  change.remove.clear();
  return ChangeOrWait(group, std::move(change));
}

internal::v1::SettleReplicasRequest RequestFor(GroupId group, uint64_t epoch, const raft::Configuration& configuration) {
  internal::v1::SettleReplicasRequest request;
  request.set_group(group.value());
  request.set_placement_epoch(epoch);
  for (const ReplicaId& id : configuration.voters) {
    internal::v1::SettledReplica& voter = *request.add_voters();
    voter.set_node_id(id.node.value());
    voter.set_incarnation(id.incarnation);
  }
  return request;
}

}  // namespace

MoveStep NextMoveStep(const metadata::Partition& wanted, const GroupSight& group) {
  const raft::Configuration& now = group.configuration;
  if (now.joint() || !group.committed) return Wait(NoMajority(group, now.voters));
  if (raft::MembershipChange change = InTheWay(wanted, now); !change.empty()) return ChangeOrWait(group, std::move(change));
  raft::MembershipChange newcomers;
  MoveStep learning = Wait();
  for (const ReplicaId& id : wanted.replicas) {
    if (!now.Contains(id)) {
      newcomers.add_learners.push_back(id);
    } else if (Has(now.learners, id) && !group.near.contains(id)) {
      learning.learning.push_back(id);
    }
  }
  if (!newcomers.empty()) return {.kind = MoveStep::Kind::kChange, .change = std::move(newcomers)};
  if (!learning.learning.empty()) return learning;
  return Switch(wanted, group);
}

// --- The mover

void ReplicaMover::Tick() {
  const metadata::Image& image = member_.image();
  if (image.moving.empty()) {
    rows_.clear();
    reads_done_.clear();
    return;
  }
  std::map<GroupId, Row> before = std::exchange(rows_, {});
  image.moving.ForEach([&](GroupId group, metadata::MoveCause) {
    const raft::RaftCore* core = member_.host.Find(group);
    const metadata::Partition* partition = image.FindPartition(group);
    if (core == nullptr || partition == nullptr || !core->leads_surely()) return;
    Row& row = rows_[group];
    const auto known = before.find(group);
    // A new term, a new target: what was found out before means nothing.
    if (known != before.end() && known->second.term == core->term()) row = std::move(known->second);
    if (row.epoch != partition->placement_epoch) {
      row = {.term = core->term(),
             .synced = row.synced && row.term == core->term(),
             .sync_round = row.sync_round,
             .epoch = partition->placement_epoch};
    }
  });
  Sync();
  for (auto& [group, row] : rows_) Look(group, *image.FindPartition(group), *member_.host.Find(group));
  reads_done_.clear();
}

ReplicaMover::Row* ReplicaMover::Find(GroupId group, Term term, uint64_t epoch) {
  const auto found = rows_.find(group);
  return found == rows_.end() || found->second.term != term || found->second.epoch != epoch ? nullptr : &found->second;
}

std::string ReplicaMover::Stalled(GroupId group) const {
  const auto found = rows_.find(group);
  return found == rows_.end() ? "" : found->second.stalled;
}

// One look at the metadata serves all groups whose terms began before it.
void ReplicaMover::Sync() {
  if (syncing_ || sync_at_ > member_.time.now()) return;
  bool wanted = false;
  for (auto& [group, row] : rows_) {
    if (row.synced) continue;
    if (!std::exchange(wanted, true)) ++sync_round_;
    row.sync_round = sync_round_;
  }
  if (!wanted) return;
  syncing_ = true;
  member_.board.SyncMetadata([this, round = sync_round_](const Status& status) {
    syncing_ = false;
    sync_failed_ = !status.ok();
    if (!status.ok()) {
      sync_at_ = member_.time.now() + kAgainTicks;
      return;
    }
    for (auto& [group, row] : rows_) row.synced |= row.sync_round == round;
  });
}

// Between one and two stretches of time ago, or when this began.
void ReplicaMover::NoteEnd(raft::Tick now, LogIndex end, Row* row) {
  if (row->end_seen_at == 0) row->end_before = row->end_later = end;
  if (row->end_seen_at != 0 && now < row->end_seen_at + kHasItWithinTicks) return;
  row->end_before = std::exchange(row->end_later, end);
  row->end_seen_at = now;
}

GroupSight ReplicaMover::SightOf(const raft::CoreStatus& status, LogIndex end_before) const {
  GroupSight sight{.self = status.self,
                   .configuration = status.configuration,
                   .committed = status.configuration_index <= status.commit,
                   .near = {status.self}};
  for (const raft::ReplicaStatus& replica : status.replicas) {
    const bool answers = replica.last_active + member_.election_ticks > member_.host.now();
    const bool has_it = replica.match.value() != 0 && replica.state != raft::ProgressState::kSnapshot &&
                        replica.lag <= flotilla::limits::kPromotionLagEntriesMax && (replica.voter || replica.match >= end_before);
    if (answers && has_it) sight.near.insert(replica.id);
  }
  return sight;
}

void ReplicaMover::Look(GroupId group, const metadata::Partition& partition, const raft::RaftCore& core) {
  Row& row = rows_.at(group);
  if (!row.synced) {
    row.stalled = sync_failed_ ? "the metadata has no leader that could confirm what is wanted" : "";
    return;
  }
  const raft::CoreStatus status = core.status();
  NoteEnd(member_.host.now(), status.last, &row);
  const MoveStep step = NextMoveStep(partition, SightOf(status, row.end_before));
  if (step.kind != MoveStep::Kind::kSettle) row.read.reset(), row.confirmed = false;
  Watch(status, step, &row);
  switch (step.kind) {
    case MoveStep::Kind::kWait: return;
    case MoveStep::Kind::kChange: return Change(group, &row, step);
    case MoveStep::Kind::kHandOver: return HandOver(group, &row, step);
    case MoveStep::Kind::kSettle: return Settle(group, &row, status.configuration);
  }
}

void ReplicaMover::Change(GroupId group, Row* row, const MoveStep& step) {
  if (row->again_at > member_.time.now()) return;
  row->again_at = member_.time.now() + kAgainTicks;
  const Result<LogIndex> begun = member_.host.ProposeChange(group, step.change, 0, *this);
  if (begun.ok()) row->again_at = 0;
  const raft::RaftCore* core = member_.host.Find(group);
  LOG(INFO) << "members_change group=" << group << " epoch=" << row->epoch << " status=\"" << begun.status() << "\" configuration=\""
            << (core == nullptr ? raft::Configuration{} : core->configuration()) << '"';
  row->stalled = begun.ok() ? "" : std::string(begun.status().message());
}

void ReplicaMover::HandOver(GroupId group, Row* row, const MoveStep& step) {
  if (row->again_at > member_.time.now()) return;
  std::vector<ReplicaId> heirs = step.heirs;
  std::stable_partition(heirs.begin(), heirs.end(), [this](const ReplicaId& heir) {
    const metadata::Node* node = member_.image().FindNode(heir.node);
    return node != nullptr && node->takes_leaders();
  });
  const ReplicaId heir = heirs[row->handed_over++ % heirs.size()];
  const Status begun = member_.host.TransferLeadership(group, heir);
  // It ends by itself, one way or the other; then another one is asked.
  row->again_at = member_.time.now() + member_.election_ticks;
  row->stalled = row->handed_over > heirs.size() + 1 ? "no replica that is to stay takes the leadership" : "";
  LOG(INFO) << "leader_leaves group=" << group << " to=" << heir << " status=\"" << begun << '"';
}

void ReplicaMover::Settle(GroupId group, Row* row, const raft::Configuration& configuration) {
  if (row->telling || row->again_at > member_.time.now()) return;
  if (!row->read) {
    row->read = next_read_++;
    const Status asked = member_.host.ReadIndex(group, *row->read, *this);
    if (!asked.ok()) row->read.reset(), row->again_at = member_.time.now() + kAgainTicks;
    return;
  }
  if (const auto done = reads_done_.find(*row->read); done != reads_done_.end()) {
    row->confirmed = done->second.ok();
    if (!row->confirmed) row->read.reset();
  }
  if (!row->confirmed) return;
  // Still led here in the same term, or this row would be gone.
  row->telling = true;
  const Caller self{.principal = "", .address = "", .deadline = member_.time.clock().Now() + limits::kPeerCallTimeout};
  member_.board.Begin(0, kSettleReplicas, RequestFor(group, row->epoch, configuration).SerializeAsString(), self,
                      [this, group, term = row->term, epoch = row->epoch](const Result<std::string>& answer) {
                        Told(group, term, epoch, answer.status());
                      });
}

void ReplicaMover::Told(GroupId group, Term term, uint64_t epoch, const Status& status) {
  Row* row = Find(group, term, epoch);
  if (row == nullptr) return;
  row->telling = false;
  // The image says so soon. If it does not: once more.
  row->again_at = member_.time.now() + kAgainTicks;
  row->stalled = status.ok() ? "" : "the metadata does not take it down: " + std::string(status.message());
}

// What holds it up, if anything does.
void ReplicaMover::Watch(const raft::CoreStatus& status, const MoveStep& step, Row* row) {
  if (step.kind != MoveStep::Kind::kWait) {
    row->copying.clear();
    return;
  }
  row->stalled = step.obstacle;
  std::map<ReplicaId, Copying> before = std::exchange(row->copying, {});
  const raft::Tick now = member_.host.now();
  std::vector<ReplicaId> still;
  std::vector<ReplicaId> behind;
  for (const ReplicaId& id : step.learning) {
    const auto replica = std::find_if(status.replicas.begin(), status.replicas.end(), [&](const auto& one) { return one.id == id; });
    if (replica == status.replicas.end()) continue;
    const Copying fresh{.match = replica->match, .moved_at = now, .lag = replica->lag, .measured_at = now};
    Copying& copying = row->copying.emplace(id, before.contains(id) ? before.at(id) : fresh).first->second;
    if (copying.match != replica->match) copying.match = replica->match, copying.moved_at = now;
    if (now >= copying.measured_at + kStretchTicks) {
      copying.falls_behind = replica->lag >= copying.lag;
      copying.lag = replica->lag;
      copying.measured_at = now;
    }
    if (now >= copying.moved_at + kStillTicks) {
      still.push_back(id);
    } else if (copying.falls_behind) {
      behind.push_back(id);
    }
  }
  if (!still.empty()) {
    row->stalled = "the new replica on " + Nodes(still) + " gets nothing: its node may be down, cut off, out of space, or damaged";
  } else if (!behind.empty()) {
    row->stalled = "more is written than is copied to " + Nodes(behind) + "; raise move_rate_bytes, or write less";
  }
}

void ReplicaMover::OnProposal(uint64_t /*token*/, const Status& /*status*/, const storage::EntryHeader& /*header*/) {}

// Inside of the group: looked at in the next tick.
void ReplicaMover::OnRead(uint64_t token, const Status& status, LogIndex /*index*/) { reads_done_.emplace(token, status); }

}  // namespace flotilla::broker
