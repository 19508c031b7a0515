// How a cluster begins. Somebody asks one node, once; that node asks all the others what they are, makes a
// plan, and hands it to them.
//
//   Result<Founding> plan = PlanFounding(Uuid::Random(random), answers);
//   host.CreateGroup({.group = kMetadataGroup, .configuration = plan->configuration, .campaign = mine}, ...);
//   DecideFounding(*plan, *image, context);
//
// Each founder makes group 0 with the plan's configuration; the one that made the plan campaigns. Whoever
// leads group 0 first proposes the plan's records, until the image says that the cluster exists.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "raft/core/configuration.h"
#include "server/metadata/decision.h"

namespace flotilla::metadata {

// What a node says when it is asked whether it could found a cluster.
struct FounderAnswer {
  NodeDescription description;
  // The cluster that it belongs to already.
  std::optional<Uuid> cluster;
};

struct Founding {
  Uuid cluster;
  uint32_t feature_level = 0;
  // Node i + 1 of the cluster is founders[i].
  std::vector<NodeDescription> founders;
  // Of group 0: an odd number of voters, at most limits::kMetadataVotersMax, spread over racks; the others
  // learn.
  raft::Configuration configuration;

  // The id of the founder with this UUID; 0: it is none.
  NodeId IdOf(const Uuid& node) const;
};

// How many of so many nodes vote in group 0: the largest odd number up to limits::kMetadataVotersMax. One
// more would not survive one more failure.
size_t MetadataVoterCount(size_t nodes);

// ALREADY_INITIALIZED (cluster_id, address): a founder belongs to a cluster. INVALID_ARGUMENT: no founders,
// two with one UUID or one address, or one that describes itself badly. PROTOCOL_MISMATCH: no feature level
// that all of them know.
Result<Founding> PlanFounding(const Uuid& cluster, std::span<const FounderAnswer> answers);

// The records of the plan; none when they are in the image already. ALREADY_INITIALIZED: the image is another
// cluster's.
Result<Decision> DecideFounding(const Founding& founding, const Image& image, const Context& context);

}  // namespace flotilla::metadata
