#include "server/partition/refusal.h"

#include <array>

namespace flotilla::partition {
namespace {

constexpr char kDetail[] = "refusal";

struct RefusalRow {
  Refusal refusal;
  std::string_view name;
  Code code;
};

constexpr std::array kRefusals = {
    RefusalRow{Refusal::kNone, "NONE", Code::kOk},
    RefusalRow{Refusal::kRecordTooLarge, "RECORD_TOO_LARGE", Code::kInvalidArgument},
    RefusalRow{Refusal::kCorruptRecords, "CORRUPT_RECORDS", Code::kInvalidArgument},
    RefusalRow{Refusal::kCrcMismatch, "CRC_MISMATCH", Code::kInvalidArgument},
    RefusalRow{Refusal::kUnknownCodec, "UNKNOWN_CODEC", Code::kInvalidArgument},
    RefusalRow{Refusal::kTimestampOutOfRange, "TIMESTAMP_OUT_OF_RANGE", Code::kInvalidArgument},
    RefusalRow{Refusal::kOutOfOrder, "OUT_OF_ORDER", Code::kFailedPrecondition},
    RefusalRow{Refusal::kFenced, "FENCED", Code::kFailedPrecondition},
    RefusalRow{Refusal::kUnknownProducer, "UNKNOWN_PRODUCER", Code::kFailedPrecondition},
    RefusalRow{Refusal::kOffsetMismatch, "OFFSET_MISMATCH", Code::kAborted},
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

}  // namespace flotilla::partition
