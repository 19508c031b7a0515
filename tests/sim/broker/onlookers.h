// People who look at topics through each node, above all through one that was restarted a moment ago, and hold what they see against
// what that node had said before: no node forgets what it told, whatever it finds on its disk.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tests/sim/broker/producers.h"
#include "tests/sim/recurring.h"

namespace flotilla::sim::broker {

class Onlookers final : public Client {
 public:
  explicit Onlookers(World& world) : Client(world), recurring_(world.events(), world.parts(), world.Fork(), random_) {}
  void Start() override;
  void Stop() override;

 private:
  // Asks a machine which version of the metadata it has.
  void AskVersion(Machine& machine);
  void ListTopics(Machine& machine);

  Recurring recurring_;
  std::map<NodeId, int64_t> told_;      // the newest version that a machine said it has
  std::map<NodeId, uint64_t> greeted_;  // the last life of a machine in which its topics were listed
};

}  // namespace flotilla::sim::broker
