#include "tests/unit/client/fake_broker.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <thread>

#include "flotilla/v1/admin.grpc.pb.h"
#include "flotilla/v1/cluster.grpc.pb.h"
#include "flotilla/v1/consume.grpc.pb.h"
#include "flotilla/v1/produce.grpc.pb.h"

namespace flotilla::testing {
namespace {

constexpr char kNamespace[] = "default";
constexpr char kClusterId[] = "11111111-2222-3333-4444-555555555555";

grpc::Status Refuse(grpc::ServerContext* context, const v1::Error& error) {
  context->AddTrailingMetadata("flotilla-error-bin", error.SerializeAsString());
  return {static_cast<grpc::StatusCode>(error.code()), error.message()};
}

v1::Error TopicMissing(const std::string& name) {
  v1::Error error = MakeError(v1::ERROR_REASON_TOPIC_NOT_FOUND, 5, v1::RETRY_NEVER, "topic \"" + name + "\" does not exist");
  (*error.mutable_metadata())["topic"] = name;
  return error;
}

}  // namespace

v1::Error MakeError(v1::ErrorReason reason, int code, v1::Retry retry, const std::string& message) {
  v1::Error error;
  error.set_reason(reason);
  error.set_code(code);
  error.set_retry(retry);
  error.set_message(message);
  return error;
}

// --- The log

void FakeLog::CreateTopic(const std::string& name, int32_t partitions) {
  const std::lock_guard lock(mutex_);
  topics_[name].resize(static_cast<size_t>(partitions));
}
int32_t FakeLog::PartitionCount(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto it = topics_.find(name);
  return it == topics_.end() ? -1 : static_cast<int32_t>(it->second.size());
}
void FakeLog::DeleteTopic(const std::string& name) {
  const std::lock_guard lock(mutex_);
  topics_.erase(name);
}
std::vector<std::string> FakeLog::Topics() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, partitions] : topics_) names.push_back(name);
  return names;
}
int64_t FakeLog::NewProducerId() {
  const std::lock_guard lock(mutex_);
  return next_producer_id_++;
}

v1::ProduceResult FakeLog::Append(const std::string& topic, const v1::ProduceItem& item) {
  v1::ProduceResult result;
  const std::lock_guard lock(mutex_);
  v1::Placement& placement = *result.add_placements();
  placement.set_partition(item.partition());
  const auto fail = [&](const v1::Error& error) {
    *placement.mutable_error() = error;
    *result.mutable_error() = error;
    return result;
  };
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return fail(TopicMissing(topic));
  if (refuse) {
    if (const auto error = refuse(item)) return fail(*error);
  }
  Partition& partition = found->second.at(static_cast<size_t>(item.partition()));
  const v1::RecordBatch& batch = item.batch();
  placement.set_record_count(batch.records().records_size());
  if (batch.producer_id() != 0) {
    const auto known = partition.offset_of_sequence.find({batch.producer_id(), batch.base_sequence()});
    if (known != partition.offset_of_sequence.end()) {
      placement.set_base_offset(known->second);
      placement.set_deduplicated(true);
      return result;
    }
    const auto next = partition.next_sequence.find(batch.producer_id());
    if (next == partition.next_sequence.end() && batch.base_sequence() != 0) {
      return fail(MakeError(v1::ERROR_REASON_UNKNOWN_PRODUCER, 9, v1::RETRY_NEVER, "unknown producer"));
    }
    if (next != partition.next_sequence.end() && next->second != batch.base_sequence()) {
      return fail(MakeError(v1::ERROR_REASON_OUT_OF_ORDER, 9, v1::RETRY_NEVER,
                            "expected " + std::to_string(next->second) + ", got " + std::to_string(batch.base_sequence())));
    }
    partition.next_sequence[batch.producer_id()] = batch.base_sequence() + batch.records().records_size();
    partition.offset_of_sequence[{batch.producer_id(), batch.base_sequence()}] = partition.end;
  }
  StoredBatch stored{.base_offset = partition.end, .batch = batch};
  stored.batch.set_base_offset(partition.end);
  stored.batch.set_record_count(batch.records().records_size());
  stored.batch.set_append_timestamp_ms(1'700'000'000'000);
  placement.set_base_offset(partition.end);
  placement.set_append_timestamp_ms(1'700'000'000'000);
  partition.end += batch.records().records_size();
  partition.batches.push_back(std::move(stored));
  return result;
}

