#include "client/cpp/consumer_core.h"

#include <algorithm>
#include <utility>

#include "client/cpp/wire_walk.h"
#include "flotilla/v1/common.pb.h"

namespace flotilla::client {
namespace {

constexpr char kSubscribe[] = "/flotilla.v1.ConsumeService/Subscribe";
constexpr Duration kBackoffMin = std::chrono::milliseconds(20);
constexpr Duration kBackoffMax = std::chrono::seconds(1);
constexpr Duration kSilenceMax = std::chrono::seconds(30);  // brokers send heartbeats every 10
constexpr Duration kLookEvery = std::chrono::seconds(5);    // for partitions that were added
constexpr Duration kLookTimeout = std::chrono::seconds(2);

v1::StartPosition PositionOf(const StartAt& start) {
  v1::StartPosition position;
  switch (start.kind) {
    case StartAt::Kind::kEarliest: position.set_point(v1::START_POINT_EARLIEST); break;
    case StartAt::Kind::kLatest: position.set_point(v1::START_POINT_LATEST); break;
    case StartAt::Kind::kOffset: position.set_offset(start.value); break;
    case StartAt::Kind::kTime: position.set_timestamp_ms(start.value); break;
    case StartAt::Kind::kLast: position.set_last_records(start.value); break;
  }
  return position;
}

}  // namespace

class ConsumerCore::Subscription final : public StreamEvents, public std::enable_shared_from_this<Subscription> {
 public:
  Subscription(std::weak_ptr<ConsumerCore> core, std::string to) : address(std::move(to)), core_(std::move(core)) {}

  void OnMessage(Bytes message) override {
    if (const auto core = core_.lock()) core->OnMessage(shared_from_this(), message);
  }
  void OnWritten() override {}
  void OnEnd(const Error& error) override {
    if (const auto core = core_.lock()) core->OnEnd(shared_from_this(), error);
  }

  const std::string address;
  // Guarded by the core's mutex.
  std::shared_ptr<Stream> stream;
  MonotonicTime heard_at;
  bool stalled = false;
  bool left = false;  // what comes from it no longer counts

 private:
  const std::weak_ptr<ConsumerCore> core_;
};

ConsumerCore::ConsumerCore(Client& client, const ConsumerOptions& options, const std::vector<int32_t>& partitions)
    : client_(client), options_(options), backoff_(kBackoffMin) {
  for (const int32_t partition : partitions) partitions_[partition] = {};
  look_at_ = client_.clock().Now() + kLookEvery;
}

Result<ConsumerEvent> ConsumerCore::Next(Duration wait) {
  const MonotonicTime until = client_.clock().Now() + wait;
  std::vector<std::shared_ptr<Stream>> to_read;
  ConsumerEvent event;
  {
    std::unique_lock lock(mutex_);
    while (queue_.empty()) {
      if (!final_error_.ok()) return final_error_;
      if (AllFinished() || stopped_) return ConsumerEvent{.kind = ConsumerEvent::Kind::kEnded};
      const MonotonicTime now = client_.clock().Now();
      Subscribe(now);
      LookForPartitions(now);
      if (failing_since_ && options_.give_up_after > Duration::zero() && now - *failing_since_ > options_.give_up_after) {
        return last_error_.Prefixed("gave up after " + std::to_string((now - *failing_since_) / std::chrono::seconds(1)) + " s");
      }
      if (now >= until) return ConsumerEvent{};
      arrived_.wait_until(lock, std::min({until, now + std::chrono::milliseconds(100), std::max(retry_at_, now + kBackoffMin)}));
    }
    event = std::move(queue_.front());
    queue_.pop_front();
    if (event.kind == ConsumerEvent::Kind::kRecords) {
      queued_bytes_ -= event.message.bytes.size();
      partitions_[event.partition].returned = event.next_offset;
    }
    if (queued_bytes_ < options_.buffer_bytes) {
      for (const auto& subscription : std::exchange(stalled_, {})) {
        subscription->stalled = false;
        subscription->heard_at = client_.clock().Now();
        if (subscription->stream) to_read.push_back(subscription->stream);
      }
    }
  }
  for (const auto& stream : to_read) stream->Read();
  return event;
}

void ConsumerCore::Stop() {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    for (const auto& subscription : subscriptions_) {
      if (subscription->stream) streams.push_back(subscription->stream);
    }
  }
  arrived_.notify_all();
  for (const auto& stream : streams) stream->Cancel();
}

