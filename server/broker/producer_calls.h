// ProduceService.InitProducer. Ids come from a block that this node reserved in the metadata; what has to be remembered (a raised
// epoch, a request_id) is decided by the metadata leader.
#pragma once

#include <deque>
#include <utility>

#include "flotilla/internal/v1/peer.pb.h"
#include "flotilla/v1/produce.pb.h"
#include "server/broker/decisions.h"
#include "server/broker/member_context.h"

namespace flotilla::broker {

class ProducerCalls final : public CallService {
 public:
  ProducerCalls(const MemberContext& member, Decisions& decisions);

 private:
  // By name: one call of a client is another one inside, with a place of its own.
  void Init(uint64_t id, const v1::InitProducerRequest& request);
  void Decide(uint64_t id, const v1::InitProducerRequest& request);
  void Reserve(uint64_t id, const internal::v1::ReserveProducerIdsRequest& request);
  void FillBlock();
  void GiveOut();

  const MemberContext member_;
  Decisions& decisions_;
  uint64_t next_ = 0;
  uint64_t left_ = 0;
  bool filling_ = false;
  std::deque<std::pair<uint64_t, v1::InitProducerRequest>> waiting_;
};

}  // namespace flotilla::broker
