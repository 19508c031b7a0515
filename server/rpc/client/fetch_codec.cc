#include "server/rpc/client/fetch_codec.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/errors/error_codec.h"

namespace flotilla::rpc::client {
namespace {

// Each Put is found by the templates of wire_writer.h through the type that it writes.

// Fields that are small messages are serialized by generated code, once.
struct EncodedPartition {
  const broker::FetchedPartition& fetched;
  Bytes topic;
  Bytes error;

  explicit EncodedPartition(const broker::FetchedPartition& from)
      : fetched(from),
        topic(from.topic.SerializeAsString()),
        error(from.status.ok() ? std::string() : ToError(from.status).SerializeAsString()) {}
};

struct EncodedBatch {
  const partition::FetchedBatch& batch;
};

struct EncodedSubscribeBatches {
  EncodedPartition partition;
};

// RawRecordBatch.
template <typename Out>
void Put(Out& out, const EncodedBatch& encoded) {
  const partition::FetchedBatch& batch = encoded.batch;
  const partition::BatchHeader& header = batch.header;
  const bool compressed = header.codec != partition::Codec::kNone;
  out.Varint(1, batch.base_offset.value());
  out.Varint(2, batch.leader_epoch.value());
  out.Varint(3, static_cast<uint64_t>(header.append_timestamp_ms));
  out.Varint(4, static_cast<uint64_t>(header.timestamp_type));
  out.Varint(5, static_cast<uint64_t>(header.codec));
  out.Varint(6, batch.record_count);
  out.Varint(7, header.uncompressed_bytes);
  if (batch.min_timestamp_ms != kNoTimestamp) out.AlwaysVarint(8, static_cast<uint64_t>(batch.min_timestamp_ms));
  if (batch.max_timestamp_ms != kNoTimestamp) out.AlwaysVarint(9, static_cast<uint64_t>(batch.max_timestamp_ms));
  out.AlwaysFixed32(10, header.crc32c);
  out.Varint(11, header.producer.producer_id);
  out.Varint(12, header.producer.epoch);
  out.Varint(13, header.producer.base_sequence);
  out.Varint(14, static_cast<uint64_t>(header.producer.scope));
  out.Payload(compressed ? 16 : 15, batch.records);
}

// RawFetchedPartition.
template <typename Out>
void Put(Out& out, const EncodedPartition& encoded) {
  const broker::FetchedPartition& fetched = encoded.fetched;
  out.Payload(1, encoded.topic);
  out.Varint(2, static_cast<uint64_t>(int64_t{fetched.partition}));
  out.Payload(3, encoded.error);
  out.Varint(4, fetched.start_offset.value());
  for (const partition::FetchedBatch& batch : fetched.batches) out.Message(5, EncodedBatch{batch});
  out.Varint(6, fetched.next_offset.value());
  out.Varint(7, fetched.log_start_offset.value());
  out.Varint(8, fetched.high_watermark.value());
  out.Varint(9, fetched.caught_up ? 1 : 0);
}

// RawSubscribeResponse.
template <typename Out>
void Put(Out& out, const EncodedSubscribeBatches& encoded) {
  out.Message(2, encoded.partition);
}

struct EncodedFetch {
  std::vector<EncodedPartition> partitions;
  std::vector<Bytes> leaders;
};

// RawFetchResponse.
template <typename Out>
void Put(Out& out, const EncodedFetch& encoded) {
  for (const EncodedPartition& partition : encoded.partitions) out.Message(1, partition);
  for (const Bytes& leader : encoded.leaders) out.Payload(2, leader);
}

template <typename T>
EncodedMessage Encode(const T& message) {
  WireWriter writer(WireSize::Of(message));
  Put(writer, message);
  return writer.Finish();
}

}  // namespace

partition::CodecSet CodecsOf(const google::protobuf::RepeatedField<int>& accepted) {
  partition::CodecSet codecs;
  for (const int codec : accepted) {
    if (codec == v1::CODEC_LZ4) codecs.Add(partition::Codec::kLz4);
    if (codec == v1::CODEC_ZSTD) codecs.Add(partition::Codec::kZstd);
  }
  return codecs;
}

std::vector<partition::FetchedBatch> CutBehind(const partition::CodecSet& codecs, Room* room, broker::FetchedPartition* fetched) {
  std::vector<partition::FetchedBatch>& batches = fetched->batches;
  auto cut = batches.begin();
  for (; cut != batches.end(); ++cut) {
    const size_t bytes = codecs.Has(cut->header.codec) ? cut->records.size() : cut->header.uncompressed_bytes;
    if (room->begun && bytes > room->bytes) break;
    room->bytes -= std::min(room->bytes, bytes);
    room->begun = true;
  }
  if (cut == batches.end()) return {};
  fetched->next_offset = std::max(cut->base_offset, fetched->start_offset);
  fetched->caught_up = false;
  std::vector<partition::FetchedBatch> rest(std::make_move_iterator(cut), std::make_move_iterator(batches.end()));
  batches.erase(cut, batches.end());
  return rest;
}

size_t BytesToDecompress(const partition::CodecSet& codecs, const broker::FetchedPartition& fetched) {
  size_t bytes = 0;
  for (const partition::FetchedBatch& batch : fetched.batches) {
    if (!codecs.Has(batch.header.codec)) bytes += batch.header.uncompressed_bytes;
  }
  return bytes;
}

Status Accept(const partition::CodecSet& codecs, partition::Decompressor& decompressor, broker::FetchedPartition* fetched) {
  for (size_t i = 0; i < fetched->batches.size(); ++i) {
    partition::FetchedBatch& batch = fetched->batches[i];
    if (codecs.Has(batch.header.codec)) continue;
    const Status status = partition::DecompressBatch(&batch, decompressor);
    if (status.ok()) continue;
    if (i == 0) fetched->status = status;
    fetched->next_offset = i == 0 ? fetched->start_offset : batch.base_offset;
    fetched->caught_up = false;
    fetched->batches.resize(i);
    return status;
  }
  return {};
}

EncodedMessage EncodeFetchResponse(const broker::FetchAnswer& answer) {
  EncodedFetch encoded;
  encoded.partitions.reserve(answer.partitions.size());
  for (const broker::FetchedPartition& partition : answer.partitions) encoded.partitions.emplace_back(partition);
  for (const v1::LeaderHint& leader : answer.leaders) encoded.leaders.emplace_back(leader.SerializeAsString());
  return Encode(encoded);
}

EncodedMessage EncodeSubscribeBatches(const broker::FetchedPartition& fetched) {
  return Encode(EncodedSubscribeBatches{EncodedPartition(fetched)});
}

}  // namespace flotilla::rpc::client
