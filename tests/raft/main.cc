// Every file of scenarios/ is a test. With a file as argument: runs that one;  --trace shows all that
// happens.
//
//   raft_scenarios --trace tests/raft/scenarios/figure_8.txt

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/raft/runner.h"

namespace flotilla::raft::scenario {
namespace {

// glog ends the process from a plain function: this is how it learns where the script stood.
const Runner* g_running = nullptr;

[[noreturn]] void DieWithPlace() {
  if (g_running != nullptr) std::cerr << "while running " << g_running->Where() << std::endl;
  std::abort();
}

std::optional<std::string> RunFile(const std::string& path, bool trace) {
  std::ifstream in(path);
  if (!in) return "cannot read " + path;
  std::ostringstream text;
  text << in.rdbuf();
  Result<Script> script = ParseScript(path, text.str());
  if (!script.ok()) return script.status().ToString();
  Runner runner(*script, trace);
  g_running = &runner;
  std::optional<std::string> failure = runner.Run();
  g_running = nullptr;
  return failure;
}

class ScenarioTest : public testing::Test {
 public:
  explicit ScenarioTest(std::string path) : path_(std::move(path)) {}
  void TestBody() override {
    const auto failure = RunFile(path_, false);
    if (failure) ADD_FAILURE() << *failure << "run it with --trace to see what happened before";
  }

 private:
  std::string path_;
};

std::vector<std::filesystem::path> ScenarioFiles() {
  std::vector<std::filesystem::path> files;
  for (const auto& file : std::filesystem::directory_iterator(RAFT_SCENARIOS_DIR)) {
    if (file.path().extension() == ".txt") files.push_back(file.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void RegisterScenarios() {
  for (const std::filesystem::path& file : ScenarioFiles()) {
    testing::RegisterTest("RaftScenario", file.stem().c_str(), nullptr, nullptr, file.c_str(), 0,
                          [path = file.string()]() -> testing::Test* { return new ScenarioTest(path); });
  }
}

}  // namespace
}  // namespace flotilla::raft::scenario

int main(int argc, char** argv) {
  using namespace flotilla::raft::scenario;
  testing::InitGoogleTest(&argc, argv);
  google::InitGoogleLogging(argv[0]);
  google::InstallFailureFunction(&DieWithPlace);
  bool trace = false;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--trace") {
      trace = true;
    } else {
      files.emplace_back(argv[i]);
    }
  }
  if (files.empty()) {
    RegisterScenarios();
    return RUN_ALL_TESTS();
  }
  int failures = 0;
  for (const std::string& file : files) {
    const auto failure = RunFile(file, trace);
    if (failure) std::cout << *failure;
    std::cout << file << ": " << (failure ? "failed" : "passed") << "\n";
    failures += failure ? 1 : 0;
  }
  return failures == 0 ? 0 : 1;
}
