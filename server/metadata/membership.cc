#include "server/metadata/membership.h"

#include <algorithm>
#include <limits>

#include "server/metadata/limits.h"
#include "server/metadata/node_rules.h"

namespace flotilla::metadata {
namespace {

std::string Text(FeatureRange range) { return std::to_string(range.min) + "-" + std::to_string(range.max); }

Status CheckCluster(const Uuid& theirs, const Image& image) {
  if (!image.cluster) {
    return Refuse(Refusal::kNotInitialized, "the cluster does not exist yet; run `flotilla cluster init` once, on any node");
  }
  if (theirs.nil() || theirs == image.cluster->id) return {};
  return Refuse(Refusal::kClusterMismatch, "the node's data belongs to cluster " + theirs.ToString() + ", this is cluster " +
                                               image.cluster->id.ToString() +
                                               "; correct its seeds, or start it with an empty data directory")
      .With("ours", image.cluster->id.ToString())
      .With("theirs", theirs.ToString());
}

Status CheckFeatures(const NodeDescription& node, const Image& image) {
  if (node.features.Contains(image.feature_level())) return {};
  const bool too_old = node.features.max < image.feature_level();
  return Refuse(Refusal::kProtocolMismatch,
                "version " + Quoted(node.software_version) + " knows feature levels " + Text(node.features) + ", the cluster runs at " +
                    std::to_string(image.feature_level()) +
                    (too_old ? "; install a newer version on the node" : "; upgrade the cluster version by version"))
      .With("ours", std::to_string(image.feature_level()) + "-" + std::to_string(image.feature_level()))
      .With("theirs", Text(node.features));
}

Status RemovedForGood(NodeId id) {
  return Refuse(Refusal::kNodeRemoved, "node " + std::to_string(id.value()) +
                                           " was removed from the cluster; start it with an empty data directory to join as a new node")
      .With("node_id", id.value());
}

Status ForeignId(NodeId claimed, const Uuid& ours, const Uuid& theirs, std::string message) {
  return Refuse(Refusal::kNodeMismatch, std::move(message))
      .With("node_id", claimed.value())
      .With("ours", ours.ToString())
      .With("theirs", theirs.ToString());
}

// A node whose data says an id has to be the node that was given it.
Status CheckClaim(const RegisterNode& request, const Node* known, const Image& image) {
  if (request.claimed == NodeId{}) return {};
  const Uuid& uuid = request.description.uuid;
  const std::string claims = "the node with UUID " + uuid.ToString() + " claims id " + std::to_string(request.claimed.value());
  if (known != nullptr) {
    if (known->id == request.claimed) return {};
    return ForeignId(request.claimed, uuid, uuid, claims + ", but it is " + Describe(*known) + "; its data directory was tampered with");
  }
  const Node* owner = image.FindNode(request.claimed);
  if (image.WasRemoved(request.claimed)) return RemovedForGood(request.claimed);
  if (owner == nullptr) {
    return ForeignId(request.claimed, Uuid(), uuid, claims + ", which was never given; start it with an empty data directory");
  }
  return ForeignId(request.claimed, owner->description.uuid, uuid,
                   claims + ", which is " + Describe(*owner) + "; start it with an empty data directory to join as a new node");
}

// Two living nodes at one address: one of them would get the other's messages.
Status CheckAddresses(const NodeDescription& node, const Image& image) {
  for (const Node* other : image.LivingNodes()) {
    const NodeDescription& taken = other->description;
    if (taken.uuid == node.uuid) continue;
    if (taken.peer_address != node.peer_address && taken.client_address != node.client_address) continue;
    const std::string& address = taken.peer_address == node.peer_address ? node.peer_address : node.client_address;
    return Refuse(Refusal::kNodeMismatch, "address " + address + " is that of " + Describe(*other) +
                                              ", which is alive; give this node an address of its own. If "
                                              "its disk was replaced, it may register as a new node "
                                              "once the old one is seen to have failed")
        .With("node_id", other->id.value())
        .With("ours", taken.uuid.ToString())
        .With("theirs", node.uuid.ToString())
        .With("address", address);
  }
  return {};
}

// A node that has moved is silent at its old address: it is seen to have failed, and registers then.
Status CheckOriginal(const RegisterNode& request, const Node* known) {
  if (known == nullptr || !known->alive || request.by_itself) return {};
  if (known->description.peer_address == request.description.peer_address) return {};
  return CopiedDirectory(known->description, known->id, request.description.peer_address);
}

}  // namespace

Status CopiedDirectory(const NodeDescription& known, NodeId id, const std::string& elsewhere) {
  const std::string uuid = known.uuid.ToString();
  return Refuse(Refusal::kNodeMismatch, "node " + std::to_string(id.value()) + " (" + known.name + ", UUID " + uuid + ") is alive at " +
                                            known.peer_address + ", and another process at " + elsewhere +
                                            " has the same UUID: its data directory is a copy. Start it with an empty one to join as a "
                                            "new node. If the node is to move, stop it at " +
                                            known.peer_address + " first")
      .With("node_id", id.value())
      .With("ours", uuid)
      .With("theirs", uuid)
      .With("address", known.peer_address);
}

bool IsCopy(const Status& refusal) {
  return RefusalOf(refusal) == Refusal::kNodeMismatch && refusal.Detail("address") && refusal.Detail("ours") == refusal.Detail("theirs");
}

Result<Decision> DecideRegistration(const RegisterNode& request, const Image& image, const Context& context) {
  const NodeDescription& description = request.description;
  FLOTILLA_RETURN_IF_ERROR(CheckCluster(request.cluster, image));
  FLOTILLA_RETURN_IF_ERROR(CheckDescription(description));
  const Node* known = image.FindNode(description.uuid);
  FLOTILLA_RETURN_IF_ERROR(CheckClaim(request, known, image));
  FLOTILLA_RETURN_IF_ERROR(CheckOriginal(request, known));
  FLOTILLA_RETURN_IF_ERROR(CheckFeatures(description, image));
  FLOTILLA_RETURN_IF_ERROR(CheckAddresses(description, image));
  Decision decision{.records = {}, .outcome = {.cluster = image.cluster->id}};
  if (known != nullptr) {
    decision.outcome.node = known->id;
    decision.outcome.repeated = known->alive && known->description == description;
    if (decision.outcome.repeated) return decision;
  } else {
    if (image.nodes.size() >= limits::kNodesMax) {
      return Status(Reason::kLimitExceeded,
                    "the cluster has " + std::to_string(image.nodes.size()) + " nodes, dead ones included, which is the limit")
          .With("field", "nodes")
          .With("limit", limits::kNodesMax)
          .With("value", image.nodes.size() + 1);
    }
    decision.outcome.node = image.next_node;
  }
  decision.records.push_back(RegistrationOf(decision.outcome.node, description, context.now_ms));
  return decision;
}

Status CheckIdentity(const NodeIdentity& identity, const Image& image) {
  FLOTILLA_RETURN_IF_ERROR(CheckCluster(identity.cluster, image));
  const Node* node = image.FindNode(identity.node);
  if (image.WasRemoved(identity.node)) return RemovedForGood(identity.node);
  if (node == nullptr) {
    return Refuse(Refusal::kNodeNotFound,
                  "node " + std::to_string(identity.node.value()) + " is not registered; it has to register before it sends heartbeats")
        .With("node_id", identity.node.value());
  }
  const NodeDescription& known = node->description;
  const bool elsewhere = !identity.peer_address.empty() && known.peer_address != identity.peer_address;
  if (known.uuid == identity.uuid && elsewhere) {
    return Refuse(Refusal::kNodeMismatch, Describe(*node) + " is registered at " + known.peer_address + ", and this comes from " +
                                              identity.peer_address + "; it has to register there first")
        .With("node_id", identity.node.value())
        .With("ours", known.uuid.ToString())
        .With("theirs", known.uuid.ToString());
  }
  if (known.uuid == identity.uuid) return {};
  return ForeignId(identity.node, node->description.uuid, identity.uuid,
                   "the node with UUID " + identity.uuid.ToString() + " claims to be " + Describe(*node) +
                       "; start it with an empty data directory to join as a new node");
}

Result<Decision> DecideFeatureLevel(const RaiseFeatureLevel& request, const Image& image) {
  FLOTILLA_RETURN_IF_ERROR(CheckCluster(Uuid(), image));
  uint32_t level = request.level;
  if (level == 0) {
    level = std::numeric_limits<uint32_t>::max();
    image.nodes.ForEach([&level](NodeId, const Shared<Node>& node) { level = std::min(level, node->description.features.max); });
  }
  Decision decision{.records = {}, .outcome = {.cluster = image.cluster->id}};
  decision.outcome.feature_level_before = image.feature_level();
  decision.outcome.feature_level = level;
  if (level == image.feature_level()) {
    decision.outcome.repeated = true;
    return decision;
  }
  if (level < image.feature_level()) {
    return Refuse(Refusal::kProtocolMismatch, "feature level " + std::to_string(level) + " is below the cluster's " +
                                                  std::to_string(image.feature_level()) + "; levels only rise");
  }
  std::string too_old;
  image.nodes.ForEach([&](NodeId, const Shared<Node>& node) {
    if (node->description.features.max < level) too_old += (too_old.empty() ? "" : ", ") + Describe(*node);
  });
  if (!too_old.empty()) {
    return Refuse(Refusal::kProtocolMismatch, "feature level " + std::to_string(level) + " is not known to " + too_old +
                                                  "; upgrade them first, or remove them if they are gone");
  }
  if (request.validate_only) return decision;
  Record out;
  out.mutable_feature_level_changed()->set_feature_level(level);
  decision.records.push_back(std::move(out));
  return decision;
}

}  // namespace flotilla::metadata
