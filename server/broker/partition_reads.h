// Reads of one partition, seen through to an answer: wherever its leader is, across elections, until the deadline.
//
//   uint64_t ticket = reads.Fetch({.partition = key, .start = Offset{7}, .max_wait = 500ms, .deadline = tick}, token, sink);
//   ... sink.OnRead(token, {.status = OK, .result = ...})       // once, never before Fetch returned
//
// Executor only.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "server/broker/dispatcher.h"
#include "server/broker/leader_waits.h"
#include "server/metadata/metadata_machine.h"

namespace flotilla::broker {

struct ReadCall {
  metadata::PartitionKey partition;
  partition::StartPosition start;
  // Of a fetch; not counted while there is no leader.
  size_t min_bytes = 1;
  size_t max_bytes = 0;
  Duration max_wait{};
  // NO_LEADER at this tick, if none was found. kNever: waits for ever.
  raft::Tick deadline = raft::kNever;
  // NOT_LEADER (with the leader's address) rather than forwarding or waiting.
  bool require_leader = false;
};

struct ReadAnswer {
  // Also TOPIC_NOT_FOUND and PARTITION_NOT_FOUND.
  Status status;
  partition::FetchResult result;
  // The node that led; 0: this one.
  NodeId remote;
  Term epoch;
};

class ReadSink {
 public:
  virtual ~ReadSink() = default;
  virtual void OnRead(uint64_t token, ReadAnswer answer) = 0;
};

class PartitionReads final : private AttemptSink, private LeaderWaitSink {
 public:
  struct Surroundings {
    raft::Executor& executor;
    const TickClock& time;
    const metadata::MetadataMachine& metadata;
    const LeaderTable& leaders;
    Dispatcher& dispatcher;
    LeaderWaits& waits;
  };
  explicit PartitionReads(const Surroundings& around) : around_(around) {}

  // `caller` is not kept.
  uint64_t Fetch(const ReadCall& call, const Caller& caller, uint64_t token, ReadSink& sink) {
    return Begin(call, false, caller, token, sink);
  }
  // Where `start` is, and both ends.
  uint64_t Locate(const ReadCall& call, const Caller& caller, uint64_t token, ReadSink& sink) {
    return Begin(call, true, caller, token, sink);
  }
  // Not answered any more.
  void Cancel(uint64_t ticket);
  // Whether the read waits for a leader.
  bool Leaderless(uint64_t ticket) const;
  size_t size() const { return rows_.size(); }

 private:
  struct Row {
    ReadCall call;
    bool locate = false;
    Caller caller;
    uint64_t token = 0;
    ReadSink* sink = nullptr;
    uint64_t attempt = 0;  // on its way, or
    uint64_t wait = 0;     // waiting for a leader
  };

  uint64_t Begin(const ReadCall& call, bool locate, const Caller& caller, uint64_t token, ReadSink& sink);
  void Try(uint64_t ticket, Row* row);
  void Finish(uint64_t ticket, ReadAnswer answer);

  void OnAttempt(uint64_t ticket, AttemptAnswer answer) override;
  void OnLeaderAwaited(uint64_t ticket) override;

  const Surroundings around_;
  uint64_t next_ticket_ = 1;
  std::unordered_map<uint64_t, Row> rows_;
};

// The partition's group as of the image; TOPIC_NOT_FOUND, PARTITION_NOT_FOUND.
Result<GroupId> GroupOf(const metadata::Image& image, const metadata::PartitionKey& key);
// NOT_LEADER with topic, partition, leader_node_id, leader_address and leader_epoch; NO_LEADER when there is none.
Status LeaderIsElsewhere(const metadata::Image& image, const metadata::PartitionKey& key, const Leader& leader);

}  // namespace flotilla::broker
