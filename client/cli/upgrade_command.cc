#include <CLI/CLI.hpp>

#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/session.h"
#include "flotilla/v1/cluster.pb.h"

namespace flotilla::cli {
namespace {

constexpr char kRaiseFeatureLevel[] = "/flotilla.v1.ClusterService/RaiseFeatureLevel";

struct UpgradeOptions {
  int32_t level = 0;
  bool dry_run = false;
};

int Upgrade(Session& session, const UpgradeOptions& options) {
  v1::RaiseFeatureLevelRequest request;
  request.set_feature_level(options.level);
  request.set_validate_only(true);
  v1::RaiseFeatureLevelResponse response;
  if (const client::Error error = session.Call(kRaiseFeatureLevel, request, &response); !error.ok()) return session.Fail(error);
  const std::string before = std::to_string(response.previous_feature_level());
  const std::string after = std::to_string(response.feature_level());
  const bool rises = before != after;
  if (rises && !options.dry_run) {
    const std::string consequence = "the cluster goes from feature level " + before + " to " + after +
                                    " for good; versions that do not know it cannot run in it any more";
    if (!session.Confirm(consequence, after)) return kExitUsage;
    // What was agreed to, whatever nodes have come or changed meanwhile.
    request.set_feature_level(response.feature_level());
    request.set_validate_only(false);
    if (const client::Error error = session.Call(kRaiseFeatureLevel, request, &response); !error.ok()) return session.Fail(error);
  }
  if (session.json()) return session.PrintJson(response), kExitOk;
  if (!rises) {
    session.out() << "the cluster is at feature level " << after << (options.level == 0 ? ", the highest that every node knows\n" : "\n");
  } else {
    session.out() << "the cluster " << (options.dry_run ? "would go" : "went") << " from feature level " << before << " to " << after
                  << "\n";
  }
  return kExitOk;
}

}  // namespace

void AddUpgradeCommand(CLI::App& cluster, Session& session) {
  CLI::App& command = *cluster.add_subcommand(
      "upgrade", "Let the cluster use what only newer versions know: the last step of an upgrade, without a way back");
  auto options = std::make_shared<UpgradeOptions>();
  command.add_option("--to", options->level, "Feature level; default: the highest that every node knows")
      ->type_name("LEVEL")
      ->check(CLI::Range(1, 1'000'000));
  command.add_flag("--dry-run", options->dry_run, "Only check, and say what would be");
  command.callback([&session, options] { session.action = [&session, options] { return Upgrade(session, *options); }; });
}

}  // namespace flotilla::cli
