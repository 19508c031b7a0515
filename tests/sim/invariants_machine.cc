#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "tests/sim/command.h"
#include "tests/sim/invariants.h"

namespace flotilla::sim {
namespace {

std::optional<uint64_t> CommandIdOf(const Entry& entry) {
  if (entry.header.kind != EntryKind::kData && entry.header.kind != EntryKind::kTrim) return std::nullopt;
  const std::optional<Command> command = DecodeCommand(entry.payload.view());
  if (!command) return std::nullopt;
  return command->id;
}

class StateMachineSafety final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "state machine safety"; }
  void OnStarted(const Chronicle&, const StartedSeen& seen) override { applied_[{seen.group, seen.self, seen.boot}] = seen.applied; }
  void OnApplied(const Chronicle& chronicle, const AppliedSeen& seen) override {
    const storage::EntryHeader& header = seen.entry.header;
    LogIndex& applied = applied_[{header.group, seen.self, seen.boot}];
    if (header.index != applied + 1) {
      Violated("group ", header.group, ": replica ", seen.self, " applied ", header.index, " after ", applied);
    }
    applied = header.index;
    const Entry* committed = chronicle.CommittedAt(header.group, header.index);
    if (committed == nullptr || committed->header != header) {
      Violated("group ", header.group, ": replica ", seen.self, " applied ", header.id(), ", committed is ",
               committed == nullptr ? EntryId{} : committed->id());
    }
    if (seen.state_hash) CheckState(seen);
  }

 private:
  void CheckState(const AppliedSeen& seen) {
    const storage::EntryHeader& header = seen.entry.header;
    auto& states = states_[header.group];
    if (states.size() <= header.index.value()) states.resize(header.index.value() + 1);
    std::optional<uint64_t>& state = states[header.index.value()];
    if (!state) state = seen.state_hash;
    if (state == seen.state_hash) return;
    Violated("group ", header.group, ": the state of replica ", seen.self, " after ", header.id(), " differs from that of another replica");
  }
  std::map<std::tuple<GroupId, ReplicaId, uint64_t>, LogIndex> applied_;
  std::map<GroupId, std::vector<std::optional<uint64_t>>> states_;
};

class AcknowledgedIsApplied final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "acknowledged is applied"; }
  void OnOutcome(const Chronicle& chronicle, const OutcomeSeen& seen) override {
    if (seen.at_once) return;
    if (!seen.status.ok()) {
      const Reason reason = seen.status.reason();
      if (reason != Reason::kNotLeader && reason != Reason::kOutcomeUnknown) {
        Violated("group ", seen.group, ": a proposal ended with ", seen.status, ", which tells a client nothing");
      }
      return;
    }
    const Entry* committed = chronicle.CommittedAt(seen.group, seen.at.index);
    if (committed == nullptr || committed->id() != seen.at) {
      return Violated("group ", seen.group, ": node ", seen.node, " acknowledged ", seen.at, ", committed there is ",
                      committed == nullptr ? EntryId{} : committed->id());
    }
    for (size_t back = 0; back < seen.ids.size(); ++back) CheckCommand(chronicle, seen, back);
  }

 private:
  void CheckCommand(const Chronicle& chronicle, const OutcomeSeen& seen, size_t back) {
    const uint64_t id = seen.ids[seen.ids.size() - 1 - back];
    const Entry* entry = chronicle.CommittedAt(seen.group, seen.at.index - back);
    if (entry != nullptr && CommandIdOf(*entry) == id) return;
    Violated("group ", seen.group, ": node ", seen.node, " acknowledged command ", id, " at ", seen.at.index - back,
             ", where another entry is committed");
  }
};

