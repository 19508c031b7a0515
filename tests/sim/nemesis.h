// What goes wrong, at the rates that the swarm drew. It never takes more than the cluster is built to lose: a
// disk is wiped or damaged only while every configuration that may be in force keeps a sound majority without
// it. Anything may be down at once.
#pragma once

#include "storage/base/random.h"
#include "tests/sim/recurring.h"
#include "tests/sim/world.h"

namespace flotilla::sim {

class Nemesis {
 public:
  // `world` outlives it.
  Nemesis(World& world, Random random);
  void Start();
  // Stops all faults and undoes those that last: links mended, nodes up and awake, clocks and disks as they
  // should be.
  void Heal();
  // Starts what is down: a write that failed before the healing may end a process after it.
  void BootAll();

 private:
  Node& AnyNode();
  Time Lasting();
  void Cut();
  void Partition();
  void Burst();
  void Crash(Node& node, bool power, const char* why);
  void CrashAtBoundary();
  void WholeCluster();
  void Pause();
  void ChangeClock();
  void SlowDisk();
  void FillDisk();
  void FailDisk(bool sync);
  void FlipBit();
  void Wipe();
  void BootLater(Node& node);

  World& world_;
  Random random_;
  Recurring recurring_;
};

}  // namespace flotilla::sim
