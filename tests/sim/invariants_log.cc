#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "raft/core/quorum.h"
#include "tests/sim/invariants.h"
#include "tests/sim/trace.h"

namespace flotilla::sim {
namespace {

using raft::Role;

class LogMatching final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "log matching"; }
  void OnTask(const Chronicle&, const TaskSeen& seen) override {
    EntryId before = seen.before;
    for (const Entry& entry : seen.task.entries) {
      const uint64_t prefix = ChainOf(seen.task.group, before);
      const uint64_t chain = Mix(Mix(prefix, entry.term().value()), entry.header.checksum);
      Check(seen, entry, chain);
      before = entry.id();
    }
  }

 private:
  struct Chain {
    Term term;
    uint64_t hash;
  };
  uint64_t ChainOf(GroupId group, const EntryId& id) {
    const auto& known = chains_[group];
    if (id.index.value() == 0 || id.index.value() >= known.size()) return 0;
    for (const Chain& chain : known[id.index.value()]) {
      if (chain.term == id.term) return chain.hash;
    }
    return 0;
  }
  void Check(const TaskSeen& seen, const Entry& entry, uint64_t hash) {
    auto& known = chains_[seen.task.group];
    if (known.size() <= entry.index().value()) known.resize(entry.index().value() + 1);
    for (const Chain& chain : known[entry.index().value()]) {
      if (chain.term != entry.term()) continue;
      if (chain.hash != hash) {
        Violated("group ", seen.task.group, ": the log of replica ", seen.self, " up to ", entry.id(),
                 " differs from that of another replica that has ", entry.id());
      }
      return;
    }
    known[entry.index().value()].push_back({entry.term(), hash});
  }
  // By index, the hash of the log up to there for each term seen.
  std::map<GroupId, std::vector<std::vector<Chain>>> chains_;
};

class LeaderCompleteness final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "leader completeness"; }
  void OnSeen(const Chronicle& chronicle, const ReplicaSeen& now, const ReplicaSeen* before) override {
    if (now.role != Role::kLeader) return;
    if (before != nullptr && before->role == Role::kLeader && before->term == now.term) return;
    const LogIndex committed = chronicle.CommittedBefore(now.group, now.term);
    if (committed.value() == 0 || committed + 1 < now.first) return;
    const EntryId id = chronicle.CommittedAt(now.group, committed)->id();
    if (chronicle.TermAt(now, committed) == id.term) return;
    Violated("group ", now.group, ": replica ", now.self, " leads term ", now.term, " without ", id, ", which was committed before");
  }
};

class CommittedNeverChanges final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "committed never changes"; }
  void OnSeen(const Chronicle& chronicle, const ReplicaSeen& now, const ReplicaSeen*) override {
    Check(chronicle, now, now.first - 1);
    Check(chronicle, now, now.commit);
  }

 private:
  void Check(const Chronicle& chronicle, const ReplicaSeen& now, LogIndex index) {
    const std::optional<Term> term = chronicle.TermAt(now, index);
    const Entry* committed = chronicle.CommittedAt(now.group, index);
    if (!term || committed == nullptr || committed->term() == *term) return;
    Violated("group ", now.group, ": replica ", now.self, " holds ", EntryId{*term, index}, " as committed, others ", committed->id());
  }
};

class CommitIsDurable final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "commit is durable"; }
  void OnCommitted(const Chronicle& chronicle, const CommittedSeen& seen) override {
    if (seen.leader == nullptr) return;
    const ReplicaSeen& leader = *seen.leader;
    const EntryId id = seen.entry.id();
    if (id.term != leader.term) {
      Violated("group ", leader.group, ": replica ", leader.self, " counted replicas for ", id, " of an earlier term than its ",
               leader.term, " (Figure 8)");
    }
    const auto holds = [&](ReplicaId replica) { return chronicle.durable().Holds(leader.group, replica, id); };
    if (raft::IsQuorum(*leader.configuration, holds)) return;
    Violated("group ", leader.group, ": replica ", leader.self, " committed ", id, ", which no quorum of ", *leader.configuration,
             " has on its disks");
  }
};

