#include "server/rpc/peer/peer_server.h"

#include <glog/logging.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <string_view>
#include <utility>

#include "server/errors/refusal.h"
#include "server/rpc/peer/client_stream.h"
#include "server/rpc/peer/inbound_calls.h"
#include "server/rpc/peer/sink_post.h"
#include "server/rpc/server_port.h"
#include "storage/base/hand_over.h"

namespace flotilla::rpc {
namespace {

enum class Kind : uint8_t { kUnary, kHandshake, kChannel, kForward };
struct Route {
  std::string_view method;
  Kind kind;
};
// All that is served here.
constexpr Route kRoutes[] = {
    {"/flotilla.internal.v1.PeerService/OpenChannel", Kind::kChannel},
    {"/flotilla.internal.v1.PeerService/Handshake", Kind::kHandshake},
    {"/flotilla.internal.v1.ForwardService/ForwardStream", Kind::kForward},
    {"/flotilla.internal.v1.ForwardService/ForwardCall", Kind::kUnary},
    {"/flotilla.internal.v1.MembershipService/Bootstrap", Kind::kUnary},
    {"/flotilla.internal.v1.MembershipService/Join", Kind::kUnary},
    {"/flotilla.internal.v1.MembershipService/Report", Kind::kUnary},
    {"/flotilla.internal.v1.MembershipService/DescribeGroups", Kind::kUnary},
    {"/flotilla.internal.v1.MembershipService/InspectReplicas", Kind::kUnary},
    {"/flotilla.internal.v1.MembershipService/ReserveProducerIds", Kind::kUnary},
    {"/flotilla.internal.v1.MembershipService/SettleReplicas", Kind::kUnary},
};

const Route* Find(std::string_view method) {
  for (const Route& route : kRoutes) {
    if (route.method == method) return &route;
  }
  return nullptr;
}

Status NotServed(const std::string& method, const internal::v1::NodeIdentity& self) {
  const std::string port = "this is the peer port of node " + std::to_string(self.node_id()) + ", for nodes only";
  const bool for_clients = method.rfind("/flotilla.v1.", 0) == 0 || method.rfind("/grpc.", 0) == 0;
  if (!for_clients) return Refuse(Refusal::kUnsupported, "no such method " + Quoted(method) + "; " + port);
  const std::string there = self.client_address().empty() ? "its client port" : self.client_address();
  return Refuse(Refusal::kUnsupported, Quoted(method) + " is for clients and " + port + "; call " + there);
}

// Streams of forwarded parts begin without a hello; the caller says in its metadata who it is and whom it
// wants.
Status CheckHandshake(const grpc::CallbackServerContext& context, const broker::PeerApi& api) {
  const auto found = context.client_metadata().find(kHandshakeMetadata);
  if (found == context.client_metadata().end()) return {};
  internal::v1::HandshakeRequest request;
  if (!request.ParseFromArray(found->second.data(), static_cast<int>(found->second.size()))) {
    return Status(Reason::kCorruptMessage, std::string(kHandshakeMetadata) + ": not a HandshakeRequest");
  }
  return api.Greet(request).status();
}

class PeerService final : public grpc::CallbackGenericService {
 public:
  PeerService(broker::PeerApi& api, const PeerLimits& bounds) : api_(api), limits_(bounds), live_(std::make_shared<LiveStreams>()) {}

  LiveStreams& live() { return *live_; }
  // The server starts now: gRPC promises that what was made before is there for all calls.
  void BeforeStart() { ready_.Give(); }

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    ready_.Take();
    const Route* route = Find(context->method());
    if (route == nullptr) {
      return ServerStream::Begin(std::make_shared<RefusedCall>(*context), NotServed(context->method(), api_.Identity()), *live_);
    }
    const Status greeted = route->kind == Kind::kForward ? CheckHandshake(*context, api_) : Status();
    return ServerStream::Begin(Make(*route, *context), greeted, *live_);
  }

 private:
  std::shared_ptr<ServerStream> Make(const Route& route, grpc::CallbackServerContext& context) {
    switch (route.kind) {
      case Kind::kUnary: return std::make_shared<UnaryReceiver>(context, api_, std::string(route.method));
      case Kind::kHandshake: return std::make_shared<HandshakeReceiver>(context, api_);
      case Kind::kChannel: return std::make_shared<ChannelReceiver>(context, api_, limits_);
      case Kind::kForward: return std::make_shared<ForwardReceiver>(context, api_, limits_);
    }
    LOG(FATAL) << "a route without a kind: " << route.method;
  }

  broker::PeerApi& api_;
  const PeerLimits limits_;
  const std::shared_ptr<LiveStreams> live_;
  HandOver ready_;
};

}  // namespace

class PeerServer::Running {
 public:
  Running(broker::PeerApi& api, const PeerLimits& bounds) : api_(api), service_(api, bounds) {}

  Status Listen(const PeerServerOptions& options) {
    grpc::ServerBuilder builder;
    Result<std::unique_ptr<ServerPort>> port = ServerPort::Open({.address = options.address,
                                                                 .connections_max = kPeerConnectionsMax,
                                                                 .advice = "this is the peer port, for nodes only",
                                                                 .silence_max = std::chrono::seconds(10)},
                                                                options.credentials, &builder);
    if (!port.ok()) {
      return Status(Reason::kInvalidArgument, "cannot listen for peers on " + options.address + ": " +
                                                  std::string(port.status().message()) +
                                                  "; the port is taken, or the address is none of this machine: stop what "
                                                  "listens there or choose another one")
          .With("field", options.address);
    }
    port_ = *std::move(port);
    builder.RegisterCallbackGenericService(&service_);
    builder.SetResourceQuota(grpc::ResourceQuota("peers").Resize(kPeerReceivedBytesMax));
    builder.SetMaxReceiveMessageSize(static_cast<int>(kReceivedMessageBytesMax));
    // Peers ask after 5 seconds of silence whether we are there.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
    service_.BeforeStart();
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return Refuse(Refusal::kInternal, "gRPC does not start a server; its own log says why");
    port_->Start();
    return {};
  }

  int port() const { return port_->port(); }
  ConnectionCounters connections() const { return port_->counters(); }

  void Stop() {
    if (server_ == nullptr) return;
    port_->Stop();
    service_.live().Abort(Status(Reason::kShuttingDown, "this node stops; ask another one"));
    // Calls that do not end, because their caller does not read, are cut off.
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
    service_.live().WaitUntilEmpty();
    RunOn(api_.executor(), [] {});  // what was posted before has run
    server_ = nullptr;
  }

 private:
  broker::PeerApi& api_;
  PeerService service_;
  std::unique_ptr<ServerPort> port_;
  std::unique_ptr<grpc::Server> server_;
};

PeerServer::PeerServer(std::unique_ptr<Running> running) : running_(std::move(running)) {}

PeerServer::~PeerServer() { Stop(); }

Result<std::unique_ptr<PeerServer>> PeerServer::Start(PeerServerOptions options, broker::PeerApi& api) {
  auto running = std::make_unique<Running>(api, options.limits);
  FLOTILLA_RETURN_IF_ERROR(running->Listen(options));
  return std::unique_ptr<PeerServer>(new PeerServer(std::move(running)));
}

int PeerServer::port() const { return running_->port(); }

ConnectionCounters PeerServer::connections() const { return running_->connections(); }

void PeerServer::Stop() { running_->Stop(); }

}  // namespace flotilla::rpc
