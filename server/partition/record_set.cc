#include "server/partition/record_set.h"

#include <algorithm>
#include <string>

#include "server/errors/refusal.h"
#include "server/partition/utf8.h"

namespace flotilla::partition {
namespace {

// records.proto as tags: field number << 3 | wire type.
constexpr uint8_t kRecordTag = 1 << 3 | 2;
constexpr uint32_t kKeyField = 1;
constexpr uint32_t kValueField = 2;
constexpr uint32_t kHeadersField = 3;
constexpr uint32_t kTimestampField = 4;
constexpr uint32_t kHeaderKeyField = 1;
constexpr uint32_t kHeaderValueField = 2;

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kSized = 2, kFixed32 = 5 };

// What parsers accept: a tag or a length is a 32-bit number in at most 5 bytes, any other one 64 bits in at
// most 10.
constexpr int kShortVarintBytes = 5;
constexpr int kLongVarintBytes = 10;

// Reads protobuf's wire format. After the first thing that is wrong, `wrong()` says what it is.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool AtEnd() const { return at_ == end_; }
  const char* at() const { return at_; }
  const char* wrong() const { return wrong_; }

  uint32_t Short() {
    if (at_ != end_ && static_cast<uint8_t>(*at_) < 0x80) return static_cast<uint8_t>(*at_++);
    return static_cast<uint32_t>(Varint(kShortVarintBytes, 0x0F));
  }
  uint64_t Long() { return Varint(kLongVarintBytes, 0x01); }

  std::string_view Take(size_t count) {
    if (static_cast<size_t>(end_ - at_) < count) {
      Fail("a field reaches past the end");
      return {};
    }
    const std::string_view taken(at_, count);
    at_ += count;
    return taken;
  }
  std::string_view TakeSized() { return Take(Short()); }

  // Passes over the content of a field that nobody asks about.
  void Skip(uint32_t tag) {
    if (tag >> 3 == 0) return Fail("field number 0");
    switch (tag & 7) {
      case kVarint: Long(); return;
      case kFixed64: Take(8); return;
      case kSized: TakeSized(); return;
      case kFixed32: Take(4); return;
      default: return Fail("a wire type that is not in use");
    }
  }
  void Fail(const char* what) {
    if (wrong_ == nullptr) wrong_ = what;
  }

 private:
  uint64_t Varint(int bytes_max, uint8_t last_max) {
    uint64_t value = 0;
    for (int i = 0; i < bytes_max; ++i) {
      if (at_ == end_) {
        Fail("the bytes end inside of a number");
        return 0;
      }
      const auto byte = static_cast<uint8_t>(*at_++);
      value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
      if (byte < 0x80) {
        if (i == bytes_max - 1 && byte > last_max) break;
        return value;
      }
    }
    Fail("a number of too many bytes");
    return 0;
  }

  const char* at_;
  const char* end_;
  const char* wrong_ = nullptr;
};

bool IsSized(uint32_t tag, uint32_t field) { return tag == (field << 3 | kSized); }

void WalkHeader(std::string_view header, WireReader* record) {
  WireReader in(header);
  while (!in.AtEnd() && in.wrong() == nullptr) {
    const uint32_t tag = in.Short();
    if (IsSized(tag, kHeaderKeyField)) {
      if (!IsUtf8(in.TakeSized())) in.Fail("the name of a header is not UTF-8");
    } else if (IsSized(tag, kHeaderValueField)) {
      in.TakeSized();
    } else if (tag >> 3 == kHeaderKeyField || tag >> 3 == kHeaderValueField) {
      in.Fail("a field of a header with the wrong wire type");
    } else {
      in.Skip(tag);
    }
  }
  if (in.wrong() != nullptr) record->Fail(in.wrong());
}

struct RecordFacts {
  uint32_t headers = 0;
  std::optional<int64_t> timestamp_ms;  // the last one counts, as for every parser
};

// One record; what is wrong with it stays in `in`.
RecordFacts WalkRecord(WireReader* in) {
  RecordFacts facts;
  while (!in->AtEnd() && in->wrong() == nullptr) {
    const uint32_t tag = in->Short();
    if (IsSized(tag, kKeyField) || IsSized(tag, kValueField)) {
      in->TakeSized();
    } else if (IsSized(tag, kHeadersField)) {
      ++facts.headers;
      WalkHeader(in->TakeSized(), in);
    } else if (tag == (kTimestampField << 3 | kVarint)) {
      facts.timestamp_ms = static_cast<int64_t>(in->Long());
    } else if (tag >> 3 >= kKeyField && tag >> 3 <= kTimestampField) {
      in->Fail("a field of a record with the wrong wire type");
    } else {
      in->Skip(tag);
    }
  }
  return facts;
}

