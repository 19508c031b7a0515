// People who administer the cluster: they found it, make, grow, change and delete topics, trim, and move leaders.
#pragma once

#include <functional>
#include <string>

#include "tests/sim/broker/producers.h"
#include "tests/sim/recurring.h"

namespace flotilla::sim::broker {

class Operators final : public Client {
 public:
  explicit Operators(World& world) : Client(world), recurring_(world.events(), world.parts(), world.Fork(), random_) {}
  void Start() override;
  void Stop() override;
  std::string Waiting() const override;

 private:
  using Done = std::function<void(const CallOutcome&)>;
  // Until it is clear what came of it: repeated with the same request_id.
  void Insist(const char* method, const std::string& request, Done done);
  void Found();
  void CreateTopic(int32_t replicas);
  void Created(const std::string& name, const CallOutcome& outcome, bool unknown_before);
  void DeleteTopic();
  void AddPartitions();
  void UpdateConfig();
  void Trim();
  void Transfer();
  void Look();
  TopicFacts* AnyTopic();
  std::string RequestId() { return "o-" + std::to_string(random_.Next()); }

  Recurring recurring_;
  size_t open_ = 0;
  uint64_t next_topic_ = 1;
  size_t founding_ = 0;
};

}  // namespace flotilla::sim::broker
