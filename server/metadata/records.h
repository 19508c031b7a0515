// The metadata's records (proto/flotilla/internal/v1/metadata_record.proto) and the bytes of a batch of them,
// which is the payload of one entry of group 0.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "flotilla/internal/v1/metadata_record.pb.h"
#include "server/metadata/image.h"
#include "storage/base/bytes.h"
#include "storage/base/status.h"

namespace flotilla::metadata {

namespace record = ::flotilla::internal::v1;
using Record = record::MetadataRecord;
using Batch = record::MetadataBatch;

// What this program can read and write.
inline constexpr FeatureRange kSupportedFeatures{.min = 1, .max = 1};

Bytes EncodeBatch(const Batch& batch);
// REPLICA_FAULTED: of a feature level outside of `supported`, or with a record, field or value that this
// program does not know: whoever goes on without it has another image than the rest of the cluster.
// CORRUPT_MESSAGE: not a batch at all.
Result<Batch> DecodeBatch(std::string_view payload, FeatureRange supported);
// The same for a part of a snapshot.
Result<record::MetadataSnapshotChunk> DecodeSnapshotChunk(std::string_view payload, FeatureRange supported);

// What a program says that does not know the cluster's level: REPLICA_FAULTED with the detail "feature_level".
Status UnknownFeatureLevel(uint32_t level, FeatureRange supported);
// The level, when it is that.
std::optional<std::string> UnknownFeatureLevelIn(const Status& status);

// "partition_created", for messages and tests.
std::string_view RecordName(const Record& record);

// Modes and causes as records say them. Nothing: the record says none.
record::NodeMode RecordOf(NodeMode mode);
std::optional<NodeMode> ModeOf(record::NodeMode mode);
record::MoveCause RecordOf(MoveCause cause);
std::optional<MoveCause> CauseOf(record::MoveCause cause);

}  // namespace flotilla::metadata