v1::FetchedPartition FakeLog::Read(const std::string& topic, int32_t number, int64_t offset, size_t max_bytes) const {
  const std::lock_guard lock(mutex_);
  v1::FetchedPartition fetched;
  fetched.mutable_topic()->set_name(topic);
  fetched.set_partition(number);
  fetched.set_start_offset(offset);
  fetched.set_next_offset(offset);
  const Partition& partition = topics_.at(topic).at(static_cast<size_t>(number));
  size_t bytes = 0;
  for (const StoredBatch& stored : partition.batches) {
    const int64_t end = stored.base_offset + stored.batch.record_count();
    if (end <= offset) continue;
    if (bytes >= max_bytes) break;
    bytes += stored.batch.ByteSizeLong();
    *fetched.add_batches() = stored.batch;
    fetched.set_next_offset(end);
  }
  fetched.set_high_watermark(partition.end);
  fetched.set_caught_up(fetched.next_offset() == partition.end);
  return fetched;
}

std::vector<std::string> FakeLog::Values(const std::string& topic, int32_t number) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> values;
  for (const StoredBatch& stored : topics_.at(topic).at(static_cast<size_t>(number)).batches) {
    for (const v1::Record& record : stored.batch.records().records()) values.push_back(record.value());
  }
  return values;
}

void FakeLog::ForgetProducers(const std::string& topic, int32_t number) {
  const std::lock_guard lock(mutex_);
  Partition& partition = topics_.at(topic).at(static_cast<size_t>(number));
  partition.next_sequence.clear();
  partition.offset_of_sequence.clear();
}

// --- The node

