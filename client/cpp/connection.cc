#include "client/cpp/connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <map>
#include <mutex>

#include "flotilla/v1/errors.pb.h"

namespace flotilla::client {
namespace {

constexpr char kErrorTrailer[] = "flotilla-error-bin";
constexpr int kReconnectMsMin = 50;
constexpr int kReconnectMsMax = 1'000;
constexpr int kKeepaliveMs = 10'000;  // what brokers allow at the least

int Millis(Duration duration) { return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()); }

grpc::Slice SliceOf(const Bytes& bytes) {
  constexpr size_t kCopiedBytesMax = 512;  // less than what a slice of its own costs
  if (bytes.size() <= kCopiedBytesMax) return grpc::Slice(bytes.data(), bytes.size());
  auto* owner = new Bytes(bytes);
  return grpc::Slice(
      const_cast<char*>(bytes.data()), bytes.size(), [](void* kept) { delete static_cast<Bytes*>(kept); }, owner);
}

Bytes BytesOf(const grpc::ByteBuffer& buffer) {
  auto slice = std::make_shared<grpc::Slice>();
  if (!buffer.DumpToSingleSlice(slice.get()).ok()) return {};
  const std::string_view view(reinterpret_cast<const char*>(slice->begin()), slice->size());
  return Bytes(std::move(slice), view);
}

Error ErrorOf(const grpc::Status& status, const grpc::ClientContext& context, const std::string& address) {
  if (status.ok()) return {};
  const auto& trailers = context.GetServerTrailingMetadata();
  if (const auto it = trailers.find(kErrorTrailer); it != trailers.end()) {
    v1::Error error;
    if (error.ParseFromArray(it->second.data(), static_cast<int>(it->second.size()))) return Error::From(error);
  }
  const auto code = static_cast<ErrorCode>(status.error_code());
  const std::string where = address + ": ";
  switch (code) {
    case ErrorCode::kUnavailable:
      // gRPC has one code for both; that nothing was sent is known only when there was no connection to send it on.
      if (status.error_message().find("failed to connect") != std::string::npos ||
          status.error_message().find("DNS resolution failed") != std::string::npos) {
        return Error(code, reasons::kUnreachable, Retry::kSafe,
                     where + "cannot connect (" + status.error_message() + "); is the broker running there?");
      }
      return Error(code, reasons::kConnectionLost, Retry::kIfIdempotent, where + "the connection broke (" + status.error_message() + ")");
    case ErrorCode::kDeadlineExceeded: return Error(code, reasons::kDeadlineExceeded, Retry::kIfIdempotent, where + "no answer in time");
    case ErrorCode::kUnimplemented:
      return Error(code, "UNSUPPORTED", Retry::kNever,
                   where + "no such method there; is this the client port of a broker? " + status.error_message());
    default: return Error(code, CodeName(code), Retry::kIfIdempotent, where + status.error_message());
  }
}

// The calls that use a channel. gRPC's callback queue goes away with the last channel, and must not while a call still ends.
class OpenStreams {
 public:
  void Add(const std::shared_ptr<Stream>& stream) {
    const std::lock_guard lock(mutex_);
    streams_[stream.get()] = stream;
  }
  void Remove(Stream* stream) {
    const std::lock_guard lock(mutex_);
    streams_.erase(stream);
    if (streams_.empty()) none_.notify_all();  // under the lock: whoever waits destroys this
  }
  void CancelAndWait() {
    std::vector<std::shared_ptr<Stream>> cancelled;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [address, stream] : streams_) {
        if (auto alive = stream.lock()) cancelled.push_back(std::move(alive));
      }
    }
    for (const auto& stream : cancelled) stream->Cancel();
    cancelled.clear();
    std::unique_lock lock(mutex_);
    none_.wait(lock, [this] { return streams_.empty(); });
  }

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  std::map<Stream*, std::weak_ptr<Stream>> streams_;  // guarded by mutex_
};

