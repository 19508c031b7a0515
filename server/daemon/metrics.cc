#include "server/daemon/metrics.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace flotilla {
namespace {

constexpr std::array<const char*, rpc::client::kCodes> kCodeNames = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

double Number(uint64_t value) { return static_cast<double>(value); }

// Buckets that double from 1 us.
template <typename Counts>
http::HistogramData Doubling(const Counts& counts, uint64_t sum_micros) {
  http::HistogramData data;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (i + 1 < counts.size()) data.bounds.push_back(Number(uint64_t{1} << i) / 1e6);
    data.counts.push_back(counts[i]);
  }
  data.sum = Number(sum_micros) / 1e6;
  return data;
}

}  // namespace

void NodeMetrics::Collect(http::MetricWriter& writer) {
  writer.Gauge("flotilla_up_info", "Always 1; the version of the software.", {{"version", version_}}, 1);
  writer.Gauge("flotilla_config_reload_success", "1 unless the configuration was wrong when it was last read again (SIGHUP).", {},
               reload_ok_ ? 1 : 0);
  CollectBroker(writer);
  CollectStore(writer);
  CollectConnections(writer);
  CollectClients(writer);
}

void NodeMetrics::CollectBroker(http::MetricWriter& writer) const {
  const std::optional<broker::MemberCounters> counters = broker_.counters();
  writer.Gauge("flotilla_member", "1 when the node is in a cluster.", {}, counters ? 1 : 0);
  if (!counters) return;
  const metadata::Shared<metadata::Image> image = broker_.metadata();
  uint64_t alive = 0;
  uint64_t dead = 0;
  image->nodes.ForEach([&](NodeId, const metadata::Shared<metadata::Node>& node) { ++(node->alive ? alive : dead); });
  writer.Gauge("flotilla_cluster_nodes", "Nodes of the cluster.", {{"state", "alive"}}, Number(alive));
  writer.Gauge("flotilla_cluster_nodes", "Nodes of the cluster.", {{"state", "dead"}}, Number(dead));
  writer.Gauge("flotilla_controller_node_id", "The node that leads the metadata; 0: none.", {}, Number(counters->controller.node.value()));
  writer.Gauge("flotilla_metadata_version", "The metadata version that the node has applied.", {},
               Number(counters->metadata_version.value()));
  const uint64_t followers = counters->replicas.replicas - std::min(counters->replicas.replicas, counters->replicas.leading);
  writer.Gauge("flotilla_partitions", "Replicas on this node.", {{"state", "leader"}}, Number(counters->replicas.leading));
  writer.Gauge("flotilla_partitions", "Replicas on this node.", {{"state", "follower"}}, Number(followers));
  writer.Gauge("flotilla_partitions_not_open", "Replicas that should be open on this node and are not.", {},
               Number(counters->replicas.not_open));
  writer.Gauge("flotilla_leaderless_partitions", "Partitions of the cluster without a leader that this node knows of.", {},
               Number(counters->leaderless));
  writer.Gauge("flotilla_under_replicated_partitions", "Partitions led by this node with a voter that is missing or not in sync.", {},
               Number(counters->under_replicated));
  for (const auto& [reason, unfit] : {std::pair{"slow", counters->disk_slow}, std::pair{"full", counters->disk_full}}) {
    writer.Gauge("flotilla_disk_unfit", "1 while the disk is too slow or too full to lead with: the node hands over what others can lead.",
                 {{"reason", reason}}, unfit ? 1 : 0);
  }
  writer.Counter("flotilla_produced_records_total", "Records of clients of this node that were acknowledged.", {},
                 Number(counters->produce.records));
  writer.Counter("flotilla_produced_bytes_total", "Bytes of records of clients of this node that were acknowledged.", {},
                 Number(counters->produce.bytes));
  writer.Counter("flotilla_produce_failed_items_total", "Batches of clients of this node that were refused or failed.", {},
                 Number(counters->produce.failed_items));
  writer.Counter("flotilla_fetched_records_total", "Records sent to clients of this node.", {}, Number(counters->fetch.records));
  writer.Counter("flotilla_fetched_bytes_total", "Bytes of records sent to clients of this node.", {}, Number(counters->fetch.bytes));
  writer.Counter("flotilla_forwarded_requests_total", "Parts of calls that were passed on to another node.", {},
                 Number(counters->dispatch.forwarded));
  writer.Counter("flotilla_forwarded_lost_total", "Parts of calls whose answer was lost with a connection.", {},
                 Number(counters->dispatch.broken));
  for (const auto& [stage, times] : {std::pair{"queue", &counters->stages.queue}, std::pair{"replicate", &counters->stages.replicate},
                                     std::pair{"forward", &counters->stages.forward}}) {
    writer.Histogram("flotilla_stage_seconds",
                     "Where time goes: waiting for the broker's thread (sampled), from a proposal until it is applied, and on other nodes.",
                     {{"stage", stage}}, Doubling(times->counts(), times->sum_micros()));
  }
  writer.Gauge("flotilla_subscriptions", "Subscriptions that are open.", {}, Number(counters->subscriptions));
  writer.Gauge("flotilla_subscription_buffer_bytes", "Bytes that subscriptions hold for clients that have not taken them.", {},
               Number(counters->subscription_bytes));
  writer.Gauge("flotilla_raft_groups", "Raft groups on this node.", {}, Number(counters->host.groups));
  writer.Gauge("flotilla_raft_groups_led", "Raft groups that this node leads.", {}, Number(counters->host.groups_led));
  writer.Counter("flotilla_raft_leader_changes_total", "Times that a replica on this node began to lead its group.", {},
                 Number(counters->host.leaderships_begun));
  writer.Counter("flotilla_raft_messages_sent_total", "Raft messages to other nodes.", {}, Number(counters->host.messages_sent));
  writer.Counter("flotilla_raft_messages_received_total", "Raft messages from other nodes.", {}, Number(counters->host.messages_received));
}

