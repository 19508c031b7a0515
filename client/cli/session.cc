#include "client/cli/session.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>

#include "client/cli/exit_codes.h"
#include "client/cli/text.h"

namespace flotilla::cli {
namespace {

constexpr Duration kDefaultTimeout = std::chrono::seconds(30);
// Where lines stay, one now and then is enough.
constexpr Duration kProgressEvery = std::chrono::seconds(5);

}  // namespace

int ExitCodeOf(const client::Error& error) {
  using client::ErrorCode;
  if (error.ok()) return kExitOk;
  if (error.reason() == client::reasons::kUnreachable || error.reason() == client::reasons::kConnectionLost) {
    return kExitCannotConnect;
  }
  if (error.reason() == client::reasons::kNotInitialized) return kExitPrecondition;
  switch (error.code()) {
    case ErrorCode::kInvalidArgument: return kExitUsage;
    case ErrorCode::kNotFound: return kExitNotFound;
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kFailedPrecondition:
    case ErrorCode::kAborted: return kExitPrecondition;
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kUnauthenticated: return kExitDenied;
    case ErrorCode::kDeadlineExceeded: return kExitTimeout;
    default: return kExitFailed;
  }
}

std::string HintFor(const client::Error& error) {
  const std::string_view reason = error.reason();
  if (reason == client::reasons::kUnreachable) return "name running brokers with -b HOST:PORT or FLOTILLA_BROKERS";
  if (reason == client::reasons::kConnectionLost) {
    return "if it closes at once: is this the client port (9650), and does the cluster want TLS?";
  }
  if (reason == client::reasons::kNotInitialized) return "flotilla cluster init";
  if (reason == client::reasons::kTopicNotFound) return "flotilla topic list";
  if (reason == "TOPIC_EXISTS") return "flotilla topic create --if-not-exists does nothing then";
  if (reason == client::reasons::kNoLeader) return "flotilla partition list --leaderless; flotilla cluster health";
  if (reason == "NOT_ENOUGH_NODES" || reason == "NODE_NOT_FOUND") return "flotilla node list";
  if (reason == "QUORUM_AT_RISK") return "flotilla cluster health; start the nodes that are dead";
  if (reason == "NODE_ALIVE") return "flotilla node decommission moves a living node's replicas first";
  if (reason == "NODE_DECOMMISSIONING") return "flotilla node recommission";
  if (reason == "MOVE_UNDER_WAY") return "flotilla partition moves; flotilla partition move TOPIC/PARTITION --cancel";
  if (reason == "MOVE_NOT_FOUND") return "flotilla partition moves";
  if (reason == "REPLICA_EXISTS" || reason == "REPLICA_NOT_FOUND") return "flotilla partition list TOPIC";
  if (reason == "BALANCE_UNDER_WAY") return "flotilla cluster balance --status, or --cancel";
  if (reason == client::reasons::kDeadlineExceeded) return "give it longer with --timeout";
  return "";
}

std::string ToJson(const google::protobuf::Message& message, bool indent) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  options.add_whitespace = indent;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  return status.ok() ? text : "{}";
}

bool Session::color() const {
  const char* no_color = std::getenv("NO_COLOR");
  return around_.out_is_terminal && !options.no_color && (no_color == nullptr || *no_color == '\0');
}

void Session::Say(const std::string& text) {
  if (!options.quiet) around_.err << text << std::endl;
}

void Session::ShowProgress(const std::string& text) {
  if (options.quiet) return;
  if (around_.err_is_terminal) {
    around_.err << "\r\033[K" << text << std::flush;
    progress_shown_ = true;
    return;
  }
  const MonotonicTime now = SystemClock().Now();
  if (progress_said_ && now - *progress_said_ < kProgressEvery) return;
  progress_said_ = now;
  around_.err << text << std::endl;
}

void Session::EndProgress() {
  if (std::exchange(progress_shown_, false)) around_.err << std::endl;
}

int Session::Fail(const client::Error& error) {
  const std::string hint = HintFor(error);
  if (json()) {
    nlohmann::ordered_json object = {{"code", client::CodeName(error.code())},
                                     {"reason", std::string(error.reason())},
                                     {"message", std::string(error.message())},
                                     {"hint", hint}};
    for (const auto& [key, value] : error.metadata()) object["metadata"][key] = value;
    around_.err << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
  } else {
    around_.err << "error: " << error.message() << " [" << error.reason() << "]" << std::endl;
    if (!hint.empty()) around_.err << "hint: " << hint << std::endl;
  }
  return ExitCodeOf(error);
}

int Session::FailUsage(const std::string& message) {
  return Fail(client::Error(client::ErrorCode::kInvalidArgument, "USAGE", client::Retry::kNever, message));
}

void Session::PrintJson(const google::protobuf::Message& message) {
  std::string text = ToJson(message, /*indent=*/true);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  out() << text << std::endl;
}

bool Session::Confirm(const std::string& consequence, const std::string& word) {
  if (options.yes) return true;
  if (!around_.in_is_terminal) {
    FailUsage(consequence + "; add --yes to do it without being asked");
    return false;
  }
  around_.err << consequence << "\ntype '" << word << "' to go on: " << std::flush;
  std::string answer;
  std::getline(around_.in, answer);
  if (answer == word) return true;
  FailUsage("'" + answer + "' is not '" + word + "'; nothing was done");
  return false;
}

Duration Session::timeout() const { return ParseDuration(options.timeout).value_or(kDefaultTimeout); }

client::Client& Session::client() {
  if (!client_) client_ = std::make_unique<client::Client>(client::ClientOptions{.brokers = options.brokers, .call_timeout = timeout()});
  return *client_;
}

client::Error Session::Call(const std::string& method, const google::protobuf::Message& request, google::protobuf::Message* response,
                            const client::CallOptions& options_of_call) {
  return client().Call(method, request, response, options_of_call);
}

}  // namespace flotilla::cli
