#include "server/partition/fetch.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "storage/base/crc32c.h"

namespace flotilla::partition {
namespace {

Status OutOfRange(Offset offset, Offset log_start, Offset high_watermark) {
  return Status(Reason::kOffsetOutOfRange, "offset " + std::to_string(offset.value()) + " is outside of [" +
                                               std::to_string(log_start.value()) + ", " + std::to_string(high_watermark.value()) +
                                               "]; seek to one of the ends")
      .With("offset", offset.value())
      .With("log_start_offset", log_start.value())
      .With("high_watermark", high_watermark.value());
}

Result<FetchedBatch> BatchOf(const storage::Entry& entry) {
  const Result<BatchHeader> header = DecodeBatchHeader(entry.payload.view());
  if (!header.ok()) {
    return Status(Reason::kDataLoss, "entry " + std::to_string(entry.index().value()) + " of group " +
                                         std::to_string(entry.header.group.value()) + ": " + std::string(header.status().message()));
  }
  return FetchedBatch{.base_offset = entry.header.base_offset,
                      .record_count = entry.header.record_count,
                      .leader_epoch = entry.term(),
                      .min_timestamp_ms = entry.header.min_timestamp_ms,
                      .max_timestamp_ms = entry.header.max_timestamp_ms,
                      .header = *header,
                      .records = RecordsOf(entry.payload)};
}

// Whether there is a record at or after `offset`; the entries may all be without records.
bool HoldsAfter(const std::vector<storage::Entry>& entries, Offset offset) { return entries.back().header.end_offset() > offset; }

// The first record at or after a time, of an entry that has one.
Offset FindInBatch(const FetchedBatch& batch, int64_t timestamp_ms) {
  if (batch.header.codec != Codec::kNone || batch.header.timestamp_type == TimestampType::kAppendTime) return batch.base_offset;
  const std::optional<uint32_t> record = FindRecordByTime(batch.records.view(), timestamp_ms, batch.header.append_timestamp_ms);
  return batch.base_offset + record.value_or(0);
}

// Nothing: all records are older.
Result<std::optional<Offset>> FindTime(const storage::LogReader& log, GroupId group, int64_t timestamp_ms) {
  const Result<std::optional<storage::EntryHeader>> header = log.FindTimestamp(group, timestamp_ms);
  if (!header.ok()) return header.status();
  if (!header->has_value()) return std::optional<Offset>();
  const LogIndex index = (*header)->index;
  const Result<std::vector<storage::Entry>> entries = log.Read(group, index, index + 1, {.bytes = 1, .entries = 1});
  if (!entries.ok()) return entries.status();
  const Result<FetchedBatch> batch = BatchOf(entries->front());
  if (!batch.ok()) return batch.status();
  return std::optional(FindInBatch(*batch, timestamp_ms));
}

}  // namespace

Status DecompressBatch(FetchedBatch* batch, Decompressor& decompressor) {
  if (batch->header.codec == Codec::kNone) return {};
  const size_t bytes = batch->header.uncompressed_bytes;
  if (bytes > limits::kUncompressedBytesMax) {
    return Status(Reason::kDataLoss, "a stored batch would grow to " + std::to_string(bytes) + " bytes; the limit is " +
                                         std::to_string(limits::kUncompressedBytesMax));
  }
  std::shared_ptr<char[]> memory = std::make_shared_for_overwrite<char[]>(bytes);
  const Status status = decompressor.Decompress(batch->header.codec, batch->records.view(), memory.get(), bytes);
  if (!status.ok()) {
    return Status(Reason::kDataLoss,
                  "the batch at offset " + std::to_string(batch->base_offset.value()) + ": " + std::string(status.message()));
  }
  const std::string_view records(memory.get(), bytes);
  batch->records = Bytes(std::move(memory), records);
  batch->header.codec = Codec::kNone;
  batch->header.uncompressed_bytes = 0;
  batch->header.crc32c = crc32c::Value(records);
  return {};
}

// --- Calls

Result<uint64_t> FetchPath::Admit(const FetchCall& call, uint64_t token, FetchSink& sink) {
  ++counters_.calls;
  if (rows_.size() >= context_.options.fetch_calls_max) {
    return Status(Reason::kOverloaded,
                  std::to_string(rows_.size()) + " fetches wait in this partition, and that is the limit; " + "try again shortly")
        .With("limit", context_.options.fetch_calls_max);
  }
  const uint64_t number = next_number_++;
  Row& row = rows_.emplace_hint(rows_.end(), number, Row{.sink = &sink, .token = token, .call = call})->second;
  row.call.max_bytes = std::clamp<size_t>(row.call.max_bytes, 1, limits::kFetchBytesMax);
  row.call.min_bytes = std::clamp<size_t>(row.call.min_bytes, 1, row.call.max_bytes);
  counters_.waiting = rows_.size();
  return number;
}

Result<uint64_t> FetchPath::Fetch(const FetchCall& call, uint64_t token, FetchSink& sink) {
  Result<uint64_t> number = Admit(call, token, sink);
  if (number.ok()) Run(*number);
  return number;
}

Result<uint64_t> FetchPath::Locate(const StartPosition& start, uint64_t token, FetchSink& sink) {
  Result<uint64_t> number = Admit({.start = start}, token, sink);
  if (!number.ok()) return number;
  Row& row = rows_.at(*number);
  row.locate = true;
  Confirm(&row, *number);
  return number;
}

void FetchPath::OnRead(uint64_t token, const Status& status, LogIndex /*index*/) {
  const auto found = rows_.find(token);
  if (found == rows_.end()) return;
  if (status.reason() == Reason::kNotLeader) {
    return Fail(token, Status(Reason::kNoLeader, "this replica lost the leadership while it made sure of it; ask again"));
  }
  if (!status.ok()) return Fail(token, status);
  found->second.stage = Stage::kStarting;
  Run(token);
}

void FetchPath::Cancel(uint64_t ticket) {
  const auto row = rows_.find(ticket);
  if (row == rows_.end()) return;
  Unpark(&row->second, ticket);
  rows_.erase(row);
  counters_.waiting = rows_.size();
}

void FetchPath::Forget(FetchSink& sink) {
  for (auto row = rows_.begin(); row != rows_.end();) {
    if (row->second.sink != &sink) {
      ++row;
      continue;
    }
    Unpark(&row->second, row->first);
    row = rows_.erase(row);
  }
  counters_.waiting = rows_.size();
}

// --- A row's way

void FetchPath::Run(uint64_t number) {
  Row* row = &rows_.at(number);
  if (Status status = context_.MayServe(); !status.ok()) return Fail(number, status);
  if (row->stage == Stage::kStarting && !Start(row, number)) return;
  // Behind the end, as far as this replica knows. A leader that was deposed and has not heard of it must not say so.
  const bool beyond = row->offset > context_.machine.high_watermark();
  if (beyond && !row->confirmed) return Confirm(row, number);
  if (Status status = CheckRange(row->offset); !status.ok()) return Fail(number, status);
  if (row->locate) return Answer(number, Empty(*row));
  Read(row, number);
}

void FetchPath::Confirm(Row* row, uint64_t number) {
  row->confirmed = true;
  row->stage = Stage::kConfirming;
  Status status = context_.MayServe();
  if (status.ok()) status = context_.handle.ReadIndex(number, *this);
  if (!status.ok()) Fail(number, status);
}

// False: a reader looks for it.
bool FetchPath::Start(Row* row, uint64_t number) {
  const Offset log_start = context_.machine.log_start();
  const Offset end = context_.machine.high_watermark();
  if (const auto* time = std::get_if<AtTime>(&row->call.start)) {
    Ask(row, number, *time);
    return false;
  }
  row->offset = log_start;
  if (std::holds_alternative<Latest>(row->call.start)) row->offset = end;
  if (const auto* offset = std::get_if<Offset>(&row->call.start)) row->offset = *offset;
  if (const auto* last = std::get_if<LastRecords>(&row->call.start)) {
    const uint64_t held = end.value() - std::min(end, log_start).value();
    row->offset = end - std::min(last->count, held);
  }
  row->stage = Stage::kReading;
  return true;
}

Status FetchPath::CheckRange(Offset offset) const {
  const Offset log_start = context_.machine.log_start();
  const Offset end = context_.machine.high_watermark();
  if (offset >= log_start && offset <= end) return {};
  return OutOfRange(offset, log_start, end);
}

void FetchPath::Read(Row* row, uint64_t number) {
  for (;;) {
    row->read_end = context_.machine.applied() + 1;
    row->read_bytes = context_.machine.applied_bytes();
    if (row->offset == context_.machine.high_watermark()) {
      row->place = row->read_end;
      if (row->call.deadline <= context_.now) return Answer(number, Empty(*row));
      return Park(row, number, row->read_bytes + row->call.min_bytes);
    }
    if (row->place == LogIndex{} && !FindPlace(row, number)) return;
    const EntriesWanted wanted{.first = row->place, .last = row->read_end, .bytes = row->call.max_bytes};
    const auto entries = ReadMemory(wanted);
    if (!entries) {
      ++counters_.from_disk;
      return Ask(row, number, wanted);
    }
    if (HoldsAfter(*entries, row->offset)) return TakeEntries(row, number, *entries);
    row->place = entries->back().index() + 1;
  }
}

// False: a reader looks for it.
bool FetchPath::FindPlace(Row* row, uint64_t number) {
  if (const auto known = places_.find(row->offset); known != places_.end()) {
    row->place = known->second;
    return true;
  }
  ++counters_.places_looked_up;
  Ask(row, number, row->offset);
  return false;
}

std::optional<std::vector<storage::Entry>> FetchPath::ReadMemory(const EntriesWanted& wanted) {
  if (auto tail = context_.handle.TailEntries(wanted.first, wanted.last, wanted.bytes)) {
    ++counters_.from_memory;
    return tail;
  }
  auto cached = context_.around.log.ReadCached(context_.around.group, wanted.first, wanted.last, {.bytes = wanted.bytes});
  if (cached) ++counters_.from_store;
  return cached;
}

void FetchPath::TakeEntries(Row* row, uint64_t number, const std::vector<storage::Entry>& entries) {
  FetchResult result = Empty(*row);
  size_t bytes = 0;
  LogIndex next = row->place;
  for (const storage::Entry& entry : entries) {
    if (entry.header.kind == storage::EntryKind::kData && entry.header.end_offset() > row->offset) {
      if (!result.batches.empty() && bytes + entry.payload.size() > row->call.max_bytes) break;
      Result<FetchedBatch> batch = BatchOf(entry);
      if (!batch.ok()) return Fail(number, batch.status());
      bytes += entry.payload.size();
      result.next_offset = entry.header.end_offset();
      result.batches.push_back(*std::move(batch));
    }
    next = entry.index() + 1;
  }
  const bool all = next == row->read_end;
  if (all && bytes < row->call.min_bytes && row->call.deadline > context_.now) {
    const uint64_t enough = row->read_bytes + row->call.min_bytes - bytes;
    return enough <= context_.machine.applied_bytes() ? Run(number) : Park(row, number, enough);
  }
  RememberPlace(result.next_offset, next);
  counters_.batches += result.batches.size();
  counters_.bytes += bytes;
  Answer(number, std::move(result));
}

// --- Waiting

void FetchPath::Park(Row* row, uint64_t number, uint64_t wake_bytes) {
  row->stage = Stage::kParked;
  row->wake_bytes = wake_bytes;
  by_bytes_.emplace(wake_bytes, number);
  by_deadline_.emplace(row->call.deadline, number);
}

void FetchPath::Unpark(Row* row, uint64_t number) {
  if (row->stage != Stage::kParked) return;
  row->stage = Stage::kReading;
  const auto erase = [number](auto* map, auto key) {
    auto [at, end] = map->equal_range(key);
    while (at != end && at->second != number) ++at;
    CHECK(at != end);
    map->erase(at);
  };
  erase(&by_bytes_, row->wake_bytes);
  erase(&by_deadline_, row->call.deadline);
}

void FetchPath::Advance() {
  // Only a lost leadership and a trim concern rows that wait for more than there is.
  const bool trimmed = std::exchange(log_start_seen_, context_.machine.log_start()) != context_.machine.log_start();
  const bool everybody = trimmed || !context_.MayServe().ok();
  std::vector<uint64_t> due;
  for (const auto& [bytes, number] : by_bytes_) {
    if (bytes > context_.machine.applied_bytes() && !everybody) break;
    due.push_back(number);
  }
  for (const uint64_t number : due) {
    const auto row = rows_.find(number);
    if (row == rows_.end() || row->second.stage != Stage::kParked) continue;
    Unpark(&row->second, number);
    Run(number);
  }
}

void FetchPath::OnTick() {
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= context_.now) {
    const uint64_t number = by_deadline_.begin()->second;
    Unpark(&rows_.at(number), number);
    Run(number);
  }
}

