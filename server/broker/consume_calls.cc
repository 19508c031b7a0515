#include "server/broker/consume_calls.h"

#include <charconv>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/fetch_session.h"
#include "server/broker/limits.h"
#include "server/errors/error_codec.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kGrantCredit = "/flotilla.v1.ConsumeService/GrantCredit";
constexpr std::string_view kForwardCall = "/flotilla.internal.v1.ForwardService/ForwardCall";

}  // namespace

std::string SubscriptionId(NodeId node, uint64_t boot, uint64_t number) {
  return std::to_string(node.value()) + "-" + std::to_string(boot) + "-" + std::to_string(number);
}

std::optional<NodeId> NodeOfSubscription(const std::string& id) {
  uint64_t node = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), node);
  if (error != std::errc() || end == id.data() + id.size() || *end != '-') return std::nullopt;
  return NodeId{node};
}

ConsumeCalls::ConsumeCalls(const MemberContext& member, Grant grant) : member_(member), grant_(std::move(grant)) {
  member_.board.Register<v1::ListOffsetsRequest>("/flotilla.v1.ConsumeService/ListOffsets",
                                                 {.serve = [this](uint64_t id, const auto& r) { ListOffsets(id, r); }, .repeatable = true});
  member_.board.Register<v1::GrantCreditRequest>(kGrantCredit,
                                                 {.serve = [this](uint64_t id, const auto& r) { GrantCredit(id, r); }, .repeatable = true});
}

ConsumeCalls::~ConsumeCalls() {
  for (const auto& [id, lookup] : lookups_) {
    for (const auto& [token, ticket] : lookup.tickets) member_.reads.Cancel(ticket);
  }
}

void ConsumeCalls::ListOffsets(uint64_t id, const v1::ListOffsetsRequest& request) {
  const auto items = static_cast<size_t>(request.items_size());
  if (items == 0 || items > limits::kRequestItemsMax) {
    return member_.board.Fail(id, Status(items == 0 ? Reason::kInvalidArgument : Reason::kLimitExceeded,
                                         std::to_string(items) + " items; give 1 to " + std::to_string(limits::kRequestItemsMax))
                                      .With("field", "items"));
  }
  const auto begin = [this, id, request](const Status& synced) {
    const Caller* caller = member_.board.CallerOf(id);
    if (caller == nullptr) return;
    Lookup lookup{.call = id};
    for (int i = 0; i < request.items_size(); ++i) {
      const v1::ListOffsetsItem& item = request.items(i);
      v1::ListOffsetsResult& result = *lookup.response.add_results();
      *result.mutable_offsets()->mutable_topic() = item.topic();
      result.mutable_offsets()->set_partition(item.partition());
      const Result<partition::StartPosition> start = StartOf(item.position());
      const Result<metadata::PartitionKey> key = FindPartition(item.topic(), item.partition(), member_.image());
      if (!start.ok() || !key.ok()) {
        result.clear_offsets();
        *result.mutable_error() = ToError(start.ok() ? MissingOrUnsure(key.status(), synced) : start.status());
        continue;
      }
      *result.mutable_offsets()->mutable_topic() = RefOf(*member_.image().FindTopic(key->topic));
      const uint64_t token = next_token_++;
      lookup.reads.emplace(token, i);
      call_of_.emplace(token, id);
      // A single partition without a leader must not take the whole call's deadline with it.
      lookup.tickets.emplace(token, member_.reads.Locate({.partition = *key,
                                                          .start = *start,
                                                          .deadline = member_.time.At(caller->deadline - limits::kLongPollMargin),
                                                          .require_leader = caller->require_leader},
                                                         *caller, token, *this));
    }
    if (lookup.reads.empty()) return member_.board.Answer(id, lookup.response);
    lookups_.emplace(id, std::move(lookup));
  };
  for (const v1::ListOffsetsItem& item : request.items()) {
    if (FindPartition(item.topic(), item.partition(), member_.image()).ok()) continue;
    return member_.board.SyncMetadata(begin);
  }
  begin({});
}

