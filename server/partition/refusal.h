// Why a partition refuses, where storage's and Raft's reasons (storage/base/status.h) do not say it: a Status
// that also carries the name of an ErrorReason of proto/flotilla/v1/errors.proto, without that name's prefix.
//
//   return Refuse(Refusal::kFenced, "producer 7 of epoch 2; epoch 3 is at work").With("producer_id", 7);
//
//   RefusalOf(status)       // kFenced; kNone for any other status
//   RefusalName(...)        // "FENCED"
//   RefusalCode(...)        // FAILED_PRECONDITION: stands for status.code()
//
// Nothing of what is refused was appended.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace flotilla::partition {

enum class Refusal : uint8_t {
  kNone,
  kRecordTooLarge,       // limit, value, record
  kCorruptRecords,       // position
  kCrcMismatch,          // expected, actual
  kUnknownCodec,         // codec
  kTimestampOutOfRange,  // timestamp_ms, limit_ms, record
  kOutOfOrder,           // expected, actual
  kFenced,               // producer_id, epoch
  kUnknownProducer,      // producer_id
  kOffsetMismatch,       // expected, actual
};

std::string_view RefusalName(Refusal refusal);
// `refusal` is not kNone.
Code RefusalCode(Refusal refusal);
Status Refuse(Refusal refusal, std::string message);
Refusal RefusalOf(const Status& status);

}  // namespace flotilla::partition
