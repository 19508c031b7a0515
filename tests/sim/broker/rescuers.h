// Two or three of five machines lose their disks in one moment, and people save what is left: with three the metadata goes on with one
// node of the two that are left; each partition that lost its majority goes on with the one replica that it has, the lost nodes are
// removed, and the machines come back empty, as new ones.
//
// The moment is one in which the disks that are left have all that clients know. So nothing is forgiven: whatever was acknowledged or
// read has to be there in the end, in order and once, as in any other run.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "tests/sim/broker/producers.h"

namespace flotilla::sim::broker {

class Rescuers final : public Client {
 public:
  explicit Rescuers(World& world) : Client(world) {}
  void Start() override;
  void Stop() override;
  std::string Waiting() const override;

 private:
  // The power of some machines goes, and nobody starts them.
  void Strike();
  // Those that it takes: no partition has all its replicas there. Empty: there is none.
  std::vector<Machine*> Draw();
  // When all that they said has arrived: their disks are lost, or it was the power only.
  void Judge(Time struck);
  NodeId KeeperOf(GroupId group) const;
  bool OthersHaveAll() const;
  bool OthersHaveTheMetadata() const;
  void LoseDisks();
  void Spare();
  // Three of five: the machine that has most of the metadata is stopped, goes on alone, and starts again.
  void RecoverMetadata();
  void StopKeeper();
  // Again and again, until nothing is left to be done.
  void Rescue();
  void Recover(GroupId group, bool only_look);
  void Remove(NodeId node);
  void Ask(const char* method, const std::string& request, std::function<void(const CallOutcome&)> done);
  bool LostMajority(const metadata::Partition& partition) const;
  bool IsStruck(NodeId node) const;
  bool IsStruck(const Machine& machine) const;
  const metadata::Image* image() const { return world_.moves().newest().get(); }

  std::vector<Machine*> struck_;
  std::vector<NodeId> nodes_;  // what they were
  bool lost_ = false;
  Machine* keeper_ = nullptr;  // of the metadata
  std::set<GroupId> alive_;    // that have their majority all the same, with a replica that was about to come
  size_t open_ = 0;
};

}  // namespace flotilla::sim::broker
