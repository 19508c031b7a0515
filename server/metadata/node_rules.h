// What a node may say of itself.
#pragma once

#include "server/errors/refusal.h"
#include "server/metadata/image.h"
#include "server/metadata/records.h"

namespace flotilla::metadata {

// INVALID_ARGUMENT or LIMIT_EXCEEDED with `field`: no UUID, an address that is not "host:port" or is too
// long, a rack or version that is too long or cannot be printed, feature levels that are no range.
Status CheckDescription(const NodeDescription& description);

// NODE_NOT_FOUND: was never in the cluster, or is not any more.
Result<const Node*> SelectNode(NodeId id, const Image& image);

// "node 3 (6f96..., 10.0.0.3:9651)", for messages.
std::string Describe(const Node& node);

Record RegistrationOf(NodeId id, const NodeDescription& description, int64_t now_ms);

}  // namespace flotilla::metadata
