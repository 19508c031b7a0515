#include "tests/proto/lint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/proto/proto_source.h"

namespace flotilla::proto_test {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;

std::vector<std::string> Rules(const std::vector<Finding>& findings) {
  std::vector<std::string> rules;
  for (const Finding& finding : findings) rules.push_back(finding.rule);
  return rules;
}

constexpr char kHead[] = R"(
syntax = "proto3";
package good.v1;
option go_package = "good/v1;goodv1";
option java_multiple_files = true;
option java_package = "good.v1";
)";

std::vector<std::string> RulesBrokenBy(const std::string& body, const std::string& head = kHead,
                                       const std::string& path = "good/v1/file.proto") {
  return Rules(Lint(ParseProtos({{path, head + body}}), ""));
}

TEST(Lint, TheProtosOfThisProject) {
  for (const Finding& finding : Lint(LoadDescriptors(FLOTILLA_DESCRIPTORS), "flotilla.")) ADD_FAILURE() << finding;
}

TEST(Lint, AGoodFileHasNoFindings) {
  EXPECT_THAT(RulesBrokenBy(R"(
    // Does things. Errors: none.
    service ThingService {
      // Does one. Errors: none. Retry: safe.
      rpc DoThing(DoThingRequest) returns (DoThingResponse);
    }
    // A request.
    message DoThingRequest {
      // How many.
      optional int32 count = 1;
      // What.
      oneof what {
        // Text.
        string text = 2;
      }
      // Labels.
      map<string, string> labels = 3;
    }
    // A response.
    message DoThingResponse {}
    // Kinds.
    enum ThingKind {
      // None.
      THING_KIND_UNSPECIFIED = 0;
      // Some.
      THING_KIND_SOME = 1;
    }
  )"),
              IsEmpty());
}

struct BadProto {
  const char* rule;
  const char* body;
};
void PrintTo(const BadProto& bad, std::ostream* out) { *out << bad.rule; }

class BadBody : public ::testing::TestWithParam<BadProto> {};
TEST_P(BadBody, IsFound) { EXPECT_THAT(RulesBrokenBy(GetParam().body), Contains(GetParam().rule)); }

// A service with one rpc, and its messages.
#define THINGS "\n// M.\nmessage DoRequest {}\n// M.\nmessage DoResponse {}\n"

