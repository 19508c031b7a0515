// Walks over what was fetched without copying: the bytes of a FetchedPartition, its batches, their records.
//
//   for (RecordCursor cursor(message); cursor.Next();) {
//     Use(cursor.offset(), cursor.key(), cursor.value());      // views into the message, valid as long as it is
//   }
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/cpp/error.h"
#include "client/cpp/record.h"
#include "storage/base/bytes.h"

namespace flotilla::client {

// A batch as it was stored; `records` is a serialized RecordSet.
struct BatchView {
  int64_t base_offset = 0;
  int64_t leader_epoch = 0;
  int64_t append_timestamp_ms = 0;
  bool append_time = false;  // the records' time is append_timestamp_ms
  int32_t record_count = 0;
  std::optional<uint32_t> crc32c = {};
  std::string_view records;
};

// What was read of one partition at one time. Cheap to move and to copy.
struct FetchedMessage {
  std::string topic;
  int32_t partition = 0;
  Error error;
  int64_t start_offset = 0;  // records of the first batch before it were not asked for
  int64_t next_offset = 0;
  int64_t log_start_offset = 0;
  int64_t high_watermark = 0;
  bool caught_up = false;
  std::vector<BatchView> batches;  // views into `bytes`
  Bytes bytes;
};

// Reads a serialized flotilla.v1.FetchedPartition, which is a part of `bytes`. CORRUPT_MESSAGE: it is none, or a batch is
// compressed, which was not asked for. With `verify_crc` also when a batch does not have the CRC it claims.
Result<FetchedMessage> ParseFetchedPartition(const Bytes& bytes, bool verify_crc);

class RecordCursor {
 public:
  explicit RecordCursor(const FetchedMessage& message) : message_(&message) {}

  // Goes to the next record. False at the end, and at bytes that are no records: then ok() is false.
  bool Next();
  bool ok() const { return ok_; }

  int64_t offset() const { return offset_; }
  std::optional<std::string_view> key() const { return key_; }
  std::optional<std::string_view> value() const { return value_; }
  // What counts: the record's own time, or that of its batch.
  int64_t timestamp_ms() const { return timestamp_ms_; }
  size_t headers_count() const { return headers_count_; }
  // Parsed on demand.
  std::vector<HeaderView> Headers() const;
  // The serialized Record.
  std::string_view raw() const { return raw_; }

 private:
  bool Parse(std::string_view record, const BatchView& batch);

  const FetchedMessage* message_;
  size_t batch_ = 0;
  size_t position_ = 0;
  int64_t number_ = 0;
  bool ok_ = true;

  int64_t offset_ = 0;
  std::optional<std::string_view> key_;
  std::optional<std::string_view> value_;
  int64_t timestamp_ms_ = 0;
  size_t headers_count_ = 0;
  std::string_view raw_;
};

}  // namespace flotilla::client
