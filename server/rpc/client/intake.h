// How fast calls come in: not faster than they are taken. Included by files that know gRPC.
//
// gRPC 1.51 takes calls off a connection on whichever thread finds it readable, and reads on while there is something to read. What it
// has not handed over waits in memory, some 20 KiB for each call, without a limit: a client that resets what it begins may always
// begin the next one, and as long as it does a thread that reads it hands nothing over. gRPC asks here for the context of each call
// that it takes off a connection, on that thread:
//
// - one that hands calls over, too, and has taken off more than a connection may have open without handing one over reads such a
//   client: the connection is broken off;
// - any other one is slowed down while too many wait.
#pragma once

#include <grpcpp/server_context.h>

#include "server/rpc/client/edge.h"

namespace flotilla::rpc::client {

class Intake final : public grpc::ContextAllocator {
 public:
  // `edge` outlives the server that this is given to.
  explicit Intake(Edge& edge) : edge_(edge) {}

  // The call of this context has been handed to us, on this thread.
  static void Took(grpc::CallbackServerContext* context);

 private:
  class Context;

  grpc::CallbackServerContext* NewCallbackServerContext() override;
  void Release(grpc::CallbackServerContext* context) override;

  Edge& edge_;
};

}  // namespace flotilla::rpc::client
