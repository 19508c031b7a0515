// One run of the program: the global options, where output goes, the connection to the cluster, how errors are told. What data is
// goes to `out`, everything else that is said goes to `err`.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/cpp/client.h"
#include "client/cpp/error.h"

namespace google::protobuf {
class Message;
}

namespace flotilla::cli {

enum class OutputFormat { kTable, kWide, kJson };

struct GlobalOptions {
  std::vector<std::string> brokers;
  OutputFormat output = OutputFormat::kTable;
  std::string timeout = "30s";
  bool yes = false;
  bool quiet = false;
  bool no_color = false;
};

// The world around the program, so that tests have one of their own.
struct Surroundings {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool in_is_terminal = false;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  // True once somebody wants the program to end.
  std::function<bool()> interrupted = [] { return false; };
};

class Session {
 public:
  explicit Session(const Surroundings& surroundings) : around_(surroundings) {}

  GlobalOptions options;

  // What the chosen command does; returns the exit code. Set while the command line is parsed.
  std::function<int()> action;

  std::istream& in() { return around_.in; }
  std::ostream& out() { return around_.out; }
  bool json() const { return options.output == OutputFormat::kJson; }
  bool wide() const { return options.output == OutputFormat::kWide; }
  bool interrupted() const { return around_.interrupted(); }
  bool err_is_terminal() const { return around_.err_is_terminal; }
  bool color() const;

  // --- Talking
  // A line for people, unless --quiet.
  void Say(const std::string& text);
  // How far something is: on a terminal a line that the next one is written over, else now and then a line.
  void ShowProgress(const std::string& text);
  void EndProgress();
  // The error, as text or JSON. Returns the exit code that belongs to it.
  int Fail(const client::Error& error);
  // A mistake in the command line.
  int FailUsage(const std::string& message);
  void PrintJson(const google::protobuf::Message& message);
  // Whether to go on with something that cannot be undone. Asks for `word` to be typed, if there is somebody to ask; needs --yes
  // if not, and then says so.
  bool Confirm(const std::string& consequence, const std::string& word);

  // --- The cluster
  client::Client& client();
  Duration timeout() const;
  client::Error Call(const std::string& method, const google::protobuf::Message& request, google::protobuf::Message* response,
                     const client::CallOptions& options = {});

 private:
  Surroundings around_;
  std::unique_ptr<client::Client> client_;
  bool progress_shown_ = false;
  std::optional<MonotonicTime> progress_said_;
};

int ExitCodeOf(const client::Error& error);
// What to do about it, where the message does not say so itself. May be empty.
std::string HintFor(const client::Error& error);
// Proto JSON with the names of the .proto file.
std::string ToJson(const google::protobuf::Message& message, bool indent);

}  // namespace flotilla::cli
