// What is known of every replica of every group over the whole run, from the outside: what it wrote, sent,
// committed, applied and answered. The invariants are told each fact in turn and may look up what is known so
// far.
//
//   Chronicle chronicle(durable, verdict);
//   chronicle.Watch(MakeInvariants(...));
//   chronicle.Task(...); chronicle.Sent(...); chronicle.Applied(...);   // as they happen
//   chronicle.EndEvent(seen);                                           // after every event: how the
//   replicas look now
//
// Facts that lean on what is committed (applied, answered, read) are kept until EndEvent.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "raft/core/raft_core.h"
#include "storage/log/log_store.h"
#include "tests/sim/verdict.h"

namespace flotilla::sim {

using raft::Configuration;
using raft::EntryKind;
using storage::Entry;
using storage::EntryId;

// A replica of one group in one life of its process.
struct ReplicaSeen {
  GroupId group;
  ReplicaId self;
  uint64_t boot = 0;
  raft::Role role = raft::Role::kFollower;
  Term term;
  LogIndex commit;
  LogIndex applied;
  LogIndex first;
  EntryId last;
  LogIndex configuration_index;
  // Both live as long as the call that shows them. The log in memory may be ahead of what was handed to the
  // disk; without one (in tests) it is what was.
  const Configuration* configuration = nullptr;
  const raft::RaftLog* log = nullptr;
};
// A task was handed to the disk. `before` is the entry that the first one of the task follows.
struct TaskSeen {
  ReplicaId self;
  const storage::WriteTask& task;
  EntryId before;
};
// An entry was found to be committed for the first time. `leader` shows the replica that found it if that is
// the leader; of several at once only with the last.
struct CommittedSeen {
  const Entry& entry;
  Term found_in;
  const ReplicaSeen* leader = nullptr;
};
struct AppliedSeen {
  ReplicaId self;
  uint64_t boot = 0;
  Entry entry;
  std::optional<uint64_t> state_hash;  // nothing: the state already includes later entries
};
// The state machine begins after `applied`: the group opened, or a snapshot was installed.
struct StartedSeen {
  GroupId group;
  ReplicaId self;
  uint64_t boot = 0;
  LogIndex applied;
};
struct OutcomeSeen {
  GroupId group;
  NodeId node;
  std::vector<uint64_t> ids;  // of the commands, in the order proposed; the answer is by the last
  Status status;
  bool at_once = false;  // refused by the call itself
  EntryId at;            // OK: where the last one stands
};
struct ReadSeen {
  GroupId group;
  NodeId node;
  LogIndex floor;    // what was committed when the read began
  LogIndex index;    // what it was told to wait for
  LogIndex applied;  // what the machine that serves it has
};
struct AmountSeen {
  GroupId group;
  ReplicaId self;
  const char* what = "";
  uint64_t value = 0;
  uint64_t limit = 0;
};
struct FaultSeen {
  GroupId group;
  ReplicaId self;
  Status reason;
  bool excused = false;  // its disk was damaged on purpose
};

// What the disks hold.
class DurableView {
 public:
  virtual ~DurableView() = default;
  // Whether the replica's disk has the entry, or had it and trimmed it. Of a lost disk: whether it had when
  // it was lost.
  virtual bool Holds(GroupId group, ReplicaId replica, const EntryId& entry) const = 0;
  // The term of an entry that is on its disk now, or of the one before the first.
  virtual std::optional<Term> TermOnDisk(GroupId group, ReplicaId replica, LogIndex index) const = 0;
  virtual storage::HardState HardStateOf(GroupId group, ReplicaId replica) const = 0;
};

class Chronicle;

// A rule that holds in every run. Tells the verdict when it does not.
class Invariant {
 public:
  explicit Invariant(Verdict& verdict) : verdict_(verdict) {}
  virtual ~Invariant() = default;

  virtual const char* name() const = 0;
  // `before`: the same life of the replica, one event ago; null the first time.
  virtual void OnSeen(const Chronicle&, const ReplicaSeen& /*now*/, const ReplicaSeen* /*before*/) {}
  virtual void OnTask(const Chronicle&, const TaskSeen&) {}
  virtual void OnSent(const Chronicle&, const raft::Message&) {}
  virtual void OnCommitted(const Chronicle&, const CommittedSeen&) {}
  virtual void OnStarted(const Chronicle&, const StartedSeen&) {}
  virtual void OnApplied(const Chronicle&, const AppliedSeen&) {}
  virtual void OnOutcome(const Chronicle&, const OutcomeSeen&) {}
  virtual void OnRead(const Chronicle&, const ReadSeen&) {}
  virtual void OnAmount(const Chronicle&, const AmountSeen&) {}
  virtual void OnFault(const Chronicle&, const FaultSeen&) {}

