// Rules about replicas that come and go, seen from outside: what machines write, what their replicas know to be committed, and the
// metadata.
//
//   nothing below its replication      every committed configuration has as many voters as the topic has replicas; one less while one
//                                      of them is built anew
//   nobody is destroyed too early      a replica whose data is deleted is no member of the newest committed configuration, unless
//                                      another life on the same node takes its place, or the topic is gone
//   nobody comes back                  a replica that was destroyed is never made again under the same name: it would have forgotten
//                                      its votes
//   one history of configurations      at one index of a group's log there is one committed configuration
#pragma once

#include <map>
#include <set>
#include <utility>

#include "tests/sim/broker/machine.h"

namespace flotilla::sim::broker {

class MovesWatch {
 public:
  MovesWatch(Verdict& verdict, Tally& tally) : verdict_(verdict), tally_(tally) {}

  // The machine hands a task to its disk.
  void OnWrite(Machine& machine, const storage::WriteTask& task);
  // An event of a machine is over.
  void OnEventOver(Machine& machine);
  void OnImage(const metadata::Shared<metadata::Image>& image);

  // Nothing happens any more: what is on the disks is what the metadata wants. Machines out of service have nothing.
  // The group moves to a node that is dead. It waits ten minutes for it before it goes elsewhere, longer than a run, and so does whatever
  // waits for the move.
  bool WaitsInVain(GroupId group) const;
  void CheckEnd(const std::vector<std::unique_ptr<Machine>>& machines);
  // For a run that does not get on: who wants which replicas, and how each one does.
  void Tell(const std::vector<std::unique_ptr<Machine>>& machines, Trace& trace) const;
  const metadata::Shared<metadata::Image>& newest() const { return newest_; }

 private:
  struct Committed {
    LogIndex index;
    raft::Configuration configuration;
  };
  void Note(Machine& machine, const raft::RaftCore& core);
  bool IsOfThisHistory(const raft::RaftCore& core);
  void CheckVoters(Machine& machine, const raft::RaftCore& core, const std::vector<ReplicaId>& voters);
  void CheckDestroyed(Machine& machine, GroupId group, ReplicaId replica);

  Verdict& verdict_;
  Tally& tally_;
  metadata::Shared<metadata::Image> newest_;
  std::map<GroupId, Committed> committed_;
  std::map<GroupId, std::map<LogIndex, raft::Configuration>> history_;
  std::map<Place, std::set<GroupId>> unseen_;  // groups of a machine with a configuration that it may not know to be committed
  std::set<std::pair<GroupId, ReplicaId>> destroyed_;
  std::set<std::pair<GroupId, ReplicaId>> given_up_;
  std::set<GroupId> rebuilt_;
  std::map<GroupId, ReplicaId> survivors_;  // that went on alone, and began its group's history anew
  std::set<GroupId> regrown_;               // those of them that have got their replicas back
};

}  // namespace flotilla::sim::broker
