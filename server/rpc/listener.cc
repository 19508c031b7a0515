#include "server/rpc/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <glog/logging.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/rpc/refused_connection.h"
#include "storage/base/hand_over.h"
#include "storage/base/limits.h"
#include "storage/base/mutex.h"

namespace flotilla::rpc {
namespace {

// Connections that wait for the next turn are the kernel's; others have their turn, too.
constexpr int kAcceptsPerTurn = 64;
// Refused connections that are told why; the next ones are closed at once.
constexpr size_t kRefusedMax = 256;
// How long. A client that comes back at once comes back to this.
constexpr Duration kRefusedTime = std::chrono::seconds(2);
// What a refused connection may say meanwhile.
constexpr size_t kRefusedBytesMax = 64 * limits::kKiB;
// How long a process that has run out of descriptors waits before it tries again to accept.
constexpr auto kExhaustedPause = std::chrono::milliseconds(50);
// How often it is looked which connections were closed: now and then, and when the limit is reached. 10,000 take 4 ms.
constexpr Duration kLookEvery = std::chrono::seconds(1);
constexpr Duration kLookAtLimitEvery = std::chrono::milliseconds(50);

// A file descriptor with an owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Descriptor() { Close(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  void Close() {
    const Unwatched library_closes_too;
    if (fd_ >= 0) ::close(fd_);
  }
  int fd_ = -1;
};

// The number of the socket behind a descriptor; 0: it stands for nothing, or for something else.
uint64_t IdentityOf(int fd) {
  const Unwatched reading;  // whoever has it now
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

void SetOption(int fd, int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); }

// The process or the machine has run out of something that others will give back.
bool IsExhaustion(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

struct HostAndPort {
  std::string host;
  std::string port;
};

// "host:port", "[v6]:port".
HostAndPort Split(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return {.host = address, .port = "0"};
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return {.host = host, .port = address.substr(colon + 1)};
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

Result<Addresses> Resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) return Status(Reason::kInvalidArgument, ::gai_strerror(error));
  return Addresses(found);
}

void SetPort(sockaddr* address, uint16_t port) {
  if (address->sa_family == AF_INET) reinterpret_cast<sockaddr_in*>(address)->sin_port = htons(port);
  if (address->sa_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(address)->sin6_port = htons(port);
}

// All of it, at once: false for who does not read.
bool Send(int fd, const std::string& bytes) {
  return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

Status SystemError(const std::string& what) { return Status(Reason::kInvalidArgument, what + ": " + std::strerror(errno)); }

Result<Descriptor> ListenAt(const addrinfo& address, bool both_families) {
  Descriptor socket(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return SystemError("socket");
  // A port that was just left may be taken again; one that is in use may not.
  SetOption(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.ai_family == AF_INET6) SetOption(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, both_families ? 0 : 1);
  if (::bind(socket.get(), address.ai_addr, address.ai_addrlen) != 0) return SystemError("bind");
  // The kernel takes no more than it is set up for (net.core.somaxconn).
  if (::listen(socket.get(), 65'535) != 0) return SystemError("listen");
  return socket;
}

// Every address of the machine: one socket for both families where there is IPv6.
Result<std::vector<Descriptor>> ListenEverywhere(const std::string& port) {
  std::vector<Descriptor> sockets;
  Status last;
  for (const char* host : {"::", "0.0.0.0"}) {
    Result<Addresses> addresses = Resolve(host, port);
    if (!addresses.ok()) {
      last = addresses.status();
      continue;
    }
    Result<Descriptor> socket = ListenAt(**addresses, /*both_families=*/true);
    if (socket.ok()) {
      sockets.push_back(*std::move(socket));
      return sockets;
    }
    last = socket.status();
    if (errno == EADDRINUSE) break;
  }
  return last;
}

Result<std::vector<Descriptor>> ListenAtAll(const std::string& host, const std::string& port) {
  Result<Addresses> addresses = Resolve(host, port);
  if (!addresses.ok()) return addresses.status();
  std::vector<Descriptor> sockets;
  for (addrinfo* address = addresses->get(); address != nullptr; address = address->ai_next) {
    if (!sockets.empty()) SetPort(address->ai_addr, static_cast<uint16_t>(PortOf(sockets.front().get())));
    Result<Descriptor> socket = ListenAt(*address, /*both_families=*/false);
    if (!socket.ok()) return socket.status();
    sockets.push_back(*std::move(socket));
  }
  return sockets;
}

}  // namespace

std::string PeerOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address);
    ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
    return std::string("ipv4:") + text.data() + ":" + std::to_string(ntohs(v4->sin_port));
  }
  if (address.ss_family != AF_INET6) return "";
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address);
  const std::string port = std::to_string(ntohs(v6->sin6_port));
  if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
    ::inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text.data(), text.size());
    return std::string("ipv4:") + text.data() + ":" + port;
  }
  ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
  return std::string("ipv6:%5B") + text.data() + "%5D:" + port;
}

