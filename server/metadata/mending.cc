#include "server/metadata/mending.h"

#include <algorithm>
#include <utility>

#include "server/metadata/moves.h"

namespace flotilla::metadata {
namespace {

class Mender {
 public:
  Mender(const Image& image, const std::set<DamagedReplica>& damaged, const MendOptions& options)
      : image_(image), damaged_(damaged), options_(options) {}

  std::vector<Record> Plan() {
    std::set<GroupId> lost;
    image_.moving.ForEach([&](GroupId group, MoveCause cause) {
      const Partition& partition = *image_.FindPartition(group);
      const std::vector<ReplicaId> awaited = cause == MoveCause::kCancelled ? partition.replicas : partition.NewReplicas();
      const auto at = std::find_if(awaited.begin(), awaited.end(), [&](const ReplicaId& id) { return damaged_.contains({group, id}); });
      if (at == awaited.end() || Pauses(*partition.movement)) return;
      if (OthersDecide(partition, *at)) {
        records_.push_back(RebuildOf(partition, at->node, cause, options_.now_ms));
      } else {
        lost.insert(group);
      }
    });
    std::vector<Record> back = CallOff(image_, options_.now_ms, [&](const Partition& partition) { return lost.contains(partition.group); });
    std::move(back.begin(), back.end(), std::back_inserter(records_));
    return std::move(records_);
  }

 private:
  // A leader whose clock is behind that of the one before does not wait for it.
  bool Pauses(const Movement& movement) const {
    return movement.since_ms <= options_.now_ms && options_.now_ms < movement.since_ms + options_.pause_ms;
  }
  bool OthersDecide(const Partition& partition, ReplicaId without) const {
    return SoundMajority(partition, partition.replicas, without) && SoundMajority(partition, partition.movement->settled, without);
  }
  bool SoundMajority(const Partition& partition, const std::vector<ReplicaId>& replicas, ReplicaId without) const {
    const auto sound = std::count_if(replicas.begin(), replicas.end(), [&](const ReplicaId& id) {
      const Node* node = image_.FindNode(id.node);
      const bool exists = id != without && partition.ReplicaOn(id.node) == id;
      return exists && node != nullptr && node->alive && !damaged_.contains({partition.group, id});
    });
    return 2 * static_cast<size_t>(sound) > replicas.size();
  }

  const Image& image_;
  const std::set<DamagedReplica>& damaged_;
  const MendOptions options_;
  std::vector<Record> records_;
};

}  // namespace

std::vector<Record> PlanMending(const Image& image, const std::set<DamagedReplica>& damaged, const MendOptions& options) {
  if (damaged.empty() || image.moving.empty()) return {};
  return Mender(image, damaged, options).Plan();
}

}  // namespace flotilla::metadata
