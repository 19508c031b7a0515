#include <CLI/CLI.hpp>

#include "client/cli/admin_text.h"
#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/pages.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"

namespace flotilla::cli {
namespace {

constexpr char kListPartitions[] = "/flotilla.v1.AdminService/ListPartitions";
constexpr char kTransfer[] = "/flotilla.v1.ClusterService/TransferLeadership";

struct ListOptions {
  std::string topic;
  int32_t node = 0;
  bool under_replicated = false;
  bool leaderless = false;
};

int List(Session& session, const ListOptions& options) {
  v1::ListPartitionsRequest request;
  if (!options.topic.empty()) request.mutable_topic()->set_name(options.topic);
  request.set_node_id(options.node);
  if (options.under_replicated) request.set_filter(v1::PARTITION_FILTER_UNDER_REPLICATED);
  if (options.leaderless) request.set_filter(v1::PARTITION_FILTER_LEADERLESS);
  v1::ListPartitionsResponse response;
  if (client::Error error = CallAllPages(session, kListPartitions, request, &response); !error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  Table table({"TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "START", "END", "SIZE"});
  for (const v1::PartitionDetails& details : response.partitions()) {
    const v1::Partition& partition = details.partition();
    const bool known = details.leader_answered();
    table.Add({TopicText(details.topic()), std::to_string(partition.partition()),
               partition.leader_node_id() == 0 ? "none" : std::to_string(partition.leader_node_id()),
               std::to_string(partition.leader_epoch()), ReplicasText(partition), known ? std::to_string(details.log_start_offset()) : "",
               known ? std::to_string(details.high_watermark()) : "", known ? ByteText(details.size_bytes()) : ""});
  }
  table.Print(session.out());
  return kExitOk;
}

struct TransferOptions {
  std::string topic;
  int32_t partition = 0;
  int32_t to = 0;
  bool dry_run = false;
};

int Transfer(Session& session, const TransferOptions& options) {
  v1::TransferLeadershipRequest request;
  request.mutable_partition()->mutable_topic()->set_name(options.topic);
  request.mutable_partition()->set_partition(options.partition);
  request.set_to_node_id(options.to);
  request.set_validate_only(options.dry_run);
  v1::TransferLeadershipResponse response;
  if (client::Error error = session.Call(kTransfer, request, &response); !error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  Table table({"TOPIC", "PARTITION", "LEADER", "EPOCH"});
  table.Add({options.topic, std::to_string(options.partition), std::to_string(response.leader_node_id()),
             std::to_string(response.leader_epoch())});
  table.Print(session.out());
  return kExitOk;
}

}  // namespace

void AddPartitionCommands(CLI::App& app, Session& session) {
  CLI::App& partition = *app.add_subcommand("partition", "Partitions and their leaders")->require_subcommand(1);

  CLI::App& list = *partition.add_subcommand("list", "Partitions with leaders, replicas and offsets");
  auto options = std::make_shared<ListOptions>();
  list.add_option("TOPIC", options->topic, "Only of this topic");
  list.add_option("--node", options->node, "Only with a replica on this node");
  auto* under = list.add_flag("--under-replicated", options->under_replicated, "Only with a replica that is not in sync");
  list.add_flag("--leaderless", options->leaderless, "Only without a leader")->excludes(under);
  list.callback([&session, options] { session.action = [&session, options] { return List(session, *options); }; });

  CLI::App& transfer = *partition.add_subcommand("transfer-leader", "Hand a partition over to another replica");
  auto target = std::make_shared<TransferOptions>();
  transfer.add_option("TOPIC", target->topic, "The topic")->required();
  transfer.add_option("PARTITION", target->partition, "The partition")->required();
  transfer.add_option("--to", target->to, "The node that shall lead; default: whichever is furthest");
  transfer.add_flag("--dry-run", target->dry_run, "Only check");
  transfer.callback([&session, target] { session.action = [&session, target] { return Transfer(session, *target); }; });

  AddMoveCommands(partition, session);
  AddUnsafeRecoverCommand(partition, session);
}

}  // namespace flotilla::cli
