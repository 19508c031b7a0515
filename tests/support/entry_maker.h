// Makes sealed entries that continue a log, so that a scene shows only what it is about.
//
//   EntryMaker make(GroupId{7});
//   make.Data("a"), make.Data("b", {.records = 3}), make.Noop()   // indexes 1, 2, 3; offsets 0, 1, 4
//   make.ContinueAfter(anchor).InTerm(Term{2}).Data("b'")         // what a new leader puts there
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "storage/base/ids.h"
#include "storage/log/entry.h"

namespace flotilla::storage {

struct DataOptions {
  uint32_t records = 1;
  int64_t min_timestamp_ms = 1000;
  int64_t max_timestamp_ms = 1000;
};

class EntryMaker {
 public:
  explicit EntryMaker(GroupId group, Term term = Term{1}) : group_(group), term_(term) {}

  EntryMaker& InTerm(Term term) {
    term_ = term;
    return *this;
  }
  EntryMaker& ContinueAfter(const LogAnchor& anchor) {
    at_ = anchor;
    return *this;
  }
  // Where the next entry goes.
  const LogAnchor& at() const { return at_; }

  Entry Data(std::string_view payload, DataOptions options = {}) { return Next(EntryKind::kData, Bytes::Copy(payload), options); }
  // The payload is shared, not copied.
  Entry Data(const Bytes& payload, DataOptions options = {}) { return Next(EntryKind::kData, payload, options); }
  // A batch of records all of which are of this time.
  Entry DataAt(int64_t timestamp_ms, std::string_view payload = "t") {
    return Data(payload, {.records = 1, .min_timestamp_ms = timestamp_ms, .max_timestamp_ms = timestamp_ms});
  }
  Entry Noop() { return Next(EntryKind::kNoop, {}, kNoRecords); }
  Entry Configuration(std::string_view members) { return Next(EntryKind::kConfiguration, Bytes::Copy(members), kNoRecords); }

 private:
  static constexpr DataOptions kNoRecords{.records = 0, .min_timestamp_ms = kNoTimestamp, .max_timestamp_ms = kNoTimestamp};

  Entry Next(EntryKind kind, Bytes payload, DataOptions options) {
    Entry entry;
    entry.header.group = group_;
    entry.header.index = at_.last.index + 1;
    entry.header.term = term_;
    entry.header.kind = kind;
    entry.header.base_offset = at_.end_offset;
    entry.header.record_count = options.records;
    entry.header.min_timestamp_ms = options.min_timestamp_ms;
    entry.header.max_timestamp_ms = options.max_timestamp_ms;
    entry.header.running_max_timestamp_ms = std::max(at_.running_max_timestamp_ms, options.max_timestamp_ms);
    entry.payload = std::move(payload);
    SealEntry(&entry);
    at_ = AnchorAfter(entry.header);
    return entry;
  }

  GroupId group_;
  Term term_;
  LogAnchor at_;
};

}  // namespace flotilla::storage
