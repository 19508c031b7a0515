#include <CLI/CLI.hpp>

#include "client/cli/commands.h"
#include "client/cli/config_text.h"
#include "client/cli/exit_codes.h"
#include "client/cli/session.h"
#include "flotilla/v1/admin.pb.h"

namespace flotilla::cli {
namespace {

int Config(Session& session, const ConfigChange& change) {
  v1::ConfigResource cluster;
  cluster.set_cluster(true);
  if (!change.set.empty() || !change.unset.empty()) return AlterConfig(session, cluster, change);
  v1::GetConfigRequest request;
  *request.mutable_resource() = cluster;
  v1::GetConfigResponse response;
  const client::Error error = session.Call("/flotilla.v1.AdminService/GetConfig", request, &response);
  if (!error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  PrintConfig(session, response.entries());
  return kExitOk;
}

}  // namespace

void AddConfigCommand(CLI::App& cluster, Session& session) {
  CLI::App& command = *cluster.add_subcommand("config", "Settings of the cluster, and defaults of topics: shown, or changed");
  auto change = std::make_shared<ConfigChange>();
  command.add_option("--set", change->set, "NAME=VALUE")->type_name("SETTING")->expected(1)->take_all();
  command.add_option("--unset", change->unset, "Back to the default")->type_name("NAME")->expected(1)->take_all();
  command.add_flag("--dry-run", change->dry_run, "Only check");
  command.callback([&session, change] { session.action = [&session, change] { return Config(session, *change); }; });
}

}  // namespace flotilla::cli
