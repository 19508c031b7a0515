// The commands, a function for each noun; some verbs of cluster and partition have files of their own. Each adds its part to the
// command line; the callback of a chosen command sets Session::action, which is run once all of the line is parsed.
#pragma once

namespace CLI {
class App;
}

namespace flotilla::cli {

class Session;

void AddClusterCommands(CLI::App& app, Session& session);
void AddQuorumCommand(CLI::App& cluster, Session& session);
void AddUpgradeCommand(CLI::App& cluster, Session& session);
void AddBalanceCommand(CLI::App& cluster, Session& session);
void AddConfigCommand(CLI::App& cluster, Session& session);
void AddNodeCommands(CLI::App& app, Session& session);
void AddTopicCommands(CLI::App& app, Session& session);
void AddPartitionCommands(CLI::App& app, Session& session);
void AddMoveCommands(CLI::App& partition, Session& session);
void AddUnsafeRecoverCommand(CLI::App& partition, Session& session);
void AddProduceCommand(CLI::App& app, Session& session);
void AddConsumeCommand(CLI::App& app, Session& session);
void AddPerfCommands(CLI::App& app, Session& session);
void AddCallCommand(CLI::App& app, Session& session);
void AddVersionCommand(CLI::App& app, Session& session);
void AddCompletionCommand(CLI::App& app, Session& session);

}  // namespace flotilla::cli
