// What is asked of a cluster that was healed: that it is healthy, that every partition takes a record through every machine, that
// topics can be made and deleted; and then everything is read from the beginning.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/broker/producers.h"

namespace flotilla::sim::broker {

class EndCheck final : public Client {
 public:
  explicit EndCheck(World& world) : Client(world) {}
  void Start() override { AskHealth(); }
  // What is missing; empty: nothing, all is done.
  std::string Waiting() const override { return missing_; }
  bool done() const { return done_; }

 private:
  enum class Step { kHealth, kWrite, kRead };
  struct Reading {
    TopicFacts* topic = nullptr;
    PartitionName partition;
    int64_t log_start = 0;
    int64_t end = 0;
    int64_t position = 0;
    std::vector<uint64_t> records;
  };

  void AskHealth();
  void HealthAnswered(size_t machine, const CallOutcome& outcome);
  void WriteEverywhere();
  void WriteOne(TopicFacts* topic, int32_t partition, Machine& machine);
  bool SickOneLeadsNothing() const;
  void MakeAndDeleteTopic();
  void ReadAll();
  void ListOne(const std::shared_ptr<Reading>& reading);
  void ReadOne(const std::shared_ptr<Reading>& reading);
  void OneDone();
  void CheckTopics();
  metadata::Shared<metadata::Image> NewestImage() const;
  // Again in a moment: it is not so far yet.
  void Again(std::string missing, std::function<void()> what);

  std::string missing_ = "nothing was asked yet";
  size_t open_ = 0;
  Step step_ = Step::kHealth;
  size_t healthy_ = 0;
  size_t asked_ = 0;
  uint64_t round_ = 0;  // of writing; each makes a topic and deletes it
  bool done_ = false;
};

}  // namespace flotilla::sim::broker
