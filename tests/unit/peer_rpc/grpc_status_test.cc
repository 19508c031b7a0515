#include "server/rpc/grpc_status.h"

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/errors/refusal.h"

namespace flotilla::rpc {
namespace {

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}
template <typename Detail>
Detail Find(const grpc::Status& status) {
  Detail found;
  const google::rpc::Status details = DetailsOf(status);
  for (const auto& any : details.details()) {
    if (any.UnpackTo(&found)) return found;
  }
  ADD_FAILURE() << "no " << Detail::descriptor()->full_name();
  return found;
}

TEST(GrpcStatus, OkIsOk) { EXPECT_TRUE(ToGrpcStatus({}, nullptr).ok()); }

TEST(GrpcStatus, HasCodeTextAndErrorInfo) {
  const grpc::Status status = ToGrpcStatus(Status(Reason::kNotLeader, "node 2 leads").With("topic", "logs"), nullptr);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "node 2 leads");
  EXPECT_EQ(DetailsOf(status).code(), grpc::StatusCode::FAILED_PRECONDITION);
  const auto info = Find<google::rpc::ErrorInfo>(status);
  EXPECT_EQ(info.reason(), "NOT_LEADER");
  EXPECT_EQ(info.domain(), "flotilla");
  EXPECT_EQ(info.metadata().at("topic"), "logs");
}

TEST(GrpcStatus, SaysHowLongToWait) {
  const grpc::Status status = ToGrpcStatus(Status(Reason::kOverloaded, "wait").With("retry_after_ms", 1500), nullptr);
  const auto retry = Find<google::rpc::RetryInfo>(status);
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
}

TEST(GrpcStatus, NamesTheFieldAndTheResource) {
  const grpc::Status field = ToGrpcStatus(Status(Reason::kInvalidArgument, "bad name").With("field", "topic.name"), nullptr);
  EXPECT_EQ(Find<google::rpc::BadRequest>(field).field_violations(0).field(), "topic.name");
  const grpc::Status missing = ToGrpcStatus(Refuse(Refusal::kTopicNotFound, "no such topic").With("topic", "logs"), nullptr);
  EXPECT_EQ(Find<google::rpc::ResourceInfo>(missing).resource_type(), "topic");
  EXPECT_EQ(Find<google::rpc::ResourceInfo>(missing).resource_name(), "logs");
}

// Headers of more than 8 KiB would end the call with an error about headers instead.
TEST(GrpcStatus, CutsWhatHeadersCannotHold) {
  std::string text;
  while (text.size() < 100'000) text += "ä";
  const grpc::Status status = ToGrpcStatus(Status(Reason::kInvalidArgument, text).With("field", text), nullptr);
  EXPECT_LE(status.error_message().size(), 1024u);
  EXPECT_EQ(status.error_message().size() % 2, 0u) << "half a character";
  EXPECT_LE(Find<google::rpc::ErrorInfo>(status).metadata().at("field").size(), 1024u);
  EXPECT_LT(status.error_details().size(), 6000u);
}

Status Heard(grpc::StatusCode code) { return FromGrpcStatus(grpc::Status(code, "text"), grpc::ClientContext()); }
TEST(GrpcStatus, WithoutATrailerNobodyKnowsHowFarTheCallCame) {
  EXPECT_EQ(Heard(grpc::StatusCode::UNAVAILABLE).reason(), Reason::kOutcomeUnknown);
  EXPECT_EQ(Heard(grpc::StatusCode::UNKNOWN).reason(), Reason::kOutcomeUnknown);
  EXPECT_EQ(Heard(grpc::StatusCode::CANCELLED).reason(), Reason::kCancelled);
  EXPECT_EQ(RefusalOf(Heard(grpc::StatusCode::DEADLINE_EXCEEDED)), Refusal::kDeadlineExceeded);
  EXPECT_EQ(Heard(grpc::StatusCode::RESOURCE_EXHAUSTED).reason(), Reason::kLimitExceeded);
  EXPECT_EQ(RefusalOf(Heard(grpc::StatusCode::UNIMPLEMENTED)), Refusal::kUnsupported);
  EXPECT_EQ(RefusalOf(Heard(grpc::StatusCode::DATA_LOSS)), Refusal::kInternal);
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK, grpc::ClientContext()).ok());
}

}  // namespace
}  // namespace flotilla::rpc
