#include "client/cli/reflection.h"

#include <condition_variable>
#include <deque>
#include <mutex>

#include "client/cpp/wire_walk.h"
#include "flotilla/v1/cluster.pb.h"

namespace flotilla::cli {
namespace {

using client::Error;
using client::ErrorCode;
using client::Retry;

constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
// ServerReflectionRequest and ServerReflectionResponse, by their field numbers.
constexpr uint32_t kFileContainingSymbol = 4;
constexpr uint32_t kListServices = 7;
constexpr uint32_t kFileDescriptors = 4;
constexpr uint32_t kServiceList = 6;
constexpr uint32_t kErrorResponse = 7;
constexpr Duration kLookForStopEvery = std::chrono::milliseconds(100);

// Turns what gRPC's threads tell into something to wait for.
class Mailbox final : public client::StreamEvents {
 public:
  void OnMessage(Bytes message) override {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    changed_.notify_one();
  }
  void OnWritten() override {}
  void OnEnd(const Error& error) override {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    error_ = error;
    changed_.notify_one();
  }
  // False: nothing came.
  bool Wait(Duration time, std::optional<Bytes>* message, bool* ended, Error* error) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, time, [this] { return ended_ || !messages_.empty(); })) return false;
    if (!messages_.empty()) {
      *message = std::move(messages_.front());
      messages_.pop_front();
      return true;
    }
    *ended = true;
    *error = error_;
    return true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Bytes> messages_;
  bool ended_ = false;
  Error error_;
};

// A message with one string field.
std::string OneField(uint32_t number, const std::string& text) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  for (size_t rest = text.size();; rest >>= 7) {
    out += static_cast<char>((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    if (rest <= 0x7f) break;
  }
  return out + text;
}

// All values of a field.
std::vector<std::string_view> Fields(std::string_view message, uint32_t number) {
  std::vector<std::string_view> values;
  client::WireWalk walk(message);
  while (walk.Next()) {
    if (walk.field() == number && walk.is_bytes()) values.push_back(walk.bytes());
  }
  return values;
}

}  // namespace

client::Result<std::shared_ptr<client::Connection>> ConnectAny(Session& session) {
  // Any call finds out which broker answers, and moves those that do not to the end.
  v1::GetServerInfoResponse response;
  const Error error = session.Call("/flotilla.v1.ClusterService/GetServerInfo", v1::GetServerInfoRequest(), &response);
  if (!error.ok() && error.code() == ErrorCode::kUnavailable) return error;
  return session.client().ConnectionTo(session.client().view().Addresses().front());
}

Error Exchange(client::Connection& connection, const std::string& method, std::string request, Duration timeout,
               const std::function<bool(const Bytes&)>& on_message, const std::function<bool()>& stop) {
  const SystemClock clock;
  const MonotonicTime start = clock.Now();
  const auto mailbox = std::make_shared<Mailbox>();
  const auto stream = connection.Open(method, {}, mailbox);
  stream->Write({Bytes(std::move(request))}, false);
  stream->CloseWrites();
  while (true) {
    std::optional<Bytes> message;
    bool ended = false;
    Error error;
    if (mailbox->Wait(kLookForStopEvery, &message, &ended, &error)) {
      if (ended) return error;
      if (!on_message(*message)) {
        stream->Cancel();
        return {};
      }
      stream->Read();
    }
    const bool late = timeout != Duration::max() && clock.Now() - start > timeout;
    if (!late && !stop()) continue;
    stream->Cancel();
    if (!late) return {};
    return Error(ErrorCode::kDeadlineExceeded, client::reasons::kDeadlineExceeded, Retry::kIfIdempotent,
                 connection.address() + ": no answer to " + method + " in time");
  }
}

Reflection::Reflection(std::shared_ptr<client::Connection> connection, Duration timeout)
    : connection_(std::move(connection)), timeout_(timeout), pool_(&files_) {}

client::Result<std::string> Reflection::Ask(std::string request) {
  std::string answer;
  const Error error = Exchange(
      *connection_, kReflection, std::move(request), timeout_,
      [&answer](const Bytes& bytes) {
        answer = bytes.view();
        return false;
      },
      [] { return false; });
  if (!error.ok()) return error;
  if (const auto refused = Fields(answer, kErrorResponse); !refused.empty()) {
    const auto text = Fields(refused.front(), 2);
    return Error(ErrorCode::kNotFound, "NOT_FOUND", Retry::kNever,
                 "the broker's reflection: " + (text.empty() ? std::string("no such symbol") : std::string(text.front())));
  }
  return answer;
}

client::Result<std::vector<std::string>> Reflection::Services() {
  const auto answer = Ask(OneField(kListServices, "*"));
  if (!answer.ok()) return answer.error();
  std::vector<std::string> names;
  for (const std::string_view list : Fields(*answer, kServiceList)) {
    for (const std::string_view service : Fields(list, 1)) {
      for (const std::string_view name : Fields(service, 1)) names.emplace_back(name);
    }
  }
  return names;
}

client::Result<const google::protobuf::ServiceDescriptor*> Reflection::FindService(const std::string& name) {
  const auto answer = Ask(OneField(kFileContainingSymbol, name));
  if (!answer.ok()) return answer.error().Prefixed("service " + name);
  for (const std::string_view files : Fields(*answer, kFileDescriptors)) {
    for (const std::string_view bytes : Fields(files, 1)) {
      google::protobuf::FileDescriptorProto file;
      google::protobuf::FileDescriptorProto known;
      if (!file.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) continue;
      if (!files_.FindFileByName(file.name(), &known)) files_.Add(file);
    }
  }
  const auto* service = pool_.FindServiceByName(name);
  if (service != nullptr) return service;
  return Error(ErrorCode::kNotFound, "NOT_FOUND", Retry::kNever, "the broker describes no service '" + name + "'; see call --list");
}

}  // namespace flotilla::cli
