// flotillad: one node of a Flotilla cluster.
#include <glog/logging.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include "server/config/load.h"
#include "server/config/print.h"
#include "server/daemon/daemon.h"
#include "server/daemon/free_memory.h"
#include "server/daemon/library_settings.h"
#include "server/daemon/metadata_recovery.h"
#include "server/daemon/reload.h"
#include "server/daemon/service_manager.h"
#include "server/daemon/stopped_node.h"
#include "server/daemon/version.h"

namespace flotilla {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 64;
constexpr Duration kStopGrace = std::chrono::seconds(10);
// A recovery that takes longer than this has to be looked at by somebody.
constexpr Duration kStartPatience = std::chrono::hours(2);
// How often, within the watchdog's time, the node looks whether it still works.
constexpr int kLooksPerWatchdog = 6;
constexpr Duration kLookAtMemoryEvery = std::chrono::seconds(5);

struct Arguments {
  std::string config;
  std::string check_config;
  std::string print_config;
  bool print_default_config = false;
  bool dev = false;
  std::string dev_directory;
  std::string verify;
  DumpOptions dump;
  MetadataRecoveryOptions recovery;
};

// Signals are taken by the main thread alone; every other one is started with them blocked.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

// 0: none came.
int NextSignal(const sigset_t& signals, std::chrono::milliseconds wait) {
  const timespec timeout{.tv_sec = wait.count() / 1000, .tv_nsec = (wait.count() % 1000) * 1'000'000};
  const int number = sigtimedwait(&signals, nullptr, &timeout);
  return number > 0 ? number : 0;
}

void StartLog(const config::LogConfig& log) {
  FLAGS_logtostderr = log.to == config::LogTarget::kStderr;
  SetLogDetail(log);
  FLAGS_log_dir = log.dir;
  FLAGS_timestamp_in_logfile_name = true;
  google::InitGoogleLogging("flotillad");
}

int Report(const config::LoadedConfig& loaded) {
  for (const config::ConfigError& problem : loaded.problems) std::cerr << problem.ToString() << '\n';
  return loaded.ok() ? EXIT_SUCCESS : config::kExitBadConfig;
}

void ShowDev(const Daemon& daemon, const std::string& directory) {
  std::cout << "flotillad --dev: one node, data in " << directory << ", gone when it stops\n"
            << "  clients at " << daemon.client_address() << ", metrics at http://" << daemon.http_address() << "/metrics\n"
            << "try, in another terminal:\n"
            << "  flotilla topic create hello\n"
            << "  echo 'hello, world' | flotilla produce hello\n"
            << "  flotilla consume hello --until-end\n"
            << std::flush;
}

// From ready to the end: signals, the service manager, and what the node says about itself.
class Watch {
 public:
  Watch(Daemon& daemon, const ServiceManager& manager, const config::LoadedConfig& loaded)
      : daemon_(daemon), manager_(manager), reloader_(loaded), look_again_(std::chrono::steady_clock::now()) {}

  // Until the node has to end, by a signal or by itself. The exit code.
  int Run(const sigset_t& signals) {
    while (true) {
      Tell();
      FeedWatchdog();
      LookAtMemory();
      const int number = NextSignal(signals, std::chrono::milliseconds(200));
      if (number == SIGHUP) {
        const Reloaded result = reloader_.Reload(config::ProcessEnvironment());
        daemon_.ShowReload(result.ok);
        reload_ = result.ok && result.text == "configuration reloaded" ? "" : "; " + result.text;
        continue;
      }
      if (number != 0) {
        LOG(INFO) << "stopping signal=" << strsignal(number);
        return EXIT_SUCCESS;
      }
      if (const Status halted = daemon_.halted(); !halted.ok()) {
        LOG(ERROR) << "stopping reason=\"" << halted << '"';
        manager_.Status("stopping: " + std::string(halted.message()));
        return IsForGood(halted) ? config::kExitBadConfig : kExitFailed;
      }
    }
  }

 private:
  void Tell() {
    const std::string now = daemon_.status() + reload_;
    if (now == told_) return;
    told_ = now;
    manager_.Status(told_);
    VLOG(1) << "status \"" << told_ << '"';
  }

