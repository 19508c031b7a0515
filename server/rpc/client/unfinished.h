// Whether a part of a request, and more than a little, lies on a connection. gRPC tells of requests that are whole, and of nothing else;
// so what came in is held against what of it was calls and requests.
//
//   unfinished.Look(now, totals);                      // now and then
//   if (unfinished.since() && now - *unfinished.since() > max) ...
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "storage/base/clock.h"
#include "storage/base/limits.h"

namespace flotilla::rpc::client {

class Unfinished {
 public:
  // Of a connection since it began. A new one has zeros.
  struct Totals {
    uint64_t received = 0;      // bytes, from the client
    uint64_t acknowledged = 0;  // bytes that the client took: it says so, and grants room for more
    uint64_t calls = 0;         // that began
    uint64_t requests = 0;      // that came whole
    uint64_t request_bytes = 0;
  };

  // Less is not noticed. What belongs to no request is estimated, never too low, and a stream that was not let in yet may have sent
  // HTTP/2's first 64 KiB.
  static constexpr uint64_t kLittle = 16 * flotilla::limits::kKiB;

  void Look(MonotonicTime now, const Totals& totals) {
    // Another connection, from the same address.
    if (totals.received < seen_.received || totals.acknowledged < seen_.acknowledged) return Forget(now, totals);
    const uint64_t explained = Explained(now, totals);
    unexplained_ += totals.received - seen_.received;
    unexplained_ -= std::min(unexplained_, explained);
    seen_ = totals;
    looked_at_ = now;
    if (unexplained_ <= kLittle) {
      since_ = std::nullopt;
    } else if (!since_) {
      since_ = now;
    }
  }
  // What lies there is another's fault, or is gone with its call.
  void Forget(MonotonicTime now, const Totals& totals) {
    seen_ = totals;
    looked_at_ = now;
    unexplained_ = 0;
    since_ = std::nullopt;
  }
  // `part` of `of` calls that were arriving are gone: which of them had how much is not known.
  void Forgive(uint64_t part, uint64_t of) {
    if (of != 0) unexplained_ -= unexplained_ / of * part;
  }
  // How much lies there.
  uint64_t bytes() const { return unexplained_; }
  const Totals& seen() const { return seen_; }
  // When a look found it first. Nothing: there is none.
  std::optional<MonotonicTime> since() const { return since_; }

 private:
  // Generous: framing of HTTP/2 and TLS; the headers of calls, which may have 8 KiB; pings and their answers; updates of windows.
  uint64_t Explained(MonotonicTime now, const Totals& totals) const {
    const uint64_t request_bytes = totals.request_bytes - seen_.request_bytes;
    const auto millis = static_cast<uint64_t>(looked_at_ ? (now - *looked_at_) / std::chrono::milliseconds(1) : 0);
    return request_bytes + request_bytes / 4 + (totals.requests - seen_.requests) * flotilla::limits::kKiB +
           (totals.calls - seen_.calls) * 16 * flotilla::limits::kKiB + (totals.acknowledged - seen_.acknowledged) / 16 + millis;
  }

  Totals seen_;
  std::optional<MonotonicTime> looked_at_;
  std::optional<MonotonicTime> since_;
  uint64_t unexplained_ = 0;
};

}  // namespace flotilla::rpc::client
