#include "client/cpp/client.h"

#include <google/protobuf/message_lite.h>

#include <algorithm>
#include <random>

#include "flotilla/v1/cluster.pb.h"

namespace flotilla::client {
namespace {

constexpr Duration kBackoffMin = std::chrono::milliseconds(20);
constexpr Duration kBackoffMax = std::chrono::milliseconds(500);

std::vector<std::string> WithPorts(std::vector<std::string> brokers) {
  for (std::string& broker : brokers) {
    const bool bare_ipv6 = broker.find(':') != broker.rfind(':') && broker.front() != '[' && broker.find('/') == std::string::npos &&
                           broker.find(",") == std::string::npos;
    if (bare_ipv6) broker = "[" + broker + "]";
    const size_t colon = broker.rfind(':');
    if (colon == std::string::npos || broker.back() == ']') broker += ":" + std::to_string(kDefaultPort);
  }
  return brokers;
}

// Whether another broker, or the same one a little later, may do better.
bool WorthAnotherAttempt(const Error& error, bool idempotent) {
  if (error.reason() == reasons::kNotInitialized) return false;  // somebody has to act first
  switch (error.retry()) {
    case Retry::kSafe: return true;
    case Retry::kIfIdempotent:
      return idempotent && (error.code() == ErrorCode::kUnavailable || error.code() == ErrorCode::kDeadlineExceeded ||
                            error.reason() == reasons::kOutcomeUnknown);
    case Retry::kNever: return false;
  }
  return false;
}

// The last attempt was cut off by the end of the time, which says nothing; what a broker said before does.
Error WithWhatWasSaid(const Error& cut_off, const Error& said) {
  if (said.ok() || cut_off.reason() != reasons::kDeadlineExceeded) return cut_off;
  return Error(cut_off.code(), cut_off.reason(), cut_off.retry(),
               std::string(cut_off.message()) + "; before, the answer was: " + std::string(said.message()));
}

}  // namespace

Client::Client(ClientOptions options)
    : options_(std::move(options)), view_(clock_, WithPorts(options_.brokers)), worker_([this] { RunTasks(); }) {}

Client::~Client() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wakeup_.notify_all();
  worker_.join();
}

std::shared_ptr<Connection> Client::ConnectionTo(const std::string& address) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Connection>& connection = connections_[address];
  if (!connection) connection = std::make_shared<Connection>(address, options_.connection);
  return connection;
}

void Client::Post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    tasks_.push_back(std::move(task));
  }
  wakeup_.notify_one();
}

void Client::RunTasks() {
  std::unique_lock lock(mutex_);
  while (true) {
    wakeup_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (stopping_) return;
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
}

Error Client::Call(const std::string& method, const google::protobuf::MessageLite& request, google::protobuf::MessageLite* response,
                   const CallOptions& options) {
  const Duration timeout = options.timeout.value_or(options_.call_timeout);
  const MonotonicTime deadline = clock_.Now() + timeout;
  const std::string bytes = request.SerializeAsString();
  Duration backoff = kBackoffMin;
  Error last;
  Error said;  // by a broker, lately
  std::map<std::string, Error> unreachable;
  while (true) {
    const std::vector<std::string> candidates = options.address.empty() ? view_.Addresses() : std::vector<std::string>{options.address};
    if (candidates.empty()) {
      return Error(ErrorCode::kInvalidArgument, reasons::kInvalidArgument, Retry::kNever,
                   "no broker is given; name at least one as HOST:PORT");
    }
    const auto untried = std::find_if(candidates.begin(), candidates.end(), [&](const std::string& c) { return !unreachable.contains(c); });
    if (untried == candidates.end()) {
      std::string all;
      for (const auto& [address, error] : unreachable) all += "\n  " + std::string(error.message());
      return Error(ErrorCode::kUnavailable, reasons::kUnreachable, Retry::kSafe, "no broker can be reached:" + all);
    }
    const Duration left = deadline - clock_.Now();
    if (left <= Duration::zero()) return WithWhatWasSaid(last, said);
    const std::string address = *untried;
    const Duration attempt = options.idempotent && options.address.empty() ? std::min(left, options_.attempt_timeout) : left;
    Result<std::string> answer = ConnectionTo(address)->Call(method, bytes, attempt);
    if (answer.ok()) {
      view_.Reached(address);
      if (response->ParseFromString(*answer)) return {};
      return Error(ErrorCode::kInternal, reasons::kCorruptMessage, Retry::kIfIdempotent,
                   address + ": the answer to " + method + " does not decode; is that a Flotilla broker?");
    }
    last = answer.error();
    if (!options.address.empty() || !WorthAnotherAttempt(last, options.idempotent)) return WithWhatWasSaid(last, said);
    if (last.reason() != reasons::kDeadlineExceeded && last.reason() != reasons::kUnreachable) said = last;
    if (last.reason() == reasons::kUnreachable) {
      unreachable.emplace(address, last);
      view_.Avoid(address);
      continue;  // the next one at once
    }
    if (last.code() == ErrorCode::kUnavailable || last.code() == ErrorCode::kDeadlineExceeded) view_.Avoid(address);
    const Duration pause = std::max(backoff, last.retry_after());
    if (clock_.Now() + pause >= deadline) return WithWhatWasSaid(last, said);
    if (options.on_retry) options.on_retry(last);
    std::this_thread::sleep_for(pause);
    backoff = std::min(backoff * 2, kBackoffMax);
  }
}

Result<int32_t> Client::PartitionCount(const std::string& topic, std::optional<Duration> timeout) {
  if (const auto known = view_.PartitionCount(topic)) return *known;
  if (Error error = RefreshTopic(topic, timeout); !error.ok()) return error;
  if (const auto known = view_.PartitionCount(topic)) return *known;
  return Error(ErrorCode::kNotFound, reasons::kTopicNotFound, Retry::kNever, "topic \"" + topic + "\" does not exist; create it first");
}

Error Client::RefreshTopic(const std::string& topic, std::optional<Duration> timeout) {
  v1::GetMetadataRequest request;
  request.add_topics()->set_name(topic);
  v1::GetMetadataResponse response;
  Error error = Call("/flotilla.v1.ClusterService/GetMetadata", request, &response, {.timeout = timeout});
  if (error.reason() == reasons::kTopicNotFound) view_.Forget(topic);
  if (error.ok()) view_.Learn(response);
  return error;
}

std::string NewRequestId() {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id;
  for (int i = 0; i < 32; ++i) id += kDigits[random() % kDigits.size()];
  return id;
}

}  // namespace flotilla::client
