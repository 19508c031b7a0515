// What went over a TCP connection since it began, as the kernel counts it.
#pragma once

#include <cstdint>
#include <optional>

namespace flotilla::rpc {

struct SocketTraffic {
  uint64_t received = 0;      // bytes, in order, read or not
  uint64_t acknowledged = 0;  // bytes of ours that the other side has

  bool operator==(const SocketTraffic&) const = default;
};

// Nothing: `fd` is no TCP connection.
std::optional<SocketTraffic> TrafficOf(int fd);

}  // namespace flotilla::rpc
