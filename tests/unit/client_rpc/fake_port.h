// A port whose connections did what a test says.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/rpc/connection_port.h"

namespace flotilla::rpc::client {

class FakePort final : public ConnectionPort {
 public:
  void BreakOff(const std::string& peer, std::string_view /*why*/) override {
    broken_off.push_back(peer);
    traffic.erase(peer);
  }
  bool IsOpen(const std::string& peer) const override { return open.contains(peer); }
  std::optional<SocketTraffic> Traffic(const std::string& peer) const override {
    const auto found = traffic.find(peer);
    return found == traffic.end() ? std::nullopt : std::optional(found->second);
  }
  std::vector<ConnectionReads> Reads() const override {
    std::vector<ConnectionReads> reads;
    for (const auto& [peer, its] : traffic) reads.push_back({.peer = peer, .bytes = its.received});
    return reads;
  }

  std::vector<std::string> broken_off;
  std::set<std::string> open;
  std::map<std::string, SocketTraffic> traffic;
};

}  // namespace flotilla::rpc::client