class RefusedNeverAppears final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "refused never appears"; }
  void OnOutcome(const Chronicle&, const OutcomeSeen& seen) override {
    if (seen.status.ok() || seen.ids.empty()) return;
    if (seen.at_once) {
      for (uint64_t id : seen.ids) Refuse(seen, id);
    } else if (seen.status.reason() == Reason::kNotLeader) {
      Refuse(seen, seen.ids.back());  // the answer for several is by the last one
    }
  }
  void OnCommitted(const Chronicle&, const CommittedSeen& seen) override {
    const std::optional<uint64_t> id = CommandIdOf(seen.entry);
    if (!id) return;
    committed_.insert(*id);
    if (refused_.count(*id) == 0) return;
    Violated("group ", seen.entry.header.group, ": command ", *id, " was refused and is committed at ", seen.entry.id());
  }

 private:
  void Refuse(const OutcomeSeen& seen, uint64_t id) {
    refused_.insert(id);
    if (committed_.count(id) == 0) return;
    Violated("group ", seen.group, ": node ", seen.node, " refused command ", id, ", which is committed: ", seen.status);
  }
  std::set<uint64_t> refused_;
  std::set<uint64_t> committed_;
};

class AppliedOnce final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "applied once"; }
  void OnCommitted(const Chronicle&, const CommittedSeen& seen) override {
    const std::optional<uint64_t> id = CommandIdOf(seen.entry);
    if (!id) return;
    auto [where, first] = where_.try_emplace(*id, seen.entry.id());
    if (first) return;
    Violated("group ", seen.entry.header.group, ": command ", *id, " is committed at ", where->second, " and at ", seen.entry.id());
  }

 private:
  std::map<uint64_t, EntryId> where_;
};

class LinearizableReads final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "linearizable reads"; }
  void OnRead(const Chronicle&, const ReadSeen& seen) override {
    if (seen.index < seen.floor) {
      Violated("group ", seen.group, ": a read on node ", seen.node, " was served at ", seen.index, " although ", seen.floor,
               " was committed when it began");
    }
    if (seen.applied < seen.index) {
      Violated("group ", seen.group, ": a read on node ", seen.node, " was released at ", seen.index, " with only ", seen.applied,
               " applied");
    }
  }
};

class BoundedMemory final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "bounded memory"; }
  void OnAmount(const Chronicle&, const AmountSeen& seen) override {
    if (seen.value <= seen.limit) return;
    Violated("group ", seen.group, ": ", seen.what, " of replica ", seen.self, " is ", seen.value, ", the limit is ", seen.limit);
  }
};

class DamageIsNeverServed final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "damage is never served"; }
  void OnSent(const Chronicle&, const raft::Message& message) override {
    const auto* append = std::get_if<raft::AppendRequest>(&message.body);
    if (append == nullptr) return;
    for (const Entry& entry : append->entries) Check(message.from, "sent", entry);
  }
  void OnApplied(const Chronicle&, const AppliedSeen& seen) override { Check(seen.self, "applied", seen.entry); }

 private:
  void Check(ReplicaId replica, const char* did, const Entry& entry) {
    const Status sound = storage::VerifyEntry(entry);
    if (sound.ok()) return;
    Violated("group ", entry.header.group, ": replica ", replica, " ", did, " damaged entry ", entry.id(), ": ", sound);
  }
};

class HonestFaults final : public Invariant {
 public:
  using Invariant::Invariant;
  const char* name() const override { return "honest faults"; }
  void OnFault(const Chronicle&, const FaultSeen& seen) override {
    if (seen.excused) return;
    Violated("group ", seen.group, ": replica ", seen.self, " gave up although nothing was done to it: ", seen.reason);
  }
};

}  // namespace

Invariants MachineInvariants(Verdict& verdict) {
  Invariants all;
  all.push_back(std::make_unique<StateMachineSafety>(verdict));
  all.push_back(std::make_unique<AcknowledgedIsApplied>(verdict));
  all.push_back(std::make_unique<RefusedNeverAppears>(verdict));
  all.push_back(std::make_unique<AppliedOnce>(verdict));
  all.push_back(std::make_unique<LinearizableReads>(verdict));
  all.push_back(std::make_unique<BoundedMemory>(verdict));
  all.push_back(std::make_unique<DamageIsNeverServed>(verdict));
  all.push_back(std::make_unique<HonestFaults>(verdict));
  return all;
}

}  // namespace flotilla::sim
