#include "tests/sim/broker/moves_watch.h"

#include <algorithm>
#include <utility>

namespace flotilla::sim::broker {

using flotilla::broker::Leader;

namespace {

bool Contains(const std::vector<ReplicaId>& replicas, ReplicaId id) {
  return std::find(replicas.begin(), replicas.end(), id) != replicas.end();
}

}  // namespace

void MovesWatch::OnImage(const metadata::Shared<metadata::Image>& image) {
  if (newest_ != nullptr && newest_->version >= image->version) return;
  const metadata::Shared<metadata::Image> before = std::exchange(newest_, image);
  // Whoever goes on alone gives up the others, whatever the group says; and again, when the next one does.
  newest_->survivals.ForEach([&](GroupId group, const metadata::Shared<metadata::Survival>& survival) {
    for (const ReplicaId& lost : survival->lost) given_up_.emplace(group, lost);
  });
  newest_->moving.ForEach([&](GroupId group, metadata::MoveCause cause) {
    if (cause == metadata::MoveCause::kRebuild) rebuilt_.insert(group);
    const metadata::Partition* earlier = before == nullptr ? nullptr : before->FindPartition(group);
    if (earlier == nullptr) return;
    // What is damaged while it moves is built anew, too.
    for (const ReplicaId& wanted : newest_->FindPartition(group)->replicas) {
      const ReplicaId there = earlier->ReplicaOn(wanted.node);
      if (!there.valid() || there == wanted) continue;
      rebuilt_.insert(group);
      if (cause != metadata::MoveCause::kRebuild || earlier->movement) tally_.Add("damaged while it moved, and built anew");
    }
  });
}

void MovesWatch::OnWrite(Machine& machine, const storage::WriteTask& task) {
  const GroupId group = task.group;
  if (group == metadata::kMetadataGroup) return;
  if (task.create) {
    unseen_[machine.place()].insert(group);
    if (destroyed_.contains({group, task.create->self})) {
      verdict_.Violated("nobody comes back", "machine ", machine.place(), " makes replica ", task.create->self, " of group ", group,
                        ", which was destroyed before");
    }
  }
  const bool configures = task.snapshot || std::any_of(task.entries.begin(), task.entries.end(), [](const storage::Entry& entry) {
                            return entry.header.kind == storage::EntryKind::kConfiguration;
                          });
  if (configures) unseen_[machine.place()].insert(group);
  if (!task.destroy) return;
  const storage::GroupImage* stored = machine.disk().Find(group);
  if (stored != nullptr) CheckDestroyed(machine, group, stored->state.identity.self);
}

void MovesWatch::CheckDestroyed(Machine& machine, GroupId group, ReplicaId replica) {
  destroyed_.emplace(group, replica);
  const metadata::Partition* partition = newest_ == nullptr ? nullptr : newest_->FindPartition(group);
  if (partition == nullptr) return;  // its topic is gone
  // Another life took its place: the wanted one, or one that another move makes leave meanwhile.
  const ReplicaId there = partition->ReplicaOn(replica.node);
  if (there.valid() && there != replica) {
    tally_.Add("damaged replica destroyed");
    return;
  }
  tally_.Add("moved replica destroyed");
  if (given_up_.contains({group, replica})) return;
  const auto known = committed_.find(group);
  if (known != committed_.end() && known->second.configuration.Contains(replica)) {
    verdict_.Violated("nobody is destroyed too early", "machine ", machine.place(), " destroys replica ", replica, " of group ", group,
                      ", a member of the committed configuration at ", known->second.index, ": ", known->second.configuration);
  }
}

void MovesWatch::OnEventOver(Machine& machine) {
  const auto found = unseen_.find(machine.place());
  if (found == unseen_.end()) return;
  for (auto at = found->second.begin(); at != found->second.end();) {
    const raft::RaftCore* core = machine.broker().Replica(*at);
    if (core == nullptr || core->log().configuration_index() > core->commit()) {
      ++at;
      continue;
    }
    Note(machine, *core);
    at = found->second.erase(at);
  }
}

void MovesWatch::Note(Machine& machine, const raft::RaftCore& core) {
  const LogIndex index = core.log().configuration_index();
  const raft::Configuration& configuration = core.configuration();
  // A newcomer knows of nobody until it is told.
  if (configuration.empty()) return;
  if (!IsOfThisHistory(core)) return;
  const auto [at, added] = history_[core.group()].emplace(index, configuration);
  if (!added && !(at->second == configuration)) {
    verdict_.Violated("one history of configurations", "group ", core.group(), " has two configurations at ", index, ": ", at->second,
                      " and ", configuration, " (machine ", machine.place(), ')');
  }
  Committed& newest = committed_[core.group()];
  if (!newest.configuration.empty() && index <= newest.index) return;
  newest = {.index = index, .configuration = configuration};
  if (configuration.joint()) tally_.Add("joint configuration committed");
  CheckVoters(machine, core, configuration.voters);
  if (configuration.joint()) CheckVoters(machine, core, configuration.outgoing);
}

// A replica that goes on alone may lack the end of the group's history, and begins another one, without those that were given up.
bool MovesWatch::IsOfThisHistory(const raft::RaftCore& core) {
  const metadata::Shared<metadata::Survival>* survival = newest_ == nullptr ? nullptr : newest_->survivals.Find(core.group());
  if (survival == nullptr) return true;
  if (core.self() == (*survival)->kept || Contains((*survival)->lost, core.self())) return false;
  ReplicaId& begun_by = survivors_[core.group()];
  if (begun_by != (*survival)->next_life) {
    begun_by = (*survival)->next_life;
    history_.erase(core.group());
    committed_.erase(core.group());
    regrown_.erase(core.group());
  }
  return true;
}

void MovesWatch::CheckVoters(Machine& machine, const raft::RaftCore& core, const std::vector<ReplicaId>& voters) {
  const metadata::PartitionKey* key = newest_ == nullptr ? nullptr : newest_->groups.Find(core.group());
  if (key == nullptr) return;
  const size_t replicas = newest_->FindTopic(key->topic)->replication_factor;
  const size_t at_least = rebuilt_.contains(core.group()) && replicas > 1 ? replicas - 1 : replicas;
  // One that went on alone is, until it has got its replicas back. They find the end of the old history in what they are given first.
  const auto survivor = survivors_.find(core.group());
  const bool alone = survivor != survivors_.end() && !regrown_.contains(core.group());
  if (alone && !core.configuration().joint() && voters.size() == replicas && Contains(voters, survivor->second))
    regrown_.insert(core.group());
  if (alone || voters.size() >= at_least) return;
  verdict_.Violated("nothing below its replication", "machine ", machine.place(), " has in group ", core.group(), " committed ",
                    core.configuration(), "; its topic has ", replicas, " replicas");
}

void MovesWatch::Tell(const std::vector<std::unique_ptr<Machine>>& machines, Trace& trace) const {
  if (newest_ == nullptr) return;
  const auto list = [](const std::vector<ReplicaId>& replicas) {
    std::string text;
    for (const ReplicaId& id : replicas) text += " " + ToString(id);
    return text;
  };
  for (const auto& machine : machines) {
    const raft::RaftCore* core = machine->up() ? machine->broker().Replica(metadata::kMetadataGroup) : nullptr;
    if (core == nullptr) continue;
    trace.Story(machine->place(), "metadata: ", core->self(), ' ', raft::RoleName(core->role()), " term ", core->term(), " leader ",
                core->leader(), " commit ", core->commit(), " log ", core->log().first(), "..", core->log().last(), ": ",
                core->configuration(), ' ', core->fault());
    if (core->role() != raft::Role::kLeader) continue;
    for (const raft::ReplicaStatus& replica : core->status().replicas) {
      trace.Story(machine->place(), "  sees ", replica.id, ' ', raft::ProgressStateName(replica.state), " match ", replica.match, " next ",
                  replica.next);
    }
  }
  newest_->groups.ForEach([&](GroupId group, const metadata::PartitionKey&) {
    const metadata::Partition& partition = *newest_->FindPartition(group);
    NodeId leader;
    for (const auto& machine : machines) {
      const raft::RaftCore* core = machine->up() ? machine->broker().Replica(group) : nullptr;
      if (core != nullptr && core->leads_surely()) leader = core->self().node;
    }
    const bool known = std::all_of(machines.begin(), machines.end(),
                                   [&](const auto& machine) { return !machine->up() || machine->broker().LeaderOf(group).node == leader; });
    if (leader.value() != 0 && known && !partition.movement) return;
    trace.Story(NodeId{}, "group ", group, " epoch ", partition.placement_epoch, " wants", list(partition.replicas),
                partition.movement ? ", had" + list(partition.movement->settled) + ", leaving" + list(partition.movement->leaving) : "");
    for (const auto& machine : machines) {
      if (!machine->up()) continue;
      const Leader hint = machine->broker().LeaderOf(group);
      const raft::RaftCore* core = machine->broker().Replica(group);
      trace.Story(machine->place(), "knows of leader ", hint.node, " in term ", hint.epoch);
      if (core == nullptr) continue;
      trace.Story(machine->place(), "has ", core->self(), ' ', raft::RoleName(core->role()), " term ", core->term(), " leader ",
                  core->leader(), " commit ", core->commit(), " last ", core->log().last_id().term, '/', core->log().last(), " at ",
                  core->log().configuration_index(), ": ", core->configuration(), ' ', core->fault());
    }
  });
}

bool MovesWatch::WaitsInVain(GroupId group) const {
  const metadata::Partition* partition = newest_ == nullptr ? nullptr : newest_->FindPartition(group);
  if (partition == nullptr || !partition->movement) return false;
  const std::vector<ReplicaId> awaited = partition->NewReplicas();
  return std::any_of(awaited.begin(), awaited.end(), [this](const ReplicaId& id) { return !newest_->FindNode(id.node)->alive; });
}

void MovesWatch::CheckEnd(const std::vector<std::unique_ptr<Machine>>& machines) {
  for (const auto& machine : machines) {
    const NodeId node{machine->remembered().node_id()};
    std::map<GroupId, ReplicaId> wanted;
    newest_->ForEachReplicaOn(node, [&](GroupId group, const ReplicaId& replica) { wanted.emplace(group, replica); });
    for (const auto& [group, stored] : machine->disk().Image()) {
      if (group == metadata::kMetadataGroup) continue;
      const auto at = wanted.find(group);
      if (at == wanted.end() || at->second != stored.state.identity.self) {
        // One that never hears of its removal keeps what it has: it stops when it asks.
        if (machine->removed() || machine->down()) continue;
        verdict_.Violated("everybody has what the metadata wants", "machine ", machine->place(), " has replica ",
                          stored.state.identity.self, " of group ", group, ", which is not wanted");
      }
      if (at != wanted.end()) wanted.erase(at);
    }
    if (!machine->sound()) continue;  // damaged, and unable to make anything
    for (const auto& [group, replica] : wanted) {
      verdict_.Violated("everybody has what the metadata wants", "machine ", machine->place(), " lacks replica ", replica, " of group ",
                        group);
    }
    if (!machine->up()) continue;
    newest_->groups.ForEach([&](GroupId group, const metadata::PartitionKey&) {
      const raft::RaftCore* core = machine->broker().Replica(group);
      if (core == nullptr || core->role() != raft::Role::kLeader || WaitsInVain(group)) return;
      std::vector<ReplicaId> replicas = newest_->FindPartition(group)->replicas;
      std::sort(replicas.begin(), replicas.end());
      if (core->configuration() == raft::Configuration{.voters = replicas}) return;
      verdict_.Violated("groups are as the metadata wants", "group ", group, " has ", core->configuration(), " (machine ", machine->place(),
                        ')');
    });
  }
}

}  // namespace flotilla::sim::broker