INSTANTIATE_TEST_SUITE_P(
    Rules, BadBody,
    ::testing::Values(
        BadProto{"COMMENT_MESSAGE", "message Thing {}"}, BadProto{"COMMENT_MESSAGE", "//\nmessage Thing {}"},
        BadProto{"COMMENT_MESSAGE", "// M.\nmessage Outer {\n  message Inner {}\n}"},
        BadProto{"COMMENT_FIELD", "// M.\nmessage Thing {\n  int32 a = 1;\n}"},
        BadProto{"COMMENT_FIELD", "// M.\nmessage Thing {\n  int32 a = 1;  // behind it does not count\n}"},
        BadProto{"COMMENT_ONEOF", "// M.\nmessage Thing {\n  oneof o {\n    // F.\n    int32 a = 1;\n  }\n}"},
        BadProto{"COMMENT_ENUM", "enum Kind {\n  // V.\n  KIND_UNSPECIFIED = 0;\n}"},
        BadProto{"COMMENT_ENUM_VALUE", "// E.\nenum Kind {\n  KIND_UNSPECIFIED = 0;\n}"},
        BadProto{"COMMENT_SERVICE", "service ThingService {}"},
        BadProto{"COMMENT_RPC", "// S.\nservice ThingService {\n  rpc Do(DoRequest) returns (DoResponse);\n}" THINGS},
        BadProto{"COMMENT_RPC_ERRORS",
                 "// S.\nservice ThingService {\n  // R. Retry: safe.\n  rpc Do(DoRequest) returns "
                 "(DoResponse);\n}" THINGS},
        BadProto{"COMMENT_RPC_RETRY",
                 "// S.\nservice ThingService {\n  // R. Errors: none.\n  rpc Do(DoRequest) returns "
                 "(DoResponse);\n}" THINGS},
        BadProto{"MESSAGE_PASCAL_CASE", "// M.\nmessage my_thing {}"},
        BadProto{"FIELD_LOWER_SNAKE_CASE", "// M.\nmessage Thing {\n  // F.\n  int32 someField = 1;\n}"},
        BadProto{"FIELD_NOT_RESERVED_WORD", "// M.\nmessage Thing {\n  // F.\n  string namespace = 1;\n}"},
        BadProto{"FIELD_NOT_RESERVED_WORD", "// M.\nmessage Thing {\n  // F.\n  string from = 1;\n}"},
        BadProto{"ONEOF_LOWER_SNAKE_CASE", "// M.\nmessage Thing {\n  // O.\n  oneof What {\n    // F.\n    int32 a = 1;\n  }\n}"},
        BadProto{"ENUM_PASCAL_CASE", "// E.\nenum kind {\n  // V.\n  KIND_UNSPECIFIED = 0;\n}"},
        BadProto{"ENUM_NO_ALLOW_ALIAS",
                 "// E.\nenum Kind {\n  option allow_alias = true;\n  // V.\n  KIND_UNSPECIFIED = 0;\n  // "
                 "V.\n  KIND_A = 0;\n}"},
        BadProto{"ENUM_VALUE_UPPER_SNAKE_CASE", "// E.\nenum Kind {\n  // V.\n  KIND_UNSPECIFIED = 0;\n  // V.\n  KIND_a = 1;\n}"},
        BadProto{"ENUM_VALUE_PREFIX", "// E.\nenum Kind {\n  // V.\n  KIND_UNSPECIFIED = 0;\n  // V.\n  OTHER = 1;\n}"},
        BadProto{"ENUM_ZERO_VALUE_SUFFIX", "// E.\nenum Kind {\n  // V.\n  KIND_NONE = 0;\n}"},
        BadProto{"SERVICE_PASCAL_CASE", "// S.\nservice thing_Service {}"}, BadProto{"SERVICE_SUFFIX", "// S.\nservice Thing {}"},
        BadProto{"RPC_PASCAL_CASE", "// S.\nservice ThingService {\n  // R.\n  rpc do(DoRequest) returns (DoResponse);\n}" THINGS},
        BadProto{"RPC_REQUEST_STANDARD_NAME",
                 "// S.\nservice ThingService {\n  // R.\n  rpc Make(DoRequest) returns (DoResponse);\n}" THINGS},
        BadProto{"RPC_RESPONSE_STANDARD_NAME",
                 "// S.\nservice ThingService {\n  // R.\n  rpc Do(DoRequest) returns (DoRequest);\n}" THINGS},
        BadProto{"RPC_REQUEST_RESPONSE_UNIQUE",
                 "// S.\nservice ThingService {\n  // R.\n  rpc Do(DoRequest) returns (DoResponse);\n"
                 "  // R.\n  rpc Redo(DoRequest) returns (DoResponse);\n}" THINGS}));
#undef THINGS

struct BadHead {
  const char* rule;
  const char* head;
  const char* path = "good/v1/file.proto";
};
void PrintTo(const BadHead& bad, std::ostream* out) { *out << bad.rule; }

class BadFile : public ::testing::TestWithParam<BadHead> {};
TEST_P(BadFile, IsFound) { EXPECT_THAT(RulesBrokenBy("", GetParam().head, GetParam().path), Contains(GetParam().rule)); }
INSTANTIATE_TEST_SUITE_P(Rules, BadFile,
                         ::testing::Values(BadHead{"SYNTAX_SPECIFIED", "syntax = \"proto2\"; package good.v1;"},
                                           BadHead{"PACKAGE_VERSION_SUFFIX", "syntax = \"proto3\"; package good;", "good/file.proto"},
                                           BadHead{"PACKAGE_VERSION_SUFFIX", "syntax = \"proto3\"; package Good.v1;", "Good/v1/file.proto"},
                                           BadHead{"PACKAGE_DIRECTORY_MATCH", kHead, "elsewhere/file.proto"},
                                           BadHead{"FILE_LOWER_SNAKE_CASE", kHead, "good/v1/MyFile.proto"},
                                           BadHead{"PACKAGE_SAME_GO_PACKAGE",
                                                   "syntax = \"proto3\"; package good.v1; option java_package = \"a\"; option "
                                                   "java_multiple_files = true;"},
                                           BadHead{"PACKAGE_SAME_JAVA_PACKAGE",
                                                   "syntax = \"proto3\"; package good.v1; option go_package = \"a/b\"; option "
                                                   "java_multiple_files = true;"},
                                           BadHead{
                                               "PACKAGE_SAME_JAVA_MULTIPLE_FILES",
                                               "syntax = \"proto3\"; package good.v1; option go_package = \"a/b\"; option java_package = "
                                               "\"a\";"}));

