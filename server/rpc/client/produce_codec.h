// flotilla.v1.ProduceRequest and ProduceStreamRequest as they come from the network, read in one pass: the records are copied
// out of the received slices once, into the buffer in which they go to the log; nothing of them is parsed.
//
//   grpc::ProtoBufferReader in(&received);                       // or any ZeroCopyInputStream
//   Result<RawProduce> request = ReadProduceRequest(in, received.Length());
//
// What the fields mean is looked at later (produce_split.h). As generated code does: unknown fields are skipped, of a number that
// comes twice the last counts, a message that comes twice is merged. Pure functions; any thread.
#pragma once

#include <google/protobuf/io/zero_copy_stream.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/partition/batch.h"
#include "storage/base/status.h"

namespace flotilla::rpc::client {

// RecordBatch without what the broker writes.
struct RawBatch {
  int32_t codec = 0;
  int32_t record_count = 0;
  int32_t uncompressed_bytes = 0;
  std::optional<uint32_t> crc32c;
  int64_t producer_id = 0;
  int32_t producer_epoch = 0;
  int64_t base_sequence = 0;
  // Of `records`, or of `compressed_records`.
  std::optional<partition::RecordBuffer> content;
  bool compressed = false;
};

struct RawItem {
  // OK, or why it cannot be taken although the request can be read: CORRUPT_RECORDS for records given twice.
  Status refusal;
  std::optional<int32_t> partition;
  std::optional<RawBatch> batch;
  std::optional<int64_t> expected_next_offset;
};

// A TopicRef.
struct RawTopic {
  std::string name;
  std::string topic_namespace;
  std::string topic_id;
};

struct RawProduce {
  // OK, or why it cannot be taken although it can be read: LIMIT_EXCEEDED for more than kItemsMax items; these are left out.
  Status refusal;
  RawTopic topic;
  std::vector<RawItem> items;
  int32_t acks = 0;
  int32_t partition_count = 0;
};

struct RawStreamRequest {
  int64_t correlation_id = 0;
  RawProduce request;
};

// `bytes`: how much `in` holds. LIMIT_EXCEEDED: more than kRequestBytesMax; nothing was read. CORRUPT_MESSAGE with field and
// byte: cut off, a wrong wire type, a broken number.
Result<RawProduce> ReadProduceRequest(google::protobuf::io::ZeroCopyInputStream& in, size_t bytes);
// As above. A request that is too large for its stream is in `request.refusal`, when its correlation id stands at the front.
Result<RawStreamRequest> ReadProduceStreamRequest(google::protobuf::io::ZeroCopyInputStream& in, size_t bytes);

// LIMIT_EXCEEDED: a request of so many bytes is above kRequestBytesMax.
Status CheckRequestBytes(size_t bytes);

}  // namespace flotilla::rpc::client
