// What can go wrong, as a value.
//
//   Status s = log.Read(...);
//   if (!s.ok()) return s;                         // pass it on
//   if (s.reason() == Reason::kDiskFull) ...       // decide by reason, never by text
//
//   return Status(Reason::kDiskFull, "12 MiB free of a reserve of 64 MiB; free space or add a disk")
//       .With("free_bytes", 12 << 20);
//
// A Reason is a stable name; each has one Code (the canonical gRPC code). The text is for people: it says what, with
// which value, and what to do.
#pragma once

#include <glog/logging.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace flotilla {

// The canonical codes of gRPC, with its numbers.
enum class Code : uint8_t {
  kOk = 0,
  kCancelled = 1,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
};

enum class Reason : uint8_t {
  kNone,                  // OK
  kInvalidArgument,       // the caller's value is wrong
  kLimitExceeded,         // the caller's value is above a limit
  kNotLeader,             // not applied: this replica does not lead
  kNoLeader,              // not applied: nobody leads at the moment
  kTransferring,          // not applied: the leadership is being handed over
  kOverloaded,            // not applied: too many uncommitted bytes; retry later
  kOutcomeUnknown,        // maybe applied
  kConfigurationPending,  // a membership change is under way, or this leader has not yet committed in its own term
  kNotCaughtUp,           // a learner lags too far behind to become a voter
  kIllegalConfiguration,  // a membership change that would leave no voter, or that names an unknown replica
  kGroupNotFound,
  kGroupExists,
  kOffsetOutOfRange,   // before the start or after the end of the log
  kTrimmed,            // the log no longer holds what was asked for
  kDiskFull,           // below the reserve: appends are refused, trims and votes go on
  kStorageFailed,      // a write or sync failed; final for this process
  kDataLoss,           // what was once synced is missing or damaged
  kDirectoryLocked,    // another process owns the data directory
  kDirectoryMismatch,  // the data directory is of another format, cluster or node
  kDirectoryUnusable,  // the data directory cannot be read or written
  kReplicaFaulted,     // this replica has stopped taking part; the text says why
  kCorruptMessage,     // bytes from outside that do not decode
  kShuttingDown,
  kCancelled,
};

// "NOT_LEADER" and the like: the stable name.
std::string_view ReasonName(Reason reason);
Code CodeOf(Reason reason);
std::string_view CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // OK, costs nothing
  // `reason` is not kNone.
  Status(Reason reason, std::string message);

  bool ok() const { return detail_ == nullptr; }
  Reason reason() const { return detail_ ? detail_->reason : Reason::kNone; }
  Code code() const { return CodeOf(reason()); }
  std::string_view message() const { return detail_ ? std::string_view(detail_->message) : std::string_view(); }

  // Adds a machine-readable detail. Not on an OK status.
  Status With(std::string key, std::string value) const;
  Status With(std::string key, uint64_t value) const { return With(std::move(key), std::to_string(value)); }
  std::optional<std::string> Detail(std::string_view key) const;
  std::vector<std::pair<std::string, std::string>> details() const;

  // "DISK_FULL: 12 MiB free ... [free_bytes=12582912]"; "OK".
  std::string ToString() const;

 private:
  struct Content {
    Reason reason;
    std::string message;
    std::vector<std::pair<std::string, std::string>> details;
  };
  std::shared_ptr<const Content> detail_;
};

std::ostream& operator<<(std::ostream& out, const Status& status);

// A value, or the reason why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor): `return value;` reads well
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    CHECK(!status_.ok()) << "a Result without a value needs a reason";
  }
  // A result of something that converts, such as a unique_ptr to a derived class.
  template <typename U>
  requires(!std::is_same_v<U, T> && std::is_convertible_v<U, T>) Result(Result<U> other) {  // NOLINT(google-explicit-constructor)
    if (other.ok()) {
      value_.emplace(*std::move(other));
    } else {
      status_ = other.status();
    }
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  // The value must be there.
  T& operator*() & { return Value(); }
  const T& operator*() const& { return const_cast<Result*>(this)->Value(); }
  T&& operator*() && { return std::move(Value()); }
  T* operator->() { return &Value(); }
  const T* operator->() const { return &const_cast<Result*>(this)->Value(); }

 private:
  T& Value() {
    CHECK(value_.has_value()) << status_;
    return *value_;
  }
  std::optional<T> value_;
  Status status_;
};

}  // namespace flotilla

#define FLOTILLA_RETURN_IF_ERROR(expression)                                                                 \
  do {                                                                                                       \
    if (::flotilla::Status flotilla_status_ = (expression); !flotilla_status_.ok()) return flotilla_status_; \
  } while (false)
