// Reasons, refusals and the public catalogue of errors say the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "flotilla/v1/errors.pb.h"
#include "server/errors/refusal.h"

namespace flotilla {
namespace {

// What a replica says with another code than clients see: it knows nothing of forwarding, and gRPC's UNAVAILABLE promises
// clients that nothing was applied.
const std::set<std::string> kOtherCodeForClients = {"NOT_LEADER", "OUTCOME_UNKNOWN"};

std::vector<Reason> Reasons() {
  std::vector<Reason> all;
  for (int i = 1; i <= static_cast<int>(Reason::kCancelled); ++i) all.push_back(static_cast<Reason>(i));
  return all;
}

std::vector<Refusal> Refusals() {
  std::vector<Refusal> all;
  for (int i = 1; i <= static_cast<int>(kLastRefusal); ++i) all.push_back(static_cast<Refusal>(i));
  return all;
}

const google::protobuf::EnumValueDescriptor* Entry(std::string_view name) {
  return v1::ErrorReason_descriptor()->FindValueByName("ERROR_REASON_" + std::string(name));
}

int CodeIn(const google::protobuf::EnumValueDescriptor& entry) { return entry.options().GetExtension(v1::error_traits).code(); }

TEST(CatalogueTest, EveryRefusalIsInTheCatalogueWithItsCode) {
  for (const Refusal refusal : Refusals()) {
    const auto* entry = Entry(RefusalName(refusal));
    ASSERT_NE(entry, nullptr) << RefusalName(refusal);
    EXPECT_EQ(CodeIn(*entry), RefusalCode(refusal)) << entry->name();
  }
}

TEST(CatalogueTest, EveryReasonIsInTheCatalogueWithItsCodeButTwo) {
  for (const Reason reason : Reasons()) {
    const std::string name(ReasonName(reason));
    const auto* entry = Entry(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_EQ(CodeIn(*entry) != static_cast<int>(CodeOf(reason)), kOtherCodeForClients.count(name) == 1) << name;
  }
}

TEST(CatalogueTest, EveryEntryIsAReasonOrARefusalAndNotBoth) {
  std::multiset<std::string> ours;
  for (const Reason reason : Reasons()) ours.emplace(ReasonName(reason));
  for (const Refusal refusal : Refusals()) ours.emplace(RefusalName(refusal));
  const auto* catalogue = v1::ErrorReason_descriptor();
  for (int i = 0; i < catalogue->value_count(); ++i) {
    if (catalogue->value(i)->number() == v1::ERROR_REASON_UNSPECIFIED) continue;
    const std::string name = catalogue->value(i)->name().substr(std::string("ERROR_REASON_").size());
    EXPECT_EQ(ours.count(name), 1U) << name;
  }
}

TEST(RefusalTest, CarriesItsName) {
  const Status status = Refuse(Refusal::kTopicExists, "topic \"orders\" exists");
  EXPECT_EQ(RefusalOf(status), Refusal::kTopicExists);
  EXPECT_EQ(status.message(), "topic \"orders\" exists");
  EXPECT_EQ(RefusalOf(Status(Reason::kNotLeader, "no")), Refusal::kNone);
  EXPECT_EQ(RefusalOf(Status()), Refusal::kNone);
}

TEST(RefusalTest, IsFoundByItsNameAndNoneIsNoRefusal) {
  EXPECT_EQ(RefusalByName("FENCED"), Refusal::kFenced);
  EXPECT_EQ(RefusalByName("NONE"), std::nullopt);
  EXPECT_EQ(RefusalByName("fenced"), std::nullopt);
}

TEST(RefusalTest, QuotesWhatCannotBePrinted) {
  EXPECT_EQ(Quoted("a \"b\"\n"), "\"a \\\"b\\\"\\x0a\"");
  EXPECT_EQ(Quoted(std::string(65, 'x')), "\"" + std::string(64, 'x') + "\"...");
}

}  // namespace
}  // namespace flotilla
