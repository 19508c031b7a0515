#include <CLI/CLI.hpp>
#include <utility>

#include "client/cli/admin_text.h"
#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/node_text.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/watch.h"
#include "flotilla/v1/cluster.pb.h"

namespace flotilla::cli {
namespace {

constexpr char kInit[] = "/flotilla.v1.ClusterService/InitCluster";
constexpr char kInfo[] = "/flotilla.v1.ClusterService/GetServerInfo";
constexpr char kHealth[] = "/flotilla.v1.ClusterService/GetHealth";
constexpr Duration kWatchEvery = std::chrono::seconds(1);
constexpr Duration kAskAgainEvery = std::chrono::milliseconds(200);

// A cluster is often founded in the moment in which its nodes start: waits for those that do not answer yet.
client::Error Found(Session& session, const v1::InitClusterRequest& request, v1::InitClusterResponse* response) {
  const SystemClock clock;
  const MonotonicTime deadline = clock.Now() + session.timeout();
  std::string told;
  const auto tell = [&](const client::Error& why) {
    const std::string now(why.message().substr(0, why.message().find(":\n")));
    if (std::exchange(told, now) != now) session.Say("waiting: " + now);
  };
  while (true) {
    client::Error error = session.Call(kInit, request, response, {.on_retry = tell});
    const bool not_there_yet = error.code() == client::ErrorCode::kUnavailable && error.retry() == client::Retry::kSafe;
    if (error.ok() || !not_there_yet || request.validate_only() || clock.Now() >= deadline) return error;
    tell(error);
    Pause(session, kAskAgainEvery);
    if (session.interrupted()) return error;
  }
}

int Init(Session& session, const v1::InitClusterRequest& request) {
  v1::InitClusterResponse response;
  // Not through whatever broker answers: the nodes that are named become the cluster, and the first one speaks for them.
  const client::Error error = Found(session, request, &response);
  if (!error.ok()) return session.interrupted() ? kExitInterrupted : session.Fail(error);
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
  table.Add({"feature-level", std::to_string(response.feature_level())});
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
  const char* paint = health.status() == v1::HEALTH_STATUS_OK       ? "\033[32m"
                      : health.status() == v1::HEALTH_STATUS_FAILED ? "\033[31m"
                                                                    : "\033[33m";
  session.out() << (session.color() ? paint + status + "\033[0m" : status) << "  nodes " << health.nodes_alive() << "/" << health.nodes()
                << "  controller " << health.controller_node_id() << "  partitions " << health.partitions() << "  leaderless "
                << health.partitions_leaderless() << "  under-replicated " << health.partitions_under_replicated() << "\n";
  for (const v1::HealthProblem& problem : health.problems()) {
    session.out() << "  " << ShortName(v1::HealthStatus_Name(problem.severity()), "HEALTH_STATUS_") << "  " << problem.kind() << "  "
                  << problem.message() << "\n";
  }
  session.out().flush();
}

struct HealthOptions {
  bool watch = false;
  bool exit_when_healthy = false;
};

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

}  // namespace

void AddClusterCommands(CLI::App& app, Session& session) {
  CLI::App& cluster = *app.add_subcommand("cluster", "The cluster as a whole")->require_subcommand(1);

  CLI::App& init = *cluster.add_subcommand(
      "init", "Make a cluster of the broker that is named, and its seeds; once. Waits for them to answer, at most --timeout");
  auto request = std::make_shared<v1::InitClusterRequest>();
  init.add_flag_callback(
      "--if-needed", [request] { request->set_if_needed(true); }, "Do nothing when it exists already");
  init.add_flag_callback(
      "--dry-run", [request] { request->set_validate_only(true); }, "Only check");
  init.callback([&session, request] { session.action = [&session, request] { return Init(session, *request); }; });

  CLI::App& info = *cluster.add_subcommand("info", "What the broker that is named says about itself");
  info.callback([&session] { session.action = [&session] { return Info(session); }; });

  CLI::App& health = *cluster.add_subcommand("health", "Whether all is well, and what to do if not; exit code 9 if not");
  auto options = std::make_shared<HealthOptions>();
  health.add_flag("--watch", options->watch, "Every second, until interrupted");
  health.add_flag("--exit-when-healthy", options->exit_when_healthy, "Wait until all is well, at most --timeout");
  health.callback([&session, options] { session.action = [&session, options] { return Health(session, *options); }; });

  AddUpgradeCommand(cluster, session);
  AddQuorumCommand(cluster, session);
  AddBalanceCommand(cluster, session);
  AddConfigCommand(cluster, session);
}

}  // namespace flotilla::cli