 protected:
  template <typename... Parts>
  void Violated(const Parts&... parts) {
    verdict_.Violated(name(), parts...);
  }

 private:
  Verdict& verdict_;
};

// A replica's log as far as its tasks tell: where it starts, the term of each entry, which entries are
// configurations.
struct LogSeen {
  EntryId start;
  std::deque<Term> terms;
  std::deque<LogIndex> configurations;
  LogIndex last() const { return start.index + terms.size(); }
  // Nothing: before the start or past the end.
  std::optional<Term> TermAt(LogIndex index) const;
};

class Chronicle {
 public:
  // Both outlive it.
  Chronicle(const DurableView& durable, Verdict& verdict) : durable_(durable), verdict_(verdict) {}
  Chronicle(const Chronicle&) = delete;
  Chronicle& operator=(const Chronicle&) = delete;
  void Watch(std::vector<std::unique_ptr<Invariant>> invariants) { invariants_ = std::move(invariants); }

  // --- facts, as they happen
  void GroupCreated(GroupId group, Configuration first);
  // The replica's process found this on its disk.
  void Booted(const storage::GroupState& state);
  void Task(ReplicaId self, const storage::WriteTask& task);
  void Sent(const raft::Message& message);
  // --- facts, judged at the end of the event
  void Started(StartedSeen started) {
    started_.push_back(started);
    pending_.push_back(Pending::kStarted);
  }
  void Applied(AppliedSeen applied) {
    applied_.push_back(std::move(applied));
    pending_.push_back(Pending::kApplied);
  }
  void Outcome(OutcomeSeen outcome) { outcomes_.push_back(std::move(outcome)); }
  void Read(ReadSeen read) { reads_.push_back(read); }
  void Amount(const AmountSeen& amount);
  void Fault(const FaultSeen& fault);
  // `seen`: the replicas that the event may have changed.
  void EndEvent(std::span<const ReplicaSeen> seen);

  // --- what is known
  const DurableView& durable() const { return durable_; }
  // The last entry known to be committed by anybody.
  LogIndex CommittedEnd(GroupId group) const;
  // Null: not known to be committed.
  const Entry* CommittedAt(GroupId group, LogIndex index) const;
  // The last entry that was found committed in a term before `term`.
  LogIndex CommittedBefore(GroupId group, Term term) const;
  // Null: nobody ever wrote it.
  const Entry* Known(GroupId group, const EntryId& id) const;
  // The term of an entry of the replica's log as it is now. Nothing: before its start, or past its end.
  std::optional<Term> TermAt(const ReplicaSeen& seen, LogIndex index) const;
  // What was handed to the disk. Null: it never opened.
  const LogSeen* LogOf(GroupId group, ReplicaId replica) const;
  const Configuration& FirstConfiguration(GroupId group) const;
  // The newest one that is committed.
  const Configuration& CommittedConfiguration(GroupId group) const;

 private:
  enum class Pending : uint8_t { kStarted, kApplied };
  struct Group {
    Configuration first_configuration;
    Configuration committed_configuration;
    std::vector<std::vector<Entry>> known;  // by index: one for each term
    std::vector<EntryId> committed;         // committed[i] has index i + 1
    std::map<Term, LogIndex> found_in;      // the last entry found committed in a term
    std::map<ReplicaId, LogSeen> logs;
    std::map<ReplicaId, ReplicaSeen> replicas;
  };

  const Group* Find(GroupId group) const;
  void Remember(Group& group, const Entry& entry);
  void Commit(Group& group, const EntryId& id, Term found_in, const ReplicaSeen* leader);
  void ExtendCommitted(const ReplicaSeen& seen);
  template <typename Call>
  void Tell(Call call) {
    for (const auto& invariant : invariants_) call(*invariant);
  }

  const DurableView& durable_;
  Verdict& verdict_;
  std::vector<std::unique_ptr<Invariant>> invariants_;
  std::map<GroupId, Group> groups_;
  std::deque<StartedSeen> started_;
  std::deque<AppliedSeen> applied_;
  std::deque<Pending> pending_;  // the order of the two above
  std::vector<OutcomeSeen> outcomes_;
  std::vector<ReadSeen> reads_;
};

}  // namespace flotilla::sim