struct FakeBroker::Impl final : v1::ProduceService::Service,
                                v1::ConsumeService::Service,
                                v1::AdminService::Service,
                                v1::ClusterService::Service {
  Impl(std::shared_ptr<FakeLog> shared_log, Options given) : log(std::move(shared_log)), options(given) {}

  void Remember(const google::protobuf::Message& request) {
    const std::lock_guard lock(mutex);
    last_request = request.ShortDebugString();
  }
  bool Ready(grpc::ServerContext* context, grpc::Status* status) const {
    if (options.initialized) return true;
    *status = Refuse(context, MakeError(v1::ERROR_REASON_NOT_INITIALIZED, 14, v1::RETRY_SAFE, "there is no cluster yet"));
    return false;
  }
  // Waits while as much as `what` is held.
  void PassGate(Held what) {
    std::unique_lock lock(gate_mutex);
    gate_moved.wait(lock, [&] { return held < what; });
  }
  v1::Topic Describe(const std::string& name) const {
    v1::Topic topic;
    topic.mutable_topic()->set_name(name);
    topic.mutable_topic()->set_topic_namespace(kNamespace);
    topic.mutable_topic()->set_topic_id("id-of-" + name);
    topic.set_partition_count(log->PartitionCount(name));
    topic.set_replication_factor(3);
    topic.set_state(v1::TOPIC_STATE_READY);
    return topic;
  }

  // --- ProduceService
  grpc::Status InitProducer(grpc::ServerContext* context, const v1::InitProducerRequest*, v1::InitProducerResponse* response) override {
    PassGate(Held::kAll);
    grpc::Status status;
    if (!Ready(context, &status)) return status;
    response->set_producer_id(log->NewProducerId());
    return status;
  }
  v1::ProduceResponse AppendAll(const v1::ProduceRequest& request) {
    v1::ProduceResponse response;
    for (const v1::ProduceItem& item : request.items()) *response.add_results() = log->Append(request.topic().name(), item);
    return response;
  }
  grpc::Status Produce(grpc::ServerContext*, const v1::ProduceRequest* request, v1::ProduceResponse* response) override {
    *response = AppendAll(*request);
    return {};
  }
  grpc::Status ProduceStream(grpc::ServerContext* context,
                             grpc::ServerReaderWriter<v1::ProduceStreamResponse, v1::ProduceStreamRequest>* stream) override {
    ++produce_streams;
    v1::ProduceStreamRequest request;
    while (stream->Read(&request)) {
      ++produce_requests;
      PassGate(Held::kAppends);
      v1::ProduceStreamResponse response;
      response.set_correlation_id(request.correlation_id());
      *response.mutable_response() = AppendAll(request.request());
      if (break_after_appends > 0 && --break_after_appends == 0) {
        context->TryCancel();
        return {grpc::StatusCode::UNAVAILABLE, "broken on purpose"};
      }
      stream->Write(response);
    }
    return {};
  }

  // --- ConsumeService
  grpc::Status Subscribe(grpc::ServerContext* context, const v1::SubscribeRequest* request,
                         grpc::ServerWriter<v1::SubscribeResponse>* writer) override {
    ++subscriptions;
    struct Place {
      std::string topic;
      int32_t partition = 0;
      int64_t offset = 0;
      int64_t end = 0;
      bool done = false;
      bool told_end = false;
    };
    std::vector<Place> places;
    v1::SubscribeResponse started;
    started.mutable_started()->set_subscription_id("s");
    for (const v1::SubscribeTopic& topic : request->topics()) {
      const std::string& name = topic.topic().name();
      if (log->PartitionCount(name) < 0) return Refuse(context, TopicMissing(name));
      for (const int32_t partition : topic.partitions()) {
        const int64_t end = log->Read(name, partition, 0, 0).high_watermark();
        int64_t offset = 0;
        switch (topic.start().position_case()) {
          case v1::StartPosition::kPoint: offset = topic.start().point() == v1::START_POINT_LATEST ? end : 0; break;
          case v1::StartPosition::kOffset: offset = topic.start().offset(); break;
          case v1::StartPosition::kLastRecords: offset = std::max<int64_t>(0, end - topic.start().last_records()); break;
          default: break;
        }
        places.push_back({.topic = name, .partition = partition, .offset = offset, .end = end});
        v1::PartitionOffsets& offsets = *started.mutable_started()->add_partitions();
        offsets.set_partition(partition);
        offsets.set_offset(offset);
        offsets.set_high_watermark(end);
      }
    }
    writer->Write(started);
    int messages = 0;
    while (!context->IsCancelled() && !stopping) {
      bool moved = false;
      for (Place& place : places) {
        if (place.done) continue;
        v1::SubscribeResponse event;
        *event.mutable_batches() = log->Read(place.topic, place.partition, place.offset, 1);
        if (event.batches().batches_size() > 0 && !(request->until_end() && place.offset >= place.end)) {
          place.offset = event.batches().next_offset();
          place.told_end = false;
          moved = true;
          if (!writer->Write(event)) return {};
          if (const int most = break_subscriptions_after; most > 0 && ++messages >= most) {
            return {grpc::StatusCode::UNAVAILABLE, "broken on purpose"};
          }
          continue;
        }
        v1::SubscribeResponse end;
        v1::CaughtUp& caught_up = request->until_end() ? *end.mutable_ended() : *end.mutable_caught_up();
        caught_up.set_partition(place.partition);
        caught_up.set_next_offset(place.offset);
        if (request->until_end()) place.done = true;
        if (!std::exchange(place.told_end, true) && !writer->Write(end)) return {};
      }
      if (std::all_of(places.begin(), places.end(), [](const Place& place) { return place.done; })) return {};
      if (!moved) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the poll of a fake, not a wait of a test
    }
    return {};
  }

  // --- AdminService
  grpc::Status CreateTopic(grpc::ServerContext* context, const v1::CreateTopicRequest* request,
                           v1::CreateTopicResponse* response) override {
    Remember(*request);
    const std::string& name = request->topic().name();
    if (log->PartitionCount(name) >= 0) {
      return Refuse(context, MakeError(v1::ERROR_REASON_TOPIC_EXISTS, 6, v1::RETRY_NEVER, "topic \"" + name + "\" exists"));
    }
    log->CreateTopic(name, request->has_partition_count() ? request->partition_count() : 3);
    *response->mutable_topic() = Describe(name);
    return {};
  }
  grpc::Status GetTopic(grpc::ServerContext* context, const v1::GetTopicRequest* request, v1::GetTopicResponse* response) override {
    if (log->PartitionCount(request->topic().name()) < 0) return Refuse(context, TopicMissing(request->topic().name()));
    *response->mutable_topic() = Describe(request->topic().name());
    return {};
  }
  grpc::Status ListTopics(grpc::ServerContext* context, const v1::ListTopicsRequest* request, v1::ListTopicsResponse* response) override {
    grpc::Status status;
    if (!Ready(context, &status)) return status;
    // One topic per page: whoever forgets the token sees only the first.
    const std::vector<std::string> names = log->Topics();
    const size_t at = request->page_token().empty() ? 0 : std::stoul(request->page_token());
    if (at < names.size()) *response->add_topics() = Describe(names[at]);
    if (at + 1 < names.size()) response->set_next_page_token(std::to_string(at + 1));
    return status;
  }
  grpc::Status DeleteTopic(grpc::ServerContext*, const v1::DeleteTopicRequest* request, v1::DeleteTopicResponse* response) override {
    Remember(*request);
    *response->mutable_topic() = Describe(request->topic().name());
    log->DeleteTopic(request->topic().name());
    return {};
  }

  // --- ClusterService
  grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*, v1::GetServerInfoResponse* response) override {
    ++server_info_calls;
    PassGate(Held::kAll);
    response->set_node_id(options.node_id);
    response->set_cluster_id(kClusterId);
    response->set_software_version("0.1.0");
    return {};
  }
  grpc::Status GetHealth(grpc::ServerContext*, const v1::GetHealthRequest*, v1::GetHealthResponse* response) override {
    response->set_status(options.initialized ? v1::HEALTH_STATUS_OK : v1::HEALTH_STATUS_FAILED);
    response->set_nodes(3);
    response->set_nodes_alive(options.initialized ? 3 : 1);
    if (!options.initialized) {
      v1::HealthProblem& problem = *response->add_problems();
      problem.set_severity(v1::HEALTH_STATUS_FAILED);
      problem.set_kind("NOT_INITIALIZED");
      problem.set_message("no cluster yet; run cluster init");
    }
    return {};
  }
  grpc::Status GetMetadata(grpc::ServerContext* context, const v1::GetMetadataRequest* request,
                           v1::GetMetadataResponse* response) override {
    PassGate(Held::kAll);
    grpc::Status status;
    if (!Ready(context, &status)) return status;
    const std::lock_guard lock(mutex);
    for (const auto& [id, node_address] : nodes) {
      v1::Node& node = *response->add_nodes();
      node.set_node_id(id);
      node.set_client_address(node_address);
      node.set_state(v1::NODE_STATE_ALIVE);
    }
    for (const v1::TopicRef& ref : request->topics()) {
      const int32_t count = log->PartitionCount(ref.name());
      if (count < 0) return Refuse(context, TopicMissing(ref.name()));
      v1::TopicMetadata& topic = *response->add_topics();
      *topic.mutable_topic() = Describe(ref.name());
      for (int32_t number = 0; number < count; ++number) {
        v1::Partition& partition = *topic.add_partitions();
        partition.set_partition(number);
        partition.set_leader_node_id(leader);
        partition.set_leader_epoch(leader_epoch);
        for (const int32_t node : replicas[{ref.name(), number}]) partition.add_replicas()->set_node_id(node);
      }
    }
    return status;
  }

  // --- scripted
  template <typename Request, typename Response>
  grpc::Status Play(grpc::ServerContext* context, const std::string& method, const Request& request, Response* response) {
    PassGate(Held::kAll);
    Remember(request);
    const std::lock_guard lock(mutex);
    std::deque<Scripted>& script = scripts[method];
    if (script.empty()) return {grpc::StatusCode::UNIMPLEMENTED, method + " is not scripted"};
    if (script.front().error != nullptr) {
      const grpc::Status refused = Refuse(context, *script.front().error);
      if (script.size() > 1) script.pop_front();
      return refused;
    }
    response->ParseFromString(script.front().response);
    if (script.size() > 1) script.pop_front();
    return {};
  }
