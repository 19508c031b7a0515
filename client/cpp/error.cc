#include "client/cpp/error.h"

#include <algorithm>
#include <array>

#include "flotilla/v1/errors.pb.h"

namespace flotilla::client {
namespace {

// No broker asks for more; whoever does is not waited for.
constexpr std::chrono::milliseconds kRetryAfterMax = std::chrono::minutes(1);

constexpr std::array<std::string_view, 17> kCodeNames = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

Retry RetryOf(v1::Retry retry) {
  switch (retry) {
    case v1::RETRY_SAFE: return Retry::kSafe;
    case v1::RETRY_NEVER: return Retry::kNever;
    default: return Retry::kIfIdempotent;  // also what a newer broker may say
  }
}

// A newer broker's reasons have no name here; their number tells at least which it is.
std::string ReasonOf(v1::ErrorReason reason) {
  constexpr std::string_view kPrefix = "ERROR_REASON_";
  const std::string& name = v1::ErrorReason_Name(reason);
  if (name.empty()) return "REASON_" + std::to_string(static_cast<int>(reason));
  return name.substr(kPrefix.size());
}

}  // namespace

std::string CodeName(ErrorCode code) {
  const auto number = static_cast<size_t>(code);
  if (number < kCodeNames.size()) return std::string(kCodeNames[number]);
  return "CODE_" + std::to_string(static_cast<int>(code));
}

Error::Error(ErrorCode code, std::string_view reason, Retry retry, std::string message)
    : content_(std::make_shared<const Content>(
          Content{.code = code, .reason = std::string(reason), .retry = retry, .message = std::move(message)})) {}

Error Error::From(const v1::Error& error) {
  Content content{
      .code = static_cast<ErrorCode>(error.code()),
      .reason = ReasonOf(error.reason()),
      .retry = RetryOf(error.retry()),
      .message = error.message(),
      .retry_after = std::clamp(std::chrono::milliseconds(error.retry_after_ms()), std::chrono::milliseconds(0), kRetryAfterMax)};
  if (content.code == ErrorCode::kOk) content.code = ErrorCode::kUnknown;  // an error is never OK
  for (const auto& [key, value] : error.metadata()) content.metadata.emplace(key, value);
  Error result;
  result.content_ = std::make_shared<const Content>(std::move(content));
  return result;
}

const std::map<std::string, std::string, std::less<>>& Error::metadata() const {
  static const std::map<std::string, std::string, std::less<>> kNone;
  return content_ ? content_->metadata : kNone;
}

std::optional<std::string> Error::Metadata(std::string_view key) const {
  const auto it = metadata().find(key);
  if (it == metadata().end()) return std::nullopt;
  return it->second;
}

Error Error::Prefixed(std::string_view where) const {
  if (ok()) return *this;
  Content content = *content_;
  content.message = std::string(where) + ": " + content.message;
  Error result;
  result.content_ = std::make_shared<const Content>(std::move(content));
  return result;
}

std::string Error::ToString() const {
  if (ok()) return "OK";
  return content_->reason + ": " + content_->message;
}

std::ostream& operator<<(std::ostream& out, const Error& error) { return out << error.ToString(); }

}  // namespace flotilla::client
