#include "server/rpc/grpc_status.h"

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/errors/error_codec.h"
#include "server/errors/refusal.h"

namespace flotilla::rpc {
namespace {

// All headers of a call together must stay below 8 KiB, gRPC's default; the text travels three times, twice
// of it in base64.
constexpr size_t kTextBytesMax = 1024;
constexpr size_t kDetailsBytesMax = 1024;

// The longest part of `text` that fits and does not end inside of a UTF-8 character.
std::string Shortened(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end));
}

v1::Error Bounded(v1::Error error) {
  error.set_message(Shortened(error.message(), kTextBytesMax));
  size_t bytes = 0;
  for (const auto& [key, value] : error.metadata()) bytes += key.size() + value.size();
  if (bytes <= kDetailsBytesMax) return error;
  // Long ones go first: ids and numbers, which programs look at, are short.
  const size_t share = kDetailsBytesMax / error.metadata().size();
  for (auto& [key, value] : *error.mutable_metadata()) {
    value = Shortened(value, share > key.size() ? share - key.size() : 0);
  }
  return error;
}

std::string ReasonText(const v1::Error& error) {
  const std::string name = v1::ErrorReason_Name(error.reason());
  constexpr std::string_view kPrefix = "ERROR_REASON_";
  return name.size() > kPrefix.size() ? name.substr(kPrefix.size()) : "UNSPECIFIED";
}

std::string Metadata(const v1::Error& error, const char* key) {
  const auto found = error.metadata().find(key);
  return found == error.metadata().end() ? std::string() : found->second;
}

void AddErrorInfo(const v1::Error& error, google::rpc::Status* status) {
  google::rpc::ErrorInfo info;
  info.set_reason(ReasonText(error));
  info.set_domain("flotilla");
  *info.mutable_metadata() = error.metadata();
  status->add_details()->PackFrom(info);
}

void AddRetryInfo(const v1::Error& error, google::rpc::Status* status) {
  if (error.retry_after_ms() <= 0) return;
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(error.retry_after_ms() / 1000);
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(error.retry_after_ms() % 1000) * 1'000'000);
  status->add_details()->PackFrom(retry);
}

void AddBadRequest(const v1::Error& error, google::rpc::Status* status) {
  if (error.reason() != v1::ERROR_REASON_INVALID_ARGUMENT && error.reason() != v1::ERROR_REASON_LIMIT_EXCEEDED) return;
  google::rpc::BadRequest request;
  auto* violation = request.add_field_violations();
  violation->set_field(Metadata(error, "field"));
  violation->set_description(error.message());
  status->add_details()->PackFrom(request);
}

void AddResourceInfo(const v1::Error& error, google::rpc::Status* status) {
  if (error.code() != grpc::StatusCode::NOT_FOUND) return;
  google::rpc::ResourceInfo resource;
  for (const char* type : {"partition", "topic", "node_id", "group", "subscription_id"}) {
    if (!error.metadata().contains(type)) continue;
    resource.set_resource_type(type);
    resource.set_resource_name(Metadata(error, type));
    if (type == std::string_view("partition")) resource.set_resource_name(Metadata(error, "topic") + "/" + Metadata(error, type));
    break;
  }
  status->add_details()->PackFrom(resource);
}

std::string DetailsOf(const v1::Error& error) {
  google::rpc::Status status;
  status.set_code(error.code());
  status.set_message(error.message());
  AddErrorInfo(error, &status);
  AddRetryInfo(error, &status);
  AddBadRequest(error, &status);
  AddResourceInfo(error, &status);
  return status.SerializeAsString();
}

std::optional<v1::Error> TrailerOf(const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find(kErrorTrailer);
  v1::Error error;
  if (found == trailers.end()) return std::nullopt;
  const auto size = static_cast<int>(found->second.size());
  if (!error.ParseFromArray(found->second.data(), size)) return std::nullopt;
  return error;
}

Status OfGrpcItself(const grpc::Status& status) {
  const std::string text = "gRPC: " + status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::ABORTED: return Status(Reason::kOutcomeUnknown, text);
    case grpc::StatusCode::CANCELLED: return Status(Reason::kCancelled, text);
    case grpc::StatusCode::DEADLINE_EXCEEDED: return Refuse(Refusal::kDeadlineExceeded, text);
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return Status(Reason::kLimitExceeded, text);
    case grpc::StatusCode::UNIMPLEMENTED: return Refuse(Refusal::kUnsupported, text);
    case grpc::StatusCode::UNAUTHENTICATED: return Refuse(Refusal::kUnauthenticated, text);
    case grpc::StatusCode::PERMISSION_DENIED: return Refuse(Refusal::kPermissionDenied, text);
    default: return Refuse(Refusal::kInternal, text + " (code " + std::to_string(status.error_code()) + ")");
  }
}

}  // namespace

grpc::Status ToGrpcStatus(const Status& status, grpc::CallbackServerContext* to_add_trailers) {
  if (status.ok()) return grpc::Status::OK;
  const v1::Error error = Bounded(ToError(status));
  if (to_add_trailers != nullptr) to_add_trailers->AddTrailingMetadata(kErrorTrailer, error.SerializeAsString());
  return grpc::Status(static_cast<grpc::StatusCode>(error.code()), error.message(), DetailsOf(error));
}

bool HasErrorTrailer(const grpc::ClientContext& context) { return TrailerOf(context).has_value(); }

Status FromGrpcStatus(const grpc::Status& status, const grpc::ClientContext& context) {
  if (status.ok()) return {};
  if (const std::optional<v1::Error> error = TrailerOf(context)) return ToStatus(*error);
  return OfGrpcItself(status);
}

}  // namespace flotilla::rpc
