// Whether clients and nodes generated from old protos still work with the new ones: on the wire, in JSON, and
// when their source is compiled again.
//
//   for (const std::string& line : BreakingChanges(golden, current, "flotilla.")) ADD_FAILURE() << line;
#pragma once

#include <google/protobuf/descriptor.pb.h>

#include <string>
#include <string_view>
#include <vector>

namespace flotilla::proto_test {

// One line for each change that takes something away or gives it another meaning. New files, messages,
// fields, enum values, services and rpcs are fine. A field or enum value may go when its number and its name
// are reserved.
std::vector<std::string> BreakingChanges(const google::protobuf::FileDescriptorSet& before,
                                         const google::protobuf::FileDescriptorSet& after, std::string_view package_prefix);

}  // namespace flotilla::proto_test
