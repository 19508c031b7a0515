// The four kinds of calls on the clients' port. Included by files that know gRPC.
//
// Each function makes a reactor that lives until its call is over (edge.h). `counters` outlive all calls.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/rpc/client/edge.h"

namespace flotilla::rpc::client {

using BytesStream = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

// Any unary method that the broker serves by its name: counters.method().
BytesStream* StartPlainCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context);
BytesStream* StartProduce(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context);
BytesStream* StartFetch(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context);

// `requests` counts what comes on the stream.
BytesStream* StartProduceStream(Edge& edge, MethodCounters& counters, MethodCounters& requests, grpc::CallbackServerContext* context);

BytesStream* StartSubscribe(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context);
BytesStream* StartWatchMetadata(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context);

}  // namespace flotilla::rpc::client
