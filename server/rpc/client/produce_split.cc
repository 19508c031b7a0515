#include "server/rpc/client/produce_split.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/partitioner.h"
#include "server/errors/refusal.h"
#include "server/metadata/topic_rules.h"
#include "server/rpc/client/limits.h"

namespace flotilla::rpc::client {
namespace {

using broker::ProducePart;
using partition::PreparedBatch;
using partition::RecordBuffer;

Status Invalid(const char* field, std::string text) { return Status(Reason::kInvalidArgument, std::move(text)).With("field", field); }

Status Negative(const char* field, int64_t value) {
  return Invalid(field, std::string(field) + " is " + std::to_string(value) + "; it is 0 or more");
}

Result<partition::Acks> AcksOf(int32_t number) {
  switch (number) {
    case v1::ACKS_UNSPECIFIED:
    case v1::ACKS_QUORUM: return partition::Acks::kQuorum;
    case v1::ACKS_LEADER: return partition::Acks::kLeader;
    case v1::ACKS_NONE: return partition::Acks::kNone;
    default: return Invalid("acks", "acks " + std::to_string(number) + " are not known; use QUORUM, LEADER or NONE");
  }
}

Result<const metadata::Topic*> FindTopic(const RawTopic& raw, const metadata::Image& image) {
  metadata::TopicSelector selector{.topic_namespace = raw.topic_namespace, .name = raw.name, .id = {}};
  if (!raw.topic_id.empty()) {
    const std::optional<Uuid> id = Uuid::FromText(raw.topic_id);
    if (!id) return Invalid("topic.topic_id", "topic id " + Quoted(raw.topic_id) + " is no UUID; copy it from GetTopic");
    selector.id = *id;
  }
  return metadata::SelectTopic(selector, image);
}

// Over how many partitions to spread.
Result<int32_t> SpreadOver(int32_t asked, const metadata::Topic& topic) {
  const auto there = static_cast<int32_t>(topic.partitions.size());
  if (asked >= 0 && asked <= there) return asked == 0 ? there : asked;
  return Invalid("partition_count", "partition_count is " + std::to_string(asked) + "; topic " + Quoted(topic.name) + " has " +
                                        std::to_string(there) + " partitions, use 1 to " + std::to_string(there));
}

Status CheckNumbers(const RawItem& item) {
  const RawBatch& batch = *item.batch;
  if (batch.record_count < 0) return Negative("batch.record_count", batch.record_count);
  if (batch.uncompressed_bytes < 0) return Negative("batch.uncompressed_bytes", batch.uncompressed_bytes);
  if (batch.producer_id < 0) return Negative("batch.producer_id", batch.producer_id);
  if (batch.producer_epoch < 0) return Negative("batch.producer_epoch", batch.producer_epoch);
  if (batch.base_sequence < 0) return Negative("batch.base_sequence", batch.base_sequence);
  if (item.expected_next_offset.value_or(0) < 0) return Negative("expected_next_offset", *item.expected_next_offset);
  if (item.expected_next_offset && !item.partition) {
    return Invalid("expected_next_offset", "expected_next_offset without a partition; an offset is one of a partition, name it");
  }
  return {};
}

Result<partition::Codec> CodecOfContent(const RawBatch& batch) {
  if (batch.codec == v1::CODEC_UNSPECIFIED) {
    if (!batch.compressed) return partition::Codec::kNone;
    return Refuse(Refusal::kCorruptRecords, "compressed_records without a codec; say which one it is");
  }
  const Result<partition::Codec> codec = partition::CodecOf(static_cast<uint32_t>(batch.codec));
  if (!codec.ok()) return codec.status();
  if ((*codec != partition::Codec::kNone) == batch.compressed) return codec;
  return Refuse(Refusal::kCorruptRecords, batch.compressed ? "compressed_records with codec NONE; use `records`"
                                                           : "`records` with a codec; use compressed_records, or codec NONE");
}

partition::ProducerBatch ProducerOf(const RawItem& item) {
  const RawBatch& batch = *item.batch;
  if (batch.producer_id == 0) return {};
  return {.producer_id = static_cast<uint64_t>(batch.producer_id),
          .epoch = static_cast<uint32_t>(batch.producer_epoch),
          .base_sequence = static_cast<uint64_t>(batch.base_sequence),
          .scope = item.partition ? partition::SequenceScope::kPartition : partition::SequenceScope::kTopic};
}

// --- Records that were checked (WalkRecordSet): every tag and length is as it should be

uint64_t Number(const char*& at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<uint8_t>(*at++);
    value |= uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return value;
  }
}

// The value of Record.key; of several the last, as readers see it.
std::optional<std::string_view> KeyOf(std::string_view record) {
  constexpr uint64_t kKeyTag = 1 << 3 | 2;
  std::optional<std::string_view> key;
  const char* at = record.data();
  const char* const end = at + record.size();
  while (at < end) {
    const uint64_t tag = Number(at);
    switch (tag & 7) {
      case 0: Number(at); break;
      case 1: at += 8; break;
      case 5: at += 4; break;
      default: {
        const uint64_t length = Number(at);
        if (tag == kKeyTag) key = std::string_view(at, length);
        at += length;
      }
    }
  }
  CHECK_EQ(at - end, 0) << "a record that was checked ends elsewhere";
  return key;
}

// Splits a checked set at its records: `visit(key, bytes of the record with tag and length)`.
template <typename Visit>
void ForEachRecord(std::string_view set, Visit visit) {
  const char* at = set.data();
  const char* const end = at + set.size();
  while (at < end) {
    const char* const begin = at;
    Number(at);  // the tag: a record, nothing else is in a set
    const uint64_t length = Number(at);
    const std::string_view record(at, length);
    at += length;
    visit(KeyOf(record), std::string_view(begin, static_cast<size_t>(at - begin)));
  }
}

}  // namespace

