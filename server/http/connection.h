// One connection, as the HTTP library reads and writes it, with what the library does not limit: how much a request may
// have in all, and how long it may take in all. Without these a client could send headers for ever, byte by byte.
#pragma once

#include <httplib.h>

#include <array>
#include <cstddef>
#include <string>

#include "storage/base/clock.h"

namespace flotilla::http {

struct ConnectionLimits {
  size_t read_bytes_max = 0;
  Duration timeout{};
};

// One thread. Does not own the socket.
class Connection final : public httplib::Stream {
 public:
  Connection(socket_t socket, const ConnectionLimits& limits);

  bool is_readable() const override;
  bool is_writable() const override;
  // 0: the other side has ended, or has sent as much as it may. -1: no time left, or broken.
  ssize_t read(char* bytes, size_t size) override;
  ssize_t write(const char* bytes, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  // Until the socket can do `events` (of poll).
  bool Wait(short events, MonotonicTime deadline) const;
  ssize_t Fill();

  const socket_t socket_;
  const Duration timeout_;
  const MonotonicTime read_deadline_;
  size_t read_bytes_left_;
  // The answer's time begins with its first byte, not when the request came.
  MonotonicTime write_deadline_{};
  std::array<char, 4096> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace flotilla::http
