// What changed between two images: for those who act on it, and for those who watch. Costs by what changed,
// not by what there is.
#pragma once

#include <vector>

#include "server/metadata/image.h"

namespace flotilla::metadata {

// Null on one side: it is not in that image.
template <typename T>
struct Changed {
  Shared<T> before;
  Shared<T> after;
};

struct PartitionChanged {
  Shared<Topic> topic;  // the newer one that there is
  Shared<Partition> before;
  Shared<Partition> after;
};

struct Difference {
  LogIndex from;
  LogIndex to;
  // The cluster was initialised, its feature level or its settings changed, or balancing began or ended.
  bool cluster_changed = false;
  std::vector<Changed<Node>> nodes;    // by id
  std::vector<Changed<Topic>> topics;  // by UUID; also when only a partition of it changed
  // By topic and number; all of a topic that came or went, and those whose replicas or movement changed.
  std::vector<PartitionChanged> partitions;

  bool empty() const { return !cluster_changed && nodes.empty() && topics.empty() && partitions.empty(); }
};

Difference Between(const Image& before, const Image& after);

}  // namespace flotilla::metadata
