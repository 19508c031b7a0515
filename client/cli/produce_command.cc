#include <CLI/CLI.hpp>
#include <fstream>
#include <mutex>

#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/record_text.h"
#include "client/cli/session.h"
#include "client/cli/text.h"
#include "client/cpp/producer.h"

namespace flotilla::cli {
namespace {

struct ProduceOptions {
  std::string topic;
  std::vector<std::string> files;
  std::string key_delimiter;
  bool jsonl = false;
  bool tombstones = false;
  std::vector<std::string> headers;
  std::optional<int32_t> partition;
  client::Acks acks = client::Acks::kQuorum;
  std::string linger = "2ms";
};

// What became of the records; callbacks come on other threads.
class Outcome {
 public:
  void Add(const client::Delivery& delivery) {
    const std::lock_guard lock(mutex_);
    (delivery.error.ok() ? written_ : failed_) += static_cast<uint64_t>(delivery.record_count);
    if (first_error_.ok()) first_error_ = delivery.error;
  }
  uint64_t written() const {
    const std::lock_guard lock(mutex_);
    return written_;
  }
  uint64_t failed() const {
    const std::lock_guard lock(mutex_);
    return failed_;
  }
  client::Error first_error() const {
    const std::lock_guard lock(mutex_);
    return first_error_;
  }

 private:
  mutable std::mutex mutex_;
  uint64_t written_ = 0;
  uint64_t failed_ = 0;
  client::Error first_error_;
};

client::Result<OwnedRecord> RecordOf(const std::string& line, const ProduceOptions& options) {
  if (options.jsonl) return ParseRecordJson(line);
  OwnedRecord record;
  if (options.key_delimiter.empty()) {
    record.value = line;
  } else {
    const std::string delimiter = Unescape(options.key_delimiter);
    const size_t at = line.find(delimiter);
    if (at == std::string::npos) {
      return client::Error(client::ErrorCode::kInvalidArgument, "USAGE", client::Retry::kNever,
                           "no key delimiter '" + options.key_delimiter + "' in the line: " + line.substr(0, 80));
    }
    record.key = line.substr(0, at);
    record.value = line.substr(at + delimiter.size());
  }
  if (options.tombstones && record.value->empty()) record.value.reset();
  return record;
}

// Sends all lines. An error is one of the input, or the one that ended the producer.
client::Error SendLines(Session& session, std::istream& in, client::Producer& producer, const ProduceOptions& options,
                        const std::vector<client::HeaderView>& common_headers) {
  std::string line;
  uint64_t number = 0;
  while (!session.interrupted() && std::getline(in, line)) {
    ++number;
    client::Result<OwnedRecord> record = RecordOf(line, options);
    if (!record.ok()) return record.error().Prefixed("line " + std::to_string(number));
    std::vector<client::HeaderView> headers = common_headers;
    for (const auto& [key, value] : record->headers) headers.push_back({key, value});
    const client::RecordView view{.key = record->key, .value = record->value, .headers = headers, .timestamp_ms = record->timestamp_ms};
    const auto partition = record->partition ? record->partition : options.partition;
    if (client::Error error = producer.Send(view, {.partition = partition}); !error.ok()) {
      return error.Prefixed("line " + std::to_string(number));
    }
  }
  return {};
}

client::Error SendInputs(Session& session, client::Producer& producer, const ProduceOptions& options,
                         const std::vector<client::HeaderView>& headers) {
  if (options.files.empty()) return SendLines(session, session.in(), producer, options, headers);
  for (const std::string& name : options.files) {
    if (name == "-") {
      if (client::Error error = SendLines(session, session.in(), producer, options, headers); !error.ok()) return error;
      continue;
    }
    std::ifstream file(name, std::ios::binary);
    if (!file) {
      return client::Error(client::ErrorCode::kInvalidArgument, "USAGE", client::Retry::kNever, "cannot read the file '" + name + "'");
    }
    if (client::Error error = SendLines(session, file, producer, options, headers); !error.ok()) return error.Prefixed(name);
  }
  return {};
}

int Produce(Session& session, const ProduceOptions& options) {
  const auto linger = ParseDuration(options.linger);
  if (!linger) return session.FailUsage("--linger is '" + options.linger + "'; use a time such as 5ms");
  std::vector<client::HeaderView> headers;
  for (const std::string& header : options.headers) {
    const size_t equals = header.find('=');
    if (equals == std::string::npos) return session.FailUsage("'" + header + "' is no header; write KEY=VALUE");
    const std::string_view view = header;
    headers.push_back({view.substr(0, equals), view.substr(equals + 1)});
  }
  Outcome outcome;
  client::ProducerOptions producer_options{
      .topic = options.topic, .acks = options.acks, .linger = *linger, .delivery_timeout = session.timeout()};
  producer_options.on_delivery = [&outcome](const client::Delivery& delivery) { outcome.Add(delivery); };
  auto producer = client::Producer::Open(session.client(), producer_options);
  if (!producer.ok()) return session.Fail(producer.error());

  const client::Error input_error = SendInputs(session, **producer, options, headers);
  const client::Error close_error = (*producer)->Close(session.timeout() + std::chrono::seconds(1));
  const uint64_t written = outcome.written();
  session.Say("produced " + std::to_string(written) + " records" +
              (outcome.failed() > 0 ? ", " + std::to_string(outcome.failed()) + " failed" : ""));
  const client::Error& error = !outcome.first_error().ok() ? outcome.first_error() : !input_error.ok() ? input_error : close_error;
  if (!error.ok()) {
    const int code = session.Fail(error);
    return written > 0 ? kExitPartial : code;
  }
  return session.interrupted() ? kExitInterrupted : kExitOk;
}

}  // namespace

void AddProduceCommand(CLI::App& app, Session& session) {
  CLI::App& command = *app.add_subcommand("produce", "Write lines of the standard input, or of files, as records");
  auto options = std::make_shared<ProduceOptions>();
  command.add_option("TOPIC", options->topic, "The topic")->required();
  command.add_option("FILE", options->files, "Files to read; - is the standard input");
  command.add_option("-K,--key-delimiter", options->key_delimiter, "What stands between key and value, such as : or \\t");
  command.add_flag("--jsonl", options->jsonl, "Each line is an object as consume --json prints it")->excludes("--key-delimiter");
  command.add_flag("--tombstones", options->tombstones, "An empty value deletes the key");
  command.add_option("-H,--header", options->headers, "KEY=VALUE, for every record")->expected(1)->take_all();
  command.add_option("-p,--partition", options->partition, "Where they go; default: by the key");
  command.add_option("--acks", options->acks, "When a record counts as written: quorum, leader or none")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, client::Acks>{
                                      {"quorum", client::Acks::kQuorum}, {"leader", client::Acks::kLeader}, {"none", client::Acks::kNone}})
              .description(""))
      ->type_name("ACKS");
  command.add_option("--linger", options->linger, "How long records wait for others");
  command.callback([&session, options] { session.action = [&session, options] { return Produce(session, *options); }; });
}

}  // namespace flotilla::cli
