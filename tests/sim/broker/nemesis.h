// What goes wrong, at the rates that the swarm drew. It never takes more than the cluster is built to lose: what one machine has on its
// disk, damaged or gone. Anything may be down at once.
//
// A new fault: a rate in swarm.h, a line in Start, what undoes it in Heal, and its row in ExpectedMet (world.cc).
#pragma once

#include "tests/sim/broker/world.h"
#include "tests/sim/recurring.h"

namespace flotilla::sim::broker {

class Nemesis {
 public:
  // `world` outlives it.
  Nemesis(World& world, Random random) : world_(world), recurring_(world.events(), world.parts(), random, random_) {}
  void Start();
  // Stops all faults and undoes those that last.
  void Heal();
  // Starts what is down: a write that failed before the healing may end a process after it.
  void BootAll();

 private:
  void LeaveSick();
  Machine& Any();
  Time Lasting();
  void Cut();
  void Partition();
  void SlowLink();
  void CutClient();
  void Crash(Machine& machine, bool power, const char* why);
  Machine& Harmed();
  void FlipBit();
  bool LostACopy(GroupId group) const;
  void Wipe();
  void BootLater(Machine& machine);

  World& world_;
  Random random_{0};
  Recurring recurring_;
};

}  // namespace flotilla::sim::broker
