// The reactors of our streams: gRPC's, and ThreadSanitizer knows what gRPC promises of their calls. Included by files that
// know gRPC.
//
//   class Call : public OrderedServerReactor { void WhenRead(bool ok) override; ... };    // When... instead of On...
//   return (new Call(...))->Made();                                                      // what gRPC is given
//
// Promised, and so told to the tool (storage/base/hand_over.h), is this and no more:
// - a reaction comes behind the operation that it answers: WhenRead behind StartRead, WhenWritten behind StartWrite;
// - every reaction comes behind the making of the reactor: nothing begins before gRPC has it;
// - the last one, WhenDone, comes behind the end of all others, and behind Finish or the removal of the last hold.
// Reactions of different kinds may run at the same time, WhenCancelled beside all of them: what they share needs a mutex, and
// the tool sees where it is missing.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/server_callback.h>

#include <utility>

#include "storage/base/hand_over.h"

namespace flotilla::rpc {

// What both ends share; `Reactor` is gRPC's.
template <typename Reactor>
class OrderedReactor : public Reactor {
 protected:
  void StartRead(grpc::ByteBuffer* message) {
    read_.Give();
    Reactor::StartRead(message);
  }
  void StartWrite(const grpc::ByteBuffer* message, grpc::WriteOptions options = {}) {
    written_.Give();
    Reactor::StartWrite(message, options);
  }

  virtual void WhenRead(bool) {}
  virtual void WhenWritten(bool) {}

  HandOver made_;
  HandOver read_;
  HandOver written_;
  HandOver over_;

 private:
  void OnReadDone(bool ok) final {
    made_.Take();
    read_.Take();
    WhenRead(ok);
    over_.Give();
  }
  void OnWriteDone(bool ok) final {
    made_.Take();
    written_.Take();
    WhenWritten(ok);
    over_.Give();
  }
};

class OrderedServerReactor : public OrderedReactor<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>> {
 public:
  // The last that its maker does with it.
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Made() {
    made_.Give();
    return this;
  }

 protected:
  void StartWriteAndFinish(const grpc::ByteBuffer* message, grpc::WriteOptions options, grpc::Status status) {
    over_.Give();
    ServerBidiReactor::StartWriteAndFinish(message, options, std::move(status));
  }
  void Finish(grpc::Status status) {
    over_.Give();
    ServerBidiReactor::Finish(std::move(status));
  }

  virtual void WhenCancelled() = 0;
  // The last one: this may be gone when it returns.
  virtual void WhenDone() = 0;

 private:
  void OnCancel() final {
    made_.Take();
    WhenCancelled();
    over_.Give();
  }
  void OnDone() final {
    made_.Take();
    over_.Take();
    WhenDone();
  }
};

class OrderedClientReactor : public OrderedReactor<grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>> {
 protected:
  void StartCall() {
    made_.Give();
    ClientBidiReactor::StartCall();
  }
  void StartWriteLast(const grpc::ByteBuffer* message, grpc::WriteOptions options) {
    written_.Give();
    ClientBidiReactor::StartWriteLast(message, options);
  }
  void RemoveHold() {
    over_.Give();
    ClientBidiReactor::RemoveHold();
  }

  virtual void WhenOpened(bool) {}  // the initial metadata is there
  // The last one: this may be gone when it returns.
  virtual void WhenDone(const grpc::Status& status) = 0;

 private:
  void OnReadInitialMetadataDone(bool ok) final {
    made_.Take();
    WhenOpened(ok);
    over_.Give();
  }
  void OnDone(const grpc::Status& status) final {
    made_.Take();
    over_.Take();
    WhenDone(status);
  }
};

}  // namespace flotilla::rpc
