// A client's subscription: a cursor for each partition, of which each has one read on its way or one message ready; and one
// message at a time on its way to the client. Executor only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/broker/client_api.h"
#include "server/broker/fetch_session.h"
#include "server/broker/partition_reads.h"
#include "server/broker/stream_buffers.h"

namespace flotilla::broker {

class Subscription final : public EventStream, private ReadSink {
 public:
  struct Surroundings {
    raft::Executor& executor;
    const TickClock& time;
    const metadata::MetadataMachine& metadata;
    const LeaderTable& leaders;
    PartitionReads& reads;
    FetchTotals& totals;
    StreamBuffers& buffers;
    StreamOptions options;
  };
  using Synchronise = std::function<void(std::function<void(const Status&)>)>;
  // `on_gone` is told when the object dies; `synchronise` calls back when the metadata is as new as everything that was acknowledged
  // (CallBoard::SyncMetadata). References outlive it.
  Subscription(const Surroundings& around, std::string id, const v1::SubscribeRequest& request, const Caller& caller, SubscribeSink& sink,
               std::function<void()> on_gone, const Synchronise& synchronise);
  ~Subscription() override;

  const std::string& id() const { return id_; }
  // All that was ever granted; the total now in force.
  int64_t Grant(int64_t total_bytes);
  void Ready() override;
  void Tick();
  // Topics may have grown or gone.
  void OnMetadata();
  // The node stops.
  void End(const Status& status);

 private:
  enum class Stage : uint8_t {
    kLocating,  // where to begin is looked up
    kIdle,      // waits for its turn to read
    kReading,
    kReady,  // has a message
    kOver,   // ended, or cannot be read
  };
  struct Cursor {
    metadata::PartitionKey key;
    v1::TopicRef topic;
    partition::StartPosition start;
    Stage stage = Stage::kLocating;
    uint64_t read = 0;
    Offset offset;  // asked for, looked up
    Offset log_start;
    Offset next;  // after what was sent or is ready
    Offset end;   // with until_end
    bool located = false;
    bool behind = true;  // not read to the end: its next read brings a message at once
    size_t held = 0;     // for what is being read or ready
    bool told_caught_up = false;
    FetchedPartition message;
    Leader leader;
  };

  void Begin(const Status& resolved);
  Status Resolve(const v1::SubscribeRequest& request);
  Status AddCursors(const v1::SubscribeTopic& wanted, const metadata::Topic& topic, const partition::StartPosition& start);
  void Locate(size_t index);
  void OnLocated(size_t index, ReadAnswer answer);
  void StartReads();
  bool MayRead(const Cursor& cursor) const;
  // What the client is not ready for is read again later: others need the memory.
  void PutBack();
  // What this holds, of what is written, ready, and about to be read.
  void Hold(size_t bytes);
  void Drop(size_t bytes);
  void OnMessage(size_t index, ReadAnswer answer);
  void NoteLeader(Cursor* cursor, const ReadAnswer& answer);
  void NoteEnd(size_t index);
  void Fail(size_t index, const Status& status);
  void SendStarted();
  // Hands over the next event, if the client is ready for one.
  void Pump();
  bool NextEvent(SubscribeEvent* event);
  v1::CaughtUp CaughtUpOf(const Cursor& cursor) const;
  bool has_credit() const { return !credit_ || sent_bytes_ < *credit_; }

  void OnRead(uint64_t token, ReadAnswer answer) override;

  const Surroundings around_;
  const std::string id_;
  const Caller caller_;
  SubscribeSink& sink_;
  const std::function<void()> on_gone_;
  bool until_end_ = false;
  size_t min_bytes_ = 1;
  Duration max_wait_{};
  std::optional<int64_t> credit_;
  int64_t sent_bytes_ = 0;

  std::vector<v1::SubscribeTopic> grows_;  // topics of which all partitions were asked for
  std::vector<Cursor> cursors_;
  std::map<std::pair<Uuid, uint32_t>, size_t> by_partition_;
  std::deque<v1::SubscribeResponse> events_;  // to be sent before any message
  std::deque<size_t> ready_;                  // cursors with a message, in the order of their coming
  std::deque<size_t> idle_;                   // cursors that wait for their turn
  size_t ahead_ = 0;                          // cursors that have, or will at once have, a message
  size_t held_ = 0;                           // of the node's buffers
  size_t held_by_event_ = 0;                  // of these: for the event that is not written yet
  size_t over_ = 0;
  Status first_error_;
  size_t failed_ = 0;
  bool started_ = false;
  raft::Tick start_by_ = 0;
  bool busy_ = false;  // the client has an event that is not written yet
  bool ended_ = false;
  bool resolved_ = false;
  std::shared_ptr<Subscription*> self_ = std::make_shared<Subscription*>(this);  // null when it has died
  raft::Tick handed_at_ = 0;
  raft::Tick quiet_since_ = 0;
};

}  // namespace flotilla::broker
