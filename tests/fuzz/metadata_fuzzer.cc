// Arbitrary bytes as a batch of metadata records on an image with topics and nodes, and as a whole snapshot: refused, or an image that
// travels as a snapshot and comes out the same.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "server/metadata/image_codec.h"
#include "server/metadata/replay.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::metadata;

namespace {

constexpr LogIndex kFounded{10};

std::string Uuid16(char fill) { return std::string(16, fill); }

void AddTopic(const std::string& id, const std::string& name, std::vector<uint64_t> groups, Batch* batch) {
  record::TopicCreated& topic = *batch->add_records()->mutable_topic_created();
  topic.set_topic_id(id);
  topic.set_namespace_("default");
  topic.set_name(name);
  topic.set_partition_count(static_cast<uint32_t>(groups.size()));
  topic.set_replication_factor(3);
  topic.set_config_version(1);
  for (size_t number = 0; number < groups.size(); ++number) {
    record::PartitionCreated& partition = *batch->add_records()->mutable_partition_created();
    partition.set_topic_id(id);
    partition.set_partition(static_cast<uint32_t>(number));
    partition.set_group_id(groups[number]);
    for (uint64_t node = 1; node <= 3; ++node) partition.add_replicas()->set_node_id(node);
  }
}

// Three nodes; topics "t" with two partitions and "u" with one.
Shared<Image> Founded() {
  Batch batch;
  record::ClusterInitialized& cluster = *batch.add_records()->mutable_cluster_initialized();
  cluster.set_cluster_id(Uuid16('c'));
  cluster.set_feature_level(1);
  const Shared<Image> empty = std::make_shared<const Image>();
  for (uint64_t id = 1; id <= 3; ++id) {
    record::NodeRegistered& node = *batch.add_records()->mutable_node_registered();
    node.set_node_id(id);
    node.set_node_uuid(Uuid16(static_cast<char>('0' + id)));
    node.set_name("n" + std::to_string(id));
    node.set_feature_level_min(1);
    node.set_feature_level_max(1);
  }
  const uint64_t group = empty->next_group.value();
  AddTopic(Uuid16('t'), "t", {group, group + 1}, &batch);
  AddTopic(Uuid16('u'), "u", {group + 2}, &batch);
  batch.set_previous_version(empty->version.value());
  const Result<Shared<Image>> image = ReplayBatch(empty, batch, kFounded);
  CHECK(image.ok()) << image.status();
  return *image;
}

void CheckTravels(const Image& image) {
  if (!kSupportedFeatures.Contains(image.feature_level())) return;  // whoever is behind stops at the next batch
  const std::vector<Bytes> chunks = EncodeImage(image);
  const Result<Shared<Image>> same = DecodeImage(chunks, kSupportedFeatures);
  CHECK(same.ok()) << same.status();
  CHECK_EQ(ImageChecksum(**same), ImageChecksum(image));
}

void Replayed(std::string_view input, const Shared<Image>& founded) {
  Result<Batch> batch = DecodeBatch(input, kSupportedFeatures);
  if (!batch.ok()) return;
  batch->set_previous_version(founded->version.value());
  const Result<Shared<Image>> image = ReplayBatch(founded, *batch, kFounded + 1);
  if (!image.ok()) {
    CHECK(image.status().reason() == Reason::kReplicaFaulted) << image.status();
    return;
  }
  CheckTravels(**image);
}

// The checksum that the bytes claim is what hides everything behind it: it is made right.
void Snapshot(std::string_view input) {
  const std::array<Bytes, 1> as_it_is = {Bytes::Copy(input)};
  (void)DecodeImage(as_it_is, kSupportedFeatures);
  const Result<record::MetadataSnapshotChunk> part = DecodeSnapshotChunk(input, kSupportedFeatures);
  if (!part.ok()) return;
  ImageBuilder builder(Image{}, RecordSource::kSnapshot);
  for (const Record& record : part->records()) {
    if (!builder.Apply(record).ok()) return;
  }
  const Result<Shared<Image>> image = builder.Finish(LogIndex{part->version()});
  if (image.ok()) CheckTravels(**image);
}

}  // namespace

FLOTILLA_FUZZ(input) {
  static const Shared<Image> founded = Founded();
  Replayed(input, founded);
  Snapshot(input);
}
