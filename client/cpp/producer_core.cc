#include "client/cpp/producer_core.h"

#include <algorithm>
#include <utility>

#include "client/cpp/produce_wire.h"
#include "flotilla/v1/produce.pb.h"
#include "proto/partitioner.h"
#include "storage/base/crc32c.h"

namespace flotilla::client {
namespace {

constexpr char kProduceStream[] = "/flotilla.v1.ProduceService/ProduceStream";
constexpr char kGetServerInfo[] = "/flotilla.v1.ClusterService/GetServerInfo";  // which a node answers by itself
constexpr Duration kScanEvery = std::chrono::milliseconds(10);                  // how late retries and timeouts may be noticed
constexpr Duration kRefreshTimeout = std::chrono::seconds(2);
constexpr size_t kFirstChunkBytes = size_t{4} << 10;
// While a node owes answers for so much, batches that are due and not full stay open: they would wait there, and can grow instead.
// Else each batch stays small for ever when there are many partitions. 20 ms of 100 MB/s; full batches are sent nevertheless.
constexpr size_t kUnansweredBytesMax = size_t{2} << 20;
constexpr size_t kRecordBytesMax = size_t{8'000'000};  // a request has 8 MiB, of which a little frames it

Error ErrorOf(const v1::Error& error) { return Error::From(error); }

Delivery DeliveryOf(const v1::ProduceStreamResponse& answer) {
  if (answer.has_error()) return {.error = ErrorOf(answer.error())};
  if (answer.response().results_size() != 1) {
    return {.error = Error(ErrorCode::kInternal, reasons::kCorruptMessage, Retry::kIfIdempotent,
                           "one batch was sent, the broker answered " + std::to_string(answer.response().results_size()) + " results")};
  }
  const v1::ProduceResult& result = answer.response().results(0);
  if (result.has_error()) return {.error = ErrorOf(result.error())};
  if (result.placements_size() == 0) return {};
  const v1::Placement& placement = result.placements(0);
  if (placement.has_error()) return {.error = ErrorOf(placement.error())};
  return {.base_offset = placement.has_base_offset() ? placement.base_offset() : -1,
          .deduplicated = placement.deduplicated(),
          .append_timestamp_ms = placement.append_timestamp_ms()};
}

}  // namespace

class ProducerCore::NodeStream final : public StreamEvents, public std::enable_shared_from_this<NodeStream> {
 public:
  NodeStream(std::weak_ptr<ProducerCore> core, std::string to) : address(std::move(to)), core_(std::move(core)) {}

  void OnMessage(Bytes message) override {
    if (const auto core = core_.lock()) core->OnMessage(shared_from_this(), message);
  }
  void OnWritten() override {
    if (const auto core = core_.lock()) core->OnWritten(shared_from_this());
  }
  void OnEnd(const Error& error) override {
    if (const auto core = core_.lock()) core->OnEnd(shared_from_this(), error);
  }

  const std::string address;
  // Guarded by the core's mutex.
  std::shared_ptr<Stream> stream;
  std::deque<Outgoing> queue;
  size_t unanswered_bytes = 0;
  std::deque<size_t> waiting;  // lanes whose batch is due, for answers; entries may be out of date
  bool writing = false;
  bool ended = false;
  bool answered = false;          // the node is alive
  MonotonicTime heard_at{};       // of the node, here or by the probe
  std::shared_ptr<Stream> probe;  // null: none is on its way
  MonotonicTime probed_at{};
  std::map<int64_t, Written> unanswered;  // by correlation id, which is the order of sending
 private:
  const std::weak_ptr<ProducerCore> core_;
};

class ProducerCore::Probe final : public StreamEvents {
 public:
  Probe(std::weak_ptr<ProducerCore> core, std::shared_ptr<NodeStream> stream) : core_(std::move(core)), stream_(std::move(stream)) {}

  void OnMessage(Bytes) override { Answered(); }
  void OnWritten() override {}
  void OnEnd(const Error& error) override {
    const bool refused = !error.ok() && error.code() != ErrorCode::kUnavailable && error.code() != ErrorCode::kCancelled;
    if (refused) Answered();
  }

