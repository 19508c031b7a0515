#include "storage/base/status.h"

#include <array>

namespace flotilla {
namespace {

struct ReasonRow {
  Reason reason;
  std::string_view name;
  Code code;
};

constexpr std::array kReasons = {
    ReasonRow{Reason::kNone, "NONE", Code::kOk},
    ReasonRow{Reason::kInvalidArgument, "INVALID_ARGUMENT", Code::kInvalidArgument},
    ReasonRow{Reason::kLimitExceeded, "LIMIT_EXCEEDED", Code::kInvalidArgument},
    ReasonRow{Reason::kNotLeader, "NOT_LEADER", Code::kUnavailable},
    ReasonRow{Reason::kNoLeader, "NO_LEADER", Code::kUnavailable},
    ReasonRow{Reason::kTransferring, "TRANSFERRING", Code::kUnavailable},
    ReasonRow{Reason::kOverloaded, "OVERLOADED", Code::kResourceExhausted},
    ReasonRow{Reason::kOutcomeUnknown, "OUTCOME_UNKNOWN", Code::kUnavailable},
    ReasonRow{Reason::kConfigurationPending, "CONFIGURATION_PENDING", Code::kFailedPrecondition},
    ReasonRow{Reason::kNotCaughtUp, "NOT_CAUGHT_UP", Code::kFailedPrecondition},
    ReasonRow{Reason::kIllegalConfiguration, "ILLEGAL_CONFIGURATION", Code::kInvalidArgument},
    ReasonRow{Reason::kGroupNotFound, "GROUP_NOT_FOUND", Code::kNotFound},
    ReasonRow{Reason::kGroupExists, "GROUP_EXISTS", Code::kAlreadyExists},
    ReasonRow{Reason::kOffsetOutOfRange, "OFFSET_OUT_OF_RANGE", Code::kOutOfRange},
    ReasonRow{Reason::kTrimmed, "TRIMMED", Code::kOutOfRange},
    ReasonRow{Reason::kDiskFull, "DISK_FULL", Code::kResourceExhausted},
    ReasonRow{Reason::kStorageFailed, "STORAGE_FAILED", Code::kInternal},
    ReasonRow{Reason::kDataLoss, "DATA_LOSS", Code::kDataLoss},
    ReasonRow{Reason::kDirectoryLocked, "DIRECTORY_LOCKED", Code::kFailedPrecondition},
    ReasonRow{Reason::kDirectoryMismatch, "DIRECTORY_MISMATCH", Code::kFailedPrecondition},
    ReasonRow{Reason::kDirectoryUnusable, "DIRECTORY_UNUSABLE", Code::kFailedPrecondition},
    ReasonRow{Reason::kReplicaFaulted, "REPLICA_FAULTED", Code::kDataLoss},
    ReasonRow{Reason::kCorruptMessage, "CORRUPT_MESSAGE", Code::kInvalidArgument},
    ReasonRow{Reason::kShuttingDown, "SHUTTING_DOWN", Code::kUnavailable},
    ReasonRow{Reason::kCancelled, "CANCELLED", Code::kCancelled},
};

constexpr bool RowsStandAtTheirReason() {
  for (size_t i = 0; i < kReasons.size(); ++i) {
    if (static_cast<size_t>(kReasons[i].reason) != i) return false;
  }
  return true;
}
static_assert(RowsStandAtTheirReason());

const ReasonRow& Row(Reason reason) {
  const auto at = static_cast<size_t>(reason);
  CHECK_LT(at, kReasons.size());
  return kReasons[at];
}

}  // namespace

std::string_view ReasonName(Reason reason) { return Row(reason).name; }

Code CodeOf(Reason reason) { return Row(reason).code; }

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kOk: return "OK";
    case Code::kCancelled: return "CANCELLED";
    case Code::kInvalidArgument: return "INVALID_ARGUMENT";
    case Code::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case Code::kNotFound: return "NOT_FOUND";
    case Code::kAlreadyExists: return "ALREADY_EXISTS";
    case Code::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case Code::kFailedPrecondition: return "FAILED_PRECONDITION";
    case Code::kAborted: return "ABORTED";
    case Code::kOutOfRange: return "OUT_OF_RANGE";
    case Code::kUnimplemented: return "UNIMPLEMENTED";
    case Code::kInternal: return "INTERNAL";
    case Code::kUnavailable: return "UNAVAILABLE";
    case Code::kDataLoss: return "DATA_LOSS";
  }
  return "UNKNOWN";
}

Status::Status(Reason reason, std::string message) {
  CHECK(reason != Reason::kNone) << message;
  detail_ = std::make_shared<const Content>(Content{reason, std::move(message), {}});
}

Status Status::With(std::string key, std::string value) const {
  CHECK(!ok()) << "a detail on OK: " << key;
  Content copy = *detail_;
  copy.details.emplace_back(std::move(key), std::move(value));
  Status status;
  status.detail_ = std::make_shared<const Content>(std::move(copy));
  return status;
}

std::optional<std::string> Status::Detail(std::string_view key) const {
  if (ok()) return std::nullopt;
  for (const auto& [name, value] : detail_->details) {
    if (name == key) return value;
  }
  return std::nullopt;
}

std::vector<std::pair<std::string, std::string>> Status::details() const {
  if (ok()) return {};
  return detail_->details;
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  std::string text(ReasonName(reason()));
  text += ": ";
  text += message();
  if (!detail_->details.empty()) {
    text += " [";
    for (const auto& [name, value] : detail_->details) {
      if (text.back() != '[') text += ' ';
      text += name + "=" + value;
    }
    text += "]";
  }
  return text;
}

std::ostream& operator<<(std::ostream& out, const Status& status) { return out << status.ToString(); }

}  // namespace flotilla