std::vector<std::pair<int32_t, int64_t>> ConsumerCore::Positions() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<int32_t, int64_t>> positions;
  for (const auto& [number, partition] : partitions_) positions.emplace_back(number, partition.returned);
  return positions;
}

// --- Subscribing

void ConsumerCore::Subscribe(MonotonicTime now) {
  for (const auto& subscription : std::vector(subscriptions_)) {
    if (!subscription->stalled && now - subscription->heard_at > kSilenceMax) {
      client_.view().Avoid(subscription->address);
      Leave(subscription);
    }
  }
  if (now < retry_at_) return;
  std::map<std::string, std::vector<int32_t>> by_address;
  for (const auto& [number, partition] : partitions_) {
    if (!partition.finished && !partition.from) {
      by_address[client_.view().AddressFor(options_.topic, number)].push_back(number);
    }
  }
  for (const auto& [address, numbers] : by_address) {
    const auto subscription = std::make_shared<Subscription>(weak_from_this(), address);
    subscription->heard_at = now;
    for (const int32_t number : numbers) partitions_[number].from = subscription;
    subscriptions_.push_back(subscription);
    // Only written to: gRPC calls back on its own threads, which wait for the mutex.
    subscription->stream = client_.ConnectionTo(address)->Open(kSubscribe, {}, subscription);
    subscription->stream->Write({Bytes(RequestFor(numbers).SerializeAsString())}, false);
    subscription->stream->CloseWrites();
  }
}

v1::SubscribeRequest ConsumerCore::RequestFor(const std::vector<int32_t>& numbers) const {
  v1::SubscribeRequest request;
  request.set_until_end(options_.until_end);
  for (const int32_t number : numbers) {
    const Partition& partition = partitions_.at(number);
    v1::SubscribeTopic& topic = *request.add_topics();
    topic.mutable_topic()->set_name(options_.topic);
    topic.add_partitions(number);
    if (partition.received >= 0) {
      topic.mutable_start()->set_offset(partition.received);
    } else if (!partition.added) {
      *topic.mutable_start() = PositionOf(options_.start);
    }
  }
  return request;
}

void ConsumerCore::Leave(const std::shared_ptr<Subscription>& subscription) {
  if (std::exchange(subscription->left, true)) return;
  std::erase(subscriptions_, subscription);
  std::erase(stalled_, subscription);
  for (auto& [number, partition] : partitions_) {
    if (partition.from == subscription) partition.from.reset();
  }
  if (subscription->stream) subscription->stream->Cancel();
}

void ConsumerCore::LookForPartitions(MonotonicTime now) {
  if (!options_.partitions.empty() || options_.until_end || now < look_at_ || looking_) return;
  looking_ = true;
  client_.Post([weak = weak_from_this(), &client = client_, topic = options_.topic] {
    const Error ignored = client.RefreshTopic(topic, kLookTimeout);  // asked again soon
    const auto core = weak.lock();
    if (!core) return;
    const std::lock_guard lock(core->mutex_);
    core->looking_ = false;
    core->look_at_ = client.clock().Now() + kLookEvery;
    for (int32_t number = 0; number < client.view().PartitionCount(topic).value_or(0); ++number) {
      core->partitions_.try_emplace(number, Partition{.added = true});
    }
  });
}

// --- What comes

void ConsumerCore::OnMessage(const std::shared_ptr<Subscription>& from, const Bytes& message) {
  std::shared_ptr<Stream> read_on;
  {
    const std::lock_guard lock(mutex_);
    if (from->left || stopped_) return;
    from->heard_at = client_.clock().Now();
    failing_since_.reset();
    backoff_ = kBackoffMin;
    client_.view().Reached(from->address);
    Take(from, message);
    if (queued_bytes_ < options_.buffer_bytes) {
      read_on = from->stream;
    } else {
      from->stalled = true;
      stalled_.push_back(from);
    }
  }
  arrived_.notify_one();
  if (read_on) read_on->Read();
}

