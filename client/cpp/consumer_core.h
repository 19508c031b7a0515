// The inside of a Consumer: one subscription for each node that leads some of the partitions. gRPC's threads put what comes into
// a queue that Next empties; a subscription is read only while the queue has room. Everything meets under one mutex.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "client/cpp/consumer.h"
#include "flotilla/v1/consume.pb.h"

namespace flotilla::client {

class ConsumerCore : public std::enable_shared_from_this<ConsumerCore> {
 public:
  ConsumerCore(Client& client, const ConsumerOptions& options, const std::vector<int32_t>& partitions);

  Result<ConsumerEvent> Next(Duration wait);
  void Stop();
  std::vector<std::pair<int32_t, int64_t>> Positions() const;

 private:
  class Subscription;
  struct Partition {
    int64_t received = -1;  // where to go on after what is in the queue; -1: from the start position
    int64_t returned = -1;  // after what Next has returned
    int64_t end = -1;       // with until_end: where it was when the consumer was opened
    bool finished = false;
    bool added = false;  // later than the consumer was opened
    std::shared_ptr<Subscription> from;
  };

  // --- with the mutex
  void Subscribe(MonotonicTime now);
  v1::SubscribeRequest RequestFor(const std::vector<int32_t>& partitions) const;
  void Take(const std::shared_ptr<Subscription>& from, const Bytes& message);
  void TakeRecords(const std::shared_ptr<Subscription>& from, const Bytes& bytes);
  void Finish(int32_t partition);
  void Push(ConsumerEvent event);
  void Leave(const std::shared_ptr<Subscription>& subscription);
  bool AllFinished() const;
  void LookForPartitions(MonotonicTime now);

  // --- from streams
  void OnMessage(const std::shared_ptr<Subscription>& from, const Bytes& message);
  void OnEnd(const std::shared_ptr<Subscription>& from, const Error& error);

  Client& client_;
  const ConsumerOptions options_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable arrived_;
  std::map<int32_t, Partition> partitions_;
  std::vector<std::shared_ptr<Subscription>> subscriptions_;
  std::deque<ConsumerEvent> queue_;
  size_t queued_bytes_ = 0;
  std::vector<std::shared_ptr<Subscription>> stalled_;  // wait for room in the queue
  Duration backoff_{};
  MonotonicTime retry_at_;
  std::optional<MonotonicTime> failing_since_;
  MonotonicTime look_at_;
  bool looking_ = false;
  Error last_error_;
  Error final_error_;
  bool stopped_ = false;
};

}  // namespace flotilla::client
