// Settings of topics and of the cluster: shown, and changed.
#pragma once

#include <string>
#include <vector>

#include "client/cli/session.h"
#include "flotilla/v1/admin.pb.h"

namespace flotilla::cli {

client::Error PutSettings(const std::vector<std::string>& settings, google::protobuf::Map<std::string, std::string>* out);
void PrintConfig(Session& session, const google::protobuf::RepeatedPtrField<v1::ConfigEntry>& entries);

struct ConfigChange {
  std::vector<std::string> set = {};  // NAME=VALUE
  std::vector<std::string> unset = {};
  bool dry_run = false;
};
// All or none; prints what there is afterwards. The exit code.
int AlterConfig(Session& session, const v1::ConfigResource& resource, const ConfigChange& change);

}  // namespace flotilla::cli
