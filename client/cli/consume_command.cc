#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>

#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/record_text.h"
#include "client/cli/session.h"
#include "client/cli/text.h"
#include "client/cpp/consumer.h"

namespace flotilla::cli {
namespace {

constexpr Duration kPollEvery = std::chrono::milliseconds(100);  // how late an interrupt is noticed

struct ConsumeOptions {
  std::string topic;
  std::vector<int32_t> partitions;
  std::string from = "start";
  std::string from_time;
  std::optional<uint64_t> count;
  bool until_end = false;
  std::string format = "%v\\n";
  bool json = false;
};

client::Result<client::StartAt> StartOf(const ConsumeOptions& options) {
  const auto invalid = [](std::string message) {
    return client::Error(client::ErrorCode::kInvalidArgument, "USAGE", client::Retry::kNever, std::move(message));
  };
  if (!options.from_time.empty()) {
    const auto time = ParseTime(options.from_time, SystemClock().WallMillis());
    if (!time || *time < 0) {
      return invalid("--from-time is '" + options.from_time + "'; use 2026-01-31T12:00:00Z, milliseconds since 1970, or -10m");
    }
    return client::StartAt::Time(*time);
  }
  if (options.from == "start") return client::StartAt::Earliest();
  if (options.from == "end") return client::StartAt::Latest();
  int64_t number = 0;
  const char* end = options.from.data() + options.from.size();
  const auto [rest, error] = std::from_chars(options.from.data(), end, number);
  if (error != std::errc() || rest != end) {
    return invalid("--from is '" + options.from + "'; use start, end, an offset, or -N for the last N records");
  }
  return options.from.front() == '-' ? client::StartAt::Last(-number) : client::StartAt::Offset(number);
}

int Consume(Session& session, const ConsumeOptions& options) {
  const auto start = StartOf(options);
  if (!start.ok()) return session.Fail(start.error());
  const auto format = RecordFormat::Parse(options.format);
  if (!format.ok()) return session.Fail(format.error());
  if (options.count == 0U) return kExitOk;
  auto consumer = client::Consumer::Open(session.client(), {.topic = options.topic,
                                                            .partitions = options.partitions,
                                                            .start = *start,
                                                            .until_end = options.until_end,
                                                            .give_up_after = session.timeout()});
  if (!consumer.ok()) return session.Fail(consumer.error());
  const bool as_json = options.json || session.json();
  uint64_t records = 0;
  client::Error partition_error;
  // Who reads to the end wants to come there; who goes on for ever may wait for ever.
  auto last_news = std::chrono::steady_clock::now();
  const auto end = [&](int code) {
    session.out().flush();
    session.Say("consumed " + std::to_string(records) + " records");
    return code;
  };
  while (!session.interrupted()) {
    auto event = (*consumer)->Next(kPollEvery);
    if (!event.ok()) {
      end(0);
      const int code = session.Fail(event.error());
      return records > 0 ? kExitPartial : code;
    }
    if (event->kind != client::ConsumerEvent::Kind::kNothing) last_news = std::chrono::steady_clock::now();
    if (options.until_end && std::chrono::steady_clock::now() - last_news > session.timeout()) {
      end(0);
      const int code = session.Fail(
          client::Error(client::ErrorCode::kDeadlineExceeded, std::string(client::reasons::kNoLeader), client::Retry::kSafe,
                        "nothing came for so long as --timeout allows, and the end is not reached; a partition may have no leader"));
      return records > 0 ? kExitPartial : code;
    }
    switch (event->kind) {
      case client::ConsumerEvent::Kind::kRecords: {
        client::RecordCursor cursor(event->message);
        while (cursor.Next()) {
          if (as_json) session.out() << RecordJson(options.topic, event->partition, cursor) << "\n";
          else format->Print(session.out(), options.topic, event->partition, cursor);
          if (++records == options.count) return end(kExitOk);
        }
        if (!session.out()) return kExitFailed;  // nobody reads any more
        break;
      }
      case client::ConsumerEvent::Kind::kCaughtUp:
      case client::ConsumerEvent::Kind::kNothing: session.out().flush(); break;
      case client::ConsumerEvent::Kind::kPartitionError:
        partition_error = event->error.Prefixed(options.topic + "/" + std::to_string(event->partition));
        session.Fail(partition_error);
        break;
      case client::ConsumerEvent::Kind::kEnded:
        if (partition_error.ok()) return end(kExitOk);
        return end(records > 0 ? kExitPartial : ExitCodeOf(partition_error));
    }
  }
  return end(kExitInterrupted);
}

}  // namespace

void AddConsumeCommand(CLI::App& app, Session& session) {
  CLI::App& command = *app.add_subcommand("consume", "Print records");
  auto options = std::make_shared<ConsumeOptions>();
  command.add_option("TOPIC", options->topic, "The topic")->required();
  command.add_option("-p,--partition", options->partitions, "Only these, 0,1,...")->delimiter(',')->expected(1)->take_all();
  auto* from = command.add_option("--from", options->from, "start, end, an offset, or -N for the last N of each partition");
  command.add_option("--from-time", options->from_time, "A time: 2026-01-31T12:00:00Z, milliseconds, or -10m")->excludes(from);
  command.add_option("-n,--count", options->count, "End after so many records");
  command.add_flag("--until-end", options->until_end, "End where the partitions end now");
  auto* format =
      command.add_option("-f,--format", options->format, "%t topic %p partition %o offset %k key %v value %h headers %d time %s size");
  command.add_flag("--json", options->json, "An object per line, also with -o json")->excludes(format);
  command.callback([&session, options] { session.action = [&session, options] { return Consume(session, *options); }; });
}

}  // namespace flotilla::cli
