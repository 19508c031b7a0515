// One attempt at one partition: hands a part of a call to the leader, here or on another node, and says what came of it.
// Whether to try again is for those who know the call (produce_session, partition_reads).
//
//   uint64_t ticket = dispatcher.Start({.partition = key, .group = group, .deadline = tick, .operation = ForwardFetch{...}},
//                                      token, sink);
//   ... sink.OnAttempt(token, {.status = NOT_LEADER, ...})      // once, never before Start returned
//
// Attempts at one partition that were started one after the other arrive in this order, as long as they go the same way.
// Executor only.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <variant>

#include "server/broker/caller.h"
#include "server/broker/forward.h"
#include "server/broker/leader_table.h"
#include "server/broker/peer_network.h"
#include "server/broker/replicas.h"
#include "server/broker/stage_times.h"
#include "server/broker/tick_clock.h"

namespace flotilla::broker {

struct Attempt {
  metadata::PartitionKey partition;
  GroupId group;
  // Gives up then; of a fetch this is not the time it may wait for records.
  raft::Tick deadline = raft::kNever;
  // On whose behalf, when it goes to another node. May be null.
  const Caller* caller = nullptr;
  // Only here: NO_LEADER when this node does not lead.
  bool require_leader = false;
  std::variant<ForwardAppend, ForwardFetch, ForwardLocate> operation;
};

struct AttemptAnswer {
  // OK, what the leader says, NO_LEADER when nobody is known to lead: nothing was done. OUTCOME_UNKNOWN of an append whose
  // answer was lost.
  Status status;
  // Answered by another node: this one, leading in this term, with OK.
  NodeId remote;
  Term epoch;
  std::variant<std::monostate, partition::ProduceResult, partition::FetchResult> result;
};

class AttemptSink {
 public:
  virtual ~AttemptSink() = default;
  virtual void OnAttempt(uint64_t token, AttemptAnswer answer) = 0;
};

struct DispatchCounters {
  uint64_t local = 0;
  uint64_t forwarded = 0;
  uint64_t broken = 0;  // lost with the connection
};

class Dispatcher final : public ReplicaListener, private partition::ProduceSink, private partition::FetchSink {
 public:
  struct Surroundings {
    NodeId self;
    raft::Executor& executor;
    const TickClock& time;
    Replicas& replicas;
    LeaderTable& leaders;
    PeerNetwork& network;
  };
  // References outlive this.
  explicit Dispatcher(const Surroundings& around) : around_(around) {}
  ~Dispatcher() override;

  // `sink` lives until it is answered or the ticket is cancelled.
  uint64_t Start(Attempt attempt, uint64_t token, AttemptSink& sink);
  // Not answered any more. A read ends; an append goes on.
  void Cancel(uint64_t ticket);

  void OnForwardAnswer(NodeId from, ForwardAnswer answer);
  void OnForwardBroken(NodeId to);
  void Tick();
  // Attempts that are not answered yet.
  size_t size() const { return rows_.size(); }
  const DispatchCounters& counters() const { return counters_; }
  StageTimes& stage_times() { return stage_times_; }
  const StageTimes& stage_times() const { return stage_times_; }

  // ReplicaListener
  void OnReplicaOpened(GroupId /*group*/, partition::Partition& /*partition*/) override {}
  void OnReplicaClosing(GroupId group) override;

 private:
  struct Row {
    AttemptSink* sink;
    uint64_t token;
    GroupId group;
    bool append = false;
    NodeId remote;              // 0: here
    uint64_t fetch_ticket = 0;  // of Partition::Fetch
    Term epoch;                 // in which `remote` led when it was asked
    bool repeatable = false;    // does no harm twice: a read, or an append that is deduplicated
    raft::Tick give_up = raft::kNever;
    MonotonicTime begin{};  // of an append
  };
  using Rows = std::unordered_map<uint64_t, Row>;

  void StartHere(uint64_t ticket, Row* row, partition::Partition& partition, Attempt attempt);
  void StartThere(uint64_t ticket, Row* row, const Leader& leader, Attempt attempt);
  void Answer(uint64_t ticket, AttemptAnswer answer);
  void Flush();
  // Somebody else leads by now, and the one who was asked says nothing: it may be frozen.
  bool LedElsewhere(const Row& row) const;
  void LearnFrom(GroupId group, const Status& status, const Leader& hint, NodeId from);

  void OnProduced(uint64_t ticket, const partition::ProduceResult& result) override;
  void OnFetched(uint64_t ticket, partition::FetchResult result) override;

  const Surroundings around_;
  uint64_t next_ticket_ = 1;
  Rows rows_;
  std::deque<std::pair<uint64_t, AttemptAnswer>> answers_;
  bool flush_posted_ = false;
  raft::Tick look_at_ = 0;
  DispatchCounters counters_;
  StageTimes stage_times_;
};

}  // namespace flotilla::broker
