#include "server/daemon/daemon.h"

#include <glog/logging.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <optional>
#include <random>
#include <utility>

#include "raft/node/thread_executor.h"
#include "server/broker/broker.h"
#include "server/daemon/descriptors.h"
#include "server/daemon/liveness.h"
#include "server/daemon/metrics.h"
#include "server/daemon/node_state_file.h"
#include "server/daemon/ticker.h"
#include "server/errors/refusal.h"
#include "server/http/http_server.h"
#include "server/metadata/records.h"
#include "server/rpc/client/client_server.h"
#include "server/rpc/client/port_probe.h"
#include "server/rpc/credentials.h"
#include "server/rpc/peer/peer_network.h"
#include "server/rpc/peer/peer_server.h"
#include "storage/base/random.h"
#include "storage/rocks/rocks_store.h"

namespace flotilla {
namespace {

using std::chrono::steady_clock;

// One line per step of the start: what, and how long it took.
class Step {
 public:
  explicit Step(std::string what) : what_(std::move(what)), begin_(steady_clock::now()) {}
  void Done(const std::string& details = "") const {
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - begin_);
    LOG(INFO) << what_ << " ms=" << took.count() << (details.empty() ? "" : " ") << details;
  }

 private:
  const std::string what_;
  const steady_clock::time_point begin_;
};

uint64_t Seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// The broker and its network need each other: this stands between them until both are there.
class LateSink final : public broker::PeerSink {
 public:
  void Set(broker::PeerSink& sink) { sink_ = &sink; }
  void OnForwardAnswer(NodeId from, broker::ForwardAnswer answer) override { sink_->OnForwardAnswer(from, std::move(answer)); }
  void OnForwardBroken(NodeId to) override { sink_->OnForwardBroken(to); }
  void OnUnreachable(NodeId node) override { sink_->OnUnreachable(node); }

 private:
  broker::PeerSink* sink_ = nullptr;
};

class RunningNode final : public Daemon {
 public:
  RunningNode(const config::Config& config, std::string version) : config_(config), version_(std::move(version)) {}
  ~RunningNode() override {
    if (started_) Stop(Duration::zero(), [] { return true; });
  }

  Status Open(const std::function<void(const std::string&)>& progress);

  Status halted() const override { return broker_->state().halted; }
  std::string status() const override { return broker_->state().status; }
  std::string client_address() const override { return ToString(Advertised(config_.listen.client, config_.listen.advertise_client)); }
  std::string http_address() const override {
    return http_ == nullptr ? "" : config_.listen.http->host + ":" + std::to_string(http_->port());
  }
  bool Moved() override;
  void ShowReload(bool ok) override { metrics_->ShowReload(ok); }
  void Stop(Duration grace, const std::function<bool()>& hurry) override;

 private:
  Status OpenStore();
  Status StartBroker();
  Status StartServers();
  broker::BrokerOptions BrokerOptionsOf() const;
  config::Address Advertised(const config::Address& listen, const std::optional<config::Address>& advertise) const {
    return config::AdvertisedAddress(config_, listen, advertise, listen.port);
  }
  broker::DiskSpace Disk() const;
  size_t ConnectionsMax() const;
  template <typename Work>
  auto OnExecutor(Work work);

