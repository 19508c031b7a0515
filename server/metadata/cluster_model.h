// What nodes carry, for planning: replicas and preferences are moved about in it one by one, without records.
//
//   ClusterModel model(image, sizes, {.replica_cost_bytes = 16 << 20});
//   model.Move({.partition = 7, .from = 0, .to = 3});
//   model.nodes()[3].weight
//
// Nodes and partitions are counted from 0, by id and by group. A replica that is leaving weighs nothing and
// takes its place. Refers to the image.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/metadata/image.h"
#include "server/metadata/move_plan.h"

namespace flotilla::metadata {

struct ClusterModelOptions {
  uint64_t replica_cost_bytes = 0;
  // A move is over as soon as it is made; otherwise it is under way from then on.
  bool settles_at_once = false;
};

struct ReplicaMove {
  size_t partition = 0;
  size_t from = 0;
  size_t to = 0;
};

class ClusterModel {
 public:
  struct NodeRow {
    const Node* node = nullptr;
    size_t rack = 0;                 // one that it shares, counted from 1; 0: a rack of its own
    std::vector<size_t> partitions;  // that shall have a replica here, the heaviest first
    uint64_t weight = 0;             // of these
    uint64_t replicas = 0;           // that are here or come; those that are leaving, too
    uint64_t leaders = 0;            // preferences
    size_t receiving = 0;            // of `partitions`, those that are new here
    uint64_t touched = 0;            // by which move it last became possible that more can go from here
  };
  struct PartitionRow {
    const Topic* topic = nullptr;
    const Partition* partition = nullptr;
    size_t topic_number = 0;
    uint64_t bytes = 0;
    uint64_t weight = 0;
    std::vector<size_t> wanted;  // nodes, in the order of the replicas
    std::vector<size_t> leaving;
    size_t preferred = 0;
    bool settled = true;  // its replicas are not being changed
    bool decides = true;  // HasLivingMajority (moves.h)

    bool WantedOn(size_t node) const;
    bool LeavesFrom(size_t node) const;
    std::string name() const;
  };

  ClusterModel(const Image& image, const GroupSizes& sizes, const ClusterModelOptions& options);

  const std::vector<NodeRow>& nodes() const { return nodes_; }
  const std::vector<PartitionRow>& partitions() const { return partitions_; }
  size_t NodeOf(NodeId id) const { return node_numbers_.at(id.value()); }
  size_t PartitionOf(GroupId group) const;

  // Some nodes share a rack.
  bool has_racks() const { return has_racks_; }
  // Moves so far.
  uint64_t moves() const { return moves_; }

  // How many replicas of the partition stand in the rack of `node`, but for those on `node` itself and on
  // `from`.
  size_t Crowd(const PartitionRow& row, size_t node, size_t from) const;
  // Replicas of the topic on the node.
  uint32_t TopicReplicas(const PartitionRow& row, size_t node) const { return topic_replicas_[row.topic_number][node]; }

  // `from` is wanted, `to` is not. Who should lead follows as in RetargetOf.
  void Move(const ReplicaMove& move);
  // Another node should lead; it is wanted.
  void Prefer(size_t partition, size_t node);

 private:
  void AddNodes(const Image& image);
  void AddPartition(const Topic& topic, const Partition& partition);
  std::vector<size_t> NodesOf(const std::vector<ReplicaId>& replicas) const;
  bool Decides(const std::vector<ReplicaId>& replicas) const;
  void CountReceiving(const PartitionRow& row);
  // Whether `a` comes before `b` in NodeRow::partitions.
  bool Before(size_t a, size_t b) const;

  const ClusterModelOptions options_;
  std::vector<NodeRow> nodes_;
  std::vector<size_t> node_numbers_;  // by id
  bool has_racks_ = false;
  uint64_t moves_ = 0;
  std::vector<PartitionRow> partitions_;
  std::vector<std::vector<uint32_t>> topic_replicas_;
};

}  // namespace flotilla::metadata
