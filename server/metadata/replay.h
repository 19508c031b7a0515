// Records become images: the only way in which an image comes to be. Every node replays the same records, so
// every node has the same image; a record that does not fit stops the replay, because whoever guessed would
// drift away from the others.
//
//   Result<Shared<Image>> next = ReplayBatch(image, batch, entry.index());
//   if (!next.ok()) ...   // this node takes no further part
#pragma once

#include <map>
#include <memory>

#include "server/metadata/image.h"
#include "server/metadata/records.h"
#include "storage/base/status.h"

namespace flotilla::metadata {

// `before` with everything of the batch, which stands at `index` of the log. REPLICA_FAULTED: the batch was
// decided on another image than `before`, or a record contradicts it; names the record.
Result<Shared<Image>> ReplayBatch(const Shared<Image>& before, const Batch& batch, LogIndex index);

// In a snapshot counters come last and groups come by topic, so ids are not checked to be the next ones; and
// nothing is forgotten, because that was done when it was taken.
enum class RecordSource : uint8_t { kLog, kSnapshot };

// Applies records one by one. A topic that is changed is copied once, however many of its partitions are.
class ImageBuilder {
 public:
  ImageBuilder(const Image& base, RecordSource source) : image_(base), source_(source) {}

  // REPLICA_FAULTED: does not fit; the builder is of no use afterwards.
  Status Apply(const Record& record);
  // The image of that version. REPLICA_FAULTED: a topic lacks partitions that were announced. Once.
  Result<Shared<Image>> Finish(LogIndex version);

 private:
  // A topic that this builder changes.
  struct OpenTopic {
    std::shared_ptr<Topic> topic;
    uint32_t partitions_announced = 0;
  };

  Status Add(const record::ClusterInitialized& record);
  Status Add(const record::FeatureLevelChanged& record);
  Status Add(const record::NodeRegistered& record);
  Status Add(const record::NodeLivenessChanged& record);
  Status Add(const record::TopicCreated& record);
  Status Add(const record::PartitionCreated& record);
  Status Add(const record::PartitionsAdded& record);
  Status Add(const record::TopicDeleted& record);
  Status Add(const record::ConfigChanged& record);
  Status Add(const record::LeaderPreferenceChanged& record);
  Status Add(const record::RequestRemembered& record);
  Status Add(const record::CountersRestored& record);
  Status Add(const record::ProducerIdsReserved& record);
  Status Add(const record::ProducerEpochRaised& record);
  Status Add(const record::NodeModeChanged& record);
  Status Add(const record::NodeFitnessChanged& record);
  Status Add(const record::NodeRemoved& record);
  Status Add(const record::ReplicasRetargeted& record);
  Status Add(const record::ReplicasSettled& record);
  Status Add(const record::SurvivorChosen& record);
  Status Add(const record::MetadataRecovered& record);
  Status Add(const record::BalancingChanged& record);

  // Null: there is no such topic.
  OpenTopic* Open(const std::string& id_bytes);
  // Where the partition of a group stands in its topic, which is opened. Null: there is none.
  Shared<Partition>* SlotOf(GroupId group);
  Result<Shared<Partition>> PartitionOf(const record::PartitionCreated& record);
  Result<std::vector<ReplicaId>> ReplicasOf(const google::protobuf::RepeatedPtrField<record::PartitionReplica>& replicas) const;
  Status RestoreMovement(const record::PartitionMovement& record, Partition* partition) const;
  // The partition in `slot` is another one from here on.
  void Replace(Shared<Partition>* slot, Partition partition);
  void ForgetRequests(int64_t now_ms);
  void ForgetRaisedProducers(int64_t now_ms);
  void Index(const Uuid& topic, const Partition& partition);
  void Unindex(const Partition& partition);
  void MoveLoad(NodeId node, int64_t replicas, int64_t preferred_leaders);

  Image image_;
  const RecordSource source_;
  std::map<Uuid, OpenTopic> open_;
};

}  // namespace flotilla::metadata