#define FLOTILLA_SCRIPTED(method)                                                                                                  \
  grpc::Status method(grpc::ServerContext* context, const v1::method##Request* request, v1::method##Response* response) override { \
    return Play(context, #method, *request, response);                                                                             \
  }
  FLOTILLA_SCRIPTED(ListPartitions)
  FLOTILLA_SCRIPTED(MovePartition)
  FLOTILLA_SCRIPTED(RebuildReplica)
  FLOTILLA_SCRIPTED(CancelMove)
  FLOTILLA_SCRIPTED(ListMoves)
  FLOTILLA_SCRIPTED(GetConfig)
  FLOTILLA_SCRIPTED(UpdateConfig)
  FLOTILLA_SCRIPTED(ListNodes)
  FLOTILLA_SCRIPTED(GetNode)
  FLOTILLA_SCRIPTED(DrainNode)
  FLOTILLA_SCRIPTED(RaiseFeatureLevel)
  FLOTILLA_SCRIPTED(UndrainNode)
  FLOTILLA_SCRIPTED(CheckSafeToStop)
  FLOTILLA_SCRIPTED(DecommissionNode)
  FLOTILLA_SCRIPTED(RecommissionNode)
  FLOTILLA_SCRIPTED(RemoveNode)
  FLOTILLA_SCRIPTED(StartBalance)
  FLOTILLA_SCRIPTED(GetBalance)
  FLOTILLA_SCRIPTED(CancelBalance)
  FLOTILLA_SCRIPTED(GetQuorum)
  FLOTILLA_SCRIPTED(InitCluster)
#undef FLOTILLA_SCRIPTED

  const std::shared_ptr<FakeLog> log;
  const Options options;
  std::atomic<int> produce_streams{0};
  std::atomic<int> produce_requests{0};
  std::atomic<int> subscriptions{0};
  std::atomic<int> server_info_calls{0};
  std::atomic<int> break_after_appends{0};
  std::atomic<int> break_subscriptions_after{0};
  std::atomic<bool> stopping{false};
  mutable std::mutex mutex;
  std::string last_request;                                                  // guarded by mutex
  std::map<std::string, std::deque<Scripted>> scripts;                       // guarded by mutex
  std::map<std::pair<std::string, int32_t>, std::vector<int32_t>> replicas;  // guarded by mutex
  std::map<int32_t, std::string> nodes;                                      // guarded by mutex
  int32_t leader = 0;                                                        // guarded by mutex
  int64_t leader_epoch = 1;                                                  // guarded by mutex
  std::mutex gate_mutex;
  std::condition_variable gate_moved;
  Held held = Held::kNothing;  // guarded by gate_mutex
  std::unique_ptr<grpc::Server> server;
};

