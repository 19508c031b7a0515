// Status <-> grpc::Status: how a call that failed as a whole travels (proto/flotilla/v1/errors.proto).
//
//   Finish(ToGrpcStatus(status, context));                 // the called side
//   Status why = FromGrpcStatus(grpc_status, context);     // the caller, when the call is over
//
// The status has the catalogue's code, the text, and in its details a google.rpc.Status with ErrorInfo and
// what else belongs to the reason; the trailer flotilla-error-bin has the same as a serialized
// flotilla.v1.Error. Pure functions; any thread.
#pragma once

#include "storage/base/status.h"

namespace grpc {
class CallbackServerContext;
class ClientContext;
class Status;
}  // namespace grpc

namespace flotilla::rpc {

inline constexpr char kErrorTrailer[] = "flotilla-error-bin";

// Adds the trailer to `to_add_trailers` (null: no trailer), so it comes before Finish. OK stays OK. What is
// too long for HTTP/2 headers is cut: a text of more than 1 KiB, and details beyond 1 KiB together.
grpc::Status ToGrpcStatus(const Status& status, grpc::CallbackServerContext* to_add_trailers);

// When the call has ended (OnDone). With the trailer it is the other side's Status again, reason and details
// alike. Without one it is gRPC's own, and since nobody knows how far the call had come: OUTCOME_UNKNOWN for
// connections that broke, DEADLINE_EXCEEDED, CANCELLED, LIMIT_EXCEEDED (a message above a limit),
// UNSUPPORTED, or else INTERNAL.
Status FromGrpcStatus(const grpc::Status& status, const grpc::ClientContext& context);
// The called side itself answered with an error; otherwise the status is gRPC's own.
bool HasErrorTrailer(const grpc::ClientContext& context);

}  // namespace flotilla::rpc
