// A TCP port whose connections are counted and limited: those that are admitted are handed on, the others are told why
// (refused_connection.h) and closed.
//
//   Result<std::unique_ptr<Listener>> listener = Listener::Open({.address = "0.0.0.0:9650", .connections_max = 10'000});
//   (*listener)->Start([&](int connection) { ... });  // owns the descriptor from now on
//   ...
//   (*listener)->Stop();
//
// gRPC could listen by itself, but 1.51 knows no limit of connections, and once a process has run out of file descriptors its
// listener never accepts again. Before that the store would have failed, for want of descriptors for its files.
//
// Whoever owns a connection does not tell when it closes it. The listener remembers which socket a descriptor stood for, and looks
// from time to time whether it still does: `open` may be a second late, and is right again as soon as the limit depends on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/rpc/connection_port.h"
#include "server/rpc/socket_reads.h"
#include "storage/base/clock.h"
#include "storage/base/status.h"

namespace flotilla::rpc {

struct ListenerOptions {
  // "host:port", "[::]:port"; port 0: a free one. 0.0.0.0 and [::] mean every address of the machine, of both families.
  std::string address;
  size_t connections_max = 0;
  // What calls on a connection above that are answered with for a moment, before it is closed: RefusalTrailers(...). "": it is closed
  // at once, because it speaks no plain HTTP/2.
  std::string refusal_trailers;
  // A peer that acknowledges nothing of what it was sent for so long is gone.
  Duration silence_max = std::chrono::seconds(60);
  // Told of what is read from connections that were admitted (server/rpc/socket_reads.h). Nobody: it is not counted.
  std::shared_ptr<ReadListener> reads;
};

struct ConnectionCounters {
  uint64_t open = 0;  // now
  uint64_t admitted = 0;
  uint64_t refused = 0;  // above the limit
  uint64_t broken_off = 0;
  uint64_t failed = 0;  // not accepted: the process or the machine has run out of something
};

class Listener final : public ConnectionPort {
 public:
  // Listens from now on: connections wait until Start. INVALID_ARGUMENT names the address and what is wrong with it.
  static Result<std::unique_ptr<Listener>> Open(const ListenerOptions& options);
  // Stops, if it was not stopped.
  ~Listener() override;

  int port() const;
  // Once. `take` is called on the listener's own thread, with a descriptor that does not block.
  void Start(std::function<void(int)> take);
  // No connection is admitted after this; those that are open belong to whom they were given to. May be called again.
  void Stop();

  // Any thread.
  ConnectionCounters counters() const;

  // ConnectionPort
  void BreakOff(const std::string& peer, std::string_view why) override;
  bool IsOpen(const std::string& peer) const override;
  std::optional<SocketTraffic> Traffic(const std::string& peer) const override;
  std::vector<ConnectionReads> Reads() const override;

 private:
  class Loop;
  explicit Listener(std::unique_ptr<Loop> loop);
  const std::unique_ptr<Loop> loop_;
};

}  // namespace flotilla::rpc
