// Forwarded parts of calls, as bytes: broker::ForwardRequest and ForwardAnswer, and
// flotilla.internal.v1.ForwardStreamRequest and ForwardStreamResponse
// (proto/flotilla/internal/v1/forward.proto). The same bytes as generated code writes and reads.
//
// Records are shared on the way out. On the way in they are copied once at most: those of an append from the
// pieces they came in to the RecordBuffer that becomes the log's entry, those of an answer not at all. Pure
// functions; any thread.
#pragma once

#include <google/protobuf/io/zero_copy_stream.h>

#include "server/broker/forward.h"
#include "server/partition/codec.h"
#include "server/rpc/wire_writer.h"
#include "storage/base/bytes.h"
#include "storage/base/status.h"

namespace flotilla::rpc {

EncodedMessage EncodeForwardRequest(const broker::ForwardRequest& request);

struct DecodedForward {
  // Without an operation (a cancel) when it is refused.
  broker::ForwardRequest request;
  // Its batch is not what it should be: what to answer to request.id.
  Status refusal;
};
// `bytes` bytes of `pieces`. CORRUPT_MESSAGE says at which byte and field, and what is wrong. `decompressor`
// is this thread's.
Result<DecodedForward> DecodeForwardRequest(google::protobuf::io::ZeroCopyInputStream& pieces, size_t bytes,
                                            partition::Decompressor& decompressor);

// A FetchResult is the answer of a read or of a lookup: the two travel as different messages.
enum class Asked : uint8_t { kOther, kLocate };
// A FetchResult's leader_epoch travels in the answer to a lookup alone; its status and a ProduceResult's do
// not.
EncodedMessage EncodeForwardAnswer(const broker::ForwardAnswer& answer, Asked asked);
// Records are slices of `encoded`; where they are less than an eighth of it they get memory of their own.
Result<broker::ForwardAnswer> DecodeForwardAnswer(const Bytes& encoded);

}  // namespace flotilla::rpc
