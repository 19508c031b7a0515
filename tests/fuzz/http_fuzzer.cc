// Arbitrary bytes at the HTTP port of a running server: whatever it answers ends, and the next one is served.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
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

// All that comes back, until the server closes.
std::string Exchange(std::string_view request) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_GE(fd, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(Server().port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const linger at_once{.l_onoff = 1, .l_linger = 0};  // or thousands of ports would wait for a minute
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  std::string_view rest = request;
  while (!rest.empty()) {
    const ssize_t sent = send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;  // it has had enough
    rest.remove_prefix(static_cast<size_t>(sent));
  }
  shutdown(fd, SHUT_WR);
  std::string answer;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; (got = recv(fd, buffer.data(), buffer.size(), 0)) > 0;) answer.append(buffer.data(), static_cast<size_t>(got));
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
