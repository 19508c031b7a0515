// Why something did not work, as a value: what the broker said (flotilla.v1.Error), or what happened on the way there.
//
//   if (Error error = client.Call(...); !error.ok()) {
//     if (error.reason() == reasons::kTopicNotFound) ...         // decide by reason or retry, never by the text
//     std::cerr << error.ToString() << "\n";
//   }
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include "storage/base/clock.h"

namespace flotilla::v1 {
class Error;
}

namespace flotilla::client {

// The canonical codes of gRPC, with its numbers.
enum class ErrorCode : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};
// "NOT_FOUND"; "CODE_99" for one there is no name for.
std::string CodeName(ErrorCode code);

enum class Retry {
  kSafe,          // nothing was applied: send it again
  kIfIdempotent,  // it may have been applied: send it again if a second time does no harm
  kNever,         // nothing was applied, and it fails again until something is changed
};

// Reasons are names: those of the catalogue in proto/flotilla/v1/errors.proto without ERROR_REASON_, and the client's own.
namespace reasons {
inline constexpr std::string_view kNotLeader = "NOT_LEADER";
inline constexpr std::string_view kNoLeader = "NO_LEADER";
inline constexpr std::string_view kNotInitialized = "NOT_INITIALIZED";
inline constexpr std::string_view kShuttingDown = "SHUTTING_DOWN";
inline constexpr std::string_view kDraining = "DRAINING";
inline constexpr std::string_view kTopicNotFound = "TOPIC_NOT_FOUND";
inline constexpr std::string_view kPartitionNotFound = "PARTITION_NOT_FOUND";
inline constexpr std::string_view kOutcomeUnknown = "OUTCOME_UNKNOWN";
inline constexpr std::string_view kDeadlineExceeded = "DEADLINE_EXCEEDED";
inline constexpr std::string_view kOutOfOrder = "OUT_OF_ORDER";
inline constexpr std::string_view kUnknownProducer = "UNKNOWN_PRODUCER";
inline constexpr std::string_view kFenced = "FENCED";
inline constexpr std::string_view kInvalidArgument = "INVALID_ARGUMENT";
inline constexpr std::string_view kLimitExceeded = "LIMIT_EXCEEDED";
inline constexpr std::string_view kCorruptMessage = "CORRUPT_MESSAGE";

// The client's own.
inline constexpr std::string_view kUnreachable = "UNREACHABLE";         // no connection: nothing was sent
inline constexpr std::string_view kConnectionLost = "CONNECTION_LOST";  // broke with the call on its way
inline constexpr std::string_view kTimedOut = "TIMED_OUT";              // waited as long as the caller allowed
inline constexpr std::string_view kBufferFull = "BUFFER_FULL";          // the producer's memory is used up
inline constexpr std::string_view kClosed = "CLOSED";                   // used after Close
}  // namespace reasons

class [[nodiscard]] Error {
 public:
  Error() = default;  // OK, costs nothing
  // `code` is not kOk.
  Error(ErrorCode code, std::string_view reason, Retry retry, std::string message);
  static Error From(const v1::Error& error);

  bool ok() const { return content_ == nullptr; }
  ErrorCode code() const { return content_ ? content_->code : ErrorCode::kOk; }
  std::string_view reason() const { return content_ ? std::string_view(content_->reason) : std::string_view(); }
  Retry retry() const { return content_ ? content_->retry : Retry::kSafe; }
  std::string_view message() const { return content_ ? std::string_view(content_->message) : std::string_view(); }
  // Do not try again before.
  Duration retry_after() const { return content_ ? content_->retry_after : Duration{}; }
  const std::map<std::string, std::string, std::less<>>& metadata() const;
  std::optional<std::string> Metadata(std::string_view key) const;

  // The same with words in front of the message that say where it happened.
  Error Prefixed(std::string_view where) const;
  // "TOPIC_NOT_FOUND: topic \"logs\" does not exist; create it first"; "OK".
  std::string ToString() const;

 private:
  struct Content {
    ErrorCode code = ErrorCode::kUnknown;
    std::string reason;
    Retry retry = Retry::kIfIdempotent;
    std::string message;
    Duration retry_after{};
    std::map<std::string, std::string, std::less<>> metadata;
  };
  std::shared_ptr<const Content> content_;
};

std::ostream& operator<<(std::ostream& out, const Error& error);

// A value, or why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}      // NOLINT(google-explicit-constructor): `return value;` reads well
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.has_value(); }
  const Error& error() const { return error_; }
  // The value must be there.
  T& operator*() & { return value_.value(); }
  const T& operator*() const& { return value_.value(); }
  T&& operator*() && { return std::move(value_).value(); }
  T* operator->() { return &value_.value(); }
  const T* operator->() const { return &value_.value(); }

 private:
  std::optional<T> value_;
  Error error_;
};

}  // namespace flotilla::client