 private:
  void Answered() {
    if (const auto core = core_.lock()) core->OnProbeAnswered(stream_);
  }
  const std::weak_ptr<ProducerCore> core_;
  const std::shared_ptr<NodeStream> stream_;
};

ProducerCore::ProducerCore(Client& client, const ProducerOptions& options, int32_t partition_count, ProducerIdentity identity)
    : client_(client),
      options_(options),
      partition_count_(partition_count),
      pool_(std::make_shared<ChunkPool>(options.batch_bytes, options.buffer_bytes)) {
  for (int32_t partition = 0; partition < partition_count; ++partition) {
    const ProduceLaneOptions lane{.partition = partition, .idempotent = options.idempotent, .in_flight_max = options.in_flight_max};
    lanes_.push_back(std::make_unique<Lane>(lane, identity));
  }
}

ProducerCore::~ProducerCore() = default;

void ProducerCore::Start() {
  timer_ = std::thread([this] { RunTimer(); });
}

// --- Taking records

Error ProducerCore::Send(const RecordView& record, const SendOptions& options, bool at_once) {
  const size_t size = EncodedSize(record);
  if (size > kRecordBytesMax) {
    return Error(ErrorCode::kInvalidArgument, reasons::kLimitExceeded, Retry::kNever,
                 "a record of " + std::to_string(size) + " bytes; a request carries at most " + std::to_string(kRecordBytesMax) +
                     ". Store it elsewhere and send a reference");
  }
  if (options.partition && (*options.partition < 0 || *options.partition >= partition_count_)) {
    return Error(ErrorCode::kNotFound, reasons::kPartitionNotFound, Retry::kNever,
                 "topic \"" + options_.topic + "\" has partitions 0 to " + std::to_string(partition_count_ - 1) + ", not " +
                     std::to_string(*options.partition));
  }
  Todo todo;
  {
    std::unique_lock lock(mutex_);
    const auto fits = [&] { return stopped_ || !fatal_.ok() || buffered_bytes_ == 0 || buffered_bytes_ + size <= options_.buffer_bytes; };
    if (!fits()) {
      const bool made_room = options.wait && room_.wait_for(lock, options_.delivery_timeout, fits);
      if (!made_room) {
        return Error(ErrorCode::kResourceExhausted, reasons::kBufferFull, Retry::kSafe,
                     std::to_string(buffered_bytes_) + " bytes wait for acknowledgement, the limit is " +
                         std::to_string(options_.buffer_bytes) + "; wait, or raise buffer_bytes");
      }
    }
    if (stopped_) return Error(ErrorCode::kFailedPrecondition, reasons::kClosed, Retry::kNever, "the producer is closed");
    if (!fatal_.ok()) return fatal_;
    const size_t number = ChooseLane(record, options);
    Lane& lane = *lanes_[number];
    const bool fresh = lane.open == nullptr || lane.open->size() + size > options_.batch_bytes;
    const bool eager = at_once || options_.linger == Duration::zero();
    MonotonicTime now;
    if (fresh || eager) now = client_.clock().Now();
    Append(number, record, size, options, now);
    if (at_once) lane.open_until = now;
    const bool full = lane.open->size() >= options_.batch_bytes;
    if (full && !fresh && !eager) now = client_.clock().Now();
    if (full) Complete(lane);
    if (fresh || full || eager) Pump(number, now, &todo);
  }
  Do(std::move(todo));
  return {};
}

size_t ProducerCore::ChooseLane(const RecordView& record, const SendOptions& options) {
  if (options.partition) return static_cast<size_t>(*options.partition);
  if (record.key) return static_cast<size_t>(PartitionForKey(*record.key, partition_count_));
  // Not into a partition that stands still while others move.
  const auto crowded = [this](const Lane& lane) { return lane.batches.unsettled() > static_cast<size_t>(options_.in_flight_max); };
  for (size_t tried = 0; tried < lanes_.size() && !lanes_[sticky_]->open && crowded(*lanes_[sticky_]); ++tried) {
    sticky_ = (sticky_ + 1) % lanes_.size();
  }
  return sticky_;
}

void ProducerCore::Append(size_t number, const RecordView& record, size_t size, const SendOptions& options, MonotonicTime now) {
  Lane& lane = *lanes_[number];
  if (lane.open && lane.open->size() + size > options_.batch_bytes) Complete(lane);
  if (!lane.open) {
    const size_t guess =
        lane.last_bytes > options_.batch_bytes / 4 ? options_.batch_bytes : std::max(kFirstChunkBytes, lane.last_bytes * 2);
    lane.open = std::make_unique<RecordSetWriter>(*pool_, std::max(std::min(guess, options_.batch_bytes), size), options_.batch_bytes);
    lane.open_batch = std::make_unique<ProduceBatch>();
    lane.open_batch->id = next_id_++;
    lane.open_batch->deadline = now + options_.delivery_timeout;
    lane.open_until = now + options_.linger;
    if (options_.linger > Duration::zero()) {
      due_.emplace_back(lane.open_until, number);
      if (due_.size() == 1) timer_wakeup_.notify_one();
    }
  }
  ProduceBatch& batch = *lane.open_batch;
  if (options.tag) batch.tags.push_back(*options.tag);
  if (options.callback) batch.callbacks.emplace_back(lane.open->records(), options.callback);
  lane.open->Append(record, size);
  buffered_bytes_ += size;
  if (unsettled_records_++ == 0) timer_wakeup_.notify_one();
}

void ProducerCore::Complete(Lane& lane) {
  lane.last_bytes = lane.open->size();
  ProduceBatch& batch = *lane.open_batch;
  batch.record_count = lane.open->records();
  batch.records = lane.open->Finish();
  if (options_.checksum) batch.crc32c = crc32c::Value(batch.records.view());
  lane.batches.Add(std::move(lane.open_batch));
  lane.open.reset();
  if (&lane == lanes_[sticky_].get()) sticky_ = (sticky_ + 1) % lanes_.size();
}

// --- Sending

void ProducerCore::Pump(size_t number, MonotonicTime now, Todo* todo) {
  Lane& lane = *lanes_[number];
  while (!stopped_) {
    // An open batch that is due stays open while there is no room: it would only wait, and can grow instead.
    const bool due = lane.open && (flushing_ > 0 || lane.open_until <= now);
    if (due && lane.batches.HasRoom(now) && !MustWait(number)) Complete(lane);
    if (lane.batches.NeedsIdentity() && !lane.identity_asked) {
      lane.identity_asked = true;
      todo->identities.push_back(number);
    }
    if (!lane.batches.CanSend(now)) return;
    const std::shared_ptr<NodeStream> stream = StreamFor(number);
    if (!stream) return;
    const ProduceBatch& batch = *lane.batches.NextToSend(now);
    const auto correlation_id = static_cast<int64_t>(next_id_++);
    const ProduceTarget target{.topic = options_.topic, .partition = static_cast<int32_t>(number), .acks = static_cast<int>(options_.acks)};
    stream->queue.push_back({correlation_id, EncodeProduce(correlation_id, target, batch, options_.checksum)});
    stream->unanswered[correlation_id] = {.lane = number, .batch_id = batch.id, .bytes = batch.records.size(), .since = now};
    stream->unanswered_bytes += batch.records.size();
    StartWrite(stream, todo);
  }
}

std::shared_ptr<ProducerCore::NodeStream> ProducerCore::StreamFor(size_t number) {
  Lane& lane = *lanes_[number];
  const std::string address = client_.view().AddressFor(options_.topic, static_cast<int32_t>(number));
  if (lane.stream && !lane.stream->ended && lane.stream->address == address) return lane.stream;
  // What is on its way there has to be answered first: two ways would overtake each other.
  if (lane.batches.outstanding() > 0) return nullptr;
  std::shared_ptr<NodeStream>& stream = streams_[address];
  if (!stream || stream->ended) {
    stream = std::make_shared<NodeStream>(weak_from_this(), address);
    Metadata metadata;
    if (options_.require_leader) metadata.emplace_back("flotilla-require-leader", "1");
    stream->stream = client_.ConnectionTo(address)->Open(kProduceStream, metadata, stream);
  }
  lane.stream = stream;
  return stream;
}

// Whether the open batch of the lane had better grow, because what is sent now waits. It is looked at again when there is room.
bool ProducerCore::MustWait(size_t number) {
  Lane& lane = *lanes_[number];
  const std::shared_ptr<NodeStream>& stream = lane.stream;
  if (!stream || stream->ended || stream->unanswered_bytes < kUnansweredBytesMax) return false;
  if (stream->address != client_.view().AddressFor(options_.topic, static_cast<int32_t>(number))) return false;
  if (lane.waits_for != stream.get()) stream->waiting.push_back(number);
  lane.waits_for = stream.get();
  return true;
}

void ProducerCore::Refill(const std::shared_ptr<NodeStream>& stream, MonotonicTime now, Todo* todo) {
  while (!stream->waiting.empty() && (stream->ended || stream->unanswered_bytes < kUnansweredBytesMax)) {
    const size_t number = stream->waiting.front();
    stream->waiting.pop_front();
    if (lanes_[number]->waits_for != stream.get()) continue;
    lanes_[number]->waits_for = nullptr;
    Pump(number, now, todo);
  }
}

void ProducerCore::StartWrite(const std::shared_ptr<NodeStream>& stream, Todo* todo) {
  if (stream->writing || stream->ended || stream->queue.empty()) return;
  Outgoing next = std::move(stream->queue.front());
  stream->queue.pop_front();
  stream->writing = true;
  stream->unanswered[next.correlation_id].started = true;
  todo->writes.push_back({stream, std::move(next.pieces), !stream->queue.empty()});
}

void ProducerCore::EndStream(const std::shared_ptr<NodeStream>& stream, const Error& error, MonotonicTime now, Todo* todo) {
  if (stream->ended) return;
  stream->ended = true;
  stream->queue.clear();
  stream->unanswered_bytes = 0;
  if (stream->probe) todo->probes.push_back(std::move(stream->probe));
  if (const auto it = streams_.find(stream->address); it != streams_.end() && it->second == stream) streams_.erase(it);
  if (error.code() == ErrorCode::kUnavailable || error.code() == ErrorCode::kDeadlineExceeded) {
    client_.view().Avoid(stream->address);
  }
  const std::map<int64_t, Written> lost = std::exchange(stream->unanswered, {});
  for (const auto& [correlation_id, written] : lost) {
    ProduceLane& lane = lanes_[written.lane]->batches;
    if (error.retry() == Retry::kNever) {
      lane.OnAnswer(written.batch_id, {.error = error}, now, &todo->settled);
    } else {
      const bool sent = written.started && error.reason() != reasons::kUnreachable;
      lane.OnLost(written.batch_id, error, sent, now, &todo->settled);
    }
  }
  todo->refresh = true;
  for (const auto& [correlation_id, written] : lost) Pump(written.lane, now, todo);
  Refill(stream, now, todo);
}

// --- What streams tell

void ProducerCore::OnMessage(const std::shared_ptr<NodeStream>& stream, const Bytes& message) {
  v1::ProduceStreamResponse answer;
  const bool decoded = answer.ParseFromArray(message.data(), static_cast<int>(message.size()));
  Todo todo;
  std::shared_ptr<Stream> read_on;
  {
    const std::lock_guard lock(mutex_);
    if (stream->ended) return;
    read_on = stream->stream;
    const MonotonicTime now = client_.clock().Now();
    stream->heard_at = now;
    if (!std::exchange(stream->answered, true)) client_.view().Reached(stream->address);
    for (const v1::LeaderHint& hint : answer.response().leaders()) client_.view().Learn(hint);
    const auto it = stream->unanswered.find(answer.correlation_id());
    if (decoded && !answer.has_heartbeat() && it != stream->unanswered.end()) {
      const Written written = it->second;
      stream->unanswered.erase(it);
      stream->unanswered_bytes -= written.bytes;
      const Delivery delivery = DeliveryOf(answer);
      if (delivery.error.reason() == reasons::kFenced) fatal_ = delivery.error;
      lanes_[written.lane]->batches.OnAnswer(written.batch_id, delivery, now, &todo.settled);
      if (delivery.error.reason() == reasons::kNotLeader || delivery.error.reason() == reasons::kNoLeader) {
        todo.refresh = true;
      }
      if (!fatal_.ok()) {
        for (const auto& lane : lanes_) lane->batches.FailAll(fatal_, &todo.settled);
      }
      Pump(written.lane, now, &todo);
      Refill(stream, now, &todo);
    }
  }
  read_on->Read();
  Do(std::move(todo));
}

void ProducerCore::OnWritten(const std::shared_ptr<NodeStream>& stream) {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    stream->writing = false;
    StartWrite(stream, &todo);
  }
  Do(std::move(todo));
}