class OffsetsAreDense final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "offsets are dense"; }
  void OnCommitted(const Chronicle&, const CommittedSeen& seen) override {
    const storage::EntryHeader& header = seen.entry.header;
    Offset& end = ends_[header.group];
    if (header.base_offset != end) {
      Violated("group ", header.group, ": entry ", header.id(), " begins at offset ", header.base_offset, ", the one before ends at ", end);
    }
    if (header.kind != EntryKind::kData && header.record_count != 0) {
      Violated("group ", header.group, ": entry ", header.id(), " of kind ", EntryKindName(header.kind), " takes offsets");
    }
    end = header.end_offset();
  }

 private:
  std::map<GroupId, Offset> ends_;
};

class ConfigurationRules final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "configuration rules"; }
  void OnSeen(const Chronicle& chronicle, const ReplicaSeen& now, const ReplicaSeen* before) override {
    const LogSeen* log = chronicle.LogOf(now.group, now.self);
    if (log == nullptr) return;
    const LogIndex committed = chronicle.CommittedEnd(now.group);
    const auto pending =
        std::count_if(log->configurations.begin(), log->configurations.end(), [&](LogIndex index) { return index > committed; });
    if (pending > 1) {
      Violated("group ", now.group, ": the log of replica ", now.self, " has ", pending, " changes of members that are not committed");
    }
    // What is not handed to the disk yet cannot be compared.
    if (log->last() != now.last.index || log->TermAt(now.last.index) != now.last.term) return;
    const LogIndex last = log->configurations.empty() ? LogIndex{} : log->configurations.back();
    if (last > now.configuration_index || (last < now.configuration_index && now.configuration_index > log->start.index)) {
      Violated("group ", now.group, ": replica ", now.self, " follows the configuration at ", now.configuration_index,
               ", the last in its log is at ", last);
    }
    if (before != nullptr && before->configuration_index == now.configuration_index) return;
    CheckContent(chronicle, now, *log);
  }
  void OnCommitted(const Chronicle& chronicle, const CommittedSeen& seen) override {
    if (seen.entry.header.kind != EntryKind::kConfiguration) return;
    const GroupId group = seen.entry.header.group;
    Result<Configuration> next = raft::DecodeConfiguration(seen.entry.payload.view());
    if (!next.ok()) return Violated("group ", group, ": committed configuration ", seen.entry.id(), ": ", next.status());
    auto [before, first] = committed_.try_emplace(group);
    if (first) before->second = chronicle.FirstConfiguration(group);
    if (!Follows(before->second, *next)) {
      Violated("group ", group, ": configuration ", seen.entry.id(), " (", *next, ") cannot follow (", before->second, ")");
    }
    before->second = *next;
  }

 private:
  static bool Follows(const Configuration& before, const Configuration& next) {
    if (before.joint()) return next == before.Leave();
    if (next.joint()) return next.outgoing == before.voters;
    return next.voters == before.voters;
  }
  void CheckContent(const Chronicle& chronicle, const ReplicaSeen& now, const LogSeen& log) {
    if (now.configuration == nullptr || log.configurations.empty()) return;
    const LogIndex index = log.configurations.back();
    const Entry* entry = chronicle.Known(now.group, {*log.TermAt(index), index});
    if (entry == nullptr) return;
    Result<Configuration> written = raft::DecodeConfiguration(entry->payload.view());
    if (written.ok() && *written == *now.configuration) return;
    Violated("group ", now.group, ": replica ", now.self, " follows ", *now.configuration, ", its log says otherwise at ", entry->id());
  }
  std::map<GroupId, Configuration> committed_;
};

}  // namespace

Invariants LogInvariants(Verdict& verdict) {
  Invariants all;
  all.push_back(std::make_unique<LogMatching>(verdict));
  all.push_back(std::make_unique<LeaderCompleteness>(verdict));
  all.push_back(std::make_unique<CommittedNeverChanges>(verdict));
  all.push_back(std::make_unique<CommitIsDurable>(verdict));
  all.push_back(std::make_unique<OffsetsAreDense>(verdict));
  all.push_back(std::make_unique<ConfigurationRules>(verdict));
  return all;
}

}  // namespace flotilla::sim
