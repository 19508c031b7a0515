#include "tests/proto/compatibility.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/proto/proto_source.h"

namespace flotilla::proto_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What was promised with the golden set still holds. Additions pass. After a change that is meant to break
// (before the first release, or in a package of a new version), or to put additions under the same promise:
//
//   cmake --build --preset release --target flotilla_update_golden_protos
TEST(Compatibility, WithTheGoldenSet) {
  for (const std::string& line :
       BreakingChanges(LoadDescriptors(FLOTILLA_GOLDEN_DESCRIPTORS), LoadDescriptors(FLOTILLA_DESCRIPTORS), "flotilla.")) {
    ADD_FAILURE() << line;
  }
}

TEST(Compatibility, TheGoldenSetIsNotEmpty) { EXPECT_GT(LoadDescriptors(FLOTILLA_GOLDEN_DESCRIPTORS).file_size(), 5); }

std::vector<std::string> Changes(const std::string& before, const std::string& after) {
  const std::string head = "syntax = \"proto3\"; package p.v1; option go_package = \"p/v1\";\n";
  return BreakingChanges(ParseProtos({{"p/v1/f.proto", head + before}}), ParseProtos({{"p/v1/f.proto", head + after}}), "");
}

TEST(Compatibility, AdditionsPass) {
  EXPECT_THAT(Changes(R"(
      message M { int32 a = 1; reserved 10 to 20; }
      message Request {} message Response {}
      enum E { E_UNSPECIFIED = 0; reserved 3 to 5; }
      service S { rpc Do(Request) returns (Response); })",
                      R"(
      message M { int32 a = 1; optional string b = 2; repeated N c = 10; reserved 11 to 20; }
      message N { map<string, int32> d = 1; }
      message Request { int32 e = 1; } message Response {}
      enum E { E_UNSPECIFIED = 0; E_NEW = 1; E_ROOM = 3; reserved 4, 5; }
      service S { rpc Do(Request) returns (Response); rpc More(N) returns (M); }
      service T {})"),
              IsEmpty());
}

TEST(Compatibility, AFieldMayGoWhenItsNumberAndNameAreReserved) {
  EXPECT_THAT(Changes("message M { int32 a = 1; }", "message M { reserved 1; reserved \"a\"; }"), IsEmpty());
  EXPECT_THAT(Changes("enum E { E_UNSPECIFIED = 0; E_A = 1; }", "enum E { E_UNSPECIFIED = 0; reserved 1; reserved \"E_A\"; }"), IsEmpty());
}

struct Break {
  const char* name;
  const char* before;
  const char* after;
  const char* line;
};
void PrintTo(const Break& change, std::ostream* out) { *out << change.name; }

