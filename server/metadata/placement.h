// Where the replicas of new partitions go. Deterministic: the same loads, request and seed give the same
// places.
//
// Replicas of one partition stand on different nodes, and in as many racks as there are. Beyond that the
// topic is spread evenly, and among the ways to do that the one is taken that evens out what nodes carry
// altogether; so a new, empty node takes its share of a new topic, not all of it. The first replica should
// lead; those are spread by the same rule.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/metadata/image.h"

namespace flotilla::metadata {

// A node that may get replicas.
struct PlacementNode {
  NodeId id;
  std::string rack;   // empty: a rack of its own
  NodeLoad load;      // of everything that is there
  NodeLoad topic;     // of the topic that grows
  bool leads = true;  // it should lead, if another could as well: it is not drained
};

struct PlacementRequest {
  uint32_t partitions = 0;  // to be placed
  uint32_t replication_factor = 0;
  uint64_t replicas_per_node_max = 0;
  uint64_t seed = 0;
};

struct Placement {
  // Per partition the nodes of its replicas; the first should lead. Ends early when no `replication_factor`
  // nodes have room.
  std::vector<std::vector<NodeId>> partitions;
};

Placement PlaceReplicas(std::vector<PlacementNode> nodes, const PlacementRequest& request);

// The nodes of the image that take replicas, and what they carry; `topic` may be null.
std::vector<PlacementNode> PlacementNodes(const Image& image, const Topic* topic);

struct ReplacementRequest {
  NodeId from;
  uint64_t seed = 0;
};
// Where the replica of a partition on `from` had better be, by the same rules; 0: no node that takes replicas
// and has none of it has room.
NodeId PlaceInstead(const Image& image, const Topic& topic, const Partition& partition, const ReplacementRequest& request);

}  // namespace flotilla::metadata