class Listener::Loop {
 public:
  explicit Loop(const ListenerOptions& options) : options_(options) {}
  ~Loop() { Stop(); }

  Status Listen();
  void Start(std::function<void(int)> take) {
    take_ = std::move(take);
    thread_ = std::thread([this] { Run(); });
  }
  void Stop();
  void BreakOff(const std::string& peer, std::string_view why);
  bool IsOpen(const std::string& peer) const;
  std::optional<SocketTraffic> Traffic(const std::string& peer) const;
  std::vector<ConnectionReads> Reads() const;
  int port() const { return port_; }
  ConnectionCounters counters() const {
    return {.open = open_, .admitted = admitted_, .refused = refused_total_, .broken_off = broken_off_, .failed = failed_};
  }

 private:
  // What an event of the kernel's is about: with it comes the descriptor.
  enum class About : uint32_t { kWake, kPort, kRefused };
  struct Given {
    uint64_t identity = 0;  // of the socket
    std::string peer;
  };
  struct Refused {
    Descriptor socket;
    MonotonicTime until;
    RefusedConnection talk;
    size_t bytes_left = kRefusedBytesMax;
  };

  void Run();
  void Accept(int port_socket);
  void Admit(Descriptor connection);
  void Refuse(Descriptor connection);
  // Whether there is more to come of it.
  bool Converse(Refused* refused);
  // A descriptor of our own: whoever owns the connection may close it at any moment, and its number may stand for something else then.
  Descriptor Hold(const std::string& peer) const;
  // That the connection can be found. False: it could not.
  bool Forget(const std::string& peer, uint64_t identity);
  // Finds out which connections their owner has closed.
  void LookForClosed(Duration at_most_every);
  void Failed(const char* event, int error);
  void DropLate();
  bool Watch(int fd, About about);

  const ListenerOptions options_;
  const SystemClock clock_;
  std::function<void(int)> take_;
  int port_ = 0;
  std::vector<Descriptor> port_sockets_;
  Descriptor epoll_;
  Descriptor wake_;
  std::thread thread_;
  // Of the thread.
  std::map<int, Given> sockets_;  // by descriptor: what it was when it was handed on
  MonotonicTime looked_at_;
  std::map<int, Refused> refused_;
  bool stopping_ = false;

  std::atomic<uint64_t> open_{0};
  std::atomic<uint64_t> admitted_{0};
  std::atomic<uint64_t> refused_total_{0};
  std::atomic<uint64_t> broken_off_{0};
  std::atomic<uint64_t> failed_{0};

  mutable Mutex mutex_;
  std::unordered_map<std::string, std::pair<int, uint64_t>> by_peer_ FLOTILLA_GUARDED_BY(mutex_);  // descriptor and identity
};

Status Listener::Loop::Listen() {
  const auto [host, port] = Split(options_.address);
  const bool everywhere = host == "0.0.0.0" || host == "::";
  Result<std::vector<Descriptor>> sockets = everywhere ? ListenEverywhere(port) : ListenAtAll(host, port);
  if (!sockets.ok()) return sockets.status();
  port_sockets_ = *std::move(sockets);
  port_ = PortOf(port_sockets_.front().get());
  epoll_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_.valid() || !wake_.valid() || !Watch(wake_.get(), About::kWake)) return SystemError("epoll");
  for (const Descriptor& socket : port_sockets_) {
    if (!Watch(socket.get(), About::kPort)) return SystemError("epoll");
  }
  return {};
}

