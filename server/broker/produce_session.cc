#include "server/broker/produce_session.h"

#include <algorithm>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/limits.h"
#include "server/errors/error_codec.h"

namespace flotilla::broker {
namespace {

void FillPlacement(const LaneAnswer& answer, partition::Acks acks, v1::Placement* placement) {
  if (!answer.status.ok()) {
    *placement->mutable_error() = ToError(answer.status);
    return;
  }
  const partition::ProduceResult& result = answer.result;
  if (acks != partition::Acks::kNone) {
    placement->set_base_offset(static_cast<int64_t>(result.base_offset.value()));
  }
  placement->set_deduplicated(result.deduplicated);
  placement->set_append_timestamp_ms(result.append_timestamp_ms);
}

}  // namespace

void ProduceSessionImpl::Submit(ProduceCommand command, const Caller& caller, uint64_t token) {
  const uint64_t number = next_request_++;
  Request& request = requests_[number];
  request.token = token;
  request.topic = command.topic;
  request.acks = command.acks;
  ++totals_.requests;
  // What became of the records is told while the caller still listens: NO_LEADER says more than a deadline
  // that has passed.
  const Duration left = caller.deadline - around_.time.clock().Now();
  const raft::Tick deadline = around_.time.At(caller.deadline - std::min(limits::kAnswerMargin, left / 10));
  // Everything has its place before the first part goes: answers may come while we still submit.
  for (const ProduceItem& item : command.items) {
    v1::ProduceResult& result = *request.response.add_results();
    if (!item.refusal.ok()) {
      ++totals_.failed_items;
      *result.mutable_error() = ToError(item.refusal);
      continue;
    }
    for (const ProducePart& part : item.parts) {
      v1::Placement& placement = *result.add_placements();
      placement.set_partition(static_cast<int32_t>(part.partition));
      placement.set_record_count(static_cast<int32_t>(part.batch.summary.records));
      ++request.waiting;
    }
  }
  for (size_t i = 0; i < command.items.size(); ++i) {
    for (size_t p = 0; p < command.items[i].parts.size(); ++p) {
      ProducePart& part = command.items[i].parts[p];
      const uint64_t place = next_part_++;
      parts_[place] = {.request = number, .item = i, .placement = p, .bytes = part.batch.records.size()};
      LaneOf({command.topic_id, part.partition}, caller)
          .Append({.token = place,
                   .batch = std::move(part.batch),
                   .producer = part.producer,
                   .expected_next_offset = part.expected_next_offset,
                   .acks = command.acks,
                   .deadline = deadline,
                   .require_leader = caller.require_leader});
    }
  }
  const auto found = requests_.find(number);
  found->second.submitted = true;
  AnswerIfComplete(number);
}

AppendLane& ProduceSessionImpl::LaneOf(const metadata::PartitionKey& partition, const Caller& caller) {
  std::unique_ptr<AppendLane>& lane = lanes_[{partition.topic, partition.partition}];
  if (lane == nullptr) lane = std::make_unique<AppendLane>(around_, partition, caller, *this);
  return *lane;
}

void ProduceSessionImpl::OnAppended(const LaneAnswer& answer) {
  const auto at = parts_.find(answer.token);
  const PartPlace place = at->second;
  parts_.erase(at);
  Request& request = requests_.at(place.request);
  v1::ProduceResult& result = *request.response.mutable_results(static_cast<int>(place.item));
  v1::Placement& placement = *result.mutable_placements(static_cast<int>(place.placement));
  FillPlacement(answer, request.acks, &placement);
  if (answer.status.ok()) {
    totals_.records += static_cast<uint64_t>(placement.record_count());
    totals_.bytes += place.bytes;
  } else {
    ++totals_.failed_items;
  }
  if (answer.remote.value() != 0) {
    *request.response.add_leaders() =
        HintOf(*around_.metadata.image(), request.topic, placement.partition(), {.node = answer.remote, .epoch = answer.epoch});
  }
  --request.waiting;
  AnswerIfComplete(place.request);
}

void ProduceSessionImpl::AnswerIfComplete(uint64_t number) {
  const auto found = requests_.find(number);
  if (!found->second.submitted || found->second.waiting != 0) return;
  Request request = std::move(found->second);
  requests_.erase(found);
  for (v1::ProduceResult& result : *request.response.mutable_results()) {
    if (result.has_error()) continue;
    for (const v1::Placement& placement : result.placements()) {
      if (!placement.has_error()) continue;
      *result.mutable_error() = placement.error();
      break;
    }
  }
  sink_.OnProduced(request.token, std::move(request.response));
}

}  // namespace flotilla::broker
