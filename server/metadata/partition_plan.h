// What a node has to do about its replicas when the metadata changes: decided here, done by whoever owns the
// groups.
//
//   for (PartitionAction& action : PlanStart(*image, self, stored)) Do(action);      // once
//   for (PartitionAction& action : PlanChange(*before, *after, self)) Do(action);    // at each new image
//
// Carried out in order. Doing it again does no harm: a group that exists is not created, one that is gone is
// not destroyed.
#pragma once

#include <span>
#include <variant>
#include <vector>

#include "raft/node/raft_host.h"
#include "server/metadata/difference.h"
#include "server/metadata/image.h"

namespace flotilla::metadata {

// The replica is not there yet.
struct CreateReplica {
  raft::NewGroup group;
  PartitionKey partition;
};
// The replica is in the store: take part.
struct OpenReplica {
  GroupId group;
  PartitionKey partition;
  // Nobody else could lead: ask for votes at once, do not wait for a timeout.
  bool campaign = false;
};
// The settings of the topic changed, or those of the cluster that it falls back to.
struct ConfigureReplica {
  GroupId group;
  PartitionKey partition;
};
// The replica is not of this cluster any more: stop, and delete what there is.
struct DestroyReplica {
  GroupId group;
};
using PartitionAction = std::variant<CreateReplica, OpenReplica, ConfigureReplica, DestroyReplica>;

// A group of the store, other than group 0.
struct StoredReplica {
  GroupId group;
  ReplicaId self;
};

// When the node starts, or its image was replaced by a snapshot: by group. A stored group that the image has
// not heard of yet (its id was not given as of the image's version) is left alone: metadata is still being
// replayed. One that the image knows to be gone, or that belongs to an earlier life, is destroyed.
std::vector<PartitionAction> PlanStart(const Image& image, NodeId self,
                                       std::span<const StoredReplica> stored);

// What the step from one image to the next asks for: first what goes, then what comes, then what changes,
// each by topic and number.
std::vector<PartitionAction> PlanChange(const Image& before, const Image& after, NodeId self);

// How the replica on `self` begins: the members, the same for all of them, and whether it asks for votes at
// once. Of the first members one does: the preferred leader, or if that one is dead, the first that lives.
CreateReplica PlanReplica(const Image& image, const Topic& topic, const Partition& partition, NodeId self);

}  // namespace flotilla::metadata
