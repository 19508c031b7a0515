// One attempt at a stream to a peer, from the call to its end.
//
//   auto stream = ClientStream::Create(channel, {.method = "/...", ...}, events, live);
//   stream->Begin();                 // now events come
//   stream->Write(encoded);          // one at a time: the next one after OnWritten
//
// The called side says in its initial metadata that it takes the call (kOpenMetadata); before OnOpen nothing
// of a request was seen by it, which is how "not reached" and "outcome unknown" are told apart.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <optional>
#include <string>

#include "server/rpc/ordered_reactor.h"
#include "server/rpc/peer/live_streams.h"
#include "server/rpc/wire_writer.h"
#include "storage/base/clock.h"
#include "storage/base/status.h"

namespace flotilla::rpc {

// In initial metadata: the called side takes the call.
inline constexpr char kOpenMetadata[] = "flotilla-open";
// In the caller's metadata of a ForwardStream: a serialized HandshakeRequest.
inline constexpr char kHandshakeMetadata[] = "flotilla-handshake-bin";

// On gRPC's threads, one call at a time but for OnWritten, which may come beside OnMessage.
class StreamEvents {
 public:
  virtual ~StreamEvents() = default;
  virtual void OnOpen() {}
  virtual void OnMessage(const grpc::ByteBuffer& message) = 0;
  virtual void OnWritten() = 0;
  struct End {
    Status status;  // OK: the called side ended it so
    bool answered;  // the status is the called side's, with its reason
    bool opened;    // OnOpen came
  };
  // The last one.
  virtual void OnClosed(const End& end) = 0;
};

class ClientStream final : public OrderedClientReactor, public LiveStreams::Stream, public std::enable_shared_from_this<ClientStream> {
 public:
  struct Call {
    std::string method;
    std::optional<Duration> timeout = {};
    std::string handshake = {};  // kHandshakeMetadata; empty: none
  };
  // Null: `live` is closed.
  static std::shared_ptr<ClientStream> Create(const std::shared_ptr<grpc::Channel>& channel, const Call& call,
                                              std::shared_ptr<StreamEvents> events, LiveStreams& live);
  // Once.
  void Begin();
  // Any thread, no other write outstanding. On a stream that broke nothing happens: OnClosed is on its way.
  void Write(EncodedMessage message) { Write(std::move(message), /*last=*/false); }
  // Nothing follows.
  void WriteLast(EncodedMessage message) { Write(std::move(message), /*last=*/true); }
  void Abort(const Status& why) override;

 private:
  explicit ClientStream(std::shared_ptr<StreamEvents> events) : events_(std::move(events)) {}
  void Write(EncodedMessage message, bool last);
  void WhenOpened(bool ok) override;
  void WhenRead(bool ok) override;
  void WhenWritten(bool ok) override;
  void WhenDone(const grpc::Status& status) override;

  LiveStreams::Ticket ticket_;  // first: goes last
  std::shared_ptr<StreamEvents> events_;
  std::shared_ptr<ClientStream> self_;  // from Begin to WhenDone
  std::shared_ptr<grpc::Channel> channel_;
  grpc::ClientContext context_;
  grpc::ByteBuffer received_;
  grpc::ByteBuffer sent_;
  bool opened_ = false;

  // gRPC's WhenDone waits for a hold of ours, which goes when nobody starts an operation any more.
  Mutex mutex_;
  bool over_ FLOTILLA_GUARDED_BY(mutex_) = false;  // reading has ended
  bool writing_ FLOTILLA_GUARDED_BY(mutex_) = false;
  std::optional<Status> aborted_ FLOTILLA_GUARDED_BY(mutex_);
};

}  // namespace flotilla::rpc
