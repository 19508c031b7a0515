// Shell completion: scripts made from the tree of commands, so that they cannot go stale.
#include <CLI/CLI.hpp>

#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/session.h"

namespace flotilla::cli {
namespace {

// What can stand behind a path of commands: "topic create" -> its options and the global ones, or more commands.
struct Place {
  std::string path;
  std::vector<std::pair<std::string, std::string>> commands;  // name, description
  std::vector<std::pair<std::string, std::string>> options;   // long name with dashes, description
};

void Collect(const CLI::App& app, const std::string& path, std::vector<Place>* places) {
  Place place{.path = path};
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    place.commands.emplace_back(command->get_name(), command->get_description());
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) place.options.emplace_back("--" + name, option->get_description());
  }
  places->push_back(place);
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    Collect(*command, path.empty() ? command->get_name() : path + " " + command->get_name(), places);
  }
}

std::string Quoted(std::string text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') out += "'\\''";
    else out += c;
  }
  return "'" + out + "'";
}

void PrintBash(std::ostream& out, const std::vector<Place>& places, const char* before) {
  out << before << "_flotilla() {\n  local word path='' known=\"${COMP_WORDS[COMP_CWORD]}\" words=''\n"
      << "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      << "    case \"${path:+$path }$word\" in\n";
  for (const Place& place : places) {
    if (!place.path.empty()) out << "      " << Quoted(place.path) << ") path=" << Quoted(place.path) << " ;;\n";
  }
  out << "    esac\n  done\n  case \"$path\" in\n";
  for (const Place& place : places) {
    std::string words;
    for (const auto& [name, about] : place.commands) words += name + " ";
    for (const auto& [name, about] : place.options) words += name + " ";
    if (!place.path.empty()) {
      for (const auto& [name, about] : places.front().options) words += name == "--help" ? "" : name + " ";
    }
    out << "    " << Quoted(place.path) << ") words=" << Quoted(words) << " ;;\n";
  }
  out << "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$known\"))\n}\ncomplete -o default -F _flotilla flotilla\n";
}

void PrintFish(std::ostream& out, const std::vector<Place>& places) {
  out << "function __flotilla_path\n  set -l path ''\n  for word in (commandline -opc)[2..]\n"
      << "    set -l next (string trim \"$path $word\")\n    switch $next\n      case";
  for (const Place& place : places) {
    if (!place.path.empty()) out << " " << Quoted(place.path);
  }
  out << "\n        set path $next\n    end\n  end\n  test \"$path\" = \"$argv[1]\"\nend\n";
  for (const Place& place : places) {
    const std::string condition = "complete -c flotilla -n '__flotilla_path \"" + place.path + "\"' ";
    for (const auto& [name, about] : place.commands) out << condition << "-f -a " << name << " -d " << Quoted(about) << "\n";
    for (const auto& [name, about] : place.options) out << condition << "-l " << name.substr(2) << " -d " << Quoted(about) << "\n";
  }
}

}  // namespace

void AddCompletionCommand(CLI::App& app, Session& session) {
  CLI::App& command = *app.add_subcommand("completion", "A script that lets a shell complete: source <(flotilla completion bash)");
  auto shell = std::make_shared<std::string>();
  command.add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command.callback([&app, &session, shell] {
    session.action = [&app, &session, shell] {
      std::vector<Place> places;
      Collect(app, "", &places);
      if (*shell == "fish") PrintFish(session.out(), places);
      else PrintBash(session.out(), places, *shell == "zsh" ? "autoload -U +X bashcompinit && bashcompinit\n" : "");
      return kExitOk;
    };
  });
}

}  // namespace flotilla::cli
