#include <CLI/CLI.hpp>

#include "client/cli/admin_text.h"
#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/watch.h"
#include "flotilla/v1/cluster.pb.h"

namespace flotilla::cli {
namespace {

constexpr char kStart[] = "/flotilla.v1.ClusterService/StartBalance";
constexpr char kGet[] = "/flotilla.v1.ClusterService/GetBalance";
constexpr char kCancel[] = "/flotilla.v1.ClusterService/CancelBalance";

struct BalanceOptions {
  bool plan = false;
  bool apply = false;
  bool status = false;
  bool cancel = false;
  bool watch = false;
};

std::string ProgressText(const v1::GetBalanceResponse& balance) {
  if (!balance.active() && balance.moves_running() == 0) return "no balancing is under way";
  std::string text = std::to_string(balance.percent()) + "%, moves running " + std::to_string(balance.moves_running()) + ", waiting " +
                     std::to_string(balance.moves_waiting()) + ", " + ByteText(balance.bytes_left()) + " left";
  if (balance.remaining_ms() > 0) text += ", " + SpanText(balance.remaining_ms()) + " to go";
  return text;
}

void PrintStatus(Session& session, const v1::GetBalanceResponse& balance) {
  if (session.json()) return session.PrintJson(balance);
  Table table({"ACTIVE", "STARTED", "PLANNED", "RUNNING", "WAITING", "LEFT", "PERCENT", "TO-GO"});
  table.Add({balance.active() ? "yes" : "no", TimeText(balance.start_time_ms()), std::to_string(balance.moves_planned()),
             std::to_string(balance.moves_running()), std::to_string(balance.moves_waiting()), ByteText(balance.bytes_left()),
             std::to_string(balance.percent()) + "%", balance.remaining_ms() < 0 ? "" : SpanText(balance.remaining_ms())});
  table.Print(session.out());
}

int Watch(Session& session) {
  v1::GetBalanceResponse last;
  const int code = WatchProgress(session, "balancing goes on by itself; flotilla partition moves", [&] {
    Look look;
    v1::GetBalanceResponse balance;
    look.error = session.Call(kGet, v1::GetBalanceRequest(), &balance);
    if (!look.error.ok()) return look;
    last = balance;
    look.line = ProgressText(balance);
    balance.clear_remaining_ms();
    look.mark = balance.ShortDebugString();
    if (!balance.active() && balance.moves_running() == 0) look.end = kExitOk;
    return look;
  });
  if (session.json()) session.PrintJson(last);
  return code;
}

int Start(Session& session, const BalanceOptions& options) {
  v1::StartBalanceRequest request;
  request.set_validate_only(options.plan);
  v1::StartBalanceResponse response;
  if (const client::Error error = session.Call(kStart, request, &response); !error.ok()) return session.Fail(error);
  if (options.apply && options.watch) return Watch(session);
  if (session.json()) return session.PrintJson(response), kExitOk;
  if (response.move_count() == 0 && response.leader_change_count() == 0) return session.Say("all is even already"), kExitOk;
  session.Say(std::to_string(response.move_count()) + " moves, " + ByteText(response.bytes_total()) + " to copy; leaders of " +
              std::to_string(response.leader_change_count()) + " partitions change; " + (options.apply ? "begun" : "nothing was begun"));
  Table table({"TOPIC", "PARTITION", "FROM", "TO", "SIZE"});
  for (const v1::PlannedMove& move : response.moves()) {
    table.Add({TopicText(move.partition().topic()), std::to_string(move.partition().partition()), std::to_string(move.from_node_id()),
               std::to_string(move.to_node_id()), ByteText(move.bytes())});
  }
  if (response.moves_size() > 0) table.Print(session.out());
  return kExitOk;
}

int Status(Session& session, const BalanceOptions& options) {
  if (options.watch) return Watch(session);
  v1::GetBalanceResponse balance;
  if (const client::Error error = session.Call(kGet, v1::GetBalanceRequest(), &balance); !error.ok()) return session.Fail(error);
  PrintStatus(session, balance);
  return kExitOk;
}

int Cancel(Session& session, const BalanceOptions& options) {
  v1::CancelBalanceResponse response;
  if (const client::Error error = session.Call(kCancel, v1::CancelBalanceRequest(), &response); !error.ok()) return session.Fail(error);
  if (options.watch) return Watch(session);
  if (session.json()) return session.PrintJson(response), kExitOk;
  session.Say(response.metadata_version() == 0
                  ? "no balancing was under way"
                  : "called off, with " + std::to_string(response.moves_cancelled()) + " moves that were running");
  return kExitOk;
}

int Balance(Session& session, const BalanceOptions& options) {
  if (options.status) return Status(session, options);
  return options.cancel ? Cancel(session, options) : Start(session, options);
}

}  // namespace

void AddBalanceCommand(CLI::App& cluster, Session& session) {
  CLI::App& command = *cluster.add_subcommand("balance", "Spread replicas over racks, nodes and bytes, and leaders over nodes");
  auto options = std::make_shared<BalanceOptions>();
  auto* what = command.add_option_group("what");
  what->add_flag("--plan", options->plan, "Show what would be moved");
  what->add_flag("--apply", options->apply, "Begin");
  what->add_flag("--status", options->status, "How far it is");
  what->add_flag("--cancel", options->cancel, "Call it off, and what is on its way");
  what->require_option(1);
  command.add_flag("--watch", options->watch, "Show progress until all is even");
  command.callback([&session, options] { session.action = [&session, options] { return Balance(session, *options); }; });
}

}  // namespace flotilla::cli
