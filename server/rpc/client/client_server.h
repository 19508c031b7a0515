// The port for clients: all services of flotilla.v1, grpc.health.v1 and server reflection, on a broker::ClientApi.
//
//   auto server = ClientServer::Start({.listen_address = "0.0.0.0:9650", .credentials = credentials}, api, workers, access, clock);
//   if (!server.ok()) return server.status();
//   ...
//   (*server)->BeginShutdown();                        // while the broker hands its leaderships over
//   (*server)->Stop(std::chrono::seconds(5));
//
// Threads: gRPC's receive, check and split; one post to the api's executor per message; `workers` encode and send. No lock is
// held across calls of others.
#pragma once

#include <memory>
#include <string>

#include "raft/node/executor.h"
#include "server/broker/client_api.h"
#include "server/rpc/client/access.h"
#include "server/rpc/client/connections.h"
#include "server/rpc/client/counters.h"
#include "server/rpc/client/limits.h"
#include "storage/base/clock.h"
#include "storage/base/status.h"

namespace grpc {
class ServerCredentials;
}  // namespace grpc

namespace flotilla::rpc::client {

struct ClientServerOptions {
  // "host:port", "[::]:port"; port 0: a free one.
  std::string listen_address;
  std::shared_ptr<grpc::ServerCredentials> credentials;
  size_t inflight_bytes_max = limits::kInflightBytesMax;
  size_t answer_bytes_max = limits::kAnswerBytesMax;
  size_t incomplete_bytes_max = limits::kIncompleteBytesMax;
  size_t received_bytes_max = limits::kReceivedBytesMax;
  size_t streams_max = limits::kStreamsMax;
  size_t stream_requests_max = limits::kStreamsInflightRequestsMax;
  size_t connections_max = limits::kConnectionsMax;
  size_t calls_max = limits::kCallsMax;
  ConnectionLimits connection_limits = {.calls_left_max = limits::kConnectionCallsLeftMax,
                                        .empty_calls_max = limits::kEmptyCallsMax,
                                        .flood_empty_calls = limits::kFloodEmptyCalls,
                                        .empty_calls_max_in_flood = limits::kEmptyCallsMaxInFlood,
                                        .late_calls_per_empty_call = limits::kLateCallsPerEmptyCall};
  Duration default_deadline = limits::kDefaultDeadline;
  Duration upload_max = limits::kUploadMax;
  Duration answer_max = limits::kAnswerMax;
  Duration answer_max_under_pressure = limits::kAnswerMaxUnderPressure;
  Duration handshake_max = limits::kHandshakeMax;
  Duration heartbeat_after = limits::kHeartbeatAfter;
  Duration end_grace = limits::kEndGrace;
  Duration look_after_every = limits::kLookAfterEvery;
  // Chooses partitions that nothing else decides.
  uint64_t seed = 1;
};

class ClientServer {
 public:
  // References outlive the server; the api's executor and `workers` (any number of threads) run until Stop has returned.
  // INVALID_ARGUMENT: the address cannot be listened on; the text says why it may be.
  static Result<std::unique_ptr<ClientServer>> Start(const ClientServerOptions& options, broker::ClientApi& api, raft::Executor& workers,
                                                     const Access& access, const Clock& clock);
  // Stops at once, if it was not stopped.
  virtual ~ClientServer() = default;

  virtual int port() const = 0;
  // Any thread.
  virtual ClientCounters counters() const = 0;

  // From now on: health is NOT_SERVING, new calls get SHUTTING_DOWN, streams end with it when what they took is answered. Calls
  // that wait go on. Any thread but the executor's and the workers', here and below.
  virtual void BeginShutdown() = 0;
  // BeginShutdown, waits until all calls have ended, and cancels those that have not within `grace`. Nothing is called afterwards.
  virtual void Stop(Duration grace) = 0;
};

}  // namespace flotilla::rpc::client
