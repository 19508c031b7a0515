#include "tests/sim/run_apart.h"

#include <glog/logging.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

namespace flotilla::sim {
namespace {

const Subject* g_dying = nullptr;  // for the handler of a signal in a child process

std::string ReadAll(int from) {
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(from, buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<size_t>(n));
  return text;
}

void WriteAll(int to, const std::string& text) {
  for (size_t written = 0; written < text.size();) {
    const ssize_t n = write(to, text.data() + written, text.size() - written);
    if (n <= 0) _exit(1);
    written += static_cast<size_t>(n);
  }
}

// First the failure, then numbers, then the parts.
std::string Encode(const SeedReport& report) {
  std::ostringstream out;
  out << report.failure << '\n' << report.trace_hash << ' ' << report.events << ' ' << report.virtual_time << ' ' << report.hurt_for;
  for (const std::string& part : report.parts) out << ' ' << part;
  out << '\n';
  return std::move(out).str();
}

SeedReport Decode(const std::string& text) {
  std::istringstream in(text);
  SeedReport report;
  std::getline(in, report.failure);
  in >> report.trace_hash >> report.events >> report.virtual_time >> report.hurt_for;
  CHECK(in) << text;
  for (std::string part; in >> part;) report.parts.push_back(part);
  return report;
}

// "F20240102 12:00:00.000000  1 file.cc:123] Check failed: ..." of what the process said.
std::string LastWords(std::FILE* said) {
  std::rewind(said);
  std::string words = "the process died";
  char line[2000];
  while (std::fgets(line, sizeof(line), said) != nullptr) {
    const std::string text(line);
    const size_t bracket = text.find("] ");
    if (text[0] != 'F' || bracket == std::string::npos) continue;
    const size_t place = text.rfind(' ', bracket);
    words = text.substr(place + 1, bracket - place - 1) + ": " + text.substr(bracket + 2, text.find_last_not_of('\n') - bracket - 1);
  }
  return words;
}

[[noreturn]] void RunInChild(const Subject& subject, uint64_t seed, const Excerpt& excerpt, Trace::Mode mode, int report_to) {
  if (mode == Trace::Mode::kKeepLast) {
    // What is there of the trace explains a CHECK; the process is lost anyway.
    g_dying = &subject;
    std::signal(SIGABRT, [](int) {
      g_dying->print_under_way(std::cout);
      std::cout.flush();
      _exit(1);
    });
  }
  const SeedReport report = subject.run(seed, excerpt, mode, mode == Trace::Mode::kHashOnly ? nullptr : &std::cout);
  std::cout.flush();
  WriteAll(report_to, Encode(report));
  _exit(0);
}

}  // namespace

SeedReport RunApart(const Subject& subject, uint64_t seed, const Excerpt& excerpt, Trace::Mode mode) {
  std::cout.flush();
  std::FILE* said = std::tmpfile();
  int ends[2];
  PCHECK(said != nullptr && pipe(ends) == 0);
  const pid_t process = fork();
  PCHECK(process >= 0);
  if (process == 0) {
    close(ends[0]);
    dup2(fileno(said), STDERR_FILENO);
    RunInChild(subject, seed, excerpt, mode, ends[1]);
  }
  close(ends[1]);
  const std::string text = ReadAll(ends[0]);
  close(ends[0]);
  waitpid(process, nullptr, 0);
  SeedReport report = text.empty() ? SeedReport{.failure = LastWords(said), .tally = {}, .parts = {}} : Decode(text);
  std::fclose(said);
  return report;
}

}  // namespace flotilla::sim
