#include "server/broker/producer_calls.h"

#include <string>
#include <string_view>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/limits.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kInitProducer = "/flotilla.v1.ProduceService/InitProducer";
constexpr std::string_view kDecideProducer = "/flotilla.internal.v1.MembershipService/DecideProducer";
constexpr std::string_view kReserveProducerIds = "/flotilla.internal.v1.MembershipService/ReserveProducerIds";

Status CheckNumbers(const v1::InitProducerRequest& request) {
  if (request.producer_id() < 0 || request.producer_epoch() < 0) {
    return Status(Reason::kInvalidArgument, "producer_id " + std::to_string(request.producer_id()) + " and producer_epoch " +
                                                std::to_string(request.producer_epoch()) + " must not be negative")
        .With("field", request.producer_id() < 0 ? "producer_id" : "producer_epoch");
  }
  if (request.producer_id() == 0 && request.producer_epoch() != 0) {
    return Status(Reason::kInvalidArgument, "producer_epoch goes with a producer_id; leave it out to begin a new producer")
        .With("field", "producer_epoch");
  }
  return {};
}

// What a client is told when this node gets no ids to give out: nothing that it could not ask for once more.
Status WhyNone(const Result<std::string>& answer) {
  // Its client did nothing wrong, and is well served elsewhere.
  if (RefusalOf(answer.status()) == Refusal::kNodeNotFound) {
    return Status(Reason::kShuttingDown, "this node was removed from the cluster and is about to stop; ask another one");
  }
  // An id that was reserved and lost with its answer belongs to nobody: to ask again does no harm.
  if (answer.ok() || answer.status().reason() == Reason::kOutcomeUnknown) {
    return Status(Reason::kNoLeader, "no producer ids could be had from the metadata; nothing was done, ask again");
  }
  return answer.status();
}

}  // namespace

ProducerCalls::ProducerCalls(const MemberContext& member, Decisions& decisions) : member_(member), decisions_(decisions) {
  CallBoard& board = member_.board;
  board.Register<v1::InitProducerRequest>(kInitProducer, {.serve = [this](uint64_t id, const auto& r) { Init(id, r); }});
  board.Register<v1::InitProducerRequest>(
      kDecideProducer, {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { Decide(id, r); }});
  board.Register<internal::v1::ReserveProducerIdsRequest>(
      kReserveProducerIds,
      {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { Reserve(id, r); }, .repeatable = true});
}

void ProducerCalls::Init(uint64_t id, const v1::InitProducerRequest& request) {
  if (Status status = CheckNumbers(request); !status.ok()) return member_.board.Fail(id, status);
  const bool remembered = request.producer_id() != 0 || !request.request_id().empty();
  if (!remembered) {
    const auto wait = [this, id, request](const Status& synced) {
      const Status topic = request.has_topic() ? FindTopic(request.topic(), member_.image()).status() : Status();
      if (!topic.ok()) return member_.board.Fail(id, MissingOrUnsure(topic, synced));
      waiting_.emplace_back(id, request);
      GiveOut();
    };
    const bool unknown = request.has_topic() && !FindTopic(request.topic(), member_.image()).ok();
    // The topic may have been made through another node a moment ago.
    return unknown ? member_.board.SyncMetadata(wait) : wait({});
  }
  const Caller* caller = member_.board.CallerOf(id);
  if (caller == nullptr) return;
  const Caller behalf = *caller;
  member_.board.Begin(0, kDecideProducer, request.SerializeAsString(), behalf, [this, id](const Result<std::string>& answer) {
    if (!answer.ok()) return member_.board.Fail(id, answer.status());
    v1::InitProducerResponse response;
    response.ParseFromString(*answer);
    member_.board.Answer(id, response);
  });
}

void ProducerCalls::Decide(uint64_t id, const v1::InitProducerRequest& request) {
  metadata::InitProducer init{.tag = {.request_id = request.request_id(), .validate_only = false}};
  if (request.producer_id() != 0) {
    init.existing = metadata::ProducerEpoch{static_cast<uint64_t>(request.producer_id()), static_cast<uint32_t>(request.producer_epoch())};
  }
  if (request.has_topic()) {
    const Result<metadata::TopicSelector> selector = SelectorOf(request.topic());
    if (!selector.ok()) return member_.board.Fail(id, selector.status());
    init.topic = *selector;
  }
  decisions_.Submit(init, [this, id](const metadata::Answer& answer) {
    if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
    v1::InitProducerResponse response;
    response.set_producer_id(static_cast<int64_t>(answer.outcome.producer_id));
    response.set_producer_epoch(static_cast<int32_t>(answer.outcome.producer_epoch));
    response.set_partition_count(static_cast<int32_t>(answer.outcome.partition_count));
    member_.board.Answer(id, response);
  });
}

void ProducerCalls::Reserve(uint64_t id, const internal::v1::ReserveProducerIdsRequest& request) {
  decisions_.Submit(metadata::ReserveProducerIds{.node = NodeId{request.node_id()}, .count = request.count()},
                    [this, id](const metadata::Answer& answer) {
                      if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
                      internal::v1::ReserveProducerIdsResponse response;
                      response.set_first_producer_id(answer.outcome.producer_ids_first);
                      response.set_count(answer.outcome.producer_ids_count);
                      member_.board.Answer(id, response);
                    });
}

// Gives ids to those who wait, while there are any.
void ProducerCalls::GiveOut() {
  while (!waiting_.empty()) {
    const auto [id, request] = waiting_.front();
    v1::InitProducerResponse response;
    if (request.has_topic()) {
      const Result<const metadata::Topic*> topic = FindTopic(request.topic(), member_.image());
      if (!topic.ok()) {
        waiting_.pop_front();
        member_.board.Fail(id, topic.status());
        continue;
      }
      response.set_partition_count(static_cast<int32_t>((*topic)->partitions.size()));
    }
    if (left_ == 0) return FillBlock();
    response.set_producer_id(static_cast<int64_t>(next_++));
    --left_;
    waiting_.pop_front();
    member_.board.Answer(id, response);
  }
}

void ProducerCalls::FillBlock() {
  if (filling_) return;
  filling_ = true;
  internal::v1::ReserveProducerIdsRequest request;
  request.set_node_id(member_.self.value());
  request.set_count(limits::kProducerIdBlock);
  const Caller self{.principal = "", .address = "", .deadline = member_.time.clock().Now() + limits::kPeerCallTimeout};
  member_.board.Begin(0, kReserveProducerIds, request.SerializeAsString(), self, [this](const Result<std::string>& answer) {
    filling_ = false;
    internal::v1::ReserveProducerIdsResponse response;
    if (!answer.ok() || !response.ParseFromString(*answer)) {
      const Status status = WhyNone(answer);
      for (const auto& entry : std::exchange(waiting_, {})) member_.board.Fail(entry.first, status);
      return;
    }
    next_ = response.first_producer_id();
    left_ = response.count();
    GiveOut();
  });
}

}  // namespace flotilla::broker
