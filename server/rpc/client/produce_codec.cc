#include "server/rpc/client/produce_codec.h"

#include <google/protobuf/io/coded_stream.h>

#include <limits>
#include <utility>

#include "server/errors/refusal.h"
#include "server/rpc/client/limits.h"

namespace flotilla::rpc::client {
namespace {

using google::protobuf::io::CodedInputStream;
using google::protobuf::io::ZeroCopyInputStream;

// The wire format of a message whose size is known, out of a stream of slices. After the first failure Next() is false and every
// value is zero or empty.
class MessageReader {
 public:
  MessageReader(ZeroCopyInputStream& in, size_t bytes) : in_(&in) { in_.PushLimit(static_cast<int>(bytes)); }

  // Goes to the next field of the message that is being read. False at its end.
  bool Next() {
    if (!status_.ok() || in_.BytesUntilLimit() == 0) return false;
    uint64_t tag = 0;
    if (!ShortNumber(&tag) || tag >> 3 == 0) Fail("a broken tag");
    field_ = static_cast<uint32_t>(tag >> 3);
    type_ = static_cast<uint32_t>(tag & 7);
    return status_.ok();
  }
  uint32_t field() const { return field_; }

  int64_t Int64() { return static_cast<int64_t>(Number()); }
  // As generated code reads it: the lower 32 bits.
  int32_t Int32() { return static_cast<int32_t>(static_cast<uint32_t>(Number())); }
  uint32_t Fixed32() {
    uint32_t value = 0;
    if (Expect(kFixed32) && !in_.ReadLittleEndian32(&value)) Fail("a number that is cut off");
    return status_.ok() ? value : 0;
  }
  std::string Text() {
    std::string text;
    const int length = Length();
    if (status_.ok() && !in_.ReadString(&text, length)) Fail("a text that is cut off");
    return text;
  }
  // The only copy of records that there is.
  partition::RecordBuffer Records() {
    const int length = Length();
    partition::RecordBuffer records(static_cast<size_t>(length));
    if (status_.ok() && !in_.ReadRaw(records.data(), length)) Fail("records that are cut off");
    return records;
  }
  // Enters a message; `read` is called with nothing but it in sight.
  template <typename T>
  void Message(T* out, void (*read)(MessageReader&, T*)) {
    const int length = Length();
    if (!status_.ok()) return;
    const auto limit = in_.PushLimit(length);
    read(*this, out);
    in_.PopLimit(limit);
  }
  void Skip() {
    uint64_t ignored = 0;
    switch (type_) {
      case kVarint:
        if (!in_.ReadVarint64(&ignored)) Fail("a broken number");
        return;
      case kFixed64: return SkipBytes(8);
      case kFixed32: return SkipBytes(4);
      case kLengthDelimited: return SkipBytes(Length());
      default: Fail("wire type " + std::to_string(type_) + ", which proto3 does not have");
    }
  }
  const Status& status() const { return status_; }

 private:
  enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

  void Fail(const std::string& problem) {
    if (!status_.ok()) return;
    status_ = Status(Reason::kCorruptMessage, "produce request, byte " + std::to_string(in_.CurrentPosition()) + ", field " +
                                                  std::to_string(field_) + ": " + problem)
                  .With("field", uint64_t{field_})
                  .With("position", static_cast<uint64_t>(in_.CurrentPosition()));
  }
  bool Expect(WireType type) {
    if (type_ != type) Fail("wire type " + std::to_string(type_) + ", not " + std::to_string(type));
    return status_.ok();
  }
  uint64_t Number() {
    uint64_t value = 0;
    if (Expect(kVarint) && !in_.ReadVarint64(&value)) Fail("a broken number");
    return status_.ok() ? value : 0;
  }
  // Tags and lengths have 32 bits and at most 5 bytes, here as in generated code.
  bool ShortNumber(uint64_t* value) {
    const int position = in_.CurrentPosition();
    return in_.ReadVarint64(value) && in_.CurrentPosition() - position <= 5 && *value <= std::numeric_limits<uint32_t>::max();
  }
  // Not more than what is left of the message around it, so that nobody allocates by a wrong length.
  int Length() {
    uint64_t length = 0;
    if (!Expect(kLengthDelimited)) return 0;
    if (!ShortNumber(&length)) {
      Fail("a broken length");
    } else if (length > static_cast<uint64_t>(in_.BytesUntilLimit())) {
      Fail("a length of " + std::to_string(length) + ", with " + std::to_string(in_.BytesUntilLimit()) + " bytes left");
    }
    return status_.ok() ? static_cast<int>(length) : 0;
  }
  void SkipBytes(int count) {
    if (status_.ok() && (count > in_.BytesUntilLimit() || !in_.Skip(count))) Fail("a value that is cut off");
  }

