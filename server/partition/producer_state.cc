#include "server/partition/producer_state.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "server/errors/refusal.h"
#include "storage/base/coding.h"

namespace flotilla::partition {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kEncodedStateBytes = 1 + 8 + 4;
constexpr size_t kEncodedProducerBytes = 8 + 4 + 1 + 8 + 1;
constexpr size_t kEncodedRunBytes = 8 + 8 + 8;

std::string Who(const SequencedBatch& batch) {
  return "producer " + std::to_string(batch.producer.producer_id) + " of epoch " + std::to_string(batch.producer.epoch);
}

SequenceVerdict Refused(Status status) { return {.kind = SequenceVerdict::Kind::kRefused, .status = std::move(status)}; }

SequenceVerdict OutOfOrder(const SequencedBatch& batch, uint64_t expected, const std::string& what) {
  return Refused(Refuse(Refusal::kOutOfOrder, Who(batch) + ": base_sequence " + std::to_string(batch.producer.base_sequence) + " where " +
                                                  std::to_string(expected) + " comes next; " + what)
                     .With("expected", expected)
                     .With("actual", batch.producer.base_sequence));
}

SequenceVerdict Fenced(const SequencedBatch& batch, uint32_t epoch) {
  return Refused(Refuse(Refusal::kFenced, Who(batch) + " was replaced by epoch " + std::to_string(epoch) + "; stop this one")
                     .With("producer_id", batch.producer.producer_id)
                     .With("epoch", epoch));
}

SequenceVerdict Unknown(const SequencedBatch& batch) {
  return Refused(Refuse(Refusal::kUnknownProducer, Who(batch) + " is not known here (any more), and base_sequence " +
                                                       std::to_string(batch.producer.base_sequence) +
                                                       " is not its first; if all before was acknowledged, call InitProducer and go on")
                     .With("producer_id", batch.producer.producer_id));
}

SequenceVerdict Invalid(std::string what) { return Refused(Status(Reason::kInvalidArgument, std::move(what))); }

// The first batch of an epoch.
SequenceVerdict JudgeFirst(const ProducerHistory* last, const SequencedBatch& batch) {
  if (batch.after) return OutOfOrder(batch, *batch.after, "the item before it was not appended; send that one first");
  if (batch.producer.scope == SequenceScope::kTopic || batch.producer.base_sequence == 0) return {};
  if (last == nullptr) return Unknown(batch);
  return OutOfOrder(batch, 0, "an epoch begins with 0");
}

// A batch that begins before what comes next.
SequenceVerdict JudgeOld(const ProducerHistory& last, const SequencedBatch& batch) {
  if (const std::optional<Offset> offset = last.Find(batch)) {
    return {.kind = SequenceVerdict::Kind::kDuplicate, .offset = *offset};
  }
  return OutOfOrder(batch, last.next_sequence(), "it is older than what is remembered, or was divided into other batches the first time");
}

bool IsGap(const ProducerHistory& last, const SequencedBatch& batch) {
  if (batch.producer.scope == SequenceScope::kPartition) return batch.producer.base_sequence > last.next_sequence();
  return batch.after && (last.runs().empty() || last.runs().back().first_sequence < *batch.after);
}

}  // namespace

// --- One producer

std::optional<Offset> ProducerHistory::Find(const SequencedBatch& batch) const {
  const uint64_t first = batch.producer.base_sequence;
  for (auto run = runs_.rbegin(); run != runs_.rend(); ++run) {
    if (first < run->first_sequence) continue;
    const bool inside =
        scope_ == SequenceScope::kPartition ? batch.end() <= run->end() : first == run->first_sequence && batch.count == run->count;
    if (!inside) return std::nullopt;
    return run->base_offset + (first - run->first_sequence);
  }
  return std::nullopt;
}

void ProducerHistory::Add(const SequencedBatch& batch, Offset base_offset, size_t runs_max) {
  const uint64_t first = batch.producer.base_sequence;
  const bool continues = scope_ == SequenceScope::kPartition && !runs_.empty() && runs_.back().end() == first &&
                         runs_.back().base_offset + runs_.back().count == base_offset;
  if (continues) {
    runs_.back().count += batch.count;
    return;
  }
  if (runs_.size() >= runs_max) runs_.erase(runs_.begin());
  runs_.push_back({.first_sequence = first, .base_offset = base_offset, .count = batch.count});
}

SequenceVerdict ProducerHistory::Judge(const ProducerHistory* last, const SequencedBatch& batch) {
  if (batch.producer.base_sequence > std::numeric_limits<int64_t>::max() - uint64_t{batch.count}) {
    return Invalid("base_sequence " + std::to_string(batch.producer.base_sequence) + " is past the last one there can be");
  }
  if (last == nullptr || batch.producer.epoch > last->epoch()) return JudgeFirst(last, batch);
  if (batch.producer.epoch < last->epoch()) return Fenced(batch, last->epoch());
  if (batch.producer.scope != last->scope()) {
    return Invalid(Who(batch) + " counts both per partition and per topic; use one way for all batches of an epoch");
  }
  if (batch.producer.base_sequence < last->next_sequence()) return JudgeOld(*last, batch);
  if (IsGap(*last, batch)) return OutOfOrder(batch, last->next_sequence(), "send what is missing first");
  return {};
}

