// What was read, as the bytes of flotilla.v1.FetchResponse and SubscribeResponse: what frames the batches is written, the records
// are the log's own memory.
//
//   Room room{.bytes = wanted};
//   CutBehind(codecs, &room, &partition);                      // compressed batches may grow to a thousand times their size
//   Accept(codecs, decompressor, &partition);                  // for clients that cannot decompress
//   grpc::ByteBuffer out = ToByteBuffer(EncodeFetchResponse(answer));
//
// Pure functions; any thread but the broker's, for decompressing takes its time.
#pragma once

#include <cstddef>
#include <vector>

#include "server/broker/client_api.h"
#include "server/partition/codec.h"
#include "server/rpc/wire_writer.h"

namespace flotilla::rpc::client {

// Of FetchRequest.accepted_codecs or SubscribeRequest's. Codecs that this broker does not know are none it would send.
partition::CodecSet CodecsOf(const google::protobuf::RepeatedField<int>& accepted);

// What is left of a message's size.
struct Room {
  size_t bytes = 0;
  bool begun = false;  // the message has a batch
};
// Cuts a partition off before its first batch that does not fit, as large as that is when the client can read it. The first batch of
// a message always fits. Returns what was cut off.
std::vector<partition::FetchedBatch> CutBehind(const partition::CodecSet& codecs, Room* room, broker::FetchedPartition* fetched);
// What Accept will need memory for.
size_t BytesToDecompress(const partition::CodecSet& codecs, const broker::FetchedPartition& fetched);

// Decompresses batches in other codecs. DATA_LOSS: one of them cannot be; the answer ends before it, and if it is the first the
// partition has the error.
Status Accept(const partition::CodecSet& codecs, partition::Decompressor& decompressor, broker::FetchedPartition* fetched);

EncodedMessage EncodeFetchResponse(const broker::FetchAnswer& answer);
// SubscribeResponse.batches.
EncodedMessage EncodeSubscribeBatches(const broker::FetchedPartition& fetched);

}  // namespace flotilla::rpc::client
