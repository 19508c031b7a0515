#include <CLI/CLI.hpp>

#include "client/cli/admin_text.h"
#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/node_text.h"
#include "client/cli/pages.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/watch.h"
#include "flotilla/v1/cluster.pb.h"

namespace flotilla::cli {
namespace {

struct NodeOptions {
  int32_t node = 0;
  bool dry_run = false;
  bool watch = false;
  bool wait = false;
};

std::string Method(const char* name) { return std::string("/flotilla.v1.ClusterService/") + name; }

int List(Session& session) {
  v1::ListNodesResponse response;
  const client::Error error = CallAllPages(session, Method("ListNodes"), v1::ListNodesRequest(), &response);
  if (!error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  PrintNodes(session, response.nodes());
  return kExitOk;
}

client::Error Get(Session& session, int32_t node, v1::GetNodeResponse* response) {
  v1::GetNodeRequest request;
  request.set_node_id(node);
  return session.Call(Method("GetNode"), request, response);
}

int Describe(Session& session, const NodeOptions& options) {
  v1::GetNodeResponse response;
  if (const client::Error error = Get(session, options.node, &response); !error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  PrintNode(session, response);
  return kExitOk;
}

std::string NameOf(const NodeOptions& options) { return "node " + std::to_string(options.node); }

// Until the node is drained or gone, or is in use again.
int Watch(Session& session, const NodeOptions& options) {
  v1::GetNodeResponse last;
  const int code = WatchProgress(session, "what was begun goes on by itself; flotilla node describe " + std::to_string(options.node), [&] {
    Look look;
    v1::GetNodeResponse response;
    look.error = Get(session, options.node, &response);
    if (look.error.reason() == "NODE_NOT_FOUND") {
      session.Say(NameOf(options) + " is removed");
      return Look{.end = kExitOk};
    }
    if (!look.error.ok()) return look;
    last = response;
    if (!response.has_evacuation()) {
      session.Say(NameOf(options) + " is in use: it was called off");
      return Look{.end = kExitPrecondition};
    }
    const v1::Evacuation& evacuation = response.evacuation();
    look.line = NameOf(options) + ": " + EvacuationText(evacuation);
    if (!evacuation.complete() && evacuation.obstacles_size() > 0) look.line += ": " + evacuation.obstacles(0);
    look.mark = evacuation.ShortDebugString();
    const bool drains = response.node().mode() == v1::NODE_MODE_DRAINING;
    if (evacuation.complete() && drains) look.end = kExitOk;
    return look;
  });
  if (session.json() && last.has_node()) session.PrintJson(last);
  return code;
}

template <typename Request, typename Response>
int ChangeMode(Session& session, const NodeOptions& options, const char* method, const std::string& done, const std::string& would) {
  Request request;
  request.set_node_id(options.node);
  request.set_validate_only(options.dry_run);
  Response response;
  if (const client::Error error = session.Call(Method(method), request, &response); !error.ok()) return session.Fail(error);
  if (options.watch && !options.dry_run) return Watch(session, options);
  if (session.json()) return session.PrintJson(response), kExitOk;
  session.Say(NameOf(options) + " " + (options.dry_run ? would : done));
  google::protobuf::RepeatedPtrField<v1::Node> nodes;
  *nodes.Add() = response.node();
  PrintNodes(session, nodes);
  return kExitOk;
}

int Drain(Session& session, const NodeOptions& options) {
  return ChangeMode<v1::DrainNodeRequest, v1::DrainNodeResponse>(session, options, "DrainNode", "is being drained", "could be drained");
}

int Undrain(Session& session, const NodeOptions& options) {
  return ChangeMode<v1::UndrainNodeRequest, v1::UndrainNodeResponse>(session, options, "UndrainNode", "is in use",
                                                                     "could be put back into use");
}

int Recommission(Session& session, const NodeOptions& options) {
  return ChangeMode<v1::RecommissionNodeRequest, v1::RecommissionNodeResponse>(session, options, "RecommissionNode", "is in use",
                                                                               "could be put back into use");
}

// What is said before a node goes for good. False: it does not go; then `code` says how the program ends.
bool ConfirmGone(Session& session, const NodeOptions& options, int* code) {
  if (options.dry_run) return true;
  v1::GetNodeResponse response;
  if (const client::Error error = Get(session, options.node, &response); !error.ok()) {
    *code = session.Fail(error);
    return false;
  }
  const v1::Node& node = response.node();
  *code = kExitUsage;
  return session.Confirm(NameOf(options) + " (" + node.name() + ", " + node.client_address() + ") leaves the cluster for good; its " +
                             std::to_string(node.replica_count()) + " replicas are built on other nodes first",
                         node.name());
}

int Decommission(Session& session, const NodeOptions& options) {
  int code = kExitOk;
  if (!ConfirmGone(session, options, &code)) return code;
  return ChangeMode<v1::DecommissionNodeRequest, v1::DecommissionNodeResponse>(
      session, options, "DecommissionNode", "is being decommissioned; it goes by itself when it has no replicas left",
      "could be decommissioned");
}

int Remove(Session& session, const NodeOptions& options) {
  int code = kExitOk;
  if (!ConfirmGone(session, options, &code)) return code;
  v1::RemoveNodeRequest request;
  request.set_node_id(options.node);
  request.set_validate_only(options.dry_run);
  v1::RemoveNodeResponse response;
  if (const client::Error error = session.Call(Method("RemoveNode"), request, &response); !error.ok()) return session.Fail(error);
  if (!response.removed() && options.watch && !options.dry_run) return Watch(session, options);
  if (session.json()) return session.PrintJson(response), kExitOk;
  if (options.dry_run) {
    session.Say(NameOf(options) +
                (response.removed() ? " could be removed" : " could be removed once its replicas are built on other nodes"));
  } else {
    session.Say(NameOf(options) + (response.removed() ? " is removed" : " goes by itself when its replicas are built on other nodes"));
  }
  return kExitOk;
}

void PrintStop(Session& session, const NodeOptions& options, const v1::CheckSafeToStopResponse& response) {
  if (session.json()) return session.PrintJson(response);
  Table table({"NODE", "SAFE", "LEADERS", "AT-RISK", "METADATA", "REASON"});
  table.Add({std::to_string(options.node), response.safe() ? "yes" : "no", std::to_string(response.leader_count()),
             std::to_string(response.partitions_at_risk_count()), response.metadata_at_risk() ? "at-risk" : "ok", response.reason()});
  table.Print(session.out());
  if (response.partitions_at_risk_size() == 0) return;
  std::string list;
  for (const v1::PartitionRef& ref : response.partitions_at_risk()) list += (list.empty() ? "" : " ") + PartitionText(ref);
  const int more = response.partitions_at_risk_count() - response.partitions_at_risk_size();
  session.Say("at risk: " + list + (more > 0 ? " and " + std::to_string(more) + " more" : ""));
}

int SafeToStop(Session& session, const NodeOptions& options) {
  const SystemClock clock;
  const MonotonicTime deadline = clock.Now() + session.timeout();
  v1::CheckSafeToStopRequest request;
  request.set_node_id(options.node);
  while (true) {
    v1::CheckSafeToStopResponse response;
    const client::Error error = session.Call(Method("CheckSafeToStop"), request, &response);
    const bool again = options.wait && clock.Now() < deadline;
    if (!error.ok() && (!again || error.code() == client::ErrorCode::kNotFound)) return session.Fail(error);
    if (error.ok() && (response.safe() || !again)) {
      PrintStop(session, options, response);
      return response.safe() ? kExitOk : kExitPrecondition;
    }
    session.ShowProgress(error.ok() ? NameOf(options) + " is not safe to stop: " + response.reason() : error.ToString());
    Pause(session, std::chrono::milliseconds(500));
    session.EndProgress();
    if (session.interrupted()) return kExitInterrupted;
  }
}

}  // namespace

void AddNodeCommands(CLI::App& app, Session& session) {
  CLI::App& node = *app.add_subcommand("node", "The brokers of the cluster")->require_subcommand(1);
  node.add_subcommand("list", "All nodes, dead ones too")->callback([&session] { session.action = [&session] { return List(session); }; });
  const auto add = [&](const char* verb, const char* about, int (*run)(Session&, const NodeOptions&)) {
    auto options = std::make_shared<NodeOptions>();
    CLI::App& command = *node.add_subcommand(verb, about);
    command.add_option("NODE", options->node, "Its id")->required();
    command.callback([&session, options, run] { session.action = [&session, options, run] { return run(session, *options); }; });
    return std::pair<CLI::App&, NodeOptions&>(command, *options);
  };
  const auto take_dry_run = [](CLI::App& command, NodeOptions& options) { command.add_flag("--dry-run", options.dry_run, "Only check"); };
  const auto take_watch = [](CLI::App& command, NodeOptions& options, const char* about) {
    command.add_flag("--watch", options.watch, about);
  };
  add("describe", "One node, and how far it is drained or decommissioned", Describe);
  {
    auto [command, options] = add("drain", "Move leaderships off a node and keep them away; its replicas stay", Drain);
    take_watch(command, options, "Show progress until it leads nothing that another node can lead");
    take_dry_run(command, options);
  }
  {
    auto [command, options] = add("undrain", "Put a drained node back into use", Undrain);
    take_dry_run(command, options);
  }
  {
    auto [command, options] = add("safe-to-stop", "Whether everything goes on without a node; exit code 5 if not", SafeToStop);
    command.add_flag("--wait", options.wait, "Until it is, at most --timeout");
  }
  {
    auto [command, options] = add("decommission", "Move a node's replicas to other nodes, then remove it for good", Decommission);
    take_watch(command, options, "Show progress until it is removed");
    take_dry_run(command, options);
  }
  {
    auto [command, options] = add("recommission", "Call a decommissioning off: the node is in use again", Recommission);
    take_dry_run(command, options);
  }
  {
    auto [command, options] = add("remove", "Remove a dead node for good; its replicas are built on other nodes first", Remove);
    take_watch(command, options, "Show progress until it is removed");
    take_dry_run(command, options);
  }
}

}  // namespace flotilla::cli
