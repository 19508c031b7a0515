// Arbitrary bytes as a record set: refused, or a set whose records are all found where they are.
#include "server/errors/refusal.h"
#include "server/partition/record_set.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::partition;

FLOTILLA_FUZZ(input) {
  const Result<RecordSetSummary> summary = WalkRecordSet(input, {.records = 1000, .record_bytes = 4096, .headers = 8});
  if (!summary.ok()) {
    CHECK(RefusalOf(summary.status()) != Refusal::kNone || summary.status().reason() == Reason::kLimitExceeded) << summary.status();
    // Even so they answer without reading outside.
    CHECK_LE(FindRecord(input, 3), input.size());
    FindRecordByTime(input, 5, 4);
    return;
  }
  CHECK_GT(summary->records, 0u);
  CHECK_EQ(FindRecord(input, summary->records), input.size());
  CHECK_LE(summary->without_timestamp, summary->records);
  // What begins at a record is a set of the records from there on.
  const uint32_t middle = summary->records / 2;
  const size_t at = FindRecord(input, middle);
  CHECK_LT(at, input.size());
  const Result<RecordSetSummary> rest = WalkRecordSet(input.substr(at), {});
  CHECK(rest.ok()) << rest.status();
  CHECK_EQ(rest->records, summary->records - middle);
  if (summary->without_timestamp < summary->records) {
    CHECK_LE(summary->min_timestamp_ms, summary->latest.timestamp_ms);
    CHECK(FindRecordByTime(input, summary->latest.timestamp_ms, kNoTimestamp) == summary->latest.record);
  }
}
