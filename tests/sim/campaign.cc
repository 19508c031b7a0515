#include "tests/sim/campaign.h"

#include <glog/logging.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iomanip>
#include <iostream>
#include <optional>
#include <sstream>
#include <vector>

#include "tests/sim/run_apart.h"
#include "tests/sim/shrink.h"

namespace flotilla::sim {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr double kProgressSeconds = 15;

// A child process that runs the seeds it is told, one after the other. Lines it writes: "begin SEED", then
// "end SEED HASH EVENTS MICROSECONDS COUNTS... | FAILURE".
struct Worker {
  pid_t process = -1;
  int orders = -1;   // we write seeds
  int reports = -1;  // we read lines
  std::string unread;
  std::optional<uint64_t> seed;  // that it is at
};

[[noreturn]] void Work(const Subject& subject, int orders, int reports) {
  uint64_t seed = 0;
  while (read(orders, &seed, sizeof(seed)) == static_cast<ssize_t>(sizeof(seed))) {
    const SeedReport result = subject.run(seed, {}, Trace::Mode::kHashOnly, nullptr);
    std::ostringstream line;
    line << seed << ' ' << result.trace_hash << ' ' << result.events << ' ' << result.virtual_time << ' ' << result.tally.Encode() << "| "
         << result.failure << '\n';
    const std::string text = std::move(line).str();
    for (size_t written = 0; written < text.size();) {
      const ssize_t n = write(reports, text.data() + written, text.size() - written);
      if (n <= 0) _exit(1);
      written += static_cast<size_t>(n);
    }
  }
  _exit(0);
}

class Campaign {
 public:
  Campaign(const Subject& subject, const CampaignOptions& options, std::ostream& out)
      : subject_(subject), options_(options), out_(out), next_(options.first), tally_(subject.expected) {}

  bool Run() {
    out_.flush();
    std::signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < options_.jobs; ++i) workers_.push_back(Start());
    for (Worker& worker : workers_) Order(worker);
    while (AnyBusy()) {
      Wait();
      if (Seconds() > shown_ + kProgressSeconds) {
        shown_ = Seconds();
        Progress();
      }
    }
    for (Worker& worker : workers_) Stop(worker);
    Progress();
    return Conclude();
  }

 private:
  double Seconds() const { return std::chrono::duration<double>(SteadyClock::now() - begun_).count(); }

  Worker Start() {
    int orders[2];
    int reports[2];
    PCHECK(pipe(orders) == 0 && pipe(reports) == 0);
    const pid_t process = fork();
    PCHECK(process >= 0);
    if (process == 0) {
      close(orders[1]);
      close(reports[0]);
      for (const Worker& other : workers_) {
        if (other.orders >= 0) close(other.orders);
        if (other.reports >= 0) close(other.reports);
      }
      Work(subject_, orders[0], reports[1]);
    }
    close(orders[0]);
    close(reports[1]);
    Worker worker;
    worker.process = process;
    worker.orders = orders[1];
    worker.reports = reports[0];
    return worker;
  }

  void Stop(Worker& worker) {
    if (worker.process < 0) return;
    close(worker.orders);
    close(worker.reports);
    waitpid(worker.process, nullptr, 0);
    worker.process = worker.orders = worker.reports = -1;
  }

  bool AnyBusy() const {
    for (const Worker& worker : workers_) {
      if (worker.seed) return true;
    }
    return false;
  }

  // The next seed, if there is one.
  void Order(Worker& worker) {
    worker.seed.reset();
    const bool out_of_time = options_.seconds != 0 && Seconds() > static_cast<double>(options_.seconds);
    if (next_ > options_.last || out_of_time || failures_ >= options_.failures_max) return;
    worker.seed = next_++;
    PCHECK(write(worker.orders, &*worker.seed, sizeof(uint64_t)) == static_cast<ssize_t>(sizeof(uint64_t)));
  }

  void Wait() {
    std::vector<pollfd> polled;
    for (const Worker& worker : workers_) polled.push_back({worker.reports, POLLIN, 0});
    poll(polled.data(), polled.size(), 1000);
    for (size_t i = 0; i < workers_.size(); ++i) {
      if (polled[i].revents != 0 && workers_[i].seed) Hear(workers_[i]);
    }
  }

  void Hear(Worker& worker) {
    char buffer[4096];
    const ssize_t n = read(worker.reports, buffer, sizeof(buffer));
    if (n <= 0) {
      const uint64_t seed = *worker.seed;
      Stop(worker);
      Fail(seed, "the process died; its last words are above");
      worker = Start();
      Order(worker);
      return;
    }
    worker.unread.append(buffer, static_cast<size_t>(n));
    const size_t end = worker.unread.find('\n');
    if (end == std::string::npos) return;
    Finished(worker.unread.substr(0, end));
    worker.unread.erase(0, end + 1);
    Order(worker);
  }