bool NamesWhatIsNotThere(const RawProduce& request, const metadata::Image& image) {
  const Result<const metadata::Topic*> topic = FindTopic(request.topic, image);
  if (!topic.ok()) return RefusalOf(topic.status()) == Refusal::kTopicNotFound;
  const auto there = static_cast<int64_t>((*topic)->partitions.size());
  return request.partition_count > there || std::any_of(request.items.begin(), request.items.end(),
                                                        [there](const RawItem& item) { return item.partition.value_or(0) >= there; });
}

struct ProduceSplitter::Target {
  const metadata::Topic& topic;
  int32_t spread_over;
  bool spread_was_said;
};

Result<broker::ProduceCommand> ProduceSplitter::Split(RawProduce request, const metadata::Image& image) {
  if (!request.refusal.ok()) return request.refusal;
  if (request.items.empty()) return Invalid("items", "no items; send at least one");
  const Result<partition::Acks> acks = AcksOf(request.acks);
  if (!acks.ok()) return acks.status();
  const Result<const metadata::Topic*> topic = FindTopic(request.topic, image);
  if (!topic.ok()) return topic.status();
  const Result<int32_t> spread = SpreadOver(request.partition_count, **topic);
  if (!spread.ok()) return spread.status();

  const Target target{.topic = **topic, .spread_over = *spread, .spread_was_said = request.partition_count != 0};
  broker::ProduceCommand command;
  command.topic.set_name(target.topic.name);
  command.topic.set_topic_namespace(target.topic.topic_namespace);
  command.topic.set_topic_id(target.topic.id.ToString());
  command.topic_id = target.topic.id;
  command.acks = *acks;
  command.items.reserve(request.items.size());
  for (RawItem& item : request.items) command.items.push_back(SplitItem(std::move(item), target));
  return command;
}

broker::ProduceItem ProduceSplitter::SplitItem(RawItem item, const Target& target) {
  broker::ProduceItem split;
  Result<std::vector<ProducePart>> parts = Parts(std::move(item), target);
  if (parts.ok()) {
    split.parts = *std::move(parts);
  } else {
    split.refusal = parts.status();
  }
  return split;
}

