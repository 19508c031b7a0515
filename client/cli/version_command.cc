#include <CLI/CLI.hpp>

#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/session.h"

namespace flotilla::cli {
namespace {

#ifndef FLOTILLA_VERSION
#define FLOTILLA_VERSION "0.1.0"
#endif

}  // namespace

void AddVersionCommand(CLI::App& app, Session& session) {
  app.add_subcommand("version", "The version of this program")->callback([&session] {
    session.action = [&session] {
      if (session.json()) session.out() << "{\"version\":\"" FLOTILLA_VERSION "\"}\n";
      else session.out() << "flotilla " FLOTILLA_VERSION "\n";
      return kExitOk;
    };
  });
}

}  // namespace flotilla::cli
