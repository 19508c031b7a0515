// The catalogue of errors, as programs read it.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <map>

#include "flotilla/v1/errors.pb.h"
#include "storage/base/status.h"
#include "tests/proto/proto_source.h"

namespace flotilla::proto_test {
namespace {

const std::map<int, std::string>& CodeNames() {
  static const std::map<int, std::string> kNames = {
      {1, "CANCELLED"},           {2, "UNKNOWN"},        {3, "INVALID_ARGUMENT"},  {4, "DEADLINE_EXCEEDED"},
      {5, "NOT_FOUND"},           {6, "ALREADY_EXISTS"}, {7, "PERMISSION_DENIED"}, {8, "RESOURCE_EXHAUSTED"},
      {9, "FAILED_PRECONDITION"}, {10, "ABORTED"},       {11, "OUT_OF_RANGE"},     {12, "UNIMPLEMENTED"},
      {13, "INTERNAL"},           {14, "UNAVAILABLE"},   {15, "DATA_LOSS"},        {16, "UNAUTHENTICATED"},
  };
  return kNames;
}

// The comment above each value of ErrorReason.
std::map<std::string, std::string> ReasonComments() {
  std::map<std::string, std::string> comments;
  const google::protobuf::FileDescriptorSet set = LoadDescriptors(FLOTILLA_DESCRIPTORS);
  for (const auto& file : set.file()) {
    if (file.name() != "flotilla/v1/errors.proto") continue;
    for (const auto& location : file.source_code_info().location()) {
      if (location.path_size() != 4 || location.path(0) != 5 || location.path(2) != 2) continue;
      const auto& enumeration = file.enum_type(location.path(1));
      if (enumeration.name() != "ErrorReason") continue;
      comments[enumeration.value(location.path(3)).name()] = location.leading_comments();
    }
  }
  return comments;
}

TEST(Catalogue, EveryReasonHasACodeAndAnAdvice) {
  const auto* reasons = v1::ErrorReason_descriptor();
  for (int i = 0; i < reasons->value_count(); ++i) {
    const auto* value = reasons->value(i);
    ASSERT_TRUE(value->options().HasExtension(v1::error_traits)) << value->name();
    const v1::ErrorTraits& traits = value->options().GetExtension(v1::error_traits);
    EXPECT_TRUE(CodeNames().count(traits.code())) << value->name() << " has the code " << traits.code();
    EXPECT_NE(traits.retry(), v1::RETRY_UNSPECIFIED) << value->name();
  }
}

TEST(Catalogue, EveryCommentBeginsWithTheCode) {
  const auto comments = ReasonComments();
  const auto* reasons = v1::ErrorReason_descriptor();
  for (int i = 0; i < reasons->value_count(); ++i) {
    const auto* value = reasons->value(i);
    const int code = value->options().GetExtension(v1::error_traits).code();
    ASSERT_TRUE(comments.count(value->name())) << value->name();
    EXPECT_THAT(comments.at(value->name()), ::testing::StartsWith(" " + CodeNames().at(code) + ". ")) << value->name();
  }
}

// UNAVAILABLE promises that nothing was applied: generic retry policies repeat it blindly.
TEST(Catalogue, UnavailableMeansNotApplied) {
  const auto* reasons = v1::ErrorReason_descriptor();
  for (int i = 0; i < reasons->value_count(); ++i) {
    const v1::ErrorTraits& traits = reasons->value(i)->options().GetExtension(v1::error_traits);
    if (traits.code() != 14) continue;
    EXPECT_EQ(traits.retry(), v1::RETRY_SAFE) << reasons->value(i)->name();
  }
}

// What storage and Raft report reaches clients under the same name.
TEST(Catalogue, HasEveryReasonOfTheLayersBelow) {
  for (int i = 1; i <= static_cast<int>(Reason::kCancelled); ++i) {
    const std::string name = "ERROR_REASON_" + std::string(ReasonName(static_cast<Reason>(i)));
    EXPECT_NE(v1::ErrorReason_descriptor()->FindValueByName(name), nullptr) << name << " is not in errors.proto";
  }
}

}  // namespace
}  // namespace flotilla::proto_test
