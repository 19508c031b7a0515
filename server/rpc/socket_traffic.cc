#include "server/rpc/socket_traffic.h"

#include <linux/tcp.h>  // its tcp_info has more than the one of <netinet/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

namespace flotilla::rpc {

std::optional<SocketTraffic> TrafficOf(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  if (size < offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received) return std::nullopt;
  return SocketTraffic{.received = info.tcpi_bytes_received, .acknowledged = info.tcpi_bytes_acked};
}

}  // namespace flotilla::rpc
