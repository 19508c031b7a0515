// The batches of one producing session for one partition, in order, until each of them has its answer.
//
// Batches flow to the leader one behind the other. When one of them has to be tried again (the leader is gone, or its answer
// was lost and the batch can be recognised), the lane stalls: nothing new is sent until all that is on its way has been
// answered; then the lane waits for a leader and sends again, from the oldest that needs it, in order. What was refused only
// because one before it was missing goes again with it.
//
// Executor only.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "server/broker/caller.h"
#include "server/broker/dispatcher.h"
#include "server/broker/leader_waits.h"
#include "server/metadata/metadata_machine.h"

namespace flotilla::broker {

// What became of a batch.
struct LaneAnswer {
  uint64_t token = 0;
  Status status;
  partition::ProduceResult result;  // with OK
  NodeId remote;                    // who answered, if it was another node
  Term epoch;
};
class LaneSink {
 public:
  virtual ~LaneSink() = default;
  // In the order of Append.
  virtual void OnAppended(const LaneAnswer& answer) = 0;
};

struct LaneCall {
  uint64_t token = 0;
  partition::PreparedBatch batch;
  partition::ProducerBatch producer;
  std::optional<Offset> expected_next_offset;
  partition::Acks acks = partition::Acks::kQuorum;
  raft::Tick deadline = raft::kNever;
  bool require_leader = false;
};

class AppendLane final : private AttemptSink, private LeaderWaitSink {
 public:
  struct Surroundings {
    const TickClock& time;
    const metadata::MetadataMachine& metadata;
    const LeaderTable& leaders;
    Dispatcher& dispatcher;
    LeaderWaits& waits;
  };
  // References outlive this. `caller` is whose batches they are.
  AppendLane(const Surroundings& around, const metadata::PartitionKey& partition, const Caller& caller, LaneSink& sink)
      : around_(around), partition_(partition), caller_(caller), sink_(sink) {}
  // Nobody is told any more.
  ~AppendLane() override;

  void Append(LaneCall call);
  bool idle() const { return items_.empty(); }

 private:
  // Batches on their way in one lane: more would only queue elsewhere.
  static constexpr size_t kSentMax = 256;
  enum class State : uint8_t { kQueued, kSent, kAgain, kDone };
  struct Item {
    LaneCall call;  // of its batch another handle may be in the log: only its records are read
    std::optional<uint64_t> after;
    State state = State::kQueued;
    bool tried = false;
    bool maybe_applied = false;
    uint64_t attempt = 0;
    LaneAnswer answer;
  };

  void Pump();
  void Send(uint64_t number, Item* item);
  // Whether the item is to be sent again after this answer.
  bool Again(const Item& item, const Status& status) const;
  Status GivenUp(const Item& item) const;
  void Finish(Item* item, AttemptAnswer answer);
  void Deliver();
  void Resume();
  void ExpireWaiting();
  Item& At(uint64_t number) { return items_[number - first_]; }

  void OnAttempt(uint64_t number, AttemptAnswer answer) override;
  void OnLeaderAwaited(uint64_t token) override;

  const Surroundings around_;
  const metadata::PartitionKey partition_;
  const Caller caller_;
  LaneSink& sink_;
  std::deque<Item> items_;
  uint64_t first_ = 0;  // number of items_.front()
  uint64_t next_ = 0;   // of the next to be sent
  size_t sent_ = 0;
  bool stalled_ = false;
  uint64_t wait_ = 0;
  // Of the last item that counts per topic and failed in a way that is sent again: until that comes, those behind it name it.
  std::optional<partition::ProducerBatch> failed_;
};

}  // namespace flotilla::broker
