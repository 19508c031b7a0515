#include "tests/sim/command_line.h"

#include <glog/logging.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

namespace flotilla::sim {
namespace {

constexpr std::string_view kUsage = R"( --seed S [--trace] [--only PARTS] [--shrink SECONDS]
       ... [--seeds A..B | --from A] [--minutes M] [--jobs N] [--coverage] [--shrink SECONDS]

  --seed S      one run; prints the end of its trace when it fails
  --trace       prints all of its trace
  --only PARTS  only these parts of it, as a run that was made smaller names them; prints what happened
  --shrink T    makes a run that fails smaller for T seconds and tells what happened (60 for many seeds, 0 for one)
  --seeds A..B  all of these, in child processes
  --minutes M   no new ones after M minutes
  --from A      from seed A on
  --jobs N      child processes at once (2)
  --failures N  stops after N failures (10)
  --coverage    fails when something on the list was never met
)";

const Subject* g_subject = nullptr;  // for the handler of fatal signals

// The end of the trace is what explains a CHECK that failed; the process is lost anyway, so this may do what
// a handler should not.
void OnFatal(int signal) {
  std::signal(signal, SIG_DFL);
  g_subject->print_under_way(std::cerr);
  std::cerr.flush();
  std::raise(signal);
}

int RunOne(uint64_t seed, const Excerpt& excerpt, bool trace) {
  for (int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS}) std::signal(signal, OnFatal);
  const Trace::Mode mode = trace ? Trace::Mode::kPrintAll : excerpt.all() ? Trace::Mode::kKeepLast : Trace::Mode::kStory;
  const SeedReport result = g_subject->run(seed, excerpt, mode, &std::cout);
  std::cout << "seed " << seed << ": " << (result.failure.empty() ? "ok" : "FAILED: " + result.failure) << '\n'
            << "  trace " << std::hex << result.trace_hash << std::dec << ", " << result.events << " events, "
            << result.virtual_time / kSecond << " virtual seconds\n";
  if (!result.failure.empty()) std::cout << "  repeat with: " << RepeatCommand(*g_subject, seed, excerpt) << '\n';
  return result.failure.empty() ? 0 : 1;
}

struct Arguments {
  std::optional<uint64_t> seed;
  Excerpt excerpt;
  std::optional<uint64_t> shrink_seconds;
  bool trace = false;
  CampaignOptions campaign;
  bool many = false;
};

std::optional<Arguments> Parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--trace") {
      arguments.trace = true;
      continue;
    }
    if (option == "--coverage") {
      arguments.campaign.require_coverage = true;
      continue;
    }
    if (i + 1 >= argc) return std::nullopt;
    const char* value = argv[++i];
    if (option == "--seed") {
      arguments.seed = std::strtoull(value, nullptr, 10);
    } else if (option == "--seeds") {
      const char* dots = std::strstr(value, "..");
      if (dots == nullptr) return std::nullopt;
      arguments.campaign.first = std::strtoull(value, nullptr, 10);
      arguments.campaign.last = std::strtoull(dots + 2, nullptr, 10);
      arguments.many = true;
    } else if (option == "--minutes") {
      arguments.campaign.seconds = static_cast<uint64_t>(60 * std::strtod(value, nullptr));
      arguments.many = true;
    } else if (option == "--from") {
      arguments.campaign.first = std::strtoull(value, nullptr, 10);
    } else if (option == "--failures") {
      arguments.campaign.failures_max = static_cast<int>(std::strtoull(value, nullptr, 10));
    } else if (option == "--shrink") {
      arguments.shrink_seconds = std::strtoull(value, nullptr, 10);
    } else if (option == "--only") {
      const std::optional<Excerpt> excerpt = Excerpt::Parse(value);
      if (!excerpt) return std::nullopt;
      arguments.excerpt = *excerpt;
    } else if (option == "--jobs") {
      arguments.campaign.jobs = static_cast<int>(std::strtoull(value, nullptr, 10));
    } else {
      return std::nullopt;
    }
  }
  if (arguments.many == arguments.seed.has_value() || (arguments.many && !arguments.excerpt.all())) return std::nullopt;
  arguments.campaign.shrink_seconds = arguments.shrink_seconds.value_or(arguments.campaign.shrink_seconds);
  return arguments;
}

}  // namespace

int RunCommand(const Subject& subject, int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_FATAL;  // failures of disks are what the runs are made of
  g_subject = &subject;
  const std::optional<Arguments> arguments = Parse(argc, argv);
  if (!arguments) {
    std::cerr << "usage: " << subject.program << kUsage;
    return 2;
  }
  if (arguments->seed && arguments->shrink_seconds.value_or(0) != 0) {
    TellFailure(subject, *arguments->seed, *arguments->shrink_seconds, std::cout);
    return 1;
  }
  if (arguments->seed) return RunOne(*arguments->seed, arguments->excerpt, arguments->trace);
  return RunCampaign(subject, arguments->campaign, std::cout) ? 0 : 1;
}

}  // namespace flotilla::sim