void ProducerCore::OnEnd(const std::shared_ptr<NodeStream>& stream, const Error& error) {
  Todo todo;
  std::shared_ptr<Stream> released;
  {
    const std::lock_guard lock(mutex_);
    released = std::move(stream->stream);
    const Error why = !error.ok() ? error
                                  : Error(ErrorCode::kUnavailable, reasons::kConnectionLost, Retry::kIfIdempotent,
                                          stream->address + ": the broker ended the stream");
    if (!stopped_) EndStream(stream, why, client_.clock().Now(), &todo);
  }
  Do(std::move(todo));
}

void ProducerCore::OnProbeAnswered(const std::shared_ptr<NodeStream>& stream) {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    stream->heard_at = client_.clock().Now();
    if (stream->probe) todo.probes.push_back(std::move(stream->probe));
  }
  Do(std::move(todo));
}

// --- Without the mutex

void ProducerCore::Do(Todo todo) {
  for (auto& [stream, pieces, more_follows] : todo.writes) {
    std::shared_ptr<Stream> to;
    {
      const std::lock_guard lock(mutex_);
      to = stream->stream;
    }
    if (to) to->Write(std::move(pieces), more_follows);
  }
  if (!todo.settled.empty()) Deliver(todo.settled);
  for (const auto& stream : todo.cancelled) {
    std::shared_ptr<Stream> to;
    {
      const std::lock_guard lock(mutex_);
      to = stream->stream;
    }
    if (to) to->Cancel();
  }
  for (const auto& probe : todo.probes) probe->Cancel();
  if (todo.refresh) AskForLeaders();
  for (const size_t lane : todo.identities) AskForIdentity(lane);
}

