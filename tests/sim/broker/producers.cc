#include "tests/sim/broker/producers.h"

#include "proto/partitioner.h"

namespace flotilla::sim::broker {
namespace {

constexpr size_t kUnansweredMax = 5;
constexpr Time kRequestTimeout = 4 * kSecond;
constexpr Time kAgainAfter = 100 * kMillisecond;
constexpr Time kLookAgain = 300 * kMillisecond;

// Batches that cannot be divided among partitions are compressed now and then; sent again, a batch is the same.
v1::Codec CodecFor(uint64_t first_record) {
  return first_record % 7 == 0 ? v1::CODEC_LZ4 : first_record % 7 == 1 ? v1::CODEC_ZSTD : v1::CODEC_NONE;
}

}  // namespace

// --- Idempotent

void IdempotentProducer::Start() {
  recurring_.Every("write-" + std::to_string(number()), world_.swarm().operations.produce, [this] { Work(); });
  ChooseTopic();
}

void IdempotentProducer::Stop() {
  stopped_ = true;
  recurring_.Stop();
  if (topic_ == nullptr) left_ = true;
}

std::string IdempotentProducer::Waiting() const {
  if (left_) return "";
  size_t waiting = 0;
  for (const Lane& lane : lanes_) waiting += lane.batches.size();
  return waiting == 0 ? ""
                      : "producer " + std::to_string(producer_id_) + " of topic " + topic_->name + " waits for " + std::to_string(waiting) +
                            " batches";
}

void IdempotentProducer::ChooseTopic() {
  if (stopped_) {
    left_ = true;
    return;
  }
  const std::vector<TopicFacts*> topics = world_.ledger().LiveTopics();
  if (topics.empty()) {
    world_.events().After(kLookAgain, [this] { ChooseTopic(); });
    return;
  }
  topic_ = topics[random_.Below(topics.size())];
  producer_id_ = 0;
  InitProducer();
}

void IdempotentProducer::InitProducer() {
  if (asking_) return;
  asking_ = true;
  v1::InitProducerRequest request;
  request.mutable_topic()->set_topic_id(topic_->id);
  // With a request id the metadata decides each one; without, nodes give out of what they have reserved.
  const bool remembered = random_.Below(2) == 0;
  if (remembered) request.set_request_id("p" + std::to_string(place_.value()) + "-" + std::to_string(random_.Next()));
  const auto ask = [this, request, remembered](const auto& self) -> void {
    world_.connections().Call(place_, AnyMachine(), "/flotilla.v1.ProduceService/InitProducer", request.SerializeAsString(), 3 * kSecond,
                              [this, self, remembered](const CallOutcome& outcome) {
                                v1::InitProducerResponse response;
                                if (outcome.ok() && response.ParseFromString(outcome.response)) {
                                  asking_ = false;
                                  producer_id_ = response.producer_id();
                                  world_.ledger().Given(producer_id_);
                                  world_.tally().Add(remembered ? "producer id by request" : "producer id from a block");
                                  epoch_ = response.producer_epoch();
                                  identity_ = static_cast<uint64_t>(producer_id_) << 16 | static_cast<uint64_t>(epoch_);
                                  partition_count_ = response.partition_count();
                                  world_.Tell(place_, "is producer ", producer_id_, " of topic ", topic_->name);
                                  lanes_.clear();
                                  const int32_t lanes = by_topic_ ? 1 : std::min<int32_t>(partition_count_, 3);
                                  for (int32_t i = 0; i < lanes; ++i) lanes_.push_back({.partition = by_topic_ ? -1 : i});
                                  return;
                                }
                                if (outcome.error && outcome.error->reason() == v1::ERROR_REASON_TOPIC_NOT_FOUND) {
                                  asking_ = false;
                                  return Leave("InitProducer");
                                }
                                if (outcome.error && outcome.error->retry() == v1::RETRY_NEVER) {
                                  world_.verdict().Violated("InitProducer succeeds in the end", "it ended with ", outcome.ToString());
                                }
                                if (stopped_) {
                                  asking_ = false;
                                  left_ = true;
                                  return;
                                }
                                world_.events().After(kAgainAfter, [self] { self(self); });
                              });
  };
  ask(ask);
}

// With nothing unanswered the epoch is raised: counts begin anew, and the old epoch is shut out.
void IdempotentProducer::RaiseEpoch() {
  raising_ = true;
  v1::InitProducerRequest request;
  request.set_producer_id(producer_id_);
  request.set_producer_epoch(epoch_);
  request.set_request_id("e" + std::to_string(place_.value()) + "-" + std::to_string(random_.Next()));
  const auto ask = [this, request](const auto& self) -> void {
    world_.connections().Call(place_, AnyMachine(), "/flotilla.v1.ProduceService/InitProducer", request.SerializeAsString(), 3 * kSecond,
                              [this, self](const CallOutcome& outcome) {
                                v1::InitProducerResponse response;
                                if (outcome.ok() && response.ParseFromString(outcome.response)) {
                                  raising_ = false;
                                  if (response.producer_id() != producer_id_ || response.producer_epoch() != epoch_ + 1) {
                                    world_.verdict().Violated("an epoch is raised by one", "producer ", producer_id_, " epoch ", epoch_,
                                                              " became ", response.producer_id(), " epoch ", response.producer_epoch());
                                  }
                                  world_.tally().Add("epoch raised");
                                  epoch_ = response.producer_epoch();
                                  identity_ = static_cast<uint64_t>(producer_id_) << 16 | static_cast<uint64_t>(epoch_);
                                  for (Lane& lane : lanes_) lane.next_sequence = 0;
                                  return;
                                }
                                // Clocks that jump by as long as requests are remembered make nodes forget that this one was carried out.
                                const bool forgotten = outcome.error && outcome.error->reason() == v1::ERROR_REASON_FENCED &&
                                                       world_.swarm().faults.clock_jump != 0;
                                if (forgotten) {
                                  raising_ = false;
                                  return BeginAnew();
                                }
                                if (outcome.error && outcome.error->retry() == v1::RETRY_NEVER) {
                                  world_.verdict().Violated("an epoch is raised in the end", "it ended with ", outcome.ToString());
                                }
                                world_.events().After(kAgainAfter, [self] { self(self); });
                              });
  };
  ask(ask);
}

void IdempotentProducer::Leave(const char* why) {
  if (world_.ledger().SurelyThere(topic_->id)) {
    world_.verdict().Violated("a topic that exists is found", why, " says that topic ", topic_->name,
                              " is not there; nobody asked to delete it");
  }
  BeginAnew();
}

void IdempotentProducer::BeginAnew() {
  world_.Tell(place_, "leaves topic ", topic_->name);
  GiveUpOpen();
  lanes_.clear();
  if (stream_ != 0) world_.connections().Close(std::exchange(stream_, 0));
  topic_ = nullptr;
  producer_id_ = 0;
  world_.events().After(kLookAgain, [this] { ChooseTopic(); });
}

void IdempotentProducer::GiveUpOpen() {
  for (Lane& lane : lanes_) {
    for (Batch& batch : lane.batches) {
      if (std::exchange(batch.correlation, 0) == 0) continue;
      for (const uint64_t record : batch.records) world_.ledger().Unknown(record);
    }
    lane.sent = 0;
  }
  lane_of_.clear();
}

void IdempotentProducer::Work() {
  if (topic_ == nullptr || lanes_.empty()) return;
  if (stream_ == 0) Reopen();
  if (random_.OneIn(60)) {
    bool idle = !raising_;
    for (const Lane& lane : lanes_) idle &= lane.batches.empty();
    if (idle) RaiseEpoch();
  }
  Lane& lane = lanes_[random_.Below(lanes_.size())];
  if (lane.batches.size() < kUnansweredMax && !lane.stalled && !raising_) Add(lane);
}

void IdempotentProducer::Add(Lane& lane) {
  Batch batch;
  batch.base_sequence = lane.next_sequence;
  for (uint64_t i = 1 + random_.Below(4); i > 0; --i) {
    batch.records.push_back(world_.ledger().NewRecord({.topic = topic_->id,
                                                       .producer = identity_,
                                                       .sequence = lane.next_sequence++,
                                                       .ordered = true,
                                                       .durable = true,
                                                       .acknowledged = {},
                                                       .seen = {}}));
  }
  lane.batches.push_back(std::move(batch));
  Send(lane, lane.batches.back());
}

std::string IdempotentProducer::KeyOf(uint64_t record) const { return record % 5 == 0 ? "" : "key-" + std::to_string(record * 7919 % 40); }

int32_t IdempotentProducer::PlaceOf(const Lane& lane, const Batch& batch, size_t i) const {
  if (lane.partition >= 0) return lane.partition;
  const std::string key = KeyOf(batch.records[i]);
  return key.empty()
             ? PartitionForItem({.producer_id = producer_id_, .base_sequence = static_cast<int64_t>(batch.base_sequence)}, partition_count_)
             : PartitionForKey(key, partition_count_);
}

v1::ProduceRequest IdempotentProducer::RequestOf(const Lane& lane, const Batch& batch) const {
  v1::ProduceRequest request;
  request.mutable_topic()->set_topic_id(topic_->id);
  v1::ProduceItem& item = *request.add_items();
  if (lane.partition >= 0) {
    item.set_partition(lane.partition);
  } else {
    request.set_partition_count(partition_count_);
  }
  v1::RecordBatch& out = *item.mutable_batch();
  out.set_producer_id(producer_id_);
  out.set_producer_epoch(epoch_);
  out.set_base_sequence(static_cast<int64_t>(batch.base_sequence));
  v1::RecordSet records;
  for (const uint64_t record : batch.records) {
    v1::Record& made = *records.add_records();
    made = MakeRecord(record, record * 31 % (world_.swarm().value_bytes_max + 1));
    if (const std::string key = KeyOf(record); lane.partition < 0 && !key.empty()) made.set_key(key);
  }
  FillBatch(records, lane.partition < 0 ? v1::CODEC_NONE : CodecFor(batch.records.front()), &out);
  return request;
}

void IdempotentProducer::Send(Lane& lane, Batch& batch) {
  if (stream_ == 0) return;
  batch.correlation = next_correlation_++;
  ++lane.sent;
  lane_of_[batch.correlation] = static_cast<size_t>(&lane - lanes_.data());
  for (const uint64_t record : batch.records) world_.ledger().Attempt(record);
  world_.Tell(place_, "sends ", topic_->name, '/', lane.partition, " producer ", producer_id_, " sequence ", batch.base_sequence,
              " records ", batch.records.front(), "..", batch.records.back(), " as #", batch.correlation);
  world_.connections().Produce(stream_, batch.correlation, RequestOf(lane, batch), kRequestTimeout);
  Watch(stream_, batch.correlation);
}

// A stream that keeps silent is given up.
void IdempotentProducer::Watch(uint64_t stream, int64_t correlation) {
  world_.events().After(kRequestTimeout + 2 * kSecond, [this, stream, correlation] {
    if (stream_ != stream || !lane_of_.contains(correlation)) return;
    world_.connections().Close(stream);
    OnBroken(stream);
  });
}

void IdempotentProducer::SendAgain(Lane& lane) {
  lane.stalled = false;
  for (Batch& batch : lane.batches) batch.done = false;
  for (Batch& batch : lane.batches) {
    if (batch.correlation == 0) Send(lane, batch);
  }
}

void IdempotentProducer::Reopen() {
  if (stream_ != 0 || topic_ == nullptr) return;
  stream_ = world_.connections().OpenProduce(place_, AnyMachine(), *this);
  for (Lane& lane : lanes_) SendAgain(lane);
}

void IdempotentProducer::OnBroken(uint64_t stream) {
  if (stream_ != stream) return;
  world_.Tell(place_, "its stream broke");
  stream_ = 0;
  GiveUpOpen();
  for (Lane& lane : lanes_) lane.stalled = false;
  world_.events().After(About(kAgainAfter), [this] { Reopen(); });
}

bool IdempotentProducer::Take(const Lane& lane, const Batch& batch, const v1::ProduceStreamResponse& answer) {
  Ledger& ledger = world_.ledger();
  const v1::Error* whole = answer.has_error() ? &answer.error() : nullptr;
  if (whole == nullptr && answer.response().results_size() == 1 && answer.response().results(0).placements().empty()) {
    whole = &answer.response().results(0).error();
  }
  const auto refuse = [&](uint64_t record, const v1::Error& error) {
    if (error.retry() == v1::RETRY_SAFE || error.retry() == v1::RETRY_NEVER) {
      world_.tally().Add("append refused");
      ledger.Refused(record);
    } else {
      world_.tally().Add("append unknown");
      ledger.Unknown(record);
    }
  };
  if (whole != nullptr) {
    for (const uint64_t record : batch.records) refuse(record, *whole);
    return false;
  }
  bool all = true;
  size_t told = 0;
  for (const v1::Placement& placement : answer.response().results(0).placements()) {
    int64_t offset = placement.base_offset();
    size_t count = 0;
    for (size_t i = 0; i < batch.records.size(); ++i) {
      if (PlaceOf(lane, batch, i) != placement.partition()) continue;
      ++count;
      if (placement.has_error()) {
        refuse(batch.records[i], placement.error());
      } else {
        ledger.Appended(batch.records[i], placement.partition(), offset++, placement.deduplicated());
      }
    }
    told += count;
    all &= !placement.has_error();
    if (count != static_cast<size_t>(placement.record_count())) {
      world_.verdict().Violated("records go where the partitioner says", "partition ", placement.partition(), " of ", topic_->name, " got ",
                                placement.record_count(), " of the item's records, not ", count);
    }
  }
  if (told != batch.records.size()) {
    world_.verdict().Violated("every record of an item is told of", told, " of ", batch.records.size(), " were");
  }
  return all;
}

// An error that a producer which keeps the rules must not see.
void IdempotentProducer::Judge(const Lane& lane, const Batch& batch, const v1::Error& error) {
  if (error.retry() != v1::RETRY_NEVER) return;
  const bool oldest = &batch == &lane.batches.front();
  switch (error.reason()) {
    case v1::ERROR_REASON_OUT_OF_ORDER:
    case v1::ERROR_REASON_UNKNOWN_PRODUCER:
      if (!oldest) return;
      break;
    case v1::ERROR_REASON_TOPIC_NOT_FOUND:
    case v1::ERROR_REASON_PARTITION_NOT_FOUND: return;
    default: break;
  }
  world_.verdict().Violated("an idempotent producer that keeps the rules goes on", "producer ", producer_id_, " epoch ", epoch_, ", topic ",
                            topic_->name, '/', lane.partition, " sequence ", batch.base_sequence,
                            " is refused: ", v1::ErrorReason_Name(error.reason()), ": ", error.message());
}

void IdempotentProducer::OnAnswer(uint64_t stream, v1::ProduceStreamResponse answer) {
  if (stream_ != stream) return;
  const auto at = lane_of_.find(answer.correlation_id());
  if (at == lane_of_.end()) return world_.verdict().Violated("answers have a request", "answer #", answer.correlation_id(), " to nothing");
  Lane& lane = lanes_[at->second];
  lane_of_.erase(at);
  --lane.sent;
  Batch* batch = nullptr;
  for (Batch& other : lane.batches) {
    if (other.correlation == answer.correlation_id()) batch = &other;
  }
  batch->correlation = 0;
  batch->done = Take(lane, *batch, answer);
  const v1::Error* error = answer.has_error() ? &answer.error() : batch->done ? nullptr : &answer.response().results(0).error();
  world_.Tell(place_, "#", answer.correlation_id(),
              error == nullptr ? " OK" : " " + v1::ErrorReason_Name(error->reason()) + ": " + error->message());
  if (error != nullptr) {
    Judge(lane, *batch, *error);
    if (error->reason() == v1::ERROR_REASON_TOPIC_NOT_FOUND || error->reason() == v1::ERROR_REASON_PARTITION_NOT_FOUND)
      return Leave("Produce");
    lane.stalled = true;
  }
  if (!lane.stalled) {
    while (!lane.batches.empty() && lane.batches.front().done) lane.batches.pop_front();
    return;
  }
  if (lane.sent > 0) return;
  while (!lane.batches.empty() && lane.batches.front().done) lane.batches.pop_front();
  // Now and then through another node.
  world_.events().After(About(kAgainAfter), [this, stream, index = static_cast<size_t>(&lane - lanes_.data()), move = random_.OneIn(3)] {
    if (stream_ != stream || index >= lanes_.size()) return;
    if (move) {
      world_.connections().Close(stream);
      return OnBroken(stream);
    }
    if (lanes_[index].stalled && lanes_[index].sent == 0) SendAgain(lanes_[index]);
  });
}

// --- Plain

void PlainProducer::Start() {
  recurring_.Every("write-" + std::to_string(number()), world_.swarm().operations.produce, [this] { Work(); });
}

void PlainProducer::Stop() {
  stopped_ = true;
  recurring_.Stop();
}

void PlainProducer::Work() {
  if (stream_ == 0) stream_ = world_.connections().OpenProduce(place_, AnyMachine(), *this);
  Send();
  if (random_.OneIn(50)) {
    const uint64_t stream = stream_;
    world_.connections().Close(stream);
    OnBroken(stream);
  }
}

void PlainProducer::Send() {
  const std::vector<TopicFacts*> topics = world_.ledger().LiveTopics();
  if (topics.empty()) return;
  TopicFacts& topic = *topics[random_.Below(topics.size())];
  Open open{.records = {}, .topic = &topic};
  open.acks = static_cast<v1::Acks>(1 + random_.Below(3));
  open.partition = static_cast<int32_t>(random_.Below(static_cast<uint64_t>(topic.partitions)));
  v1::ProduceRequest request;
  request.mutable_topic()->set_topic_id(topic.id);
  request.set_acks(open.acks);
  v1::ProduceItem& item = *request.add_items();
  item.set_partition(open.partition);
  open.conditional = random_.OneIn(3);
  if (open.conditional) {
    open.expected = world_.ledger().FloorOf({topic.id, open.partition}).end + static_cast<int64_t>(random_.Below(2));
    item.set_expected_next_offset(open.expected);
  }
  v1::RecordSet records;
  for (uint64_t i = 1 + random_.Below(3); i > 0; --i) {
    const uint64_t record =
        world_.ledger().NewRecord({.topic = topic.id, .durable = open.acks == v1::ACKS_QUORUM, .acknowledged = {}, .seen = {}});
    open.records.push_back(record);
    *records.add_records() = MakeRecord(record, record * 31 % (world_.swarm().value_bytes_max + 1));
    world_.ledger().Attempt(record);
  }
  FillBatch(records, CodecFor(open.records.front()), item.mutable_batch());
  const int64_t correlation = next_correlation_++;
  world_.Tell(place_, "sends plainly ", topic.name, '/', open.partition, " records ", open.records.front(), "..", open.records.back(),
              " as #", correlation, ' ', v1::Acks_Name(open.acks), open.conditional ? " expecting " + std::to_string(open.expected) : "");
  world_.connections().Produce(stream_, correlation, request, kRequestTimeout);
  world_.events().After(kRequestTimeout + 2 * kSecond, [this, stream = stream_, correlation] {
    if (stream_ != stream || !open_.contains(correlation)) return;
    world_.connections().Close(stream);
    OnBroken(stream);
  });
  open_.emplace(correlation, std::move(open));
}

void PlainProducer::OnAnswer(uint64_t stream, v1::ProduceStreamResponse answer) {
  if (stream != stream_) return;
  const auto at = open_.find(answer.correlation_id());
  if (at == open_.end()) return world_.verdict().Violated("answers have a request", "answer #", answer.correlation_id(), " to nothing");
  const Open open = std::move(at->second);
  open_.erase(at);
  const v1::Error* error = answer.has_error()                         ? &answer.error()
                           : answer.response().results(0).has_error() ? &answer.response().results(0).error()
                                                                      : nullptr;
  world_.Tell(place_, "#", answer.correlation_id(),
              error == nullptr ? " OK" : " " + v1::ErrorReason_Name(error->reason()) + ": " + error->message());
  Ledger& ledger = world_.ledger();
  if (error == nullptr) {
    const v1::Placement& placement = answer.response().results(0).placements(0);
    for (size_t i = 0; i < open.records.size(); ++i) {
      if (open.acks == v1::ACKS_NONE) {
        ledger.Taken(open.records[i]);
      } else {
        ledger.Appended(open.records[i], placement.partition(), placement.base_offset() + static_cast<int64_t>(i),
                        placement.deduplicated());
      }
    }
    if (open.conditional && open.acks != v1::ACKS_NONE && placement.base_offset() != open.expected) {
      world_.verdict().Violated("a conditional append stands where it was asked for", "asked for ", open.expected, ", stands at ",
                                placement.base_offset());
    }
    return;
  }
  if (error->reason() == v1::ERROR_REASON_OFFSET_MISMATCH && open.conditional) world_.tally().Add("conditional append refused");
  const bool gone = error->reason() == v1::ERROR_REASON_TOPIC_NOT_FOUND || error->reason() == v1::ERROR_REASON_PARTITION_NOT_FOUND;
  if (gone && ledger.SurelyThere(open.topic->id)) {
    world_.verdict().Violated("a topic that exists is found", "Produce says of topic ", open.topic->name, '/', open.partition, ": ",
                              error->message());
  }
  for (const uint64_t record : open.records) {
    if (error->retry() == v1::RETRY_SAFE || error->retry() == v1::RETRY_NEVER) {
      ledger.Refused(record);
    } else {
      ledger.Unknown(record);
    }
  }
}

void PlainProducer::OnBroken(uint64_t stream) {
  if (stream != stream_) return;
  stream_ = 0;
  for (const auto& [correlation, open] : std::exchange(open_, {})) {
    for (const uint64_t record : open.records) world_.ledger().Unknown(record);
  }
}

}  // namespace flotilla::sim::broker
