// Records as text: what `consume` prints, and what `produce` reads.
//
//   RecordFormat format = *RecordFormat::Parse("%p/%o %k %v\n");
//   format.Print(out, "logs", partition, cursor);
//
// JSON, one object a line, the same for both directions:
//   {"topic":"logs","partition":0,"offset":7,"timestamp_ms":1700000000000,"key":"k","value":{"base64":"AP8="},
//    "headers":[{"key":"trace","value":"1"}]}
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/cpp/error.h"
#include "client/cpp/record_cursor.h"

namespace flotilla::cli {

class RecordFormat {
 public:
  // %t topic, %p partition, %o offset, %k key, %v value, %h headers (key=value,...), %d time, %s size of the value in bytes,
  // %% a percent sign; escapes as in Unescape.
  static client::Result<RecordFormat> Parse(std::string_view format);
  void Print(std::ostream& out, std::string_view topic, int32_t partition, const client::RecordCursor& record) const;

 private:
  struct Piece {
    char verb = 0;  // 0: the text
    std::string text;
  };
  std::vector<Piece> pieces_;
};

// Without a newline.
std::string RecordJson(std::string_view topic, int32_t partition, const client::RecordCursor& record);

// A record to be written, with memory of its own.
struct OwnedRecord {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<std::pair<std::string, std::string>> headers;
  std::optional<int64_t> timestamp_ms;
  std::optional<int32_t> partition;
};
// An object as RecordJson makes it; topic and offset are ignored, a value that is neither a string nor {"base64": ..} is taken as
// the JSON it is. INVALID_ARGUMENT.
client::Result<OwnedRecord> ParseRecordJson(std::string_view line);

}  // namespace flotilla::cli