void NodeMetrics::CollectStore(http::MetricWriter& writer) const {
  const storage::StoreCounters store = store_.Counters();
  writer.Histogram("flotilla_fsync_seconds", "Synced writes of the log store.", {},
                   Doubling(store.sync_times, store.sync_nanos_total / 1000));
  writer.Counter("flotilla_log_entries_total", "Log entries written.", {}, Number(store.entries));
  writer.Counter("flotilla_log_bytes_total", "Bytes of log entries written.", {}, Number(store.bytes_written));
  writer.Gauge("flotilla_log_queue_bytes", "Bytes that wait for the next synced write.", {}, Number(store.queue_bytes));
  writer.Counter("flotilla_log_refused_disk_full_total", "Writes refused because the disk was below its reserve.", {},
                 Number(store.refused_disk_full));
  writer.Gauge("flotilla_rocksdb_wal_bytes", "Size of RocksDB's write-ahead log.", {}, Number(store.wal_bytes));
  writer.Counter("flotilla_rocksdb_stall_seconds_total", "Time that RocksDB held writes back.", {}, Number(store.stall_micros) / 1e6);
  writer.Counter("flotilla_rocksdb_background_errors_total", "Errors of RocksDB's background work.", {}, Number(store.background_errors));
  writer.Gauge("flotilla_disk_free_bytes", "Free space of the data directory's file system.", {}, Number(store.free_bytes));
  writer.Gauge("flotilla_storage_failed", "1 once a write or a sync has failed: the node stops.", {}, store.failed ? 1 : 0);
}

void NodeMetrics::CollectConnections(http::MetricWriter& writer) const {
  for (const auto& [port, connections] : {std::pair{"client", clients_.counters().connections}, std::pair{"peer", peers_.connections()}}) {
    const http::Labels labels = {{"port", port}};
    writer.Gauge("flotilla_connections", "Connections that are open at a port of this node.", labels, Number(connections.open));
    writer.Counter("flotilla_connections_total", "Connections that were admitted.", labels, Number(connections.admitted));
    writer.Counter("flotilla_connections_refused_total", "Connections refused because there were too many.", labels,
                   Number(connections.refused));
    writer.Counter("flotilla_connections_broken_off_total",
                   "Connections broken off because they only began and reset calls, or filled the memory with parts of requests.", labels,
                   Number(connections.broken_off));
    writer.Counter("flotilla_connections_failed_total", "Connections lost because the process was out of file descriptors or memory.",
                   labels, Number(connections.failed));
  }
}

void NodeMetrics::CollectClients(http::MetricWriter& writer) const {
  const rpc::client::ClientCounters clients = clients_.counters();
  writer.Gauge("flotilla_inflight_bytes", "Bytes of produce requests that are not answered yet.", {}, Number(clients.inflight_bytes));
  writer.Gauge("flotilla_answer_bytes", "Bytes of fetched records that clients have not taken.", {}, Number(clients.answer_bytes));
  writer.Gauge("flotilla_client_calls", "Calls and streams of clients that are not over.", {}, Number(clients.calls));
  writer.Gauge("flotilla_client_uploads", "Calls whose request has not arrived yet.", {}, Number(clients.uploads));
  writer.Gauge("flotilla_client_streams", "Streams that clients have open.", {}, Number(clients.streams));
  for (const auto& [reason, count] : clients.rejected) {
    writer.Counter("flotilla_throttled_total", "Requests refused at the edge.", {{"reason", reason}}, Number(count));
  }
  for (const rpc::client::ClientCounters::Method& method : clients.methods) {
    for (size_t code = 0; code < method.by_code.size(); ++code) {
      if (method.by_code[code] == 0) continue;
      writer.Counter("flotilla_requests_total", "Calls that ended.", {{"method", method.method}, {"code", kCodeNames[code]}},
                     Number(method.by_code[code]));
    }
    if (std::all_of(method.latency.begin(), method.latency.end(), [](uint64_t count) { return count == 0; })) continue;
    const http::HistogramData latency = Doubling(method.latency, method.latency_micros_sum);
    writer.Histogram("flotilla_request_seconds", "From when a request was received until its answer was handed to the transport.",
                     {{"method", method.method}}, latency);
    writer.Counter("flotilla_client_bytes_received_total", "Bytes of requests.", {{"method", method.method}}, Number(method.bytes_in));
    writer.Counter("flotilla_client_bytes_sent_total", "Bytes of answers.", {{"method", method.method}}, Number(method.bytes_out));
  }
}

std::vector<http::ReadinessCheck> NodeMetrics::Checks() {
  const broker::BrokerState state = broker_.state();
  const std::optional<broker::MemberCounters> counters = broker_.counters();
  const bool controller = counters && counters->controller.node.value() != 0;
  return {{.name = "storage", .ok = store_.health().ok(), .reason = store_.health().ok() ? "" : store_.health().ToString()},
          {.name = "member", .ok = state.member, .reason = state.status},
          {.name = "metadata", .ok = state.metadata_known, .reason = state.metadata_known ? "" : "the metadata is not known yet"},
          {.name = "metadata_leader", .ok = controller, .reason = controller ? "" : "nobody leads the metadata that this node knows of"},
          {.name = "running",
           .ok = !state.stopping && state.halted.ok(),
           .reason = state.stopping ? "about to stop" : std::string(state.halted.message())}};
}

}  // namespace flotilla
