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
using BytesWriter = grpc::ServerWriteReactor<grpc::ByteBuffer>;

// Any unary method that the broker serves by its name: counters.method().
grpc::ServerUnaryReactor* StartPlainCall(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request, grpc::ByteBuffer* response);
grpc::ServerUnaryReactor* StartProduce(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response);
grpc::ServerUnaryReactor* StartFetch(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response);

// `requests` counts what comes on the stream.
BytesStream* StartProduceStream(Edge& edge, MethodCounters& counters, MethodCounters& requests, grpc::CallbackServerContext* context);

BytesWriter* StartSubscribe(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                            const grpc::ByteBuffer* request);
BytesWriter* StartWatchMetadata(Edge& edge, MethodCounters& counters, grpc::CallbackServerContext* context,
                                const grpc::ByteBuffer* request);

}  // namespace flotilla::rpc::client
