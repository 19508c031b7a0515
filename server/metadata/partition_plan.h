// What a node has to do about its replicas when the metadata changes: decided here, done by whoever owns the
// groups.
//
//   for (PartitionAction& action : PlanStart(*image, self, stored)) Do(action);      // once
//   for (PartitionAction& action : PlanChange(*before, *after, self)) Do(action);    // at each new image
//
// Carried out in order. Doing it again does no harm: a group that exists is not created, one that is gone is
// not destroyed.
//
// After a restart the image may be an old one: older than what this very node knew, and acted on, before. So
//   - a stored replica that the image has not heard of yet is left alone: its group, or its incarnation, was
//     not given as of the image's version
//   - CreateReplica waits until the image was once confirmed to be the newest since the process began (a
//     replica that is in the store is opened at once, which is what CreateReplica means then). Otherwise a
//     replica could come back that was destroyed after its group had gone on without it: it would have
//     forgotten its votes.
#pragma once

#include <span>
#include <variant>
#include <vector>

#include "raft/node/raft_host.h"
#include "server/metadata/difference.h"
#include "server/metadata/image.h"

namespace flotilla::metadata {

// The replica is not there yet. Not before the image was confirmed, see above.
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
// The replica is not of this cluster any more: stop, and delete what there is; but not a later life of it,
// which an image that is still being replayed does not know yet.
struct DestroyReplica {
  GroupId group;
  ReplicaId self;
};
using PartitionAction = std::variant<CreateReplica, OpenReplica, ConfigureReplica, DestroyReplica>;

// A group of the store, other than group 0.
struct StoredReplica {
  GroupId group;
  ReplicaId self;
};

// Whether a stored replica will never be wanted again: incarnations are given once, groups too. False for one
// that the image has not heard of yet.
bool IsGone(const Image& image, GroupId group, ReplicaId stored);

// When the node starts, or its image was replaced by a snapshot: by group. A stored replica that the image
// has not heard of yet is left alone: metadata is still being replayed. One that the image knows to be gone,
// or that is an earlier life, is destroyed.
std::vector<PartitionAction> PlanStart(const Image& image, NodeId self, std::span<const StoredReplica> stored);

// What the step from one image to the next asks for: first what goes, then what comes, then what changes,
// each by topic and number.
std::vector<PartitionAction> PlanChange(const Image& before, const Image& after, NodeId self);

// How the replica on `self` begins. As long as all first members are there, they are its configuration, and
// one of them asks for votes at once: the preferred leader, or if that one should not lead, the first that
// may. A first member that is so late that others were added meanwhile begins alike: it is like one that was
// down since then, and cannot be elected before it has what they have. Everybody else begins without a
// configuration: the leader of the group tells it.
CreateReplica PlanReplica(const Image& image, const Topic& topic, const Partition& partition, NodeId self);

}  // namespace flotilla::metadata
