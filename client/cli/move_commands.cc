#include <CLI/CLI.hpp>
#include <algorithm>

#include "client/cli/admin_text.h"
#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/pages.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/watch.h"
#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"

namespace flotilla::cli {
namespace {

struct MoveOptions {
  std::string partition;
  int32_t from = 0;
  int32_t to = 0;
  int32_t node = 0;
  bool cancel = false;
  bool watch = false;
  bool dry_run = false;
};

std::string Method(const char* name) { return std::string("/flotilla.v1.AdminService/") + name; }

std::string StageText(const v1::Move& move) { return ShortName(v1::MoveStage_Name(move.stage()), "MOVE_STAGE_"); }

void PrintMoves(Session& session, const std::vector<const v1::Move*>& moves) {
  std::vector<std::string> header = {"TOPIC", "PARTITION", "FROM", "TO", "REASON", "STAGE", "DONE", "LEFT", "TO-GO"};
  if (session.wide()) header.insert(header.end(), {"SIZE", "STARTED"});
  header.emplace_back("STALLED");
  Table table(header);
  for (const v1::Move* move : moves) {
    std::vector<std::string> row = {TopicText(move->partition().topic()),
                                    std::to_string(move->partition().partition()),
                                    NodesText(move->from_node_ids()),
                                    NodesText(move->to_node_ids()),
                                    ShortName(v1::MoveReason_Name(move->reason()), "MOVE_REASON_"),
                                    StageText(*move),
                                    std::to_string(move->percent()) + "%",
                                    ByteText(move->bytes_left()),
                                    move->remaining_ms() < 0 ? "" : SpanText(move->remaining_ms())};
    if (session.wide()) row.insert(row.end(), {ByteText(move->bytes_total()), TimeText(move->start_time_ms())});
    row.push_back(move->stalled());
    table.Add(std::move(row));
  }
  table.Print(session.out());
}

std::string ProgressText(const v1::Move& move) {
  std::string text = PartitionText(move.partition()) + ": " + (StageText(move).empty() ? "no leader" : StageText(move)) + " " +
                     std::to_string(move.percent()) + "%, " + ByteText(move.bytes_left()) + " left";
  if (move.remaining_ms() > 0) text += ", " + SpanText(move.remaining_ms()) + " to go";
  if (!move.stalled().empty()) text += ": " + move.stalled();
  return text;
}

client::Error ListAll(Session& session, int32_t node, v1::ListMovesResponse* moves) {
  v1::ListMovesRequest request;
  request.set_node_id(node);
  return CallAllPages(session, Method("ListMoves"), request, moves);
}

// The nodes that shall have a replica, as of the decision or later; whoever answers may not have heard of it before.
client::Error ListReplicas(Session& session, const v1::PartitionRef& ref, int64_t version, std::vector<int32_t>* nodes) {
  v1::GetMetadataRequest request;
  *request.add_topics() = ref.topic();
  request.set_min_version(version);
  v1::GetMetadataResponse response;
  if (client::Error error = session.Call("/flotilla.v1.ClusterService/GetMetadata", request, &response); !error.ok()) return error;
  for (const v1::TopicMetadata& topic : response.topics()) {
    for (const v1::Partition& partition : topic.partitions()) {
      if (partition.partition() != ref.partition()) continue;
      for (const v1::Replica& replica : partition.replicas()) {
        if (!replica.leaving()) nodes->push_back(replica.node_id());
      }
    }
  }
  return {};
}

// Until it is not under way any more; then says whether it came to its end or was called off.
int Watch(Session& session, const v1::Move& begun, int64_t version) {
  const v1::PartitionRef& ref = begun.partition();
  v1::Move last = begun;
  const int code = WatchProgress(session, "the move goes on by itself; flotilla partition moves", [&] {
    Look look;
    v1::ListMovesResponse moves;
    look.error = ListAll(session, 0, &moves);
    if (!look.error.ok()) return look;
    const auto at = std::find_if(moves.moves().begin(), moves.moves().end(), [&](const v1::Move& move) {
      return move.partition().topic().topic_id() == ref.topic().topic_id() && move.partition().partition() == ref.partition();
    });
    if (at == moves.moves().end()) {
      look.end = kExitOk;
      return look;
    }
    last = *at;
    look.line = ProgressText(*at);
    v1::Move mark = *at;
    mark.clear_remaining_ms();
    look.mark = mark.ShortDebugString();
    return look;
  });
  if (code != kExitOk) return code;
  std::vector<int32_t> nodes;
  if (client::Error error = ListReplicas(session, ref, version, &nodes); !error.ok()) return session.Fail(error);
  const bool arrived = std::all_of(begun.to_node_ids().begin(), begun.to_node_ids().end(),
                                   [&](int32_t node) { return std::find(nodes.begin(), nodes.end(), node) != nodes.end(); });
  if (session.json()) session.PrintJson(last);
  session.Say(PartitionText(ref) + (arrived ? ": done" : ": it was called off, or another change took its place"));
  return arrived ? kExitOk : kExitPrecondition;
}

template <typename Request, typename Response>
int Change(Session& session, const MoveOptions& options, const char* method, Request request) {
  const std::optional<v1::PartitionRef> ref = ParsePartition(options.partition);
  if (!ref) return session.FailUsage("'" + options.partition + "' is no partition; write TOPIC/NUMBER");
  *request.mutable_partition() = *ref;
  request.set_validate_only(options.dry_run);
  request.set_request_id(client::NewRequestId());
  Response response;
  if (client::Error error = session.Call(Method(method), request, &response); !error.ok()) return session.Fail(error);
  if (options.watch && !options.dry_run) return Watch(session, response.move(), response.metadata_version());
  if (session.json()) return session.PrintJson(response), kExitOk;
  if (options.dry_run) session.Say("only checked; this would be done");
  PrintMoves(session, {&response.move()});
  return kExitOk;
}

int Move(Session& session, const MoveOptions& options) {
  if (options.cancel) return Change<v1::CancelMoveRequest, v1::CancelMoveResponse>(session, options, "CancelMove", {});
  if (options.from == 0) return session.FailUsage("--from is missing: the node whose replica moves; or --cancel");
  v1::MovePartitionRequest request;
  request.set_from_node_id(options.from);
  request.set_to_node_id(options.to);
  return Change<v1::MovePartitionRequest, v1::MovePartitionResponse>(session, options, "MovePartition", request);
}

int Rebuild(Session& session, const MoveOptions& options) {
  const bool agreed = options.dry_run || session.Confirm("the replica of " + options.partition + " on node " +
                                                             std::to_string(options.node) + " is deleted and built anew from the others",
                                                         options.partition);
  if (!agreed) return kExitUsage;
  v1::RebuildReplicaRequest request;
  request.set_node_id(options.node);
  return Change<v1::RebuildReplicaRequest, v1::RebuildReplicaResponse>(session, options, "RebuildReplica", request);
}

int WatchAll(Session& session, const MoveOptions& options) {
  return WatchProgress(session, "moves go on by themselves", [&] {
    Look look;
    v1::ListMovesResponse moves;
    look.error = ListAll(session, options.node, &moves);
    if (!look.error.ok()) return look;
    int64_t left = 0;
    int64_t longest = 0;
    for (v1::Move& move : *moves.mutable_moves()) {
      left += move.bytes_left();
      longest = std::max(longest, move.remaining_ms());
      move.clear_remaining_ms();
    }
    look.line = "moves " + std::to_string(moves.moves_size()) + ", " + ByteText(left) + " left" +
                (longest > 0 ? ", " + SpanText(longest) + " to go for those that run" : "");
    look.mark = moves.ShortDebugString();
    if (moves.moves_size() == 0) look.end = kExitOk;
    return look;
  });
}

int List(Session& session, const MoveOptions& options) {
  if (options.watch) return WatchAll(session, options);
  v1::ListMovesResponse response;
  if (client::Error error = ListAll(session, options.node, &response); !error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  std::vector<const v1::Move*> moves;
  for (const v1::Move& move : response.moves()) moves.push_back(&move);
  PrintMoves(session, moves);
  return kExitOk;
}

}  // namespace

void AddMoveCommands(CLI::App& partition, Session& session) {
  const auto add = [&](const char* verb, const char* about, int (*run)(Session&, const MoveOptions&)) {
    auto options = std::make_shared<MoveOptions>();
    CLI::App& command = *partition.add_subcommand(verb, about);
    command.callback([&session, options, run] { session.action = [&session, options, run] { return run(session, *options); }; });
    return std::pair<CLI::App&, MoveOptions&>(command, *options);
  };
  {
    auto [command, options] = add("move", "Move a replica to another node: it learns, votes, and then the old one goes", Move);
    command.add_option("PARTITION", options.partition, "TOPIC/NUMBER")->required();
    command.add_option("--from", options.from, "The node whose replica goes");
    command.add_option("--to", options.to, "The node that gets one; default: the best place");
    auto* cancel = command.add_flag("--cancel", options.cancel, "Call off what is under way: the partition gets back what it had");
    cancel->excludes("--from")->excludes("--to");
    command.add_flag("--watch", options.watch, "Show progress until it is done");
    command.add_flag("--dry-run", options.dry_run, "Only check");
  }
  {
    auto [command, options] = add("rebuild", "Delete a damaged replica and build it anew from the others", Rebuild);
    command.add_option("PARTITION", options.partition, "TOPIC/NUMBER")->required();
    command.add_option("--node", options.node, "The node whose replica is damaged")->required();
    command.add_flag("--watch", options.watch, "Show progress until it is done");
    command.add_flag("--dry-run", options.dry_run, "Only check");
  }
  {
    auto [command, options] = add("moves", "Changes of replicas that are under way", List);
    command.add_option("--node", options.node, "Only to or from this node");
    command.add_flag("--watch", options.watch, "Show progress until there are none");
  }
}

}  // namespace flotilla::cli