void FetchPath::Close(const Status& outcome) {
  *alive_ = false;
  alive_ = std::make_shared<bool>(true);
  while (!rows_.empty()) Fail(rows_.begin()->first, outcome);
}

// --- Readers

struct FetchPath::ReaderAnswer {
  FetchPath* path;
  std::weak_ptr<bool> alive;
  uint64_t number;
  Found found;

  void operator()() const {
    if (!alive.expired()) path->OnFound(number, found);
  }
};

struct FetchPath::ReaderJob {
  FetchPath* path;  // not touched here
  std::weak_ptr<bool> alive;
  uint64_t number;
  Wanted wanted;
  GroupId group;
  const storage::LogReader* log;
  raft::Executor* executor;

  void operator()() const {
    executor->Post(ReaderAnswer{.path = path, .alive = alive, .number = number, .found = LookUp(*log, group, wanted)});
  }
};

void FetchPath::Ask(Row* row, uint64_t number, const Wanted& wanted) {
  row->stage = Stage::kAway;
  const Surroundings& around = context_.around;
  around.readers.Post(ReaderJob{.path = this,
                                .alive = alive_,
                                .number = number,
                                .wanted = wanted,
                                .group = around.group,
                                .log = &around.log,
                                .executor = &around.executor});
}

FetchPath::Found FetchPath::LookUp(const storage::LogReader& log, GroupId group, const Wanted& wanted) {
  if (const auto* time = std::get_if<AtTime>(&wanted)) return FindTime(log, group, time->timestamp_ms);
  if (const auto* offset = std::get_if<Offset>(&wanted)) return log.FindOffset(group, *offset);
  const auto& entries = std::get<EntriesWanted>(wanted);
  return log.Read(group, entries.first, entries.last, {.bytes = entries.bytes});
}

