#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/reflection.h"
#include "client/cli/session.h"

namespace flotilla::cli {
namespace {

struct CallCommandOptions {
  std::string method;
  std::string data = "{}";
  bool list = false;
};

client::Error Usage(std::string message) {
  return client::Error(client::ErrorCode::kInvalidArgument, "USAGE", client::Retry::kNever, std::move(message));
}

client::Result<std::string> ReadData(Session& session, const std::string& data) {
  if (!data.starts_with('@')) return data;
  if (data == "@-") return std::string(std::istreambuf_iterator<char>(session.in()), {});
  std::ifstream file(data.substr(1), std::ios::binary);
  if (!file) return Usage("cannot read the file '" + data.substr(1) + "'");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

int List(Session& session, Reflection& reflection) {
  const auto services = reflection.Services();
  if (!services.ok()) return session.Fail(services.error());
  for (const std::string& service : *services) {
    const auto found = reflection.FindService(service);
    if (!found.ok() && found.error().code() == client::ErrorCode::kNotFound) {
      // gRPC's own health service has no description to give.
      session.Say(service + " is there, but does not say what its methods are");
      continue;
    }
    if (!found.ok()) return session.Fail(found.error());
    for (int i = 0; i < (*found)->method_count(); ++i) {
      session.out() << service << "/" << (*found)->method(i)->name() << "\n";
    }
  }
  return kExitOk;
}

// "ClusterService" is "flotilla.v1.ClusterService", as long as there is no other one.
std::string WholeName(const std::string& service, Reflection& reflection) {
  if (service.find('.') != std::string::npos) return service;
  const auto services = reflection.Services();
  if (!services.ok()) return service;  // it fails again, and is told then
  const auto found =
      std::find_if(services->begin(), services->end(), [&](const std::string& whole) { return whole.ends_with("." + service); });
  return found == services->end() ? service : *found;
}

int Call(Session& session, const CallCommandOptions& options) {
  auto connected = ConnectAny(session);
  if (!connected.ok()) return session.Fail(connected.error());
  Reflection reflection(*connected, session.timeout());
  if (options.list || options.method.empty()) return List(session, reflection);

  const size_t slash = options.method.rfind('/');
  if (slash == std::string::npos) return session.Fail(Usage("'" + options.method + "' is no method; write SERVICE/METHOD"));
  const auto service = reflection.FindService(WholeName(options.method.substr(0, slash), reflection));
  if (!service.ok()) return session.Fail(service.error());
  const auto* method = (*service)->FindMethodByName(options.method.substr(slash + 1));
  if (method == nullptr) {
    return session.Fail(Usage((*service)->full_name() + " has no method '" + options.method.substr(slash + 1) + "'; see call --list"));
  }
  google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<google::protobuf::Message> request(factory.GetPrototype(method->input_type())->New());
  const auto data = ReadData(session, options.data);
  if (!data.ok()) return session.Fail(data.error());
  if (const auto status = google::protobuf::util::JsonStringToMessage(*data, request.get()); !status.ok()) {
    return session.Fail(Usage("the JSON is no " + method->input_type()->full_name() + ": " + status.ToString()));
  }
  const std::unique_ptr<google::protobuf::Message> answer(factory.GetPrototype(method->output_type())->New());
  const bool streaming = method->server_streaming();
  const client::Error error = Exchange(
      **connected, "/" + (*service)->full_name() + "/" + method->name(), request->SerializeAsString(),
      // A stream goes on for as long as its caller wants.
      streaming ? Duration::max() : session.timeout(),
      [&](const Bytes& bytes) {
        if (!answer->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
        if (streaming) session.out() << ToJson(*answer, false) << std::endl;
        else session.PrintJson(*answer);
        return !session.interrupted();
      },
      [&session] { return session.interrupted(); });
  if (session.interrupted()) return kExitInterrupted;
  return error.ok() ? kExitOk : session.Fail(error);
}

}  // namespace

void AddCallCommand(CLI::App& app, Session& session) {
  CLI::App& command = *app.add_subcommand("call", "Call any method of a broker with JSON");
  auto options = std::make_shared<CallCommandOptions>();
  command.add_option("METHOD", options->method, "SERVICE/METHOD, such as ClusterService/GetHealth; --list has them all");
  command.add_option("-d,--data", options->data, "The request; @FILE or @- reads it");
  command.add_flag("--list", options->list, "All methods there are");
  command.callback([&session, options] { session.action = [&session, options] { return Call(session, *options); }; });
}

}  // namespace flotilla::cli