Result<std::vector<ProducePart>> ProduceSplitter::Parts(RawItem item, const Target& target) {
  if (!item.refusal.ok()) return item.refusal;
  if (!item.batch || !item.batch->content) return Invalid("batch.records", "an item without records; send at least one");
  FLOTILLA_RETURN_IF_ERROR(CheckNumbers(item));
  const auto there = static_cast<int64_t>(target.topic.partitions.size());
  if (item.partition && (*item.partition < 0 || *item.partition >= there)) {
    return Refuse(Refusal::kPartitionNotFound, "topic " + Quoted(target.topic.name) + " has no partition " +
                                                   std::to_string(*item.partition) + "; it has 0 to " + std::to_string(there - 1))
        .With("topic", target.topic.name)
        .With("partition", std::to_string(*item.partition))
        .With("partition_count", static_cast<uint64_t>(there));
  }
  const Result<partition::Codec> codec = CodecOfContent(*item.batch);
  if (!codec.ok()) return codec.status();
  if (!item.partition && *codec != partition::Codec::kNone) {
    return Invalid("partition", "a compressed batch without a partition; the broker does not look inside, name the partition");
  }
  if (!item.partition && item.batch->producer_id != 0 && !target.spread_was_said) {
    return Invalid("partition_count",
                   "partition_count is missing; with a producer id and without a partition every attempt has to "
                   "go the same way, send the number from InitProducer");
  }
  const partition::BatchClaims claims{.codec = *codec,
                                      .crc32c = item.batch->crc32c,
                                      .record_count = static_cast<uint32_t>(item.batch->record_count),
                                      .uncompressed_bytes = static_cast<uint32_t>(item.batch->uncompressed_bytes)};
  Result<PreparedBatch> batch = partition::PrepareBatch(*std::move(item.batch->content), claims, decompressor_);
  if (!batch.ok()) return batch.status();
  if (!item.partition) return ByKey(item, *std::move(batch), target);

  std::vector<ProducePart> parts;
  parts.push_back({.partition = static_cast<uint32_t>(*item.partition), .batch = *std::move(batch), .producer = ProducerOf(item)});
  if (item.expected_next_offset) {
    parts[0].expected_next_offset = Offset{static_cast<uint64_t>(*item.expected_next_offset)};
  }
  return parts;
}

Result<std::vector<ProducePart>> ProduceSplitter::ByKey(const RawItem& item, PreparedBatch batch, const Target& target) {
  const partition::ProducerBatch producer = ProducerOf(item);
  const auto count = static_cast<uint64_t>(target.spread_over);
  // Drawn even when all records have keys: so that it does not depend on what is inside.
  const auto keyless = producer.producer_id == 0
                           ? static_cast<uint32_t>(random_.Below(count))
                           : static_cast<uint32_t>(PartitionForItem(
                                 {.producer_id = item.batch->producer_id, .base_sequence = item.batch->base_sequence}, target.spread_over));
  std::vector<uint32_t> goes_to;
  goes_to.reserve(batch.summary.records);
  std::map<uint32_t, size_t> bytes;  // of each partition
  ForEachRecord(batch.records.view(), [&](std::optional<std::string_view> key, std::string_view record) {
    const uint32_t partition = key ? static_cast<uint32_t>(PartitionForKey(*key, target.spread_over)) : keyless;
    goes_to.push_back(partition);
    bytes[partition] += record.size();
  });

  std::vector<ProducePart> parts;
  parts.reserve(bytes.size());
  if (bytes.size() == 1) {
    parts.push_back({.partition = goes_to[0], .batch = std::move(batch), .producer = producer});
    return parts;
  }
  struct Filling {
    RecordBuffer records;
    size_t filled = 0;
  };
  std::map<uint32_t, Filling> fillings;
  for (const auto& [partition, size] : bytes) fillings.emplace(partition, Filling{.records = RecordBuffer(size)});
  size_t number = 0;
  ForEachRecord(batch.records.view(), [&](std::optional<std::string_view>, std::string_view record) {
    Filling& to = fillings.at(goes_to[number++]);
    std::memcpy(to.records.data() + to.filled, record.data(), record.size());
    to.filled += record.size();
  });
  for (auto& [partition, filling] : fillings) {
    Result<PreparedBatch> part = partition::PrepareBatch(std::move(filling.records), {}, decompressor_);
    if (!part.ok()) return part.status();
    parts.push_back({.partition = partition, .batch = *std::move(part), .producer = producer});
  }
  return parts;
}

}  // namespace flotilla::rpc::client
