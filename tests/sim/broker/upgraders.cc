#include "tests/sim/broker/upgraders.h"

#include <algorithm>

#include "flotilla/v1/cluster.pb.h"
#include "tests/sim/broker/refusals.h"

namespace flotilla::sim::broker {
namespace {

constexpr Time kTimeout = 4 * kSecond;
constexpr Time kFinishEvery = kSecond;
constexpr char kRaise[] = "/flotilla.v1.ClusterService/RaiseFeatureLevel";
constexpr uint32_t kNewest = Swarm::kNewestFeatureLevel;

}  // namespace

void Upgraders::Start() {
  const OperationRates& rates = world_.swarm().operations;
  // The first program is that of the machines; some have the next one from the beginning.
  for (const auto& machine : world_.machines()) {
    if (random_.OneIn(4) && machine->life() == 0) machine->Install({.min = 1, .max = 2});
  }
  recurring_.Every("install", rates.install, [this] { Install(); });
  recurring_.Every("roll-back", rates.roll_back, [this] { RollBack(); });
  recurring_.Every("raise-level", rates.raise_level,
                   [this] { Raise(random_.OneIn(2) ? 0 : static_cast<uint32_t>(1 + random_.Below(kNewest + 1))); });
}

void Upgraders::Stop() {
  stopped_ = true;
  recurring_.Stop();
  Finish();
}

void Upgraders::Install() {
  Machine& machine = AnyMachine();
  const uint32_t known = machine.features().max;
  if (known >= kNewest || !world_.cluster_made) return;
  machine.Install({.min = 1, .max = random_.OneIn(4) ? kNewest : known + 1});
  world_.tally().Add("newer program installed");
  // As it should be done, as it is done at times, or only with the next start.
  if (random_.OneIn(2)) return machine.StopOrderly();
  if (machine.up() && random_.OneIn(2)) machine.Kill("its program is replaced");
}

void Upgraders::RollBack() {
  Machine& machine = AnyMachine();
  const uint32_t known = machine.features().max;
  if (known <= 1 || !world_.cluster_made) return;
  machine.Install({.min = 1, .max = known - 1});
  world_.tally().Add("older program installed");
  machine.StopOrderly();
}

void Upgraders::Raise(uint32_t level) {
  ++open_;
  Machine& machine = AnyMachine();
  v1::RaiseFeatureLevelRequest request;
  request.set_feature_level(static_cast<int32_t>(level));
  request.set_validate_only(!world_.healed && random_.OneIn(8));
  world_.Tell(place_, "asks machine ", machine.place(), " for feature level ", level);
  world_.connections().Call(place_, machine, kRaise, request.SerializeAsString(), kTimeout, [this, request](const CallOutcome& outcome) {
    --open_;
    world_.Tell(place_, kRaise, ": ", outcome.ToString());
    const bool too_old = outcome.error && outcome.error->reason() == v1::ERROR_REASON_PROTOCOL_MISMATCH;
    if (outcome.error && !too_old && !IsHonest(outcome.error->reason())) {
      world_.verdict().Violated("people are told why not", kRaise, ": ", outcome.ToString());
    }
    v1::RaiseFeatureLevelResponse response;
    if (!outcome.ok() || !response.ParseFromString(outcome.response)) return;
    if (request.feature_level() != 0 && response.feature_level() != request.feature_level()) {
      world_.verdict().Violated("people get what they were told", "feature level ", request.feature_level(), " was asked for, ",
                                response.feature_level(), " answered");
    }
    if (!request.validate_only() && response.feature_level() > response.previous_feature_level()) {
      world_.tally().Add("feature level raised");
    }
  });
}

// The next one goes when all others serve: as people are told to do it.
Machine* Upgraders::NextToUpgrade() const {
  Machine* next = nullptr;
  for (const auto& machine : world_.machines()) {
    // A damaged one may not come back, and nobody waits for it.
    if (machine->removed() || !machine->sound() || machine->life() == 0) continue;
    if (machine->features().max < kNewest) {
      next = machine.get();
    } else if (!machine->serving()) {
      return nullptr;
    }
  }
  return next;
}

void Upgraders::Finish() {
  if (!world_.verdict().ok()) return;
  world_.events().After(kFinishEvery, [this] { Finish(); });
  for (const auto& machine : world_.machines()) {
    // Nobody starts an old one any more, and what has stopped for its age may be what all wait for.
    if (machine->features().max < kNewest && machine->down()) machine->Install({.min = 1, .max = kNewest});
  }
  if (Machine* next = NextToUpgrade(); next != nullptr) {
    next->Install({.min = 1, .max = kNewest});
    return next->StopOrderly();
  }
  if (!Waiting().empty() && open_ == 0) Raise(0);
}

std::string Upgraders::Waiting() const {
  const metadata::Shared<metadata::Image>& image = world_.moves().newest();
  if (image == nullptr) return "";
  for (const auto& machine : world_.machines()) {
    if (machine->removed() || !machine->sound() || machine->life() == 0) continue;
    const std::string name = "machine " + std::to_string(machine->place().value());
    if (machine->features().max < kNewest) return name + " has an old program";
    const metadata::Node* node = image->FindNode(NodeId{machine->remembered().node_id()});
    if (node != nullptr && node->description.features.max < kNewest) return name + " is registered with an old program";
  }
  uint32_t possible = kNewest;
  image->nodes.ForEach(
      [&possible](NodeId, const metadata::Shared<metadata::Node>& node) { possible = std::min(possible, node->description.features.max); });
  if (image->feature_level() < possible) {
    return "the cluster is at feature level " + std::to_string(image->feature_level()) + ", its nodes know " + std::to_string(possible);
  }
  return open_ == 0 ? "" : "people who upgrade wait for an answer";
}

}  // namespace flotilla::sim::broker
