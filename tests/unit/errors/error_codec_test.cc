#include "server/errors/error_codec.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "server/errors/refusal.h"

namespace flotilla {
namespace {

using google::protobuf::util::MessageDifferencer;
using ::testing::ElementsAre;
using ::testing::Pair;

v1::Error EntryOf(v1::ErrorReason reason) {
  const auto& traits = v1::ErrorReason_descriptor()->FindValueByNumber(reason)->options().GetExtension(v1::error_traits);
  v1::Error error;
  error.set_code(traits.code());
  error.set_reason(reason);
  error.set_retry(traits.retry());
  error.set_message("what, which value, what to do");
  error.set_retry_after_ms(DefaultRetryAfterMs(reason));
  return error;
}

TEST(ErrorCodecTest, EveryEntryOfTheCatalogueSurvivesBothWays) {
  const auto* catalogue = v1::ErrorReason_descriptor();
  for (int i = 0; i < catalogue->value_count(); ++i) {
    v1::Error error = EntryOf(static_cast<v1::ErrorReason>(catalogue->value(i)->number()));
    (*error.mutable_metadata())["topic"] = "orders";
    for (const int64_t wait_ms : {error.retry_after_ms(), int64_t{0}, int64_t{77}}) {
      error.set_retry_after_ms(wait_ms);
      const v1::Error again = ToError(ToStatus(error));
      EXPECT_TRUE(MessageDifferencer::Equals(error, again)) << error.DebugString() << "became " << again.DebugString();
    }
  }
}

TEST(ErrorCodecTest, AReasonAndARefusalComeBackAsWhatTheyWere) {
  EXPECT_EQ(ToStatus(ToError(Status(Reason::kNotLeader, "node 2 leads"))).reason(), Reason::kNotLeader);
  EXPECT_EQ(RefusalOf(ToStatus(ToError(Refuse(Refusal::kFenced, "epoch 3 is at work")))), Refusal::kFenced);
}

TEST(ErrorCodecTest, ClientsSeeTheCataloguesCode) {
  EXPECT_EQ(ToError(Status(Reason::kNotLeader, "node 2 leads")).code(), 9);
  EXPECT_EQ(ToError(Status(Reason::kOutcomeUnknown, "the leader was lost")).code(), 2);
  EXPECT_EQ(ToError(Refuse(Refusal::kPermissionDenied, "alice may not")).retry(), v1::RETRY_NEVER);
}

TEST(ErrorCodecTest, DetailsBecomeMetadataAndInstructionsDoNot) {
  const v1::Error error = ToError(
      Refuse(Refusal::kTopicNotFound, "there is no topic \"a\"").With("topic", "a").With("topic", "b").With("retry_after_ms", uint64_t{5}));
  EXPECT_EQ(error.reason(), v1::ERROR_REASON_TOPIC_NOT_FOUND);
  EXPECT_EQ(error.message(), "there is no topic \"a\"");
  EXPECT_EQ(error.retry_after_ms(), 5);
  EXPECT_THAT(error.metadata(), ElementsAre(Pair("topic", "a")));
}

TEST(ErrorCodecTest, WaitsWhereWaitingHelps) {
  EXPECT_EQ(ToError(Status(Reason::kNoLeader, "an election")).retry_after_ms(), 100);
  EXPECT_EQ(ToError(Status(Reason::kDiskFull, "full")).retry_after_ms(), 5000);
  EXPECT_EQ(ToError(Status(Reason::kInvalidArgument, "wrong")).retry_after_ms(), 0);
}

TEST(ErrorCodecTest, AReasonOfANewerPeerIsPassedOnAsItCame) {
  v1::Error error;
  error.set_code(9);
  error.set_reason(static_cast<v1::ErrorReason>(64));
  error.set_retry(v1::RETRY_NEVER);
  error.set_message("the transaction is over");
  (*error.mutable_metadata())["transaction"] = "12";
  const Status status = ToStatus(error);
  EXPECT_EQ(status.message(), "the transaction is over");
  EXPECT_EQ(status.reason(), Reason::kInvalidArgument);  // it fails again
  EXPECT_TRUE(MessageDifferencer::Equals(error, ToError(status))) << ToError(status).DebugString();
}

TEST(ErrorCodecTest, WhatANewerPeerSaysIsTakenByItsRetry) {
  v1::Error error;
  error.set_code(14);
  error.set_reason(static_cast<v1::ErrorReason>(9999));
  error.set_retry(v1::RETRY_SAFE);
  EXPECT_EQ(ToStatus(error).reason(), Reason::kNoLeader);
  error.set_retry(v1::RETRY_IF_IDEMPOTENT);
  EXPECT_EQ(ToStatus(error).reason(), Reason::kOutcomeUnknown);
  error.set_retry(v1::RETRY_UNSPECIFIED);
  EXPECT_EQ(ToStatus(error).reason(), Reason::kOutcomeUnknown);
}

TEST(ErrorCodecTest, APeerCannotSpeakThroughDetailsThatSteerUs) {
  v1::Error error = EntryOf(v1::ERROR_REASON_FENCED);
  (*error.mutable_metadata())["refusal"] = "TOPIC_EXISTS";
  (*error.mutable_metadata())["foreign_reason"] = "1";
  EXPECT_EQ(RefusalOf(ToStatus(error)), Refusal::kFenced);
  EXPECT_EQ(ToError(ToStatus(error)).reason(), v1::ERROR_REASON_FENCED);
}

TEST(ErrorCodecTest, AnEmptyErrorIsABug) { EXPECT_EQ(RefusalOf(ToStatus(v1::Error())), Refusal::kInternal); }

}  // namespace
}  // namespace flotilla