  CodedInputStream in_;
  uint32_t field_ = 0;
  uint32_t type_ = 0;
  Status status_;
};

void ReadTopic(MessageReader& in, RawTopic* topic) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: topic->name = in.Text(); break;
      case 2: topic->topic_namespace = in.Text(); break;
      case 3: topic->topic_id = in.Text(); break;
      default: in.Skip();
    }
  }
}

struct BatchTarget {
  RawBatch* batch;
  Status* refusal;
};

void ReadContent(MessageReader& in, bool compressed, BatchTarget* to) {
  if (to->batch->content) {
    in.Skip();
    if (to->refusal->ok()) {
      *to->refusal = Refuse(Refusal::kCorruptRecords, "the batch has records twice; write `records` or `compressed_records`, once");
    }
    return;
  }
  to->batch->content = in.Records();
  to->batch->compressed = compressed;
}

void ReadBatch(MessageReader& in, BatchTarget* to) {
  RawBatch& batch = *to->batch;
  while (in.Next()) {
    switch (in.field()) {
      case 5: batch.codec = in.Int32(); break;
      case 6: batch.record_count = in.Int32(); break;
      case 7: batch.uncompressed_bytes = in.Int32(); break;
      case 10: batch.crc32c = in.Fixed32(); break;
      case 11: batch.producer_id = in.Int64(); break;
      case 12: batch.producer_epoch = in.Int32(); break;
      case 13: batch.base_sequence = in.Int64(); break;
      case 15: ReadContent(in, false, to); break;
      case 16: ReadContent(in, true, to); break;
      default: in.Skip();  // unknown, or written by brokers only
    }
  }
}

void ReadItem(MessageReader& in, RawItem* item) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: item->partition = in.Int32(); break;
      case 2: {
        if (!item->batch) item->batch.emplace();
        BatchTarget to{.batch = &*item->batch, .refusal = &item->refusal};
        in.Message(&to, ReadBatch);
        break;
      }
      case 3: item->expected_next_offset = in.Int64(); break;
      default: in.Skip();
    }
  }
}

void ReadItems(MessageReader& in, RawProduce* request) {
  if (request->items.size() < limits::kItemsMax) {
    in.Message(&request->items.emplace_back(), ReadItem);
    return;
  }
  in.Skip();
  if (!request->refusal.ok()) return;
  request->refusal =
      Status(Reason::kLimitExceeded, "more than " + std::to_string(limits::kItemsMax) + " items in a request; send several requests")
          .With("field", "items")
          .With("limit", limits::kItemsMax);
}

void ReadRequest(MessageReader& in, RawProduce* request) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: in.Message(&request->topic, ReadTopic); break;
      case 2: ReadItems(in, request); break;
      case 3: request->acks = in.Int32(); break;
      case 4: request->partition_count = in.Int32(); break;
      default: in.Skip();
    }
  }
}

void ReadStreamRequest(MessageReader& in, RawStreamRequest* request) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: request->correlation_id = in.Int64(); break;
      case 2: in.Message(&request->request, ReadRequest); break;
      default: in.Skip();
    }
  }
}

}  // namespace

Status CheckRequestBytes(size_t bytes) {
  if (bytes <= limits::kRequestBytesMax) return {};
  return Status(Reason::kLimitExceeded, "a request of " + std::to_string(bytes) + " bytes; the limit is " +
                                            std::to_string(limits::kRequestBytesMax) + ", send several requests")
      .With("field", "request")
      .With("limit", limits::kRequestBytesMax)
      .With("value", bytes);
}

Result<RawProduce> ReadProduceRequest(ZeroCopyInputStream& in, size_t bytes) {
  FLOTILLA_RETURN_IF_ERROR(CheckRequestBytes(bytes));
  MessageReader reader(in, bytes);
  RawProduce request;
  ReadRequest(reader, &request);
  if (!reader.status().ok()) return reader.status();
  return request;
}

Result<RawStreamRequest> ReadProduceStreamRequest(ZeroCopyInputStream& in, size_t bytes) {
  RawStreamRequest request;
  request.request.refusal = CheckRequestBytes(bytes);
  MessageReader reader(in, bytes);
  if (request.request.refusal.ok()) {
    ReadStreamRequest(reader, &request);
  } else if (reader.Next() && reader.field() == 1) {
    request.correlation_id = reader.Int64();  // serializers write it first: enough to answer
  } else {
    return request.request.refusal;
  }
  if (!reader.status().ok()) return reader.status();
  return request;
}

}  // namespace flotilla::rpc::client
