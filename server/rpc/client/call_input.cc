#include "server/rpc/client/call_input.h"

#include <google/protobuf/message_lite.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <chrono>
#include <optional>
#include <utility>

#include "server/errors/refusal.h"
#include "server/rpc/client/produce_split.h"
#include "storage/base/hand_over.h"

namespace flotilla::rpc::client {
namespace {

constexpr char kRequireLeader[] = "flotilla-require-leader";

MonotonicTime DeadlineOf(const Edge& edge, const grpc::CallbackServerContext& context) {
  const MonotonicTime now = edge.clock.Now();
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return now + edge.options.default_deadline;
  // gRPC tells it by the system's clock, into which it has just converted it: what is left is right whatever that clock does.
  return now + std::chrono::duration_cast<Duration>(deadline - std::chrono::system_clock::now());
}

// Reading does not change the buffer: its slices are peeked at.
grpc::ProtoBufferReader ReaderOf(const grpc::ByteBuffer& received) {
  return grpc::ProtoBufferReader(const_cast<grpc::ByteBuffer*>(&received));
}

template <typename T>
Result<T> Counted(Edge& edge, Result<T> result) {
  if (!result.ok()) {
    edge.Rejected(result.status().reason() == Reason::kLimitExceeded ? Rejection::kTooLarge : Rejection::kCorrupt);
  }
  return result;
}

}  // namespace

broker::Caller CallerOf(const Edge& edge, grpc::CallbackServerContext& context) {
  broker::Caller caller;
  const auto identity = context.auth_context()->GetPeerIdentity();
  if (!identity.empty()) caller.principal.assign(identity[0].data(), identity[0].size());
  caller.address = context.peer();
  caller.deadline = DeadlineOf(edge, context);
  const auto found = context.client_metadata().find(kRequireLeader);
  caller.require_leader = found != context.client_metadata().end() && found->second == "1";
  return caller;
}

Status Parse(Edge& edge, const grpc::ByteBuffer& received, google::protobuf::MessageLite* request) {
  if (Status status = CheckRequestBytes(received.Length()); !status.ok()) {
    edge.Rejected(Rejection::kTooLarge);
    return status;
  }
  const Unwatched reading;
  grpc::ProtoBufferReader in = ReaderOf(received);
  if (in.status().ok() && request->ParseFromZeroCopyStream(&in)) return {};
  edge.Rejected(Rejection::kCorrupt);
  return Status(Reason::kCorruptMessage, "the request does not decode as " + request->GetTypeName() + "; is the client's .proto ours?");
}

Result<RawProduce> ReadProduce(Edge& edge, const grpc::ByteBuffer& received) {
  const Unwatched reading;
  grpc::ProtoBufferReader in = ReaderOf(received);
  return Counted(edge, ReadProduceRequest(in, received.Length()));
}

Result<RawStreamRequest> ReadStreamRequest(Edge& edge, const grpc::ByteBuffer& received) {
  const Unwatched reading;
  grpc::ProtoBufferReader in = ReaderOf(received);
  return Counted(edge, ReadProduceStreamRequest(in, received.Length()));
}

bool NeedsNewerMetadata(const Edge& edge, const RawProduce& request) {
  const metadata::Shared<metadata::Image> image = edge.api.metadata();
  return image != nullptr && request.refusal.ok() && NamesWhatIsNotThere(request, *image);
}

Result<broker::ProduceCommand> Prepare(Edge& edge, RawProduce request, std::string_view principal) {
  thread_local ProduceSplitter splitter(edge.NextSeed());
  if (!request.refusal.ok()) return request.refusal;
  const metadata::Shared<metadata::Image> image = edge.api.metadata();
  if (image == nullptr) {
    edge.Rejected(Rejection::kNotInitialized);
    return Refuse(Refusal::kNotInitialized, "this node is in no cluster yet; call ClusterService.InitCluster once, or wait");
  }
  const std::string resource = ResourceOf(edge, request.topic.name, request.topic.topic_id);
  FLOTILLA_RETURN_IF_ERROR(edge.Authorise({.principal = principal, .action = Action::kWrite, .resource = resource}));
  return splitter.Split(std::move(request), *image);
}

std::string ResourceOf(const Edge& edge, std::string_view name, std::string_view topic_id) {
  if (!name.empty()) return std::string(name);
  const std::optional<Uuid> id = Uuid::FromText(topic_id);
  const metadata::Shared<metadata::Image> image = edge.api.metadata();
  const metadata::Topic* topic = id && image != nullptr ? image->FindTopic(*id) : nullptr;
  return topic != nullptr ? topic->name : std::string(topic_id);
}

Status AuthoriseRead(Edge& edge, std::string_view principal, const v1::TopicRef& topic) {
  const std::string resource = ResourceOf(edge, topic.name(), topic.topic_id());
  return edge.Authorise({.principal = principal, .action = Action::kRead, .resource = resource});
}

}  // namespace flotilla::rpc::client
