// Real sockets on loopback; whoever owns admitted connections is the test.
#include "server/rpc/listener.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "server/rpc/refused_connection.h"

namespace flotilla::rpc {
namespace {

using ::testing::HasSubstr;

class ListenerTest : public ::testing::Test {
 protected:
  ~ListenerTest() override {
    if (listener_ != nullptr) listener_->Stop();
    for (const int fd : clients_) ::close(fd);
    for (const int fd : taken_) ::close(fd);
  }

  void Open(size_t connections_max, const std::string& address = "127.0.0.1:0") {
    Result<std::unique_ptr<Listener>> listener =
        Listener::Open({.address = address, .connections_max = connections_max, .refusal_trailers = trailers_, .reads = reads_});
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    listener_->Start([this](int fd) {
      const std::lock_guard lock(mutex_);
      taken_.insert(fd);
    });
  }
  int Connect(uint32_t host = INADDR_LOOPBACK) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(listener_->port()));
    address.sin_addr.s_addr = htonl(host);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    clients_.push_back(fd);
    return fd;
  }
  std::vector<int> taken() {
    const std::lock_guard lock(mutex_);
    return {taken_.begin(), taken_.end()};
  }
  void CloseOneTaken() {
    const std::lock_guard lock(mutex_);
    ::close(*taken_.begin());
    taken_.erase(taken_.begin());
  }
  // All that comes until the other side closes; "timeout" when it does not.
  static std::string ReadToTheEnd(int fd) {
    std::string all;
    char buffer[4096];
    while (true) {
      const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
      if (got == 0) return all;
      if (got < 0) return errno == ECONNRESET ? all : "timeout";
      all.append(buffer, static_cast<size_t>(got));
    }
  }
  template <typename Holds>
  static bool Soon(Holds holds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  std::string trailers_ = "trailers";
  std::shared_ptr<ReadListener> reads_;
  std::unique_ptr<Listener> listener_;
  std::mutex mutex_;
  std::set<int> taken_;
  std::vector<int> clients_;
};

TEST_F(ListenerTest, AdmitsUpToTheLimitAndTellsTheOthersWhy) {
  Open(2);
  Connect();
  Connect();
  ASSERT_TRUE(Soon([&] { return listener_->counters().admitted == 2; }));
  const int refused = Connect();
  EXPECT_EQ(ReadToTheEnd(refused), RefusedConnection::Begin() + RefusedConnection::End());
  const ConnectionCounters counters = listener_->counters();
  EXPECT_EQ(counters.open, 2U);
  EXPECT_EQ(counters.refused, 1U);
  EXPECT_EQ(counters.failed, 0U);
}

TEST_F(ListenerTest, WithoutAnythingToSayItClosesAtOnce) {
  trailers_ = "";
  Open(0);
  EXPECT_EQ(ReadToTheEnd(Connect()), "");
  EXPECT_EQ(listener_->counters().refused, 1U);
}

TEST_F(ListenerTest, NoticesThatItsOwnerClosedAConnection) {
  Open(2);
  Connect();
  Connect();
  ASSERT_TRUE(Soon([&] { return listener_->counters().open == 2; }));
  CloseOneTaken();
  EXPECT_TRUE(Soon([&] { return listener_->counters().open == 1; }));
}

TEST_F(ListenerTest, AConnectionThatWasClosedMakesRoomAtOnce) {
  Open(1);
  Connect();
  ASSERT_TRUE(Soon([&] { return listener_->counters().admitted == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(60));  // so that the next look is allowed
  CloseOneTaken();
  Connect();
  EXPECT_TRUE(Soon([&] { return listener_->counters().admitted == 2; }));
  EXPECT_EQ(listener_->counters().refused, 0U);
}

TEST_F(ListenerTest, BreaksAConnectionOffAndLeavesTheOthers) {
  Open(2);
  const int abused = Connect();
  const int other = Connect();
  ASSERT_TRUE(Soon([&] { return listener_->counters().admitted == 2; }));
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(abused, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ASSERT_EQ(::send(abused, "unread", 6, 0), 6);
  listener_->BreakOff("ipv4:127.0.0.1:" + std::to_string(ntohs(address.sin_port)), "it is a test");
  listener_->BreakOff("ipv4:127.0.0.1:1", "nobody");
  char byte = 0;
  EXPECT_EQ(::recv(abused, &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(::send(other, "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_EQ(listener_->counters().broken_off, 1U);
}

TEST_F(ListenerTest, KnowsWhatWentOverAConnectionUntilItsOwnerClosedIt) {
  Open(2);
  const int client = Connect();
  ASSERT_TRUE(Soon([&] { return listener_->counters().admitted == 1; }));
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(client, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string peer = "ipv4:127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  ASSERT_EQ(::send(client, "unread", 6, 0), 6);
  EXPECT_TRUE(Soon([&] { return listener_->Traffic(peer).value_or(SocketTraffic{}).received == 6; }));
  EXPECT_TRUE(listener_->IsOpen(peer));
  EXPECT_EQ(listener_->Traffic("ipv4:127.0.0.1:1"), std::nullopt);
  EXPECT_FALSE(listener_->IsOpen("ipv4:127.0.0.1:1"));
  CloseOneTaken();
  EXPECT_EQ(listener_->Traffic(peer), std::nullopt);
  EXPECT_TRUE(Soon([&] { return !listener_->IsOpen(peer); }));
}

TEST_F(ListenerTest, WhatIsReadFromItsConnectionsIsCountedAndTold) {
  class Total final : public ReadListener {
   public:
    void OnRead(size_t bytes) override { total += bytes; }
    std::atomic<size_t> total{0};
  };
  const auto total = std::make_shared<Total>();
  reads_ = total;
  Open(2);
  const int client = Connect();
  ASSERT_TRUE(Soon([&] { return listener_->counters().admitted == 1; }));
  const auto read = [](int fd) {
    std::array<char, 100> buffer;
    iovec piece{.iov_base = buffer.data(), .iov_len = buffer.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    return ::recvmsg(fd, &message, 0);
  };
  ASSERT_TRUE(Soon([&] { return !taken().empty(); }));
  const int connection = taken().front();
  ASSERT_EQ(::send(client, "hello", 5, 0), 5);
  EXPECT_EQ(read(connection), 5);
  EXPECT_EQ(ThisThreadsRead().fd, connection);
  ASSERT_EQ(::send(client, "again", 5, 0), 5);
  EXPECT_EQ(read(connection), 5);
  EXPECT_EQ(total->total, 10U);
  ASSERT_EQ(::send(connection, "answer", 6, 0), 6);
  EXPECT_EQ(read(client), 6);
  EXPECT_EQ(total->total, 10U) << "the other end was not admitted";
  const std::vector<ConnectionReads> reads = listener_->Reads();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].bytes, 10U);
  EXPECT_EQ(reads[0].peer, PeerOf(connection));
  listener_->Stop();
  ASSERT_EQ(::send(client, "more", 4, 0), 4);
  EXPECT_EQ(read(connection), 4);
  EXPECT_EQ(total->total, 10U);
}

// Its number goes to the next connection at once, long before anybody has looked whether it was closed.
TEST_F(ListenerTest, WhoeverHasADescriptorAgainIsNotTakenForWhoHadIt) {
  class Nobody final : public ReadListener {
   public:
    void OnRead(size_t) override {}
  };
  reads_ = std::make_shared<Nobody>();
  Open(10);
  const int room_for_the_next_client = ::socket(AF_INET, SOCK_STREAM, 0);  // a lower number than that of the connection
  Connect();
  ASSERT_TRUE(Soon([&] { return taken().size() == 1; }));
  const int descriptor = taken().front();
  const std::string before = PeerOf(descriptor);
  CloseOneTaken();
  EXPECT_TRUE(listener_->Reads().empty());
  ::close(room_for_the_next_client);
  Connect();
  ASSERT_TRUE(Soon([&] { return taken().size() == 1; }));
  ASSERT_EQ(taken().front(), descriptor);
  const std::vector<ConnectionReads> reads = listener_->Reads();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].peer, PeerOf(descriptor));
  EXPECT_FALSE(listener_->IsOpen(before)) << "or it would be for ever: nobody looks for it any more";
}

TEST_F(ListenerTest, ManyRefusedConnectionsDoNotHoldUpTheNextOne) {
  Open(0);
  std::vector<int> all;
  for (int i = 0; i < 300; ++i) all.push_back(Connect());
  for (const int fd : all) EXPECT_NE(ReadToTheEnd(fd), "timeout");
  EXPECT_EQ(listener_->counters().refused, 300U);
}

TEST_F(ListenerTest, AWildcardMeansBothFamilies) {
  Open(1, "0.0.0.0:0");
  const int fd = ::socket(AF_INET6, SOCK_STREAM, 0);
  if (fd < 0) GTEST_SKIP() << "no IPv6 here";
  clients_.push_back(fd);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(static_cast<uint16_t>(listener_->port()));
  address.sin6_addr = in6addr_loopback;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) GTEST_SKIP() << "no IPv6 on loopback here";
  EXPECT_TRUE(Soon([&] { return listener_->counters().admitted == 1; }));
}

TEST_F(ListenerTest, OutOfDescriptorsItWaitsAndGoesOn) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP()
      << "before UndefinedBehaviorSanitizer judges an object's type it opens a pipe; without descriptors it takes every object for none";
#endif
  Open(100);
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);  // before there are none
  clients_.push_back(client);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = static_cast<rlim_t>(client) + 1, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(listener_->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(Soon([&] { return listener_->counters().failed > 0; }));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(Soon([&] { return listener_->counters().admitted == 1; }));
}

TEST_F(ListenerTest, ATakenPortAndAStrangeAddressAreErrors) {
  Open(1);
  const auto second = Listener::Open({.address = "127.0.0.1:" + std::to_string(listener_->port()), .connections_max = 1});
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("Address already in use"));
  EXPECT_FALSE(Listener::Open({.address = "192.0.2.1:0", .connections_max = 1}).ok());
  EXPECT_FALSE(Listener::Open({.address = "no such host:0", .connections_max = 1}).ok());
}

TEST_F(ListenerTest, MayBeStoppedTwiceAndWithoutHavingBegun) {
  Open(1);
  Connect();
  listener_->Stop();
  listener_->Stop();
  EXPECT_EQ(listener_->counters().open, 0U);
  const auto idle = Listener::Open({.address = "127.0.0.1:0", .connections_max = 1});
  EXPECT_TRUE(idle.ok());
}

}  // namespace
}  // namespace flotilla::rpc
