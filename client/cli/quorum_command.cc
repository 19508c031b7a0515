#include <CLI/CLI.hpp>

#include "client/cli/admin_text.h"
#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "flotilla/v1/cluster.pb.h"

namespace flotilla::cli {
namespace {

constexpr char kGetQuorum[] = "/flotilla.v1.ClusterService/GetQuorum";

int Quorum(Session& session, const std::string& partition) {
  v1::GetQuorumRequest request;
  if (!partition.empty()) {
    const std::optional<v1::PartitionRef> ref = ParsePartition(partition);
    if (!ref) return session.FailUsage("'" + partition + "' is no partition; write TOPIC/NUMBER");
    *request.mutable_partition() = *ref;
  }
  v1::GetQuorumResponse response;
  if (const client::Error error = session.Call(kGetQuorum, request, &response); !error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  session.Say((partition.empty() ? "metadata" : partition) + ": node " + std::to_string(response.leader_node_id()) + " leads in epoch " +
              std::to_string(response.leader_epoch()) + ", committed " + std::to_string(response.commit_index()) + " of " +
              std::to_string(response.last_index()) + (response.changing() ? ", members are being changed" : ""));
  Table table({"NODE", "ROLE", "STATE", "MATCH", "LAG", "HEARD", "INCARNATION"});
  for (const v1::QuorumMember& member : response.members()) {
    const bool leads = member.node_id() == response.leader_node_id();
    table.Add({std::to_string(member.node_id()), leads ? "leader" : ShortName(v1::ReplicaRole_Name(member.role()), "REPLICA_ROLE_"),
               ShortName(v1::ReplicaState_Name(member.state()), "REPLICA_STATE_"), std::to_string(member.match_index()),
               std::to_string(response.last_index() - member.match_index()), SpanText(member.last_contact_ms()),
               std::to_string(member.incarnation())});
  }
  table.Print(session.out());
  return kExitOk;
}

}  // namespace

void AddQuorumCommand(CLI::App& cluster, Session& session) {
  CLI::App& command = *cluster.add_subcommand("quorum", "Who votes on the metadata, or in a partition's group, and how far each is");
  auto partition = std::make_shared<std::string>();
  command.add_option("PARTITION", *partition, "TOPIC/NUMBER; default: the metadata");
  command.callback([&session, partition] { session.action = [&session, partition] { return Quorum(session, *partition); }; });
}

}  // namespace flotilla::cli
