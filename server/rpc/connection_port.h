// A port's open connections, by the other side's address as gRPC writes it: "ipv4:10.0.0.1:5000", "ipv6:%5B::1%5D:5000".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/rpc/socket_traffic.h"

namespace flotilla::rpc {

// "": the other side is gone.
std::string PeerOf(int fd);

struct ConnectionReads {
  std::string peer;
  uint64_t bytes = 0;  // that this process has read from it (server/rpc/socket_reads.h)
};

// Any thread.
class ConnectionPort {
 public:
  virtual ~ConnectionPort() = default;
  // Breaks it off with a reset, and drops what it has sent that nobody has read. Nothing happens if there is none (any more). `why`
  // goes to the log.
  virtual void BreakOff(const std::string& peer, std::string_view why) = 0;
  // True also for a while after it was closed.
  virtual bool IsOpen(const std::string& peer) const = 0;
  // Nothing: it is gone.
  virtual std::optional<SocketTraffic> Traffic(const std::string& peer) const = 0;
  // Of all that are open, in any order.
  virtual std::vector<ConnectionReads> Reads() const = 0;
};

}  // namespace flotilla::rpc
