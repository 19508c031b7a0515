#include "server/rpc/client/described_service.h"

#include <grpcpp/impl/codegen/server_callback_handlers.h>
#include <grpcpp/impl/rpc_service_method.h>

#include <string>
#include <utility>

#include "server/rpc/client/intake.h"

namespace flotilla::rpc::client {
namespace {

using grpc::ByteBuffer;
using grpc::CallbackServerContext;
using grpc::internal::RpcMethod;
using grpc::internal::RpcServiceMethod;
using Start = BytesStream* (*)(Edge&, MethodCounters&, CallbackServerContext*);

// What serves a method with one request. The hot methods; all other unary ones are served by name.
Start StartOf(const google::protobuf::MethodDescriptor& descriptor, const std::string& method) {
  if (method == "/flotilla.v1.ProduceService/Produce") return StartProduce;
  if (method == "/flotilla.v1.ConsumeService/Fetch") return StartFetch;
  if (method == "/flotilla.v1.ConsumeService/Subscribe") return StartSubscribe;
  if (method == "/flotilla.v1.ClusterService/WatchMetadata") return StartWatchMetadata;
  CHECK(!descriptor.server_streaming()) << "a server stream that nobody serves: " << method;
  return StartPlainCall;
}

}  // namespace

DescribedService::DescribedService(const google::protobuf::ServiceDescriptor& service, Edge& edge) {
  for (int i = 0; i < service.method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *service.method(i);
    MethodCounters& counters = NewCounters("/" + service.full_name() + "/" + method.name());
    if (!method.client_streaming()) {
      const Start start = StartOf(method, counters.method());
      Add(edge, counters, [start, &edge, &counters](CallbackServerContext* context) { return start(edge, counters, context); });
      continue;
    }
    CHECK_EQ(counters.method(), "/flotilla.v1.ProduceService/ProduceStream") << "a stream that nobody serves";
    MethodCounters& requests = NewCounters(counters.method() + "/request");
    Add(edge, counters,
        [&edge, &counters, &requests](CallbackServerContext* context) { return StartProduceStream(edge, counters, requests, context); });
  }
}

void DescribedService::ReadCounters(std::vector<ClientCounters::Method>* methods) const {
  for (const auto& counters : counters_) methods->push_back(counters->Read());
}

MethodCounters& DescribedService::NewCounters(std::string method) {
  return *counters_.emplace_back(std::make_unique<MethodCounters>(std::move(method)));
}

void DescribedService::Add(Edge& edge, const MethodCounters& counters, std::function<BytesStream*(CallbackServerContext*)> start) {
  // Unary or not, all are streams of bytes to gRPC: one_request.h says why.
  AddMethod(new RpcServiceMethod(counters.method().c_str(), RpcMethod::BIDI_STREAMING, nullptr));
  MarkMethodRawCallback(methods_++,
                        new grpc::internal::CallbackBidiHandler<ByteBuffer, ByteBuffer>([&edge, start = std::move(start)](auto* context) {
                          edge.ready.Take();
                          Intake::Took(context);
                          return start(context);
                        }));
}

}  // namespace flotilla::rpc::client