void ConsumeCalls::OnRead(uint64_t token, ReadAnswer answer) {
  const auto at = call_of_.find(token);
  if (at == call_of_.end()) return;
  const uint64_t id = at->second;
  call_of_.erase(at);
  Lookup& lookup = lookups_.at(id);
  v1::ListOffsetsResult& result = *lookup.response.mutable_results(lookup.reads.at(token));
  lookup.tickets.erase(token);
  v1::PartitionOffsets& offsets = *result.mutable_offsets();
  if (!answer.status.ok()) *result.mutable_error() = ToError(answer.status);
  if (answer.status.ok() || answer.status.reason() == Reason::kOffsetOutOfRange) {
    if (answer.status.ok()) offsets.set_offset(static_cast<int64_t>(answer.result.start_offset.value()));
    offsets.set_log_start_offset(static_cast<int64_t>(answer.result.log_start_offset.value()));
    offsets.set_high_watermark(static_cast<int64_t>(answer.result.high_watermark.value()));
    result.set_leader_epoch(static_cast<int64_t>(answer.epoch.value()));
  } else {
    result.clear_offsets();
  }
  if (answer.remote.value() != 0 && answer.status.ok()) {
    *lookup.response.add_leaders() =
        HintOf(member_.image(), offsets.topic(), offsets.partition(), {.node = answer.remote, .epoch = answer.epoch});
  }
  if (!lookup.tickets.empty()) return;
  const v1::ListOffsetsResponse response = std::move(lookup.response);
  lookups_.erase(id);
  member_.board.Answer(id, response);
}

void ConsumeCalls::GrantCredit(uint64_t id, const v1::GrantCreditRequest& request) {
  const std::optional<NodeId> node = NodeOfSubscription(request.subscription_id());
  if (request.total_bytes() < 1 || !node) {
    return member_.board.Fail(
        id, Status(Reason::kInvalidArgument,
                   !node ? "subscription_id " + Quoted(request.subscription_id()) + " is none; use the one of SubscriptionStarted"
                         : "total_bytes " + std::to_string(request.total_bytes()) + " grants nothing; give the total of all grants")
                .With("field", node ? "total_bytes" : "subscription_id"));
  }
  const Status gone =
      Refuse(Refusal::kSubscriptionNotFound, "subscription " + Quoted(request.subscription_id()) + " has ended; open a new one")
          .With("subscription_id", request.subscription_id());
  if (*node == member_.self) {
    const std::optional<int64_t> total = grant_(request.subscription_id(), request.total_bytes());
    if (!total) return member_.board.Fail(id, gone);
    v1::GrantCreditResponse response;
    response.set_total_bytes(*total);
    return member_.board.Answer(id, response);
  }
  const metadata::Node* there = member_.image().FindNode(*node);
  if (there == nullptr || member_.board.Forwarded(id)) return member_.board.Fail(id, gone);
  internal::v1::ForwardCallRequest forward;
  forward.mutable_context()->set_origin_node_id(member_.self.value());
  forward.mutable_context()->set_target_node_id(node->value());
  forward.mutable_context()->set_timeout_ms(limits::kPeerCallTimeout / std::chrono::milliseconds(1));
  forward.set_method(std::string(kGrantCredit));
  forward.set_request(request.SerializeAsString());
  member_.network.Call(there->description.peer_address, kForwardCall, forward.SerializeAsString(), limits::kPeerCallTimeout,
                       [this, id](const Result<std::string>& answer) {
                         internal::v1::ForwardCallResponse forwarded;
                         v1::GrantCreditResponse response;
                         if (!answer.ok()) return member_.board.Fail(id, answer.status());
                         if (!forwarded.ParseFromString(*answer))
                           return member_.board.Fail(id, Status(Reason::kCorruptMessage, "the other node's answer does not decode"));
                         if (forwarded.has_error()) return member_.board.Fail(id, ToStatus(forwarded.error()));
                         response.ParseFromString(forwarded.response());
                         member_.board.Answer(id, response);
                       });
}

}  // namespace flotilla::broker
