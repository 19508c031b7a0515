// Who is in the cluster: nodes register, get an id for ever, and prove with each heartbeat that they are who
// they say.
#pragma once

#include <string>

#include "server/metadata/decision.h"

namespace flotilla::metadata {

struct RegisterNode {
  // The cluster that the node's data belongs to; nil: none yet.
  Uuid cluster;
  // The id that the node's data says; 0: none yet.
  NodeId claimed;
  NodeDescription description;
  // It is the leader of the metadata that registers itself: that nobody else is that node is known, whatever
  // address it had before.
  bool by_itself = false;
};

// Outcome::node is its id. A UUID that is known gets its id back, an unknown one the next id: a wiped disk is
// a new node. No records when nothing is new. NOT_INITIALIZED; CLUSTER_MISMATCH with both ids; NODE_MISMATCH:
// the claimed id, or the address, is that of another disk (which, for an address, still lives), or the same
// UUID lives at another address (IsCopy); NODE_REMOVED:
// the claimed id was removed from the cluster; PROTOCOL_MISMATCH; what CheckDescription objects to;
// LIMIT_EXCEEDED: too many nodes.
Result<Decision> DecideRegistration(const RegisterNode& request, const Image& image, const Context& context);

// Who sends a heartbeat.
struct NodeIdentity {
  Uuid cluster;
  NodeId node;
  Uuid uuid;
  std::string peer_address = {};
};
// NOT_INITIALIZED, CLUSTER_MISMATCH, NODE_NOT_FOUND, NODE_REMOVED, NODE_MISMATCH. From another address than the
// registered one a node is not heard: it has to register there first, which is refused while the other one
// lives. An empty address is not compared.
Status CheckIdentity(const NodeIdentity& identity, const Image& image);

// Two nodes with one UUID: a data directory was copied. NODE_MISMATCH with both addresses.
Status CopiedDirectory(const NodeDescription& known, NodeId id, const std::string& elsewhere);
// Whether a refusal says that.
bool IsCopy(const Status& refusal);

struct RaiseFeatureLevel {
  // 0: the highest that all registered nodes know.
  uint32_t level = 0;
  bool validate_only = false;
};
// From which level on newer formats may be written. PROTOCOL_MISMATCH: a registered node does not know it, or
// it would go back; names the nodes. No records when the cluster is at the level. The outcome has the levels before and after.
Result<Decision> DecideFeatureLevel(const RaiseFeatureLevel& request, const Image& image);

}  // namespace flotilla::metadata