class GrpcStream final : public Stream,
                         public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                         public std::enable_shared_from_this<GrpcStream> {
 public:
  GrpcStream(std::string address, OpenStreams& open, std::shared_ptr<StreamEvents> events)
      : address_(std::move(address)), open_(open), events_(std::move(events)) {}

  void Start(grpc::GenericStub& stub, const std::string& method, const Metadata& metadata) {
    self_ = shared_from_this();
    open_.Add(self_);
    for (const auto& [key, value] : metadata) context_.AddMetadata(key, value);
    stub.PrepareBidiStreamingCall(&context_, method, {}, this);
    AddHold();  // until the last read has failed: others start operations from outside
    reading_ = true;
    StartRead(&incoming_);
    StartCall();
  }

  void Write(std::vector<Bytes> pieces, bool more_follows) override {
    if (!Hold()) return;
    std::vector<grpc::Slice> slices;
    slices.reserve(pieces.size());
    for (const Bytes& piece : pieces) slices.push_back(SliceOf(piece));
    outgoing_ = grpc::ByteBuffer(slices.data(), slices.size());
    grpc::WriteOptions options;
    if (more_follows) options.set_buffer_hint();
    StartWrite(&outgoing_, options);
    RemoveHold();
  }
  void CloseWrites() override {
    if (!Hold()) return;
    StartWritesDone();
    RemoveHold();
  }
  void Read() override {
    {
      const std::lock_guard lock(mutex_);
      if (ended_ || reading_) return;
      reading_ = true;
      AddHold();
    }
    StartRead(&incoming_);
    RemoveHold();
  }
  void Cancel() override {
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = true;
    }
    context_.TryCancel();
    Read();  // a read that fails is how the end is noticed
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      {
        const std::lock_guard lock(mutex_);
        ended_ = true;
      }
      RemoveHold();
      return;
    }
    Bytes message = BytesOf(incoming_);
    incoming_.Clear();
    bool cancelled = false;
    {
      const std::lock_guard lock(mutex_);
      cancelled = cancelled_;
      reading_ = cancelled;
    }
    // What had come before the cancel is dropped, and read on until the end: nobody else would.
    if (cancelled) return StartRead(&incoming_);
    events_->OnMessage(std::move(message));
  }
  void OnWriteDone(bool ok) override {
    outgoing_.Clear();
    if (ok) events_->OnWritten();  // else the end follows
  }
  void OnDone(const grpc::Status& status) override {
    events_->OnEnd(ErrorOf(status, context_, address_));
    events_.reset();
    // The connection may be gone once it is told.
    const std::shared_ptr<GrpcStream> self = std::move(self_);
    open_.Remove(this);
  }

 private:
  // Keeps the call alive for one more operation. False: it has ended.
  bool Hold() {
    const std::lock_guard lock(mutex_);
    if (ended_) return false;
    AddHold();
    return true;
  }

  const std::string address_;
  OpenStreams& open_;
  std::shared_ptr<StreamEvents> events_;
  std::shared_ptr<GrpcStream> self_;  // gRPC keeps a plain pointer until OnDone
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  std::mutex mutex_;
  bool ended_ = false;      // guarded by mutex_
  bool reading_ = false;    // guarded by mutex_
  bool cancelled_ = false;  // guarded by mutex_
};

grpc::ChannelArguments ArgumentsFor(const ConnectionOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(options.receive_bytes_max));
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMsMin);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMsMax);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, Millis(options.connect_timeout));  // in fact the connect timeout
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Millis(options.keepalive_timeout));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // who may repeat what is known only above
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

struct Connection::Channel {
  explicit Channel(std::shared_ptr<grpc::Channel> to) : channel(std::move(to)), stub(channel) {}
  std::shared_ptr<grpc::Channel> channel;
  grpc::GenericStub stub;
  OpenStreams open;
};

namespace {

// gRPC 1.51 aborts now and then when the queue behind its callbacks is closed with the last channel and opened for another one
// soon after (a program that makes clients one after the other). A channel that leads nowhere and is never closed keeps it open.
void KeepCallbackQueueOpen() {
  // "used", although nobody does: leak checkers look for what still points to the channel.
  [[gnu::used]] static const grpc::GenericStub* const kept = [] {
    auto* stub = new grpc::GenericStub(grpc::CreateChannel("unix:/nonexistent/flotilla", grpc::InsecureChannelCredentials()));
    struct Call {
      grpc::ClientContext context;
      grpc::Slice nothing;
      grpc::ByteBuffer request{&nothing, 1};  // without a slice it is no message
      grpc::ByteBuffer response;
    };
    auto call = std::make_shared<Call>();  // fails at once; the queue exists from then on
    stub->UnaryCall(&call->context, "/nothing/Nothing", {}, &call->request, &call->response, [call](const grpc::Status&) {});
    return stub;
  }();
}

}  // namespace

Connection::Connection(std::string address, const ConnectionOptions& options)
    : address_((KeepCallbackQueueOpen(), std::move(address))),
      channel_(std::make_unique<Channel>(grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), ArgumentsFor(options)))) {}

Connection::~Connection() { channel_->open.CancelAndWait(); }

Result<std::string> Connection::Call(const std::string& method, const std::string& request, Duration timeout, const Metadata& metadata) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout));
  for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
  const grpc::Slice slice(request);
  const grpc::ByteBuffer outgoing(&slice, 1);
  grpc::ByteBuffer incoming;
  grpc::Status status;
  std::mutex mutex;
  std::condition_variable answered;
  bool done = false;
  channel_->stub.UnaryCall(&context, method, {}, &outgoing, &incoming, [&](grpc::Status ended) {
    const std::lock_guard lock(mutex);
    status = std::move(ended);
    done = true;
    answered.notify_one();  // under the lock: the waiter owns what this is called on
  });
  {
    std::unique_lock lock(mutex);
    answered.wait(lock, [&] { return done; });
  }
  if (!status.ok()) return ErrorOf(status, context, address_);
  return std::string(BytesOf(incoming).view());
}

std::shared_ptr<Stream> Connection::Open(const std::string& method, const Metadata& metadata, std::shared_ptr<StreamEvents> events) {
  auto stream = std::make_shared<GrpcStream>(address_, channel_->open, std::move(events));
  stream->Start(channel_->stub, method, metadata);
  return stream;
}

}  // namespace flotilla::client
