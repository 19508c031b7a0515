// One partition of a topic on one node: a replica of its Raft group, and, while that leads, what clients
// produce to and fetch from.
//
//   Partition partition({.group = group, .host = host, .log = store, .executor = shard, .readers = readers,
//   .clock = clock}, options, config); host.OpenGroup(group, partition.machine()); every tick, after
//   host.Tick(): partition.Tick(host.now()); partition.Produce({.batch = *std::move(prepared), .acks =
//   Acks::kQuorum}, token, sink); partition.Fetch({.start = Offset{7}, .min_bytes = 1, .deadline = now + 10},
//   token, sink);
//   ...
//   host.CloseGroup(group); then the partition may die
//
// Everything on the group's executor. Batches are checked before, by PrepareBatch, on whatever thread
// received them. There is no thread, no clock and no chance in here but what the constructor was given.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "server/partition/context.h"
#include "server/partition/fetch.h"
#include "server/partition/partition_machine.h"
#include "server/partition/produce.h"

namespace flotilla::partition {

class TrimSink {
 public:
  virtual ~TrimSink() = default;
  // OK: records before `log_start_offset` are gone, on a majority for good. Refusals and outcomes as those of
  // a produce call; trimming twice does no harm.
  virtual void OnTrimmed(uint64_t token, const Status& status, Offset log_start_offset) = 0;
};

struct PartitionStatus {
  raft::StateMachine::Leadership leadership;
  Offset log_start_offset;
  Offset high_watermark;
  LogIndex applied;
  LogIndex anchor;  // up to here the log may be cut
  uint64_t producers = 0;
  uint64_t checkpoints = 0;
  ProduceCounters produce;
  FetchCounters fetch;
  Status fault;
};

class Partition final : private PartitionMachine::Observer, private raft::ProposalSink, private raft::ReadSink {
 public:
  Partition(const Surroundings& surroundings, const PartitionOptions& options, const PartitionConfig& config);
  // The group is closed. Whoever still waits is answered: produce calls with OUTCOME_UNKNOWN, fetches with
  // CANCELLED.
  ~Partition() override;
  Partition(const Partition&) = delete;
  Partition& operator=(const Partition&) = delete;

  raft::StateMachine& machine() { return machine_; }
  // The topic's config changed.
  void Configure(const PartitionConfig& config) { context_.config = config; }
  const PartitionConfig& config() const { return context_.config; }

  // --- calls; see produce.h and fetch.h
  Status Produce(ProduceCall call, uint64_t token, ProduceSink& sink) { return produce_.Produce(std::move(call), token, sink); }
  Result<uint64_t> Fetch(const FetchCall& call, uint64_t token, FetchSink& sink) { return fetch_.Fetch(call, token, sink); }
  Result<uint64_t> Locate(const StartPosition& start, uint64_t token, FetchSink& sink) { return fetch_.Locate(start, token, sink); }
  void CancelFetch(uint64_t ticket) { fetch_.Cancel(ticket); }
  // Records before `log_start` go, replicated; at once for readers, and from the disk soon after.
  // OFFSET_OUT_OF_RANGE above the high watermark. At or before the present start: nothing to do, OK.
  void Trim(Offset log_start, uint64_t token, TrimSink& sink);
  void Forget(ProduceSink& sink) { produce_.Forget(sink); }
  void Forget(FetchSink& sink) { fetch_.Forget(sink); }
  void Forget(TrimSink& sink);

  // --- time and the disk
  void Tick(raft::Tick now);
  // The group's writes may have become durable: answers Acks::kLeader without waiting for the next call, tick
  // or commit. Optional.
  void OnDiskAdvanced() { produce_.Advance(); }

  // --- views
  Offset log_start() const { return machine_.log_start(); }
  Offset high_watermark() const { return machine_.high_watermark(); }
  uint64_t waiting_appends() const { return produce_.counters().waiting; }
  uint64_t waiting_fetches() const { return fetch_.counters().waiting; }
  // Payload bytes applied since this object was made.
  uint64_t applied_bytes() const { return machine_.applied_bytes(); }
  // OK, or why this replica answers nobody: see Context::MayServe.
  Status MayServe() const { return context_.MayServe(); }
  PartitionStatus status() const;
  // Not OK: this replica has stopped, and why.
  const Status& fault() const { return machine_.fault(); }

 private:
  struct TrimCall {
    TrimSink* sink;
    uint64_t token;
    Offset log_start;  // asked for
    Term term;         // in which it was taken
  };
  struct Wake;      // a look at what moved, posted
  struct CutPlace;  // where the log may be cut: asked on a reader, answered here
  struct CutPlaced;

  // PartitionMachine::Observer: inside of the group, so only noted and posted.
  void OnAdvanced() override { PostWake(); }
  void OnLeadership() override;
  void OnFault() override;
  void ProposeTrim(uint64_t number);
  void AnswerTrim(uint64_t number, const Status& status);
  // raft::ReadSink: of trims beyond the end, which only a leader that is sure of it may refuse.
  void OnRead(uint64_t token, const Status& status, LogIndex index) override;
  // raft::ProposalSink: of trims.
  void OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& header) override;

  void PostWake();
  void LookAround();
  void PlaceCut();
  void Cut();
  void OnCutPlace(Offset log_start, const Result<storage::EntryHeader>& header);

  PartitionMachine machine_;
  Context context_;
  ProducePath produce_;
  FetchPath fetch_;
  std::shared_ptr<bool> alive_;
  bool wake_posted_ = false;
  bool leadership_moved_ = false;
  uint64_t next_trim_ = 1;
  std::map<uint64_t, TrimCall> trims_;
  Offset cut_for_;  // the log start that the anchor was last moved for
  bool cut_placing_ = false;
  raft::Tick cut_retry_at_ = raft::kNever;
};

}  // namespace flotilla::partition
