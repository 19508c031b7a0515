// A ProduceStreamRequest with one batch, as bytes around the records, which are shared and not copied. The same wire format as
// flotilla.v1.ProduceStreamRequest, whose `records` are sent as the bytes they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/cpp/produce_lane.h"
#include "storage/base/bytes.h"

namespace flotilla::client {

struct ProduceTarget {
  const std::string& topic;
  int32_t partition = 0;
  int acks = 0;  // flotilla.v1.Acks
};

// `with_crc`: the crc32c of the batch was computed.
std::vector<Bytes> EncodeProduce(int64_t correlation_id, const ProduceTarget& target, const ProduceBatch& batch, bool with_crc);

}  // namespace flotilla::client
