#include "tests/sim/broker/end_check.h"

#include <algorithm>
#include <utility>

#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "tests/sim/broker/readers.h"

namespace flotilla::sim::broker {
namespace {

constexpr Time kTimeout = 4 * kSecond;
constexpr Time kAgainAfter = 200 * kMillisecond;

// One record, sent until it is answered with success. Deletes itself.
class Probe final : public ProduceListener {
 public:
  static void Send(World& world, Place place, Machine& machine, const v1::ProduceRequest& request,
                   std::function<void(const v1::ProduceStreamResponse*)> done) {
    auto* probe = new Probe(world, std::move(done));
    probe->stream_ = world.connections().OpenProduce(place, machine, *probe);
    world.connections().Produce(probe->stream_, 1, request, kTimeout);
  }

 private:
  Probe(World& world, std::function<void(const v1::ProduceStreamResponse*)> done) : world_(world), done_(std::move(done)) {}
  void OnAnswer(uint64_t stream, v1::ProduceStreamResponse answer) override {
    world_.connections().Close(stream);
    const std::unique_ptr<Probe> self(this);
    done_(&answer);
  }
  void OnBroken(uint64_t) override {
    const std::unique_ptr<Probe> self(this);
    done_(nullptr);
  }
  World& world_;
  const std::function<void(const v1::ProduceStreamResponse*)> done_;
  uint64_t stream_ = 0;
};

}  // namespace

void EndCheck::Again(std::string missing, std::function<void()> what) {
  missing_ = std::move(missing);
  world_.events().After(kAgainAfter, std::move(what));
}

void EndCheck::OneDone() {
  if (--open_ > 0) return;
  if (step_ == Step::kHealth) {
    if (healthy_ < asked_) return Again(missing_, [this] { AskHealth(); });
    step_ = Step::kWrite;
    return WriteEverywhere();
  }
  if (step_ == Step::kWrite) {
    if (!SickOneLeadsNothing()) return Again("the machine with a sick disk leads what others could", [this] { WriteEverywhere(); });
    step_ = Step::kRead;
    return ReadAll();
  }
  CheckTopics();
  missing_.clear();
  done_ = true;
}

void EndCheck::AskHealth() {
  healthy_ = 0;
  asked_ = 0;
  open_ = 1;
  for (size_t i = 0; i < world_.machines().size(); ++i) {
    if (world_.machines()[i]->removed()) continue;
    ++asked_;
    // A damaged node may be unable to start; others have to know what is the matter.
    if (!world_.machines()[i]->sound()) {
      ++healthy_;
      continue;
    }
    ++open_;
    world_.connections().Call(place_, *world_.machines()[i], "/flotilla.v1.ClusterService/GetHealth", "", kTimeout,
                              [this, i](const CallOutcome& outcome) { HealthAnswered(i, outcome); });
  }
  OneDone();
}

void EndCheck::HealthAnswered(size_t machine, const CallOutcome& outcome) {
  v1::GetHealthResponse health;
  bool well = outcome.ok() && health.ParseFromString(outcome.response);
  std::string problems;
  int left_overs = 0;
  for (const v1::HealthProblem& problem : health.problems()) {
    // A lost or damaged disk leaves a dead node, replicas that nobody replaces yet, and moves that wait for it (Movers::Waiting).
    const bool left_over = world_.harmed != nullptr &&
                           (problem.kind() == "NODE_DEAD" || problem.kind() == "MOVE_STALLED" || problem.kind() == "DECOMMISSION_STALLED" ||
                            problem.kind() == "UNDER_REPLICATED" || problem.kind() == "REPLICA_STOPPED");
    left_overs += left_over ? 1 : 0;
    // Clocks stay as far apart as they were put, and disks as sick.
    if (problem.severity() == v1::HEALTH_STATUS_OK || problem.kind() == "CLOCK_SKEW") continue;
    if (problem.kind() == "DISK_SICK" && world_.swarm().sick_disks != SickDisks::kNone) continue;
    if (!left_over) problems += " " + problem.kind() + " (" + problem.message() + ")";
  }
  auto nodes = static_cast<int32_t>(asked_);
  for (const NodeId ghost : world_.ghosts) nodes += world_.moves().newest()->FindNode(ghost) != nullptr ? 1 : 0;
  if (well && problems.empty() && health.nodes() != nodes)
    problems = " the cluster has " + std::to_string(health.nodes()) + " nodes of " + std::to_string(nodes);
  const auto counters = world_.machines()[machine]->up() ? world_.machines()[machine]->broker().counters() : std::nullopt;
  const uint64_t not_open = counters ? counters->replicas.not_open : 0;
  if (well && problems.empty() && left_overs == 0 && not_open != 0) {
    problems = " it has " + std::to_string(not_open) + " replicas that do not take part, and tells nobody";
  }
  well = well && problems.empty();
  if (well) {
    ++healthy_;
  } else {
    missing_ = "machine " + std::to_string(machine + 1) + " says of the health of the cluster: " + outcome.ToString() + problems;
    world_.Tell(place_, missing_);
  }
  OneDone();
}

void EndCheck::WriteEverywhere() {
  missing_ = "not every partition has taken a record";
  ++open_;
  for (TopicFacts* topic : world_.ledger().LiveTopics()) {
    for (int32_t i = 0; i < topic->partitions; ++i) {
      for (const auto& machine : world_.machines()) {
        if (machine->removed() || !machine->sound()) continue;
        ++open_;
        WriteOne(topic, i, *machine);
      }
    }
  }
  ++round_;
  MakeAndDeleteTopic();
}

void EndCheck::WriteOne(TopicFacts* topic, int32_t partition, Machine& machine) {
  if (machine.removed()) return OneDone();  // a decommission that came to its end meanwhile
  const uint64_t record = world_.ledger().NewRecord({.topic = topic->id, .durable = true, .acknowledged = {}, .seen = {}});
  world_.ledger().Attempt(record);
  v1::ProduceRequest request;
  request.mutable_topic()->set_topic_id(topic->id);
  v1::ProduceItem& item = *request.add_items();
  item.set_partition(partition);
  *item.mutable_batch()->mutable_records()->add_records() = MakeRecord(record, 10);
  Probe::Send(world_, place_, machine, request, [this, topic, partition, &machine, record](const v1::ProduceStreamResponse* answer) {
    const bool placed = answer != nullptr && answer->has_response() && !answer->response().results(0).has_error();
    if (placed) {
      const v1::Placement& placement = answer->response().results(0).placements(0);
      world_.ledger().Appended(record, partition, placement.base_offset(), placement.deduplicated());
      return OneDone();
    }
    world_.ledger().Unknown(record);
    const std::string why = answer == nullptr ? "the connection broke" : answer->ShortDebugString();
    missing_ = "partition " + topic->name + "/" + std::to_string(partition) + " takes no record through machine " +
               std::to_string(machine.place().value()) + ": " + why;
    world_.Tell(place_, missing_);
    world_.events().After(kAgainAfter, [this, topic, partition, &machine] { WriteOne(topic, partition, machine); });
  });
}

// While there is something to write. Others may be damaged, or out of use: then it has to lead.
bool EndCheck::SickOneLeadsNothing() const {
  if (world_.sick == nullptr || world_.harmed != nullptr || world_.swarm().moves || world_.sick->removed()) return true;
  if (!world_.sick->up()) return false;
  const auto counters = world_.sick->broker().counters();
  // Where nothing is written nobody finds out that a disk is slow.
  const bool known = counters && (counters->disk_slow || counters->replicas.replicas == 0 || world_.ledger().LiveTopics().empty());
  return known && world_.sick->broker().ReadyToStop();
}

void EndCheck::MakeAndDeleteTopic() {
  v1::CreateTopicRequest request;
  request.mutable_topic()->set_name("after-all");
  request.set_partition_count(2);
  // A crippled node starts again and again and takes no replica.
  const auto able = std::count_if(world_.machines().begin(), world_.machines().end(),
                                  [](const auto& machine) { return machine->sound() && !machine->removed(); });
  request.set_replication_factor(able >= 3 ? 3 : 1);
  request.set_request_id("end-create-" + std::to_string(round_));
  world_.connections().Call(place_, AnyMachine(), "/flotilla.v1.AdminService/CreateTopic", request.SerializeAsString(), kTimeout,
                            [this](const CallOutcome& made) {
                              if (!made.ok()) {
                                missing_ = "a topic cannot be created: " + made.ToString();
                                world_.events().After(kAgainAfter, [this] { MakeAndDeleteTopic(); });
                                return;
                              }
                              v1::DeleteTopicRequest remove;
                              remove.mutable_topic()->set_name("after-all");
                              remove.set_request_id("end-delete-" + std::to_string(round_));
                              world_.connections().Call(place_, AnyMachine(), "/flotilla.v1.AdminService/DeleteTopic",
                                                        remove.SerializeAsString(), kTimeout, [this](const CallOutcome& gone) {
                                                          if (!gone.ok()) {
                                                            missing_ = "a topic cannot be deleted: " + gone.ToString();
                                                            world_.events().After(kAgainAfter, [this] { MakeAndDeleteTopic(); });
                                                            return;
                                                          }
                                                          OneDone();
                                                        });
                            });
}

void EndCheck::ReadAll() {
  missing_ = "not everything was read";
  ++open_;
  for (TopicFacts* topic : world_.ledger().LiveTopics()) {
    for (int32_t i = 0; i < topic->partitions; ++i) {
      auto reading = std::make_shared<Reading>();
      reading->topic = topic;
      reading->partition = {topic->id, i};
      ++open_;
      ListOne(reading);
    }
  }
  OneDone();
}

void EndCheck::ListOne(const std::shared_ptr<Reading>& reading) {
  v1::ListOffsetsRequest request;
  v1::ListOffsetsItem& item = *request.add_items();
  item.mutable_topic()->set_topic_id(reading->partition.first);
  item.set_partition(reading->partition.second);
  const Ledger::Floor floor = world_.ledger().FloorOf(reading->partition);
  world_.connections().Call(place_, AnyMachine(), "/flotilla.v1.ConsumeService/ListOffsets", request.SerializeAsString(), kTimeout,
                            [this, reading, floor](const CallOutcome& outcome) {
                              v1::ListOffsetsResponse response;
                              if (!outcome.ok() || !response.ParseFromString(outcome.response) || response.results(0).has_error()) {
                                missing_ = "offsets cannot be listed: " + (outcome.ok() ? response.ShortDebugString() : outcome.ToString());
                                world_.events().After(kAgainAfter, [this, reading] { ListOne(reading); });
                                return;
                              }
                              const v1::PartitionOffsets& offsets = response.results(0).offsets();
                              world_.ledger().Listed(reading->partition, floor, offsets.log_start_offset(), offsets.high_watermark());
                              reading->log_start = reading->position = offsets.log_start_offset();
                              reading->end = offsets.high_watermark();
                              ReadOne(reading);
                            });
}

void EndCheck::ReadOne(const std::shared_ptr<Reading>& reading) {
  if (reading->position >= reading->end) {
    world_.ledger().CheckEnd(reading->partition, {.log_start = reading->log_start, .end = reading->end, .records = reading->records});
    return OneDone();
  }
  v1::FetchRequest request;
  v1::FetchPartition& partition = *request.add_partitions();
  partition.mutable_topic()->set_topic_id(reading->partition.first);
  partition.set_partition(reading->partition.second);
  partition.mutable_start()->set_offset(reading->position);
  world_.connections().Fetch(place_, AnyMachine(), request, kTimeout, [this, reading](const FetchOutcome& outcome) {
    const bool read =
        !outcome.broken && !outcome.error && outcome.answer.partitions.size() == 1 && outcome.answer.partitions[0].status.ok();
    if (read) {
      const int64_t from = reading->position;
      if (!TakeFetched(world_, "the last Fetch", reading->partition, outcome.answer.partitions[0], &reading->position)) return;
      for (const partition::FetchedBatch& batch : outcome.answer.partitions[0].batches) {
        const std::optional<v1::RecordSet> set = RecordsIn(batch.header, batch.records.view());
        for (int i = 0; set && i < set->records_size(); ++i) {
          const auto offset = static_cast<int64_t>(batch.base_offset.value()) + i;
          if (offset >= from && offset < reading->end) reading->records.push_back(NumberIn(set->records(i)));
        }
      }
    } else {
      missing_ = "partition " + reading->topic->name + "/" + std::to_string(reading->partition.second) + " is not read: " +
                 (outcome.error    ? outcome.error->ShortDebugString()
                  : outcome.broken ? "the connection broke"
                                   : outcome.answer.partitions[0].status.ToString());
    }
    world_.events().After(read ? 1 : kAgainAfter, [this, reading] { ReadOne(reading); });
  });
}

// A node whose disk is sick may be behind when everything else is done.
metadata::Shared<metadata::Image> EndCheck::NewestImage() const {
  metadata::Shared<metadata::Image> newest;
  for (const auto& machine : world_.machines()) {
    if (!machine->sound() || machine->removed() || !machine->up()) continue;
    const auto image = machine->broker().metadata();
    if (image != nullptr && (newest == nullptr || image->version > newest->version)) newest = image;
  }
  return newest;
}

// Topics are there, or not, as people were told.
void EndCheck::CheckTopics() {
  const metadata::Shared<metadata::Image> image = NewestImage();
  for (const auto& [name, topic] : world_.ledger().topics()) {
    const metadata::Topic* found = image->FindTopic(metadata::kDefaultNamespace, name);
    if (topic.refused && found != nullptr) {
      world_.verdict().Violated("outcomes are honest", "topic ", name,
                                " exists; its creation was answered with a failure that says that nothing was done");
    }
    if (topic.deleted && found != nullptr) world_.verdict().Violated("what was deleted is gone", "topic ", name, " exists");
    if (topic.created && !topic.delete_asked && found == nullptr)
      world_.verdict().Violated("what was created is there", "topic ", name, " does not exist");
  }
  world_.ledger().CheckFates();
}

}  // namespace flotilla::sim::broker
