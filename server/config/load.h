// From a file and the environment to a Config, or to everything that is wrong with it.
//
//   LoadedConfig loaded = LoadConfig("/etc/flotilla/flotilla.yaml", ProcessEnvironment());
//   for (const ConfigError& problem : loaded.problems) std::cerr << problem.ToString() << '\n';
//   if (!loaded.ok()) return 78;   // EX_CONFIG: starting again would not help
//
// A key is taken from the environment (FLOTILLA_LISTEN__CLIENT for listen.client; lists with commas), else from the file,
// else from the table of defaults.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/config/schema.h"

namespace flotilla::config {

inline constexpr int kExitBadConfig = 78;

// What the machine says.
struct Environment {
  std::map<std::string, std::string> variables;
  std::string hostname;
};
Environment ProcessEnvironment();

struct ConfigError {
  bool warning = false;  // worth saying, and no reason not to start
  // "flotilla.yaml" or "environment"; with line and column (from 1) in a file, 0 for nowhere in particular.
  std::string source;
  int line = 0;
  int column = 0;
  std::string text;

  // "flotilla.yaml:3:11: limits.max_streams is ..."; with "warning: " before the text of a warning.
  std::string ToString() const;
};

// One key as it is in force.
struct Setting {
  const Key* key = nullptr;
  Value value;
  enum class Source { kDefault, kDev, kFile, kEnvironment } source = Source::kDefault;
  int line = 0;  // kFile
  int column = 0;
};

struct LoadedConfig {
  // Complete only if ok().
  Config config;
  std::string file;               // as it was called; empty: none was read
  std::vector<Setting> settings;  // every key once, in the order of Keys()
  // Errors and warnings: those of the file in its order, then the others.
  std::vector<ConfigError> problems;

  bool ok() const;
};

// Reads the file and everything it says; opens, binds and looks up nothing.
LoadedConfig LoadConfig(const std::string& path, const Environment& environment);
// As LoadConfig, of a text. `file` is what errors call it.
LoadedConfig ParseConfig(const std::string& file, std::string_view text, const Environment& environment);
// For trying out, without a file: one node on loopback that founds a cluster of its own, named "dev". The environment is
// heard; what listens beyond loopback is refused. `data_dir` is absolute.
LoadedConfig LoadDevConfig(const std::string& data_dir, const Environment& environment);
// What LoadDevConfig gives in an empty environment.
Config DevConfig(const std::string& data_dir);

// Keys whose values differ and that SIGHUP cannot change: what to tell the operator to restart for.
std::vector<const Key*> NeedRestart(const LoadedConfig& running, const LoadedConfig& fresh);

}  // namespace flotilla::config
