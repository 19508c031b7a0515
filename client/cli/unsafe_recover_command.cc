#include <CLI/CLI.hpp>

#include "client/cli/admin_text.h"
#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "flotilla/v1/admin.pb.h"

namespace flotilla::cli {
namespace {

struct RecoverOptions {
  std::string partition;
  int32_t keep = 0;
  bool accept = false;
};

void PrintReplicas(Session& session, const v1::UnsafeRecoverPartitionResponse& response) {
  Table table({"NODE", "EPOCH", "START", "COMMITTED", "END", "KEPT", "FAULT"});
  for (const v1::LeftReplica& replica : response.replicas()) {
    table.Add({std::to_string(replica.node_id()), std::to_string(replica.last_epoch()), std::to_string(replica.log_start_offset()),
               std::to_string(replica.high_watermark()), std::to_string(replica.log_end_offset()),
               replica.node_id() == response.recovery().kept_node_id() ? "yes" : "no", replica.fault()});
  }
  table.Print(session.out());
}

// What is at risk, in words; both tenses.
void SayWhatIsLost(Session& session, const v1::UnsafeRecovery& recovery, bool done) {
  const std::string end = std::to_string(recovery.lost_from_offset());
  const std::string uncertain = std::to_string(recovery.uncertain_from_offset());
  session.Say(std::string(done ? "given up: " : "would be given up: ") + "the replicas on nodes " + NodesText(recovery.lost_node_ids()));
  session.Say(std::string(done ? "lost: " : "would be lost: ") + "every acknowledged record at offset " + end +
              " and above, if there were any; these offsets are given again");
  if (recovery.uncertain_from_offset() < recovery.lost_from_offset()) {
    session.Say(std::string(done ? "kept: " : "would be kept: ") + "offsets " + uncertain + " to " +
                std::to_string(recovery.lost_from_offset() - 1) + ", which node " + std::to_string(recovery.kept_node_id()) +
                " has and does not know to be committed: nobody may have been told that they were written");
  }
}

int Recover(Session& session, const RecoverOptions& options) {
  const std::optional<v1::PartitionRef> ref = ParsePartition(options.partition);
  if (!ref) return session.FailUsage("'" + options.partition + "' is no partition; write TOPIC/NUMBER");
  v1::UnsafeRecoverPartitionRequest request;
  *request.mutable_partition() = *ref;
  request.set_keep_node_id(options.keep);
  request.set_accept_data_loss(options.accept);
  request.set_validate_only(!options.accept);
  request.set_request_id(client::NewRequestId());
  v1::UnsafeRecoverPartitionResponse response;
  if (client::Error error = session.Call("/flotilla.v1.AdminService/UnsafeRecoverPartition", request, &response); !error.ok()) {
    return session.Fail(error);
  }
  if (session.json()) {
    session.PrintJson(response);
  } else {
    PrintReplicas(session, response);
  }
  SayWhatIsLost(session, response.recovery(), options.accept);
  if (options.accept) return kExitOk;
  session.Say("nothing was done; add --i-accept-data-loss to do it");
  return kExitPrecondition;
}

}  // namespace

void AddUnsafeRecoverCommand(CLI::App& partition, Session& session) {
  CLI::App& command = *partition.add_subcommand("unsafe-recover", "Let one replica go on alone when the majority is lost for good");
  auto options = std::make_shared<RecoverOptions>();
  command.add_option("PARTITION", options->partition, "TOPIC/NUMBER")->required();
  command.add_option("--keep-node", options->keep, "The node whose replica goes on; default: the one with the newest log");
  command.add_flag("--i-accept-data-loss", options->accept, "Do it; without this only what would be lost is shown");
  command.callback([&session, options] { session.action = [&session, options] { return Recover(session, *options); }; });
}

}  // namespace flotilla::cli