void FetchPath::OnFound(uint64_t number, const Found& found) {
  const auto row = rows_.find(number);
  if (row == rows_.end()) return;
  row->second.stage = Stage::kReading;
  if (const auto* time = std::get_if<Result<std::optional<Offset>>>(&found)) return OnTime(&row->second, number, *time);
  if (const auto* header = std::get_if<Result<storage::EntryHeader>>(&found)) return OnPlace(&row->second, number, *header);
  OnEntries(&row->second, number, std::get<Result<std::vector<storage::Entry>>>(found));
}

void FetchPath::OnTime(Row* row, uint64_t number, const Result<std::optional<Offset>>& offset) {
  const Offset end = context_.machine.high_watermark();
  const Offset log_start = std::min(context_.machine.log_start(), end);
  if (offset.ok()) {
    row->offset = std::clamp(offset->value_or(end), log_start, end);
  } else if (offset.status().reason() == Reason::kTrimmed) {
    row->offset = log_start;  // found, and cut off before it was read: what follows is younger
  } else {
    return Fail(number, offset.status());
  }
  Run(number);
}

void FetchPath::OnPlace(Row* row, uint64_t number, const Result<storage::EntryHeader>& header) {
  // What was cut off meanwhile is refused by Run, with both ends as clients know them.
  if (!header.ok() && CheckRange(row->offset).ok()) return Fail(number, header.status());
  if (header.ok()) row->place = header->index;
  Run(number);
}

