// How much gRPC holds of requests that are not complete, of all connections together, and that it stays below a limit: those that hold
// most of it are broken off.
//
// gRPC has a limit of its own (a resource quota), and when that is used up it ends streams of one connection after the other, in the
// order in which these had their first one: a silent stream or a small request as well as the upload that filled the memory. So it must
// not come to that. What a connection holds is estimated, as in unfinished.h, by what was read from it and what of that was requests.
//
// A thread that reads a connection finds out by itself: what is there grows by hundreds of MiB in a second, and while it looks nothing
// comes in through that thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "server/rpc/client/connections.h"
#include "server/rpc/client/unfinished.h"
#include "server/rpc/connection_port.h"
#include "server/rpc/socket_reads.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace flotilla::rpc::client {

// Any thread.
class IncompleteRequests final : public ReadListener {
 public:
  // References outlive the call of End.
  IncompleteRequests(uint64_t bytes_max, Connections& connections, const Clock& clock)
      : bytes_max_(bytes_max), connections_(connections), clock_(clock) {}

  // Before the first connection is handed on.
  void Begin(ConnectionPort& port);
  // Nothing is looked at any more, and `port` not touched.
  void End();

  // A request came whole.
  void Arrived(size_t bytes) { arrived_.fetch_add(bytes, std::memory_order_relaxed); }
  // A look now and then keeps the estimates exact.
  void Look();

  // ReadListener
  void OnRead(size_t bytes) override;

 private:
  struct Connection {
    Unfinished unfinished;
    uint64_t look = 0;    // that found it
    bool unread = false;  // what lies there may be our doing
  };

  int64_t Open() const {
    return static_cast<int64_t>(read_.load(std::memory_order_relaxed)) - static_cast<int64_t>(arrived_.load(std::memory_order_relaxed));
  }
  void LookAtAll() FLOTILLA_REQUIRES(mutex_);
  // The total of all connections.
  uint64_t Estimate(MonotonicTime now) FLOTILLA_REQUIRES(mutex_);
  void BreakOffLargest(uint64_t total) FLOTILLA_REQUIRES(mutex_);

  const uint64_t bytes_max_;
  Connections& connections_;
  const Clock& clock_;

  std::atomic<uint64_t> read_{0};
  std::atomic<uint64_t> arrived_{0};
  std::atomic<int64_t> looked_at_{0};  // Open() at the last look at all

  // Held over calls of the port, which is quick and calls nobody.
  Mutex mutex_;
  ConnectionPort* port_ FLOTILLA_GUARDED_BY(mutex_) = nullptr;
  uint64_t looks_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  std::unordered_map<std::string, Connection> by_peer_ FLOTILLA_GUARDED_BY(mutex_);
};

}  // namespace flotilla::rpc::client