void ProducerCore::Deliver(std::vector<SettledBatch>& settled) {
  size_t bytes = 0;
  size_t records = 0;
  for (SettledBatch& one : settled) {
    ProduceBatch& batch = *one.batch;
    bytes += batch.records.size();
    records += static_cast<size_t>(batch.record_count);
    one.delivery.tags = batch.tags;
    if (options_.on_delivery) options_.on_delivery(one.delivery);
    for (auto& [number, callback] : batch.callbacks) {
      const int64_t base = one.delivery.base_offset;
      callback(one.delivery.error, one.delivery.partition, base < 0 ? -1 : base + number);
    }
    batch.records = {};  // back into the pool before somebody waits for room
  }
  {
    const std::lock_guard lock(mutex_);
    buffered_bytes_ -= bytes;
    unsettled_records_ -= records;
  }
  room_.notify_all();
}

Error ProducerCore::Flush(Duration timeout) {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    ++flushing_;
    const MonotonicTime now = client_.clock().Now();
    for (size_t lane = 0; lane < lanes_.size(); ++lane) Pump(lane, now, &todo);
  }
  Do(std::move(todo));
  std::unique_lock lock(mutex_);
  const bool done = room_.wait_for(lock, timeout, [this] { return unsettled_records_ == 0 || stopped_; });
  --flushing_;
  if (done && unsettled_records_ == 0) return {};
  return Error(ErrorCode::kDeadlineExceeded, reasons::kTimedOut, Retry::kSafe,
               std::to_string(unsettled_records_) + " records are not acknowledged yet");
}

