#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {

Uuid UuidOf(uint64_t number) {
  Random random(number);
  return Uuid::Random(random);
}

NodeDescription NodeCalled(uint64_t number, std::string rack) {
  const std::string name = "n" + std::to_string(number);
  return {.uuid = UuidOf(number),
          .name = name,
          .client_address = name + ":9650",
          .peer_address = name + ":9651",
          .rack = std::move(rack),
          .software_version = "0.1.0",
          .features = kSupportedFeatures,
          .capacity = {.disk_bytes = 1 << 30, .memory_bytes = 1 << 20, .cores = 2}};
}

Context Scene::Draw() {
  const Uuid fresh_id = Uuid::Random(random_);
  return {.now_ms = now_ms, .fresh_id = fresh_id, .seed = random_.Next()};
}

void Scene::Replay(std::vector<Record> records) {
  Batch batch;
  batch.set_feature_level(kSupportedFeatures.max);
  batch.set_previous_version(image_->version.value());
  for (Record& record : records) *batch.add_records() = std::move(record);
  const LogIndex index = image_->version + 1 + random_.Below(3);  // other entries stand between batches
  Result<Shared<Image>> next = ReplayBatch(image_, batch, index);
  CHECK(next.ok()) << next.status();
  image_ = *std::move(next);
  log_.emplace_back(index, std::move(batch));
}

Result<Decision> Scene::Do(Result<Decision> decided) {
  if (decided.ok() && !decided->records.empty()) Replay(decided->records);
  return decided;
}

void Scene::Found(const FoundOptions& options) {
  std::vector<FounderAnswer> answers;
  for (uint64_t node = 1; node <= options.nodes; ++node) {
    const std::string rack = options.racks.empty() ? "" : options.racks[(node - 1) % options.racks.size()];
    answers.push_back({.description = NodeCalled(node, rack), .cluster = {}});
  }
  const Result<Founding> plan = PlanFounding(UuidOf(1000), answers);
  CHECK(plan.ok()) << plan.status();
  const Result<Decision> decided = Do(DecideFounding(*plan, *image_, Draw()));
  CHECK(decided.ok()) << decided.status();
}

Result<Decision> Scene::TryCreate(const std::string& name, const CreateOptions& options) {
  return Do(DecideTopicCreation({.topic = {.name = name},
                                 .partition_count = options.partitions,
                                 .replication_factor = options.replication_factor,
                                 .configs = options.configs,
                                 .tag = {.request_id = options.request_id}},
                                *image_, Draw()));
}

void Scene::Create(const std::string& name, const CreateOptions& options) {
  const Result<Decision> decided = TryCreate(name, options);
  CHECK(decided.ok()) << decided.status();
}

void Scene::Delete(const std::string& name) {
  const Result<Decision> decided = Do(DecideTopicDeletion({.topic = {.name = name}}, *image_, Draw()));
  CHECK(decided.ok()) << decided.status();
}

void Scene::SetAlive(uint64_t node, bool alive) {
  Record out;
  out.mutable_node_liveness_changed()->set_node_id(node);
  out.mutable_node_liveness_changed()->set_liveness(alive ? record::NODE_LIVENESS_ALIVE : record::NODE_LIVENESS_FAILED);
  out.mutable_node_liveness_changed()->set_changed_at_ms(now_ms);
  Replay({out});
}

Result<Decision> Scene::Register(const RegisterNode& request) { return Do(DecideRegistration(request, *image_, Draw())); }

void Scene::SetMode(uint64_t node, NodeMode mode) {
  const Result<Decision> decided = Do(DecideNodeMode({.node = NodeId{node}, .mode = mode, .recommission = true}, *image_, Draw()));
  CHECK(decided.ok()) << decided.status();
}

void Scene::SetUnfit(uint64_t node, bool unfit) {
  Record out;
  out.mutable_node_fitness_changed()->set_node_id(node);
  out.mutable_node_fitness_changed()->set_unfit_to_lead(unfit);
  out.mutable_node_fitness_changed()->set_changed_at_ms(now_ms);
  Replay({out});
}

NodeId Scene::Join(uint64_t number, std::string rack) {
  const Result<Decision> decided = Register({.cluster = {}, .claimed = {}, .description = NodeCalled(number, std::move(rack))});
  CHECK(decided.ok()) << decided.status();
  return decided->outcome.node;
}

void Scene::Move(const std::string& topic, uint32_t partition, uint64_t from, uint64_t to) {
  const Result<Decision> decided =
      Do(DecideMove({.topic = {.name = topic}, .partition = partition, .from = NodeId{from}, .to = NodeId{to}}, *image_, Draw()));
  CHECK(decided.ok()) << decided.status();
}

void Scene::Settle(GroupId group) {
  const Partition& partition = *image_->FindPartition(group);
  const Result<Decision> decided =
      Do(DecideSettled({.group = group, .placement_epoch = partition.placement_epoch, .voters = partition.replicas}, *image_));
  CHECK(decided.ok()) << decided.status();
}

void Scene::SettleAll() {
  const Shared<Image> before = image_;
  before->moving.ForEach([&](GroupId group, MoveCause) { Settle(group); });
}

void Scene::Place(const std::string& topic, uint32_t partition, const std::vector<uint64_t>& nodes) {
  std::vector<NodeId> ids;
  for (const uint64_t node : nodes) ids.emplace_back(node);
  const Partition& before = this->partition(topic, partition);
  const GroupId group = before.group;
  Record target = RetargetOf(*image_, before, ids, MoveCause::kRequested, now_ms);
  target.mutable_replicas_retargeted()->set_preferred_leader(nodes.front());
  Replay({std::move(target)});
  Settle(group);
}

const Partition& Scene::partition(const std::string& name, uint32_t number) const { return *topic(name).partitions.at(number); }

std::string Told(const Partition& partition) {
  const auto list = [](const std::vector<ReplicaId>& replicas) {
    std::string text;
    for (const ReplicaId& replica : replicas) text += (text.empty() ? "" : ",") + ToString(replica);
    return text;
  };
  std::string told = list(partition.replicas) + " leader " + std::to_string(partition.preferred_leader.value());
  if (!partition.movement) return told;
  const Movement& movement = *partition.movement;
  if (!movement.leaving.empty()) told += " leaving " + list(movement.leaving);
  static constexpr const char* kCauses[] = {"requested", "decommission", "balance", "rebuild", "cancelled"};
  return told + " was " + list(movement.settled) + " " + kCauses[static_cast<size_t>(movement.cause)];
}

const Topic& Scene::topic(const std::string& name) const {
  const Topic* topic = image_->FindTopic(kDefaultNamespace, name);
  CHECK(topic != nullptr) << name;
  return *topic;
}

std::string ReasonOf(const Status& status) {
  const Refusal refusal = RefusalOf(status);
  return std::string(refusal == Refusal::kNone ? (status.ok() ? "OK" : ReasonName(status.reason())) : RefusalName(refusal));
}

}  // namespace flotilla::metadata
