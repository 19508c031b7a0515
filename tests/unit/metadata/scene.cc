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
  out.mutable_node_liveness_changed()->set_liveness(alive ? record::NODE_LIVENESS_ALIVE
                                                          : record::NODE_LIVENESS_FAILED);
  out.mutable_node_liveness_changed()->set_changed_at_ms(now_ms);
  Replay({out});
}

Result<Decision> Scene::Register(const RegisterNode& request) {
  return Do(DecideRegistration(request, *image_, Draw()));
}

const Topic& Scene::topic(const std::string& name) const {
  const Topic* topic = image_->FindTopic(kDefaultNamespace, name);
  CHECK(topic != nullptr) << name;
  return *topic;
}

std::string ReasonOf(const Status& status) {
  const Refusal refusal = RefusalOf(status);
  return std::string(refusal == Refusal::kNone ? (status.ok() ? "OK" : ReasonName(status.reason()))
                                               : RefusalName(refusal));
}

}  // namespace flotilla::metadata