Status Corrupt(size_t position, const std::string& what) {
  return Refuse(Refusal::kCorruptRecords,
                "records are damaged at byte " + std::to_string(position) + ": " + what + "; send a serialized flotilla.v1.RecordSet")
      .With("position", position);
}

Status TooLarge(uint32_t record, size_t bytes, size_t limit) {
  return Refuse(Refusal::kRecordTooLarge,
                "record " + std::to_string(record) + " takes " + std::to_string(bytes) + " bytes; the limit is " + std::to_string(limit))
      .With("record", record)
      .With("value", bytes)
      .With("limit", limit);
}

Status TooMany(const std::string& what, uint64_t value, uint64_t limit) {
  return Status(Reason::kLimitExceeded, std::to_string(value) + " " + what + "; the limit is " + std::to_string(limit))
      .With("value", value)
      .With("limit", limit);
}

Status Judge(uint32_t number, const RecordFacts& facts, const RecordLimits& limits) {
  if (facts.headers > limits.headers) {
    return TooMany("headers in record " + std::to_string(number), facts.headers, limits.headers);
  }
  if (facts.timestamp_ms && *facts.timestamp_ms < 0) {
    return Refuse(Refusal::kTimestampOutOfRange, "record " + std::to_string(number) + " has the timestamp " +
                                                     std::to_string(*facts.timestamp_ms) +
                                                     "; timestamps are milliseconds since 1970, from 0")
        .With("timestamp_ms", std::to_string(*facts.timestamp_ms))
        .With("limit_ms", uint64_t{0})
        .With("record", number);
  }
  return {};
}

void Count(const RecordFacts& facts, size_t bytes, RecordSetSummary* summary) {
  const uint32_t number = summary->records++;
  if (bytes > summary->largest.bytes || number == 0) summary->largest = {.record = number, .bytes = bytes};
  if (!facts.timestamp_ms) {
    ++summary->without_timestamp;
    return;
  }
  const int64_t time = *facts.timestamp_ms;
  if (summary->min_timestamp_ms == kNoTimestamp || time < summary->min_timestamp_ms) summary->min_timestamp_ms = time;
  if (time > summary->latest.timestamp_ms) summary->latest = {.record = number, .timestamp_ms = time};
}

// The next record's bytes, of a set that was checked; nothing at the end.
std::optional<std::string_view> NextRecord(WireReader* in) {
  if (in->AtEnd()) return std::nullopt;
  in->Take(1);
  const std::string_view record = in->TakeSized();
  if (in->wrong() != nullptr) return std::nullopt;
  return record;
}

}  // namespace

Result<RecordSetSummary> WalkRecordSet(std::string_view set, const RecordLimits& limits) {
  WireReader in(set);
  RecordSetSummary summary;
  while (!in.AtEnd()) {
    const auto position = static_cast<size_t>(in.at() - set.data());
    const auto tag = static_cast<uint8_t>(in.Take(1)[0]);
    if (tag != kRecordTag) {
      return Corrupt(position, "byte " + std::to_string(tag) + " where a record begins with " + std::to_string(kRecordTag));
    }
    if (summary.records == limits.records) return TooMany("records or more in a batch", limits.records + 1, limits.records);
    const uint32_t bytes = in.Short();
    const std::string_view record = in.Take(bytes);
    if (in.wrong() != nullptr) {
      return Corrupt(position, "record " + std::to_string(summary.records) + " of " + std::to_string(bytes) + " bytes: " + in.wrong());
    }
    if (record.size() > limits.record_bytes) return TooLarge(summary.records, record.size(), limits.record_bytes);
    WireReader fields(record);
    const RecordFacts facts = WalkRecord(&fields);
    if (fields.wrong() != nullptr) {
      return Corrupt(static_cast<size_t>(fields.at() - set.data()), "record " + std::to_string(summary.records) + ": " + fields.wrong());
    }
    FLOTILLA_RETURN_IF_ERROR(Judge(summary.records, facts, limits));
    Count(facts, record.size(), &summary);
  }
  if (summary.records == 0) return Corrupt(0, "there is no record");
  return summary;
}

size_t FindRecord(std::string_view set, uint32_t number) {
  WireReader in(set);
  for (uint32_t i = 0; i < number && NextRecord(&in); ++i) {
  }
  return static_cast<size_t>(in.at() - set.data());
}

std::optional<uint32_t> FindRecordByTime(std::string_view set, int64_t timestamp_ms, int64_t append_timestamp_ms) {
  WireReader in(set);
  for (uint32_t number = 0;; ++number) {
    const std::optional<std::string_view> record = NextRecord(&in);
    if (!record) return std::nullopt;
    WireReader fields(*record);
    if (WalkRecord(&fields).timestamp_ms.value_or(append_timestamp_ms) >= timestamp_ms) return number;
  }
}

}  // namespace flotilla::partition
