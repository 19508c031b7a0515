// People who administer nodes and replicas: they move, rebuild, call off, drain, decommission, remove and balance, while everything
// is hurt. They leave at least as many nodes in use as topics have replicas; what else they ask for may be nonsense, and is refused.
//
// When all is healed, everything that was begun has to end: no partition is moving, no node is being decommissioned.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/broker/producers.h"
#include "tests/sim/recurring.h"

namespace flotilla::sim::broker {

class Movers final : public Client {
 public:
  explicit Movers(World& world) : Client(world), recurring_(world.events(), world.parts(), world.Fork(), random_) {}
  void Start() override;
  void Stop() override;
  std::string Waiting() const override;

 private:
  // Asked once; what comes of it is looked at.
  void Ask(const char* method, const std::string& request, const char* done);
  void Move();
  void Rebuild();
  void CancelMove(const v1::PartitionRef& partition);
  void Drain();
  void Decommission();
  void Recommission();
  void Remove();
  void Balance();
  void Look();
  void Join();
  void Replace();
  // Once all is healed: what cannot end by itself is called off.
  void CleanUp();

  const metadata::Image* image() const;
  // Anything: a node id that there is, was, or will never be.
  int32_t AnyNode();
  int32_t AnyNodeInUse();
  bool EnoughNodes() const;
  bool AnyPartition(v1::PartitionRef* ref);

  Recurring recurring_;
  size_t open_ = 0;
};

}  // namespace flotilla::sim::broker