class BreakingChange : public ::testing::TestWithParam<Break> {};
TEST_P(BreakingChange, IsOneClearLine) {
  EXPECT_THAT(Changes(GetParam().before, GetParam().after), ElementsAre(HasSubstr(GetParam().line)));
}
INSTANTIATE_TEST_SUITE_P(
    Kinds, BreakingChange,
    ::testing::Values(
        Break{"field removed", "message M { int32 a = 1; }", "message M {}",
              "p/v1/f.proto: field p.v1.M.a = 1 was removed; reserve its number and its name"},
        Break{"field removed, only its number reserved", "message M { int32 a = 1; }", "message M { reserved 1; }", "was removed; reserve"},
        Break{"field renumbered", "message M { int32 a = 1; }", "message M { int32 a = 2; }", "field p.v1.M.a = 1 got the number 2"},
        Break{"field renamed", "message M { int32 a = 1; }", "message M { int32 b = 1 [json_name = \"a\"]; }", "is called b now"},
        Break{"field renamed in JSON", "message M { int32 a = 1; }", "message M { int32 a = 1 [json_name = \"b\"]; }", "is b in JSON now"},
        Break{"type changed", "message M { int32 a = 1; }", "message M { int64 a = 1; }", "was TYPE_INT32, is TYPE_INT64"},
        Break{"message type changed", "message M { M a = 1; } message N {}", "message M { N a = 1; } message N {}",
              "was p.v1.M, is p.v1.N"},
        Break{"map value changed", "message M { map<string, int32> a = 1; }", "message M { map<string, string> a = 1; }",
              "was TYPE_INT32, is TYPE_STRING"},
        Break{"singular to repeated", "message M { int32 a = 1; }", "message M { repeated int32 a = 1; }",
              "was TYPE_INT32, is repeated TYPE_INT32"},
        Break{"presence changed", "message M { int32 a = 1; }", "message M { optional int32 a = 1; }",
              "was TYPE_INT32, is optional TYPE_INT32"},
        Break{"into a oneof", "message M { int32 a = 1; }", "message M { oneof o { int32 a = 1; } }", "was in oneof \"\", is in \"o\""},
        Break{"deleted number taken", "message M { reserved 1; reserved \"a\"; }", "message M { int32 b = 1; reserved \"a\"; }",
              "field p.v1.M.b takes the number 1 of a deleted one"},
        Break{"deleted name taken", "message M { reserved 1; reserved \"a\"; }", "message M { int32 a = 2; reserved 1; }",
              "takes the name of a field that was deleted"},
        Break{"message removed", "message M {}", "", "message p.v1.M was removed"},
        Break{"nested message removed", "message M { message N {} }", "message M {}", "message p.v1.M.N was removed"},
        Break{"enum removed", "enum E { E_UNSPECIFIED = 0; }", "", "enum p.v1.E was removed"},
        Break{"enum value removed", "enum E { E_UNSPECIFIED = 0; E_A = 1; }", "enum E { E_UNSPECIFIED = 0; }",
              "enum value p.v1.E.E_A = 1 was removed"},
        Break{"enum value renumbered", "enum E { E_UNSPECIFIED = 0; E_A = 1; }", "enum E { E_UNSPECIFIED = 0; E_A = 2; }",
              "got the number 2"},
        Break{"enum value renamed", "enum E { E_UNSPECIFIED = 0; E_A = 1; }", "enum E { E_UNSPECIFIED = 0; E_B = 1; }",
              "is called E_B now"},
        Break{"deleted enum number taken", "enum E { E_UNSPECIFIED = 0; reserved 1; }", "enum E { E_UNSPECIFIED = 0; E_B = 1; }",
              "takes the number 1 of a deleted one"},
        Break{"service removed", "service S {}", "", "service p.v1.S was removed"},
        Break{"rpc removed", "message M {} service S { rpc A(M) returns (M); }", "message M {} service S {}",
              "rpc p.v1.S.A was removed or renamed"},
        Break{"request changed", "message M {} message N {} service S { rpc A(M) returns (M); }",
              "message M {} message N {} service S { rpc A(N) returns (M); }", "takes p.v1.N now"},
        Break{"response changed", "message M {} message N {} service S { rpc A(M) returns (M); }",
              "message M {} message N {} service S { rpc A(M) returns (N); }", "returns p.v1.N now"},
        Break{"requests become a stream", "message M {} service S { rpc A(M) returns (M); }",
              "message M {} service S { rpc A(stream M) returns (M); }", "streams its requests differently"},
        Break{"responses become a stream", "message M {} service S { rpc A(M) returns (M); }",
              "message M {} service S { rpc A(M) returns (stream M); }", "streams its responses differently"},
        Break{"java package changed", "option java_package = \"a\";", "option java_package = \"b\";",
              "option java_package was \"a\", is \"b\""}));

TEST(Compatibility, AFileMayNotGo) {
  EXPECT_THAT(BreakingChanges(ParseProtos({{"p/v1/f.proto", "syntax = \"proto3\"; package p.v1;"}}), {}, ""),
              ElementsAre(HasSubstr("p/v1/f.proto: file was removed")));
}
TEST(Compatibility, APackageMayNotBeRenamed) {
  EXPECT_THAT(BreakingChanges(ParseProtos({{"f.proto", "syntax = \"proto3\"; package p.v1;"}}),
                              ParseProtos({{"f.proto", "syntax = \"proto3\"; package q.v1;"}}), ""),
              ElementsAre(HasSubstr("package was p.v1, is q.v1")));
}
TEST(Compatibility, AnExtensionMayNotGo) {
  const std::string head = "syntax = \"proto3\"; package p.v1; import \"google/protobuf/descriptor.proto\";\n";
  const std::string descriptor = "syntax = \"proto2\"; package google.protobuf; message EnumValueOptions { extensions 1000 to max; }";
  const auto parse = [&](const std::string& body) {
    return ParseProtos({{"p/v1/f.proto", head + body}, {"google/protobuf/descriptor.proto", descriptor}});
  };
  EXPECT_THAT(BreakingChanges(parse("extend google.protobuf.EnumValueOptions { int32 a = 50001; }"), parse(""), "p."),
              ElementsAre(HasSubstr("extension p.v1.a was removed or changed")));
}

}  // namespace
}  // namespace flotilla::proto_test
