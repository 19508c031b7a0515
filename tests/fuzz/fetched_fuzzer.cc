// Arbitrary bytes as what a client fetched, and as text that people pipe into the command line: walked over or refused, and a record
// that was shown as JSON reads as the same.
#include <sstream>
#include <string>

#include "client/cli/record_text.h"
#include "client/cpp/record_cursor.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::client;

namespace {

void CheckShown(const RecordCursor& record, const cli::RecordFormat& format) {
  std::ostringstream out;
  format.Print(out, "t", 0, record);
  (void)record.Headers();
  const Result<cli::OwnedRecord> again = cli::ParseRecordJson(cli::RecordJson("t", 0, record));
  CHECK(again.ok()) << again.error().message();
  CHECK_EQ(again->key.has_value(), record.key().has_value());
  CHECK(again->key.value_or("") == record.key().value_or(""));
  CHECK(again->value.value_or("") == record.value().value_or(""));
}

}  // namespace

FLOTILLA_FUZZ(input) {
  static const cli::RecordFormat format = *cli::RecordFormat::Parse("%t %p %o %k %v %h %d %s%%\n");
  (void)cli::RecordFormat::Parse(input);
  (void)cli::ParseRecordJson(input);
  const Result<FetchedMessage> message = ParseFetchedPartition(Bytes::Copy(input), false);
  if (!message.ok()) return;
  (void)ParseFetchedPartition(Bytes::Copy(input), true);
  size_t records = 0;
  RecordCursor cursor(*message);
  while (cursor.Next()) {
    CHECK_LE(++records, input.size());
    CheckShown(cursor, format);
  }
}
