// What was read, as the bytes of flotilla.v1.FetchResponse and SubscribeResponse: what frames the batches is written, the records
// are the log's own memory.
//
//   Accept(codecs, &answer);                                   // for clients that cannot decompress
//   grpc::ByteBuffer out = ToByteBuffer(EncodeFetchResponse(answer));
//
// Pure functions; any thread but the broker's, for decompressing takes its time.
#pragma once

#include "server/broker/client_api.h"
#include "server/partition/codec.h"
#include "server/rpc/wire_writer.h"

namespace flotilla::rpc::client {

// Of FetchRequest.accepted_codecs or SubscribeRequest's. Codecs that this broker does not know are none it would send.
partition::CodecSet CodecsOf(const google::protobuf::RepeatedField<int>& accepted);

// Decompresses batches in other codecs. DATA_LOSS: one of them cannot be; the answer ends before it, and if it is the first the
// partition has the error.
Status Accept(const partition::CodecSet& codecs, partition::Decompressor& decompressor, broker::FetchedPartition* fetched);

EncodedMessage EncodeFetchResponse(const broker::FetchAnswer& answer);
// SubscribeResponse.batches.
EncodedMessage EncodeSubscribeBatches(const broker::FetchedPartition& fetched);

}  // namespace flotilla::rpc::client
