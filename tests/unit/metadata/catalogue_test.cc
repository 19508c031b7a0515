// Refusals and the public catalogue of errors say the same.
#include <gtest/gtest.h>

#include "flotilla/v1/errors.pb.h"
#include "server/metadata/refusal.h"

namespace flotilla::metadata {
namespace {

TEST(CatalogueTest, EveryRefusalIsInTheCatalogueWithItsCode) {
  const auto last = static_cast<int>(Refusal::kProtocolMismatch);
  for (int i = 1; i <= last; ++i) {
    const auto refusal = static_cast<Refusal>(i);
    const std::string name = "ERROR_REASON_" + std::string(RefusalName(refusal));
    const auto* value = v1::ErrorReason_descriptor()->FindValueByName(name);
    ASSERT_NE(value, nullptr) << name;
    EXPECT_EQ(value->options().GetExtension(v1::error_traits).code(), static_cast<int>(RefusalCode(refusal)))
        << name;
  }
}

TEST(CatalogueTest, ARefusalCarriesItsName) {
  const Status status = Refuse(Refusal::kTopicExists, "topic \"orders\" exists");
  EXPECT_EQ(RefusalOf(status), Refusal::kTopicExists);
  EXPECT_EQ(RefusalOf(Status(Reason::kNotLeader, "no")), Refusal::kNone);
  EXPECT_EQ(RefusalOf(Status()), Refusal::kNone);
}

}  // namespace
}  // namespace flotilla::metadata
