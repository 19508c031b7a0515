// Changes of replicas as clients see them. What is wanted stands in the image; how far it is says the leader of the group. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "flotilla/internal/v1/peer.pb.h"
#include "flotilla/v1/admin.pb.h"
#include "server/metadata/image.h"

namespace flotilla::broker {

// What new replicas get, and what is left of it.
struct CopyProgress {
  uint64_t bytes = 0;  // about; 0: not known
  uint64_t bytes_left = 0;
  uint64_t entries = 0;
  uint64_t entries_left = 0;
};
CopyProgress CopyOf(const metadata::Partition& partition, const internal::v1::GroupDescription& group);

// Of a partition that is moving. `group` is null when its leader does not answer. Without the time that is left: -1.
v1::Move DescribeMove(const metadata::Topic& topic, const metadata::Partition& partition, const internal::v1::GroupDescription* group);

// Replicas that the move brings: wanted, and not there before.
std::vector<ReplicaId> Arriving(const metadata::Partition& partition);
// Nodes that have a replica which goes, or is replaced by another life of it; sorted.
std::vector<NodeId> NodesLeft(const metadata::Partition& partition);

}  // namespace flotilla::broker
