// The inside of a Producer. Callers, gRPC's threads and a timer thread of its own meet here under one mutex, which is held to
// look and to decide; what was decided (writes, callbacks) is done after it is released.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/produce_lane.h"
#include "client/cpp/producer.h"
#include "client/cpp/record_set_writer.h"

namespace flotilla::client {

class ProducerCore : public std::enable_shared_from_this<ProducerCore> {
 public:
  ProducerCore(Client& client, const ProducerOptions& options, int32_t partition_count, ProducerIdentity identity);
  ~ProducerCore();

  void Start();
  Error Send(const RecordView& record, const SendOptions& options, bool at_once);
  Error Flush(Duration timeout);
  void Stop();
  int32_t partition_count() const { return partition_count_; }

 private:
  // The ProduceStream to one node.
  class NodeStream;
  // A question to a node that is silent.
  class Probe;
  struct Written {  // and not answered
    size_t lane = 0;
    uint64_t batch_id = 0;
    size_t bytes = 0;
    MonotonicTime since;
    bool started = false;  // some of it may have left
  };
  struct Outgoing {
    int64_t correlation_id = 0;
    std::vector<Bytes> pieces;
  };
  struct Lane {
    Lane(const ProduceLaneOptions& options, ProducerIdentity identity) : batches(options, identity) {}
    ProduceLane batches;
    // The batch that is being filled. Null: none.
    std::unique_ptr<RecordSetWriter> open;
    std::unique_ptr<ProduceBatch> open_batch;
    MonotonicTime open_until;
    size_t last_bytes = 0;               // of the last batch, as a guess at the next
    std::shared_ptr<NodeStream> stream;  // all that is outstanding went there
    bool identity_asked = false;
    const NodeStream* waits_for = nullptr;  // for its answers, before the open batch is sent; null: none
  };
  // What is left to do without the mutex.
  struct Todo {
    struct Write {
      std::shared_ptr<NodeStream> stream;
      std::vector<Bytes> pieces;
      bool more_follows;
    };
    std::vector<Write> writes;
    std::vector<SettledBatch> settled;
    std::vector<std::shared_ptr<NodeStream>> cancelled;
    std::vector<std::shared_ptr<Stream>> probes;  // to be cancelled
    bool refresh = false;
    std::vector<size_t> identities;
  };

  // --- with the mutex
  size_t ChooseLane(const RecordView& record, const SendOptions& options);
  void Append(size_t lane, const RecordView& record, size_t size, const SendOptions& options, MonotonicTime now);
  void Complete(Lane& lane);  // the open batch
  void Pump(size_t lane, MonotonicTime now, Todo* todo);
  std::shared_ptr<NodeStream> StreamFor(size_t lane);
  bool MustWait(size_t lane);
  void Refill(const std::shared_ptr<NodeStream>& stream, MonotonicTime now, Todo* todo);
  void StartWrite(const std::shared_ptr<NodeStream>& stream, Todo* todo);
  void EndStream(const std::shared_ptr<NodeStream>& stream, const Error& error, MonotonicTime now, Todo* todo);
  void CheckTimes(MonotonicTime now, Todo* todo);
  void CheckStream(const std::shared_ptr<NodeStream>& stream, MonotonicTime now, Todo* todo);
  void StartProbe(const std::shared_ptr<NodeStream>& stream, MonotonicTime now);
  MonotonicTime NextTime() const;

  // --- without it
  void Do(Todo todo);
  void Deliver(std::vector<SettledBatch>& settled);
  void RunTimer();
  void AskForLeaders();
  void AskForIdentity(size_t lane);

  // --- from streams
  void OnMessage(const std::shared_ptr<NodeStream>& stream, const Bytes& message);
  void OnWritten(const std::shared_ptr<NodeStream>& stream);
  void OnEnd(const std::shared_ptr<NodeStream>& stream, const Error& error);
  void OnProbeAnswered(const std::shared_ptr<NodeStream>& stream);

  Client& client_;
  const ProducerOptions options_;
  const int32_t partition_count_;
  const std::shared_ptr<ChunkPool> pool_;

  std::mutex mutex_;  // guards all below
  std::condition_variable room_;
  std::condition_variable timer_wakeup_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::map<std::string, std::shared_ptr<NodeStream>> streams_;
  // Lanes with an open batch, in the order in which they are due; entries may be out of date.
  std::deque<std::pair<MonotonicTime, size_t>> due_;
  size_t sticky_ = 0;
  size_t buffered_bytes_ = 0;
  size_t unsettled_records_ = 0;
  int flushing_ = 0;
  uint64_t next_id_ = 1;
  MonotonicTime scanned_{};
  bool refresh_pending_ = false;
  bool stopped_ = false;
  Error fatal_;
  std::thread timer_;
};

}  // namespace flotilla::client
