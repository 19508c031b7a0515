#include "server/rpc/client/client_server.h"

#include <glog/logging.h>
#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "flotilla/v1/consume.pb.h"
#include "flotilla/v1/produce.pb.h"
#include "server/errors/refusal.h"
#include "server/rpc/client/described_service.h"
#include "server/rpc/client/edge.h"
#include "server/rpc/client/intake.h"
#include "server/rpc/server_port.h"

namespace flotilla::rpc::client {
namespace {

std::vector<const google::protobuf::ServiceDescriptor*> PublicServices() {
  std::vector<const google::protobuf::ServiceDescriptor*> services;
  for (const auto* file : {v1::ProduceRequest::descriptor()->file(), v1::FetchRequest::descriptor()->file(),
                           v1::CreateTopicRequest::descriptor()->file(), v1::InitClusterRequest::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) services.push_back(file->service(i));
  }
  return services;
}

int Millis(Duration duration) { return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()); }

class ClientServerImpl final : public ClientServer {
 public:
  ClientServerImpl(const ClientServerOptions& options, broker::ClientApi& api, raft::Executor& workers, const Access& access,
                   const Clock& clock)
      : edge_(options, api, workers, access, clock) {
    for (const auto* service : PublicServices()) {
      service_names_.push_back(service->full_name());
      services_.push_back(std::make_unique<DescribedService>(*service, edge_));
    }
  }
  ~ClientServerImpl() override { Stop(Duration{}); }

  Status Listen();

  int port() const override { return server_port_->port(); }
  ClientCounters counters() const override;
  void BeginShutdown() override;
  void Stop(Duration grace) override;

 private:
  void Run();
  // On the executor. Stop waits for it as for a call.
  void PostForStop(void (ClientServerImpl::*work)());
  // Executor.
  void LookAround();
  void EndStreams();
  void SetHealth(bool serving);

  Edge edge_;
  std::vector<std::string> service_names_;
  std::vector<std::unique_ptr<DescribedService>> services_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<ServerPort> server_port_;

  std::optional<bool> serving_;  // executor

  // Looks after streams from time to time.
  Mutex mutex_;
  ConditionVariable stop_;
  bool stopping_ FLOTILLA_GUARDED_BY(mutex_) = false;
  std::thread keeper_;
};

// When the last object of gRPC goes, the library shuts down, and waits up to 10 seconds for a poller of its own that nobody wakes.
// This reference stays until the process ends.
void KeepLibrary() {
  [[maybe_unused]] static const bool kept = [] {
    grpc_init();
    return true;
  }();
}

Status ClientServerImpl::Listen() {
  KeepLibrary();
  const ClientServerOptions& options = edge_.options;
  // gRPC has one switch of the process for each of the two. Health counts for servers that are built while it is on; reflection
  // cannot be switched off again, so that all servers of a process that links this have it.
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  Result<std::unique_ptr<ServerPort>> port = ServerPort::Open({.address = options.listen_address,
                                                               .connections_max = options.connections_max,
                                                               .advice = "close some, or go to another node",
                                                               .handshake_max = options.handshake_max,
                                                               .reads = edge_.incomplete},
                                                              options.credentials, &builder);
  if (!port.ok()) {
    return Status(Reason::kInvalidArgument, "cannot listen for clients on " + Quoted(options.listen_address) + ": " +
                                                std::string(port.status().message()) +
                                                "; is the port taken by another process, or the address not one of this machine?")
        .With("field", "listen_address");
  }
  server_port_ = *std::move(port);
  edge_.connections.SetPort(server_port_->connections());
  edge_.incomplete->Begin(server_port_->connections());
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits::kReceiveBytesMax));
  builder.SetMaxSendMessageSize(-1);  // what is sent was asked for
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, static_cast<int>(limits::kConnectionCallsMax));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, static_cast<int>(limits::kMetadataBytesMax));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, Millis(limits::kPingEveryMin));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Millis(limits::kAskAfter));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Millis(limits::kAskPatience));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // or idle connections would be asked twice only
  builder.SetResourceQuota(grpc::ResourceQuota("clients").Resize(options.received_bytes_max));
  builder.SetContextAllocator(std::make_unique<Intake>(edge_));
  for (const auto& service : services_) builder.RegisterService(service.get());
  edge_.ready.Give();
  server_ = builder.BuildAndStart();
  grpc::EnableDefaultHealthCheckService(false);
  if (server_ == nullptr) return Refuse(Refusal::kInternal, "gRPC does not start a server; its own log says why");
  server_port_->Start();
  SetHealth(false);
  keeper_ = std::thread([this] { Run(); });
  return {};
}

void ClientServerImpl::Run() {
  while (true) {
    PostForStop(&ClientServerImpl::LookAround);
    edge_.incomplete->Look();
    const MutexLock lock(mutex_);
    if (!stopping_) stop_.WaitFor(mutex_, edge_.options.look_after_every);
    if (stopping_) return;
  }
}

void ClientServerImpl::PostForStop(void (ClientServerImpl::*work)()) {
  edge_.EnterWork();
  edge_.executor.Post([this, work] {
    (this->*work)();
    edge_.LeaveWork();
  });
}

void ClientServerImpl::LookAround() {
  edge_.LookAfterAll();
  SetHealth(edge_.open() && edge_.api.Available().ok());
}

void ClientServerImpl::EndStreams() {
  SetHealth(false);
  edge_.EndAllForShutdown();
}

void ClientServerImpl::SetHealth(bool serving) {
  if (serving_ == serving) return;
  serving_ = serving;
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  health->SetServingStatus("", serving);
  for (const std::string& name : service_names_) health->SetServingStatus(name, serving);
}

ClientCounters ClientServerImpl::counters() const {
  ClientCounters counters = edge_.ReadCounters();
  counters.connections = server_port_->counters();
  for (const auto& service : services_) service->ReadCounters(&counters.methods);
  return counters;
}

void ClientServerImpl::BeginShutdown() {
  if (edge_.CloseDoor() && server_ != nullptr) PostForStop(&ClientServerImpl::EndStreams);
}

void ClientServerImpl::Stop(Duration grace) {
  BeginShutdown();
  if (server_ == nullptr) return;
  server_port_->Stop();
  server_->Shutdown(std::chrono::system_clock::now() + grace);  // gRPC's deadlines are of that clock
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    stop_.NotifyAll();
  }
  if (keeper_.joinable()) keeper_.join();
  edge_.WaitUntilNoCalls();
  server_.reset();
  edge_.incomplete->End();  // gRPC may be about to read a connection that it has closed
}

}  // namespace

Result<std::unique_ptr<ClientServer>> ClientServer::Start(const ClientServerOptions& options, broker::ClientApi& api,
                                                          raft::Executor& workers, const Access& access, const Clock& clock) {
  auto server = std::make_unique<ClientServerImpl>(options, api, workers, access, clock);
  FLOTILLA_RETURN_IF_ERROR(server->Listen());
  LOG(INFO) << "event=client_port_open address=" << options.listen_address << " port=" << server->port();
  return std::unique_ptr<ClientServer>(std::move(server));
}

}  // namespace flotilla::rpc::client
