// One call at the peer port, whatever its method: bytes in, bytes out. What kinds there are stands in
// inbound_calls.h.
//
// A stream answers at once that it takes the call (kOpenMetadata), unless it ends before. It owns itself
// until gRPC is done with it; work that was posted to the executor keeps it alive for longer.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>

#include <deque>
#include <memory>
#include <optional>

#include "server/rpc/ordered_reactor.h"
#include "server/rpc/peer/live_streams.h"
#include "server/rpc/wire_writer.h"

namespace flotilla::rpc {

class ServerStream : public OrderedServerReactor, public LiveStreams::Stream, public std::enable_shared_from_this<ServerStream> {
 public:
  // What gRPC is given. `why` not OK: the call ends so.
  static grpc::ServerGenericBidiReactor* Begin(const std::shared_ptr<ServerStream>& stream, const Status& why, LiveStreams& live);

  void Abort(const Status& why) override { End(why); }

 protected:
  explicit ServerStream(grpc::CallbackServerContext& context) : context_(context) {}

  // --- gRPC's threads
  // The call is taken.
  virtual void OnBegin() {}
  virtual void OnMessage(const grpc::ByteBuffer& message) = 0;
  // The caller has said all it has to say.
  virtual void OnHalfClose() { End({}); }
  // The last one, if OnBegin was called. Nothing can be written any more.
  virtual void OnOver() {}

  // --- any thread; nothing happens when the stream has ended
  // One message, then OnMessage: again for the next one.
  void ReadNext();
  // In order; waits its turn. Returns what waits, in bytes.
  size_t Write(EncodedMessage message);
  // What waits, in bytes.
  size_t waiting_bytes();
  // The first one counts. With OK what was written before still goes out.
  void End(const Status& status);
  // At once, for a caller that does not read.
  void Break(const Status& status);

 private:
  void WhenRead(bool ok) final;
  void WhenWritten(bool ok) final;
  void WhenCancelled() final;
  void WhenDone() final;
  void Started();
  // Whether it is time to finish, and this call has to do it.
  bool MayFinish() FLOTILLA_REQUIRES(mutex_);
  void FinishNow();

  LiveStreams::Ticket ticket_;  // until WhenDone: the broker may keep what holds us for longer
  std::shared_ptr<ServerStream> self_;
  bool begun_ = false;
  grpc::CallbackServerContext& context_;
  grpc::ByteBuffer received_;
  grpc::ByteBuffer sent_;

  // Finish is the last operation that may be started: it waits for those that somebody is about to start.
  Mutex mutex_;
  std::deque<EncodedMessage> queue_ FLOTILLA_GUARDED_BY(mutex_);
  size_t queued_bytes_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  bool writing_ FLOTILLA_GUARDED_BY(mutex_) = false;
  int starting_ FLOTILLA_GUARDED_BY(mutex_) = 0;  // operations that somebody is about to start, but for the write
  bool finished_ FLOTILLA_GUARDED_BY(mutex_) = false;
  std::optional<Status> end_ FLOTILLA_GUARDED_BY(mutex_);
};

}  // namespace flotilla::rpc
