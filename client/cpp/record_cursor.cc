#include "client/cpp/record_cursor.h"

#include "client/cpp/wire_walk.h"
#include "flotilla/v1/errors.pb.h"
#include "flotilla/v1/records.pb.h"
#include "storage/base/crc32c.h"

namespace flotilla::client {
namespace {

Error Corrupt(const std::string& what) {
  return Error(ErrorCode::kDataLoss, reasons::kCorruptMessage, Retry::kIfIdempotent, what + "; read it again from another node");
}

// RecordBatch, by its field numbers.
bool ParseBatch(std::string_view bytes, BatchView* batch, bool* compressed) {
  WireWalk walk(bytes);
  while (walk.Next()) {
    switch (walk.field()) {
      case 1: batch->base_offset = walk.number(); break;
      case 2: batch->leader_epoch = walk.number(); break;
      case 3: batch->append_timestamp_ms = walk.number(); break;
      case 4: batch->append_time = walk.number() == v1::TIMESTAMP_TYPE_APPEND_TIME; break;
      case 6: batch->record_count = static_cast<int32_t>(walk.number()); break;
      case 10: batch->crc32c = static_cast<uint32_t>(walk.number()); break;
      case 15:
        if (walk.is_bytes()) batch->records = walk.bytes();
        break;
      case 16: *compressed = true; break;
      default: break;
    }
  }
  return walk.ok();
}

std::string_view TopicName(std::string_view topic_ref) {
  WireWalk walk(topic_ref);
  while (walk.Next()) {
    if (walk.field() == 1 && walk.is_bytes()) return walk.bytes();
  }
  return {};
}

}  // namespace

Result<FetchedMessage> ParseFetchedPartition(const Bytes& bytes, bool verify_crc) {
  FetchedMessage message;
  message.bytes = bytes;
  WireWalk walk(bytes.view());
  while (walk.Next()) {
    switch (walk.field()) {
      case 1:
        if (walk.is_bytes()) message.topic = TopicName(walk.bytes());
        break;
      case 2: message.partition = static_cast<int32_t>(walk.number()); break;
      case 3: {
        v1::Error error;
        if (!walk.is_bytes() || !error.ParseFromArray(walk.bytes().data(), static_cast<int>(walk.bytes().size()))) {
          return Corrupt("a fetched partition has an error that does not decode");
        }
        message.error = Error::From(error);
        break;
      }
      case 4: message.start_offset = walk.number(); break;
      case 5: {
        BatchView batch;
        bool compressed = false;
        if (!walk.is_bytes() || !ParseBatch(walk.bytes(), &batch, &compressed)) return Corrupt("a batch does not decode");
        if (compressed) return Corrupt("a compressed batch, though no codec was accepted");
        if (verify_crc && batch.crc32c && *batch.crc32c != crc32c::Value(batch.records)) {
          return Corrupt("the batch at offset " + std::to_string(batch.base_offset) + " does not have its CRC " +
                         std::to_string(*batch.crc32c));
        }
        message.batches.push_back(batch);
        break;
      }
      case 6: message.next_offset = walk.number(); break;
      case 7: message.log_start_offset = walk.number(); break;
      case 8: message.high_watermark = walk.number(); break;
      case 9: message.caught_up = walk.number() != 0; break;
      default: break;
    }
  }
  if (!walk.ok()) return Corrupt("a fetched partition does not decode");
  return message;
}

bool RecordCursor::Next() {
  while (ok_ && batch_ < message_->batches.size()) {
    const BatchView& batch = message_->batches[batch_];
    if (position_ >= batch.records.size()) {
      ++batch_;
      position_ = 0;
      number_ = 0;
      continue;
    }
    WireWalk walk(batch.records.substr(position_));
    if (!walk.Next() || walk.field() != 1 || !walk.is_bytes()) {
      ok_ = false;
      return false;
    }
    const std::string_view record = walk.bytes();
    position_ = static_cast<size_t>(record.data() + record.size() - batch.records.data());
    offset_ = batch.base_offset + number_++;
    if (offset_ < message_->start_offset) continue;
    return Parse(record, batch);
  }
  return false;
}

bool RecordCursor::Parse(std::string_view record, const BatchView& batch) {
  raw_ = record;
  key_.reset();
  value_.reset();
  headers_count_ = 0;
  timestamp_ms_ = batch.append_timestamp_ms;
  WireWalk walk(record);
  while (walk.Next()) {
    switch (walk.field()) {
      case 1:
        if (walk.is_bytes()) key_ = walk.bytes();
        break;
      case 2:
        if (walk.is_bytes()) value_ = walk.bytes();
        break;
      case 3: ++headers_count_; break;
      case 4:
        if (walk.is_number() && !batch.append_time) timestamp_ms_ = walk.number();
        break;
      default: break;
    }
  }
  ok_ = walk.ok();
  return ok_;
}

std::vector<HeaderView> RecordCursor::Headers() const {
  std::vector<HeaderView> headers;
  WireWalk walk(raw_);
  while (walk.Next()) {
    if (walk.field() != 3 || !walk.is_bytes()) continue;
    HeaderView header;
    WireWalk inner(walk.bytes());
    while (inner.Next()) {
      if (inner.field() == 1 && inner.is_bytes()) header.key = inner.bytes();
      if (inner.field() == 2 && inner.is_bytes()) header.value = inner.bytes();
    }
    headers.push_back(header);
  }
  return headers;
}

}  // namespace flotilla::client
