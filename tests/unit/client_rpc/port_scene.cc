#include "tests/unit/client_rpc/port_scene.h"

#include <grpcpp/generic/generic_stub.h>

#include "server/errors/refusal.h"

namespace flotilla::rpc::client {

Status SomeAreSecret::Authorise(const AccessRequest& request) const {
  const bool secret = request.resource == "secret" || request.resource == "/flotilla.v1.AdminService/DeleteTopic";
  if (!secret) return {};
  return Refuse(Refusal::kPermissionDenied, "you may not use " + std::string(request.resource))
      .With("resource", std::string(request.resource));
}

grpc::Status PortScene::CallRaw(const std::string& method, const std::string& request, std::string* response) {
  context_ = std::make_unique<grpc::ClientContext>();
  context_->set_wait_for_ready(true);
  grpc::GenericStub stub(channel_);
  grpc::CompletionQueue queue;
  const grpc::Slice slice(request);
  const grpc::ByteBuffer sent(&slice, 1);
  auto call = stub.PrepareUnaryCall(context_.get(), method, sent, &queue);
  call->StartCall();
  grpc::ByteBuffer received;
  grpc::Status status;
  call->Finish(&received, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  CHECK(queue.Next(&tag, &ok) && ok);
  if (status.ok()) {
    grpc::Slice all;
    CHECK(received.DumpToSingleSlice(&all).ok());
    response->assign(reinterpret_cast<const char*>(all.begin()), all.size());
  }
  return status;
}

}  // namespace flotilla::rpc::client
