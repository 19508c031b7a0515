// The produce requests of one stream, or a single one: split into lanes by partition, and put together again.
// Executor only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "server/broker/append_lane.h"
#include "server/broker/client_api.h"

namespace flotilla::broker {

struct ProduceTotals {
  uint64_t requests = 0;
  uint64_t records = 0;
  uint64_t bytes = 0;
  uint64_t failed_items = 0;
};

class ProduceSessionImpl final : public ProduceSession, public LaneSink {
 public:
  // References outlive this.
  ProduceSessionImpl(const AppendLane::Surroundings& around, ProduceTotals& totals, ProduceSink& sink)
      : around_(around), totals_(totals), sink_(sink) {}

  void Submit(ProduceCommand command, const Caller& caller, uint64_t token) override;

 private:
  struct PartPlace {
    uint64_t request;
    size_t item;
    size_t placement;
    size_t bytes;
  };
  struct Request {
    uint64_t token = 0;
    v1::TopicRef topic;
    partition::Acks acks = partition::Acks::kQuorum;
    v1::ProduceResponse response;
    size_t waiting = 0;  // parts
    bool submitted = false;
  };

  AppendLane& LaneOf(const metadata::PartitionKey& partition, const Caller& caller);
  void AnswerIfComplete(uint64_t number);
  void OnAppended(const LaneAnswer& answer) override;

  const AppendLane::Surroundings around_;
  ProduceTotals& totals_;
  ProduceSink& sink_;
  uint64_t next_request_ = 1;
  uint64_t next_part_ = 1;
  std::unordered_map<uint64_t, Request> requests_;
  std::unordered_map<uint64_t, PartPlace> parts_;
  std::map<std::pair<Uuid, uint32_t>, std::unique_ptr<AppendLane>> lanes_;
};

}  // namespace flotilla::broker
