#include "server/errors/refusal.h"

#include <array>

namespace flotilla {
namespace {

constexpr char kDetail[] = "refusal";

// google.rpc.Code; flotilla::Code lacks the last two.
constexpr int kInvalidArgument = 3;
constexpr int kDeadlineExceeded = 4;
constexpr int kNotFound = 5;
constexpr int kAlreadyExists = 6;
constexpr int kPermissionDenied = 7;
constexpr int kResourceExhausted = 8;
constexpr int kFailedPrecondition = 9;
constexpr int kAborted = 10;
constexpr int kUnimplemented = 12;
constexpr int kInternal = 13;
constexpr int kUnavailable = 14;
constexpr int kUnauthenticated = 16;

struct RefusalRow {
  Refusal refusal;
  std::string_view name;
  int code;
};

constexpr std::array kRefusals = {
    RefusalRow{Refusal::kNone, "NONE", 0},
    RefusalRow{Refusal::kRequestIdReused, "REQUEST_ID_REUSED", kInvalidArgument},
    RefusalRow{Refusal::kUnknownConfig, "UNKNOWN_CONFIG", kInvalidArgument},
    RefusalRow{Refusal::kNotInitialized, "NOT_INITIALIZED", kUnavailable},
    RefusalRow{Refusal::kAlreadyInitialized, "ALREADY_INITIALIZED", kAlreadyExists},
    RefusalRow{Refusal::kTopicExists, "TOPIC_EXISTS", kAlreadyExists},
    RefusalRow{Refusal::kTopicNotFound, "TOPIC_NOT_FOUND", kNotFound},
    RefusalRow{Refusal::kPartitionNotFound, "PARTITION_NOT_FOUND", kNotFound},
    RefusalRow{Refusal::kNodeNotFound, "NODE_NOT_FOUND", kNotFound},
    RefusalRow{Refusal::kVersionMismatch, "VERSION_MISMATCH", kAborted},
    RefusalRow{Refusal::kNotEnoughNodes, "NOT_ENOUGH_NODES", kFailedPrecondition},
    RefusalRow{Refusal::kClusterMismatch, "CLUSTER_MISMATCH", kFailedPrecondition},
    RefusalRow{Refusal::kNodeMismatch, "NODE_MISMATCH", kFailedPrecondition},
    RefusalRow{Refusal::kProtocolMismatch, "PROTOCOL_MISMATCH", kFailedPrecondition},
    RefusalRow{Refusal::kRecordTooLarge, "RECORD_TOO_LARGE", kInvalidArgument},
    RefusalRow{Refusal::kCorruptRecords, "CORRUPT_RECORDS", kInvalidArgument},
    RefusalRow{Refusal::kCrcMismatch, "CRC_MISMATCH", kInvalidArgument},
    RefusalRow{Refusal::kUnknownCodec, "UNKNOWN_CODEC", kInvalidArgument},
    RefusalRow{Refusal::kTimestampOutOfRange, "TIMESTAMP_OUT_OF_RANGE", kInvalidArgument},
    RefusalRow{Refusal::kOutOfOrder, "OUT_OF_ORDER", kFailedPrecondition},
    RefusalRow{Refusal::kFenced, "FENCED", kFailedPrecondition},
    RefusalRow{Refusal::kUnknownProducer, "UNKNOWN_PRODUCER", kFailedPrecondition},
    RefusalRow{Refusal::kOffsetMismatch, "OFFSET_MISMATCH", kAborted},
    RefusalRow{Refusal::kUnsupported, "UNSUPPORTED", kUnimplemented},
    RefusalRow{Refusal::kDraining, "DRAINING", kUnavailable},
    RefusalRow{Refusal::kSubscriptionNotFound, "SUBSCRIPTION_NOT_FOUND", kNotFound},
    RefusalRow{Refusal::kDeadlineExceeded, "DEADLINE_EXCEEDED", kDeadlineExceeded},
    RefusalRow{Refusal::kInternal, "INTERNAL", kInternal},
    RefusalRow{Refusal::kSlowConsumer, "SLOW_CONSUMER", kResourceExhausted},
    RefusalRow{Refusal::kTooManyStreams, "TOO_MANY_STREAMS", kResourceExhausted},
    RefusalRow{Refusal::kUnauthenticated, "UNAUTHENTICATED", kUnauthenticated},
    RefusalRow{Refusal::kPermissionDenied, "PERMISSION_DENIED", kPermissionDenied},
    RefusalRow{Refusal::kQuorumAtRisk, "QUORUM_AT_RISK", kFailedPrecondition},
    RefusalRow{Refusal::kNodeAlive, "NODE_ALIVE", kFailedPrecondition},
    RefusalRow{Refusal::kNodeDecommissioning, "NODE_DECOMMISSIONING", kFailedPrecondition},
    RefusalRow{Refusal::kMoveUnderWay, "MOVE_UNDER_WAY", kFailedPrecondition},
    RefusalRow{Refusal::kMoveNotFound, "MOVE_NOT_FOUND", kNotFound},
    RefusalRow{Refusal::kReplicaExists, "REPLICA_EXISTS", kAlreadyExists},
    RefusalRow{Refusal::kReplicaNotFound, "REPLICA_NOT_FOUND", kNotFound},
    RefusalRow{Refusal::kBalanceUnderWay, "BALANCE_UNDER_WAY", kAlreadyExists},
    RefusalRow{Refusal::kNodeRemoved, "NODE_REMOVED", kFailedPrecondition},
    RefusalRow{Refusal::kQuorumAlive, "QUORUM_ALIVE", kFailedPrecondition},
};

constexpr bool RowsStandAtTheirRefusal() {
  for (size_t i = 0; i < kRefusals.size(); ++i) {
    if (static_cast<size_t>(kRefusals[i].refusal) != i) return false;
  }
  return kRefusals.back().refusal == kLastRefusal;
}
static_assert(RowsStandAtTheirRefusal());

const RefusalRow& Row(Refusal refusal) {
  const auto at = static_cast<size_t>(refusal);
  CHECK_LT(at, kRefusals.size());
  return kRefusals[at];
}

}  // namespace

std::string_view RefusalName(Refusal refusal) { return Row(refusal).name; }

int RefusalCode(Refusal refusal) {
  CHECK(refusal != Refusal::kNone);
  return Row(refusal).code;
}

Status Refuse(Refusal refusal, std::string message) {
  CHECK(refusal != Refusal::kNone);
  return Status(Reason::kInvalidArgument, std::move(message)).With(kDetail, std::string(RefusalName(refusal)));
}

Refusal RefusalOf(const Status& status) {
  const std::optional<std::string> name = status.Detail(kDetail);
  if (!name) return Refusal::kNone;
  return RefusalByName(*name).value_or(Refusal::kNone);
}

std::optional<Refusal> RefusalByName(std::string_view name) {
  for (size_t i = 1; i < kRefusals.size(); ++i) {
    if (kRefusals[i].name == name) return kRefusals[i].refusal;
  }
  return std::nullopt;
}

std::string Quoted(std::string_view text) {
  static constexpr size_t kShownMax = 64;
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text.substr(0, kShownMax)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte >= 0x7F) {
      quoted += "\\x";
      quoted += kDigits[byte >> 4];
      quoted += kDigits[byte & 0x0F];
    } else {
      quoted += c;
    }
  }
  quoted += text.size() > kShownMax ? "\"..." : "\"";
  return quoted;
}

}  // namespace flotilla
