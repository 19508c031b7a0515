// The program as its users see it: what it prints where, and how it ends.
#include <gmock/gmock.h>

#include <sstream>

#include "client/cli/exit_codes.h"
#include "client/cli/program.h"
#include "tests/unit/client/fake_broker.h"

namespace flotilla::cli {
namespace {

using flotilla::testing::FakeBroker;
using flotilla::testing::FakeLog;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class CliTest : public ::testing::Test {
 protected:
  // Runs the program; its output is in `out` and `err`.
  int Run(std::vector<std::string> arguments, const std::string& input = "", bool terminal = false) {
    std::istringstream in(input);
    std::ostringstream out_stream;
    std::ostringstream err_stream;
    arguments.insert(arguments.end(), {"-b", target, "--timeout", "20s"});
    const int code = RunProgram(arguments, {.in = in, .out = out_stream, .err = err_stream, .in_is_terminal = terminal});
    out = out_stream.str();
    err = err_stream.str();
    return code;
  }

  const std::shared_ptr<FakeLog> log = std::make_shared<FakeLog>();
  FakeBroker broker{log};
  std::string target = broker.address();
  std::string out;
  std::string err;
};

TEST_F(CliTest, ATopicIsCreatedListedAndDeleted) {
  EXPECT_EQ(Run({"topic", "create", "logs", "-p", "2"}), kExitOk) << err;
  EXPECT_THAT(broker.last_request(), HasSubstr("request_id"));
  EXPECT_EQ(Run({"topic", "create", "logs"}), kExitPrecondition);
  EXPECT_EQ(Run({"topic", "create", "logs", "--if-not-exists"}), kExitOk);
  EXPECT_EQ(Run({"topic", "create", "more"}), kExitOk);
  EXPECT_EQ(Run({"topic", "list"}), kExitOk);
  EXPECT_EQ(out, "TOPIC  PARTITIONS  REPLICAS  STATE\nlogs   2           3         ready\nmore   3           3         ready\n");
  EXPECT_EQ(Run({"topic", "delete", "logs", "--yes"}), kExitOk) << err;
  EXPECT_THAT(broker.last_request(), HasSubstr("id-of-logs"));
  EXPECT_EQ(log->PartitionCount("logs"), -1);
}

TEST_F(CliTest, NothingIsDeletedUnasked) {
  log->CreateTopic("logs", 1);
  EXPECT_EQ(Run({"topic", "delete", "logs"}), kExitUsage);
  EXPECT_THAT(err, HasSubstr("--yes"));
  EXPECT_EQ(Run({"topic", "delete", "logs"}, "yes\n", /*terminal=*/true), kExitUsage) << "the name is asked for";
  EXPECT_EQ(log->PartitionCount("logs"), 1);
  EXPECT_EQ(Run({"topic", "delete", "logs"}, "logs\n", /*terminal=*/true), kExitOk);
  EXPECT_EQ(log->PartitionCount("logs"), -1);
}

TEST_F(CliTest, ErrorsAreJsonWhenOutputIs) {
  EXPECT_EQ(Run({"-o", "json", "topic", "describe", "missing"}), kExitNotFound);
  EXPECT_THAT(out, IsEmpty());
  EXPECT_THAT(err, HasSubstr(R"({"code":"NOT_FOUND","reason":"TOPIC_NOT_FOUND","message":)"));
}

TEST_F(CliTest, AMistypedLineIsToldAsJsonToo) {
  EXPECT_EQ(Run({"topic", "crate", "logs", "-o", "json"}), kExitUsage);
  EXPECT_THAT(err, HasSubstr(R"("reason":"USAGE")"));
}

TEST_F(CliTest, WhoCannotConnectEndsWithThree) {
  broker.Stop();
  EXPECT_EQ(Run({"topic", "list"}), kExitCannotConnect);
  EXPECT_THAT(err, HasSubstr(broker.address()));
}

TEST_F(CliTest, HealthIsAnExitCode) {
  EXPECT_EQ(Run({"cluster", "health"}), kExitOk);
  EXPECT_THAT(out, HasSubstr("ok  nodes 3/3"));
  FakeBroker fresh(log, {.initialized = false});
  target = fresh.address();
  EXPECT_EQ(Run({"cluster", "health"}), kExitUnhealthy);
  EXPECT_THAT(out, HasSubstr("NOT_INITIALIZED"));
  EXPECT_EQ(Run({"topic", "list"}), kExitPrecondition);
  EXPECT_THAT(err, HasSubstr("cluster init"));
}

TEST_F(CliTest, LinesBecomeRecordsAndRecordsLines) {
  log->CreateTopic("logs", 1);
  EXPECT_EQ(Run({"produce", "logs", "-K", ":", "-H", "from=test"}, "k1:v1\nk2:v2:x\n"), kExitOk) << err;
  EXPECT_THAT(out, IsEmpty());
  EXPECT_THAT(err, HasSubstr("produced 2 records"));
  EXPECT_EQ(Run({"consume", "logs", "--until-end", "--quiet", "-f", "%t/%p/%o %k=%v %h %s\\n"}), kExitOk) << err;
  EXPECT_EQ(out, "logs/0/0 k1=v1 from=test 2\nlogs/0/1 k2=v2:x from=test 4\n");
  EXPECT_THAT(err, IsEmpty());
}

TEST_F(CliTest, WhatConsumePrintsAsJsonProduceReads) {
  log->CreateTopic("logs", 1);
  log->CreateTopic("copy", 1);
  const std::string input = R"({"key":"k","value":{"base64":"AP8="},"headers":[{"key":"a","value":"1"}],"timestamp_ms":7})";
  EXPECT_EQ(Run({"produce", "logs", "--jsonl"}, input + "\n"), kExitOk) << err;
  EXPECT_EQ(Run({"consume", "logs", "--until-end", "--json"}), kExitOk);
  const std::string printed = out;
  EXPECT_THAT(printed, HasSubstr(R"("value":{"base64":"AP8="})"));
  EXPECT_EQ(Run({"produce", "copy", "--jsonl"}, printed), kExitOk) << err;
  EXPECT_EQ(log->Values("copy", 0), log->Values("logs", 0));
}

TEST_F(CliTest, TheLastRecordsAreRead) {
  log->CreateTopic("logs", 1);
  EXPECT_EQ(Run({"produce", "logs"}, "a\nb\nc\n"), kExitOk);
  EXPECT_EQ(Run({"consume", "logs", "--from", "-2", "-n", "1"}), kExitOk) << err;
  EXPECT_THAT(out, HasSubstr("b\n"));
  EXPECT_THAT(out, Not(HasSubstr("a\n")));
}

TEST_F(CliTest, PerfCountsWhatWasAcknowledged) {
  EXPECT_EQ(Run({"perf", "produce", "load", "--partitions", "2", "-n", "5000", "--size", "100", "-o", "json"}), kExitOk) << err;
  EXPECT_THAT(out, HasSubstr(R"("records":5000,"bytes":500000,"failed":0)"));
  EXPECT_EQ(log->Values("load", 0).size() + log->Values("load", 1).size(), 5000U);
  EXPECT_EQ(Run({"perf", "consume", "load", "-o", "json"}), kExitOk) << err;
  EXPECT_THAT(out, HasSubstr(R"("records":5000,"bytes":500000)"));
  EXPECT_EQ(Run({"perf", "e2e", "load", "-n", "50", "--rate", "500", "-o", "json"}), kExitOk) << err;
  EXPECT_THAT(out, HasSubstr(R"("records":50,)"));
}

TEST_F(CliTest, AnyMethodIsCalledThroughReflection) {
  EXPECT_EQ(Run({"call", "flotilla.v1.ClusterService/GetServerInfo"}), kExitOk) << err;
  EXPECT_THAT(out, HasSubstr(R"("software_version": "0.1.0")"));
  EXPECT_EQ(Run({"call", "ClusterService/GetServerInfo"}), kExitOk) << err;
  EXPECT_EQ(Run({"call", "NoService/GetServerInfo"}), kExitNotFound) << err;
  EXPECT_EQ(Run({"call", "flotilla.v1.AdminService/GetTopic", "-d", R"({"topic":{"name":"missing"}})"}), kExitNotFound);
  EXPECT_EQ(Run({"call", "flotilla.v1.AdminService/GetTopic", "-d", R"({"topik":{}})"}), kExitUsage);
  EXPECT_EQ(Run({"call", "--list"}), kExitOk);
  EXPECT_THAT(out, HasSubstr("flotilla.v1.ProduceService/ProduceStream\n"));
}

TEST_F(CliTest, CompletionKnowsEveryCommand) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    EXPECT_EQ(Run({"completion", shell}), kExitOk);
    EXPECT_THAT(out, HasSubstr("add-partitions"));
    EXPECT_THAT(out, HasSubstr("exit-when-healthy"));
  }
}

}  // namespace
}  // namespace flotilla::cli
