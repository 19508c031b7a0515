#include <CLI/CLI.hpp>

#include "client/cli/commands.h"
#include "client/cli/perf.h"
#include "client/cli/session.h"

namespace flotilla::cli {

void AddPerfCommands(CLI::App& app, Session& session) {
  CLI::App& perf = *app.add_subcommand("perf", "Measure")->require_subcommand(1);
  const auto add = [&](const char* verb, const char* about, int (*run)(Session&, const PerfOptions&)) -> CLI::App& {
    auto options = std::make_shared<PerfOptions>();
    CLI::App& command = *perf.add_subcommand(verb, about);
    command.add_option("TOPIC", options->topic, "The topic")->required();
    command.add_option("-n,--count", options->count, "End after so many records");
    command.add_option("--seconds", options->seconds, "End after so many seconds; default: 10, if no count is given");
    if (run != PerfConsume) {
      command.add_option("--rate", options->rate, "Records per second, whatever the broker does (open loop); default: as fast as goes");
      command.add_option("--size", options->record_bytes, "Bytes of a record's value")->check(CLI::Range(8, 8'000'000));
      command.add_option("--key-size", options->key_bytes, "Bytes of a key that is different each time; 0: no keys")
          ->check(CLI::Range(0, 1024));
      command.add_option("--batch-bytes", options->batch_bytes, "When a batch is full, such as 256KiB");
      command.add_option("--linger", options->linger, "How long a record waits for others, such as 2ms");
      command.add_option("--outstanding", options->outstanding,
                         "Records on their way at a time (closed loop); default: what the buffer holds");
      command.add_option("--in-flight", options->in_flight, "Batches of a partition on their way at a time");
      command.add_option("--buffer", options->buffer_bytes, "Bytes that may wait for acknowledgement, such as 64MiB");
      command.add_option("--producers", options->producers, "Producers, each with a thread of its own")->check(CLI::Range(1, 64));
      command.add_option("--partitions", options->partitions, "Create the topic with so many partitions, if there is none");
      command.add_option("--replicas", options->replicas, "And with so many replicas");
      command.add_option("--acks", options->acks, "quorum, leader or none")
          ->transform(CLI::CheckedTransformer(std::map<std::string, client::Acks>{
              {"quorum", client::Acks::kQuorum}, {"leader", client::Acks::kLeader}, {"none", client::Acks::kNone}}));
      command.add_flag("!--no-idempotence", options->idempotent, "Duplicates are allowed; more than 5 in flight too");
    } else {
      command.add_flag("--follow", options->follow, "Go on at the end; default: stop there");
    }
    command.callback([&session, options, run] { session.action = [&session, options, run] { return run(session, *options); }; });
    return command;
  };
  add("produce", "Write as fast as goes, or at a rate; the time until a record is acknowledged", PerfProduce);
  add("consume", "Read from the beginning as fast as goes", PerfConsume);
  add("e2e", "Write at a rate (1000/s) and read; the time from one to the other", PerfEndToEnd);
}

}  // namespace flotilla::cli
