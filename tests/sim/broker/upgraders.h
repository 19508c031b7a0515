// People who upgrade the cluster while it is hurt: newer programs on one machine after the other, older ones back again, also where
// that is too late, and the feature level up as far as the nodes let them.
//
// When all is healed every machine gets the newest program, one at a time, and the cluster has to reach the highest level that all of
// its nodes know; lost ones still count.
#pragma once

#include <string>

#include "tests/sim/broker/producers.h"
#include "tests/sim/recurring.h"

namespace flotilla::sim::broker {

class Upgraders final : public Client {
 public:
  explicit Upgraders(World& world) : Client(world), recurring_(world.events(), world.parts(), world.Fork(), random_) {}
  void Start() override;
  void Stop() override;
  std::string Waiting() const override;

 private:
  void Install();
  void RollBack();
  void Raise(uint32_t level);
  // Once all is healed.
  void Finish();
  Machine* NextToUpgrade() const;

  Recurring recurring_;
  size_t open_ = 0;
};

}  // namespace flotilla::sim::broker
