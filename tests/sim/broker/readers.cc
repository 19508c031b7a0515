#include "tests/sim/broker/readers.h"

#include "flotilla/v1/records.pb.h"

namespace flotilla::sim::broker {
namespace {

constexpr Time kAgainAfter = 200 * kMillisecond;

}  // namespace

bool TakeFetched(World& world, const char* how, const PartitionName& partition, const flotilla::broker::FetchedPartition& fetched,
                 int64_t* position) {
  Verdict& verdict = world.verdict();
  const auto next = static_cast<int64_t>(fetched.next_offset.value());
  const auto start = static_cast<int64_t>(fetched.start_offset.value());
  const auto high = static_cast<int64_t>(fetched.high_watermark.value());
  if (start != *position) verdict.Violated("external poll skip", how, " from ", *position, " starts at ", start);
  int64_t at = -1;
  for (const partition::FetchedBatch& batch : fetched.batches) {
    const auto base = static_cast<int64_t>(batch.base_offset.value());
    if (at < 0 && base > *position) verdict.Violated("external poll skip", how, " from ", *position, " brings ", base, " first");
    if (at >= 0 && base != at) verdict.Violated("internal poll skip", how, " brings ", base, " behind ", at);
    if (at < 0 && base + batch.record_count <= *position) {
      verdict.Violated("non-monotonic poll", how, " from ", *position, " brings a batch that ends at ", base + batch.record_count);
    }
    const std::optional<v1::RecordSet> set = RecordsIn(batch.header, batch.records.view());
    if (!set || set->records_size() != static_cast<int>(batch.record_count)) {
      verdict.Violated("batches decode", how, " brings a batch at ", base, " that does not hold ", batch.record_count, " records");
      return false;
    }
    if (batch.header.codec != partition::Codec::kNone) world.tally().Add("compressed batch read");
    for (int i = 0; i < set->records_size(); ++i) {
      if (base + i >= *position) world.ledger().Saw(partition, base + i, NumberIn(set->records(i)), how);
    }
    at = base + batch.record_count;
  }
  if (at < 0) at = *position;
  if (next != at) verdict.Violated("next_offset is behind the last record", how, " from ", *position, " ends at ", at, " and says ", next);
  if (next > high)
    verdict.Violated("only committed records are visible", how, " brings records up to ", next, "; the high watermark is ", high);
  *position = next;
  return verdict.ok();
}

// --- Fetch

void Fetcher::Work() {
  if (stopped_) return;
  if (!polling_) Poll();
  world_.events().After(About(world_.swarm().operations.fetch), [this] { Work(); });
}

void Fetcher::Poll() {
  v1::FetchRequest request;
  std::vector<PartitionName> asked;
  std::vector<int64_t> from;
  for (TopicFacts* topic : world_.ledger().LiveTopics()) {
    for (int32_t i = 0; i < topic->partitions; ++i) {
      if (!random_.OneIn(2)) continue;
      const PartitionName name(topic->id, i);
      v1::FetchPartition& partition = *request.add_partitions();
      partition.mutable_topic()->set_topic_id(topic->id);
      if (random_.OneIn(2)) partition.mutable_topic()->set_name(topic->name);
      partition.set_partition(i);
      const auto known = positions_.find(name);
      if (known == positions_.end()) {
        partition.mutable_start()->set_point(v1::START_POINT_EARLIEST);
      } else {
        partition.mutable_start()->set_offset(known->second);
      }
      from.push_back(known == positions_.end() ? -1 : known->second);
      asked.push_back(name);
    }
  }
  if (asked.empty()) return;
  request.set_max_wait_ms(static_cast<int32_t>(random_.Below(1000)));
  request.set_max_bytes(static_cast<int32_t>(1 + random_.Below(20'000)));
  polling_ = true;
  world_.connections().Fetch(place_, AnyMachine(), request, 3 * kSecond, [this, asked, from](const FetchOutcome& outcome) {
    polling_ = false;
    if (outcome.broken || outcome.error) return;
    if (outcome.answer.partitions.size() != asked.size()) {
      return world_.verdict().Violated("every partition is answered", outcome.answer.partitions.size(), " of ", asked.size(), " were");
    }
    for (size_t i = 0; i < asked.size(); ++i) {
      const flotilla::broker::FetchedPartition& fetched = outcome.answer.partitions[i];
      if (fetched.status.ok()) {
        int64_t position = from[i] < 0 ? static_cast<int64_t>(fetched.start_offset.value()) : from[i];
        if (TakeFetched(world_, "Fetch", asked[i], fetched, &position)) positions_[asked[i]] = position;
        continue;
      }
      if (RefusalOf(fetched.status) == Refusal::kTopicNotFound || RefusalOf(fetched.status) == Refusal::kPartitionNotFound) {
        positions_.erase(asked[i]);
        if (world_.ledger().SurelyThere(asked[i].first)) {
          world_.verdict().Violated("a topic that exists is found", "Fetch says: ", fetched.status);
        }
      }
      if (fetched.status.reason() != Reason::kOffsetOutOfRange && fetched.status.reason() != Reason::kTrimmed) continue;
      world_.tally().Add("read behind the start");
      if (from[i] >= 0 && from[i] >= static_cast<int64_t>(fetched.log_start_offset.value()) &&
          from[i] <= static_cast<int64_t>(fetched.high_watermark.value())) {
        world_.verdict().Violated("what is in the log is in range", "offset ", from[i], " is refused: ", fetched.status);
      }
      if (from[i] > static_cast<int64_t>(fetched.high_watermark.value())) {
        world_.verdict().Violated("no failover takes back what was read", "a reader is at ", from[i],
                                  ", and the leader's high watermark is ", fetched.high_watermark);
      }
      positions_.erase(asked[i]);
    }
  });
}

// --- Subscribe

void Subscriber::OpenLater() {
  stream_ = 0;
  if (!stopped_) world_.events().After(About(kAgainAfter), [this] { Open(); });
}

void Subscriber::Open() {
  if (stopped_ || stream_ != 0) return;
  if (topic_ == nullptr || topic_->delete_asked || random_.OneIn(20)) {
    const std::vector<TopicFacts*> topics = world_.ledger().LiveTopics();
    topic_ = topics.empty() ? nullptr : topics[random_.Below(topics.size())];
    positions_.clear();
  }
  if (topic_ == nullptr) return OpenLater();
  v1::SubscribeRequest request;
  for (int32_t i = 0; i < topic_->partitions; ++i) {
    v1::SubscribeTopic& wanted = *request.add_topics();
    wanted.mutable_topic()->set_topic_id(topic_->id);
    wanted.add_partitions(i);
    const auto known = positions_.find(i);
    if (known == positions_.end()) {
      wanted.mutable_start()->set_point(v1::START_POINT_EARLIEST);
    } else {
      wanted.mutable_start()->set_offset(known->second);
    }
  }
  until_end_ = random_.OneIn(4);
  started_ = false;
  request.set_until_end(until_end_);
  granted_ = random_.OneIn(3) ? static_cast<int64_t>(1 + random_.Below(3000)) : 0;
  received_ = 0;
  if (granted_ != 0) request.set_credit_bytes(granted_);
  if (!positions_.empty()) world_.tally().Add("subscription resumed");
  stream_ = world_.connections().Subscribe(place_, AnyMachine(), request, *this);
  // Nobody waits for ever: a stream without a heartbeat is given up, and so is one now and then.
  world_.events().After(About(20 * kSecond), [this, stream = stream_] {
    if (stream_ != stream) return;
    world_.connections().Close(stream);
    OpenLater();
  });
}

Time Subscriber::OnEvent(uint64_t stream, flotilla::broker::SubscribeEvent event) {
  if (stream != stream_) return 1;
  if (auto* fetched = std::get_if<flotilla::broker::FetchedPartition>(&event)) {
    auto at = positions_.find(fetched->partition);
    if (at == positions_.end()) at = positions_.emplace(fetched->partition, static_cast<int64_t>(fetched->start_offset.value())).first;
    TakeFetched(world_, "Subscribe", {topic_->id, fetched->partition}, *fetched, &at->second);
    if (granted_ != 0 && received_ >= granted_) {
      world_.verdict().Violated("credits are kept", "a subscription with credit for ", granted_, " bytes got a message after ", received_);
    }
    for (const partition::FetchedBatch& batch : fetched->batches) received_ += static_cast<int64_t>(batch.records.size());
    if (granted_ != 0 && received_ >= granted_) GrantMore();
    return random_.OneIn(10) ? About(kSecond) : 1;
  }
  const auto& said = std::get<v1::SubscribeResponse>(event);
  if (said.has_started()) {
    started_ = true;
    id_ = said.started().subscription_id();
    world_.tally().Add("subscription started");
    for (const v1::PartitionOffsets& offsets : said.started().partitions()) {
      const auto known = positions_.find(offsets.partition());
      if (known != positions_.end() && known->second != offsets.offset()) {
        world_.verdict().Violated("a subscription resumes where it is told to", "asked for ", known->second, ", starts at ",
                                  offsets.offset());
      }
      positions_[offsets.partition()] = offsets.offset();
    }
  } else if (!started_) {
    world_.verdict().Violated("the first message of a subscription says that it exists", "it is ", said.ShortDebugString());
  }
  for (const v1::CaughtUp* end : {said.has_caught_up() ? &said.caught_up() : nullptr, said.has_ended() ? &said.ended() : nullptr}) {
    if (end == nullptr) continue;
    const auto known = positions_.find(end->partition());
    if (known != positions_.end() && known->second != end->next_offset()) {
      world_.verdict().Violated("external poll skip", "Subscribe of ", topic_->name, '/', end->partition(), " is told that all before ",
                                end->next_offset(), " was sent, and got all before ", known->second);
    }
  }
  if (said.has_partition_error()) {
    const v1::Error& error = said.partition_error().error();
    const auto known = positions_.find(said.partition_error().partition());
    if (error.reason() == v1::ERROR_REASON_TOPIC_NOT_FOUND || error.reason() == v1::ERROR_REASON_PARTITION_NOT_FOUND) {
      if (world_.ledger().SurelyThere(topic_->id)) {
        world_.verdict().Violated("a topic that exists is found", "Subscribe says: ", error.message());
      }
    } else if (error.reason() == v1::ERROR_REASON_OFFSET_OUT_OF_RANGE || error.reason() == v1::ERROR_REASON_TRIMMED) {
      world_.tally().Add("read behind the start");
      if (known != positions_.end() && known->second >= world_.ledger().trim_asked({topic_->id, known->first})) {
        world_.verdict().Violated("what is in the log is in range", "Subscribe at ", known->second, ": ", error.message());
      }
    } else {
      world_.verdict().Violated("a subscription waits through elections", "partition ", said.partition_error().partition(), " ends with ",
                                v1::ErrorReason_Name(error.reason()), ": ", error.message());
    }
    if (known != positions_.end()) positions_.erase(known);
  }
  return 1;
}

// Its credit is used up: the stream waits until it gets more, which may be asked for at any node, and more than once.
void Subscriber::GrantMore() {
  granted_ = received_ + static_cast<int64_t>(1 + random_.Below(5000));
  v1::GrantCreditRequest request;
  request.set_subscription_id(id_);
  request.set_total_bytes(granted_);
  const auto ask = [this, request, stream = stream_](const auto& self) -> void {
    if (stream_ != stream) return;
    world_.connections().Call(place_, AnyMachine(), "/flotilla.v1.ConsumeService/GrantCredit", request.SerializeAsString(), 3 * kSecond,
                              [this, self, stream](const CallOutcome& outcome) {
                                if (outcome.ok()) return world_.tally().Add("credit granted");
                                world_.events().After(About(kAgainAfter), [self] { self(self); });
                              });
  };
  ask(ask);
}

void Subscriber::OnEnd(uint64_t stream, const std::optional<v1::Error>& error) {
  if (stream != stream_) return;
  if (!error && !until_end_) world_.verdict().Violated("a subscription goes on for ever", "it ended with OK");
  if (error && error->reason() == v1::ERROR_REASON_TOPIC_NOT_FOUND && world_.ledger().SurelyThere(topic_->id)) {
    world_.verdict().Violated("a topic that exists is found", "Subscribe ends with: ", error->message());
  }
  if (error && (error->reason() == v1::ERROR_REASON_OFFSET_OUT_OF_RANGE || error->reason() == v1::ERROR_REASON_TRIMMED)) positions_.clear();
  OpenLater();
}

void Subscriber::OnBroken(uint64_t stream) {
  if (stream == stream_) OpenLater();
}

void Subscriber::Stop() {
  stopped_ = true;
  if (stream_ != 0) world_.connections().Close(std::exchange(stream_, 0));
}

// --- ListOffsets

void Surveyor::Work() {
  if (stopped_) return;
  const std::vector<TopicFacts*> topics = world_.ledger().LiveTopics();
  if (!topics.empty()) {
    TopicFacts& topic = *topics[random_.Below(topics.size())];
    v1::ListOffsetsRequest request;
    std::vector<PartitionName> asked;
    std::vector<Ledger::Floor> floors;
    for (int32_t i = 0; i < topic.partitions; ++i) {
      v1::ListOffsetsItem& item = *request.add_items();
      item.mutable_topic()->set_topic_id(topic.id);
      item.set_partition(i);
      item.mutable_position()->set_point(random_.OneIn(2) ? v1::START_POINT_EARLIEST : v1::START_POINT_LATEST);
      asked.emplace_back(topic.id, i);
      floors.push_back(world_.ledger().FloorOf(asked.back()));
    }
    world_.connections().Call(
        place_, AnyMachine(), "/flotilla.v1.ConsumeService/ListOffsets", request.SerializeAsString(), 3 * kSecond,
        [this, asked, floors](const CallOutcome& outcome) {
          v1::ListOffsetsResponse response;
          if (!outcome.ok() || !response.ParseFromString(outcome.response)) return;
          for (size_t i = 0; i < asked.size(); ++i) {
            const v1::ListOffsetsResult& result = response.results(static_cast<int>(i));
            if (!result.has_error()) {
              world_.ledger().Listed(asked[i], floors[i], result.offsets().log_start_offset(), result.offsets().high_watermark());
              continue;
            }
            const v1::ErrorReason reason = result.error().reason();
            const bool gone = reason == v1::ERROR_REASON_TOPIC_NOT_FOUND || reason == v1::ERROR_REASON_PARTITION_NOT_FOUND;
            if (gone && world_.ledger().SurelyThere(asked[i].first)) {
              world_.verdict().Violated("a topic that exists is found", "ListOffsets says: ", result.error().message());
            }
          }
        });
  }
  world_.events().After(About(world_.swarm().operations.list_offsets), [this] { Work(); });
}

// --- WatchMetadata

void Watcher::Open() {
  if (stopped_) return;
  v1::WatchMetadataRequest request;
  request.set_after_version(version_);
  stream_ = world_.connections().Watch(place_, AnyMachine(), request, *this);
  world_.events().After(About(15 * kSecond), [this, stream = stream_] {
    if (stream_ != stream) return;
    world_.connections().Close(stream);
    OnClosed(stream);
  });
}

void Watcher::OnEvent(uint64_t stream, const v1::WatchMetadataResponse& event) {
  if (stream != stream_) return;
  world_.tally().Add("metadata watched");
  if (event.version() < version_ && !event.starts_over() && event.version() != 0) {
    world_.verdict().Violated("watched metadata goes forward", "version ", event.version(), " after ", version_,
                              ", and it does not start over");
  }
  if (event.version() != 0) version_ = event.version();
}

void Watcher::OnClosed(uint64_t stream) {
  if (stream != stream_) return;
  stream_ = 0;
  if (!stopped_) world_.events().After(About(kAgainAfter), [this] { Open(); });
}

void Watcher::Stop() {
  stopped_ = true;
  if (stream_ != 0) world_.connections().Close(std::exchange(stream_, 0));
}

}  // namespace flotilla::sim::broker
