#include "server/rpc/client/described_service.h"

#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/codegen/server_callback_handlers.h>

#include <functional>
#include <string>

#include "server/rpc/client/reactors.h"

namespace flotilla::rpc::client {
namespace {

using grpc::ByteBuffer;
using grpc::CallbackServerContext;
using grpc::internal::RpcMethod;
using grpc::internal::RpcServiceMethod;
using StartUnary = grpc::ServerUnaryReactor* (*)(Edge&, MethodCounters&, CallbackServerContext*, const ByteBuffer*, ByteBuffer*);
using StartServerStream = BytesWriter* (*)(Edge&, MethodCounters&, CallbackServerContext*, const ByteBuffer*);

// The hot methods; all others are served by name.
StartUnary UnaryOf(const std::string& method) {
  if (method == "/flotilla.v1.ProduceService/Produce") return StartProduce;
  if (method == "/flotilla.v1.ConsumeService/Fetch") return StartFetch;
  return StartPlainCall;
}

StartServerStream ServerStreamOf(const std::string& method) {
  if (method == "/flotilla.v1.ConsumeService/Subscribe") return StartSubscribe;
  CHECK_EQ(method, "/flotilla.v1.ClusterService/WatchMetadata") << "a server stream that nobody serves";
  return StartWatchMetadata;
}

}  // namespace

DescribedService::DescribedService(const google::protobuf::ServiceDescriptor& service, Edge& edge) {
  for (int i = 0; i < service.method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *service.method(i);
    MethodCounters& counters = NewCounters("/" + service.full_name() + "/" + method.name());
    if (method.client_streaming()) {
      CHECK(method.server_streaming()) << counters.method();
      AddBidiStream(counters, edge);
    } else if (method.server_streaming()) {
      AddServerStream(counters, edge);
    } else {
      AddUnary(counters, edge);
    }
  }
}

void DescribedService::ReadCounters(std::vector<ClientCounters::Method>* methods) const {
  for (const auto& counters : counters_) methods->push_back(counters->Read());
}

MethodCounters& DescribedService::NewCounters(std::string method) {
  return *counters_.emplace_back(std::make_unique<MethodCounters>(std::move(method)));
}

void DescribedService::AddUnary(MethodCounters& counters, Edge& edge) {
  AddMethod(new RpcServiceMethod(counters.method().c_str(), RpcMethod::NORMAL_RPC, nullptr));
  const StartUnary start = UnaryOf(counters.method());
  MarkMethodRawCallback(methods_++, new grpc::internal::CallbackUnaryHandler<ByteBuffer, ByteBuffer>(
                                        [start, &edge, &counters](CallbackServerContext* context, const ByteBuffer* request,
                                                                  ByteBuffer* response) {
                                          return start(edge, counters, context, request, response);
                                        }));
}

void DescribedService::AddServerStream(MethodCounters& counters, Edge& edge) {
  AddMethod(new RpcServiceMethod(counters.method().c_str(), RpcMethod::SERVER_STREAMING, nullptr));
  const StartServerStream start = ServerStreamOf(counters.method());
  MarkMethodRawCallback(
      methods_++, new grpc::internal::CallbackServerStreamingHandler<ByteBuffer, ByteBuffer>(
                      [start, &edge, &counters](CallbackServerContext* context, const ByteBuffer* request) {
                        return start(edge, counters, context, request);
                      }));
}

void DescribedService::AddBidiStream(MethodCounters& counters, Edge& edge) {
  CHECK_EQ(counters.method(), "/flotilla.v1.ProduceService/ProduceStream") << "a stream that nobody serves";
  MethodCounters& requests = NewCounters(counters.method() + "/request");
  AddMethod(new RpcServiceMethod(counters.method().c_str(), RpcMethod::BIDI_STREAMING, nullptr));
  MarkMethodRawCallback(methods_++, new grpc::internal::CallbackBidiHandler<ByteBuffer, ByteBuffer>(
                                        [&edge, &counters, &requests](CallbackServerContext* context) {
                                          return StartProduceStream(edge, counters, requests, context);
                                        }));
}

}  // namespace flotilla::rpc::client
