#include "server/metadata/refusal.h"

#include <array>

namespace flotilla::metadata {
namespace {

constexpr char kDetail[] = "refusal";

struct RefusalRow {
  Refusal refusal;
  std::string_view name;
  Code code;
};

constexpr std::array kRefusals = {
    RefusalRow{Refusal::kNone, "NONE", Code::kOk},
    RefusalRow{Refusal::kRequestIdReused, "REQUEST_ID_REUSED", Code::kInvalidArgument},
    RefusalRow{Refusal::kUnknownConfig, "UNKNOWN_CONFIG", Code::kInvalidArgument},
    RefusalRow{Refusal::kNotInitialized, "NOT_INITIALIZED", Code::kUnavailable},
    RefusalRow{Refusal::kAlreadyInitialized, "ALREADY_INITIALIZED", Code::kAlreadyExists},
    RefusalRow{Refusal::kTopicExists, "TOPIC_EXISTS", Code::kAlreadyExists},
    RefusalRow{Refusal::kTopicNotFound, "TOPIC_NOT_FOUND", Code::kNotFound},
    RefusalRow{Refusal::kPartitionNotFound, "PARTITION_NOT_FOUND", Code::kNotFound},
    RefusalRow{Refusal::kNodeNotFound, "NODE_NOT_FOUND", Code::kNotFound},
    RefusalRow{Refusal::kVersionMismatch, "VERSION_MISMATCH", Code::kAborted},
    RefusalRow{Refusal::kNotEnoughNodes, "NOT_ENOUGH_NODES", Code::kFailedPrecondition},
    RefusalRow{Refusal::kClusterMismatch, "CLUSTER_MISMATCH", Code::kFailedPrecondition},
    RefusalRow{Refusal::kNodeMismatch, "NODE_MISMATCH", Code::kFailedPrecondition},
    RefusalRow{Refusal::kProtocolMismatch, "PROTOCOL_MISMATCH", Code::kFailedPrecondition},
};

constexpr bool RowsStandAtTheirRefusal() {
  for (size_t i = 0; i < kRefusals.size(); ++i) {
    if (static_cast<size_t>(kRefusals[i].refusal) != i) return false;
  }
  return true;
}
static_assert(RowsStandAtTheirRefusal());

const RefusalRow& Row(Refusal refusal) {
  const auto at = static_cast<size_t>(refusal);
  CHECK_LT(at, kRefusals.size());
  return kRefusals[at];
}

}  // namespace

std::string_view RefusalName(Refusal refusal) { return Row(refusal).name; }

Code RefusalCode(Refusal refusal) {
  CHECK(refusal != Refusal::kNone);
  return Row(refusal).code;
}

Status Refuse(Refusal refusal, std::string message) {
  CHECK(refusal != Refusal::kNone);
  return Status(Reason::kInvalidArgument, std::move(message))
      .With(kDetail, std::string(RefusalName(refusal)));
}

Refusal RefusalOf(const Status& status) {
  const std::optional<std::string> name = status.Detail(kDetail);
  if (!name) return Refusal::kNone;
  for (const RefusalRow& row : kRefusals) {
    if (row.name == *name) return row.refusal;
  }
  return Refusal::kNone;
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

}  // namespace flotilla::metadata
