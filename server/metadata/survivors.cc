#include "server/metadata/survivors.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "server/metadata/moves.h"
#include "server/metadata/node_rules.h"
#include "server/metadata/placement.h"
#include "server/metadata/request_memory.h"

namespace flotilla::metadata {
namespace {

bool Contains(const std::vector<ReplicaId>& replicas, const ReplicaId& id) {
  return std::find(replicas.begin(), replicas.end(), id) != replicas.end();
}

// Whether the group can go on: `sound` are a majority of its replicas, and while they change of those from before,
// too.
bool HasMajority(const Partition& partition, const std::vector<ReplicaId>& sound) {
  const auto decides = [&](const std::vector<ReplicaId>& replicas) {
    const auto count = std::count_if(replicas.begin(), replicas.end(), [&](const ReplicaId& id) { return Contains(sound, id); });
    return 2 * static_cast<size_t>(count) > replicas.size();
  };
  return decides(partition.replicas) && (!partition.movement || decides(partition.movement->settled));
}

Record RecordOf(const Partition& partition, const ReplicaId& kept, const ChooseSurvivor& request, int64_t now_ms) {
  Record out;
  record::SurvivorChosen& record = *out.mutable_survivor_chosen();
  record.set_group_id(partition.group.value());
  record.set_placement_epoch(partition.placement_epoch + 1);
  record.mutable_kept()->set_node_id(kept.node.value());
  record.mutable_kept()->set_incarnation(kept.incarnation);
  record.set_next_incarnation(partition.next_incarnation);
  std::vector<ReplicaId> given_up = partition.Existing();
  std::sort(given_up.begin(), given_up.end());
  for (const ReplicaId& replica : given_up) {
    if (replica == kept) continue;
    record::PartitionReplica& lost = *record.add_lost();
    lost.set_node_id(replica.node.value());
    lost.set_incarnation(replica.incarnation);
  }
  record.set_end_offset(request.end.value());
  record.set_committed_offset(request.committed.value());
  record.set_at_ms(now_ms);
  return out;
}

Result<Decision> Choose(const ChooseSurvivor& request, const Image& image, const Context& context) {
  const Result<PartitionChoice> choice = SelectPartition(request.topic, request.partition, image);
  if (!choice.ok()) return choice.status();
  const Partition& partition = *choice->partition;
  if (HasMajority(partition, request.sound)) {
    return About(Refuse(Refusal::kQuorumAlive, "a majority of the replicas of partition " + choice->name() +
                                                   " is there and sound, it goes on by itself; nothing was given up"),
                 *choice);
  }
  if (Result<const Node*> node = SelectNode(request.keep, image); !node.ok()) return node.status();
  const ReplicaId kept = partition.ReplicaOn(request.keep);
  if (!kept.valid() || !Contains(request.sound, kept)) {
    std::string sound;
    for (const ReplicaId& replica : request.sound) sound += (sound.empty() ? "" : ", ") + std::to_string(replica.node.value());
    return About(Refuse(Refusal::kReplicaNotFound, "node " + std::to_string(request.keep.value()) + " has no sound replica of partition " +
                                                       choice->name() + "; " +
                                                       (sound.empty() ? "no node that answers has" : "these nodes have: " + sound)),
                 *choice)
        .With("node_id", request.keep.value());
  }
  return Decision{.records = {RecordOf(partition, kept, request, context.now_ms)},
                  .outcome = {.node = request.keep, .topic = choice->topic->id}};
}

// Nodes for as many replicas as the topic wants; nothing: there are not enough.
std::optional<std::vector<NodeId>> PlacesOf(const Image& image, const Topic& topic, Partition partition, uint64_t seed) {
  std::vector<NodeId> nodes = {partition.replicas.front().node};
  while (partition.replicas.size() < topic.replication_factor) {
    const NodeId next = PlaceInstead(image, topic, partition, {.from = {}, .seed = seed});
    if (next == NodeId{}) return std::nullopt;
    nodes.push_back(next);
    partition.replicas.push_back({next, 0});
  }
  return nodes;
}

}  // namespace

Result<Decision> DecideSurvivor(const ChooseSurvivor& request, const Image& image, const Context& context) {
  Fingerprint fingerprint("choose_survivor");
  fingerprint.Add(request.topic.name).Add(request.topic.id.bytes()).Add(static_cast<uint64_t>(request.partition));
  fingerprint.Add(request.asked_for.value());
  return DecideOnce({request.tag, fingerprint.value()}, image, context, [&] { return Choose(request, image, context); });
}

std::vector<Record> PlanRegrowth(const Image& image, const Context& context) {
  std::vector<Record> records;
  image.survivals.ForEach([&](GroupId group, const Shared<Survival>&) {
    const Topic& topic = *image.FindTopic(image.groups.Find(group)->topic);
    const Partition& partition = *image.FindPartition(group);
    if (partition.movement || partition.replicas.size() >= topic.replication_factor) return;
    const auto nodes = PlacesOf(image, topic, partition, context.seed);
    if (nodes) records.push_back(RetargetOf(image, partition, *nodes, MoveCause::kRebuild, context.now_ms));
  });
  return records;
}

}  // namespace flotilla::metadata