void FetchPath::OnEntries(Row* row, uint64_t number, const Result<std::vector<storage::Entry>>& entries) {
  Status status = context_.MayServe();
  if (status.ok()) status = CheckRange(row->offset);
  if (!status.ok()) return Fail(number, status);
  if (!entries.ok() && entries.status().reason() == Reason::kTrimmed) {
    // The place was of an entry without records that was cut off; the record itself is still there.
    places_.erase(row->offset);
    row->place = {};
    return Run(number);
  }
  if (!entries.ok()) return Fail(number, entries.status());
  if (HoldsAfter(*entries, row->offset)) return TakeEntries(row, number, *entries);
  row->place = entries->back().index() + 1;
  Run(number);
}

// --- Answers

FetchResult FetchPath::Empty(const Row& row) const {
  return {.status = {},
          .start_offset = row.offset,
          .next_offset = row.offset,
          .log_start_offset = context_.machine.log_start(),
          .high_watermark = context_.machine.high_watermark(),
          .leader_epoch = context_.machine.leadership().term,
          .batches = {}};
}

void FetchPath::Fail(uint64_t number, const Status& status) {
  FetchResult result = Empty(rows_.at(number));
  result.status = GroupHandle::IsFault(status) ? context_.handle.Stopped(status) : status;
  // What is damaged here others have: they serve it, and this replica takes no part any more. The only replica goes on with what is sound.
  if (status.reason() == Reason::kDataLoss && !context_.handle.alone()) context_.handle.Fail(status);
  Answer(number, std::move(result));
}

void FetchPath::Answer(uint64_t number, FetchResult result) {
  const auto found = rows_.find(number);
  Unpark(&found->second, number);
  const Row row = std::move(found->second);
  rows_.erase(found);
  counters_.waiting = rows_.size();
  row.sink->OnFetched(row.token, std::move(result));
}

void FetchPath::RememberPlace(Offset offset, LogIndex place) {
  const auto [known, made] = places_.insert_or_assign(offset, place);
  if (!made) return;
  places_order_.push_back(known->first);
  if (places_order_.size() <= limits::kReaderPlacesMax) return;
  places_.erase(places_order_.front());
  places_order_.pop_front();
}

}  // namespace flotilla::partition
