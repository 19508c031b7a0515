// One node, over gRPC; the only file of this library whose .cc knows gRPC. Messages are bytes here: what was built as bytes is
// sent without a copy.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/cpp/error.h"
#include "storage/base/bytes.h"
#include "storage/base/clock.h"

namespace flotilla::client {

struct ConnectionOptions {
  // A connection that is not there by then counts as UNREACHABLE.
  Duration connect_timeout = std::chrono::seconds(2);
  // Without an answer to pings for so long, calls on the connection fail.
  Duration keepalive_timeout = std::chrono::seconds(5);
  size_t receive_bytes_max = size_t{64} << 20;
};

using Metadata = std::vector<std::pair<std::string, std::string>>;

// What a stream tells. Called by gRPC's threads, one call at a time but for OnWritten; must not block.
class StreamEvents {
 public:
  virtual ~StreamEvents() = default;
  // Nothing more is read until Stream::Read.
  virtual void OnMessage(Bytes message) = 0;
  virtual void OnWritten() = 0;
  // The last one. OK: the server has ended the stream.
  virtual void OnEnd(const Error& error) = 0;
};

// A bidirectional stream, or one with a single request. Any thread.
class Stream {
 public:
  virtual ~Stream() = default;
  // The pieces make one message. One at a time: the next one after OnWritten. Ignored on a stream that has ended. With `more_follows`
  // the caller promises to write the next one as soon as OnWritten says so: this one may wait for it, to leave with it.
  virtual void Write(std::vector<Bytes> pieces, bool more_follows) = 0;
  virtual void CloseWrites() = 0;
  // Asks for the next message; one at a time.
  virtual void Read() = 0;
  // OnEnd follows.
  virtual void Cancel() = 0;
};

class Connection {
 public:
  // `address` is "host:port" or any target of gRPC's. Connects with the first call.
  Connection(std::string address, const ConnectionOptions& options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const std::string& address() const { return address_; }

  // Waits. `method` as "/flotilla.v1.AdminService/CreateTopic". DEADLINE_EXCEEDED, UNREACHABLE, CONNECTION_LOST, or what the
  // broker says.
  Result<std::string> Call(const std::string& method, const std::string& request, Duration timeout, const Metadata& metadata = {});

  // The first Read is on its way. The events live until OnEnd.
  std::shared_ptr<Stream> Open(const std::string& method, const Metadata& metadata, std::shared_ptr<StreamEvents> events);

 private:
  struct Channel;
  const std::string address_;
  const std::unique_ptr<Channel> channel_;
};

}  // namespace flotilla::client
