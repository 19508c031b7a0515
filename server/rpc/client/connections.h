// What each connection at the clients' port has done, so that one that does harm is found among ten thousand.
//
// Two kinds of harm that gRPC 1.51 does not see. A call that its client resets is none to HTTP/2, which lets the next one in, and costs
// the node some KiB until it is taken apart: who begins and resets and does nothing else fills the memory. And a request that does
// not come to its end stays in memory for as long as the client likes: how long is looked at here, how much of all connections together
// in incomplete_requests.h.
//
// Rows live as long as their connection, and any call of it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "server/rpc/client/unfinished.h"
#include "server/rpc/connection_port.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace flotilla::rpc::client {

struct ConnectionLimits {
  size_t calls_left_max = 0;
  size_t empty_calls_max = 0;
  // With so many empty calls on all connections since the last look the node is flooded, and the limit is another one.
  size_t flood_empty_calls = 0;
  size_t empty_calls_max_in_flood = 0;
  // A call whose time was over may have waited here for too long: so many of them count as one.
  size_t late_calls_per_empty_call = 0;
};

class Connections {
 public:
  class Row {
   public:
    explicit Row(std::string other_side) : peer(std::move(other_side)) {}

    const std::string peer;
    // A stream is not read from (for a while): what lies there unread is not the client's doing.
    std::atomic<size_t> unread{0};

   private:
    friend class Connections;
    std::atomic<uint64_t> receiving_{0};         // calls of which a request, or the next one, may be on its way
    std::atomic<uint64_t> broken_off_calls_{0};  // that ended so, since the last look at all
    std::atomic<bool> none_receiving_{false};    // there was none that receives, since the last look at all
    // Without what the kernel counts: that is to be looked at afterwards, or something would be a request that was never received.
    Unfinished::Totals Totals() const {
      return {.received = 0, .acknowledged = 0, .calls = calls_begun_, .requests = requests_, .request_bytes = request_bytes_};
    }

    std::atomic<size_t> calls_{0};
    std::atomic<uint64_t> calls_begun_{0};
    std::atomic<uint64_t> requests_{0};
    std::atomic<uint64_t> request_bytes_{0};
    std::atomic<size_t> empty_calls_{0};  // beyond those with a request, times late_calls_per_empty_call
    std::atomic<bool> forget_{false};     // a call ended without its request: so did what there was of it
    Unfinished unfinished_;               // of the executor
  };

  explicit Connections(const ConnectionLimits& limits) : limits_(limits) {}
  // Before the first call.
  void SetPort(ConnectionPort& port) { port_ = &port; }

  // --- any thread
  // A call begins; it leaves as the last thing that it does.
  Row& Enter(const std::string& peer);
  static void Leave(Row& row) { row.calls_.fetch_sub(1, std::memory_order_release); }
  void RequestArrived(Row& row, size_t bytes);
  // The call ended before there was a whole one. `late`: its time was over.
  void NoRequest(Row& row, bool late);
  // Once for each call, at the latest when it leaves: it takes no (further) request. `whole`: its last one has arrived.
  static void ReceivingEnded(Row& row, bool whole);
  size_t count() const;
  // The connection with this descriptor, which is open.
  void BreakOff(int fd) {
    if (port_ != nullptr) port_->BreakOff(PeerOf(fd), kFlood);
  }

  // What IncompleteRequests has to know of a connection.
  struct Counts {
    Unfinished::Totals totals;  // without what the kernel counts
    uint64_t receiving = 0;
    // Since the last time that it was asked.
    uint64_t broken_off_calls = 0;
    bool none_receiving = false;
    bool unread = false;
  };
  // By peer; those without calls are not there. One thread at a time.
  std::unordered_map<std::string, Counts> TakeCounts();

  // --- executor
  // At what is gone, and whether a flood is over.
  void Look();
  // Since when a part of a request lies on the connection, as far as that was noticed.
  std::optional<MonotonicTime> UnfinishedSince(Row& row, MonotonicTime now);

 private:
  static constexpr char kFlood[] = "it only begins and resets calls";

  void BreakOff(const Row& row) {
    if (port_ != nullptr) port_->BreakOff(row.peer, kFlood);
  }
  void ForgetThoseGone();

  const ConnectionLimits limits_;
  ConnectionPort* port_ = nullptr;
  std::atomic<size_t> empty_calls_lately_{0};  // likewise
  int looks_ = 0;

  mutable Mutex mutex_;
  std::unordered_map<std::string, std::unique_ptr<Row>> rows_ FLOTILLA_GUARDED_BY(mutex_);  // by peer
};

}  // namespace flotilla::rpc::client