  const config::Config config_;
  const std::string version_;
  const SystemClock clock_;
  const rpc::client::AllowAll access_;
  LateSink sink_;
  raft::ThreadExecutor executor_{"shard"};
  raft::ThreadExecutor readers_{"readers"};
  raft::ThreadExecutor workers_{"workers"};
  std::unique_ptr<storage::RocksStore> store_;
  std::unique_ptr<NodeStateFile> file_;
  std::unique_ptr<rpc::GrpcPeerNetwork> network_;
  std::unique_ptr<broker::Broker> broker_;
  std::unique_ptr<Ticker> ticker_;
  std::unique_ptr<rpc::PeerServer> peer_server_;
  std::unique_ptr<rpc::client::ClientServer> client_server_;
  // Made when somebody first asks Moved().
  std::unique_ptr<rpc::client::PortProbe> probe_;
  std::optional<Liveness> liveness_;
  std::unique_ptr<NodeMetrics> metrics_;
  std::unique_ptr<http::HttpServer> http_;
  bool started_ = false;
};

template <typename Work>
auto RunningNode::OnExecutor(Work work) {
  std::promise<decltype(work())> done;
  executor_.Post([&done, &work] { done.set_value(work()); });
  return done.get_future().get();
}

Status RunningNode::Open(const std::function<void(const std::string&)>& progress) {
  progress("starting: reading the store in " + config_.node.data_dir);
  FLOTILLA_RETURN_IF_ERROR(OpenStore());
  progress("starting: recovering " + std::to_string(store_->Groups().size()) + " Raft groups");
  started_ = true;
  executor_.Start();
  readers_.Start();
  workers_.Start();
  FLOTILLA_RETURN_IF_ERROR(StartBroker());
  progress("starting: opening the ports");
  return StartServers();
}

Status RunningNode::OpenStore() {
  const Step step("store_opened");
  storage::RocksStoreOptions options;
  options.directory = config_.node.data_dir;
  options.log_families = config_.storage.log_families;
  options.write_buffer_bytes = config_.storage.write_buffer_bytes;
  options.block_cache_bytes = config_.storage.block_cache_bytes;
  options.wal_bytes_max = config_.storage.wal_bytes_max;
  options.background_jobs = static_cast<int>(config_.storage.background_jobs);
  options.direct_io = config_.storage.direct_io;
  options.disk_reserve_bytes = config_.storage.disk_reserve_bytes;
  Result<std::unique_ptr<storage::RocksStore>> store = storage::OpenRocksStore(options);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  step.Done("directory=" + options.directory + " node_uuid=" + store_->identity().node_uuid +
            " groups=" + std::to_string(store_->Groups().size()));
  return {};
}

broker::BrokerOptions RunningNode::BrokerOptionsOf() const {
  broker::BrokerOptions options;
  options.description.uuid = Uuid::FromText(store_->identity().node_uuid).value_or(Uuid());
  options.description.name = config_.node.name;
  options.description.rack = config_.node.rack;
  options.description.client_address = client_address();
  options.description.peer_address = ToString(Advertised(config_.listen.peer, config_.listen.advertise_peer));
  options.description.software_version = version_;
  options.description.features = metadata::kSupportedFeatures;
  options.cluster_name = config_.cluster.name;
  for (const config::Address& seed : config_.cluster.seeds) options.seeds.push_back(ToString(seed));
  options.bootstrap_single = config_.cluster.bootstrap == config::Bootstrap::kSingle;
  options.tick = config_.raft.tick;
  options.core.election_ticks = config_.raft.election_ticks();
  options.core.heartbeat_ticks = config_.raft.heartbeat_ticks();
  options.streams.heartbeat = config_.grpc.stream_heartbeat;
  options.streams.stall = config_.limits.consumer_stall;
  const bool remote = !config::IsLoopback(config_.listen.client.host) || !config::IsLoopback(config_.listen.peer.host);
  if (remote) options.warnings.emplace_back("INSECURE: its ports are open to others without TLS; whoever reaches them is believed");
  options.disk = {.slow_sync = config_.storage.slow_sync,
                  .slow_for = config_.storage.slow_for,
                  .well_for = config_.storage.well_for,
                  .reserve_bytes = config_.storage.disk_reserve_bytes};
  options.disk_space = [this] { return Disk(); };
  return options;
}

broker::DiskSpace RunningNode::Disk() const {
  struct statvfs status {};
  if (::statvfs(config_.node.data_dir.c_str(), &status) != 0) return {};
  return {.total_bytes = uint64_t{status.f_blocks} * status.f_frsize, .free_bytes = uint64_t{status.f_bavail} * status.f_frsize};
}

Status RunningNode::StartBroker() {
  const Step step("broker_started");
  file_ = std::make_unique<NodeStateFile>(config_.node.data_dir, *store_);
  network_ = std::make_unique<rpc::GrpcPeerNetwork>(
      rpc::PeerNetworkOptions{
          .identity = [this] { return broker_->Identity(); }, .credentials = rpc::InsecurePeerCredentials().client, .seed = Seed()},
      executor_, sink_);
  broker_ = std::make_unique<broker::Broker>(
      BrokerOptionsOf(),
      broker::BrokerSurroundings{
          .executor = executor_, .readers = readers_, .store = *store_, .file = *file_, .network = *network_, .clock = clock_},
      Random(Seed()));
  sink_.Set(*broker_);
  FLOTILLA_RETURN_IF_ERROR(OnExecutor([this] { return broker_->Start(); }));
  ticker_ = std::make_unique<Ticker>(executor_, config_.raft.tick, [this] { broker_->Tick(); });
  ticker_->Start();
  step.Done("status=\"" + status() + '"');
  return {};
}

Status RunningNode::StartServers() {
  const Step step("ports_opened");
  Result<std::unique_ptr<rpc::PeerServer>> peers =
      rpc::PeerServer::Start({.address = ToString(config_.listen.peer), .credentials = rpc::InsecurePeerCredentials().server}, *broker_);
  if (!peers.ok()) return peers.status();
  peer_server_ = *std::move(peers);
  Result<std::unique_ptr<rpc::client::ClientServer>> clients =
      rpc::client::ClientServer::Start({.listen_address = ToString(config_.listen.client),
                                        .credentials = rpc::InsecurePeerCredentials().server,
                                        .inflight_bytes_max = config_.limits.inflight_bytes,
                                        .streams_max = config_.limits.max_streams,
                                        .connections_max = ConnectionsMax(),
                                        .heartbeat_after = config_.grpc.stream_heartbeat,
                                        .seed = Seed()},
                                       *broker_, workers_, access_, clock_);
  if (!clients.ok()) return clients.status();
  client_server_ = *std::move(clients);
  metrics_ = std::make_unique<NodeMetrics>(*broker_, *store_, *client_server_, *peer_server_, version_);
  std::string http = "off";
  if (config_.listen.http) {
    Result<std::unique_ptr<http::HttpServer>> server =
        http::HttpServer::Start({.host = config_.listen.http->host, .port = config_.listen.http->port}, {metrics_.get()}, {metrics_.get()});
    if (!server.ok()) return server.status();
    http_ = *std::move(server);
    http = http_address();
  }
  step.Done("client=" + ToString(config_.listen.client) + " peer=" + ToString(config_.listen.peer) + " http=" + http);
  return {};
}

size_t RunningNode::ConnectionsMax() const {
  const size_t wanted = config_.limits.max_connections;
  const uint64_t descriptors = RaiseDescriptorLimit();
  const size_t allowed = ConnectionsWithin(descriptors, wanted);
  LOG_IF(WARNING, allowed < wanted) << "connections_limited max_connections=" << wanted << " allowed=" << allowed
                                    << " file_descriptors=" << descriptors << " advice=\"raise LimitNOFILE (ulimit -n)\"";
  return allowed;
}

bool RunningNode::Moved() {
  if (probe_ == nullptr) {
    config::Address own = config_.listen.client;
    if (own.host == "0.0.0.0") own.host = "127.0.0.1";
    if (own.host == "::") own.host = "::1";
    own.port = static_cast<uint16_t>(client_server_->port());
    probe_ = std::make_unique<rpc::client::PortProbe>(ToString(own), rpc::InsecurePeerCredentials().client);
    liveness_.emplace(Liveness::Signs{
        .ticks = [this] { return ticker_->ticks(); }, .answers = [this] { return probe_->answers(); }, .ask = [this] { probe_->Ask(); }});
  }
  return liveness_->Moved();
}

void RunningNode::Stop(Duration grace, const std::function<bool()>& hurry) {
  if (!std::exchange(started_, false)) return;
  const Step step("stopped");
  probe_.reset();
  if (client_server_ != nullptr) client_server_->BeginShutdown();
  if (broker_ != nullptr && ticker_ != nullptr) {
    executor_.Post([this] { broker_->BeginShutdown(); });
    const auto until = steady_clock::now() + grace;
    while (steady_clock::now() < until && !hurry()) {
      if (OnExecutor([this] { return broker_->ReadyToStop(); })) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  if (client_server_ != nullptr) client_server_->Stop(hurry() ? Duration::zero() : std::min<Duration>(grace, std::chrono::seconds(5)));
  if (http_ != nullptr) http_->Stop();
  if (peer_server_ != nullptr) peer_server_->Stop();
  if (network_ != nullptr) network_->Stop();
  if (ticker_ != nullptr) ticker_->Stop();
  workers_.Stop();
  readers_.Stop();
  executor_.Stop();
  // What is queued is written, and everything is on the disk; then who used it may go.
  store_.reset();
  http_.reset();
  client_server_.reset();
  peer_server_.reset();
  broker_.reset();
  step.Done();
}

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::Start(const config::Config& config, const std::string& version,
                                              const std::function<void(const std::string&)>& progress) {
  auto node = std::make_unique<RunningNode>(config, version);
  FLOTILLA_RETURN_IF_ERROR(node->Open(progress));
  return std::unique_ptr<Daemon>(std::move(node));
}

bool IsForGood(const Status& halted) {
  const Refusal refusal = RefusalOf(halted);
  return refusal == Refusal::kNodeRemoved || refusal == Refusal::kNodeMismatch || metadata::UnknownFeatureLevelIn(halted).has_value();
}

}  // namespace flotilla
