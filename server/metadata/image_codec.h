// An image as bytes: a snapshot is the shortest sequence of records that leads to it, in parts.
//
//   std::vector<Bytes> chunks = EncodeImage(*image);
//   Result<Shared<Image>> same = DecodeImage(chunks, kSupportedFeatures);
//   CHECK_EQ(ImageChecksum(**same), ImageChecksum(*image));
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "server/metadata/image.h"
#include "server/metadata/records.h"
#include "storage/base/bytes.h"
#include "storage/base/status.h"

namespace flotilla::metadata {

// Parts of at most limits::kSnapshotChunkBytes, at least one.
std::vector<Bytes> EncodeImage(const Image& image);
// REPLICA_FAULTED and CORRUPT_MESSAGE as DecodeBatch; DATA_LOSS: parts are missing or mixed up, or the image
// that they lead to has another checksum than the one that was encoded.
Result<Shared<Image>> DecodeImage(std::span<const Bytes> chunks, FeatureRange supported);

// Two images with the same checksum are equal, on whichever nodes and by whichever way they came to be. Costs
// by the image's size: about a millisecond for a thousand partitions.
uint32_t ImageChecksum(const Image& image);

}  // namespace flotilla::metadata
