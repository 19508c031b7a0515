// Reads partitions of one topic from a place on: streams from their leaders, goes on at the same record when one is lost.
//
//   Result<std::unique_ptr<Consumer>> consumer = Consumer::Open(client, {.topic = "logs", .start = StartAt::Latest()});
//   while (true) {
//     Result<ConsumerEvent> event = (*consumer)->Next(std::chrono::seconds(1));
//     if (!event.ok()) return event.error();
//     if (event->kind == ConsumerEvent::Kind::kRecords) {
//       for (RecordCursor cursor(event->message); cursor.Next();) Use(cursor.offset(), cursor.value());
//     }
//   }
//
// Next: one thread. Everything else: any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/cpp/client.h"
#include "client/cpp/error.h"
#include "client/cpp/record_cursor.h"

namespace flotilla::client {

struct StartAt {
  enum class Kind { kEarliest, kLatest, kOffset, kTime, kLast };
  Kind kind = Kind::kEarliest;
  int64_t value = 0;

  static StartAt Earliest() { return {}; }
  static StartAt Latest() { return {.kind = Kind::kLatest}; }
  static StartAt Offset(int64_t offset) { return {.kind = Kind::kOffset, .value = offset}; }
  // The first record at or after this time, milliseconds since 1970-01-01 UTC.
  static StartAt Time(int64_t timestamp_ms) { return {.kind = Kind::kTime, .value = timestamp_ms}; }
  // So many before the end.
  static StartAt Last(int64_t records) { return {.kind = Kind::kLast, .value = records}; }
};

struct ConsumerOptions {
  std::string topic;
  // Empty: all there are; those added later join in from their beginning.
  std::vector<int32_t> partitions = {};
  StartAt start = {};
  // Ends at the ends that the partitions have now.
  bool until_end = false;
  // Bytes that are fetched ahead of Next.
  size_t buffer_bytes = size_t{4} << 20;
  // Check every batch against its checksum.
  bool verify_checksum = true;
  // After so long without any broker that serves the subscription, Next says why. 0: it goes on for ever.
  Duration give_up_after = std::chrono::seconds(30);
};

struct ConsumerEvent {
  enum class Kind {
    kRecords,         // `message`
    kCaughtUp,        // `partition` was read up to `next_offset`, its end; more may follow
    kPartitionError,  // nothing follows for `partition`: `error`
    kEnded,           // nothing follows at all: until_end is reached, or no partition is left
    kNothing,         // nothing came in time
  };
  Kind kind = Kind::kNothing;
  int32_t partition = 0;
  int64_t next_offset = 0;
  FetchedMessage message = {};
  Error error = {};
};

class ConsumerCore;

class Consumer {
 public:
  // Finds the topic. TOPIC_NOT_FOUND, PARTITION_NOT_FOUND, UNREACHABLE.
  static Result<std::unique_ptr<Consumer>> Open(Client& client, const ConsumerOptions& options);
  ~Consumer();
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  // The next thing that happened, kNothing after `wait`. An error is final.
  Result<ConsumerEvent> Next(Duration wait);
  // Where each partition goes on after what Next has returned. -1: nothing was returned for it yet.
  std::vector<std::pair<int32_t, int64_t>> Positions() const;

 private:
  explicit Consumer(std::shared_ptr<ConsumerCore> core);
  const std::shared_ptr<ConsumerCore> core_;
};

}  // namespace flotilla::client
