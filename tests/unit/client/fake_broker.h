// A broker in memory behind a real gRPC port: enough of the services for clients to be tried against, and ways to make it fail.
// Several of them can share a log and so play the nodes of one cluster.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "flotilla/v1/consume.pb.h"
#include "flotilla/v1/errors.pb.h"
#include "flotilla/v1/produce.pb.h"

namespace flotilla::testing {

v1::Error MakeError(v1::ErrorReason reason, int code, v1::Retry retry, const std::string& message);

// The topics and records of a cluster. Any thread.
class FakeLog {
 public:
  struct StoredBatch {
    int64_t base_offset = 0;
    v1::RecordBatch batch;
  };
  struct Partition {
    std::vector<StoredBatch> batches;
    int64_t end = 0;
    std::map<int64_t, int64_t> next_sequence;                           // by producer
    std::map<std::pair<int64_t, int64_t>, int64_t> offset_of_sequence;  // by producer and base sequence
  };

  void CreateTopic(const std::string& name, int32_t partitions);
  // -1: none.
  int32_t PartitionCount(const std::string& name) const;
  void DeleteTopic(const std::string& name);
  std::vector<std::string> Topics() const;
  int64_t NewProducerId();

  // As a partition does it: sequences are checked, duplicates recognised.
  v1::ProduceResult Append(const std::string& topic, const v1::ProduceItem& item);
  // Batches with records at or after `offset`, at most one batch beyond `max_bytes`.
  v1::FetchedPartition Read(const std::string& topic, int32_t partition, int64_t offset, size_t max_bytes) const;
  // All values of a partition, in order.
  std::vector<std::string> Values(const std::string& topic, int32_t partition) const;
  // Forgets the producers of a partition.
  void ForgetProducers(const std::string& topic, int32_t partition);

  // Asked for each batch before it is appended; returns an error to refuse it with. Replaced by tests.
  std::function<std::unique_ptr<v1::Error>(const v1::ProduceItem&)> refuse;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::vector<Partition>> topics_;
  int64_t next_producer_id_ = 1;
};

// One node.
class FakeBroker {
 public:
  struct Options {
    int32_t node_id = 1;
    bool initialized = true;
  };
  FakeBroker(std::shared_ptr<FakeLog> log, Options options);
  explicit FakeBroker(std::shared_ptr<FakeLog> log);
  ~FakeBroker();

  const std::string& address() const { return address_; }
  // Who else there is, and who leads everything; told by GetMetadata.
  void SetCluster(std::map<int32_t, std::string> nodes, int32_t leader);
  // On which nodes a partition's replicas are, for GetMetadata.
  void SetReplicas(const std::string& topic, int32_t partition, std::vector<int32_t> nodes);
  // Closes every connection and the port. Nothing is held any more.
  void Stop();

  // What stands still until something else is said: nothing, the appends (a slow disk), or whatever answers (SIGSTOP).
  enum class Held { kNothing, kAppends, kAll };
  void Hold(Held held);

  // Answers are lost: the stream of the n-th next produce request is broken after its batch was appended.
  void BreakStreamAfterAppends(int appends);
  // Each subscription ends with UNAVAILABLE after so many messages with records. 0: never.
  void BreakSubscriptionsAfter(int messages);

  // Produce streams opened so far, requests read from them, subscriptions opened.
  int produce_streams() const;
  int produce_requests() const;
  int subscriptions() const;
  // Calls of GetServerInfo.
  int server_info_calls() const;
  // What a method that this broker does not know by itself answers, one after the other; the last one for ever. Methods as
  // "GetNode"; those that can be scripted stand in fake_broker.cc.
  struct Scripted {
    std::string response;  // serialized
    std::unique_ptr<v1::Error> error = nullptr;
  };
  template <typename... Answers>
  void Script(const std::string& method, Answers&&... answers) {
    std::vector<Scripted> script;
    (script.push_back(MakeScripted(std::forward<Answers>(answers))), ...);
    SetScript(method, std::move(script));
  }
  // The last request of AdminService and ClusterService as text, for looking at what a client sent.
  std::string last_request() const;

 private:
  static Scripted MakeScripted(const v1::Error& error) { return {.response = {}, .error = std::make_unique<v1::Error>(error)}; }
  static Scripted MakeScripted(const google::protobuf::MessageLite& response) { return {.response = response.SerializeAsString()}; }
  void SetScript(const std::string& method, std::vector<Scripted> script);

  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string address_;
};

}  // namespace flotilla::testing
