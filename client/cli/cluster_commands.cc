#include <CLI/CLI.hpp>

#include <thread>

#include "client/cli/admin_text.h"
#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/pages.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "flotilla/v1/cluster.pb.h"

namespace flotilla::cli {
namespace {

constexpr char kInit[] = "/flotilla.v1.ClusterService/InitCluster";
constexpr char kInfo[] = "/flotilla.v1.ClusterService/GetServerInfo";
constexpr char kHealth[] = "/flotilla.v1.ClusterService/GetHealth";
constexpr char kListNodes[] = "/flotilla.v1.ClusterService/ListNodes";
constexpr char kGetNode[] = "/flotilla.v1.ClusterService/GetNode";
constexpr Duration kWatchEvery = std::chrono::seconds(1);
constexpr Duration kWatchPiece = std::chrono::milliseconds(50);  // so that an interrupt is noticed

void PrintNodes(Session& session, const google::protobuf::RepeatedPtrField<v1::Node>& nodes) {
  std::vector<std::string> header = {"NODE", "NAME", "STATE", "CLIENTS", "RACK", "REPLICAS", "LEADERS", "DISK-FREE"};
  if (session.wide()) header.insert(header.end(), {"PEERS", "VERSION", "METADATA", "LAST-SEEN", "UUID", "WARNINGS"});
  Table table(header);
  for (const v1::Node& node : nodes) {
    std::vector<std::string> row = {std::to_string(node.node_id()), node.name(),
                                    ShortName(v1::NodeState_Name(node.state()), "NODE_STATE_"), node.client_address(),
                                    node.rack(), std::to_string(node.replica_count()), std::to_string(node.leader_count()),
                                    node.disk_total_bytes() == 0 ? "" : ByteText(node.disk_free_bytes())};
    if (session.wide()) {
      std::string warnings;
      for (const std::string& warning : node.warnings()) warnings += (warnings.empty() ? "" : "; ") + warning;
      row.insert(row.end(), {node.peer_address(), node.software_version(), std::to_string(node.metadata_version()),
                             TimeText(node.last_seen_ms()), node.node_uuid(), warnings});
    }
    table.Add(std::move(row));
  }
  table.Print(session.out());
}

int Init(Session& session, const v1::InitClusterRequest& request) {
  v1::InitClusterResponse response;
  // Not through whatever broker answers: the nodes that are named become the cluster, and the first one speaks for them.
  const client::Error error = session.Call(kInit, request, &response);
  if (!error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  if (request.validate_only()) {
    session.Say("all seeds answer, and none is in a cluster");
  } else {
    session.Say(response.already_initialized() ? "the cluster existed already" : "the cluster is founded");
    session.out() << response.cluster_id() << "\n";
  }
  if (response.nodes_size() > 0) PrintNodes(session, response.nodes());
  return kExitOk;
}

int Info(Session& session) {
  v1::GetServerInfoResponse response;
  if (const client::Error error = session.Call(kInfo, v1::GetServerInfoRequest(), &response); !error.ok()) {
    return session.Fail(error);
  }
  if (session.json()) return session.PrintJson(response), kExitOk;
  Table table({"FIELD", "VALUE"});
  table.Add({"cluster", response.cluster_name()});
  table.Add({"cluster-id", response.cluster_id()});
  table.Add({"node", std::to_string(response.node_id())});
  table.Add({"node-uuid", response.node_uuid()});
  table.Add({"status", response.status()});
  table.Add({"version", response.software_version()});
  table.Add({"metadata-version", std::to_string(response.metadata_version())});
  table.Add({"time", TimeText(response.time_ms())});
  if (session.wide()) {
    const v1::ServerLimits& limits = response.limits();
    table.Add({"request-bytes-max", std::to_string(limits.request_bytes_max())});
    table.Add({"record-bytes-max", std::to_string(limits.record_bytes_max())});
    table.Add({"connections-max", std::to_string(limits.connections_max())});
  }
  table.Print(session.out());
  return kExitOk;
}

void PrintHealth(Session& session, const v1::GetHealthResponse& health) {
  if (session.json()) return session.PrintJson(health);
  const std::string status = ShortName(v1::HealthStatus_Name(health.status()), "HEALTH_STATUS_");
  const char* paint = health.status() == v1::HEALTH_STATUS_OK ? "\033[32m" : health.status() == v1::HEALTH_STATUS_FAILED ? "\033[31m" : "\033[33m";
  session.out() << (session.color() ? paint + status + "\033[0m" : status) << "  nodes " << health.nodes_alive() << "/"
                << health.nodes() << "  controller " << health.controller_node_id() << "  partitions "
                << health.partitions() << "  leaderless " << health.partitions_leaderless() << "  under-replicated "
                << health.partitions_under_replicated() << "\n";
  for (const v1::HealthProblem& problem : health.problems()) {
    session.out() << "  " << ShortName(v1::HealthStatus_Name(problem.severity()), "HEALTH_STATUS_") << "  " << problem.kind()
                  << "  " << problem.message() << "\n";
  }
  session.out().flush();
}

struct HealthOptions {
  bool watch = false;
  bool exit_when_healthy = false;
};

// Sleeps, but not through an interrupt.
void Pause(Session& session, Duration time) {
  for (Duration slept{}; slept < time && !session.interrupted(); slept += kWatchPiece) std::this_thread::sleep_for(kWatchPiece);
}

int Health(Session& session, const HealthOptions& options) {
  const bool again = options.watch || options.exit_when_healthy;
  const SystemClock clock;
  const MonotonicTime deadline = clock.Now() + session.timeout();
  while (true) {
    v1::GetHealthResponse health;
    const client::Error error = session.Call(kHealth, v1::GetHealthRequest(), &health);
    const bool healthy = error.ok() && health.status() == v1::HEALTH_STATUS_OK;
    if (!error.ok() && !again) return session.Fail(error);
    if (!error.ok()) session.Say(error.ToString());
    if (error.ok() && (options.watch || !again || healthy)) PrintHealth(session, health);
    if (!again || (healthy && options.exit_when_healthy)) return healthy ? kExitOk : kExitUnhealthy;
    // Waiting for health has the time that any call has; watching alone has no end.
    if (options.exit_when_healthy && clock.Now() >= deadline) {
      if (error.ok() && !options.watch) PrintHealth(session, health);
      session.Say("not healthy after " + session.options.timeout);
      return error.ok() ? kExitUnhealthy : ExitCodeOf(error);
    }
    Pause(session, kWatchEvery);
    if (session.interrupted()) return kExitInterrupted;
  }
}

int ListNodes(Session& session) {
  v1::ListNodesResponse response;
  const client::Error error = CallAllPages(session, kListNodes, v1::ListNodesRequest(), &response);
  if (!error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  PrintNodes(session, response.nodes());
  return kExitOk;
}

int DescribeNode(Session& session, int32_t id) {
  v1::GetNodeRequest request;
  request.set_node_id(id);
  v1::GetNodeResponse response;
  if (const client::Error error = session.Call(kGetNode, request, &response); !error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  const v1::Node& node = response.node();
  Table table({"FIELD", "VALUE"});
  table.Add({"node", std::to_string(node.node_id())});
  table.Add({"name", node.name()});
  table.Add({"state", ShortName(v1::NodeState_Name(node.state()), "NODE_STATE_")});
  table.Add({"clients", node.client_address()});
  table.Add({"peers", node.peer_address()});
  table.Add({"rack", node.rack()});
  table.Add({"uuid", node.node_uuid()});
  table.Add({"version", node.software_version()});
  table.Add({"joined", TimeText(node.join_time_ms())});
  table.Add({"last-seen", TimeText(node.last_seen_ms())});
  table.Add({"metadata-version", std::to_string(node.metadata_version())});
  table.Add({"replicas", std::to_string(node.replica_count())});
  table.Add({"leaders", std::to_string(node.leader_count())});
  table.Add({"disk", ByteText(node.disk_free_bytes()) + " free of " + ByteText(node.disk_total_bytes())});
  for (const std::string& warning : node.warnings()) table.Add({"warning", warning});
  table.Print(session.out());
  return kExitOk;
}

}  // namespace

void AddClusterCommands(CLI::App& app, Session& session) {
  CLI::App& cluster = *app.add_subcommand("cluster", "The cluster as a whole")->require_subcommand(1);

  CLI::App& init = *cluster.add_subcommand("init", "Make a cluster of the broker that is named, and its seeds; once");
  auto request = std::make_shared<v1::InitClusterRequest>();
  init.add_flag_callback("--if-needed", [request] { request->set_if_needed(true); }, "Do nothing when it exists already");
  init.add_flag_callback("--dry-run", [request] { request->set_validate_only(true); }, "Only check");
  init.callback([&session, request] { session.action = [&session, request] { return Init(session, *request); }; });

  CLI::App& info = *cluster.add_subcommand("info", "What the broker that is named says about itself");
  info.callback([&session] { session.action = [&session] { return Info(session); }; });

  CLI::App& health = *cluster.add_subcommand("health", "Whether all is well, and what to do if not; exit code 9 if not");
  auto options = std::make_shared<HealthOptions>();
  health.add_flag("--watch", options->watch, "Every second, until interrupted");
  health.add_flag("--exit-when-healthy", options->exit_when_healthy, "Wait until all is well, at most --timeout");
  health.callback([&session, options] { session.action = [&session, options] { return Health(session, *options); }; });
}

void AddNodeCommands(CLI::App& app, Session& session) {
  CLI::App& node = *app.add_subcommand("node", "The brokers of the cluster")->require_subcommand(1);
  node.add_subcommand("list", "All nodes, dead ones too")->callback([&session] {
    session.action = [&session] { return ListNodes(session); };
  });
  CLI::App& describe = *node.add_subcommand("describe", "One node");
  auto id = std::make_shared<int32_t>(0);
  describe.add_option("NODE", *id, "Its id")->required();
  describe.callback([&session, id] { session.action = [&session, id] { return DescribeNode(session, *id); }; });
}

}  // namespace flotilla::cli