void ConsumerCore::Take(const std::shared_ptr<Subscription>& from, const Bytes& message) {
  // Records are a bytes field of this message: found without parsing them.
  WireWalk walk(message.view());
  if (walk.Next() && walk.field() == 2 && walk.is_bytes()) {
    const auto position = static_cast<size_t>(walk.bytes().data() - message.data());
    return TakeRecords(from, message.Slice(position, walk.bytes().size()));
  }
  v1::SubscribeResponse event;
  if (!event.ParseFromArray(message.data(), static_cast<int>(message.size()))) return Leave(from);
  switch (event.event_case()) {
    case v1::SubscribeResponse::kStarted:
      // From here on a lost stream resumes at these places, not at "latest" again.
      for (const v1::PartitionOffsets& offsets : event.started().partitions()) {
        const auto it = partitions_.find(offsets.partition());
        if (it == partitions_.end()) continue;
        if (it->second.received < 0) it->second.received = offsets.offset();
        if (options_.until_end && it->second.end < 0) it->second.end = offsets.high_watermark();
      }
      return;
    case v1::SubscribeResponse::kCaughtUp:
      return Push({.kind = ConsumerEvent::Kind::kCaughtUp,
                   .partition = event.caught_up().partition(),
                   .next_offset = event.caught_up().next_offset()});
    case v1::SubscribeResponse::kEnded: return Finish(event.ended().partition());
    case v1::SubscribeResponse::kPartitionError: {
      const int32_t number = event.partition_error().partition();
      Push({.kind = ConsumerEvent::Kind::kPartitionError, .partition = number, .error = Error::From(event.partition_error().error())});
      return Finish(number);
    }
    case v1::SubscribeResponse::kLeader: client_.view().Learn(event.leader()); return;
    default: return;  // heartbeats, and what is newer than this client
  }
}

void ConsumerCore::TakeRecords(const std::shared_ptr<Subscription>& from, const Bytes& bytes) {
  Result<FetchedMessage> message = ParseFetchedPartition(bytes, options_.verify_checksum);
  if (!message.ok()) {
    last_error_ = message.error();
    client_.view().Avoid(from->address);
    if (!failing_since_) failing_since_ = client_.clock().Now();
    return Leave(from);
  }
  const int32_t number = message->partition;
  const auto it = partitions_.find(number);
  if (it == partitions_.end() || it->second.from != from || it->second.finished) return;
  Partition& partition = it->second;
  partition.received = message->next_offset;
  const bool at_end = options_.until_end && partition.end >= 0 && partition.received >= partition.end;
  Push({.kind = ConsumerEvent::Kind::kRecords, .partition = number, .next_offset = message->next_offset, .message = *std::move(message)});
  if (at_end) Finish(number);
}

void ConsumerCore::Finish(int32_t number) {
  const auto it = partitions_.find(number);
  if (it != partitions_.end()) it->second.finished = true;
}

void ConsumerCore::Push(ConsumerEvent event) {
  queued_bytes_ += event.message.bytes.size();
  queue_.push_back(std::move(event));
}

bool ConsumerCore::AllFinished() const {
  return std::all_of(partitions_.begin(), partitions_.end(), [](const auto& entry) { return entry.second.finished; });
}

void ConsumerCore::OnEnd(const std::shared_ptr<Subscription>& from, const Error& error) {
  std::shared_ptr<Stream> released;
  bool refresh = false;
  {
    const std::lock_guard lock(mutex_);
    released = std::move(from->stream);
    if (from->left || stopped_) return;
    Leave(from);
    if (error.ok() && AllFinished()) {
      // All that was asked for has come.
    } else if (!error.ok() && error.retry() == Retry::kNever) {
      final_error_ = error;
    } else {
      const MonotonicTime now = client_.clock().Now();
      if (!error.ok()) last_error_ = error;
      if (error.code() == ErrorCode::kUnavailable) client_.view().Avoid(from->address);
      if (!failing_since_) failing_since_ = now;
      retry_at_ = now + std::max(backoff_, error.retry_after());
      backoff_ = std::min(backoff_ * 2, kBackoffMax);
      refresh = true;
    }
  }
  arrived_.notify_one();
  if (!refresh) return;
  client_.Post([&client = client_, topic = options_.topic] {
    const Error ignored = client.RefreshTopic(topic, kLookTimeout);  // without it any node serves
  });
}

}  // namespace flotilla::client
