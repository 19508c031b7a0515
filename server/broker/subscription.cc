#include "server/broker/subscription.h"

#include <algorithm>
#include <utility>

#include "server/broker/call_board.h"
#include "server/broker/describe.h"
#include "server/broker/limits.h"
#include "server/errors/error_codec.h"
#include "server/errors/refusal.h"

namespace flotilla::broker {
namespace {

constexpr size_t kAheadMax = limits::kStreamBufferBytes / limits::kStreamMessageBytes;
// Partitions whose place was not found by then come later, so that one without a leader does not hold up the others.
constexpr Duration kStartWithin = std::chrono::seconds(3);

}  // namespace

Subscription::Subscription(const Surroundings& around, std::string id, const v1::SubscribeRequest& request, const Caller& caller,
                           SubscribeSink& sink, std::function<void()> on_gone, const Synchronise& synchronise)
    : around_(around),
      id_(std::move(id)),
      caller_(caller),
      sink_(sink),
      on_gone_(std::move(on_gone)),
      until_end_(request.until_end()),
      start_by_(around.time.In(kStartWithin)),
      quiet_since_(around.time.now()) {
  const Status resolved = Resolve(request);
  const Refusal missing = RefusalOf(resolved);
  const bool unknown = missing == Refusal::kTopicNotFound || missing == Refusal::kPartitionNotFound;
  if (!unknown) Begin(resolved);
  // It may have been made through another node a moment ago.
  if (unknown)
    synchronise([self = self_, request](const Status& synced) {
      Subscription* subscription = *self;
      if (subscription == nullptr || subscription->ended_) return;
      subscription->Begin(MissingOrUnsure(subscription->Resolve(request), synced));
    });
}

void Subscription::Begin(const Status& resolved) {
  if (!resolved.ok()) return End(resolved);
  resolved_ = true;
  start_by_ = around_.time.In(kStartWithin);
  for (size_t i = 0; i < cursors_.size(); ++i) Locate(i);
}

Subscription::~Subscription() {
  *self_ = nullptr;
  for (const Cursor& cursor : cursors_) {
    if (cursor.read != 0) around_.reads.Cancel(cursor.read);
  }
  around_.buffers.Return(held_);
  if (on_gone_) on_gone_();
}

// --- What to read

Status Subscription::Resolve(const v1::SubscribeRequest& request) {
  if (request.topics().empty()) {
    return Status(Reason::kInvalidArgument, "no topics to subscribe to; name at least one").With("field", "topics");
  }
  if (request.has_credit_bytes()) {
    if (request.credit_bytes() < 1) {
      return Status(Reason::kInvalidArgument,
                    "credit_bytes " + std::to_string(request.credit_bytes()) + " lets nothing through; give at least 1, or leave it out")
          .With("field", "credit_bytes");
    }
    credit_ = request.credit_bytes();
  }
  if (request.min_bytes() < 0 || request.max_wait_ms() < 0) {
    return Status(Reason::kInvalidArgument, "min_bytes and max_wait_ms must not be negative").With("field", "min_bytes");
  }
  min_bytes_ = std::clamp<size_t>(static_cast<size_t>(request.min_bytes()), 1, limits::kStreamMessageBytes);
  max_wait_ = request.max_wait_ms() == 0 ? limits::kSubscribeWaitDefault
                                         : std::min<Duration>(std::chrono::milliseconds(request.max_wait_ms()), limits::kSubscribeWaitMax);
  cursors_.clear();
  by_partition_.clear();
  grows_.clear();
  const metadata::Image& image = *around_.metadata.image();
  for (const v1::SubscribeTopic& wanted : request.topics()) {
    const Result<const metadata::Topic*> topic = FindTopic(wanted.topic(), image);
    if (!topic.ok()) return topic.status();
    const Result<partition::StartPosition> start = StartOf(wanted.start());
    if (!start.ok()) return start.status();
    FLOTILLA_RETURN_IF_ERROR(AddCursors(wanted, **topic, *start));
    if (!wanted.partitions().empty()) continue;
    grows_.push_back(wanted);
    *grows_.back().mutable_topic() = RefOf(**topic);
  }
  return {};
}

Status Subscription::AddCursors(const v1::SubscribeTopic& wanted, const metadata::Topic& topic, const partition::StartPosition& start) {
  std::vector<int32_t> partitions(wanted.partitions().begin(), wanted.partitions().end());
  if (partitions.empty()) {
    for (size_t i = 0; i < topic.partitions.size(); ++i) partitions.push_back(static_cast<int32_t>(i));
  }
  for (const int32_t partition : partitions) {
    const Result<metadata::PartitionKey> key = FindPartition(RefOf(topic), partition, *around_.metadata.image());
    if (!key.ok()) return key.status();
    if (!by_partition_.emplace(std::pair{key->topic, key->partition}, cursors_.size()).second) {
      return Status(Reason::kInvalidArgument,
                    "partition " + topic.name + "/" + std::to_string(partition) + " is named twice; once is enough")
          .With("field", "topics");
    }
    if (cursors_.size() == limits::kRequestItemsMax) {
      return Status(Reason::kLimitExceeded,
                    "more than " + std::to_string(limits::kRequestItemsMax) + " partitions in one subscription; open several")
          .With("field", "topics")
          .With("limit", limits::kRequestItemsMax);
    }
    Cursor cursor;
    cursor.key = *key;
    cursor.topic = RefOf(topic);
    cursor.start = start;
    cursors_.push_back(std::move(cursor));
  }
  return {};
}

void Subscription::OnMetadata() {
  if (ended_ || !resolved_) return;
  const metadata::Image& image = *around_.metadata.image();
  for (const v1::SubscribeTopic& wanted : grows_) {
    const Result<const metadata::Topic*> topic = FindTopic(wanted.topic(), image);
    if (!topic.ok()) continue;  // its cursors find out
    for (const auto& partition : (*topic)->partitions) {
      if (until_end_ || by_partition_.contains({(*topic)->id, partition->number}) || cursors_.size() == limits::kRequestItemsMax) continue;
      v1::SubscribeTopic added = wanted;
      added.add_partitions(static_cast<int32_t>(partition->number));
      if (!AddCursors(added, **topic, partition::Earliest{}).ok()) continue;
      Locate(cursors_.size() - 1);
    }
  }
}

// --- Where to begin

void Subscription::Locate(size_t index) {
  Cursor& cursor = cursors_[index];
  cursor.read = around_.reads.Locate({.partition = cursor.key, .start = cursor.start, .deadline = raft::kNever}, caller_, index, *this);
}

void Subscription::OnLocated(size_t index, ReadAnswer answer) {
  Cursor& cursor = cursors_[index];
  cursor.located = true;
  if (!answer.status.ok()) return Fail(index, answer.status);
  cursor.offset = cursor.next = answer.result.start_offset;
  cursor.log_start = answer.result.log_start_offset;
  cursor.end = answer.result.high_watermark;
  cursor.behind = cursor.next < cursor.end;
  NoteLeader(&cursor, answer);
  cursor.stage = Stage::kIdle;
  if (started_) {
    NoteEnd(index);
    if (cursor.stage == Stage::kIdle) idle_.push_back(index);
    return;
  }
  if (std::all_of(cursors_.begin(), cursors_.end(), [](const Cursor& other) { return other.located; })) SendStarted();
}

void Subscription::SendStarted() {
  started_ = true;
  v1::SubscribeResponse event;
  v1::SubscriptionStarted& started = *event.mutable_started();
  started.set_subscription_id(id_);
  for (const Cursor& cursor : cursors_) {
    if (!cursor.located || cursor.stage == Stage::kOver) continue;
    v1::PartitionOffsets& offsets = *started.add_partitions();
    *offsets.mutable_topic() = cursor.topic;
    offsets.set_partition(static_cast<int32_t>(cursor.key.partition));
    offsets.set_offset(static_cast<int64_t>(cursor.offset.value()));
    offsets.set_log_start_offset(static_cast<int64_t>(cursor.log_start.value()));
    offsets.set_high_watermark(static_cast<int64_t>(cursor.end.value()));
  }
  // It is the first of all: what was noted while places were looked up comes behind it.
  events_.push_front(std::move(event));
  for (size_t i = 0; i < cursors_.size(); ++i) {
    if (cursors_[i].stage != Stage::kIdle) continue;
    NoteEnd(i);
    if (cursors_[i].stage == Stage::kIdle) idle_.push_back(i);
  }
}

// --- Reading

void Subscription::StartReads() {
  for (size_t count = idle_.size(); count > 0; --count) {
    const size_t index = idle_.front();
    idle_.pop_front();
    Cursor& cursor = cursors_[index];
    if (cursor.stage != Stage::kIdle) continue;
    if (!MayRead(cursor)) {
      idle_.push_back(index);
      continue;
    }
    if (cursor.behind) {
      ++ahead_;
      cursor.held = limits::kStreamMessageBytes;
      Hold(cursor.held);
    }
    cursor.stage = Stage::kReading;
    cursor.read = around_.reads.Fetch({.partition = cursor.key,
                                       .start = cursor.next,
                                       .min_bytes = cursor.behind ? 1 : min_bytes_,
                                       .max_bytes = limits::kStreamMessageBytes,
                                       .max_wait = min_bytes_ > 1 && !cursor.behind ? max_wait_ : limits::kSubscribePoll,
                                       .deadline = raft::kNever},
                                      caller_, index, *this);
  }
}

bool Subscription::MayRead(const Cursor& cursor) const {
  if (!cursor.behind) return true;
  if (ahead_ >= kAheadMax) return false;
  return around_.buffers.MayRead(held_) && (has_credit() || !around_.buffers.scarce());
}

void Subscription::PutBack() {
  for (; !ready_.empty(); ready_.pop_front()) {
    Cursor& cursor = cursors_[ready_.front()];
    cursor.next = cursor.message.start_offset;
    cursor.behind = true;
    cursor.message = {};
    cursor.stage = Stage::kIdle;
    Drop(std::exchange(cursor.held, 0));
    --ahead_;
    idle_.push_back(ready_.front());
  }
}

void Subscription::Hold(size_t bytes) {
  held_ += bytes;
  around_.buffers.Take(bytes);
}

void Subscription::Drop(size_t bytes) {
  held_ -= bytes;
  around_.buffers.Return(bytes);
}

void Subscription::OnRead(uint64_t token, ReadAnswer answer) {
  const auto index = static_cast<size_t>(token);
  cursors_[index].read = 0;
  if (ended_) return;
  if (cursors_[index].stage == Stage::kLocating) {
    OnLocated(index, std::move(answer));
  } else {
    OnMessage(index, std::move(answer));
  }
  Pump();
}

void Subscription::OnMessage(size_t index, ReadAnswer answer) {
  Cursor& cursor = cursors_[index];
  if (cursor.behind) --ahead_;
  Drop(std::exchange(cursor.held, 0));
  if (!answer.status.ok()) return Fail(index, answer.status);
  NoteLeader(&cursor, answer);
  partition::FetchResult& result = answer.result;
  if (until_end_) {
    const size_t beyond =
        std::erase_if(result.batches, [&](const partition::FetchedBatch& batch) { return batch.base_offset >= cursor.end; });
    if (beyond != 0)
      result.next_offset = result.batches.empty() ? cursor.end : result.batches.back().base_offset + result.batches.back().record_count;
  }
  cursor.behind = result.next_offset < result.high_watermark;
  cursor.log_start = result.log_start_offset;
  if (result.batches.empty()) {
    cursor.stage = Stage::kIdle;
    NoteEnd(index);
    if (cursor.stage == Stage::kIdle) idle_.push_back(index);
    return;
  }
  cursor.message = {};
  cursor.message.topic = cursor.topic;
  cursor.message.partition = static_cast<int32_t>(cursor.key.partition);
  FillFetched(result, &cursor.message);
  cursor.message.batches = std::move(result.batches);
  cursor.held = BytesOf(cursor.message.batches);
  Hold(cursor.held);
  cursor.next = result.next_offset;
  cursor.told_caught_up = false;
  cursor.stage = Stage::kReady;
  ++ahead_;
  ready_.push_back(index);
}

void Subscription::NoteLeader(Cursor* cursor, const ReadAnswer& answer) {
  const Result<GroupId> group = GroupOf(*around_.metadata.image(), cursor->key);
  if (!group.ok()) return;
  Leader leader = around_.leaders.Of(*group);
  if (answer.remote.value() != 0) leader = {.node = answer.remote, .epoch = answer.epoch};
  if (leader.node.value() == 0 || leader == cursor->leader) return;
  cursor->leader = leader;
  v1::SubscribeResponse event;
  *event.mutable_leader() = HintOf(*around_.metadata.image(), cursor->topic, static_cast<int32_t>(cursor->key.partition), leader);
  events_.push_back(std::move(event));
}

// At an end that has to be told?
void Subscription::NoteEnd(size_t index) {
  Cursor& cursor = cursors_[index];
  if (until_end_ && cursor.next >= cursor.end) {
    cursor.stage = Stage::kOver;
    ++over_;
    v1::SubscribeResponse event;
    *event.mutable_ended() = CaughtUpOf(cursor);
    events_.push_back(std::move(event));
    return;
  }
  if (cursor.behind || cursor.told_caught_up) return;
  cursor.told_caught_up = true;
  v1::SubscribeResponse event;
  *event.mutable_caught_up() = CaughtUpOf(cursor);
  events_.push_back(std::move(event));
}

v1::CaughtUp Subscription::CaughtUpOf(const Cursor& cursor) const {
  v1::CaughtUp end;
  *end.mutable_topic() = cursor.topic;
  end.set_partition(static_cast<int32_t>(cursor.key.partition));
  end.set_next_offset(static_cast<int64_t>(cursor.next.value()));
  return end;
}

void Subscription::Fail(size_t index, const Status& status) {
  Cursor& cursor = cursors_[index];
  cursor.stage = Stage::kOver;
  ++over_;
  ++failed_;
  if (first_error_.ok()) first_error_ = status;
  v1::SubscribeResponse event;
  v1::PartitionError& error = *event.mutable_partition_error();
  *error.mutable_topic() = cursor.topic;
  error.set_partition(static_cast<int32_t>(cursor.key.partition));
  *error.mutable_error() = ToError(status);
  events_.push_back(std::move(event));
  const bool all = std::all_of(cursors_.begin(), cursors_.end(), [](const Cursor& other) { return other.located; });
  if (!started_ && all) SendStarted();
}

// --- Sending

void Subscription::Pump() {
  if (ended_) return;
  if (started_) StartReads();
  if (busy_ || !started_) return;
  SubscribeEvent event;
  if (NextEvent(&event)) {
    busy_ = true;
    handed_at_ = quiet_since_ = around_.time.now();
    sink_.OnEvent(std::move(event));
    return;
  }
  if (over_ == cursors_.size()) End(failed_ == cursors_.size() ? first_error_ : Status());
}

bool Subscription::NextEvent(SubscribeEvent* event) {
  if (!events_.empty()) {
    *event = std::move(events_.front());
    events_.pop_front();
    return true;
  }
  if (ready_.empty() || !has_credit()) return false;
  const size_t index = ready_.front();
  ready_.pop_front();
  Cursor& cursor = cursors_[index];
  const size_t bytes = BytesOf(cursor.message.batches);
  for (const partition::FetchedBatch& batch : cursor.message.batches) around_.totals.records += batch.record_count;
  around_.totals.bytes += bytes;
  sent_bytes_ += static_cast<int64_t>(bytes);
  *event = std::move(cursor.message);
  held_by_event_ = std::exchange(cursor.held, 0);
  cursor.stage = Stage::kIdle;
  --ahead_;
  NoteEnd(index);
  if (cursor.stage == Stage::kIdle) idle_.push_back(index);
  StartReads();
  return true;
}

void Subscription::Ready() {
  busy_ = false;
  Drop(std::exchange(held_by_event_, 0));
  Pump();
}

int64_t Subscription::Grant(int64_t total_bytes) {
  credit_ = std::max(credit_.value_or(total_bytes), total_bytes);
  Pump();
  return *credit_;
}

void Subscription::Tick() {
  if (ended_) return;
  const raft::Tick now = around_.time.now();
  if (!started_ && resolved_ && start_by_ <= now) {
    SendStarted();
    Pump();
  }
  const bool scarce = around_.buffers.scarce();
  if (busy_) {
    const Duration stall = scarce && held_ > 0 ? std::min(around_.options.stall, limits::kStallWhenScarce) : around_.options.stall;
    if (now - handed_at_ < around_.time.Ticks(stall)) return;
    return End(Refuse(Refusal::kSlowConsumer, "nothing of this stream was read for " + std::to_string(stall / std::chrono::seconds(1)) +
                                                  " seconds; open it again where it stopped")
                   .With("limit_ms", std::to_string(stall / std::chrono::milliseconds(1))));
  }
  if (scarce && !has_credit()) PutBack();
  // What it may not read at one moment it may at another.
  if (!idle_.empty()) Pump();
  if (busy_ || ended_) return;
  if (!started_ || now - quiet_since_ < around_.time.Ticks(around_.options.heartbeat)) return;
  v1::SubscribeResponse heartbeat;
  heartbeat.mutable_heartbeat()->set_time_ms(around_.time.clock().WallMillis());
  events_.push_back(std::move(heartbeat));
  Pump();
}

void Subscription::End(const Status& status) {
  if (std::exchange(ended_, true)) return;
  for (Cursor& cursor : cursors_) {
    if (cursor.read != 0) around_.reads.Cancel(std::exchange(cursor.read, 0));
    cursor.message = {};
    Drop(std::exchange(cursor.held, 0));
  }
  sink_.OnEnd(status);
}

}  // namespace flotilla::broker
