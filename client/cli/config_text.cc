#include "client/cli/config_text.h"

#include "client/cli/admin_text.h"
#include "client/cli/exit_codes.h"
#include "client/cli/table.h"

namespace flotilla::cli {

client::Error PutSettings(const std::vector<std::string>& settings, google::protobuf::Map<std::string, std::string>* out) {
  for (const std::string& setting : settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      return client::Error(client::ErrorCode::kInvalidArgument, "USAGE", client::Retry::kNever,
                           "'" + setting + "' is no setting; write NAME=VALUE");
    }
    (*out)[setting.substr(0, equals)] = setting.substr(equals + 1);
  }
  return {};
}

void PrintConfig(Session& session, const google::protobuf::RepeatedPtrField<v1::ConfigEntry>& entries) {
  std::vector<std::string> header = {"CONFIG", "VALUE", "SOURCE"};
  if (session.wide()) header.insert(header.end(), {"DEFAULT", "RANGE", "MEANING"});
  Table table(header);
  for (const v1::ConfigEntry& entry : entries) {
    std::vector<std::string> row = {entry.name(), entry.value(), ShortName(v1::ConfigSource_Name(entry.source()), "CONFIG_SOURCE_")};
    if (session.wide()) row.insert(row.end(), {entry.default_value(), entry.range(), entry.documentation()});
    table.Add(std::move(row));
  }
  table.Print(session.out());
}

int AlterConfig(Session& session, const v1::ConfigResource& resource, const ConfigChange& change) {
  v1::UpdateConfigRequest request;
  *request.mutable_resource() = resource;
  if (client::Error error = PutSettings(change.set, request.mutable_set_values()); !error.ok()) return session.Fail(error);
  for (const std::string& name : change.unset) request.add_unset_names(name);
  if (request.set_values().empty() && request.unset_names().empty()) {
    return session.FailUsage("nothing to change; give --set NAME=VALUE or --unset NAME");
  }
  request.set_validate_only(change.dry_run);
  request.set_request_id(client::NewRequestId());
  v1::UpdateConfigResponse response;
  const client::Error error = session.Call("/flotilla.v1.AdminService/UpdateConfig", request, &response);
  if (!error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  session.Say(change.dry_run ? "would be changed" : "changed");
  PrintConfig(session, response.entries());
  return kExitOk;
}

}  // namespace flotilla::cli