FakeBroker::FakeBroker(std::shared_ptr<FakeLog> log) : FakeBroker(std::move(log), Options{}) {}

FakeBroker::FakeBroker(std::shared_ptr<FakeLog> log, Options options) : impl_(std::make_unique<Impl>(std::move(log), options)) {
  static const bool reflection = [] {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)reflection;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterService(static_cast<v1::ProduceService::Service*>(impl_.get()));
  builder.RegisterService(static_cast<v1::ConsumeService::Service*>(impl_.get()));
  builder.RegisterService(static_cast<v1::AdminService::Service*>(impl_.get()));
  builder.RegisterService(static_cast<v1::ClusterService::Service*>(impl_.get()));
  impl_->server = builder.BuildAndStart();
  address_ = "127.0.0.1:" + std::to_string(port);
  SetCluster({{options.node_id, address_}}, options.node_id);
}

FakeBroker::~FakeBroker() { Stop(); }

void FakeBroker::SetCluster(std::map<int32_t, std::string> nodes, int32_t leader) {
  const std::lock_guard lock(impl_->mutex);
  impl_->nodes = std::move(nodes);
  impl_->leader = leader;
  ++impl_->leader_epoch;
}

void FakeBroker::SetReplicas(const std::string& topic, int32_t partition, std::vector<int32_t> nodes) {
  const std::lock_guard lock(impl_->mutex);
  impl_->replicas[{topic, partition}] = std::move(nodes);
}

void FakeBroker::SetScript(const std::string& method, std::vector<Scripted> script) {
  const std::lock_guard lock(impl_->mutex);
  std::deque<Scripted>& kept = impl_->scripts[method];
  kept.clear();
  for (Scripted& answer : script) kept.push_back(std::move(answer));
}

void FakeBroker::Stop() {
  impl_->stopping = true;
  Hold(Held::kNothing);
  impl_->server->Shutdown(std::chrono::system_clock::now());
  impl_->server->Wait();
}

void FakeBroker::Hold(Held held) {
  {
    const std::lock_guard lock(impl_->gate_mutex);
    impl_->held = held;
  }
  impl_->gate_moved.notify_all();
}

void FakeBroker::BreakStreamAfterAppends(int appends) { impl_->break_after_appends = appends; }
void FakeBroker::BreakSubscriptionsAfter(int messages) { impl_->break_subscriptions_after = messages; }
int FakeBroker::produce_streams() const { return impl_->produce_streams; }
int FakeBroker::produce_requests() const { return impl_->produce_requests; }
int FakeBroker::subscriptions() const { return impl_->subscriptions; }
int FakeBroker::server_info_calls() const { return impl_->server_info_calls; }
std::string FakeBroker::last_request() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->last_request;
}

}  // namespace flotilla::testing
