#include "tests/sim/broker/operators.h"

#include "flotilla/v1/admin.pb.h"

namespace flotilla::sim::broker {
namespace {

constexpr Time kTimeout = 4 * kSecond;
constexpr Time kAgainAfter = 150 * kMillisecond;

}  // namespace

void Operators::Start() {
  Found();
  if (world_.swarm().two_inits) Found();
}

void Operators::Stop() {
  stopped_ = true;
  recurring_.Stop();
}

std::string Operators::Waiting() const { return open_ == 0 ? "" : "operators wait for " + std::to_string(open_) + " answers"; }

void Operators::Insist(const char* method, const std::string& request, Done done) {
  ++open_;
  const auto ask = [this, method, request, done](const auto& self) -> void {
    Machine& machine = AnyMachine();
    world_.Tell(place_, "asks machine ", machine.place(), " for ", method);
    world_.connections().Call(place_, machine, method, request, kTimeout, [this, self, done, method](const CallOutcome& outcome) {
      world_.Tell(place_, method, ": ", outcome.ToString());
      if (outcome.ok() || (outcome.error && outcome.error->retry() == v1::RETRY_NEVER)) {
        --open_;
        return done(outcome);
      }
      world_.events().After(About(kAgainAfter), [self] { self(self); });
    });
  };
  ask(ask);
}

void Operators::Found() {
  ++founding_;
  ++open_;
  v1::InitClusterRequest request;
  request.set_if_needed(true);
  const auto ask = [this, bytes = request.SerializeAsString()](const auto& self) -> void {
    Machine& machine = AnyMachine();
    world_.Tell(place_, "asks machine ", machine.place(), " to found the cluster");
    world_.connections().Call(place_, machine, "/flotilla.v1.ClusterService/InitCluster", bytes, 10 * kSecond,
                              [this, self](const CallOutcome& outcome) {
                                world_.Tell(place_, "InitCluster: ", outcome.ToString());
                                // Another node may belong to it already; then this one will soon.
                                const bool again = !outcome.ok();
                                if (again) {
                                  world_.events().After(About(500 * kMillisecond), [self] { self(self); });
                                  return;
                                }
                                --open_;
                                if (--founding_ > 0 || world_.cluster_made) return;
                                world_.cluster_made = true;
                                const Swarm& swarm = world_.swarm();
                                for (uint32_t i = 0; i < swarm.topics_first; ++i) CreateTopic(swarm.single_replicas && i == 1 ? 1 : 3);
                                const OperationRates& rates = swarm.operations;
                                recurring_.Every("create-topic", rates.create_topic, [this, &swarm] {
                                  if (world_.ledger().topics().size() < swarm.topics_max)
                                    CreateTopic(swarm.single_replicas && random_.OneIn(3) ? 1 : 3);
                                });
                                recurring_.Every("delete-topic", rates.delete_topic, [this] { DeleteTopic(); });
                                recurring_.Every("add-partitions", rates.add_partitions, [this] { AddPartitions(); });
                                recurring_.Every("update-config", rates.update_config, [this] { UpdateConfig(); });
                                recurring_.Every("trim", rates.trim, [this] { Trim(); });
                                recurring_.Every("transfer", rates.transfer, [this] { Transfer(); });
                                recurring_.Every("look", rates.look, [this] { Look(); });
                              });
  };
  ask(ask);
}

TopicFacts* Operators::AnyTopic() {
  const std::vector<TopicFacts*> topics = world_.ledger().LiveTopics();
  return topics.empty() ? nullptr : topics[random_.Below(topics.size())];
}

void Operators::CreateTopic(int32_t replicas) {
  const std::string name = "topic-" + std::to_string(next_topic_++);
  TopicFacts& topic = world_.ledger().topics()[name];
  topic.name = name;
  topic.replicas = replicas;
  v1::CreateTopicRequest request;
  request.mutable_topic()->set_name(name);
  request.set_partition_count(static_cast<int32_t>(1 + random_.Below(3)));
  request.set_replication_factor(replicas);
  topic.partitions_asked = request.partition_count();
  if (random_.OneIn(3)) (*request.mutable_config())["timestamp_type"] = "append";
  if (random_.OneIn(4)) {
    // Without a request_id: once, and then nobody asks again.
    ++open_;
    world_.connections().Call(place_, AnyMachine(), "/flotilla.v1.AdminService/CreateTopic", request.SerializeAsString(), kTimeout,
                              [this, name](const CallOutcome& outcome) {
                                --open_;
                                Created(name, outcome, false);
                              });
    return;
  }
  request.set_request_id(RequestId());
  Insist("/flotilla.v1.AdminService/CreateTopic", request.SerializeAsString(),
         [this, name](const CallOutcome& outcome) { Created(name, outcome, true); });
}

void Operators::Created(const std::string& name, const CallOutcome& outcome, bool insisted) {
  world_.Tell(place_, "CreateTopic ", name, ": ", outcome.ToString());
  TopicFacts& topic = world_.ledger().topics()[name];
  v1::CreateTopicResponse response;
  if (outcome.ok() && response.ParseFromString(outcome.response)) {
    topic.created = true;
    topic.id = response.topic().topic().topic_id();
    topic.partitions = response.topic().partition_count();
    topic.made_in_version = topic.grown_in_version = response.metadata_version();
    world_.tally().Add("topic created");
    // Whoever asks any node from now on finds it.
    v1::GetTopicRequest get;
    get.mutable_topic()->set_name(name);
    world_.connections().Call(place_, AnyMachine(), "/flotilla.v1.AdminService/GetTopic", get.SerializeAsString(), kTimeout,
                              [this, name](const CallOutcome& found) {
                                const TopicFacts& known = world_.ledger().topics()[name];
                                if (found.error && found.error->reason() == v1::ERROR_REASON_TOPIC_NOT_FOUND && !known.delete_asked) {
                                  world_.verdict().Violated("a topic that exists is found", "GetTopic says after the creation of ", name,
                                                            ": ", found.error->message());
                                }
                              });
    return;
  }
  if (outcome.nothing_done() && !insisted) {
    topic.refused = true;
  } else {
    topic.create_unknown = true;
  }
  // Clocks that jump by as long as requests are remembered make nodes forget that this one was carried out.
  const bool forgotten = outcome.error && outcome.error->reason() == v1::ERROR_REASON_TOPIC_EXISTS && world_.swarm().faults.clock_jump != 0;
  const bool no_place = outcome.error && outcome.error->reason() == v1::ERROR_REASON_NOT_ENOUGH_NODES;
  if (outcome.error && outcome.error->retry() == v1::RETRY_NEVER && !no_place && !forgotten) {
    world_.verdict().Violated("a topic can be created", name, ": ", outcome.ToString());
  }
}

void Operators::DeleteTopic() {
  TopicFacts* topic = AnyTopic();
  if (topic == nullptr || world_.ledger().LiveTopics().size() < 2) return;
  topic->delete_asked = true;
  v1::DeleteTopicRequest request;
  request.mutable_topic()->set_topic_id(topic->id);
  request.set_request_id(RequestId());
  Insist("/flotilla.v1.AdminService/DeleteTopic", request.SerializeAsString(), [this, topic](const CallOutcome& outcome) {
    if (outcome.ok()) {
      topic->deleted = true;
      world_.tally().Add("topic deleted");
    } else {
      world_.verdict().Violated("a topic can be deleted", topic->name, ": ", outcome.ToString());
    }
  });
}

void Operators::AddPartitions() {
  TopicFacts* topic = AnyTopic();
  if (topic == nullptr || topic->partitions_asked >= 5) return;
  v1::AddPartitionsRequest request;
  request.mutable_topic()->set_topic_id(topic->id);
  request.set_partition_count(++topic->partitions_asked);
  request.set_request_id(RequestId());
  const int32_t count = request.partition_count();
  Insist("/flotilla.v1.AdminService/AddPartitions", request.SerializeAsString(), [this, topic, count](const CallOutcome& outcome) {
    v1::AddPartitionsResponse response;
    if (outcome.ok() && response.ParseFromString(outcome.response)) {
      if (count > topic->partitions) {
        topic->partitions = count;
        topic->grown_in_version = response.metadata_version();
      }
      world_.tally().Add("partitions added");
    }
  });
}

void Operators::UpdateConfig() {
  TopicFacts* topic = AnyTopic();
  if (topic == nullptr) return;
  v1::UpdateConfigRequest request;
  request.mutable_resource()->mutable_topic()->set_topic_id(topic->id);
  (*request.mutable_set_values())["record_bytes_max"] = std::to_string(1'000'000 + random_.Below(1000));
  if (random_.OneIn(2)) (*request.mutable_set_values())["timestamp_type"] = random_.OneIn(2) ? "append" : "create";
  request.set_request_id(RequestId());
  Insist("/flotilla.v1.AdminService/UpdateConfig", request.SerializeAsString(), [this, topic](const CallOutcome& outcome) {
    if (outcome.ok()) {
      world_.tally().Add("config updated");
    } else if (!topic->delete_asked) {
      world_.verdict().Violated("a config can be changed", topic->name, ": ", outcome.ToString());
    }
  });
}

void Operators::Trim() {
  TopicFacts* topic = AnyTopic();
  if (topic == nullptr) return;
  const auto number = static_cast<int32_t>(random_.Below(static_cast<uint64_t>(topic->partitions)));
  const PartitionName name(topic->id, number);
  const int64_t end = world_.ledger().FloorOf(name).end;
  if (end == 0) return;
  v1::TrimPartitionRequest request;
  request.mutable_partition()->mutable_topic()->set_topic_id(topic->id);
  request.mutable_partition()->set_partition(number);
  request.set_before_offset(static_cast<int64_t>(1 + random_.Below(static_cast<uint64_t>(end))));
  request.set_request_id(RequestId());
  world_.ledger().TrimAsked(name, request.before_offset());
  Insist("/flotilla.v1.AdminService/TrimPartition", request.SerializeAsString(),
         [this, topic, name, before = request.before_offset()](const CallOutcome& outcome) {
           v1::TrimPartitionResponse response;
           if (!outcome.ok()) {
             if (!topic->delete_asked)
               world_.verdict().Violated("a partition can be trimmed", topic->name, '/', name.second, ": ", outcome.ToString());
             return;
           }
           if (!response.ParseFromString(outcome.response)) return;
           world_.tally().Add("partition trimmed");
           if (response.log_start_offset() < before) {
             world_.verdict().Violated("a trim trims", "before ", before, " was asked for; the start is ", response.log_start_offset());
           }
           world_.ledger().Trimmed(name, response.log_start_offset());
         });
}

void Operators::Transfer() {
  TopicFacts* topic = AnyTopic();
  if (topic == nullptr) return;
  v1::TransferLeadershipRequest request;
  request.mutable_partition()->mutable_topic()->set_topic_id(topic->id);
  request.mutable_partition()->set_partition(static_cast<int32_t>(random_.Below(static_cast<uint64_t>(topic->partitions))));
  if (random_.OneIn(2)) request.set_to_node_id(static_cast<int32_t>(1 + random_.Below(world_.machines().size())));
  world_.connections().Call(place_, AnyMachine(), "/flotilla.v1.ClusterService/TransferLeadership", request.SerializeAsString(), kTimeout,
                            [this](const CallOutcome& outcome) {
                              world_.Tell(place_, "TransferLeadership: ", outcome.ToString());
                              if (outcome.ok()) world_.tally().Add("leadership transferred");
                            });
}

void Operators::Look() {
  Machine& machine = AnyMachine();
  const auto ignore = [](const CallOutcome&) {};
  switch (random_.Below(5)) {
    case 0: return world_.connections().Call(place_, machine, "/flotilla.v1.ClusterService/GetHealth", "", kTimeout, ignore);
    case 1: return world_.connections().Call(place_, machine, "/flotilla.v1.ClusterService/GetMetadata", "", kTimeout, ignore);
    case 2: return world_.connections().Call(place_, machine, "/flotilla.v1.ClusterService/ListNodes", "", kTimeout, ignore);
    case 3: return world_.connections().Call(place_, machine, "/flotilla.v1.AdminService/ListPartitions", "", kTimeout, ignore);
    default: break;
  }
  // Known topics are listed, whoever is asked.
  std::vector<std::string> names;
  for (const TopicFacts* topic : world_.ledger().LiveTopics()) names.push_back(topic->name);
  v1::ListTopicsRequest request;
  request.set_page_size(1000);
  world_.connections().Call(place_, machine, "/flotilla.v1.AdminService/ListTopics", request.SerializeAsString(), kTimeout, ignore);
}

}  // namespace flotilla::sim::broker
