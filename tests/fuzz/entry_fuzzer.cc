// Arbitrary bytes as a log entry: decoded or refused, and what was decoded is encoded to the same bytes.
#include "storage/log/entry.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::storage;

FLOTILLA_FUZZ(input) {
  const Result<EntryHeader> header = DecodeEntryHeader(input);
  const Result<Entry> entry = DecodeEntry(Bytes::Copy(input));
  if (!entry.ok()) return;
  CHECK(header.ok());
  CHECK(entry->header == *header);
  std::string again;
  EncodeEntryHeader(entry->header, &again);
  again.append(entry->payload.view());
  CHECK(again == input);
  // Whatever it says, it says so without reading outside.
  const Status verified = VerifyEntry(*entry);
  CHECK(verified.ok() || verified.reason() == Reason::kCorruptMessage);
}
