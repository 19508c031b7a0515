// What clients can ask of a node: the broker behind its gRPC edge. The edge turns bytes into these values and back, and knows
// nothing of topics and leaders; the broker knows nothing of gRPC. The simulator's clients call the same.
//
// The broker's executor owns everything: unless it says otherwise, call and be called there. Sinks and callbacks post to
// where they belong and do not call back. Errors are Status with a reason of the catalogue (server/errors).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "flotilla/v1/cluster.pb.h"
#include "flotilla/v1/consume.pb.h"
#include "flotilla/v1/produce.pb.h"
#include "raft/node/executor.h"
#include "server/broker/caller.h"
#include "server/metadata/image.h"
#include "server/partition/batch.h"
#include "server/partition/fetch.h"
#include "server/partition/produce.h"
#include "storage/base/bytes.h"
#include "storage/base/status.h"

namespace flotilla::broker {

// --- Produce

// Records for one partition, checked (PrepareBatch).
struct ProducePart {
  uint32_t partition = 0;
  partition::PreparedBatch batch;
  partition::ProducerBatch producer = {};
  std::optional<Offset> expected_next_offset = {};
};
// One item of a ProduceRequest: refused as a whole, or split into parts by ascending partition.
struct ProduceItem {
  Status refusal;
  std::vector<ProducePart> parts;
};
struct ProduceCommand {
  v1::TopicRef topic;  // name, namespace and id as of the image that it was split by
  Uuid topic_id;
  partition::Acks acks = partition::Acks::kQuorum;
  std::vector<ProduceItem> items;
};

class ProduceSink {
 public:
  virtual ~ProduceSink() = default;
  virtual void OnProduced(uint64_t token, v1::ProduceResponse response) = 0;
};
// Requests that keep their order: of one ProduceStream, or a single one. For each partition what is submitted is appended in the
// order of Submit, and answers come in it.
class ProduceSession {
 public:
  // Nothing is answered any more. What was submitted may still be appended.
  virtual ~ProduceSession() = default;
  // Answered once, at `caller.deadline` at the latest.
  virtual void Submit(ProduceCommand command, const Caller& caller, uint64_t token) = 0;
};

// --- Fetch and subscribe

struct FetchedPartition {
  v1::TopicRef topic;  // as asked for, and with name and id when it is known
  int32_t partition = 0;
  Status status;
  Offset start_offset;
  Offset next_offset;
  Offset log_start_offset;
  Offset high_watermark;
  bool caught_up = false;
  std::vector<partition::FetchedBatch> batches;  // as stored: the edge decompresses for clients that cannot
};
struct FetchAnswer {
  std::vector<FetchedPartition> partitions;
  std::vector<v1::LeaderHint> leaders;
};
using FetchDone = std::function<void(Result<FetchAnswer>)>;

// A message of a stream. Records come as a FetchedPartition, everything else as it is sent.
using SubscribeEvent = std::variant<v1::SubscribeResponse, FetchedPartition>;
class SubscribeSink {
 public:
  virtual ~SubscribeSink() = default;
  // The next one comes after Ready().
  virtual void OnEvent(SubscribeEvent event) = 0;
  // The stream ends: with OK when all that was asked for was sent. Nothing comes after it. May come although the last event
  // is not written yet (SLOW_CONSUMER, SHUTTING_DOWN).
  virtual void OnEnd(const Status& status) = 0;
};
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  virtual void OnEvent(v1::WatchMetadataResponse event) = 0;
  virtual void OnEnd(const Status& status) = 0;
};
// A stream to a client that can be slow: one event at a time is on its way.
class EventStream {
 public:
  // The client is gone; the sink is not called any more.
  virtual ~EventStream() = default;
  // The last event was written.
  virtual void Ready() = 0;
};

// --- Everything else: unary calls by name, as serialized messages

using CallDone = std::function<void(Result<std::string>)>;

// How streams that are open for long are kept.
struct StreamOptions {
  // One that has nothing to say says so after this long.
  Duration heartbeat = std::chrono::seconds(10);
  // One whose client took nothing for so long is ended with SLOW_CONSUMER.
  Duration stall = std::chrono::seconds(60);
};

class ClientApi {
 public:
  virtual ~ClientApi() = default;

  // --- any thread
  virtual raft::Executor& executor() = 0;
  // Null before the node is in a cluster.
  virtual metadata::Shared<metadata::Image> metadata() const = 0;

  // --- executor
  // OK, or why this node takes no calls of clients (NOT_INITIALIZED, SHUTTING_DOWN): what the calls below would say too.
  virtual Status Available() const = 0;
  // Calls `done` with OK once metadata() is as new as everything that was acknowledged, by any node, before this call. For the
  // edge when a topic is not found: it may have been created through another node a moment ago.
  virtual void SyncMetadata(const Caller& caller, std::function<void(const Status&)> done) = 0;
  // `method` as "/flotilla.v1.AdminService/CreateTopic": all unary methods of the public services but Produce and Fetch. The
  // ticket is for Cancel. `done` is called once, perhaps before this returns, unless it is cancelled. UNSUPPORTED: no such method.
  virtual uint64_t Call(std::string_view method, const std::string& request, const Caller& caller, CallDone done) = 0;
  // Long polls end half a second before the caller's deadline.
  virtual uint64_t Fetch(const v1::FetchRequest& request, const Caller& caller, FetchDone done) = 0;
  // The client is gone: `done` of a Call or Fetch is not called any more. What it asked for may still happen.
  virtual void Cancel(uint64_t ticket) = 0;

  // Sinks outlive what they are given to.
  virtual std::unique_ptr<ProduceSession> OpenProduce(ProduceSink& sink) = 0;
  virtual std::unique_ptr<EventStream> Subscribe(const v1::SubscribeRequest& request, const Caller& caller, SubscribeSink& sink) = 0;
  virtual std::unique_ptr<EventStream> WatchMetadata(const v1::WatchMetadataRequest& request, const Caller& caller, WatchSink& sink) = 0;
};

}  // namespace flotilla::broker
