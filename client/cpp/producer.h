// Writes records to one topic: gathers them into batches, sends those to the partitions' leaders, several at a time, and sends
// again what got lost, without duplicates and in order.
//
//   Result<std::unique_ptr<Producer>> producer = Producer::Open(client, {.topic = "logs"});
//   (*producer)->Send({.key = "k", .value = "v"}, {.callback = [](const Error& error, int32_t partition, int64_t offset) {...}});
//   (*producer)->Flush();
//
// Any thread. Callbacks come on threads of the library, in the order of the records of a partition; they must not wait, and may
// Send with `wait` off.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "client/cpp/client.h"
#include "client/cpp/error.h"
#include "client/cpp/produce_lane.h"
#include "client/cpp/record.h"

namespace flotilla::client {

enum class Acks {
  kQuorum = 1,  // on the disks of a majority
  kLeader = 2,  // on the leader's disk: lost with it
  kNone = 3,    // taken by the leader: no offsets
};

struct ProducerOptions {
  std::string topic;
  Acks acks = Acks::kQuorum;
  // Duplicates never, order always. Off: a batch whose outcome is not known is not sent again.
  bool idempotent = true;
  // A batch leaves when it has so many bytes, 1 to 4 MiB, ...
  size_t batch_bytes = size_t{256} << 10;
  // ... or when its first record has waited so long. 0: as soon as there is room in flight; batches then grow by themselves
  // under load.
  Duration linger = std::chrono::milliseconds(2);
  // Batches of a partition on their way at a time. With idempotence 1 to 5: more a partition does not remember.
  int in_flight_max = 5;
  // Memory for records that are not acknowledged.
  size_t buffer_bytes = size_t{64} << 20;
  // A record that is not acknowledged after so long has failed.
  Duration delivery_timeout = std::chrono::seconds(60);
  // A batch that is not answered after so long is sent again, through another connection.
  Duration request_timeout = std::chrono::seconds(15);
  // With idempotence: a broker that owes an answer and says nothing for a third of this is asked whether it is there, and left
  // for another one when it has not answered by then. It may be frozen, which its connection does not tell. 100 ms or more.
  Duration silence_max = std::chrono::seconds(3);
  // Let the broker check what it gets.
  bool checksum = true;
  // Ask to be refused rather than forwarded by a broker that does not lead.
  bool require_leader = false;
  // Called for every batch that is settled, before the callbacks of its records.
  std::function<void(const Delivery&)> on_delivery = {};
};

struct SendOptions {
  // Absent: by the key, as every client does it; without a key one batch goes to one partition, the next to another.
  std::optional<int32_t> partition = {};
  // When the buffer is full: wait for room (at most delivery_timeout), or refuse with BUFFER_FULL.
  bool wait = true;
  // Comes back in Delivery.tags. Cheaper than a callback. All records have one, or none.
  std::optional<uint64_t> tag = {};
  RecordCallback callback = {};
};

class ProducerCore;

class Producer {
 public:
  // Finds the topic and gets a producer id. TOPIC_NOT_FOUND, INVALID_ARGUMENT, UNREACHABLE.
  static Result<std::unique_ptr<Producer>> Open(Client& client, const ProducerOptions& options);
  // Closes without waiting.
  ~Producer();
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  // OK: taken, and what becomes of it is told to the callbacks. The record is copied. LIMIT_EXCEEDED, PARTITION_NOT_FOUND,
  // BUFFER_FULL, CLOSED, FENCED: not taken.
  Error Send(const RecordView& record, const SendOptions& options = {});
  // Sends it, with everything before it, at once, and waits. Where it is now.
  struct Place {
    int32_t partition = 0;
    int64_t offset = -1;
  };
  Result<Place> SendAndWait(const RecordView& record, SendOptions options = {});

  // Waits until everything that was sent is settled. TIMED_OUT.
  Error Flush(Duration timeout = std::chrono::seconds(60));
  // Flushes, then takes no more. What is not settled by then fails.
  Error Close(Duration timeout = std::chrono::seconds(60));

  int32_t partition_count() const;

 private:
  explicit Producer(std::shared_ptr<ProducerCore> core);
  const std::shared_ptr<ProducerCore> core_;
};

}  // namespace flotilla::client
