// Whether a node's own port for clients still answers: calls of GetServerInfo over a connection of the probe's own, as any client
// would make them. They go through gRPC, the edge and the broker's thread, and to no disk.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace grpc {
class ChannelCredentials;
}  // namespace grpc

namespace flotilla::rpc::client {

class PortProbe {
 public:
  // Connects with the first Ask.
  PortProbe(const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials);
  // Cancels the call that is on its way, and waits for its end.
  ~PortProbe();
  PortProbe(const PortProbe&) = delete;
  PortProbe& operator=(const PortProbe&) = delete;

  // Any thread, here and below. A call, unless one is on its way.
  void Ask();
  // Calls that were answered. A refusal because of too many calls is an answer.
  uint64_t answers() const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace flotilla::rpc::client
