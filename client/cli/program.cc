#include "client/cli/program.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <sstream>

#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/text.h"

namespace flotilla::cli {
namespace {

using AddCommands = void (*)(CLI::App&, Session&);
// In the order in which help shows them.
constexpr AddCommands kCommands[] = {AddClusterCommands, AddNodeCommands, AddTopicCommands, AddPartitionCommands, AddProduceCommand,
                                     AddConsumeCommand,  AddPerfCommands, AddCallCommand,   AddCompletionCommand, AddVersionCommand};

void AddGlobalOptions(CLI::App& app, GlobalOptions& options) {
  app.add_option("-b,--brokers", options.brokers, "Brokers to start from, HOST[:PORT],...; one that is dead does no harm")
      ->delimiter(',')
      ->envname("FLOTILLA_BROKERS")
      ->type_name("LIST")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("-o,--output", options.output, "How to print: table, wide or json")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, OutputFormat>{
                                      {"table", OutputFormat::kTable}, {"wide", OutputFormat::kWide}, {"json", OutputFormat::kJson}})
              .description(""))  // CLI11 would show the numbers of the enum
      ->type_name("FORMAT");
  app.add_option("--timeout", options.timeout, "How long to wait for an answer, such as 500ms, 10s, 2m")
      ->type_name("TIME")
      ->check([](const std::string& text) {
        const auto time = ParseDuration(text);
        return time && *time > Duration::zero() ? std::string() : "'" + text + "' is no time; use 500ms, 10s or 2m";
      });
  app.add_flag("--yes", options.yes, "Do not ask before what cannot be undone");
  app.add_flag("--quiet", options.quiet, "Print data and errors alone");
  app.add_flag("--no-color", options.no_color, "No colors; NO_COLOR does the same");
}

// What was asked for before the line was found to be wrong decides how that is told.
void FindOutputFormat(const std::vector<std::string>& arguments, GlobalOptions& options) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const bool separate = (arguments[i] == "-o" || arguments[i] == "--output") && i + 1 < arguments.size();
    if ((separate && arguments[i + 1] == "json") || arguments[i] == "--output=json" || arguments[i] == "-ojson") {
      options.output = OutputFormat::kJson;
    }
  }
}

}  // namespace

int RunProgram(const std::vector<std::string>& arguments, const Surroundings& surroundings) {
  Session session(surroundings);
  CLI::App app("Administers a Flotilla cluster, writes to it and reads from it.", "flotilla");
  app.require_subcommand(1);
  app.fallthrough();  // global options may stand anywhere
  app.get_formatter()->column_width(34);
  AddGlobalOptions(app, session.options);
  for (const AddCommands add : kCommands) add(app, session);

  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
  try {
    app.parse(reversed);
  } catch (const CLI::Success& success) {
    app.exit(success, surroundings.out, surroundings.err);
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    FindOutputFormat(arguments, session.options);
    return session.FailUsage(std::string(error.what()) + "; see --help");
  }
  if (session.options.brokers.empty()) session.options.brokers = {"127.0.0.1:9650"};
  const int code = session.action ? session.action() : kExitUsage;
  surroundings.out.flush();
  return code;
}

}  // namespace flotilla::cli