bool Listener::Loop::Watch(int fd, About about) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = uint64_t{static_cast<uint32_t>(about)} << 32 | static_cast<uint32_t>(fd)}};
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Listener::Loop::Stop() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
    thread_.join();
  }
  port_sockets_.clear();
  refused_.clear();
  for (const auto& [fd, given] : sockets_) StopCounting(fd, options_.reads.get());
  sockets_.clear();
  open_ = 0;
  const MutexLock lock(mutex_);
  by_peer_.clear();
}

Descriptor Listener::Loop::Hold(const std::string& peer) const {
  std::pair<int, uint64_t> found;
  {
    const MutexLock lock(mutex_);
    const auto at = by_peer_.find(peer);
    if (at == by_peer_.end()) return {};
    found = at->second;
  }
  Descriptor own(::fcntl(found.first, F_DUPFD_CLOEXEC, 0));
  return own.valid() && IdentityOf(own.get()) == found.second ? std::move(own) : Descriptor();
}

void Listener::Loop::BreakOff(const std::string& peer, std::string_view why) {
  const Descriptor connection = Hold(peer);
  if (!connection.valid() || !Forget(peer, IdentityOf(connection.get()))) return;
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  if (::connect(connection.get(), &nobody, sizeof nobody) != 0) return;  // gone by itself
  ++broken_off_;
  LOG_EVERY_T(WARNING, 10) << "connection_broken_off port=" << port_ << " peer=" << peer << " so_far=" << broken_off_ << " reason=\"" << why
                           << "\"";
}

bool Listener::Loop::IsOpen(const std::string& peer) const {
  const MutexLock lock(mutex_);
  return by_peer_.contains(peer);
}

std::optional<SocketTraffic> Listener::Loop::Traffic(const std::string& peer) const {
  const Descriptor connection = Hold(peer);
  return connection.valid() ? TrafficOf(connection.get()) : std::nullopt;
}

std::vector<ConnectionReads> Listener::Loop::Reads() const {
  std::vector<std::pair<std::string, std::pair<int, uint64_t>>> sockets;
  {
    const MutexLock lock(mutex_);
    sockets.assign(by_peer_.begin(), by_peer_.end());
  }
  std::vector<ConnectionReads> reads;
  reads.reserve(sockets.size());
  for (auto& [peer, socket] : sockets) {
    // Its number may stand for something else by now, which reads as well.
    const auto& [fd, identity] = socket;
    if (IdentityOf(fd) == identity) reads.push_back({.peer = std::move(peer), .bytes = BytesRead(fd)});
  }
  return reads;
}

void Listener::Loop::Run() {
  std::array<epoll_event, 256> events;
  while (!stopping_) {
    const int wait_ms = !refused_.empty() ? 100 : sockets_.empty() ? -1 : 1000;
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_ms);
    for (int i = 0; i < count; ++i) {
      const uint64_t data = events[static_cast<size_t>(i)].data.u64;
      const int fd = static_cast<int>(static_cast<uint32_t>(data));
      switch (static_cast<About>(data >> 32)) {
        case About::kWake: stopping_ = true; break;
        case About::kPort: Accept(fd); break;
        case About::kRefused:
          if (const auto found = refused_.find(fd); found != refused_.end() && !Converse(&found->second)) refused_.erase(found);
          break;
      }
    }
    DropLate();
    LookForClosed(kLookEvery);
  }
}

void Listener::Loop::Accept(int port_socket) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    Descriptor connection(::accept4(port_socket, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connection.valid()) {
      if (open_ >= options_.connections_max) LookForClosed(kLookAtLimitEvery);
      if (open_ < options_.connections_max) Admit(std::move(connection));
      else Refuse(std::move(connection));
      continue;
    }
    const int error = errno;
    if (error == EAGAIN) return;
    if (!IsExhaustion(error)) continue;  // that connection's own trouble
    Failed("connection_not_accepted", error);
    std::this_thread::sleep_for(kExhaustedPause);
    return;
  }
}

void Listener::Loop::Failed(const char* event, int error) {
  ++failed_;
  LOG_EVERY_T(ERROR, 10) << event << " port=" << port_ << " open=" << open_ << " failed=" << failed_ << " reason=\"" << std::strerror(error)
                         << "; raise LimitNOFILE, or lower limits.max_connections\"";
}

