// A gRPC service out of its descriptor, all methods on bytes: no generated service, and a method that is added to the .proto is
// served without a line here. Included by files that know gRPC.
//
// What generated code does for its raw callback methods (Service::AddMethod, MarkMethodRawCallback), in a loop.
#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/impl/service_type.h>

#include <functional>
#include <memory>
#include <vector>

#include "server/rpc/client/edge.h"
#include "server/rpc/client/reactors.h"

namespace flotilla::rpc::client {

class DescribedService final : public grpc::Service {
 public:
  // CHECKs that there is code for each of its streaming methods. `edge` outlives the server.
  DescribedService(const google::protobuf::ServiceDescriptor& service, Edge& edge);

  void ReadCounters(std::vector<ClientCounters::Method>* methods) const;

 private:
  MethodCounters& NewCounters(std::string method);
  void Add(Edge& edge, const MethodCounters& counters, std::function<BytesStream*(grpc::CallbackServerContext*)> start);

  // Also keeps the methods' names, which gRPC points to.
  std::vector<std::unique_ptr<MethodCounters>> counters_;
  int methods_ = 0;
};

}  // namespace flotilla::rpc::client
