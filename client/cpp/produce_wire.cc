#include "client/cpp/produce_wire.h"

#include <google/protobuf/io/coded_stream.h>

namespace flotilla::client {
namespace {

using Coded = google::protobuf::io::CodedOutputStream;

void Number(std::string& out, uint64_t value) {
  uint8_t bytes[10];
  const uint8_t* end = Coded::WriteVarint64ToArray(value, bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(end - bytes));
}
void Varint(std::string& out, uint32_t field, uint64_t value) {
  Number(out, field << 3);
  Number(out, value);
}
// The tag and length of a field whose content follows.
void Opening(std::string& out, uint32_t field, size_t length) {
  Number(out, field << 3 | 2);
  Number(out, length);
}
std::string Opened(uint32_t field, size_t length) {
  std::string out;
  Opening(out, field, length);
  return out;
}
void Field(std::string& out, uint32_t field, const std::string& content) {
  Opening(out, field, content.size());
  out += content;
}

}  // namespace

// The records come last on every level, so that everything else stands in front of them in one piece.
std::vector<Bytes> EncodeProduce(int64_t correlation_id, const ProduceTarget& target, const ProduceBatch& batch, bool with_crc) {
  std::string head_of_batch;  // RecordBatch
  Varint(head_of_batch, 6, static_cast<uint64_t>(batch.record_count));
  if (with_crc) {
    Number(head_of_batch, 10 << 3 | 5);
    uint8_t little[4];
    Coded::WriteLittleEndian32ToArray(batch.crc32c, little);
    head_of_batch.append(reinterpret_cast<const char*>(little), sizeof little);
  }
  if (batch.identity.producer_id != 0) {
    Varint(head_of_batch, 11, static_cast<uint64_t>(batch.identity.producer_id));
    Varint(head_of_batch, 12, static_cast<uint64_t>(batch.identity.epoch));
    Varint(head_of_batch, 13, static_cast<uint64_t>(batch.base_sequence));
  }
  Opening(head_of_batch, 15, batch.records.size());
  const size_t batch_size = head_of_batch.size() + batch.records.size();

  std::string head_of_item;  // ProduceItem
  Varint(head_of_item, 1, static_cast<uint64_t>(target.partition));
  Opening(head_of_item, 2, batch_size);
  const size_t item_size = head_of_item.size() + batch_size;

  std::string head_of_request;  // ProduceRequest
  std::string topic;
  Field(topic, 1, target.topic);
  Field(head_of_request, 1, topic);
  Varint(head_of_request, 3, static_cast<uint64_t>(target.acks));
  Opening(head_of_request, 2, item_size);
  const size_t request_size = head_of_request.size() + item_size;

  std::string head;  // ProduceStreamRequest
  Varint(head, 1, static_cast<uint64_t>(correlation_id));
  head += Opened(2, request_size);
  head += head_of_request;
  head += head_of_item;
  head += head_of_batch;
  return {Bytes(std::move(head)), batch.records};
}

}  // namespace flotilla::client