  void FeedWatchdog() {
    const auto now = std::chrono::steady_clock::now();
    if (!manager_.watchdog() || now < look_again_) return;
    look_again_ = now + *manager_.watchdog() / kLooksPerWatchdog;
    if (daemon_.Moved()) manager_.Alive();
    else LOG_IF(WARNING, looked_) << "no_progress reason=\"ticks or answers of the own port have not moved; the watchdog is not fed\"";
    looked_ = true;
  }

  void LookAtMemory() {
    const auto now = std::chrono::steady_clock::now();
    if (now < look_at_memory_) return;
    look_at_memory_ = now + kLookAtMemoryEvery;
    memory_.Look(now);
  }

  Daemon& daemon_;
  const ServiceManager& manager_;
  const Reloader reloader_;
  std::string told_;
  std::string reload_;  // what is left to say about the last reload
  std::chrono::steady_clock::time_point look_again_;
  bool looked_ = false;
  FreeMemory memory_;
  std::chrono::steady_clock::time_point look_at_memory_;
};

Result<std::unique_ptr<Daemon>> StartDaemon(const config::Config& config, const ServiceManager& manager) {
  const PatientStart patience(manager, kStartPatience);
  return Daemon::Start(config, kVersion, [&](const std::string& now) { manager.Status(now); });
}

int Run(const config::LoadedConfig& loaded, const sigset_t& signals, const std::string& dev_directory) {
  const ServiceManager manager = ServiceManager::FromEnvironment();
  StartLog(loaded.config.log);
  for (const config::ConfigError& problem : loaded.problems) LOG(WARNING) << problem.ToString();
  LOG(INFO) << "starting version=" << kVersion << " pid=" << getpid() << " config=" << (loaded.file.empty() ? "none" : loaded.file);
  Result<std::unique_ptr<Daemon>> started = StartDaemon(loaded.config, manager);
  if (!started.ok()) {
    LOG(ERROR) << "not_started reason=\"" << started.status() << '"';
    manager.Status("not started: " + std::string(started.status().message()));
    // A person who starts it by hand should not have to search the log.
    if (loaded.config.log.to != config::LogTarget::kStderr) std::cerr << "flotillad: " << started.status() << '\n';
    return IsForGood(started.status()) ? config::kExitBadConfig : kExitFailed;
  }
  Daemon& daemon = **started;
  LOG(INFO) << "ready status=\"" << daemon.status() << '"';
  manager.Ready();
  if (!dev_directory.empty()) ShowDev(daemon, dev_directory);
  const int code = Watch(daemon, manager, loaded).Run(signals);
  manager.Stopping();
  if (code != EXIT_SUCCESS) {
    // Nothing is left to save, and RocksDB 7.8 may not survive closing a database whose disk has failed.
    google::FlushLogFiles(google::GLOG_INFO);
    std::_Exit(code);
  }
  manager.Status("stopping: handing leaderships over");
  bool again = false;
  daemon.Stop(kStopGrace, [&] {
    again |= NextSignal(signals, std::chrono::milliseconds(0)) != 0;
    return again;
  });
  return EXIT_SUCCESS;
}

int RunDev(const Arguments& arguments, const config::Environment& environment, const sigset_t& signals) {
  std::string directory = arguments.dev_directory;
  const bool temporary = directory.empty();
  if (temporary) {
    std::string pattern = (std::filesystem::temp_directory_path() / "flotilla-dev-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      std::cerr << "flotillad: cannot make a directory " << pattern << ": " << strerror(errno) << '\n';
      return kExitFailed;
    }
    directory = pattern;
  }
  const config::LoadedConfig loaded = config::LoadDevConfig(std::filesystem::absolute(directory).string(), environment);
  const int problems = Report(loaded);
  const int code = loaded.ok() ? Run(loaded, signals, directory) : problems;
  std::error_code ignored;
  if (temporary) std::filesystem::remove_all(directory, ignored);
  return code;
}

int Main(int argc, char** argv) {
  SetUpLibraries();
  Arguments arguments;
  CLI::App app{"flotillad: one node of a Flotilla cluster"};
  app.set_version_flag("--version", std::string("flotillad ") + kVersion);
  auto* what = app.add_option_group("what");
  what->add_option("--config", arguments.config, "Run with this file");
  what->add_option("--check-config", arguments.check_config, "Say everything that is wrong with this file; exit code 78 if anything is");
  what->add_flag("--print-default-config", arguments.print_default_config, "Print every setting with its default and what it means");
  what->add_option("--print-config", arguments.print_config,
                   "Print every setting as it is in force with this file, and where it comes from");
  what->add_flag("--dev", arguments.dev, "Run one node on loopback with a cluster and a directory of its own, for trying out");
  what->require_option(0, 1);
  app.add_option("--dev-directory", arguments.dev_directory, "With --dev: keep the data here instead of in a temporary directory");
  CLI::App& verify =
      *app.add_subcommand("verify", "Check everything in the data directory of a stopped node; exit code 65 if anything is damaged");
  verify.add_option("DIRECTORY", arguments.verify, "Its node.data_dir")->required();
  CLI::App& dump = *app.add_subcommand("dump-log", "Print a log of a stopped node, or the list of all of them");
  dump.add_option("DIRECTORY", arguments.dump.directory, "Its node.data_dir")->required();
  dump.add_option("--group", arguments.dump.group, "Which one; default: the list of all");
  dump.add_option("--from", arguments.dump.from, "The first index; default: where the log begins");
  dump.add_option("--count", arguments.dump.count, "How many entries; default: to its end");
  dump.add_flag("--payloads", arguments.dump.payloads, "What is in them: records with keys and sizes, members, changes of the metadata");
  CLI::App& recover =
      *app.add_subcommand("recover-metadata",
                          "When a majority of the metadata's voters is lost for good: what this stopped node has of it, and "
                          "whether to go on with that alone; exit code 5 when nothing was done");
  recover.add_option("DIRECTORY", arguments.recovery.directory, "Its node.data_dir")->required();
  recover.add_flag("--i-accept-data-loss", arguments.recovery.accept_data_loss,
                   "Do it: this node is the only voter from then on, and what the metadata decided without it is lost");
  app.require_subcommand(0, 1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == EXIT_SUCCESS ? EXIT_SUCCESS : kExitUsage;
  }
  if (app.get_subcommands().empty() == (what->count_all() == 0)) {
    std::cerr << "flotillad: give it one thing to do, such as --config FILE; see --help\n";
    return kExitUsage;
  }

  const Talk talk{.out = std::cout, .err = std::cerr, .err_is_terminal = isatty(STDERR_FILENO) != 0};
  if (verify.parsed() || dump.parsed() || recover.parsed()) {
    google::InitGoogleLogging("flotillad");
    FLAGS_logtostderr = true;
    FLAGS_minloglevel = google::GLOG_ERROR;
    if (recover.parsed()) return RecoverMetadata(arguments.recovery, talk);
    return verify.parsed() ? VerifyDirectory(arguments.verify, talk) : DumpLog(arguments.dump, talk);
  }
  const config::Environment environment = config::ProcessEnvironment();
  if (arguments.print_default_config) {
    std::cout << config::PrintDefaultConfig();
    return EXIT_SUCCESS;
  }
  if (!arguments.check_config.empty()) {
    const int code = Report(config::LoadConfig(arguments.check_config, environment));
    if (code == EXIT_SUCCESS) std::cout << arguments.check_config << ": all is well\n";
    return code;
  }
  if (!arguments.print_config.empty()) {
    const config::LoadedConfig loaded = config::LoadConfig(arguments.print_config, environment);
    if (!loaded.ok()) return Report(loaded);
    std::cout << config::PrintConfig(loaded);
    return EXIT_SUCCESS;
  }
  const sigset_t signals = BlockSignals();
  if (arguments.dev) return RunDev(arguments, environment, signals);
  const config::LoadedConfig loaded = config::LoadConfig(arguments.config, environment);
  if (!loaded.ok()) return Report(loaded);
  return Run(loaded, signals, "");
}

}  // namespace
}  // namespace flotilla

int main(int argc, char** argv) { return flotilla::Main(argc, argv); }
