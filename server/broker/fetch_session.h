// Unary fetches over many partitions: each partition is read on its own, wherever its leader is, and the answer leaves when
// there is enough, something failed, or the time is over. Executor only.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "server/broker/client_api.h"
#include "server/broker/partition_reads.h"

namespace flotilla::broker {

struct FetchTotals {
  uint64_t requests = 0;
  uint64_t records = 0;
  uint64_t bytes = 0;
};

class Fetches final : private ReadSink {
 public:
  struct Surroundings {
    raft::Executor& executor;
    const TickClock& time;
    const metadata::MetadataMachine& metadata;
    PartitionReads& reads;
  };
  // References outlive this.
  Fetches(const Surroundings& around, FetchTotals& totals) : around_(around), totals_(totals) {}

  // `done` is called once, never before this returned, unless the ticket is cancelled.
  // `synced`: why the image may be too old to say that something does not exist.
  void Begin(uint64_t ticket, const v1::FetchRequest& request, const Caller& caller, FetchDone done, const Status& synced = {});
  void Cancel(uint64_t ticket);
  size_t size() const { return fetches_.size(); }
  void Tick();

 private:
  enum class Stage : uint8_t { kReading, kFilled, kFailed };
  struct Part {
    Stage stage = Stage::kReading;
    uint64_t read = 0;  // ticket; 0: none on its way
    FetchedPartition result;
    metadata::PartitionKey key;
    size_t max_bytes = 0;
    size_t bytes = 0;
    NodeId remote;
    Term epoch;
    bool reached = false;  // its leader answered at least once
  };
  struct Fetch {
    Caller caller;
    FetchDone done;
    std::vector<Part> parts;
    size_t min_bytes = 1;
    size_t max_bytes = 0;
    raft::Tick wait_until = 0;
    raft::Tick deadline = 0;
    // The first round of several partitions: each says what it has at once, so that none starves because others always have
    // something, or fail. Then whoever may wait is asked again.
    bool gathering = false;
    raft::Tick gather_until = 0;  // whoever does not answer is not waited for longer
    bool require_leader = false;
    bool finish_posted = false;
  };
  struct ReadPlace {
    uint64_t fetch;
    size_t part;
  };

  void Read(uint64_t ticket, Fetch* fetch, size_t part, const partition::StartPosition& start);
  void Take(Part* part, ReadAnswer answer);
  // Whether the first round is over.
  bool Gathered(const Fetch& fetch) const;
  // Whether there is nothing to wait for any more.
  bool Complete(const Fetch& fetch) const;
  void Settle(uint64_t ticket, Fetch* fetch);
  void Finish(uint64_t ticket);
  void StopReads(Fetch* fetch);

  void OnRead(uint64_t token, ReadAnswer answer) override;

  const Surroundings around_;
  FetchTotals& totals_;
  uint64_t next_token_ = 1;
  std::unordered_map<uint64_t, Fetch> fetches_;
  std::unordered_map<uint64_t, ReadPlace> places_;
  std::vector<uint64_t> finished_;
};

// INVALID_ARGUMENT: a negative offset, time or count.
Result<partition::StartPosition> StartOf(const v1::StartPosition& start);
size_t BytesOf(const std::vector<partition::FetchedBatch>& batches);
// What came of a read as clients see it.
void FillFetched(const partition::FetchResult& result, FetchedPartition* fetched);

}  // namespace flotilla::broker