void ProducerCore::Stop() {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    stopped_ = true;
    const Error closed(ErrorCode::kCancelled, reasons::kClosed, Retry::kIfIdempotent,
                       "the producer was closed before this was acknowledged; it may or may not be appended");
    for (const auto& lane : lanes_) {
      if (lane->open) Complete(*lane);
      lane->batches.FailAll(closed, &todo.settled);
    }
    for (const auto& [address, stream] : streams_) {
      if (stream->probe) todo.probes.push_back(std::move(stream->probe));
      todo.cancelled.push_back(stream);
    }
  }
  room_.notify_all();
  timer_wakeup_.notify_all();
  Do(std::move(todo));
  timer_.join();
}

// --- Time

void ProducerCore::CheckTimes(MonotonicTime now, Todo* todo) {
  while (!due_.empty() && due_.front().first <= now) {
    const size_t lane = due_.front().second;
    due_.pop_front();
    Pump(lane, now, todo);
  }
  if (now < scanned_ + kScanEvery || unsettled_records_ == 0) return;
  scanned_ = now;
  for (size_t number = 0; number < lanes_.size(); ++number) {
    ProduceLane& lane = lanes_[number]->batches;
    if (lane.unsettled() == 0 && !lanes_[number]->open) continue;
    lane.Expire(now, &todo->settled);
    Pump(number, now, todo);
  }
  for (const auto& [address, stream] : std::map(streams_)) CheckStream(stream, now, todo);
}

