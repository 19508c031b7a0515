#include "server/errors/error_codec.h"

#include <charconv>
#include <map>
#include <string>

#include "server/errors/refusal.h"

namespace flotilla {
namespace {

constexpr std::string_view kPrefix = "ERROR_REASON_";
constexpr std::string_view kRefusalDetail = "refusal";
constexpr std::string_view kRetryAfterDetail = "retry_after_ms";
// Of a reason that this version does not know: the three numbers of its Error. Details of nobody else are called so.
constexpr std::string_view kForeignReason = "foreign_reason";
constexpr std::string_view kForeignCode = "foreign_code";
constexpr std::string_view kForeignRetry = "foreign_retry";

bool IsOurs(std::string_view detail) {
  return detail == kRefusalDetail || detail == kRetryAfterDetail || detail == kForeignReason || detail == kForeignCode ||
         detail == kForeignRetry;
}

std::optional<int64_t> NumberIn(const Status& status, std::string_view detail) {
  const std::optional<std::string> text = status.Detail(detail);
  if (!text) return std::nullopt;
  int64_t number = 0;
  const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (failed != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return number;
}

// Without its prefix; empty for a number that the catalogue does not have, and for UNSPECIFIED.
std::string_view NameOf(v1::ErrorReason reason) {
  if (reason == v1::ERROR_REASON_UNSPECIFIED) return {};
  const auto* value = v1::ErrorReason_descriptor()->FindValueByNumber(reason);
  return value == nullptr ? std::string_view() : std::string_view(value->name()).substr(kPrefix.size());
}

const v1::ErrorTraits& TraitsOf(v1::ErrorReason reason) {
  const auto* value = v1::ErrorReason_descriptor()->FindValueByNumber(reason);
  CHECK(value != nullptr) << reason;
  return value->options().GetExtension(v1::error_traits);
}

std::optional<Reason> BaseReasonByName(std::string_view name) {
  for (int i = 1; i <= static_cast<int>(Reason::kCancelled); ++i) {
    if (ReasonName(static_cast<Reason>(i)) == name) return static_cast<Reason>(i);
  }
  return std::nullopt;
}

// A stand-in for a reason without a name here. Callers decide by reason, so it errs to the careful side: what we cannot place
// may have been applied.
Reason NearestTo(const v1::Error& error) {
  if (error.retry() == v1::RETRY_SAFE) return error.code() == 8 ? Reason::kOverloaded : Reason::kNoLeader;
  if (error.retry() == v1::RETRY_NEVER) {
    return error.code() == 15 ? Reason::kDataLoss : Reason::kInvalidArgument;
  }
  return error.code() == 1 ? Reason::kCancelled : Reason::kOutcomeUnknown;
}

Status Unexplained(const v1::Error& error) {
  if (error.code() == 0 && error.reason() == v1::ERROR_REASON_UNSPECIFIED) {
    return Refuse(Refusal::kInternal, "an error without code and reason: " + Quoted(error.message()));
  }
  return Status(NearestTo(error), error.message())
      .With(std::string(kForeignReason), std::to_string(static_cast<int>(error.reason())))
      .With(std::string(kForeignCode), std::to_string(error.code()))
      .With(std::string(kForeignRetry), std::to_string(static_cast<int>(error.retry())));
}

Status NamedStatus(const v1::Error& error) {
  const std::string_view name = NameOf(error.reason());
  if (name.empty()) return Unexplained(error);
  if (const auto reason = BaseReasonByName(name)) return Status(*reason, error.message());
  if (const auto refusal = RefusalByName(name)) return Refuse(*refusal, error.message());
  return Unexplained(error);
}

}  // namespace

v1::ErrorReason ReasonOf(const Status& status) {
  CHECK(!status.ok());
  if (const auto foreign = NumberIn(status, kForeignReason)) return static_cast<v1::ErrorReason>(*foreign);
  const Refusal refusal = RefusalOf(status);
  const std::string_view name = refusal == Refusal::kNone ? ReasonName(status.reason()) : RefusalName(refusal);
  v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
  const bool known = v1::ErrorReason_Parse(std::string(kPrefix).append(name), &reason);
  LOG_IF(ERROR, !known) << "event=reason_without_entry name=" << name << " status=\"" << status << "\"";
  return reason;
}

v1::Error ToError(const Status& status) {
  v1::Error error;
  const v1::ErrorReason reason = ReasonOf(status);
  error.set_reason(reason);
  if (const auto code = NumberIn(status, kForeignCode)) {
    error.set_code(static_cast<int32_t>(*code));
    error.set_retry(static_cast<v1::Retry>(NumberIn(status, kForeignRetry).value_or(0)));
  } else {
    error.set_code(TraitsOf(reason).code());
    error.set_retry(TraitsOf(reason).retry());
  }
  error.set_message(std::string(status.message()));
  for (auto& [name, value] : status.details()) {
    if (!IsOurs(name)) error.mutable_metadata()->insert({name, value});
  }
  error.set_retry_after_ms(NumberIn(status, kRetryAfterDetail).value_or(DefaultRetryAfterMs(reason)));
  return error;
}

Status ToStatus(const v1::Error& error) {
  Status status = NamedStatus(error);
  // Sorted: a protobuf map has another order in each run.
  const std::map<std::string, std::string> metadata(error.metadata().begin(), error.metadata().end());
  for (const auto& [name, value] : metadata) {
    if (!IsOurs(name)) status = status.With(name, value);
  }
  if (error.retry_after_ms() == DefaultRetryAfterMs(error.reason())) return status;
  return status.With(std::string(kRetryAfterDetail), std::to_string(error.retry_after_ms()));
}

int64_t DefaultRetryAfterMs(v1::ErrorReason reason) {
  switch (reason) {
    case v1::ERROR_REASON_TRANSFERRING: return 50;            // as long as a hand-over takes
    case v1::ERROR_REASON_NO_LEADER: return 100;              // some heartbeats
    case v1::ERROR_REASON_CONFIGURATION_PENDING: return 100;  // a commit or two
    case v1::ERROR_REASON_OVERLOADED: return 200;             // what is queued takes about that
    case v1::ERROR_REASON_NOT_CAUGHT_UP: return 1'000;        // a learner's next report
    case v1::ERROR_REASON_NOT_INITIALIZED: return 1'000;      // somebody has to do something
    case v1::ERROR_REASON_TOO_MANY_STREAMS: return 1'000;     // others have to leave
    case v1::ERROR_REASON_SLOW_CONSUMER: return 1'000;        // nobody waits for it
    case v1::ERROR_REASON_DISK_FULL: return 5'000;            // retention, or an operator
    default: return 0;
  }
}

}  // namespace flotilla
