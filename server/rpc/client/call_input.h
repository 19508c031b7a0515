// What a call brings with it, and what produce calls of both kinds do with a request. Included by files that know gRPC.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <string_view>

#include "flotilla/v1/common.pb.h"
#include "server/rpc/client/edge.h"
#include "server/rpc/client/produce_codec.h"

namespace google::protobuf {
class MessageLite;
}  // namespace google::protobuf

namespace flotilla::rpc::client {

// The deadline is the call's own, or `options.default_deadline` from now.
broker::Caller CallerOf(const Edge& edge, grpc::CallbackServerContext& context);

// LIMIT_EXCEEDED, CORRUPT_MESSAGE.
Status Parse(Edge& edge, const grpc::ByteBuffer& received, google::protobuf::MessageLite* request);

Result<RawProduce> ReadProduce(Edge& edge, const grpc::ByteBuffer& received);
Result<RawStreamRequest> ReadStreamRequest(Edge& edge, const grpc::ByteBuffer& received);
// Whether to wait for newer metadata (ClientApi::SyncMetadata) before it is prepared.
bool NeedsNewerMetadata(const Edge& edge, const RawProduce& request);
// Checks and splits it. NOT_INITIALIZED, PERMISSION_DENIED, and what ProduceSplitter says. This thread's work per record.
Result<broker::ProduceCommand> Prepare(Edge& edge, RawProduce request, std::string_view principal);

// How a topic is called towards Access: by its name, when it is known.
std::string ResourceOf(const Edge& edge, std::string_view name, std::string_view topic_id);
// PERMISSION_DENIED: to read it.
Status AuthoriseRead(Edge& edge, std::string_view principal, const v1::TopicRef& topic);

}  // namespace flotilla::rpc::client
