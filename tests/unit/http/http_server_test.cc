// The port as a client sees it, on sockets of its own: what a library's client would hide is what matters.
#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace flotilla::http {
namespace {

using namespace std::chrono_literals;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Socket {
 public:
  explicit Socket(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  bool connected() const { return connected_; }
  // False: the other side is gone.
  bool Send(std::string_view text) { return send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()); }
  // What comes until the end.
  std::string ReadAll() {
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = recv(fd_, buffer, sizeof buffer, 0)) > 0;) text.append(buffer, static_cast<size_t>(got));
    return text;
  }
  bool HasAnswer(Duration patience) {
    pollfd waited{.fd = fd_, .events = POLLIN, .revents = 0};
    return poll(&waited, 1, static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(patience).count())) > 0;
  }

 private:
  const int fd_;
  bool connected_ = false;
};

class OneMetric final : public MetricSource {
 public:
  void Collect(MetricWriter& writer) override { writer.Gauge("flotilla_test", "Help.", {}, ++scrapes_); }

 private:
  std::atomic<int> scrapes_{0};
};

class Switch final : public ReadinessSource {
 public:
  std::atomic<bool> on{false};
  std::vector<ReadinessCheck> Checks() override { return {{.name = "switch", .ok = on, .reason = "off"}}; }
};

class HttpServerTest : public testing::Test {
 protected:
  void Start(HttpOptions options = {}) {
    auto started = HttpServer::Start(options, {&metric_}, {&switch_});
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
  }
  std::string Ask(const std::string& request) {
    Socket client(server_->port());
    EXPECT_TRUE(client.connected());
    client.Send(request);
    return client.ReadAll();
  }
  std::string Get(const std::string& target) { return Ask("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n"); }

  OneMetric metric_;
  Switch switch_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, PagesAreServed) {
  Start();
  EXPECT_THAT(Get("/metrics"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("flotilla_test 1\n"),
                                     HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n")));
  EXPECT_THAT(Get("/metrics"), HasSubstr("flotilla_test 2\n"));
  EXPECT_THAT(Get("/healthz"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("ok\n")));
  EXPECT_THAT(Get("/nothing"), AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("/metrics")));
}

TEST_F(HttpServerTest, ReadinessFollowsTheNode) {
  Start();
  EXPECT_THAT(Get("/readyz"), AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("switch: not ok: off\n")));
  switch_.on = true;
  EXPECT_THAT(Get("/readyz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Get("/readyz?verbose"), HasSubstr("switch: ok\n"));
}

TEST_F(HttpServerTest, HeadHasTheLengthAndNoBody) {
  Start();
  EXPECT_THAT(Ask("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Content-Length: 3\r\n"), Not(HasSubstr("ok\n"))));
}

TEST_F(HttpServerTest, OtherMethodsAreRefusedWithoutReadingABody) {
  Start();
  EXPECT_THAT(Ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nabc"),
              AllOf(StartsWith("HTTP/1.1 405"), HasSubstr("Allow: GET, HEAD\r\n")));
  EXPECT_THAT(Ask("POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), StartsWith("HTTP/1.1 405"));
}

TEST_F(HttpServerTest, ARangeIsNotCutOut) {
  Start();
  EXPECT_THAT(Ask("GET /healthz HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\n\r\n"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("ok\n")));
}

TEST_F(HttpServerTest, GarbageIsAnsweredOrCutOff) {
  Start();
  const std::string long_list = [] {
    std::string text = "bytes=";
    while (text.size() < 7000) text += "1-2,";
    return text;
  }();
  for (const std::string& request :
       {std::string("\r\n\r\n"), std::string("GET\r\n\r\n"), std::string("GET / HTTP/9.9\r\n\r\n"), std::string(100, '\0') + "\r\n\r\n",
        "GET /" + std::string(7000, '%') + " HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nRange: " + long_list + "\r\n\r\n",
        "GET / HTTP/1.1\r\nAccept-Encoding: " + std::string(7000, ',') + "\r\n\r\n",
        "GET /?" + std::string(7000, '&') + " HTTP/1.1\r\n\r\n"}) {
    EXPECT_THAT(Ask(request), AnyOf("", StartsWith("HTTP/1.1 4")));
  }
  EXPECT_THAT(Get("/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, ARequestWithoutEndIsCutOffByItsSize) {
  Start({.timeout = 60s});
  Socket endless(server_->port());
  ASSERT_TRUE(endless.Send("GET /healthz HTTP/1.1\r\n"));
  // Far more than the limit, and it is not waited for.
  const std::string header = "X: " + std::string(1000, 'a') + "\r\n";
  size_t sent = 0;
  while (sent < 100'000'000 && endless.Send(header)) sent += header.size();
  EXPECT_LT(sent, 100'000'000u);
  EXPECT_THAT(Get("/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, ARequestThatDawdlesIsCutOffByItsTime) {
  Start({.timeout = 100ms});
  Socket slow(server_->port());
  ASSERT_TRUE(slow.Send("GET /healthz HTTP/1.1\r\nX: "));
  // A byte now and then does not buy more time.
  bool alive = true;
  for (int i = 0; i < 1000 && alive; ++i) alive = !slow.HasAnswer(10ms) && slow.Send("a");
  EXPECT_FALSE(alive);
}

TEST_F(HttpServerTest, IdleConnectionsDoNotKeepOthersOutForLong) {
  Start({.threads = 2, .timeout = 100ms});
  std::vector<std::unique_ptr<Socket>> idle;
  for (int i = 0; i < 6; ++i) idle.push_back(std::make_unique<Socket>(server_->port()));
  EXPECT_THAT(Get("/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, ATakenPortIsAnErrorThatSaysSo) {
  Start();
  const auto second = HttpServer::Start({.port = server_->port()}, {}, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().message(), "cannot listen for HTTP on 127.0.0.1 port " + std::to_string(server_->port()) +
                                           ": Address already in use; change listen.http, or write \"\" there to go without");
  EXPECT_THAT(Get("/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, StopBreaksOpenConnectionsOffAndFreesThePort) {
  Start({.timeout = 600s});
  const uint16_t port = server_->port();
  Socket idle(port);
  ASSERT_TRUE(idle.Send("GET /healthz HTTP/1.1\r\n"));
  server_->Stop();
  EXPECT_THAT(idle.ReadAll(), Not(HasSubstr("200 OK")));
  EXPECT_FALSE(Socket(port).connected());
  server_->Stop();
  Start({.port = port});
  EXPECT_THAT(Get("/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, StartAndStopAtOnceEnds) {
  for (int i = 0; i < 20; ++i) {
    Start();
    server_.reset();
  }
}

TEST_F(HttpServerTest, ManyClientsAtOnceAreAllAnswered) {
  Start();
  std::vector<std::thread> clients;
  std::atomic<int> answered{0};
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        if (Get("/metrics").find("flotilla_test") != std::string::npos) ++answered;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(answered, 200);
}

}  // namespace
}  // namespace flotilla::http
