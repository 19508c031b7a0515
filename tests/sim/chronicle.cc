#include "tests/sim/chronicle.h"

#include <glog/logging.h>

#include <algorithm>

namespace flotilla::sim {

std::optional<Term> LogSeen::TermAt(LogIndex index) const {
  if (index == start.index) return start.term;
  if (index < start.index || index > last()) return std::nullopt;
  return terms[index - start.index - 1];
}

// --- facts

void Chronicle::GroupCreated(GroupId group, Configuration first) {
  groups_[group].committed_configuration = first;
  groups_[group].first_configuration = std::move(first);
}

void Chronicle::Booted(const storage::GroupState& state) {
  LogSeen log;
  log.start = state.bounds.start.last;
  for (size_t run = 0; run < state.terms.size(); ++run) {
    const LogIndex end = run + 1 < state.terms.size() ? state.terms[run + 1].first : state.bounds.last_index() + 1;
    log.terms.insert(log.terms.end(), end - state.terms[run].first, state.terms[run].term);
  }
  for (const Entry& entry : state.configurations) log.configurations.push_back(entry.index());
  groups_[state.group].logs[state.identity.self] = std::move(log);
}

void Chronicle::Task(ReplicaId self, const storage::WriteTask& task) {
  Group& group = groups_[task.group];
  LogSeen& log = group.logs[self];
  if (task.snapshot) {
    const EntryId& anchor = task.snapshot->anchor.last;
    if (task.replace_log) {
      log = {anchor, {}, {}};
    } else {
      while (!log.terms.empty() && log.start.index < anchor.index) {
        log.start = {log.terms.front(), log.start.index + 1};
        log.terms.pop_front();
      }
      while (!log.configurations.empty() && log.configurations.front() <= anchor.index) log.configurations.pop_front();
    }
  }
  EntryId before;
  if (!task.entries.empty()) {
    const LogIndex first = task.entries.front().index();
    while (!log.terms.empty() && log.last() >= first) log.terms.pop_back();
    while (!log.configurations.empty() && log.configurations.back() >= first) log.configurations.pop_back();
    before = {log.TermAt(log.last()).value_or(Term{}), log.last()};
  }
  for (const Entry& entry : task.entries) {
    Remember(group, entry);
    log.terms.push_back(entry.term());
    if (entry.header.kind == EntryKind::kConfiguration) log.configurations.push_back(entry.index());
  }
  const TaskSeen seen{self, task, before};
  Tell([&](Invariant& invariant) { invariant.OnTask(*this, seen); });
}

void Chronicle::Remember(Group& group, const Entry& entry) {
  const size_t at = entry.index().value();
  if (group.known.size() <= at) group.known.resize(at + 1);
  for (const Entry& known : group.known[at]) {
    if (known.term() == entry.term()) return;
  }
  group.known[at].push_back(entry);
}

void Chronicle::Sent(const raft::Message& message) {
  Tell([&](Invariant& invariant) { invariant.OnSent(*this, message); });
}

void Chronicle::Amount(const AmountSeen& amount) {
  Tell([&](Invariant& invariant) { invariant.OnAmount(*this, amount); });
}

void Chronicle::Fault(const FaultSeen& fault) {
  Tell([&](Invariant& invariant) { invariant.OnFault(*this, fault); });
}

void Chronicle::EndEvent(std::span<const ReplicaSeen> seen) {
  for (const ReplicaSeen& replica : seen) ExtendCommitted(replica);
  for (const ReplicaSeen& replica : seen) {
    auto& replicas = groups_[replica.group].replicas;
    auto before = replicas.find(replica.self);
    const bool same_life = before != replicas.end() && before->second.boot == replica.boot;
    Tell([&](Invariant& i) { i.OnSeen(*this, replica, same_life ? &before->second : nullptr); });
    ReplicaSeen& kept = replicas[replica.self];
    kept = replica;
    kept.configuration = nullptr;
    kept.log = nullptr;
  }
  for (const Pending kind : pending_) {
    if (kind == Pending::kStarted) {
      Tell([&](Invariant& i) { i.OnStarted(*this, started_.front()); });
      started_.pop_front();
      continue;
    }
    const AppliedSeen& applied = applied_.front();
    // Its node may have died before it could be seen.
    Group& group = groups_[applied.entry.header.group];
    if (applied.entry.index().value() == group.committed.size() + 1) {
      Commit(group, applied.entry.id(), applied.entry.term(), nullptr);
    }
    Tell([&](Invariant& i) { i.OnApplied(*this, applied); });
    applied_.pop_front();
  }
  pending_.clear();
  for (const OutcomeSeen& outcome : outcomes_) Tell([&](Invariant& i) { i.OnOutcome(*this, outcome); });
  outcomes_.clear();
  for (const ReadSeen& read : reads_) Tell([&](Invariant& i) { i.OnRead(*this, read); });
  reads_.clear();
}

void Chronicle::ExtendCommitted(const ReplicaSeen& seen) {
  Group& group = groups_[seen.group];
  for (LogIndex index{group.committed.size() + 1}; index <= seen.commit; ++index) {
    const std::optional<Term> term = TermAt(seen, index);
    if (!term || Known(seen.group, {*term, index}) == nullptr) {
      verdict_.Violated("committed entries are known", "group ", seen.group, ": replica ", seen.self, " has commit ", seen.commit,
                        " and its log starts at ", seen.first, ", but entry ", index,
                        term ? " was never handed to a disk" : " was never seen to be committed");
      return;
    }
    const bool leads = seen.role == raft::Role::kLeader && index == seen.commit;
    Commit(group, {*term, index}, seen.term, leads ? &seen : nullptr);
  }
}

void Chronicle::Commit(Group& group, const EntryId& id, Term found_in, const ReplicaSeen* leader) {
  const auto& known = group.known[id.index.value()];
  const auto entry = std::find_if(known.begin(), known.end(), [&](const Entry& e) { return e.term() == id.term; });
  CHECK(entry != known.end()) << "entry " << id << " was never written";
  group.committed.push_back(id);
  LogIndex& last = group.found_in[found_in];
  last = std::max(last, id.index);
  const CommittedSeen seen{*entry, found_in, leader};
  Tell([&](Invariant& invariant) { invariant.OnCommitted(*this, seen); });
  if (entry->header.kind != EntryKind::kConfiguration) return;
  Result<Configuration> next = raft::DecodeConfiguration(entry->payload.view());
  if (next.ok()) group.committed_configuration = *next;
}

// --- what is known

const Chronicle::Group* Chronicle::Find(GroupId group) const {
  auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : &found->second;
}

LogIndex Chronicle::CommittedEnd(GroupId group) const {
  const Group* found = Find(group);
  return found == nullptr ? LogIndex{} : LogIndex{found->committed.size()};
}

const Entry* Chronicle::CommittedAt(GroupId group, LogIndex index) const {
  if (index.value() == 0 || index > CommittedEnd(group)) return nullptr;
  return Known(group, Find(group)->committed[index.value() - 1]);
}

LogIndex Chronicle::CommittedBefore(GroupId group, Term term) const {
  LogIndex last;
  for (const auto& [found_in, index] : Find(group)->found_in) {
    if (found_in >= term) break;
    last = std::max(last, index);
  }
  return last;
}

const Entry* Chronicle::Known(GroupId group, const EntryId& id) const {
  const Group* found = Find(group);
  if (found == nullptr || id.index.value() >= found->known.size()) return nullptr;
  for (const Entry& entry : found->known[id.index.value()]) {
    if (entry.term() == id.term) return &entry;
  }
  return nullptr;
}

std::optional<Term> Chronicle::TermAt(const ReplicaSeen& seen, LogIndex index) const {
  if (seen.log != nullptr) return seen.log->TermAt(index);
  const LogSeen* log = LogOf(seen.group, seen.self);
  return log == nullptr ? std::nullopt : log->TermAt(index);
}

const LogSeen* Chronicle::LogOf(GroupId group, ReplicaId replica) const {
  const Group* found = Find(group);
  if (found == nullptr) return nullptr;
  auto log = found->logs.find(replica);
  return log == found->logs.end() ? nullptr : &log->second;
}

const Configuration& Chronicle::FirstConfiguration(GroupId group) const {
  const Group* found = Find(group);
  CHECK(found != nullptr) << "group " << group;
  return found->first_configuration;
}

const Configuration& Chronicle::CommittedConfiguration(GroupId group) const {
  const Group* found = Find(group);
  CHECK(found != nullptr) << "group " << group;
  return found->committed_configuration;
}

}  // namespace flotilla::sim
