#include "server/metadata/records.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <array>
#include <optional>
#include <utility>
#include <vector>

namespace flotilla::metadata {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::optional<std::string> UnknownPartOf(const Message& message);

// Whether the field holds an enum value without a name.
bool HasUnknownValue(const Message& message, const Reflection& reflection, const FieldDescriptor& field) {
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM || field.is_repeated()) return false;
  return field.enum_type()->FindValueByNumber(reflection.GetEnumValue(message, &field)) == nullptr;
}

std::optional<std::string> UnknownPartOfField(const Message& message, const Reflection& reflection, const FieldDescriptor& field) {
  if (HasUnknownValue(message, reflection, field)) return "a value of " + field.full_name();
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return std::nullopt;
  if (!field.is_repeated()) return UnknownPartOf(reflection.GetMessage(message, &field));
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    if (auto unknown = UnknownPartOf(reflection.GetRepeatedMessage(message, &field, i))) return unknown;
  }
  return std::nullopt;
}

// What of `message` this program has no name for.
std::optional<std::string> UnknownPartOf(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  const auto& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) {
    return "field " + std::to_string(unknown.field(0).number()) + " of " + message.GetDescriptor()->full_name();
  }
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (auto part = UnknownPartOfField(message, reflection, *field)) return part;
  }
  return std::nullopt;
}

std::string Levels(FeatureRange range) { return std::to_string(range.min) + ".." + std::to_string(range.max); }

template <typename T>
Result<T> Decode(std::string_view payload, FeatureRange supported) {
  T message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Status(Reason::kCorruptMessage, std::to_string(payload.size()) + " bytes are not a " + T::descriptor()->full_name());
  }
  if (message.feature_level() != 0 && !supported.Contains(message.feature_level())) {
    return UnknownFeatureLevel(message.feature_level(), supported);
  }
  if (auto unknown = UnknownPartOf(message)) {
    return Status(Reason::kReplicaFaulted,
                  "metadata with " + *unknown + ", which this program does not know; install the version that wrote it on this node");
  }
  for (const Record& record : message.records()) {
    if (record.record_case() == Record::RECORD_NOT_SET) {
      return Status(Reason::kReplicaFaulted, "metadata with a record without content; this node stops rather than guess");
    }
  }
  return message;
}

constexpr std::array kModes = {std::pair{NodeMode::kActive, record::NODE_MODE_ACTIVE},
                               std::pair{NodeMode::kDraining, record::NODE_MODE_DRAINING},
                               std::pair{NodeMode::kDecommissioning, record::NODE_MODE_DECOMMISSIONING}};
constexpr std::array kCauses = {
    std::pair{MoveCause::kRequested, record::MOVE_CAUSE_REQUESTED}, std::pair{MoveCause::kDecommission, record::MOVE_CAUSE_DECOMMISSION},
    std::pair{MoveCause::kBalance, record::MOVE_CAUSE_BALANCE}, std::pair{MoveCause::kRebuild, record::MOVE_CAUSE_REBUILD},
    std::pair{MoveCause::kCancelled, record::MOVE_CAUSE_CANCELLED}};

}  // namespace

record::NodeMode RecordOf(NodeMode mode) { return kModes[static_cast<size_t>(mode)].second; }

std::optional<NodeMode> ModeOf(record::NodeMode mode) {
  for (const auto& [ours, theirs] : kModes) {
    if (theirs == mode) return ours;
  }
  return std::nullopt;
}

record::MoveCause RecordOf(MoveCause cause) { return kCauses[static_cast<size_t>(cause)].second; }

std::optional<MoveCause> CauseOf(record::MoveCause cause) {
  for (const auto& [ours, theirs] : kCauses) {
    if (theirs == cause) return ours;
  }
  return std::nullopt;
}

Status UnknownFeatureLevel(uint32_t level, FeatureRange supported) {
  return Status(Reason::kReplicaFaulted, "metadata of feature level " + std::to_string(level) + ", but this program knows " +
                                             Levels(supported) + "; install a version on this node that knows it")
      .With("feature_level", level);
}

std::optional<std::string> UnknownFeatureLevelIn(const Status& status) {
  return status.reason() == Reason::kReplicaFaulted ? status.Detail("feature_level") : std::nullopt;
}

Bytes EncodeBatch(const Batch& batch) { return Bytes(batch.SerializeAsString()); }

Result<Batch> DecodeBatch(std::string_view payload, FeatureRange supported) {
  Result<Batch> batch = Decode<Batch>(payload, supported);
  if (batch.ok() && batch->records().empty()) {
    return Status(Reason::kCorruptMessage, "a metadata batch without records");
  }
  return batch;
}

Result<record::MetadataSnapshotChunk> DecodeSnapshotChunk(std::string_view payload, FeatureRange supported) {
  return Decode<record::MetadataSnapshotChunk>(payload, supported);
}

std::string_view RecordName(const Record& record) {
  const FieldDescriptor* field = Record::descriptor()->FindFieldByNumber(static_cast<int>(record.record_case()));
  return field == nullptr ? std::string_view("nothing") : std::string_view(field->name());
}

}  // namespace flotilla::metadata
