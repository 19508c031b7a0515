// Where something listens or is reached: "127.0.0.1:9650", "node2.example.org:9651", "[::1]:9650".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace flotilla::config {

struct Address {
  // A name, an IPv4 address, or an IPv6 address without brackets. Nothing is looked up.
  std::string host;
  uint16_t port = 0;
  bool operator==(const Address&) const = default;
};

// INVALID_ARGUMENT says what is wrong with `text` and what to write, without repeating it. Port 0 is an address too: who
// allows it is for the caller to say.
Result<Address> ParseAddress(std::string_view text);
// As ParseAddress reads it.
std::string ToString(const Address& address);

// localhost, 127.0.0.0/8, ::1. A name that happens to resolve to one of them is not known to be.
bool IsLoopback(std::string_view host);
// 0.0.0.0 and ::, which mean every address of the machine, and none to connect to.
bool IsWildcard(std::string_view host);

}  // namespace flotilla::config
