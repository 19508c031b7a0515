#include "tests/sim/broker/onlookers.h"

#include <algorithm>
#include <utility>

#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"

namespace flotilla::sim::broker {
namespace {

constexpr Time kTimeout = 4 * kSecond;
constexpr Time kGlance = 20 * kMillisecond;  // how soon somebody notices that a machine is back

}  // namespace

void Onlookers::Start() {
  recurring_.Every("ask-version", world_.swarm().operations.look_often, [this] { AskVersion(AnyMachine()); });
  recurring_.Every("list-topics", world_.swarm().operations.look_often, [this] { ListTopics(AnyMachine()); });
  recurring_.Always("greet-machine", kGlance, [this] {
    for (const auto& machine : world_.machines()) {
      if (!machine->serving() || std::exchange(greeted_[machine->place()], machine->life()) == machine->life()) continue;
      ListTopics(*machine);
    }
  });
}

void Onlookers::Stop() {
  stopped_ = true;
  recurring_.Stop();
}

void Onlookers::AskVersion(Machine& machine) {
  v1::GetMetadataRequest request;
  request.set_nodes_only(true);
  world_.connections().Call(place_, machine, "/flotilla.v1.ClusterService/GetMetadata", request.SerializeAsString(), kTimeout,
                            [this, place = machine.place()](const CallOutcome& outcome) {
                              v1::GetMetadataResponse response;
                              if (!outcome.ok() || !response.ParseFromString(outcome.response)) return;
                              told_[place] = std::max(told_[place], response.version());
                            });
}

// Also a machine that lost its disk in between knows what it knew: the others told it, before it told anybody.
void Onlookers::ListTopics(Machine& machine) {
  std::map<std::string, int32_t> known;  // topic id: how many partitions at least
  const int64_t version = told_[machine.place()];
  for (const TopicFacts* topic : world_.ledger().LiveTopics()) {
    if (topic->made_in_version <= version) known[topic->id] = topic->grown_in_version <= version ? topic->partitions : 1;
  }
  if (known.empty()) return;
  v1::ListTopicsRequest request;
  request.set_page_size(1000);
  world_.connections().Call(place_, machine, "/flotilla.v1.AdminService/ListTopics", request.SerializeAsString(), kTimeout,
                            [this, known, version, place = machine.place()](const CallOutcome& outcome) {
                              v1::ListTopicsResponse response;
                              if (!outcome.ok() || !response.ParseFromString(outcome.response)) return;
                              std::map<std::string, int32_t> listed;
                              for (const v1::Topic& topic : response.topics()) listed[topic.topic().topic_id()] = topic.partition_count();
                              for (const auto& [topic, partitions] : known) {
                                if (!world_.ledger().SurelyThere(topic) || listed[topic] >= partitions) continue;
                                world_.verdict().Violated("a node knows what it knew", "machine ", place, " had version ", version,
                                                          " of the metadata, in which ", world_.ledger().TopicById(topic)->name, " has ",
                                                          partitions, " partitions; it lists it with ", listed[topic]);
                              }
                              world_.tally().Add("topics listed");
                            });
}

}  // namespace flotilla::sim::broker
