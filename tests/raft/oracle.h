// What must hold between replicas whatever happens, over the whole history of a scenario (Raft Figure 3, and
// what follows from it). It remembers what a cluster may forget: who led which term, what was committed, who
// voted for whom. Each check answers with what is wrong, or nothing.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "raft/core/raft_core.h"
#include "tests/raft/disk.h"

namespace flotilla::raft::scenario {

struct Replica;

class Oracle {
 public:
  using Replicas = std::map<ReplicaId, Replica>;
  using Wrong = std::optional<std::string>;

  // A message leaves. One vote per replica and term, and only when the vote is durable; an accepted append is
  // durable; nobody talks to itself; a faulty replica says nothing.
  Wrong OnSend(const Replica& sender, const Message& message);
  // After every input to `replica`: one leader per term; commit within the log and never back; newly
  // committed entries are durable on a quorum and equal to what others committed.
  Wrong OnInput(const Replicas& replicas, const Replica& replica);
  // An entry is applied: the committed one.
  Wrong OnApply(const Replica& replica, const Entry& entry);
  // The replica died: what it knew only in memory may come back smaller.
  void OnCrash(const Replica& replica);
  // Between all of them: log matching, leader completeness, dense offsets. Costs by the length of the logs.
  Wrong CheckAll(const Replicas& replicas) const;

  LogIndex committed() const { return committed_.empty() ? LogIndex{0} : committed_.rbegin()->first; }
  // The payloads of all committed data entries up to `index`.
  std::vector<std::string> MachineAt(LogIndex index) const;

 private:
  struct Committed {
    Entry entry;
    Term term;  // of the replica that committed it first
  };
  struct Seen {
    Term term;
    LogIndex commit;
  };

  Wrong OnCommit(const Replicas& replicas, const Replica& replica);

  std::map<Term, ReplicaId> leaders_;
  std::map<std::pair<ReplicaId, Term>, ReplicaId> votes_;
  std::map<LogIndex, Committed> committed_;
  std::map<ReplicaId, Seen> seen_;
};

}  // namespace flotilla::raft::scenario