TEST(Lint, FilesOfAPackageAgreeOnItsGoPackage) {
  std::string other = kHead;
  other.replace(other.find("good/v1;goodv1"), 14, "evil/v1;evilv1");
  EXPECT_THAT(Rules(Lint(ParseProtos({{"good/v1/a.proto", kHead}, {"good/v1/b.proto", other}}), "")), Contains("PACKAGE_SAME_GO_PACKAGE"));
}

std::vector<std::string> RulesBrokenByImport(const std::string& import, const std::string& body) {
  return Rules(Lint(
      ParseProtos({{"good/v1/file.proto", kHead + import + body}, {"good/v1/thing.proto", std::string(kHead) + "// M.\nmessage Thing {}"}}),
      ""));
}
TEST(Lint, AnImportIsUsed) {
  EXPECT_THAT(RulesBrokenByImport("import \"good/v1/thing.proto\";", ""), Contains("IMPORT_USED"));
  EXPECT_THAT(RulesBrokenByImport("import \"good/v1/thing.proto\";", "\n// M.\nmessage User {\n  // F.\n  Thing a = 1;\n}"), IsEmpty());
}
TEST(Lint, AnImportIsNotPublicOrWeak) {
  EXPECT_THAT(RulesBrokenByImport("import public \"good/v1/thing.proto\";", ""), Contains("IMPORT_NO_PUBLIC"));
  EXPECT_THAT(RulesBrokenByImport("import weak \"good/v1/thing.proto\";", ""), Contains("IMPORT_NO_WEAK"));
}
// Nobody generates clients for it, and C++ only appends an underscore.
TEST(Lint, AnInternalPackageMayUseReservedWords) {
  const std::string head =
      "syntax = \"proto3\"; package good.internal.v1; option go_package = \"g/v1\"; option java_package = "
      "\"g\"; "
      "option java_multiple_files = true;";
  EXPECT_THAT(RulesBrokenBy("\n// M.\nmessage Thing {\n  // F.\n  string namespace = 1;\n}", head, "good/internal/v1/file.proto"),
              IsEmpty());
}
TEST(Lint, ThePublicPackageNeedsNoOther) {
  const std::string ours = "syntax = \"proto3\"; package flotilla.v1; import \"good/v1/thing.proto\";";
  EXPECT_THAT(
      Rules(Lint(ParseProtos({{"flotilla/v1/file.proto", ours}, {"good/v1/thing.proto", std::string(kHead) + "// M.\nmessage Thing {}"}}),
                 "flotilla.")),
      Contains("PUBLIC_STANDS_ALONE"));
}

// protoc itself refuses a proto3 enum that does not begin with 0: built by hand.
TEST(Lint, AnEnumBeginsWithZero) {
  google::protobuf::FileDescriptorSet set = ParseProtos({{"good/v1/file.proto", kHead}});
  google::protobuf::EnumDescriptorProto* kind = set.mutable_file(0)->add_enum_type();
  kind->set_name("Kind");
  google::protobuf::EnumValueDescriptorProto* value = kind->add_value();
  value->set_name("KIND_SOME");
  value->set_number(1);
  EXPECT_THAT(Rules(Lint(set, "")), Contains("ENUM_FIRST_VALUE_ZERO"));
}

}  // namespace
}  // namespace flotilla::proto_test