  void Finished(const std::string& line) {
    const size_t bar = line.find("| ");
    CHECK(bar != std::string::npos) << line;
    std::istringstream in(line.substr(0, bar));
    uint64_t seed = 0;
    uint64_t hash = 0;
    uint64_t events = 0;
    Time virtual_time = 0;
    in >> seed >> hash >> events >> virtual_time;
    std::string counts;
    std::getline(in, counts);
    Tally tally;
    CHECK(tally.Decode(std::string_view(counts).substr(counts.find_first_not_of(' ') == std::string::npos ? counts.size() : 1))) << line;
    tally_.Merge(tally);
    ++seeds_;
    events_ += events;
    virtual_time_ += virtual_time;
    const std::string failure = line.substr(bar + 2);
    if (!failure.empty()) Fail(seed, failure);
  }

  // Says what broke; the first time also what led to it, the next times the end of the trace.
  void Fail(uint64_t seed, const std::string& failure) {
    ++failures_;
    failed_seeds_.push_back(seed);
    out_ << "\nseed " << seed << " FAILED: " << failure << "\n  repeat with: " << RepeatCommand(subject_, seed) << std::endl;
    if (failures_ == 1 && options_.shrink_seconds != 0) return TellFailure(subject_, seed, options_.shrink_seconds, out_);
    if (failures_ > 3) return;
    const SeedReport again = RunApart(subject_, seed, {}, Trace::Mode::kKeepLast);
    if (again.failure.empty()) out_ << "  THE SECOND RUN DID NOT FAIL: the run depends on more than its seed" << std::endl;
  }

  void Progress() {
    const double seconds = Seconds();
    out_ << std::fixed << std::setprecision(1) << seeds_ << " seeds, " << failures_ << " failed, "
         << static_cast<double>(virtual_time_) / static_cast<double>(kSecond) / 3600 << " virtual hours, "
         << static_cast<double>(events_) / 1e6 << " M events, " << std::setprecision(0) << static_cast<double>(events_) / seconds
         << " events/s, " << seconds << " s" << std::endl;
  }

  bool Conclude() {
    out_ << "\nhow often each thing was met:\n";
    tally_.Print(out_);
    bool ok = failures_ == 0;
    for (const std::string& missing : tally_.Missing()) {
      out_ << "never met: " << missing << '\n';
      if (options_.require_coverage) ok = false;
    }
    for (uint64_t seed : failed_seeds_) out_ << "failed: " << RepeatCommand(subject_, seed) << '\n';
    out_ << (ok ? "all rules were kept" : "FAILED") << std::endl;
    return ok;
  }

  const Subject& subject_;
  const CampaignOptions options_;
  std::ostream& out_;
  const SteadyClock::time_point begun_ = SteadyClock::now();
  std::vector<Worker> workers_;
  std::vector<uint64_t> failed_seeds_;
  uint64_t next_;
  uint64_t seeds_ = 0;
  uint64_t events_ = 0;
  Time virtual_time_ = 0;
  int failures_ = 0;
  double shown_ = 0;
  Tally tally_;
};

}  // namespace

std::string RepeatCommand(const Subject& subject, uint64_t seed, const Excerpt& excerpt) {
  std::string command = subject.program + " --seed " + std::to_string(seed);
  if (!excerpt.all()) command += " --only '" + excerpt.ToString() + "'";
  return command;
}

void TellFailure(const Subject& subject, uint64_t seed, uint64_t seconds, std::ostream& out) {
  const auto end = SteadyClock::now() + std::chrono::seconds(seconds);
  const auto attempt = [&](const Excerpt& excerpt) {
    SeedReport report = RunApart(subject, seed, excerpt, Trace::Mode::kHashOnly);
    return Attempt{.failure = std::move(report.failure), .parts = std::move(report.parts), .hurt_for = report.hurt_for};
  };
  const std::optional<Shrunk> small = Shrink(attempt, {.may_go_on = [end] { return SteadyClock::now() < end; }});
  if (!small) {
    out << "  THE SECOND RUN DID NOT FAIL: the run depends on more than its seed" << std::endl;
    return;
  }
  const auto seconds_of = [](Time time) { return static_cast<double>(time) / static_cast<double>(kSecond); };
  out << "  made smaller in " << small->runs << " runs: " << small->parts_before << " parts to " << small->attempt.parts.size()
      << ", hurt for " << seconds_of(small->hurt_before) << " s to " << seconds_of(small->attempt.hurt_for)
      << " s; what it fails with now:\n  " << small->attempt.failure << "\n  repeat with: " << RepeatCommand(subject, seed, small->excerpt)
      << "\n  what happened:" << std::endl;
  RunApart(subject, seed, small->excerpt, Trace::Mode::kStory);
}

bool RunCampaign(const Subject& subject, const CampaignOptions& options, std::ostream& out) {
  return Campaign(subject, options, out).Run();
}

}  // namespace flotilla::sim
