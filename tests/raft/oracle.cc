#include "tests/raft/oracle.h"

#include <algorithm>
#include <sstream>

#include "tests/raft/cluster.h"

namespace flotilla::raft::scenario {
namespace {

// Counted the long way, so that raft/core/quorum.h is not checked against itself.
template <typename Predicate>
bool HoldsOnMajority(const std::vector<ReplicaId>& members, Predicate holds) {
  const auto count = std::count_if(members.begin(), members.end(), holds);
  return 2 * static_cast<size_t>(count) > members.size();
}

bool DurableAt(const Oracle::Replicas& replicas, ReplicaId id, const storage::EntryId& entry) {
  auto found = replicas.find(id);
  if (found == replicas.end()) return false;
  const Disk& disk = found->second.disk;
  if (entry.index < disk.first()) return true;  // compacted: it was applied there
  return disk.Has(entry.index) && disk.At(entry.index).term() == entry.term;
}

bool SameEntry(const Entry& a, const Entry& b) {
  return a.id() == b.id() && a.header.checksum == b.header.checksum && a.header.base_offset == b.header.base_offset;
}

}  // namespace

Oracle::Wrong Oracle::OnSend(const Replica& sender, const Message& message) {
  if (message.to == sender.id) return Text(sender.id, " sends a message to itself: ", message);
  if (message.from != sender.id) return Text(sender.id, " sends in the name of ", message.from, ": ", message);
  if (!sender.core->fault().ok()) return Text(sender.id, " is faulty and sends ", message);
  const storage::GroupState& disk = sender.disk.state();
  if (const auto* vote = std::get_if<VoteReply>(&message.body); vote != nullptr && vote->granted && !vote->pre_vote) {
    if (disk.hard_state.term < message.term) return Text("the vote is not durable: ", message);
    if (disk.hard_state.term == message.term && disk.hard_state.voted_for != message.to) {
      return Text("on the disk stands a vote for ", disk.hard_state.voted_for, ": ", message);
    }
    const auto [row, fresh] = votes_.insert({{sender.id, message.term}, message.to});
    if (!fresh && row->second != message.to) {
      return Text(sender.id, " votes twice in term ", message.term, ": for ", row->second, " and for ", message.to);
    }
  }
  // One of an earlier term, overwritten since, is as if the network had kept it: it counts nowhere.
  const auto* reply = std::get_if<AppendReply>(&message.body);
  if (reply != nullptr && reply->accepted && message.term == sender.core->term()) {
    if (sender.disk.last() < reply->index) {
      return Text("acknowledged, but only ", sender.disk.last(), " is durable: ", message);
    }
  }
  return {};
}

Oracle::Wrong Oracle::OnInput(const Replicas& replicas, const Replica& replica) {
  const RaftCore& core = *replica.core;
  Seen& seen = seen_[replica.id];
  if (core.term() < seen.term) return Text("the term of ", replica.id, " goes back to ", core.term());
  if (core.commit() < seen.commit) return Text("commit of ", replica.id, " goes back to ", core.commit());
  seen.term = core.term();
  if (core.role() == Role::kLeader) {
    const auto [row, fresh] = leaders_.insert({core.term(), replica.id});
    if (!fresh && row->second != replica.id) {
      return Text("two leaders of term ", core.term(), ": ", row->second, " and ", replica.id);
    }
    const auto [vote, first] = votes_.insert({{replica.id, core.term()}, replica.id});
    if (!first && vote->second != replica.id) return Text(replica.id, " leads a term in which it voted for ", vote->second);
  }
  if (core.commit() > core.log().last()) return Text(replica.id, " commits behind the end of its log");
  if (core.commit() > seen.commit) {
    if (Wrong wrong = OnCommit(replicas, replica)) return wrong;
    seen.commit = core.commit();
  }
  return {};
}

Oracle::Wrong Oracle::OnCommit(const Replicas& replicas, const Replica& replica) {
  const RaftCore& core = *replica.core;
  const LogIndex from = std::max(seen_[replica.id].commit + 1, core.log().first());
  for (LogIndex index = from; index <= core.commit(); ++index) {
    const std::optional<Entry> entry = EntryAt(replica, index);
    if (!entry) return Text(replica.id, " committed ", index, " and cannot read it");
    const auto [row, fresh] = committed_.insert({index, Committed{*entry, core.term()}});
    if (!fresh && !SameEntry(row->second.entry, *entry)) {
      return Text(replica.id, " commits ", entry->id(), " where ", row->second.entry.id(), " was committed");
    }
    if (!fresh) continue;
    const Configuration& members = core.configuration();
    const auto durable = [&](ReplicaId id) { return DurableAt(replicas, id, entry->id()); };
    if (!HoldsOnMajority(members.voters, durable) || (members.joint() && !HoldsOnMajority(members.outgoing, durable))) {
      return Text(replica.id, " commits ", entry->id(), ", which is not durable on a quorum of ", members);
    }
  }
  return {};
}

Oracle::Wrong Oracle::OnApply(const Replica& replica, const Entry& entry) {
  auto committed = committed_.find(entry.index());
  if (committed == committed_.end()) return Text(replica.id, " applies ", entry.id(), ", which nobody committed");
  if (!SameEntry(committed->second.entry, entry)) {
    return Text(replica.id, " applies ", entry.id(), " where ", committed->second.entry.id(), " was committed");
  }
  return {};
}

void Oracle::OnCrash(const Replica& replica) { seen_.erase(replica.id); }

Oracle::Wrong Oracle::CheckAll(const Replicas& replicas) const {
  std::map<storage::EntryId, std::pair<ReplicaId, Entry>> by_id;
  for (const auto& [id, replica] : replicas) {
    if (!replica.running() || !replica.core->fault().ok()) continue;
    const RaftLog& log = replica.core->log();
    storage::LogAnchor before = log.start();
    for (LogIndex index = log.first(); index <= log.last(); ++index) {
      const std::optional<Entry> entry = EntryAt(replica, index);
      if (!entry) return Text(id, " has no entry ", index, " although its log ends at ", log.last());
      if (entry->header.base_offset != before.end_offset) return Text(id, " has a gap in its offsets at ", index);
      if (entry->term() < before.last.term) return Text(id, " has a term that goes back at ", index);
      // Equal ids have equal predecessors, by induction over the whole log.
      if (entry->term() != *log.TermAt(index)) return Text(id, " knows another term for ", index, " than the entry has");
      const auto [row, fresh] = by_id.insert({entry->id(), {id, *entry}});
      if (!fresh && !SameEntry(row->second.second, *entry)) {
        return Text(id, " and ", row->second.first, " differ in ", entry->id());
      }
      before = storage::AnchorAfter(entry->header);
    }
    for (const auto& [index, committed] : committed_) {
      const bool must_have =
          index <= replica.core->commit() || (replica.core->role() == Role::kLeader && replica.core->term() > committed.term);
      if (!must_have || index < log.first()) continue;
      if (!log.Has(committed.entry.id())) {
        return Text(id, " ", RoleName(replica.core->role()), " of term ", replica.core->term(), " lacks ", committed.entry.id(),
                    ", which was committed in term ", committed.term);
      }
    }
  }
  return {};
}

std::vector<std::string> Oracle::MachineAt(LogIndex index) const {
  std::vector<std::string> machine;
  for (const auto& [at, committed] : committed_) {
    if (at <= index && committed.entry.header.kind == EntryKind::kData) {
      machine.emplace_back(committed.entry.payload.view());
    }
  }
  return machine;
}

}  // namespace flotilla::raft::scenario