void Listener::Loop::Admit(Descriptor connection) {
  SetOption(connection.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(connection.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(options_.silence_max / std::chrono::milliseconds(1)));
  // A descriptor that is given out again was closed before.
  Given& given = sockets_[connection.get()];
  if (given.identity != 0) Forget(given.peer, given.identity);
  if (options_.reads != nullptr) CountReads(connection.get(), options_.reads);  // what the one before has read is not this one's
  given = {.identity = IdentityOf(connection.get()), .peer = PeerOf(connection.get())};
  {
    const MutexLock lock(mutex_);
    by_peer_[given.peer] = {connection.get(), given.identity};
  }
  open_ = sockets_.size();
  ++admitted_;
  take_(connection.Release());
}

// Its address may be that of a newer connection by now.
bool Listener::Loop::Forget(const std::string& peer, uint64_t identity) {
  const MutexLock lock(mutex_);
  const auto found = by_peer_.find(peer);
  if (found == by_peer_.end() || found->second.second != identity) return false;
  by_peer_.erase(found);
  return true;
}

void Listener::Loop::LookForClosed(Duration at_most_every) {
  const MonotonicTime now = clock_.Now();
  if (now - looked_at_ < at_most_every) return;
  looked_at_ = now;
  std::erase_if(sockets_, [&](const auto& entry) {
    const auto& [fd, given] = entry;
    if (IdentityOf(fd) == given.identity) return false;
    StopCounting(fd, options_.reads.get());
    Forget(given.peer, given.identity);
    return true;
  });
  open_ = sockets_.size();
}

void Listener::Loop::Refuse(Descriptor connection) {
  ++refused_total_;
  LOG_EVERY_T(WARNING, 10) << "connections_refused port=" << port_ << " limit=" << options_.connections_max << " so_far=" << refused_total_;
  if (options_.refusal_trailers.empty() || refused_.size() >= kRefusedMax) return;
  const int fd = connection.get();
  if (!Send(fd, RefusedConnection::Begin()) || !Watch(fd, About::kRefused)) return;
  refused_.emplace(
      fd,
      Refused{.socket = std::move(connection), .until = clock_.Now() + kRefusedTime, .talk = RefusedConnection(options_.refusal_trailers)});
}

bool Listener::Loop::Converse(Refused* refused) {
  std::array<char, 4096> buffer;
  while (refused->bytes_left > 0) {
    const ssize_t got = ::recv(refused->socket.get(), buffer.data(), std::min(buffer.size(), refused->bytes_left), 0);
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) return false;
    refused->bytes_left -= static_cast<size_t>(got);
    const std::optional<std::string> answer = refused->talk.Answer({buffer.data(), static_cast<size_t>(got)});
    if (!answer || !Send(refused->socket.get(), *answer)) return false;
  }
  return false;
}

void Listener::Loop::DropLate() {
  if (refused_.empty()) return;
  const MonotonicTime now = clock_.Now();
  for (auto at = refused_.begin(); at != refused_.end();) {
    if (at->second.until > now) {
      ++at;
      continue;
    }
    Send(at->second.socket.get(), RefusedConnection::End());
    at = refused_.erase(at);
  }
}

Listener::Listener(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
Listener::~Listener() = default;

Result<std::unique_ptr<Listener>> Listener::Open(const ListenerOptions& options) {
  auto loop = std::make_unique<Loop>(options);
  FLOTILLA_RETURN_IF_ERROR(loop->Listen());
  return std::unique_ptr<Listener>(new Listener(std::move(loop)));
}

int Listener::port() const { return loop_->port(); }
void Listener::Start(std::function<void(int)> take) { loop_->Start(std::move(take)); }
void Listener::Stop() { loop_->Stop(); }
void Listener::BreakOff(const std::string& peer, std::string_view why) { loop_->BreakOff(peer, why); }
bool Listener::IsOpen(const std::string& peer) const { return loop_->IsOpen(peer); }
std::optional<SocketTraffic> Listener::Traffic(const std::string& peer) const { return loop_->Traffic(peer); }
std::vector<ConnectionReads> Listener::Reads() const { return loop_->Reads(); }
ConnectionCounters Listener::counters() const { return loop_->counters(); }

}  // namespace flotilla::rpc
