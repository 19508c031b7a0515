// A client port on loopback, a channel to it, and generated stubs.
#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "flotilla/v1/admin.grpc.pb.h"
#include "flotilla/v1/cluster.grpc.pb.h"
#include "flotilla/v1/consume.grpc.pb.h"
#include "flotilla/v1/produce.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/rpc/client/client_server.h"
#include "server/rpc/grpc_status.h"
#include "tests/unit/client_rpc/fake_broker.h"

namespace flotilla::rpc::client {

// Everybody may do everything, but with the topic "secret" and the method DeleteTopic.
class SomeAreSecret final : public Access {
 public:
  Status Authorise(const AccessRequest& request) const override;
};

class PortScene : public ::testing::Test {
 protected:
  PortScene() : workers_("workers") {
    workers_.Start();
    options_.listen_address = "127.0.0.1:0";
    options_.credentials = grpc::InsecureServerCredentials();
  }
  ~PortScene() override {
    channel_.reset();
    if (server_ != nullptr) server_->Stop(std::chrono::seconds(2));
    server_.reset();
    workers_.Stop();
  }

  // With `options_`.
  void Start() {
    Result<std::unique_ptr<ClientServer>> server = ClientServer::Start(options_, broker_, workers_, access_, clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // no connection of another test
    channel_ = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials(), arguments);
    produce_ = v1::ProduceService::NewStub(channel_);
    consume_ = v1::ConsumeService::NewStub(channel_);
    admin_ = v1::AdminService::NewStub(channel_);
    cluster_ = v1::ClusterService::NewStub(channel_);
  }

  // A request with one item of these values for partition 0.
  static v1::ProduceRequest Records(const std::vector<std::string>& values) {
    v1::ProduceRequest request;
    request.mutable_topic()->set_name("orders");
    v1::ProduceItem& item = *request.add_items();
    item.set_partition(0);
    for (const std::string& value : values) item.mutable_batch()->mutable_records()->add_records()->set_value(value);
    return request;
  }
  grpc::Status Produce(const v1::ProduceRequest& request, v1::ProduceResponse* response) {
    context_ = std::make_unique<grpc::ClientContext>();
    return produce_->Produce(context_.get(), request, response);
  }
  // A unary call of bytes, to any method.
  grpc::Status CallRaw(const std::string& method, const std::string& request, std::string* response);

  // What the last call, or the one of `context`, said in its trailer.
  v1::Error Trailer() { return Trailer(*context_); }
  static v1::Error Trailer(const grpc::ClientContext& context) {
    v1::Error error;
    const auto found = context.GetServerTrailingMetadata().find(kErrorTrailer);
    if (found != context.GetServerTrailingMetadata().end()) {
      CHECK(error.ParseFromArray(found->second.data(), static_cast<int>(found->second.size())));
    }
    return error;
  }
  static v1::ErrorReason ReasonIn(const grpc::ClientContext& context) { return Trailer(context).reason(); }

  FakeBroker broker_;
  SomeAreSecret access_;
  SystemClock clock_;
  raft::ThreadExecutor workers_;
  ClientServerOptions options_;
  std::unique_ptr<ClientServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::ProduceService::Stub> produce_;
  std::unique_ptr<v1::ConsumeService::Stub> consume_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
  std::unique_ptr<v1::ClusterService::Stub> cluster_;
  std::unique_ptr<grpc::ClientContext> context_;
};

}  // namespace flotilla::rpc::client
