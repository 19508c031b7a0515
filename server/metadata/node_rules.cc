#include "server/metadata/node_rules.h"

#include <algorithm>
#include <charconv>

#include "server/metadata/limits.h"

namespace flotilla::metadata {
namespace {

struct TextField {
  std::string_view field;
  std::string_view value;
  size_t bytes_max;
};

Status CheckText(const TextField& text) {
  if (text.value.size() > text.bytes_max) {
    return Status(Reason::kLimitExceeded, std::string(text.field) + " " + Quoted(text.value) + " has " + std::to_string(text.value.size()) +
                                              " bytes; the limit is " + std::to_string(text.bytes_max))
        .With("field", std::string(text.field))
        .With("limit", text.bytes_max)
        .With("value", text.value.size());
  }
  const bool printable = std::all_of(text.value.begin(), text.value.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
  if (!printable) {
    return Status(Reason::kInvalidArgument,
                  std::string(text.field) + " " + Quoted(text.value) + " has characters that cannot be printed; use ASCII")
        .With("field", std::string(text.field));
  }
  return {};
}

bool IsHostAndPort(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view port_text = address.substr(colon + 1);
  uint32_t port = 0;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  return error == std::errc() && end == port_text.data() + port_text.size() && port >= 1 && port <= 65535 &&
         address.find_first_of(" /") == std::string_view::npos;
}

Status CheckAddress(std::string_view field, std::string_view address) {
  FLOTILLA_RETURN_IF_ERROR(CheckText({field, address, limits::kAddressBytesMax}));
  if (IsHostAndPort(address)) return {};
  return Status(Reason::kInvalidArgument,
                std::string(field) + " " + Quoted(address) + " is not host:port with a port of 1..65535, such as node1:9651")
      .With("field", std::string(field));
}

}  // namespace

Status CheckDescription(const NodeDescription& description) {
  if (description.uuid.nil()) {
    return Status(Reason::kInvalidArgument, "node_uuid is missing; a node makes one with its data directory").With("field", "node_uuid");
  }
  FLOTILLA_RETURN_IF_ERROR(CheckAddress("client_address", description.client_address));
  FLOTILLA_RETURN_IF_ERROR(CheckAddress("peer_address", description.peer_address));
  FLOTILLA_RETURN_IF_ERROR(CheckText({"name", description.name, limits::kNodeNameBytesMax}));
  FLOTILLA_RETURN_IF_ERROR(CheckText({"rack", description.rack, limits::kRackBytesMax}));
  FLOTILLA_RETURN_IF_ERROR(CheckText({"software_version", description.software_version, limits::kSoftwareVersionBytesMax}));
  if (description.features.min == 0 || description.features.min > description.features.max) {
    return Status(Reason::kInvalidArgument, "feature levels " + std::to_string(description.features.min) + "-" +
                                                std::to_string(description.features.max) + " are not a range that begins at 1 or later")
        .With("field", "feature_levels");
  }
  return {};
}

Result<const Node*> SelectNode(NodeId id, const Image& image) {
  if (const Node* node = image.FindNode(id)) return node;
  return Refuse(Refusal::kNodeNotFound,
                "node " + std::to_string(id.value()) + (image.WasRemoved(id) ? " was removed from the cluster" : " is not in the cluster"))
      .With("node_id", id.value());
}

std::string Describe(const Node& node) {
  return "node " + std::to_string(node.id.value()) + " (" + node.description.uuid.ToString() + ", " + node.description.peer_address + ")";
}

Record RegistrationOf(NodeId id, const NodeDescription& description, int64_t now_ms) {
  Record out;
  record::NodeRegistered& record = *out.mutable_node_registered();
  record.set_node_id(id.value());
  record.set_node_uuid(std::string(description.uuid.bytes()));
  record.set_name(description.name);
  record.set_client_address(description.client_address);
  record.set_peer_address(description.peer_address);
  record.set_rack(description.rack);
  record.set_software_version(description.software_version);
  record.set_feature_level_min(description.features.min);
  record.set_feature_level_max(description.features.max);
  record.mutable_capacity()->set_disk_bytes(description.capacity.disk_bytes);
  record.mutable_capacity()->set_memory_bytes(description.capacity.memory_bytes);
  record.mutable_capacity()->set_cores(description.capacity.cores);
  record.set_registered_at_ms(now_ms);
  return out;
}

}  // namespace flotilla::metadata
