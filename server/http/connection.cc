#include "server/http/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace flotilla::http {
namespace {

MonotonicTime Now() { return SystemClock().Now(); }

}  // namespace

Connection::Connection(socket_t socket, const ConnectionLimits& limits)
    : socket_(socket), timeout_(limits.timeout), read_deadline_(Now() + limits.timeout), read_bytes_left_(limits.read_bytes_max) {}

bool Connection::is_readable() const { return begin_ < end_ || Wait(POLLIN, read_deadline_); }

bool Connection::is_writable() const { return Wait(POLLOUT, write_deadline_ == MonotonicTime{} ? Now() + timeout_ : write_deadline_); }

ssize_t Connection::read(char* bytes, size_t size) {
  if (begin_ == end_) {
    const ssize_t got = Fill();
    if (got <= 0) return got;
  }
  const size_t taken = std::min(size, end_ - begin_);
  std::memcpy(bytes, buffer_.data() + begin_, taken);
  begin_ += taken;
  return static_cast<ssize_t>(taken);
}

ssize_t Connection::Fill() {
  if (read_bytes_left_ == 0) return 0;
  for (;;) {
    if (!Wait(POLLIN, read_deadline_)) return -1;
    const ssize_t got = recv(socket_, buffer_.data(), std::min(buffer_.size(), read_bytes_left_), MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return got;
    begin_ = 0;
    end_ = static_cast<size_t>(got);
    read_bytes_left_ -= end_;
    return got;
  }
}

ssize_t Connection::write(const char* bytes, size_t size) {
  if (write_deadline_ == MonotonicTime{}) write_deadline_ = Now() + timeout_;
  for (;;) {
    if (!Wait(POLLOUT, write_deadline_)) return -1;
    const ssize_t sent = send(socket_, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0 || (errno != EINTR && errno != EAGAIN)) return sent;
  }
}

bool Connection::Wait(short events, MonotonicTime deadline) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Now());
    if (left.count() <= 0) return false;
    pollfd waited{.fd = socket_, .events = events, .revents = 0};
    const int ready = poll(&waited, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;  // also when it is broken: reading and writing will say so
    if (ready < 0 && errno != EINTR) return false;
  }
}

// Only the library's own logging would ask.
void Connection::get_remote_ip_and_port(std::string&, int&) const {}
void Connection::get_local_ip_and_port(std::string&, int&) const {}

}  // namespace flotilla::http
