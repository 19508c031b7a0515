// The style of the protos, as rules over their descriptors: buf's STANDARD and COMMENTS, and a few of our
// own.
//
//   for (const Finding& finding : Lint(LoadDescriptors(path), "flotilla.")) ADD_FAILURE() << finding;
#pragma once

#include <google/protobuf/descriptor.pb.h>

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace flotilla::proto_test {

struct Finding {
  std::string rule;   // as buf names it, where buf has it
  std::string where;  // "flotilla/v1/admin.proto: flotilla.v1.Topic.name"
  std::string what;   // what is wrong, and what would be right
};
std::ostream& operator<<(std::ostream& out, const Finding& finding);

// Looks at those files of the set whose package begins with `package_prefix`; others are there to be
// imported. The set needs source info: comments are in it.
std::vector<Finding> Lint(const google::protobuf::FileDescriptorSet& files, std::string_view package_prefix);

}  // namespace flotilla::proto_test
