// What the clients' port counts: plain numbers that many threads add to and whoever asks reads, without a lock.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "server/rpc/listener.h"
#include "storage/base/clock.h"

namespace flotilla::rpc::client {

// google.rpc.Code: 0 to 16.
inline constexpr size_t kCodes = 17;
// Bucket i counts what took less than 2^i microseconds and not less than half of it; the last one all that took longer.
inline constexpr size_t kLatencyBuckets = 28;

// Why the edge itself refused, without asking the broker.
enum class Rejection : uint8_t {
  kTooLarge,
  kCorrupt,
  kOverloaded,
  kTooManyStreams,
  kShuttingDown,
  kNotInitialized,
  kNotAllowed,
  kTooSlow,
};
inline constexpr size_t kRejections = 8;
inline constexpr std::array<const char*, kRejections> kRejectionNames = {"LIMIT_EXCEEDED",    "CORRUPT_MESSAGE",  "OVERLOADED",
                                                                         "TOO_MANY_STREAMS",  "SHUTTING_DOWN",    "NOT_INITIALIZED",
                                                                         "PERMISSION_DENIED", "DEADLINE_EXCEEDED"};

// At one moment.
struct ClientCounters {
  struct Method {
    std::string method;  // "/flotilla.v1.ProduceService/Produce"
    // Calls that ended, by canonical code. For ProduceStream also its requests, as those of "...ProduceStream/request".
    std::array<uint64_t, kCodes> by_code{};
    uint64_t bytes_in = 0;
    uint64_t bytes_out = 0;
    // Of unary calls and of requests of a ProduceStream: from when it was received until the answer is handed to the transport.
    std::array<uint64_t, kLatencyBuckets> latency{};
    uint64_t latency_micros_sum = 0;
  };
  std::vector<Method> methods;
  std::map<std::string, uint64_t> rejected;  // by reason
  uint64_t inflight_bytes = 0;               // of produce requests, now
  uint64_t streams = 0;                      // now
  uint64_t calls = 0;                        // now, streams included
  uint64_t uploads = 0;                      // of these: their request has not arrived
  uint64_t answer_bytes = 0;                 // of fetches, now: not taken yet
  ConnectionCounters connections;
};

// Of one method. Any thread.
class MethodCounters {
 public:
  explicit MethodCounters(std::string method) : method_(std::move(method)) {}

  const std::string& method() const { return method_; }
  void Received(size_t bytes) { Add(bytes_in_, bytes); }
  void Sent(size_t bytes) { Add(bytes_out_, bytes); }
  // `code` of google.rpc.
  void Ended(int code) { Add(by_code_[code >= 0 && static_cast<size_t>(code) < kCodes ? static_cast<size_t>(code) : 2], 1); }
  void Took(Duration time) {
    const auto micros = static_cast<uint64_t>(std::max<int64_t>(0, time.count() / 1000));
    Add(latency_[std::min<size_t>(std::bit_width(micros), kLatencyBuckets - 1)], 1);
    Add(latency_micros_sum_, micros);
  }
  ClientCounters::Method Read() const {
    ClientCounters::Method read{
        .method = method_, .bytes_in = bytes_in_, .bytes_out = bytes_out_, .latency_micros_sum = latency_micros_sum_};
    for (size_t i = 0; i < kCodes; ++i) read.by_code[i] = by_code_[i];
    for (size_t i = 0; i < kLatencyBuckets; ++i) read.latency[i] = latency_[i];
    return read;
  }

 private:
  static void Add(std::atomic<uint64_t>& counter, uint64_t value) { counter.fetch_add(value, std::memory_order_relaxed); }

  const std::string method_;
  std::array<std::atomic<uint64_t>, kCodes> by_code_{};
  std::array<std::atomic<uint64_t>, kLatencyBuckets> latency_{};
  std::atomic<uint64_t> latency_micros_sum_{0};
  std::atomic<uint64_t> bytes_in_{0};
  std::atomic<uint64_t> bytes_out_{0};
};

}  // namespace flotilla::rpc::client
