#include "server/config/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace flotilla::config {
namespace {

constexpr size_t kHostBytesMax = 253;  // of DNS

Status Refuse(std::string text) { return Status(Reason::kInvalidArgument, std::move(text)); }

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsHostCharacter(char c) { return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_'; }

template <typename Binary>
bool ParseNumeric(int family, std::string_view host, Binary* binary) {
  return inet_pton(family, std::string(host).c_str(), binary) == 1;
}

Result<std::string> CheckName(std::string_view host) {
  if (host.empty()) return Refuse("the host is missing; write host:port, for all addresses of this machine 0.0.0.0:port");
  if (host.size() > kHostBytesMax) return Refuse("a host name has at most 253 characters");
  if (host.find(':') != std::string_view::npos) {
    return Refuse("an IPv6 address stands in brackets: [::1]:9650");
  }
  if (!std::all_of(host.begin(), host.end(), IsHostCharacter)) {
    return Refuse("a host has only letters, digits, '.', '-' and '_'");
  }
  const std::string_view last = host.substr(host.rfind('.') + 1);
  in_addr ignored;
  // What ends in a number is meant as an IPv4 address; nothing is looked up that only looks like one.
  if (std::all_of(last.begin(), last.end(), IsDigit) && !ParseNumeric(AF_INET, host, &ignored)) {
    return Refuse("the host is no IPv4 address, which are four numbers from 0 to 255, such as 10.0.0.1");
  }
  return std::string(host);
}

Result<uint16_t> ParsePort(std::string_view text) {
  const auto refusal = [] { return Refuse("the port is a number up to 65535, as in 10.0.0.1:9650"); };
  if (text.empty() || text.size() > 5 || !std::all_of(text.begin(), text.end(), IsDigit)) return refusal();
  if (text.size() > 1 && text.front() == '0') return Refuse("write the port without leading zeros");
  uint32_t port = 0;
  std::from_chars(text.data(), text.data() + text.size(), port);
  if (port > 65535) return refusal();
  return static_cast<uint16_t>(port);
}

}  // namespace

Result<Address> ParseAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  const bool bracketed = !text.empty() && text.front() == '[';
  const size_t bracket = text.rfind(']');
  if (colon == std::string_view::npos || (bracketed && bracket != std::string_view::npos && colon < bracket)) {
    return Refuse("the port is missing; write host:port, such as 10.0.0.1:9650");
  }
  const std::string_view before = text.substr(0, colon);
  Address address;
  if (bracketed) {
    in6_addr ignored;
    if (before.back() != ']' || !ParseNumeric(AF_INET6, before.substr(1, before.size() - 2), &ignored)) {
      return Refuse("between the brackets stands an IPv6 address: [::1]:9650");
    }
    address.host = before.substr(1, before.size() - 2);
  } else {
    Result<std::string> host = CheckName(before);
    if (!host.ok()) return host.status();
    address.host = *std::move(host);
  }
  const Result<uint16_t> port = ParsePort(text.substr(colon + 1));
  if (!port.ok()) return port.status();
  address.port = *port;
  return address;
}

std::string ToString(const Address& address) {
  const bool ipv6 = address.host.find(':') != std::string::npos;
  return (ipv6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost") return true;
  in_addr v4;
  if (ParseNumeric(AF_INET, host, &v4)) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6;
  return ParseNumeric(AF_INET6, host, &v6) && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool IsWildcard(std::string_view host) {
  in_addr v4;
  if (ParseNumeric(AF_INET, host, &v4)) return v4.s_addr == INADDR_ANY;
  in6_addr v6;
  return ParseNumeric(AF_INET6, host, &v6) && IN6_IS_ADDR_UNSPECIFIED(&v6);
}

}  // namespace flotilla::config
