// Arbitrary bytes at the HTTP port of a running server: whatever it answers ends, and the next one is served.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "server/http/http_server.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;

namespace {

class NoMetrics final : public http::MetricSource {
 public:
  void Collect(http::MetricWriter& writer) override { writer.Gauge("fuzz", "One.", {}, 1); }
};
class AlwaysReady final : public http::ReadinessSource {
 public:
  std::vector<http::ReadinessCheck> Checks() override { return {{.name = "fuzz", .ok = true, .reason = ""}}; }
};

http::HttpServer& Server() {
  static NoMetrics metrics;
  static AlwaysReady readiness;
  static const std::unique_ptr<http::HttpServer> server = [] {
    auto started = http::HttpServer::Start({.host = "127.0.0.1", .port = 0}, {&metrics}, {&readiness});
    CHECK(started.ok()) << started.status();
    return *std::move(started);
  }();
  return *server;
}

// libFuzzer's alarm rings now and then and interrupts whatever waits. A connection is made all the same, but somebody else tells when.
void Connect(int fd, const sockaddr_in& address) {
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return;
  PCHECK(errno == EINTR);
  pollfd made{.fd = fd, .events = POLLOUT, .revents = 0};
  PCHECK(TEMP_FAILURE_RETRY(poll(&made, 1, -1)) == 1);
  int error = 0;
  socklen_t size = sizeof error;
  PCHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
  CHECK_EQ(error, 0);
}

// All that comes back, until the server closes.
std::string Exchange(std::string_view request) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_GE(fd, 0);
  // Each from another address of loopback: the ports of one are used up within seconds, because each rests for a minute.
  static uint32_t last = 0;
  const int only_address = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &only_address, sizeof only_address);
  sockaddr_in own{};
  own.sin_family = AF_INET;
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + ++last % 250);
  CHECK_EQ(bind(fd, reinterpret_cast<sockaddr*>(&own), sizeof own), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(Server().port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Connect(fd, address);
  std::string_view rest = request;
  while (!rest.empty()) {
    const ssize_t sent = TEMP_FAILURE_RETRY(send(fd, rest.data(), rest.size(), MSG_NOSIGNAL));
    if (sent <= 0) break;  // it has had enough
    rest.remove_prefix(static_cast<size_t>(sent));
  }
  shutdown(fd, SHUT_WR);
  std::string answer;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; (got = TEMP_FAILURE_RETRY(recv(fd, buffer.data(), buffer.size(), 0))) > 0;) {
    answer.append(buffer.data(), static_cast<size_t>(got));
  }
  close(fd);
  return answer;
}

}  // namespace

FLOTILLA_FUZZ(input) {
  if (input.size() > 64 * 1024) return;
  const std::string answer = Exchange(input);
  if (!answer.empty()) CHECK_EQ(answer.rfind("HTTP/1.", 0), 0u) << answer;
  static int count = 0;
  if (++count % 256 == 0) CHECK_EQ(Exchange("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").rfind("HTTP/1.1 200", 0), 0u);
}
