// ConsumeService's unary calls beside Fetch: looking up offsets, and credit for subscriptions.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "flotilla/v1/consume.pb.h"
#include "server/broker/member_context.h"

namespace flotilla::broker {

class ConsumeCalls final : public CallService, private ReadSink {
 public:
  // `grant`: gives credit to a subscription of this node; nothing when there is no such one.
  using Grant = std::function<std::optional<int64_t>(const std::string& subscription, int64_t total_bytes)>;
  ConsumeCalls(const MemberContext& member, Grant grant);
  ~ConsumeCalls() override;

 private:
  struct Lookup {
    uint64_t call = 0;
    v1::ListOffsetsResponse response;
    std::map<uint64_t, int> reads;  // by token: which item
    std::map<uint64_t, uint64_t> tickets;
  };
  void ListOffsets(uint64_t id, const v1::ListOffsetsRequest& request);
  void GrantCredit(uint64_t id, const v1::GrantCreditRequest& request);
  void OnRead(uint64_t token, ReadAnswer answer) override;

  const MemberContext member_;
  const Grant grant_;
  uint64_t next_token_ = 1;
  std::map<uint64_t, Lookup> lookups_;    // by call
  std::map<uint64_t, uint64_t> call_of_;  // by token
};

// "3-41-7": of the node that serves the stream, so that any node can find it.
std::string SubscriptionId(NodeId node, uint64_t boot, uint64_t number);
// The node; nothing for a text that is no such id.
std::optional<NodeId> NodeOfSubscription(const std::string& id);

}  // namespace flotilla::broker