// --- All of them

const ProducerHistory* ProducerState::Find(uint64_t producer_id) const {
  const auto found = by_id_.find(producer_id);
  return found == by_id_.end() ? nullptr : &found->second->history;
}

void ProducerState::AdvanceTo(int64_t append_timestamp_ms) {
  time_ms_ = std::max(time_ms_, append_timestamp_ms);
  // Unsigned: the distance of any two times fits.
  const auto idle = [&](const Producer& producer) { return static_cast<uint64_t>(time_ms_) - static_cast<uint64_t>(producer.last_ms); };
  while (producers_.size() > limits_.producers_kept && idle(producers_.front()) > static_cast<uint64_t>(limits_.idle_ms_max)) {
    ForgetOldest();
  }
}

void ProducerState::Apply(const SequencedBatch& batch, Offset base_offset) {
  const uint64_t id = batch.producer.producer_id;
  CHECK_NE(id, 0u);
  auto found = by_id_.find(id);
  if (found == by_id_.end()) {
    if (by_id_.size() >= limits_.producers_max) ForgetOldest();
    producers_.push_back({.id = id, .last_ms = time_ms_, .history = {batch.producer.epoch, batch.producer.scope}});
    found = by_id_.emplace(id, std::prev(producers_.end())).first;
  }
  Producer& producer = *found->second;
  runs_ -= producer.history.runs().size();
  if (producer.history.epoch() != batch.producer.epoch) {
    producer.history = ProducerHistory(batch.producer.epoch, batch.producer.scope);
  }
  producer.history.Add(batch, base_offset, limits_.runs_max);
  runs_ += producer.history.runs().size();
  producer.last_ms = time_ms_;
  producers_.splice(producers_.end(), producers_, found->second);
}

void ProducerState::ForgetOldest() {
  runs_ -= producers_.front().history.runs().size();
  by_id_.erase(producers_.front().id);
  producers_.pop_front();
}

// --- Bytes

size_t ProducerState::encoded_bytes() const {
  return kEncodedStateBytes + producers_.size() * kEncodedProducerBytes + runs_ * kEncodedRunBytes;
}

void ProducerState::EncodeTo(std::string* out) const {
  const size_t start = out->size();
  out->reserve(start + encoded_bytes());
  AppendLittle<uint8_t>(kVersion, out);
  AppendLittle<int64_t>(time_ms_, out);
  AppendLittle<uint32_t>(static_cast<uint32_t>(producers_.size()), out);
  for (const Producer& producer : producers_) {
    AppendLittle<uint64_t>(producer.id, out);
    AppendLittle<uint32_t>(producer.history.epoch(), out);
    AppendLittle<uint8_t>(static_cast<uint8_t>(producer.history.scope()), out);
    AppendLittle<int64_t>(producer.last_ms, out);
    AppendLittle<uint8_t>(static_cast<uint8_t>(producer.history.runs().size()), out);
    for (const ProducerHistory::Run& run : producer.history.runs()) {
      AppendLittle<uint64_t>(run.first_sequence, out);
      AppendLittle<uint64_t>(run.base_offset.value(), out);
      AppendLittle<uint64_t>(run.count, out);
    }
  }
  CHECK_EQ(out->size() - start, encoded_bytes());
}

namespace {

Status Corrupt(const std::string& what) {
  return Status(Reason::kCorruptMessage, "producer state: " + what + "; these bytes are not one of this format");
}

}  // namespace

Result<ProducerState> ProducerState::Decode(std::string_view bytes, const ProducerLimits& limits) {
  ByteReader in(bytes);
  const auto version = in.Little<uint8_t>();
  if (version != kVersion) return Corrupt("version " + std::to_string(version) + ", not " + std::to_string(kVersion));
  ProducerState state(limits);
  state.time_ms_ = in.Little<int64_t>();
  const auto count = in.Little<uint32_t>();
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    Producer producer;
    producer.id = in.Little<uint64_t>();
    const auto epoch = in.Little<uint32_t>();
    const auto scope = in.Little<uint8_t>();
    if (scope != static_cast<uint8_t>(SequenceScope::kPartition) && scope != static_cast<uint8_t>(SequenceScope::kTopic)) {
      return Corrupt("scope " + std::to_string(scope));
    }
    producer.history = ProducerHistory(epoch, static_cast<SequenceScope>(scope));
    producer.last_ms = in.Little<int64_t>();
    const auto runs = in.Little<uint8_t>();
    for (uint8_t run = 0; run < runs && in.ok(); ++run) {
      const auto first = in.Little<uint64_t>();
      const auto base_offset = in.Little<uint64_t>();
      producer.history.runs_.push_back({.first_sequence = first, .base_offset = Offset{base_offset}, .count = in.Little<uint64_t>()});
    }
    if (!in.ok()) break;
    state.runs_ += runs;
    state.producers_.push_back(std::move(producer));
    if (!state.by_id_.emplace(state.producers_.back().id, std::prev(state.producers_.end())).second) {
      return Corrupt("producer " + std::to_string(state.producers_.back().id) + " twice");
    }
  }
  if (!in.ok() || !in.AtEnd())
    return Corrupt("a length of " + std::to_string(bytes.size()) + " bytes for " + std::to_string(count) + " producers");
  return state;
}

}  // namespace flotilla::partition
