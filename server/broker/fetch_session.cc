#include "server/broker/fetch_session.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/broker/call_board.h"
#include "server/broker/describe.h"
#include "server/broker/limits.h"

namespace flotilla::broker {
namespace {

Status Negative(std::string_view field, int64_t value) {
  return Status(Reason::kInvalidArgument,
                std::string(field) + " " + std::to_string(value) + " is negative; offsets, times and counts begin at 0")
      .With("field", std::string(field));
}

Status CheckRequest(const v1::FetchRequest& request) {
  const auto parts = static_cast<size_t>(request.partitions_size());
  if (parts == 0) return Status(Reason::kInvalidArgument, "no partitions to fetch; name at least one").With("field", "partitions");
  if (parts > limits::kRequestItemsMax) {
    return Status(Reason::kLimitExceeded,
                  std::to_string(parts) + " partitions; the limit is " + std::to_string(limits::kRequestItemsMax) + " in one fetch")
        .With("field", "partitions")
        .With("limit", limits::kRequestItemsMax)
        .With("value", parts);
  }
  for (const auto& [name, value] : {std::pair{"min_bytes", request.min_bytes()}, std::pair{"max_bytes", request.max_bytes()},
                                    std::pair{"max_wait_ms", request.max_wait_ms()}}) {
    if (value < 0) return Negative(name, value);
  }
  return {};
}

}  // namespace

Result<partition::StartPosition> StartOf(const v1::StartPosition& start) {
  switch (start.position_case()) {
    case v1::StartPosition::kOffset:
      if (start.offset() < 0) return Negative("offset", start.offset());
      return partition::StartPosition(Offset{static_cast<uint64_t>(start.offset())});
    case v1::StartPosition::kTimestampMs:
      if (start.timestamp_ms() < 0) return Negative("timestamp_ms", start.timestamp_ms());
      return partition::StartPosition(partition::AtTime{start.timestamp_ms()});
    case v1::StartPosition::kLastRecords:
      if (start.last_records() < 0) return Negative("last_records", start.last_records());
      return partition::StartPosition(partition::LastRecords{static_cast<uint64_t>(start.last_records())});
    case v1::StartPosition::kPoint:
      if (start.point() == v1::START_POINT_LATEST) return partition::StartPosition(partition::Latest{});
      return partition::StartPosition(partition::Earliest{});
    case v1::StartPosition::POSITION_NOT_SET: break;
  }
  return partition::StartPosition(partition::Earliest{});
}

size_t BytesOf(const std::vector<partition::FetchedBatch>& batches) {
  size_t bytes = 0;
  for (const partition::FetchedBatch& batch : batches) bytes += batch.records.size();
  return bytes;
}

void FillFetched(const partition::FetchResult& result, FetchedPartition* fetched) {
  fetched->start_offset = result.start_offset;
  fetched->next_offset = result.next_offset;
  fetched->log_start_offset = result.log_start_offset;
  fetched->high_watermark = result.high_watermark;
  fetched->caught_up = result.next_offset == result.high_watermark;
}

void Fetches::Begin(uint64_t ticket, const v1::FetchRequest& request, const Caller& caller, FetchDone done, const Status& synced) {
  if (Status status = CheckRequest(request); !status.ok()) {
    return around_.executor.Post([done = std::move(done), status] { done(status); });
  }
  ++totals_.requests;
  Fetch& fetch = fetches_[ticket];
  fetch.caller = caller;
  fetch.done = std::move(done);
  fetch.require_leader = caller.require_leader;
  fetch.max_bytes = request.max_bytes() == 0 ? limits::kFetchBytesDefault
                                             : std::min<size_t>(static_cast<size_t>(request.max_bytes()), limits::kFetchBytesMax);
  fetch.min_bytes = std::clamp<size_t>(static_cast<size_t>(request.min_bytes()), 1, fetch.max_bytes);
  const int32_t wait_ms =
      request.has_max_wait_ms() ? std::min(request.max_wait_ms(), limits::kFetchWaitMillisMax) : limits::kFetchWaitMillisDefault;
  // A long poll ends with an answer, not with a deadline.
  fetch.deadline = around_.time.At(caller.deadline - limits::kLongPollMargin);
  // A leader elsewhere that has nothing says so at the end of the wait: that answer has to be here by the deadline.
  fetch.wait_until = std::min(around_.time.In(std::chrono::milliseconds(wait_ms)),
                              around_.time.At(caller.deadline - limits::kLongPollMargin - limits::kForwardedFetchMargin));
  fetch.parts.resize(static_cast<size_t>(request.partitions_size()));
  fetch.gathering = fetch.parts.size() > 1;
  fetch.gather_until = std::min(around_.time.In(limits::kFetchGatherMax), fetch.deadline);
  const metadata::Image& image = *around_.metadata.image();
  for (size_t i = 0; i < fetch.parts.size(); ++i) {
    const v1::FetchPartition& wanted = request.partitions(static_cast<int>(i));
    Part& part = fetch.parts[i];
    part.result.topic = wanted.topic();
    part.result.partition = wanted.partition();
    part.max_bytes = wanted.max_bytes() <= 0 ? fetch.max_bytes : std::min<size_t>(static_cast<size_t>(wanted.max_bytes()), fetch.max_bytes);
    part.max_bytes = std::min(part.max_bytes, partition::limits::kFetchBytesMax);
    const Result<partition::StartPosition> start = StartOf(wanted.start());
    const Result<metadata::PartitionKey> key = FindPartition(wanted.topic(), wanted.partition(), image);
    if (!start.ok() || !key.ok()) {
      part.stage = Stage::kFailed;
      part.result.status = start.ok() ? MissingOrUnsure(key.status(), synced) : start.status();
      continue;
    }
    part.key = *key;
    part.result.topic = RefOf(*image.FindTopic(key->topic));
    Read(ticket, &fetch, i, *start);
  }
  Settle(ticket, &fetch);
}

void Fetches::Read(uint64_t ticket, Fetch* fetch, size_t index, const partition::StartPosition& start) {
  Part& part = fetch->parts[index];
  const uint64_t token = next_token_++;
  places_[token] = {.fetch = ticket, .part = index};
  part.stage = Stage::kReading;
  // With one partition it waits for all that is wanted; with several for anything, and is asked again for more.
  const size_t min_bytes = fetch->parts.size() == 1 ? fetch->min_bytes - std::min(fetch->min_bytes - 1, part.bytes) : 1;
  part.read = around_.reads.Fetch({.partition = part.key,
                                   .start = start,
                                   .min_bytes = min_bytes,
                                   .max_bytes = part.max_bytes - part.bytes,
                                   .max_wait = fetch->gathering ? Duration::zero() : around_.time.Until(fetch->wait_until),
                                   .deadline = fetch->deadline,
                                   .require_leader = fetch->require_leader},
                                  fetch->caller, token, *this);
}

void Fetches::OnRead(uint64_t token, ReadAnswer answer) {
  const auto at = places_.find(token);
  if (at == places_.end()) return;
  const ReadPlace place = at->second;
  places_.erase(at);
  Fetch& fetch = fetches_.at(place.fetch);
  Take(&fetch.parts[place.part], std::move(answer));
  Settle(place.fetch, &fetch);
}

void Fetches::Take(Part* part, ReadAnswer answer) {
  part->read = 0;
  part->reached = true;
  part->remote = answer.remote;
  part->epoch = answer.epoch;
  const bool first = part->result.batches.empty();
  if (!answer.status.ok()) {
    // What was read before stands; the error will be met again by who goes on from there.
    if (first) {
      part->result.status = answer.status;
      FillFetched(answer.result, &part->result);
      part->result.caught_up = false;
    }
    part->stage = Stage::kFailed;
    return;
  }
  const Offset start = first ? answer.result.start_offset : part->result.start_offset;
  FillFetched(answer.result, &part->result);
  part->result.start_offset = start;
  part->bytes += BytesOf(answer.result.batches);
  std::move(answer.result.batches.begin(), answer.result.batches.end(), std::back_inserter(part->result.batches));
  part->stage = Stage::kFilled;
}

bool Fetches::Gathered(const Fetch& fetch) const {
  if (fetch.gather_until <= around_.time.now()) return true;
  return std::none_of(fetch.parts.begin(), fetch.parts.end(),
                      [this](const Part& part) { return part.stage == Stage::kReading && !around_.reads.Leaderless(part.read); });
}

bool Fetches::Complete(const Fetch& fetch) const {
  size_t bytes = 0;
  bool reading = false;
  bool reached = false;
  for (const Part& part : fetch.parts) {
    if (part.stage == Stage::kFailed && part.result.batches.empty()) return true;
    bytes += part.bytes;
    reading |= part.stage == Stage::kReading;
    reached |= part.reached;
  }
  if (bytes >= fetch.min_bytes || !reading) return true;
  return fetch.wait_until <= around_.time.now() && (reached || fetch.deadline <= around_.time.now());
}

void Fetches::Settle(uint64_t ticket, Fetch* fetch) {
  if (fetch->finish_posted || (fetch->gathering && !Gathered(*fetch))) return;
  fetch->gathering = false;
  // Those that gave what they had, while more is wanted and there is time, are asked again.
  size_t bytes = 0;
  bool failed = false;
  for (const Part& part : fetch->parts) {
    bytes += part.bytes;
    failed |= part.stage == Stage::kFailed;
  }
  const bool more = !failed && bytes < fetch->min_bytes && fetch->wait_until > around_.time.now();
  for (size_t i = 0; more && i < fetch->parts.size(); ++i) {
    Part& part = fetch->parts[i];
    if (part.stage == Stage::kFilled && part.bytes < part.max_bytes) Read(ticket, fetch, i, part.result.next_offset);
  }
  if (!Complete(*fetch)) return;
  // Others may be about to answer within this turn: what is there goes along.
  fetch->finish_posted = true;
  around_.executor.Post([this, ticket] { Finish(ticket); });
}

void Fetches::Finish(uint64_t ticket) {
  const auto found = fetches_.find(ticket);
  if (found == fetches_.end()) return;
  Fetch fetch = std::move(found->second);
  fetches_.erase(found);
  FetchAnswer answer;
  const metadata::Image& image = *around_.metadata.image();
  size_t room = fetch.max_bytes;
  for (Part& part : fetch.parts) {
    const bool leaderless = part.read != 0 && around_.reads.Leaderless(part.read);
    if (part.read != 0) around_.reads.Cancel(part.read);
    if (leaderless && part.result.batches.empty()) part.result.status = LeaderIsElsewhere(image, part.key, {});
    // Nothing is known of it, not even where it begins: to say where to go on would be a guess.
    if (!part.reached && part.result.status.ok()) {
      part.result.status =
          Status(Reason::kNoLeader, "the partition's leader did not answer within the time that the others took; ask again");
    }
    // What one partition has taken from the limit, the next ones lack; the first batch of the answer is always there.
    auto& batches = part.result.batches;
    size_t kept = 0;
    while (kept < batches.size() && (batches[kept].records.size() <= room || (room == fetch.max_bytes && kept == 0))) {
      room -= std::min(room, batches[kept].records.size());
      ++kept;
    }
    if (kept < batches.size()) {
      part.result.next_offset = std::max(batches[kept].base_offset, part.result.start_offset);
      part.result.caught_up = false;
      batches.resize(kept);
    }
    for (const partition::FetchedBatch& batch : batches) {
      totals_.records += batch.record_count;
      totals_.bytes += batch.records.size();
    }
    if (part.remote.value() != 0) {
      answer.leaders.push_back(HintOf(image, part.result.topic, part.result.partition, {.node = part.remote, .epoch = part.epoch}));
    }
    answer.partitions.push_back(std::move(part.result));
  }
  std::erase_if(places_, [ticket](const auto& entry) { return entry.second.fetch == ticket; });
  fetch.done(std::move(answer));
}

void Fetches::Cancel(uint64_t ticket) {
  const auto found = fetches_.find(ticket);
  if (found == fetches_.end()) return;
  for (const Part& part : found->second.parts) {
    if (part.read != 0) around_.reads.Cancel(part.read);
  }
  std::erase_if(places_, [ticket](const auto& entry) { return entry.second.fetch == ticket; });
  fetches_.erase(found);
}

void Fetches::Tick() {
  for (auto& [ticket, fetch] : fetches_) {
    if (fetch.gathering || fetch.wait_until <= around_.time.now()) Settle(ticket, &fetch);
  }
}

}  // namespace flotilla::broker
