// Parts of other nodes' calls: served from what this node leads, or refused with NOT_LEADER. The inbound side of one stream.
// Executor only.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "server/broker/dispatcher.h"
#include "server/broker/peer_api.h"
#include "server/metadata/metadata_machine.h"

namespace flotilla::broker {

class ForwardSessionImpl final : public ForwardSession, private AttemptSink {
 public:
  struct Surroundings {
    NodeId self;
    const TickClock& time;
    const metadata::MetadataMachine& metadata;
    const LeaderTable& leaders;
    const Replicas& replicas;
    Dispatcher& dispatcher;
  };
  ForwardSessionImpl(const Surroundings& around, ForwardSink& sink) : around_(around), sink_(sink) {}
  ~ForwardSessionImpl() override;

  void Submit(ForwardRequest request) override;

 private:
  void Refuse(uint64_t id, const Status& status, GroupId group);
  void OnAttempt(uint64_t id, AttemptAnswer answer) override;

  const Surroundings around_;
  ForwardSink& sink_;
  struct Row {
    uint64_t ticket = 0;
    GroupId group;
  };
  std::unordered_map<uint64_t, Row> rows_;  // by the caller's id
};

}  // namespace flotilla::broker