void ProducerCore::CheckStream(const std::shared_ptr<NodeStream>& stream, MonotonicTime now, Todo* todo) {
  if (stream->unanswered.empty()) return;
  const MonotonicTime since = stream->unanswered.begin()->second.since;
  if (now - since >= options_.request_timeout) {
    client_.view().Avoid(stream->address);
    todo->cancelled.push_back(stream);  // OnEnd follows, and counts everything on it as lost
    return;
  }
  if (!options_.idempotent) return;  // what is lost would not be repeated: better late than never
  const Duration quiet = options_.silence_max / 3;
  if (!stream->probe) {
    if (now - std::max(since, stream->heard_at) >= quiet) StartProbe(stream, now);
    return;
  }
  if (now - stream->probed_at < options_.silence_max - quiet) return;
  const Error silent(ErrorCode::kUnavailable, reasons::kConnectionLost, Retry::kIfIdempotent,
                     stream->address + ": says nothing any more, not even that it is there; is it frozen?");
  EndStream(stream, silent, now, todo);
  todo->cancelled.push_back(stream);
}

// Only writes, as opening a stream does: gRPC calls back on its own threads, which wait for the mutex.
void ProducerCore::StartProbe(const std::shared_ptr<NodeStream>& stream, MonotonicTime now) {
  stream->probed_at = now;
  stream->probe = client_.ConnectionTo(stream->address)->Open(kGetServerInfo, {}, std::make_shared<Probe>(weak_from_this(), stream));
  stream->probe->Write({Bytes(std::string())}, false);  // the request has no fields
  stream->probe->CloseWrites();
}

MonotonicTime ProducerCore::NextTime() const {
  MonotonicTime next = unsettled_records_ > 0 ? scanned_ + kScanEvery : MonotonicTime::max();
  if (!due_.empty()) next = std::min(next, due_.front().first);
  return next;
}

void ProducerCore::RunTimer() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    const MonotonicTime next = NextTime();
    if (next == MonotonicTime::max()) {
      timer_wakeup_.wait(lock);
    } else {
      timer_wakeup_.wait_until(lock, next);
    }
    if (stopped_) return;
    Todo todo;
    CheckTimes(client_.clock().Now(), &todo);
    lock.unlock();
    Do(std::move(todo));
    lock.lock();
  }
}

// --- What takes time, on the client's thread

void ProducerCore::AskForLeaders() {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_ || std::exchange(refresh_pending_, true)) return;
  }
  client_.Post([weak = weak_from_this(), &client = client_, topic = options_.topic] {
    // A failure shows again with the next attempt to send.
    const Error ignored = client.RefreshTopic(topic, kRefreshTimeout);
    if (const auto core = weak.lock()) {
      const std::lock_guard lock(core->mutex_);
      core->refresh_pending_ = false;
    }
  });
}

void ProducerCore::AskForIdentity(size_t number) {
  client_.Post([weak = weak_from_this(), &client = client_, number] {
    v1::InitProducerRequest request;
    request.set_request_id(NewRequestId());
    v1::InitProducerResponse response;
    const Error error = client.Call("/flotilla.v1.ProduceService/InitProducer", request, &response);
    const auto core = weak.lock();
    if (!core) return;
    Todo todo;
    {
      const std::lock_guard lock(core->mutex_);
      Lane& lane = *core->lanes_[number];
      lane.identity_asked = false;  // after a failure the next scan asks again, until the records expire
      if (core->stopped_ || !error.ok() || !lane.batches.NeedsIdentity()) return;
      lane.batches.SetIdentity({response.producer_id(), response.producer_epoch()}, &todo.settled);
      core->Pump(number, client.clock().Now(), &todo);
    }
    core->Do(std::move(todo));
  });
}

}  // namespace flotilla::client
